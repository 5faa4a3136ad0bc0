//! gRPC over HTTP/2: messages behind a prefix, errors are trailers.

mod details;
mod status;

use http::{HeaderMap, HeaderValue, Response, header};
use transom_transcode::frame;
use transom_transcode::status::{Code, encode_message};

use super::stream::{Last, Writer};
use super::{Codec, metadata};
use crate::body::Body;
use crate::error::Error;

pub use status::{STATUS, status_of, take_status};

/// An answer whose head is the upstream's, but for what says how its messages are written.
pub fn reply(headers: HeaderMap, codec: Codec, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let mut headers = metadata::to_grpc(headers);
    if codec == Codec::Json {
        headers.insert(header::CONTENT_TYPE, content_type(codec));
        headers.remove(&metadata::GRPC_ENCODING);
    }
    *response.headers_mut() = headers;
    response
}

/// The content type of the gateway's own answers.
fn content_type(codec: Codec) -> HeaderValue {
    HeaderValue::from_static(match codec {
        Codec::Proto => "application/grpc",
        Codec::Json => "application/grpc+json",
    })
}

/// Messages behind their prefix, and trailers.
pub struct Frames;

impl Writer for Frames {
    fn open(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; frame::PREFIX]);
    }

    fn shut(&mut self, start: usize, out: &mut Vec<u8>) {
        let prefix = frame::prefix(out.len() - start - frame::PREFIX);
        out[start..start + frame::PREFIX].copy_from_slice(&prefix);
    }

    fn close(&mut self, end: Result<HeaderMap, &Error>, _: &mut Vec<u8>) -> Last {
        Last::Trailers(end.unwrap_or_else(trailers))
    }
}

/// An error before any message: one head that is the trailers too.
pub fn error(error: &Error, codec: Codec) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = trailers(error);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type(codec));
    response
}

/// An error as trailers: `grpc-status`, `grpc-message` and `grpc-status-details-bin`.
pub fn trailers(error: &Error) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(4);
    trailers.insert(STATUS, HeaderValue::from(u16::from(error.code().number())));
    if let Ok(message) = HeaderValue::from_str(&encode_message(&error.message())) {
        trailers.insert("grpc-message", message);
    }
    if let Some(details) = details::encode(error) {
        trailers.insert("grpc-status-details-bin", details);
    }
    trailers
}

/// The code that trailers carry; without one the call went wrong.
pub fn code(trailers: &HeaderMap) -> Option<Code> {
    let number = trailers.get(STATUS)?.to_str().ok()?.parse().ok()?;
    Some(Code::from_number(number))
}
