//! `google.api.HttpBody` answers: bytes that are no JSON of ours.

use http::{HeaderMap, HeaderValue, Response, header};
use transom_transcode::status::Code;

use crate::body::{Body, Streamed};
use crate::envelope::essence;
use crate::envelope::grpc::status_of;
use crate::envelope::metadata::{self, Crossing};
use crate::envelope::stream::{Last, Writer};
use crate::error::Error;

/// Bytes of which nobody knows what they are.
const UNKNOWN: &str = "application/octet-stream";

/// The content type of an answer, as its message says it; one that says none, or `jpg`, is a stream of bytes.
///
/// # Errors
/// It is nothing that could be one: what a service stored from its clients becomes no header unseen.
pub fn content_type(text: &str) -> Result<HeaderValue, Error> {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let named = essence(text).split_once('/').is_some_and(|(kind, of)| token(kind) && token(of));
    let visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    match HeaderValue::from_str(text) {
        Ok(value) if named && visible => Ok(value),
        Ok(_) if visible => Ok(HeaderValue::from_static(UNKNOWN)),
        _ => Err(Error::protocol("the content type of the reply's HttpBody is none")),
    }
}

/// A browser takes such bytes for what they are said to be and for nothing else, whoever wrote them.
pub(super) fn describe(headers: &mut HeaderMap) {
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
}

/// The answer that a stream of such bytes is the body of; one that ended without a message has no type of its own.
pub fn raw_stream_reply(
    metadata: &HeaderMap,
    content_type: Option<HeaderValue>,
    pieces: impl Streamed + 'static,
    crossing: &Crossing,
) -> Response<Body> {
    let mut response = Response::new(Body::streamed(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static(UNKNOWN)));
    metadata::to_rest(metadata, headers, crossing);
    describe(headers);
    response
}

/// The bytes alone. What is not whole is broken off: there is no other way to say so.
pub struct Pieces;

impl Writer for Pieces {
    fn open(&mut self, _: &mut Vec<u8>) {}

    fn shut(&mut self, _: usize, _: &mut Vec<u8>) {}

    fn close(&mut self, end: Result<HeaderMap, &Error>, _: &mut Vec<u8>) -> Last {
        match end {
            Ok(trailers) if status_of(&trailers).is_some_and(|status| status.code == Code::Ok) => Last::Nothing,
            _ => Last::Break,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::content_type;

    #[test]
    fn a_content_type_is_a_media_type() {
        for good in
            ["text/html", "text/html; charset=utf-8", "multipart/mixed; boundary=\"a b\"", "application/vnd.x+json"]
        {
            assert_eq!(content_type(good).unwrap(), good);
        }
        for none in ["", "html", "text/", "/html", "text/ht ml"] {
            assert_eq!(content_type(none).unwrap(), "application/octet-stream");
        }
        for bad in ["text/html\r\nset-cookie: a=b", "text/html; a=\u{e9}", "a/b\0"] {
            assert!(content_type(bad).is_err(), "{bad:?}");
        }
    }
}
