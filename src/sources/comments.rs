//! A descriptor set's source information, reduced to its comments.

use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use prost_types::SourceCodeInfo;

/// `FileDescriptorSet`, its files still encoded.
#[derive(Clone, PartialEq, Message)]
struct FileSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

/// `FileDescriptorProto.source_code_info`.
const SOURCE_CODE_INFO: u32 = 9;

/// `FileDescriptorProto`, only its source information.
#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(message, optional, tag = "9")]
    source: Option<SourceCodeInfo>,
}

/// The set with every location that has no comment left out; all else stays byte for byte.
pub(super) fn only(set: &[u8]) -> Vec<u8> {
    let Ok(mut set) = FileSet::decode(set) else { return set.to_vec() };
    for file in &mut set.files {
        if let Some(reduced) = reduce(file) {
            *file = reduced;
        }
    }
    set.encode_to_vec()
}

fn reduce(file: &[u8]) -> Option<Vec<u8>> {
    let mut info = Info::decode(file).ok()?;
    let locations = &mut info.source.as_mut()?.location;
    locations.retain(|location| {
        location.leading_comments.is_some()
            || location.trailing_comments.is_some()
            || !location.leading_detached_comments.is_empty()
    });
    let mut out = Vec::with_capacity(file.len());
    let mut rest = file;
    while !rest.is_empty() {
        let start = rest;
        let (tag, wire_type) = decode_key(&mut rest).ok()?;
        skip_field(wire_type, tag, &mut rest, DecodeContext::default()).ok()?;
        if tag != SOURCE_CODE_INFO {
            out.extend_from_slice(&start[..start.len() - rest.len()]);
        }
    }
    info.encode(&mut out).ok()?;
    Some(out)
}
