//! The dialect of a call, as metrics and logs name it.

/// What the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DialectName {
    /// JSON by `google.api.http` rules.
    Rest,
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web, binary and text.
    GrpcWeb,
    /// Connect, unary and streams.
    Connect,
    /// A frame a message.
    WebSocket,
    /// Plain HTTP: the built-in endpoints.
    Http,
}

impl DialectName {
    /// Every dialect, by index.
    pub const ALL: [Self; 6] = [Self::Rest, Self::Grpc, Self::GrpcWeb, Self::Connect, Self::WebSocket, Self::Http];

    /// Its name in labels and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Grpc => "grpc",
            Self::GrpcWeb => "grpc_web",
            Self::Connect => "connect",
            Self::WebSocket => "websocket",
            Self::Http => "http",
        }
    }
}
