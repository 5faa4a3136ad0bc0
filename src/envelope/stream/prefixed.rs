//! Messages behind gRPC's five-byte prefix: those of gRPC itself, and of what took its frames over.

use bytes::Bytes;
use transom_transcode::frame::{self, Deframer, FrameError, PREFIX};

use super::Reader;
use crate::envelope::coding::{self, Coding};
use crate::error::Error;

/// Cuts a request at its prefixes.
pub struct Prefixed {
    deframer: Deframer,
    coding: Coding,
    /// Bytes of one message, compressed or not.
    limit: usize,
}

impl Prefixed {
    /// A reader of messages of at most `limit` bytes each; those that are marked as compressed are so in `coding`.
    pub fn new(limit: usize, coding: Coding) -> Self {
        Self { deframer: Deframer::new(limit), coding, limit }
    }
}

impl Reader for Prefixed {
    fn push(&mut self, chunk: Bytes) {
        self.deframer.push(chunk);
    }

    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self.deframer.next() {
            Ok(Some(message)) if message.compressed => match self.coding {
                Coding::Identity => Err(Error::bad_request("a message is compressed, and no header says how")),
                coding => coding.decode(&message.bytes, self.limit).map(|message| Some(message.into())),
            },
            Ok(message) => Ok(message.map(|message| message.bytes)),
            Err(FrameError::TooLarge { .. }) => Err(Error::TooLarge { limit: self.limit }),
            Err(error @ FrameError::Flag(_)) => Err(Error::bad_request(error.to_string())),
        }
    }

    fn held(&self) -> usize {
        self.deframer.held()
    }

    fn end(&mut self) -> Result<(), Error> {
        if self.deframer.is_empty() { Ok(()) } else { Err(Error::bad_request("the last message is cut short")) }
    }
}

/// Writes the prefix of an answer's message, which begins at `start` with room for it; compresses one that is worth it.
pub fn seal(start: usize, coding: Coding, out: &mut Vec<u8>) {
    let message = start + PREFIX;
    let mut packed = None;
    if coding != Coding::Identity && out.len() - message >= coding::WORTH {
        packed = coding::compress(coding, &out[message..]);
    }
    let compressed = packed.is_some();
    if let Some(packed) = packed {
        out.truncate(message);
        out.extend_from_slice(&packed);
    }
    let mut prefix = frame::prefix(out.len() - message);
    prefix[0] = u8::from(compressed);
    out[start..message].copy_from_slice(&prefix);
}
