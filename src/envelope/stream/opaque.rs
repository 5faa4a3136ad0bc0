//! Opaque frames: the bytes cross as they came, and only the prefixes of the messages in them are read.

use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use transom_transcode::frame::{FrameError, PREFIX};
use transom_transcode::status::Code;

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

    /// The end, after `before`, the last bytes of whole messages.
    fn close(&mut self, before: &[u8], end: Result<HeaderMap, (Error, Option<String>)>) -> Poll<Option<Sent>> {
        let cut = self.lengths.is_within();
        let end = end.and_then(|trailers| match grpc::code_of(&trailers) {
            // A status of OK over half a message is no OK.
            Some(Code::Ok) if cut => Err((Error::protocol("OK within a message"), None)),
            Some(code) => Ok((trailers, code)),
            None => Err((Error::protocol("trailers without a status"), None)),
        });
        let mut out = before.to_vec();
        self.last = match end {
            Ok((trailers, code)) => {
                self.end = Some(End::status(code));
                self.writer.close(Ok(trailers), &mut out)
            }
            Err((error, cause)) => {
                let error = self.stop.or(error);
                let last = self.writer.close(Err(&error), &mut out);
                self.end = Some(End::error(&error, cause));
                last
            }
        };
        if cut && out.len() > before.len() {
            // An end in the body would be read as what is missing of the message.
            out.truncate(before.len());
            self.last = Last::Break;
        }
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
                    Err((whole, wrong)) => {
                        let (error, cause) = match wrong {
                            Wrong::TooLarge(limit) => {
                                let cause = "a message that is announced to be longer".to_owned();
                                (Error::ResponseTooLarge { limit }, Some(cause))
                            }
                            Wrong::Flag(flag) => (Error::protocol(format!("a message that begins with {flag}")), None),
                        };
                        this.close(&data[..whole], Err((error, cause)))
                    }
                },
                Err(frame) => this.close(&[], Ok(frame.into_trailers().unwrap_or_default())),
            },
            Some(Err(error)) => {
                let cause = error.to_string();
                this.close(&[], Err((error.into(), Some(cause))))
            }
            // An answer without trailers says nothing about its outcome.
            None => this.close(&[], Err((Error::protocol("no trailers"), None))),
        }
    }

    fn end(&self) -> Option<End> {
        // Asked before there is one only after a panic.
        Some(self.end.clone().unwrap_or_else(|| End::error(&Error::Internal, None)))
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

    /// The end may come here.
    fn whole(&self) -> Result<(), Error> {
        if self.lengths.is_within() { Err(Error::bad_request("the last message is cut short")) } else { Ok(()) }
    }
}

impl<B> Body for Watched<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let fault = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                let passed = match frame.data_ref() {
                    Some(data) => {
                        self.stop.came(data.len());
                        self.lengths.pass(data).map_err(|(_, wrong)| match wrong {
                            Wrong::TooLarge(limit) => Error::TooLarge { limit },
                            Wrong::Flag(flag) => Error::bad_request(FrameError::Flag(flag).to_string()),
                        })
                    }
                    // Trailers are an end too, and go no further.
                    None => self.whole(),
                };
                match passed {
                    Ok(()) => return Poll::Ready(Some(Ok(frame))),
                    Err(fault) => fault,
                }
            }
            Some(Err(_)) => return Poll::Ready(Some(Err(Broken))),
            None => match self.whole() {
                Ok(()) => return Poll::Ready(None),
                Err(fault) => fault,
            },
        };
        self.stop.with(fault);
        Poll::Ready(Some(Err(Broken)))
    }

    /// Who sends on as the body ends must not take half a message for whole: then it is asked once more.
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && !self.lengths.is_within()
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
    prefix: [u8; PREFIX],
    seen: usize,
}

impl Lengths {
    fn new(limit: usize) -> Self {
        Self { limit, rest: 0, prefix: [0; PREFIX], seen: 0 }
    }

    /// What has passed ends in the middle of a message, or of its prefix.
    fn is_within(&self) -> bool {
        self.rest > 0 || self.seen > 0
    }

    /// One more chunk. Of one that may not pass as a whole, the bytes before the wrong message may.
    fn pass(&mut self, chunk: &[u8]) -> Result<(), (usize, Wrong)> {
        let mut at = 0;
        while at < chunk.len() {
            if self.rest > 0 {
                let taken = self.rest.min(chunk.len() - at);
                self.rest -= taken;
                at += taken;
                continue;
            }
            let taken = (PREFIX - self.seen).min(chunk.len() - at);
            self.prefix[self.seen..self.seen + taken].copy_from_slice(&chunk[at..at + taken]);
            self.seen += taken;
            at += taken;
            if self.seen < PREFIX {
                break;
            }
            let [flag, length @ ..] = self.prefix;
            let length = u32::from_be_bytes(length) as usize;
            let wrong = match flag {
                0 | 1 if length <= self.limit => {
                    (self.seen, self.rest) = (0, length);
                    continue;
                }
                0 | 1 => Wrong::TooLarge(self.limit),
                flag => Wrong::Flag(flag),
            };
            // What of its prefix came in an earlier chunk has passed.
            let before = at.checked_sub(PREFIX);
            self.seen = if before.is_some() { 0 } else { self.seen };
            return Err((before.unwrap_or(0), wrong));
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
    fn a_longer_message_is_refused_at_its_prefix_and_what_was_before_it_passes() {
        let stream = stream();
        for size in 1..=stream.len() {
            let mut lengths = Lengths::new(9);
            let mut passed = 0;
            let refused = stream.chunks(size).find_map(|chunk| match lengths.pass(chunk) {
                Ok(()) => {
                    passed += chunk.len();
                    None
                }
                Err((whole, wrong)) => Some((passed + whole, wrong)),
            });
            // The third prefix is at byte 13; of one that began in an earlier chunk, that part has passed.
            let before = if 13 / size == 17 / size { 13 } else { 17 / size * size };
            assert_eq!(refused, Some((before, Wrong::TooLarge(9))), "chunks of {size}");
            assert_eq!(lengths.is_within(), before > 13, "chunks of {size}");
        }
    }

    #[test]
    fn a_stream_may_end_between_its_messages_alone() {
        let stream = stream();
        for end in 0..=stream.len() {
            let mut lengths = Lengths::new(10);
            lengths.pass(&stream[..end]).unwrap();
            assert_eq!(!lengths.is_within(), [0, 5, 13, 28, 34].contains(&end), "{end} bytes");
        }
    }
}
