//! Dialect: how a client speaks, an envelope with a codec. Decided once, from the request's head.

use http::request::Parts;
use http::{HeaderMap, Version, header};

use crate::telemetry::DialectName;

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// HTTP and JSON by `google.api.http` rules.
    Rest,
    /// gRPC over HTTP/2.
    Grpc(Codec),
    /// Plain HTTP: the built-in endpoints.
    Http,
}

/// How a client writes its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As they go to the upstream.
    Proto,
    /// ProtoJSON.
    Json,
}

impl Dialect {
    /// The dialect of a request. What only looks like an RPC (gRPC over HTTP/1.1, an unknown codec) is left to REST,
    /// which refuses it by its content type.
    pub fn detect(head: &Parts) -> Self {
        let Some(content_type) = content_type(&head.headers) else { return Self::Rest };
        let essence = essence(content_type);
        // Most requests that have a type have this one.
        if essence == "application/json" {
            return Self::Rest;
        }
        match essence {
            "application/grpc" | "application/grpc+proto" if head.version == Version::HTTP_2 => {
                Self::Grpc(Codec::Proto)
            }
            "application/grpc+json" if head.version == Version::HTTP_2 => Self::Grpc(Codec::Json),
            _ => Self::Rest,
        }
    }

    /// Its path is an RPC's, `/pkg.Service/Method`.
    pub fn is_rpc(self) -> bool {
        match self {
            Self::Grpc(_) => true,
            Self::Rest | Self::Http => false,
        }
    }

    /// Its frames are the upstream's: they cross unread.
    pub fn is_opaque(self) -> bool {
        match self {
            Self::Grpc(codec) => codec == Codec::Proto,
            Self::Rest | Self::Http => false,
        }
    }

    /// How its messages are written.
    pub fn codec(self) -> Codec {
        match self {
            Self::Grpc(codec) => codec,
            Self::Rest | Self::Http => Codec::Json,
        }
    }

    /// As metrics and logs name it.
    pub fn name(self) -> DialectName {
        match self {
            Self::Rest => DialectName::Rest,
            Self::Grpc(_) => DialectName::Grpc,
            Self::Http => DialectName::Http,
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
