//! The length prefix of a gRPC message, and what cuts a body into messages.
//!
//! Follows gRPC over HTTP/2: one byte that says whether the message is compressed, four bytes of length, big-endian.

pub mod connect;
pub mod timeout;
pub mod web;

use std::collections::VecDeque;
use std::fmt;

use bytes::{Buf as _, Bytes, BytesMut};

/// Bytes of a message's prefix.
pub const PREFIX: usize = 5;
/// What is reserved for a message that comes in pieces before any of it has come.
const FIRST_RESERVE: usize = 64 << 10;

/// The prefix of an uncompressed message. Limits keep messages under 4 GiB; a longer one gets the largest length.
pub fn prefix(len: usize) -> [u8; PREFIX] {
    let [a, b, c, d] = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    [0, a, b, c, d]
}

/// Writes the prefix of an uncompressed message into the room that it stands behind, the frame's first [`PREFIX`] bytes.
pub fn seal(frame: &mut [u8]) {
    if let Some((room, message)) = frame.split_first_chunk_mut() {
        *room = prefix(message.len());
    }
}

/// One message, without its prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// It is compressed as `grpc-encoding` says.
    pub compressed: bool,
    /// Its bytes; where they came in one chunk, a slice of that.
    pub bytes: Bytes,
}

/// Why a body is not a sequence of gRPC messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The first byte of a prefix is neither 0 nor 1.
    Flag(u8),
    /// A prefix announces more than the limit; nothing was buffered.
    TooLarge {
        /// What it announces.
        len: usize,
    },
}

/// Cuts a body into messages, whatever its chunks; it buffers at most one message and what was pushed.
#[derive(Debug)]
pub struct Deframer {
    limit: usize,
    chunks: VecDeque<Bytes>,
    prefix: [u8; PREFIX],
    /// How many bytes of the prefix are there.
    prefix_len: usize,
    /// The message so far, if it comes in pieces.
    partial: BytesMut,
}

impl Deframer {
    /// A deframer for messages of at most `limit` bytes each.
    pub fn new(limit: usize) -> Self {
        Self { limit, chunks: VecDeque::new(), prefix: [0; PREFIX], prefix_len: 0, partial: BytesMut::new() }
    }

    /// Takes the next chunk of the body; call [`Deframer::next`] until it is `None` before the next one.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.chunks.push_back(chunk);
        }
    }

    /// The next complete message; `None` until more has been pushed.
    ///
    /// # Errors
    /// The body is broken for good.
    #[expect(clippy::should_implement_trait, reason = "an iterator's None is the end; this one's is not")]
    pub fn next(&mut self) -> Result<Option<Message>, FrameError> {
        while self.prefix_len < PREFIX {
            let Some(chunk) = self.chunks.front_mut() else { return Ok(None) };
            let len = chunk.len().min(PREFIX - self.prefix_len);
            chunk.copy_to_slice(&mut self.prefix[self.prefix_len..self.prefix_len + len]);
            self.prefix_len += len;
            self.drop_empty();
        }
        let [flag, len @ ..] = self.prefix;
        let len = u32::from_be_bytes(len) as usize;
        if flag > 1 {
            return Err(FrameError::Flag(flag));
        }
        if len > self.limit {
            return Err(FrameError::TooLarge { len });
        }
        let bytes = if self.partial.is_empty() && self.chunks.front().map_or(0, Bytes::len) >= len {
            self.chunks.front_mut().map_or_else(Bytes::new, |chunk| chunk.split_to(len))
        } else {
            while self.partial.len() < len {
                let Some(chunk) = self.chunks.front_mut() else { return Ok(None) };
                if self.partial.is_empty() {
                    self.partial.reserve(len.min(FIRST_RESERVE));
                }
                let piece = chunk.split_to(chunk.len().min(len - self.partial.len()));
                self.partial.extend_from_slice(&piece);
                self.drop_empty();
            }
            self.partial.split().freeze()
        };
        self.prefix_len = 0;
        self.drop_empty();
        Ok(Some(Message { compressed: flag == 1, bytes }))
    }

    /// Bytes that wait here for the rest of their message.
    pub fn held(&self) -> usize {
        self.partial.len() + self.chunks.iter().map(Bytes::len).sum::<usize>()
    }

    /// Nothing is left: the body may end here.
    pub fn is_empty(&self) -> bool {
        self.prefix_len == 0 && self.chunks.is_empty()
    }

    fn drop_empty(&mut self) {
        if self.chunks.front().is_some_and(Bytes::is_empty) {
            self.chunks.pop_front();
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "a message begins with 0 or 1, not {flag}"),
            Self::TooLarge { len } => write!(f, "a gRPC message of {len} bytes is larger than allowed"),
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every message of a body that comes in these chunks, and whether it may end after them.
    fn read(chunks: &[&[u8]], limit: usize) -> Result<(Vec<Message>, bool), FrameError> {
        let mut deframer = Deframer::new(limit);
        let mut messages = Vec::new();
        for chunk in chunks {
            deframer.push(Bytes::copy_from_slice(chunk));
            while let Some(message) = deframer.next()? {
                messages.push(message);
            }
        }
        Ok((messages, deframer.is_empty()))
    }

    #[test]
    fn a_message_in_one_chunk_is_not_copied() {
        let chunk = Bytes::from_static(b"\0\0\0\0\x03abc\x01\0\0\0\x00");
        let mut deframer = Deframer::new(3);
        deframer.push(chunk.clone());
        let first = deframer.next().unwrap().unwrap();
        assert_eq!((first.compressed, &*first.bytes), (false, &b"abc"[..]));
        assert_eq!(first.bytes.as_ptr(), chunk[5..].as_ptr());
        assert_eq!(deframer.next(), Ok(Some(Message { compressed: true, bytes: Bytes::new() })));
        assert!(deframer.next() == Ok(None) && deframer.is_empty());
    }

    #[test]
    fn a_large_message_is_refused_by_its_prefix() {
        assert_eq!(read(&[b"\0\xff\xff\xff\xff"], 1 << 20), Err(FrameError::TooLarge { len: u32::MAX as usize }));
        assert_eq!(read(&[b"\x02\0\0\0\0"], 9), Err(FrameError::Flag(2)));
        assert_eq!(read(&[b"\0\0", b"\0\0\x02a"], 2), Ok((vec![], false)));
        assert_eq!(read(&[], 2), Ok((vec![], true)));
        assert_eq!(prefix(258), [0, 0, 0, 1, 2]);
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8),
            cuts in prop::collection::vec(0usize..200, 0..10),
        ) {
            let mut body = Vec::new();
            for message in &messages {
                body.extend_from_slice(&prefix(message.len()));
                body.extend_from_slice(message);
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            let (read, ended) = read(&chunks, 19).unwrap();
            prop_assert!(ended);
            prop_assert_eq!(read.into_iter().map(|message| message.bytes.to_vec()).collect::<Vec<_>>(), messages);
        }
    }
}
