//! Connect's errors: a code by name, a message, details in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::value::RawValue;
use transom_transcode::plan::{Limits, OutOptions, OutPlan};
use transom_transcode::schema::Schema;
use transom_transcode::scratch::Scratch;
use transom_transcode::status::{Code, Detail, Status};
use transom_transcode::to_json::to_json;

use super::{ACCEPT_ENCODING, tell};
use crate::body::Body;
use crate::envelope::{coding, grpc, metadata, rest};
use crate::error::Error;

/// An error of a unary call: an HTTP status by its code, and its JSON; the metadata before it and after it.
pub fn error(error: &Error, schema: Option<&Schema>, metadata: [&HeaderMap; 2]) -> Response<Body> {
    let mut response = Response::new(Body::full(json(&grpc::to_status(error), schema)));
    *response.status_mut() = http(error);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    tell(error, headers);
    rest::tell_retry_after(error, headers);
    if let Some(challenge) = error.challenge() {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Error::UnsupportedEncoding { supported } = error {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(supported));
    }
    let [leading, trailing] = metadata;
    metadata::to_web(leading, "", headers);
    metadata::to_web(trailing, "trailer-", headers);
    response
}

/// The status of an error's answer. The protocol has one for each code, and HTTP's own for what is no call at all.
pub(super) fn http(error: &Error) -> StatusCode {
    match error {
        Error::NoRoute => StatusCode::NOT_FOUND,
        Error::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
        Error::UnsupportedMedia { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Error::TooManyHeaders { .. } | Error::HeadTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        error => StatusCode::from_u16(error.code().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// The same for a stream, whose refusal has what clients look for in it too.
pub(super) fn tell_stream(error: &Error, headers: &mut HeaderMap) {
    tell(error, headers);
    if matches!(error, Error::UnsupportedEncoding { .. }) {
        headers.insert(&ACCEPT_ENCODING, HeaderValue::from_static(coding::OF_MESSAGES));
    }
}

/// A status as the protocol's JSON.
pub(super) fn json(status: &Status, schema: Option<&Schema>) -> Vec<u8> {
    // Strings, and JSON that was printed here: it always prints.
    serde_json::to_vec(&Written::of(status, schema)).unwrap_or_default()
}

/// A status as it is written.
#[derive(Serialize)]
pub(super) struct Written<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<WrittenDetail<'a>>,
}

#[derive(Serialize)]
struct WrittenDetail<'a> {
    #[serde(rename = "type")]
    name: &'a str,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    debug: Option<Box<RawValue>>,
}

impl<'a> Written<'a> {
    pub(super) fn of(status: &'a Status, schema: Option<&Schema>) -> Self {
        let detail = |detail: &'a Detail| {
            let name = detail.type_url.rsplit_once('/').map_or(&*detail.type_url, |(_, name)| name);
            let debug = schema.and_then(|schema| debug(schema, name, &detail.value));
            WrittenDetail { name, value: STANDARD_NO_PAD.encode(&detail.value), debug }
        };
        Self { code: name(status.code), message: &status.message, details: status.details.iter().map(detail).collect() }
    }
}

/// A detail for people, where its type is known.
fn debug(schema: &Schema, name: &str, value: &[u8]) -> Option<Box<RawValue>> {
    let plan = OutPlan { output: schema.message_named(name)?, field: None, options: OutOptions::default(), raw: false };
    let mut json = Vec::new();
    to_json(schema, &plan, value, &Limits::default(), &mut Scratch::default(), &mut json).ok()?;
    RawValue::from_string(String::from_utf8(json).ok()?).ok()
}

/// A code as the protocol spells it.
fn name(code: Code) -> &'static str {
    match code {
        // No error has it.
        Code::Ok => "ok",
        Code::Cancelled => "canceled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}
