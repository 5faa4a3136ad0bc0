//! `transom conformance`: the testee of protobuf's conformance runner, on stdin and stdout.
//!
//! Each request and each answer is a message of `conformance.proto` behind its length (four bytes, little-endian). What a
//! request holds is translated by the code that translates calls: JSON by `to_wire`, protobuf by `canonical` and `to_json`.

mod testee;
mod wire;

use std::fs;
use std::io::{ErrorKind, Read, Write, stdin, stdout};
use std::path::Path;

use prost::Message as _;
use transom_transcode::schema::Schema;

use super::Refusal;
use testee::Testee;
use wire::Request;

/// Nothing that a runner sends is longer.
const MAX_REQUEST: u32 = 64 << 20;

/// Answers requests until stdin ends.
pub(super) fn conformance(descriptors: &Path) -> Result<(), Refusal> {
    let mut testee = Testee::new(schema(descriptors)?);
    let (mut input, mut output) = (stdin().lock(), stdout().lock());
    while let Some(request) = read(&mut input)? {
        let request = Request::decode(request.as_slice())
            .map_err(|error| Refusal::new(format!("stdin: not a ConformanceRequest: {error}")))?;
        let answer = testee.answer(&request).encode_length_prefixed();
        let written = output.write_all(&answer).and_then(|()| output.flush());
        written.map_err(|error| Refusal::new(format!("stdout cannot be written: {error}")))?;
    }
    Ok(())
}

fn schema(file: &Path) -> Result<Schema, Refusal> {
    let name = file.display().to_string();
    let bytes = fs::read(file).map_err(|error| Refusal::new(format!("{name}: cannot be read: {error}")))?;
    let mut builder = Schema::builder();
    builder.add(&bytes, &name).and_then(|()| builder.build()).map_err(|problems| Refusal::of(&problems))
}

/// The next request; none at the end of the input.
fn read(input: &mut impl Read) -> Result<Option<Vec<u8>>, Refusal> {
    let cut_off = |error| Refusal::new(format!("stdin ends inside a request: {error}"));
    let mut length = [0; 4];
    match input.read_exact(&mut length[..1]) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read.and_then(|()| input.read_exact(&mut length[1..])).map_err(cut_off)?,
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_REQUEST {
        return Err(Refusal::new(format!("stdin: a request of {length} bytes; a runner sends at most {MAX_REQUEST}")));
    }
    let mut request = Vec::new();
    let read = input.take(u64::from(length)).read_to_end(&mut request);
    read.map_err(cut_off)?;
    if request.len() < length as usize {
        return Err(Refusal::new("stdin ends inside a request"));
    }
    Ok(Some(request))
}
