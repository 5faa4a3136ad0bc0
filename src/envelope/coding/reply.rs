//! How an upstream's messages are compressed that are read here.

use bytes::Bytes;
use http::HeaderMap;

use super::Coding;
use crate::envelope::metadata::GRPC_ENCODING;
use crate::error::Error;

/// What a reply's head says of the messages that are marked as compressed, and how large they may be.
#[derive(Debug, Clone, Copy)]
pub struct Packed {
    /// None if it is one that was not asked for.
    coding: Option<Coding>,
    limit: usize,
}

impl Packed {
    /// By a reply's head, for messages of at most `limit` bytes.
    pub fn of(headers: &HeaderMap, limit: usize) -> Self {
        Self { coding: Coding::of_messages(headers.get(&GRPC_ENCODING)).ok(), limit }
    }

    /// Whoever accepts this coding can read them as they are.
    pub fn is_taken_by(self, accepted: Coding) -> bool {
        self.coding.is_some_and(|coding| coding == Coding::Identity || coding == accepted)
    }

    /// A message as it is, and as it was before it was `compressed`.
    ///
    /// # Errors
    /// It is not what the head says, or larger than the limit.
    pub fn open(self, compressed: bool, message: Bytes) -> Result<Bytes, Error> {
        match (compressed, self.coding) {
            (false, _) => Ok(message),
            (true, None | Some(Coding::Identity)) => {
                Err(Error::protocol("a message that is not compressed as grpc-encoding says"))
            }
            (true, Some(coding)) => match coding.decode(&message, self.limit) {
                Ok(message) => Ok(message.into()),
                Err(Error::TooLarge { limit }) => Err(Error::ResponseTooLarge { limit }),
                Err(_) => Err(Error::protocol("a message whose compression is broken")),
            },
        }
    }
}
