//! Messages behind gRPC's five-byte prefix: those of gRPC itself, and of what took its frames over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use transom_transcode::frame::{self, Deframer, FrameError, PREFIX};

use super::Reader;
use crate::envelope::coding::{self, Coding, Packing, Unpacking};
use crate::error::Error;

/// Cuts a request at its prefixes.
pub struct Prefixed {
    deframer: Deframer,
    coding: Coding,
    /// Bytes of one message, compressed or not.
    limit: usize,
    /// The next one.
    unpacking: Option<Unpacking<'static>>,
}

impl Prefixed {
    /// A reader of messages of at most `limit` bytes each; those that are marked as compressed are so in `coding`.
    pub fn new(limit: usize, coding: Coding) -> Self {
        Self { deframer: Deframer::new(limit), coding, limit, unpacking: None }
    }
}

impl Reader for Prefixed {
    fn push(&mut self, chunk: Bytes) {
        self.deframer.push(chunk);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        if self.unpacking.is_none() {
            match self.deframer.next() {
                Ok(Some(message)) if message.compressed => match self.coding {
                    Coding::Identity => {
                        return Poll::Ready(Err(Error::bad_request("a message is compressed, and no header says how")));
                    }
                    coding => self.unpacking = Some(coding.unpack(message.bytes, self.limit)),
                },
                Ok(message) => return Poll::Ready(Ok(message.map(|message| message.bytes))),
                Err(FrameError::TooLarge { .. }) => return Poll::Ready(Err(Error::TooLarge { limit: self.limit })),
                Err(error @ FrameError::Flag(_)) => return Poll::Ready(Err(Error::bad_request(error.to_string()))),
            }
        }
        let Some(unpacking) = &mut self.unpacking else { return Poll::Ready(Ok(None)) };
        let message = ready!(Pin::new(unpacking).poll(cx));
        self.unpacking = None;
        Poll::Ready(message.map(|message| Some(message.into())))
    }

    fn held(&self) -> usize {
        self.deframer.held() + self.unpacking.as_ref().map_or(0, Unpacking::held)
    }

    fn end(&mut self) -> Result<(), Error> {
        if self.deframer.is_empty() { Ok(()) } else { Err(Error::bad_request("the last message is cut short")) }
    }
}

/// Writes the prefix of an answer's message, which begins at `start` with room for it; compresses one that is worth it.
pub fn seal(start: usize, coding: Coding, out: &mut Vec<u8>) {
    let message = start + PREFIX;
    let worth = coding != Coding::Identity && out.len() - message >= coding::WORTH;
    let packed = if worth { coding::compress(coding, &out[message..]) } else { None };
    finish(start, packed.as_deref(), out);
}

/// The prefix of a message, and the message as it was `packed`, if it was.
fn finish(start: usize, packed: Option<&[u8]>, out: &mut Vec<u8>) {
    let message = start + PREFIX;
    if let Some(packed) = packed {
        out.truncate(message);
        out.extend_from_slice(packed);
    }
    let mut prefix = frame::prefix(out.len() - message);
    prefix[0] = u8::from(packed.is_some());
    out[start..message].copy_from_slice(&prefix);
}

/// A long message that is [sealed](seal) in turns with what else its thread has to do.
pub(super) struct Sealing {
    out: Bytes,
    start: usize,
    packing: Packing,
}

impl Sealing {
    /// What begins at `start` of `out`, if it is long.
    pub(super) fn of(start: usize, coding: Coding, out: &mut Vec<u8>) -> Option<Self> {
        if coding == Coding::Identity || out.len() - start <= coding::TURN {
            return None;
        }
        let out = Bytes::from(std::mem::take(out));
        let packing = Packing::new(coding, out.slice(start + PREFIX..));
        Some(Self { out, start, packing })
    }

    /// Bytes that are kept for it.
    pub(super) fn held(&self) -> usize {
        self.out.len()
    }
}

/// All of what it was made of.
impl Future for Sealing {
    type Output = Vec<u8>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<u8>> {
        let packed = ready!(Pin::new(&mut self.packing).poll(cx));
        self.packing = Packing::new(Coding::Identity, Bytes::new());
        let mut out = Vec::from(std::mem::take(&mut self.out));
        finish(self.start, packed.as_deref(), &mut out);
        Poll::Ready(out)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_long_message_is_sealed_in_turns() {
        let mut at_once = b"before".to_vec();
        at_once.extend_from_slice(&[0; PREFIX]);
        at_once.extend("the quick brown fox ".repeat(50_000).into_bytes());
        let (start, mut out) = (b"before".len(), at_once.clone());
        let mut sealing = Sealing::of(start, Coding::Gzip, &mut out).unwrap();
        assert!(out.is_empty() && sealing.held() == at_once.len());
        let mut turns = 0;
        let in_turns = poll_fn(|cx| {
            turns += 1;
            Pin::new(&mut sealing).poll(cx)
        })
        .await;
        assert_eq!(turns, at_once.len().div_ceil(coding::TURN));
        let message = start + PREFIX;
        let plain = at_once.split_off(message);
        let packed = &in_turns[message..];
        assert!(Coding::Gzip.decode(packed, plain.len()).unwrap() == plain);
        let mut prefix = frame::prefix(packed.len());
        prefix[0] = 1;
        assert_eq!(in_turns[..message], [b"before".as_slice(), &prefix].concat());
        let short = vec![0; coding::TURN];
        assert!(Sealing::of(0, Coding::Gzip, &mut short.clone()).is_none(), "it is sealed at once");
        assert!(Sealing::of(0, Coding::Identity, &mut in_turns.clone()).is_none());
    }
}
