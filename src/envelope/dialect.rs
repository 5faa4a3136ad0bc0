//! Dialect: how a client speaks, an envelope with a codec. Decided once, from the request's head.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, Method, Version, header};

use super::head::Head;
use super::{connect, websocket};
use crate::telemetry::DialectName;

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// HTTP and JSON by `google.api.http` rules.
    Rest,
    /// gRPC over HTTP/2.
    Grpc(Codec),
    /// gRPC-Web: gRPC with its trailers in the body.
    GrpcWeb {
        /// How its messages are written.
        codec: Codec,
        /// Its bodies are base64.
        text: bool,
    },
    /// Connect's unary calls: a POST is a message, its answer another.
    Connect(Codec),
    /// The same with the message in a GET's query.
    ConnectGet(Codec),
    /// Connect's streams.
    ConnectStream(Codec),
    /// A frame a message: JSON as text, protobuf as binary.
    WebSocket,
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
    /// The dialect of a request. What only looks like an RPC (gRPC over HTTP/1.1, an unknown codec) is left to REST, and
    /// so is JSON that does not say whether it is Connect's: its path tells.
    pub fn detect(head: &Head<'_>) -> Self {
        let Some(content_type) = head.content_type() else {
            if websocket::is_asked(head) {
                return Self::WebSocket;
            }
            return match connect::get_codec(head) {
                Some(codec) if head.uri.query().is_some_and(|query| query.contains("connect=v1")) => {
                    Self::ConnectGet(codec)
                }
                _ => Self::Rest,
            };
        };
        let http2 = head.version == Version::HTTP_2;
        // Most requests that have a type have one of these.
        if http2 && content_type == "application/grpc" {
            return Self::Grpc(Codec::Proto);
        }
        let essence = essence(content_type);
        if essence == "application/json" {
            let connect = head.method == Method::POST && head.headers.contains_key(&connect::PROTOCOL_VERSION);
            return if connect { Self::Connect(Codec::Json) } else { Self::Rest };
        }
        let Some(subtype) = essence.get(..12).filter(|kind| kind.eq_ignore_ascii_case("application/")) else {
            return Self::Rest;
        };
        let subtype = &essence[subtype.len()..];
        // Clients write it in lower case, so that it is seldom copied.
        let lower = match subtype.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(subtype.to_ascii_lowercase()),
            false => Cow::Borrowed(subtype),
        };
        match &*lower {
            "grpc" | "grpc+proto" if http2 => Self::Grpc(Codec::Proto),
            "grpc+json" if http2 => Self::Grpc(Codec::Json),
            "grpc-web" | "grpc-web+proto" => Self::GrpcWeb { codec: Codec::Proto, text: false },
            "grpc-web+json" => Self::GrpcWeb { codec: Codec::Json, text: false },
            "grpc-web-text" | "grpc-web-text+proto" => Self::GrpcWeb { codec: Codec::Proto, text: true },
            "grpc-web-text+json" => Self::GrpcWeb { codec: Codec::Json, text: true },
            "proto" => Self::Connect(Codec::Proto),
            "connect+proto" => Self::ConnectStream(Codec::Proto),
            "connect+json" => Self::ConnectStream(Codec::Json),
            _ => Self::Rest,
        }
    }

    /// The dialect of a request that is no REST, but whose path is an RPC's: bare JSON is Connect's.
    pub fn of_rpc_path(head: &Parts) -> Option<Self> {
        match content_type(&head.headers) {
            Some(json) if head.method == Method::POST && essence(json).eq_ignore_ascii_case("application/json") => {
                Some(Self::Connect(Codec::Json))
            }
            Some(_) => None,
            None => connect::get_codec(head).map(Self::ConnectGet),
        }
    }

    /// Its path is an RPC's, `/pkg.Service/Method`.
    pub fn is_rpc(self) -> bool {
        !matches!(self, Self::Rest | Self::WebSocket | Self::Http)
    }

    /// Its frames are the upstream's: they cross unread.
    pub fn is_opaque(self) -> bool {
        match self {
            Self::Grpc(codec) | Self::GrpcWeb { codec, .. } | Self::ConnectStream(codec) => codec == Codec::Proto,
            Self::Rest | Self::WebSocket | Self::Connect(_) | Self::ConnectGet(_) | Self::Http => false,
        }
    }

    /// How its messages are written.
    pub fn codec(self) -> Codec {
        match self {
            Self::Grpc(codec)
            | Self::GrpcWeb { codec, .. }
            | Self::Connect(codec)
            | Self::ConnectGet(codec)
            | Self::ConnectStream(codec) => codec,
            Self::Rest | Self::WebSocket | Self::Http => Codec::Json,
        }
    }

    /// As metrics and logs name it.
    pub fn name(self) -> DialectName {
        match self {
            Self::Rest => DialectName::Rest,
            Self::Grpc(_) => DialectName::Grpc,
            Self::GrpcWeb { .. } => DialectName::GrpcWeb,
            Self::Connect(_) | Self::ConnectGet(_) | Self::ConnectStream(_) => DialectName::Connect,
            Self::WebSocket => DialectName::WebSocket,
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
    let end = memchr::memchr(b';', content_type.as_bytes()).unwrap_or(content_type.len());
    content_type[..end].trim()
}

/// Whether a content type is this one, and its charset, if it names one, is UTF-8.
pub fn is_in_utf8(content_type: &str, wanted: &str) -> bool {
    if content_type == wanted {
        return true;
    }
    let charset = content_type.split(';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    essence(content_type).eq_ignore_ascii_case(wanted)
        && charset.into_iter().all(|charset| charset.eq_ignore_ascii_case("utf-8"))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{Codec, Dialect, Head, is_in_utf8};

    fn detect(version: http::Version, method: &str, uri: &str, headers: &[(&str, &str)]) -> Dialect {
        let request = Request::builder().version(version).method(method).uri(uri);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let (head, ()) = request.body(()).unwrap().into_parts();
        Dialect::detect(&Head::of(&head))
    }

    #[test]
    fn a_head_says_the_dialect() {
        let (json, proto) = (Codec::Json, Codec::Proto);
        for (content_type, dialect) in [
            ("application/json", Dialect::Rest),
            ("text/plain", Dialect::Rest),
            ("", Dialect::Rest),
            ("application/grpc", Dialect::Grpc(proto)),
            ("application/grpc+proto", Dialect::Grpc(proto)),
            ("Application/gRPC+JSON; charset=utf-8", Dialect::Grpc(json)),
            ("application/grpc+thrift", Dialect::Rest),
            ("application/grpc-web", Dialect::GrpcWeb { codec: proto, text: false }),
            ("application/grpc-web+json", Dialect::GrpcWeb { codec: json, text: false }),
            ("application/grpc-web-text+proto", Dialect::GrpcWeb { codec: proto, text: true }),
            ("application/proto", Dialect::Connect(proto)),
            ("application/connect+json", Dialect::ConnectStream(json)),
        ] {
            let found = detect(http::Version::HTTP_2, "POST", "/p.S/M", &[("content-type", content_type)]);
            assert_eq!(found, dialect, "{content_type}");
        }
        let grpc = [("content-type", "application/grpc")];
        assert_eq!(detect(http::Version::HTTP_11, "POST", "/p.S/M", &grpc), Dialect::Rest);
        let connect = [("content-type", "application/json"), ("connect-protocol-version", "1")];
        assert_eq!(detect(http::Version::HTTP_11, "POST", "/p.S/M", &connect), Dialect::Connect(json));
        let get = |uri| detect(http::Version::HTTP_11, "GET", uri, &[]);
        assert_eq!(get("/p.S/M?connect=v1&encoding=proto&message="), Dialect::ConnectGet(proto));
        assert_eq!(get("/p.S/M?encoding=proto&message="), Dialect::Rest);
        assert_eq!(get("/p.S/M?connect=v1"), Dialect::Rest);
    }

    #[test]
    fn json_is_json_in_utf8() {
        for (content_type, taken) in [
            ("application/json", true),
            ("Application/JSON ; charset=UTF-8", true),
            ("application/json; charset=\"utf-8\"", true),
            ("application/json; charset=utf-16", false),
            ("text/json", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            assert_eq!(is_in_utf8(content_type, "application/json"), taken, "{content_type}");
        }
    }
}
