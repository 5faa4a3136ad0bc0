//! gRPC over HTTP/2: frames cross untouched, errors are trailers.

mod details;
mod frames;

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use transom_transcode::status::{Code, encode_message};

use super::{essence, metadata};
use crate::body::{Body, Streamed};
use crate::error::Error;

pub use frames::{Frames, Watched};

/// The content type of every gRPC answer of the gateway's own.
static APPLICATION_GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Whether a content type is that of gRPC with protobuf messages, the only codec that upstreams are asked in.
pub fn is_proto(content_type: &str) -> bool {
    matches!(essence(content_type), "application/grpc" | "application/grpc+proto")
}

/// An answer whose frames and trailers cross as they are.
pub fn reply<B>(headers: HeaderMap, frames: Frames<B>) -> Response<Body>
where
    Frames<B>: Streamed + 'static,
{
    let mut response = Response::new(Body::streamed(frames));
    *response.headers_mut() = metadata::to_grpc(headers);
    response
}

/// An error before any message: one head that is the trailers too.
pub fn error(error: &Error) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = trailers(error);
    response.headers_mut().insert(header::CONTENT_TYPE, APPLICATION_GRPC.clone());
    response
}

/// An error as trailers: `grpc-status`, `grpc-message` and `grpc-status-details-bin`.
pub fn trailers(error: &Error) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(4);
    trailers.insert(&GRPC_STATUS, HeaderValue::from(u16::from(error.code().number())));
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
    let number = trailers.get(&GRPC_STATUS)?.to_str().ok()?.parse().ok()?;
    Some(Code::from_number(number))
}
