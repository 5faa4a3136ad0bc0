//! The dialects' envelopes: how a request is read, a reply and an error are written. JSON and protobuf themselves
//! belong to the transcoder.
//!
//! ```text
//! dialect    which envelope and codec a request has
//! head       a request's parts, and what every call asks of its headers
//! cookies    those of a request
//! metadata   which headers cross, in both directions
//! origin     who the client is
//! coding     compression of bodies and of single messages
//! whole      a body that is one message
//! stream     messages on their way: the same for every envelope that streams
//! rest       JSON by HTTP rules
//! grpc       gRPC, with protobuf and with JSON
//! grpc_web   the same for browsers, binary and text
//! connect    Connect: unary calls as plain HTTP, streams in frames
//! websocket  handshake, frames and close codes of a call over a socket
//! ```

pub mod coding;
pub mod connect;
pub mod cookies;
mod dialect;
pub mod grpc;
pub mod grpc_web;
pub mod head;
pub mod metadata;
pub mod origin;
pub mod rest;
pub mod stream;
pub mod websocket;
pub mod whole;

pub use dialect::{Codec, Dialect, content_type, essence, is_in_utf8};
