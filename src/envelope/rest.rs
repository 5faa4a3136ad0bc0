//! REST: one HTTP request is one message, an answer is its JSON, an error is `google.rpc.Status` as JSON.

mod accept;
mod error;
mod raw;
mod reader;
mod request;
mod stream;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::metadata::{self, Crossing};
use crate::body::Body;

pub use accept::Form;
pub use error::{error, error_line, status_json, tell_retry_after};
pub use raw::{Pieces, content_type, raw_stream_reply};
pub use reader::Messages;
pub use request::{Taken, admit, admit_stream};
pub use stream::{Stream, stream_reply};

/// The content type of every JSON answer.
static APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What an answer holds.
#[derive(Debug)]
pub enum Content {
    /// A message's JSON.
    Json(Vec<u8>),
    /// The bytes of a `google.api.HttpBody`, under its content type.
    Raw(HeaderValue, Bytes),
}

/// A unary answer: one write, with its length. Its status is 200, or what the upstream wishes. Its headers are those of the reply
/// that cross, in their own map.
pub fn reply(content: Content, [mut headers, trailers]: [HeaderMap; 2], crossing: &Crossing) -> Response<Body> {
    let (content_type, bytes, raw) = match content {
        Content::Json(json) => (APPLICATION_JSON.clone(), json.into(), false),
        Content::Raw(content_type, data) => (content_type, data, true),
    };
    let status = metadata::keep_rest(&mut headers, crossing);
    let status = metadata::to_rest(&trailers, &mut headers, crossing).or(status);
    headers.insert(header::CONTENT_TYPE, content_type);
    if raw {
        raw::describe(&mut headers);
    }
    let status = status.unwrap_or(StatusCode::OK);
    let bodyless = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    if bodyless {
        headers.remove(header::CONTENT_TYPE);
    }
    let mut response = Response::new(if bodyless { Body::empty() } else { Body::full(bytes) });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// JSON that is no reply's, under a status of its own.
pub fn whole(status: StatusCode, json: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::full(json));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, APPLICATION_JSON.clone());
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
