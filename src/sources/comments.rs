//! A file's source information, reduced to its comments.

use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use prost_types::SourceCodeInfo;

/// `FileDescriptorSet`, its files still encoded.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FileSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) files: Vec<Vec<u8>>,
}

/// `FileDescriptorProto.source_code_info`.
const SOURCE_CODE_INFO: u32 = 9;

/// `FileDescriptorProto`, only its name and its source information.
#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "9")]
    source: Option<SourceCodeInfo>,
}

/// A file with every location that has no comment left out, and of the files of Google and Buf, which document nobody's
/// service, all of them, as without `keep`; all else stays byte for byte.
pub(super) fn only(file: &[u8], keep: bool) -> Vec<u8> {
    reduced(file, keep).unwrap_or_else(|| file.to_vec())
}

fn reduced(file: &[u8], keep: bool) -> Option<Vec<u8>> {
    let info = Info::decode(file).ok()?;
    let documents = keep && !["buf/", "google/"].iter().any(|folder| info.name.starts_with(folder));
    let mut source = info.source.filter(|_| documents).unwrap_or_default();
    source.location.retain(|location| {
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
    if !source.location.is_empty() {
        prost::encoding::message::encode(SOURCE_CODE_INFO, &source, &mut out);
    }
    Some(out)
}
