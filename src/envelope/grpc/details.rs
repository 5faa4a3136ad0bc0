//! `grpc-status-details-bin`: the `google.rpc.Status` of an error, with its details.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::HeaderValue;
use prost::Message as _;
use transom_transcode::status::{self, Status};

use crate::error::{DOMAIN, Detail, Error};

/// An error as `google.rpc.Status`: the upstream's own, or ours with its details.
pub fn to_status(error: &Error) -> Cow<'_, Status> {
    match error {
        Error::Upstream(status) => Cow::Borrowed(&**status),
        _ => Cow::Owned(Status {
            code: error.code(),
            message: error.message().into_owned(),
            details: error.details().map(any).collect(),
        }),
    }
}

/// The header's value: the status in base64; `None` where it has no details.
pub(super) fn encode(error: &Error) -> Option<HeaderValue> {
    let status = to_status(error);
    if status.details.is_empty() {
        return None;
    }
    HeaderValue::from_str(&STANDARD_NO_PAD.encode(status.to_bytes())).ok()
}

fn any(detail: Detail<'_>) -> status::Detail {
    let (name, value) = match detail {
        Detail::ErrorInfo { reason } => {
            ("ErrorInfo", ErrorInfo { reason: reason.to_owned(), domain: DOMAIN.to_owned() }.encode_to_vec())
        }
        Detail::BadRequest { field, description } => {
            let (field, description) = (field.to_owned(), description.to_owned());
            let violation = FieldViolation { field, description, reason: String::new() };
            ("BadRequest", BadRequest { field_violations: vec![violation] }.encode_to_vec())
        }
        Detail::Violations(violations) => {
            let violations = violations.iter().map(|violation| FieldViolation {
                field: violation.field.clone(),
                description: violation.message.to_string(),
                reason: violation.rule.to_string(),
            });
            ("BadRequest", BadRequest { field_violations: violations.collect() }.encode_to_vec())
        }
        Detail::RetryInfo { delay } => {
            let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
            let delay = prost_types::Duration { seconds, nanos: delay.subsec_nanos().cast_signed() };
            ("RetryInfo", RetryInfo { retry_delay: Some(delay) }.encode_to_vec())
        }
    };
    status::Detail { type_url: format!("type.googleapis.com/google.rpc.{name}"), value: value.into() }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    reason: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}
