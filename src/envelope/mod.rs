//! The dialects' envelopes: how a request is read, a reply and an error are written. JSON and protobuf themselves
//! belong to the transcoder.
//!
//! ```text
//! dialect    which envelope and codec a request has
//! head       what every call asks of its headers
//! metadata   which headers cross, in both directions
//! origin     who the client is
//! stream     messages on their way: the same for every envelope that streams
//! rest, grpc one folder an envelope
//! ```

mod dialect;
pub mod grpc;
pub mod head;
pub mod metadata;
pub mod origin;
pub mod rest;
pub mod stream;

pub use dialect::{Codec, Dialect, content_type, essence};
