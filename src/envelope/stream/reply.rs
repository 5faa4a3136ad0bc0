//! Replies: an upstream's messages on their way to the client, translated by its codec and written by its envelope as it
//! takes them.

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use transom_transcode::frame::{Deframer, FrameError};
use transom_transcode::status::Code;

use super::prefixed::Sealing;
use super::{Last, Stop, Translate, Writer};
use crate::body::{Broken, End, Streamed};
use crate::envelope::coding::{Opening, Packed};
use crate::envelope::grpc::{self, status_of};
use crate::error::Error;
use crate::memory::Room;

/// Messages that are there already share a write, up to about this size.
const BATCH: usize = 16 * 1024;

/// An upstream's messages as its client reads them.
pub struct Replies<B, T, W> {
    upstream: B,
    deframer: Deframer,
    packed: Packed,
    /// Bytes of one message.
    limit: usize,
    translate: T,
    writer: W,
    stop: Stop,
    /// For what is kept.
    room: Room,
    /// The next message, while it is unpacked.
    opening: Option<Opening>,
    /// Translated and not yet taken.
    out: Vec<u8>,
    /// The same, while the last of it is compressed.
    sealing: Option<Box<Sealing>>,
    /// A message has been translated.
    begun: bool,
    state: State,
    /// What lies behind an error: for the log alone.
    cause: Option<String>,
    end: Option<End>,
    heartbeat: Option<(Interval, &'static [u8])>,
}

enum State {
    Open,
    /// The upstream has ended: its trailers, or why there are none.
    Ended(Result<HeaderMap, Error>),
    /// The end has been written.
    Closed(Last),
}

impl<B, T, W> Replies<B, T, W>
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<Error> + Display,
    T: Translate,
    W: Writer,
{
    /// A stream of messages of at most `limit` bytes each; `stop` knows of the other direction of the call. What is kept of them
    /// takes `room`.
    pub fn new(upstream: B, packed: Packed, translate: T, writer: W, limit: usize, stop: Stop, room: Room) -> Self {
        Self {
            upstream,
            deframer: Deframer::new(limit),
            packed,
            limit,
            translate,
            writer,
            stop,
            room,
            opening: None,
            out: Vec::new(),
            sealing: None,
            begun: false,
            state: State::Open,
            cause: None,
            end: None,
            heartbeat: None,
        }
    }

    /// Says something every so often, where the envelope has words for it: nothing between takes a quiet stream for dead.
    #[must_use]
    pub fn beating(mut self, every: Duration) -> Self {
        self.heartbeat = self.writer.heartbeat().map(|heartbeat| {
            let mut interval = interval_at(Instant::now() + every, every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            (interval, heartbeat)
        });
        self
    }

    /// Waits for the first message or the end, so that a call which fails at once has the right HTTP status.
    ///
    /// # Errors
    /// The call failed before its first message; the metadata beside its status.
    pub async fn first(&mut self) -> Result<(), (Error, HeaderMap)> {
        poll_fn(|cx| self.poll_fill(cx)).await;
        match &self.state {
            State::Ended(Ok(trailers)) if !self.begun => match status_of(trailers) {
                Some(status) if status.code != Code::Ok => Err((Error::Upstream(Box::new(status)), trailers.clone())),
                _ => Ok(()),
            },
            State::Ended(Err(error)) if !self.begun => Err((self.stop.or(error.clone()), HeaderMap::new())),
            _ => Ok(()),
        }
    }

    /// Translates what is there; ready once something can be written or the stream has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(sealing) = &mut self.sealing {
                self.out = ready!(Pin::new(sealing).poll(cx));
                self.sealing = None;
            }
            if !matches!(self.state, State::Open) || self.out.len() >= BATCH {
                return Poll::Ready(());
            }
            if let Some(opening) = &mut self.opening {
                let Poll::Ready(message) = Pin::new(opening).poll(cx) else {
                    self.room.keep_made(self.kept());
                    if self.out.is_empty() {
                        return Poll::Pending;
                    }
                    return Poll::Ready(());
                };
                self.opening = None;
                match message {
                    Ok(message) => self.write(&message),
                    Err(error) => self.ended(Err(error)),
                }
                self.room.keep_made(self.kept());
                continue;
            }
            match self.deframer.next() {
                Ok(Some(message)) => self.opening = Some(self.packed.open(message.compressed, message.bytes)),
                Ok(None) => match Pin::new(&mut self.upstream).poll_frame(cx) {
                    Poll::Pending if self.out.is_empty() => return Poll::Pending,
                    Poll::Pending => return Poll::Ready(()),
                    Poll::Ready(frame) => self.take(frame),
                },
                Err(FrameError::TooLarge { .. }) => self.ended(Err(Error::ResponseTooLarge { limit: self.limit })),
                Err(FrameError::Flag(flag)) => {
                    self.ended(Err(Error::protocol(format!("a message that begins with {flag}"))));
                }
            }
        }
    }

    fn take(&mut self, frame: Option<Result<Frame<Bytes>, B::Error>>) {
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.deframer.push(data);
                    if let Err(error) = self.room.keep(self.kept()) {
                        self.ended(Err(error));
                    }
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    // A status of OK over half a message is no OK.
                    let cut = !self.deframer.is_empty() && grpc::code_of(&trailers) == Some(Code::Ok);
                    self.ended(if cut { Err(Error::protocol("OK within a message")) } else { Ok(trailers) });
                }
            },
            Some(Err(error)) => {
                self.cause = Some(error.to_string());
                self.ended(Err(error.into()));
            }
            None => self.ended(Err(Error::protocol("no trailers"))),
        }
    }

    /// Bytes that are kept here: what has come of a message, and what the client has not taken.
    fn kept(&self) -> usize {
        let under_way =
            self.opening.as_ref().map_or(0, Opening::held) + self.sealing.as_ref().map_or(0, |it| it.held());
        self.deframer.held() + under_way + self.out.len()
    }

    fn ended(&mut self, end: Result<HeaderMap, Error>) {
        self.state = State::Ended(end);
    }

    fn write(&mut self, message: &[u8]) {
        let start = self.out.len();
        self.writer.open(&mut self.out);
        match self.translate.message(message, &mut self.out) {
            Ok(()) => {
                self.begun = true;
                match Sealing::of(start, self.writer.coding(), &mut self.out) {
                    Some(sealing) => self.sealing = Some(Box::new(sealing)),
                    None => self.writer.shut(start, &mut self.out),
                }
            }
            Err(error) => {
                self.out.truncate(start);
                self.ended(Err(error));
            }
        }
    }

    /// Writes the stream's last bytes.
    fn close(&mut self, end: Result<HeaderMap, Error>) -> Last {
        let end = end.and_then(|trailers| match grpc::code_of(&trailers) {
            Some(code) => Ok((trailers, code)),
            None => Err(Error::protocol("trailers without a status")),
        });
        match end {
            Ok((trailers, code)) => {
                self.end = Some(End::status(code));
                self.writer.close(Ok(trailers), &mut self.out)
            }
            Err(error) => {
                let error = self.stop.or(error);
                self.end = Some(End::error(&error, self.cause.take()));
                self.writer.close(Err(&error), &mut self.out)
            }
        }
    }
}

impl<B, T, W> Streamed for Replies<B, T, W>
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<Error> + Display,
    T: Translate,
    W: Writer,
{
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        if this.poll_fill(cx).is_pending() {
            let Some((interval, heartbeat)) = &mut this.heartbeat else { return Poll::Pending };
            ready!(interval.poll_tick(cx));
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(heartbeat)))));
        }
        this.state = match std::mem::replace(&mut this.state, State::Open) {
            State::Ended(end) => State::Closed(this.close(end)),
            state => state,
        };
        if !this.out.is_empty() {
            let chunk = this.writer.chunk(std::mem::take(&mut this.out).into());
            this.room.keep_made(this.kept());
            let chunk = this.room.memory().hold(chunk);
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match std::mem::replace(&mut this.state, State::Closed(Last::Nothing)) {
            State::Closed(Last::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            State::Closed(Last::Break) => Poll::Ready(Some(Err(Broken))),
            State::Closed(Last::Nothing) | State::Open | State::Ended(_) => Poll::Ready(None),
        }
    }

    fn end(&self) -> Option<End> {
        // Asked before there is one only after a panic.
        Some(self.end.clone().unwrap_or_else(|| End::error(&Error::Internal, None)))
    }
}
