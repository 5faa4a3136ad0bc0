//! The dialects' envelopes: how a request is read, a reply and an error are written. JSON and protobuf themselves
//! belong to the transcoder.

pub mod grpc;
pub mod head;
pub mod metadata;
pub mod origin;
pub mod rest;

use http::request::Parts;
use http::{HeaderMap, Version, header};

use crate::telemetry::Dialect;

impl Dialect {
    /// The dialect of a request; decided once, from the head. What only looks like gRPC (gRPC-Web, gRPC over
    /// HTTP/1.1, another codec) is left to REST, which refuses it by its content type.
    pub fn detect(head: &Parts) -> Self {
        if head.version == Version::HTTP_2 && content_type(&head.headers).is_some_and(grpc::is_proto) {
            Self::Grpc
        } else {
            Self::Rest
        }
    }
}

/// The content type as it was sent.
pub fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

/// The media type without its parameters.
pub fn essence(content_type: &str) -> &str {
    content_type.split_once(';').map_or(content_type, |(essence, _)| essence).trim()
}
