//! JSON and protobuf wire format, translated directly by descriptors.
//!
//! The ground that the gateway stands on, usable alone: it knows no socket, no runtime and no server.
//!
//! ```text
//! percent      what an escape stands for
//! status       google.rpc codes and Status, HTTP ↔ code, grpc-message percent coding
//! invalid      why an input cannot be translated: what, where, the way out
//! schema       raw descriptors → flat tables, features resolved
//! template     the google.api.http path grammar
//! router       (method, path) → (&T, captures)
//! plan         what a route binds and prints, resolved at load
//! scratch      what translations keep from call to call
//! json         the JSON scanner and printer
//! well_known   Timestamp, Duration, FieldMask, Struct, Any, wrappers
//! to_wire      (plan, body, captures, query) → message bytes
//! to_json      message bytes → JSON
//! canonical    message bytes → the same message as one encoder writes it
//! sound        message bytes → whether every runtime reads them
//! overlay      fields of a message that are set over it
//! sanitize     message bytes → the same with its strings cleaned
//! validate     message bytes → which rules of `buf.validate` they break
//! frame        the gRPC length prefix, grpc-timeout
//! ```
//! A module uses only modules above it.

pub mod canonical;
pub mod frame;
pub mod invalid;
mod json;
pub mod overlay;
mod percent;
pub mod plan;
pub mod router;
pub mod sanitize;
pub mod schema;
pub mod scratch;
pub mod sound;
pub mod status;
pub mod template;
pub mod to_json;
pub mod to_wire;
pub mod validate;
mod well_known;
