//! REST: one HTTP request is one message, an answer is its JSON, an error is `google.rpc.Status` as JSON.

mod accept;
mod error;
mod request;
mod stream;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::metadata;
use crate::body::Body;

pub use accept::Form;
pub use error::{error, status_json};
pub use request::{admit, read};
pub use stream::{Stream, stream_reply};

/// The content type of every JSON answer.
static APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Room for an answer's usual headers.
const USUAL: usize = 6;

/// A unary answer: one write, with its length. Its status is 200, or what the upstream wishes.
pub fn reply(json: Vec<u8>, metadata: [&HeaderMap; 2]) -> Response<Body> {
    let mut headers = HeaderMap::with_capacity(USUAL);
    headers.insert(header::CONTENT_TYPE, APPLICATION_JSON.clone());
    let mut status = None;
    for metadata in metadata {
        status = metadata::to_rest(metadata, &mut headers).or(status);
    }
    let status = status.unwrap_or(StatusCode::OK);
    let bodyless = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    if bodyless {
        headers.remove(header::CONTENT_TYPE);
    }
    let mut response = Response::new(if bodyless { Body::empty() } else { Body::full(json) });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
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
