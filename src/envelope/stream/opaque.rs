//! Opaque frames: the bytes cross as they came, and only the prefixes of the messages in them are read.

use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use transom_transcode::frame::FrameError;

use super::{Last, Stop, Writer};
use crate::body::{Broken, End, Streamed};
use crate::envelope::grpc;
use crate::error::Error;

/// An upstream's answer on its way to a client whose frames are the same. However it ends, the client is told.
pub struct Frames<B, W> {
    body: B,
    lengths: Lengths,
    writer: W,
    stop: Stop,
    end: Option<End>,
    /// What follows the last byte.
    last: Last,
}

impl<B, W: Writer> Frames<B, W> {
    /// Lets messages of up to `limit` bytes through; `stop` knows of the other direction of the call.
    pub fn new(body: B, limit: usize, stop: Stop, writer: W) -> Self {
        Self { body, lengths: Lengths::new(limit), writer, stop, end: None, last: Last::Nothing }
    }

    fn close(&mut self, end: Result<HeaderMap, (Error, String)>) -> Poll<Option<Sent>> {
        let end = end.and_then(|trailers| match grpc::code_of(&trailers) {
            Some(code) => Ok((trailers, code)),
            None => Err((Error::UpstreamProtocol, "trailers without a status".to_owned())),
        });
        let mut out = Vec::new();
        self.last = match end {
            Ok((trailers, code)) => {
                self.end = Some(End::status(code));
                self.writer.close(Ok(trailers), &mut out)
            }
            Err((error, cause)) => {
                let error = self.stop.or(error);
                let last = self.writer.close(Err(&error), &mut out);
                self.end = Some(End::error(&error, Some(cause)));
                last
            }
        };
        if out.is_empty() {
            return self.finish();
        }
        Poll::Ready(Some(Ok(Frame::data(self.writer.chunk(out.into())))))
    }

    fn finish(&mut self) -> Poll<Option<Sent>> {
        Poll::Ready(match std::mem::replace(&mut self.last, Last::Nothing) {
            Last::Nothing => None,
            Last::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
            Last::Break => Some(Err(Broken)),
        })
    }
}

type Sent = Result<Frame<Bytes>, Broken>;

impl<B, W> Streamed for Frames<B, W>
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<Error> + Display,
    W: Writer,
{
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Sent>> {
        let this = &mut *self;
        if this.end.is_some() {
            return this.finish();
        }
        match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => match this.lengths.pass(&data) {
                    Ok(()) => Poll::Ready(Some(Ok(Frame::data(this.writer.chunk(data))))),
                    Err(Wrong::TooLarge(limit)) => {
                        let cause = "a message that is announced to be longer".to_owned();
                        this.close(Err((Error::ResponseTooLarge { limit }, cause)))
                    }
                    Err(Wrong::Flag(flag)) => {
                        let cause = format!("a message that begins with {flag}");
                        this.close(Err((Error::UpstreamProtocol, cause)))
                    }
                },
                Err(frame) => this.close(Ok(frame.into_trailers().unwrap_or_default())),
            },
            Some(Err(error)) => {
                let cause = error.to_string();
                this.close(Err((error.into(), cause)))
            }
            // An answer without trailers says nothing about its outcome.
            None => this.close(Err((Error::UpstreamProtocol, "no trailers".to_owned()))),
        }
    }

    fn end(&self) -> End {
        // Asked before there is one only after a panic.
        self.end.clone().unwrap_or_else(|| End::error(&Error::Internal, None))
    }
}

/// A client's frames on their way to the upstream.
pub struct Watched<B> {
    body: B,
    lengths: Lengths,
    stop: Stop,
}

impl<B> Watched<B> {
    /// Lets messages of up to `limit` bytes through; a fault of the client's is left in `stop`.
    pub fn new(body: B, limit: usize, stop: Stop) -> Self {
        Self { body, lengths: Lengths::new(limit), stop }
    }
}

impl<B> Body for Watched<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.stop.came(data.len());
                }
                if let Some(Err(wrong)) = frame.data_ref().map(|data| self.lengths.pass(data)) {
                    self.stop.with(match wrong {
                        Wrong::TooLarge(limit) => Error::TooLarge { limit },
                        Wrong::Flag(flag) => Error::bad_request(FrameError::Flag(flag).to_string()),
                    });
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

/// Why a stream of messages may not go on.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    /// A message is announced to be longer than this.
    TooLarge(usize),
    /// A message begins with neither 0 nor 1: what other envelopes mean by it must not be said by this side.
    Flag(u8),
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

    /// One more chunk.
    fn pass(&mut self, mut chunk: &[u8]) -> Result<(), Wrong> {
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
                let [flag, length @ ..] = self.prefix;
                if flag > 1 {
                    return Err(Wrong::Flag(flag));
                }
                self.rest = u32::from_be_bytes(length) as usize;
                if self.rest > self.limit {
                    return Err(Wrong::TooLarge(self.limit));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Lengths, Wrong};

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
            let passed = stream.chunks(size).position(|chunk| lengths.pass(chunk) == Err(Wrong::TooLarge(9)));
            // The third prefix ends at byte 18.
            assert_eq!(passed, Some(17 / size), "chunks of {size}");
        }
    }
}
