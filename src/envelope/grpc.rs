//! gRPC over HTTP/2: messages behind a prefix, errors are trailers.

mod details;
mod status;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use transom_transcode::frame;
use transom_transcode::status::encode_message;

use super::coding::{self, Coding};
use super::stream::{Last, Once, Writer, seal};
use super::{Codec, metadata};
use crate::body::Body;
use crate::error::Error;

pub use details::to_status;
pub use status::{STATUS, code_of, status_of, take_status};

/// An answer whose head is the upstream's, but for what says how its messages are written. Those that cross unread are
/// compressed as it says; `coding` is how those are that were compressed here.
pub fn reply(headers: HeaderMap, codec: Codec, coding: Option<HeaderValue>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let mut headers = metadata::to_grpc(headers);
    // An OK in trailers alone has no head before it: clients want to know by that what answers.
    if codec == Codec::Json || !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, content_type(codec));
    }
    if codec == Codec::Json {
        headers.remove(&metadata::GRPC_ENCODING);
    }
    if let Some(coding) = coding {
        headers.insert(&metadata::GRPC_ENCODING, coding);
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
pub struct Frames {
    /// What messages are compressed in.
    pub coding: Coding,
}

impl Frames {
    /// Frames that are not compressed here.
    pub fn plain() -> Self {
        Self { coding: Coding::Identity }
    }
}

impl Writer for Frames {
    fn open(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; frame::PREFIX]);
    }

    fn shut(&mut self, start: usize, out: &mut Vec<u8>) {
        seal(start, self.coding, out);
    }

    fn coding(&self) -> Coding {
        self.coding
    }

    fn close(&mut self, end: Result<HeaderMap, &Error>, _: &mut Vec<u8>) -> Last {
        Last::Trailers(end.unwrap_or_else(trailers))
    }
}

/// One message of the gateway's own, in its frame, and OK: that is what its client is told, whatever the call has come to.
pub fn whole(codec: Codec, frame: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::streamed(Once::noted(frame, ok())));
    response.headers_mut().insert(header::CONTENT_TYPE, content_type(codec));
    response
}

/// The trailers of success.
pub(super) fn ok() -> HeaderMap {
    HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))])
}

/// An error before any message: one head that is the trailers too.
pub fn error(error: &Error, codec: Codec, metadata: [&HeaderMap; 2]) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = trailers(error);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type(codec));
    if matches!(error, Error::UnsupportedEncoding { .. }) {
        let supported = HeaderValue::from_static(coding::OF_MESSAGES);
        response.headers_mut().insert(&metadata::GRPC_ACCEPT_ENCODING, supported);
    }
    for metadata in metadata {
        metadata::append_grpc(metadata, response.headers_mut());
    }
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

/// How a request's messages are compressed, and how the answer's may be.
///
/// # Errors
/// They are so in a way that is not supported.
pub fn codings(headers: &HeaderMap) -> Result<(Coding, Coding), Error> {
    let accepted = Coding::for_messages(headers.get_all(&metadata::GRPC_ACCEPT_ENCODING));
    Ok((Coding::of_messages(headers.get(&metadata::GRPC_ENCODING))?, accepted))
}
