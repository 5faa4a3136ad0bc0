//! REST: one HTTP request is one message, an answer is its JSON, an error is `google.rpc.Status` as JSON.

mod accept;
mod error;
mod request;
mod stream;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::metadata::{self, X_HTTP_CODE};
use crate::body::Body;

pub use accept::Form;
pub use error::{error, status_json};
pub use request::{admit, read};
pub use stream::{Messages, Translate};

/// The content type of every JSON answer.
static APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A unary answer: one write, with its length.
pub fn reply(json: Vec<u8>, headers: &HeaderMap, trailers: &HeaderMap) -> Response<Body> {
    let status = status(headers).or_else(|| status(trailers)).unwrap_or(StatusCode::OK);
    let bodyless = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    let mut response = Response::new(if bodyless { Body::empty() } else { Body::full(json) });
    *response.status_mut() = status;
    let out = response.headers_mut();
    out.reserve(8);
    if !bodyless {
        out.insert(header::CONTENT_TYPE, APPLICATION_JSON.clone());
    }
    metadata::to_rest(headers, out);
    metadata::to_rest(trailers, out);
    response
}

/// The answer to HEAD: the headers of the same GET, its length included, and no body.
pub fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = http_body::Body::size_hint(&body).exact().filter(|length| *length > 0) {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, Body::empty())
}

/// What the upstream wants as the status of a successful answer: 200 to 299.
fn status(metadata: &HeaderMap) -> Option<StatusCode> {
    let wish = metadata.get(&X_HTTP_CODE)?;
    StatusCode::from_bytes(wish.as_bytes()).ok().filter(StatusCode::is_success)
}
