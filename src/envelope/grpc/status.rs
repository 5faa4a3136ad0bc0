//! A call's status as metadata: `grpc-status`, `grpc-message`, `grpc-status-details-bin`.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use transom_transcode::status::{Code, Status, decode_message};

/// `grpc-status`
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Padded or not: gRPC asks for both to be taken.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The status that a head or trailers carry; none without a `grpc-status` that is a number.
pub fn status_of(headers: &HeaderMap) -> Option<Status> {
    read(number(headers)?, headers)
}

/// Its code alone.
pub fn code_of(headers: &HeaderMap) -> Option<Code> {
    code(number(headers)?)
}

/// The status, taken out of the metadata that it came with.
pub fn take_status(headers: &mut HeaderMap) -> Option<Status> {
    let status = read(number(headers)?, headers);
    if headers.len() == 1 {
        headers.clear();
    } else {
        [STATUS, MESSAGE, DETAILS].iter().for_each(|name| drop(headers.remove(name)));
    }
    status
}

/// Most often it is the first of the trailers, if not the only one: there it is found for a fifth of what a look-up takes.
fn number(headers: &HeaderMap) -> Option<&HeaderValue> {
    let first = headers.iter().next().filter(|(name, _)| **name == STATUS);
    first.map(|(_, number)| number).or_else(|| headers.get(STATUS))
}

fn code(number: &HeaderValue) -> Option<Code> {
    let number = number.as_bytes();
    if number == b"0" {
        return Some(Code::Ok);
    }
    if number.is_empty() || number.len() > 10 || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(Code::from_number(number.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'))))
}

fn read(number: &HeaderValue, headers: &HeaderMap) -> Option<Status> {
    let code = code(number)?;
    if code == Code::Ok {
        return Some(Status::new(code, ""));
    }
    let message = headers.get(MESSAGE).map(|text| decode_message(text.as_bytes())).unwrap_or_default();
    let mut status = Status::new(code, message);
    let details = headers.get(DETAILS).and_then(|details| BASE64.decode(details.as_bytes().trim_ascii()).ok());
    // Code and message are in there once more; the ones beside it decide.
    if let Some(full) = details.and_then(|bytes| Status::from_bytes(bytes.into())) {
        status.details = full.details;
    }
    Some(status)
}
