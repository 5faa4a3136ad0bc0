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
    read(headers.get(STATUS)?, headers)
}

/// The same, taken out of the metadata that it came with.
pub fn take_status(headers: &mut HeaderMap) -> Option<Status> {
    let number = headers.remove(STATUS)?;
    let status = read(&number, headers);
    if !headers.is_empty() {
        headers.remove(MESSAGE);
        headers.remove(DETAILS);
    }
    status
}

fn read(number: &HeaderValue, headers: &HeaderMap) -> Option<Status> {
    let number = number.as_bytes();
    if number == b"0" {
        return Some(Status::new(Code::Ok, ""));
    }
    if number.is_empty() || number.len() > 10 || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = Code::from_number(number.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')));
    let message = headers.get(MESSAGE).map(|text| decode_message(text.as_bytes())).unwrap_or_default();
    let mut status = Status::new(code, message);
    let details = headers.get(DETAILS).and_then(|details| BASE64.decode(details.as_bytes().trim_ascii()).ok());
    // Code and message are in there once more; the ones beside it decide.
    if let Some(full) = details.and_then(|bytes| Status::from_bytes(bytes.into())) {
        status.details = full.details;
    }
    Some(status)
}
