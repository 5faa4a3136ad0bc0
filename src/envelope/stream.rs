//! Messages on their way through the gateway, the same for every envelope that streams.
//!
//! ```text
//! client → Reader → Translate → gRPC frames → upstream      request::Requests
//! client ← Writer ← Translate ← gRPC frames ← upstream      reply::Replies
//! ```
//!
//! A side whose frames are gRPC's own, with protobuf in them, takes neither: `opaque` lets its bytes cross as they are.
//! Nothing is buffered beyond one message, and that takes room of [`memory`](crate::memory): who reads slowly is waited for, frame by
//! frame, up to who sends.

mod once;
pub mod opaque;
mod prefixed;
mod reply;
mod request;
mod stop;

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;

use super::coding::Coding;
use crate::error::Error;

pub use once::Once;
pub use prefixed::{Prefixed, seal};
pub use reply::Replies;
pub use request::Requests;
pub use stop::Stop;

/// How an envelope's requests are cut into messages.
pub trait Reader: Send + Unpin {
    /// Takes the next chunk of the body.
    fn push(&mut self, chunk: Bytes);

    /// The next whole message; none until more has been pushed. Pending: others have their turns before it is unpacked.
    ///
    /// # Errors
    /// The body is broken for good, or the message is over its limit.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>>;

    /// Bytes that wait for the rest of their message.
    fn held(&self) -> usize;

    /// The body has ended: [`Reader::poll_next`] gives what is still there.
    ///
    /// # Errors
    /// It ended within a message.
    fn end(&mut self) -> Result<(), Error>;
}

/// How a codec turns one message of one side into one of the other.
pub trait Translate: Send + Unpin {
    /// Appends `message` as the other side writes it.
    ///
    /// # Errors
    /// It is not what the schema says, or too large. What was appended is not used.
    fn message(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Error>;

    /// There are no more messages. Appends a last one of the codec's own; whether there is one.
    ///
    /// # Errors
    /// It cannot be made.
    fn end(&mut self, _out: &mut Vec<u8>) -> Result<bool, Error> {
        Ok(false)
    }
}

/// How an envelope writes an answer's messages, and how it ends one.
pub trait Writer: Send + Unpin {
    /// Appends what comes before a message's bytes.
    fn open(&mut self, out: &mut Vec<u8>);

    /// Appends what comes after them, or changes what [`Writer::open`] wrote at `start`.
    fn shut(&mut self, start: usize, out: &mut Vec<u8>);

    /// What messages are compressed in when they are [sealed](seal), which is all that [`Writer::shut`] does then.
    fn coding(&self) -> Coding {
        Coding::Identity
    }

    /// Appends the end of the answer: after the upstream's trailers, which carry its status, or after an error of ours.
    fn close(&mut self, end: Result<HeaderMap, &Error>, out: &mut Vec<u8>) -> Last;

    /// A chunk as it goes to the connection.
    fn chunk(&self, chunk: Bytes) -> Bytes {
        chunk
    }

    /// What goes out from time to time while there is nothing to say.
    fn heartbeat(&self) -> Option<&'static [u8]> {
        None
    }
}

/// What follows an answer's last byte.
#[derive(Debug)]
pub enum Last {
    /// Nothing: the bytes say that it is whole, or why it is not.
    Nothing,
    /// HTTP trailers.
    Trailers(HeaderMap),
    /// A break: the envelope has no other way to say that the answer is not whole.
    Break,
}
