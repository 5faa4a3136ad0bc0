//! Passage: how a call crosses the gateway once its head is let in, decided at one place by its dialect and its RPC.

use super::route::Rpc;
use crate::envelope::{Codec, Dialect};

/// How a call crosses.
pub(super) enum Passage {
    /// REST: one message, translated.
    Rest,
    /// REST: a stream of messages, translated one by one.
    RestStream,
    /// gRPC: frames, unread both ways.
    Opaque,
    /// gRPC, gRPC-Web and Connect's streams: frames that are read, kept, or in another codec or envelope.
    Framed,
    /// Connect: one message without a frame.
    Connect,
    /// A WebSocket, whose call goes on after its answer's head.
    Socket,
}

impl Passage {
    /// That of a call in this dialect.
    pub(super) fn of(dialect: Dialect, rpc: &Rpc) -> Self {
        match dialect {
            Dialect::Rest | Dialect::Http if rpc.client_streaming => Self::RestStream,
            Dialect::Rest | Dialect::Http => Self::Rest,
            Dialect::Grpc(Codec::Proto) if !rpc.reads(dialect) && !rpc.buffers() => Self::Opaque,
            Dialect::Grpc(_) | Dialect::GrpcWeb { .. } | Dialect::ConnectStream(_) => Self::Framed,
            Dialect::Connect(_) | Dialect::ConnectGet(_) => Self::Connect,
            Dialect::WebSocket => Self::Socket,
        }
    }
}
