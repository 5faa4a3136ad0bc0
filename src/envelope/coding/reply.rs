//! How an upstream's messages are compressed that are read here.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;

use super::{Coding, Unpacking};
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
    pub fn open(self, compressed: bool, message: Bytes) -> Opening {
        match (compressed, self.coding) {
            (false, _) => Opening::Plain(message),
            (true, None | Some(Coding::Identity)) => Opening::Unnamed,
            (true, Some(coding)) => Opening::Packed(coding.unpack(message, self.limit)),
        }
    }
}

/// A message of an upstream's on its way out of its coding.
pub enum Opening {
    /// It is in none.
    Plain(Bytes),
    /// It is in one that the head does not name.
    Unnamed,
    /// It is unpacked, in turns.
    Packed(Unpacking<'static>),
}

impl Opening {
    /// Bytes that are kept for it.
    pub fn held(&self) -> usize {
        match self {
            Self::Plain(message) => message.len(),
            Self::Unnamed => 0,
            Self::Packed(unpacking) => unpacking.held(),
        }
    }
}

/// It fails where it is not what the head says, or larger than the limit.
impl Future for Opening {
    type Output = Result<Bytes, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        Poll::Ready(match &mut *self {
            Self::Plain(message) => Ok(std::mem::take(message)),
            Self::Unnamed => Err(Error::protocol("a message that is not compressed as grpc-encoding says")),
            Self::Packed(unpacking) => match ready!(Pin::new(unpacking).poll(cx)) {
                Ok(message) => Ok(message.into()),
                Err(Error::TooLarge { limit }) => Err(Error::ResponseTooLarge { limit }),
                Err(_) => Err(Error::protocol("a message whose compression is broken")),
            },
        })
    }
}
