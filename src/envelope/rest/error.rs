//! The one place where errors become REST answers.

use http::{HeaderMap, HeaderValue, Response, header};
use serde::{Serialize, Serializer};
use transom_transcode::schema::Schema;
use transom_transcode::to_json::status_to_json;

use super::APPLICATION_JSON;
use crate::body::Body;
use crate::error::{self, DOMAIN, Error};
use crate::telemetry::DialectName;

/// An error before the head: its HTTP status, what that status asks for, and `google.rpc.Status` as JSON.
pub fn error(error: &Error, schema: Option<&Schema>) -> Response<Body> {
    let mut response = Response::new(Body::full(status_json(error, schema)));
    *response.status_mut() = error.http();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, APPLICATION_JSON.clone());
    if let Error::MethodNotAllowed { allow } = error {
        headers.insert(header::ALLOW, allow.clone());
    }
    if let Error::UnsupportedEncoding { supported } = error {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(supported));
    }
    if let Some(challenge) = error.challenge() {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    tell_retry_after(error, headers);
    response
}

/// When to come again, where that may help.
pub fn tell_retry_after(error: &Error, headers: &mut HeaderMap) {
    if let Some(delay) = error.retry_after() {
        // Whole seconds, rounded up: coming earlier would be refused again.
        headers.insert(header::RETRY_AFTER, HeaderValue::from(delay.as_nanos().div_ceil(1_000_000_000).max(1) as u64));
    }
}

/// An error as `google.rpc.Status` in JSON. An upstream's details print by `schema`; types that it lacks are kept as
/// base64.
pub fn status_json(error: &Error, schema: Option<&Schema>) -> Vec<u8> {
    if let (Error::Upstream(status), Some(schema)) = (error, schema) {
        let mut json = Vec::with_capacity(256);
        status_to_json(schema, status, &mut json);
        return json;
    }
    let status = Status {
        code: error.code_in(DialectName::Rest).number(),
        message: &error.message(),
        details: error.details().map(Detail::from).collect(),
    };
    // Strings and numbers always print.
    serde_json::to_vec(&status).unwrap_or_default()
}

/// An error after the head, as a message of its own: `{"error": …}`.
pub fn error_line(error: &Error, schema: &Schema) -> String {
    format!("{{\"error\":{}}}", String::from_utf8_lossy(&status_json(error, Some(schema))))
}

#[derive(Serialize)]
struct Status<'a> {
    code: u8,
    message: &'a str,
    details: Vec<Detail<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "@type", rename_all_fields = "camelCase")]
enum Detail<'a> {
    #[serde(rename = "type.googleapis.com/google.rpc.ErrorInfo")]
    ErrorInfo { reason: &'static str, domain: &'static str },
    #[serde(rename = "type.googleapis.com/google.rpc.BadRequest")]
    BadRequest { field_violations: Vec<FieldViolation<'a>> },
    #[serde(rename = "type.googleapis.com/google.rpc.RetryInfo")]
    RetryInfo { retry_delay: Seconds },
}

#[derive(Serialize)]
struct FieldViolation<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    field: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

/// `google.protobuf.Duration` in JSON, to the millisecond.
struct Seconds(std::time::Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_millis() {
            0 => serializer.collect_str(&format_args!("{}s", self.0.as_secs())),
            millis => serializer.collect_str(&format_args!("{}.{millis:03}s", self.0.as_secs())),
        }
    }
}

impl<'a> From<error::Detail<'a>> for Detail<'a> {
    fn from(detail: error::Detail<'a>) -> Self {
        match detail {
            error::Detail::ErrorInfo { reason } => Self::ErrorInfo { reason, domain: DOMAIN },
            error::Detail::BadRequest { field, description } => {
                Self::BadRequest { field_violations: vec![FieldViolation { field, description, reason: "" }] }
            }
            error::Detail::Violations(violations) => {
                let violations = violations.iter().map(|violation| FieldViolation {
                    field: &violation.field,
                    description: &violation.message,
                    reason: &violation.rule,
                });
                Self::BadRequest { field_violations: violations.collect() }
            }
            error::Detail::RetryInfo { delay } => Self::RetryInfo { retry_delay: Seconds(delay) },
        }
    }
}
