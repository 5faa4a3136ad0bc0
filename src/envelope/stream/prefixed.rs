//! Requests whose messages have gRPC's five-byte prefix: gRPC itself and what took it over.

use bytes::Bytes;
use transom_transcode::frame::{Deframer, FrameError};

use super::Reader;
use crate::error::Error;

/// Cuts a body at its prefixes.
pub struct Prefixed {
    deframer: Deframer,
    /// Bytes of one message.
    limit: usize,
}

impl Prefixed {
    /// A reader of messages of at most `limit` bytes each.
    pub fn new(limit: usize) -> Self {
        Self { deframer: Deframer::new(limit), limit }
    }
}

impl Reader for Prefixed {
    fn push(&mut self, chunk: Bytes) {
        self.deframer.push(chunk);
    }

    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self.deframer.next() {
            Ok(Some(message)) if message.compressed => Err(Error::bad_request("send messages without compression")),
            Ok(message) => Ok(message.map(|message| message.bytes)),
            Err(FrameError::TooLarge { .. }) => Err(Error::TooLarge { limit: self.limit }),
            Err(error @ FrameError::Flag(_)) => Err(Error::bad_request(error.to_string())),
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        if self.deframer.is_empty() { Ok(()) } else { Err(Error::bad_request("the last message is cut short")) }
    }
}
