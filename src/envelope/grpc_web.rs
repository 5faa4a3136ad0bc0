//! gRPC-Web: gRPC without HTTP trailers, for browsers. They are the body's last frame; bodies may be base64.

mod text;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use transom_transcode::frame::{self, web};

use super::coding::Coding;
use super::stream::{Last, Writer, seal};
use super::{Codec, grpc, metadata};
use crate::body::Body;
use crate::error::Error;

pub use text::Text;

/// The content type of an answer: the request's.
fn content_type(codec: Codec, text: bool) -> HeaderValue {
    HeaderValue::from_static(match (codec, text) {
        (Codec::Proto, false) => "application/grpc-web+proto",
        (Codec::Json, false) => "application/grpc-web+json",
        (Codec::Proto, true) => "application/grpc-web-text+proto",
        (Codec::Json, true) => "application/grpc-web-text+json",
    })
}

/// An answer whose messages come; `coding` is what those are compressed in, where they are.
pub fn reply(
    metadata: &HeaderMap,
    codec: Codec,
    text: bool,
    coding: Option<HeaderValue>,
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type(codec, text));
    if let Some(coding) = coding {
        headers.insert(&metadata::GRPC_ENCODING, coding);
    }
    metadata::to_web(metadata, "", headers);
    response
}

/// One message of the gateway's own, in its frame, and OK.
pub fn whole(codec: Codec, text: bool, frame: &[u8]) -> Response<Body> {
    let mut out = frame.to_vec();
    let mut frames = Frames { text, coding: Coding::Identity };
    frames.close(Ok(grpc::ok()), &mut out);
    reply(&HeaderMap::new(), codec, text, None, Body::full(frames.chunk(out.into())))
}

/// An error before any message: what would be trailers is the head.
pub fn error(error: &Error, codec: Codec, text: bool, metadata: [&HeaderMap; 2]) -> Response<Body> {
    let mut response = grpc::error(error, codec, [&HeaderMap::new(), &HeaderMap::new()]);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type(codec, text));
    for metadata in metadata {
        metadata::to_web(metadata, "", headers);
    }
    response
}

/// Messages behind their prefix, and the frame of trailers.
pub struct Frames {
    /// The body is base64.
    pub text: bool,
    /// What messages are compressed in.
    pub coding: Coding,
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

    fn close(&mut self, end: Result<HeaderMap, &Error>, out: &mut Vec<u8>) -> Last {
        let trailers = end.unwrap_or_else(grpc::trailers);
        web::trailers(trailers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())), out);
        Last::Nothing
    }

    fn chunk(&self, chunk: Bytes) -> Bytes {
        if self.text { web::to_text(&chunk).into() } else { chunk }
    }
}
