//! Opaque gRPC frames: the bytes cross as they came, and only the lengths in the frame headers are read.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{code, trailers};
use crate::body::{Broken, End, Streamed};
use crate::error::Error;

/// An upstream's answer on its way to a gRPC client. However it ends, the client gets a status.
pub struct Frames<B> {
    body: B,
    lengths: Lengths,
    end: Option<End>,
    /// Set where the client's stream was stopped for a message over its limit.
    stopped: Arc<AtomicBool>,
    request_limit: usize,
}

impl<B> Frames<B> {
    /// Lets messages of up to `limit` bytes through; `request` is the other direction of the call.
    pub fn new(body: B, limit: usize, request: Stop) -> Self {
        Self { body, lengths: Lengths::new(limit), end: None, stopped: request.stopped, request_limit: request.limit }
    }

    fn fail(&mut self, error: &Error, cause: Option<String>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let over = Error::TooLarge { limit: self.request_limit };
        let error = if self.stopped.load(Ordering::Relaxed) { &over } else { error };
        self.end = Some(End::error(error, cause));
        Poll::Ready(Some(Ok(Frame::trailers(trailers(error)))))
    }
}

impl<B> Streamed for Frames<B>
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<Error> + Display,
{
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        if this.end.is_some() {
            return Poll::Ready(None);
        }
        match std::task::ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    if let Err(limit) = this.lengths.pass(data) {
                        return this.fail(&Error::ResponseTooLarge { limit }, None);
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    match code(trailers) {
                        Some(code) => this.end = Some(End::status(code)),
                        None => {
                            return this.fail(&Error::UpstreamProtocol, Some("trailers without a status".to_owned()));
                        }
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                let cause = error.to_string();
                this.fail(&error.into(), Some(cause))
            }
            // An answer without trailers says nothing about its outcome.
            None => this.fail(&Error::UpstreamProtocol, Some("no trailers".to_owned())),
        }
    }

    fn end(&self) -> End {
        // Asked before there is one only after a panic.
        self.end.clone().unwrap_or_else(|| End::error(&Error::Internal, None))
    }
}

/// A client's messages on their way to the upstream.
pub struct Watched<B> {
    body: B,
    lengths: Lengths,
    stopped: Arc<AtomicBool>,
}

/// What the answer's side knows of the request's: whether it was stopped, and at which limit.
pub struct Stop {
    stopped: Arc<AtomicBool>,
    limit: usize,
}

impl<B> Watched<B> {
    /// Lets messages of up to `limit` bytes through.
    pub fn new(body: B, limit: usize) -> (Self, Stop) {
        let stopped = Arc::new(AtomicBool::new(false));
        (Self { body, lengths: Lengths::new(limit), stopped: stopped.clone() }, Stop { stopped, limit })
    }
}

impl Stop {
    /// The error to answer with: the client's own fault where it sent too much.
    pub fn or(&self, error: Error) -> Error {
        if self.stopped.load(Ordering::Relaxed) { Error::TooLarge { limit: self.limit } } else { error }
    }
}

impl<B> Body for Watched<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(Err(_)) = frame.data_ref().map(|data| self.lengths.pass(data)) {
                    self.stopped.store(true, Ordering::Relaxed);
                    return Poll::Ready(Some(Err(Broken)));
                }
                Some(Ok(frame))
            }
            Some(Err(_)) => Some(Err(Broken)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Follows the length prefixes of a stream of messages, wherever the chunks are cut.
#[derive(Debug)]
struct Lengths {
    limit: usize,
    /// Bytes of the current message still to come.
    rest: usize,
    /// The prefix seen so far.
    prefix: [u8; 5],
    seen: usize,
}

impl Lengths {
    fn new(limit: usize) -> Self {
        Self { limit, rest: 0, prefix: [0; 5], seen: 0 }
    }

    /// One more chunk; refused with the limit once a message in it is announced to be longer.
    fn pass(&mut self, mut chunk: &[u8]) -> Result<(), usize> {
        while !chunk.is_empty() {
            if self.rest > 0 {
                let taken = self.rest.min(chunk.len());
                self.rest -= taken;
                chunk = &chunk[taken..];
                continue;
            }
            let taken = (self.prefix.len() - self.seen).min(chunk.len());
            self.prefix[self.seen..self.seen + taken].copy_from_slice(&chunk[..taken]);
            self.seen += taken;
            chunk = &chunk[taken..];
            if self.seen == self.prefix.len() {
                self.seen = 0;
                let [_, length @ ..] = self.prefix;
                self.rest = u32::from_be_bytes(length) as usize;
                if self.rest > self.limit {
                    return Err(self.limit);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Lengths;

    fn stream() -> Vec<u8> {
        let mut stream = Vec::new();
        for length in [0_u32, 3, 10, 1] {
            stream.push(0);
            stream.extend_from_slice(&length.to_be_bytes());
            stream.extend(std::iter::repeat_n(0xff, length as usize));
        }
        stream
    }

    #[test]
    fn messages_within_the_limit_pass_however_they_are_cut() {
        let stream = stream();
        for size in 1..=stream.len() {
            let mut lengths = Lengths::new(10);
            assert!(stream.chunks(size).all(|chunk| lengths.pass(chunk).is_ok()), "chunks of {size}");
        }
    }

    #[test]
    fn a_longer_message_is_refused_at_its_prefix() {
        let stream = stream();
        for size in 1..=stream.len() {
            let mut lengths = Lengths::new(9);
            let passed = stream.chunks(size).position(|chunk| lengths.pass(chunk) == Err(9));
            // The third prefix ends at byte 18.
            assert_eq!(passed, Some(17 / size), "chunks of {size}");
        }
    }
}
