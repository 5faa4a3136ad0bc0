//! A server stream as JSON: an array, lines or events, translated as the client takes them.
//!
//! What has begun is never closed as if it were complete: after the head an error is a line, an event, or the end of the
//! connection.

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

use super::Form;
use crate::body::{Broken, End, Streamed};
use crate::error::Error;

/// Messages that are there already share a write, up to about this size.
const BATCH: usize = 16 * 1024;

/// A comment goes out this often, so that nothing between takes a quiet event stream for a dead one.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What the stream asks of the route that it belongs to.
pub trait Translate: Send + Unpin {
    /// Appends a message's JSON.
    ///
    /// # Errors
    /// The message is not what the schema says, or too large.
    fn message(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Error>;

    /// An error as `google.rpc.Status` in JSON.
    fn error(&self, error: &Error) -> Vec<u8>;

    /// The outcome that trailers carry.
    ///
    /// # Errors
    /// The upstream's status, not OK.
    fn outcome(&self, trailers: &HeaderMap) -> Result<(), Error>;
}

/// An upstream's messages on their way to a REST client.
pub struct Messages<B, T> {
    upstream: B,
    deframer: Deframer,
    /// Bytes of one message.
    limit: usize,
    translate: T,
    form: Form,
    /// Translated and not yet taken.
    out: Vec<u8>,
    /// Messages translated.
    count: u64,
    end: Option<Result<(), Error>>,
    /// What lies behind an error: for the log alone.
    cause: Option<String>,
    /// The closing bracket, or the error, has been written.
    closed: bool,
    /// What came before a break has had its turn to be written.
    flushed: bool,
    heartbeat: Option<Interval>,
}

impl<B, T> Messages<B, T>
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<Error> + Display,
    T: Translate,
{
    /// A stream of messages of at most `limit` bytes each.
    pub fn new(upstream: B, translate: T, form: Form, limit: usize) -> Self {
        let heartbeat = (form == Form::Events).then(|| {
            let mut interval = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        let deframer = Deframer::new(limit);
        Self {
            upstream,
            deframer,
            limit,
            translate,
            form,
            out: Vec::new(),
            count: 0,
            end: None,
            cause: None,
            closed: false,
            flushed: false,
            heartbeat,
        }
    }

    /// Waits for the first message or the end, so that a call which fails at once has the right HTTP status.
    ///
    /// # Errors
    /// The call failed before its first message.
    pub async fn first(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_fill(cx)).await;
        match (&self.end, self.count) {
            (Some(Err(error)), 0) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Translates what is there; ready once something can be written or the stream has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.end.is_none() && self.out.len() < BATCH {
            match self.deframer.next() {
                Ok(Some(message)) if message.compressed => self.end = Some(Err(Error::UpstreamProtocol)),
                Ok(Some(message)) => self.write(&message.bytes),
                Ok(None) => match Pin::new(&mut self.upstream).poll_frame(cx) {
                    Poll::Pending if self.out.is_empty() => return Poll::Pending,
                    Poll::Pending => break,
                    Poll::Ready(frame) => self.take(frame),
                },
                Err(FrameError::TooLarge { .. }) => self.end = Some(Err(Error::ResponseTooLarge { limit: self.limit })),
                Err(FrameError::Flag(_)) => self.end = Some(Err(Error::UpstreamProtocol)),
            }
        }
        Poll::Ready(())
    }

    fn take(&mut self, frame: Option<Result<Frame<Bytes>, B::Error>>) {
        self.end = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.deframer.push(data);
                    None
                }
                // A status of OK over half a message is no OK.
                Err(_) if !self.deframer.is_empty() => Some(Err(Error::UpstreamProtocol)),
                Err(frame) => frame.trailers_ref().map(|trailers| self.translate.outcome(trailers)),
            },
            Some(Err(error)) => {
                self.cause = Some(error.to_string());
                Some(Err(error.into()))
            }
            None => Some(Err(Error::UpstreamProtocol)),
        };
    }

    fn write(&mut self, message: &[u8]) {
        let start = self.out.len();
        match self.form {
            Form::Array => self.out.push(if self.count == 0 { b'[' } else { b',' }),
            Form::Lines => {}
            Form::Events => {
                self.out.extend_from_slice(b"id: ");
                self.out.extend_from_slice(itoa::Buffer::new().format(self.count + 1).as_bytes());
                self.out.extend_from_slice(b"\ndata: ");
            }
        }
        if let Err(error) = self.translate.message(message, &mut self.out) {
            self.out.truncate(start);
            self.end = Some(Err(error));
            return;
        }
        match self.form {
            Form::Array => {}
            Form::Lines => self.out.push(b'\n'),
            Form::Events => self.out.extend_from_slice(b"\n\n"),
        }
        self.count += 1;
    }

    /// Writes the stream's last bytes.
    fn close(&mut self) {
        self.closed = true;
        let (before, after): (&[u8], &[u8]) = match self.form {
            Form::Array => (b"", b""),
            Form::Lines => (b"{\"error\":", b"}\n"),
            Form::Events => (b"event: error\ndata: ", b"\n\n"),
        };
        match &self.end {
            Some(Ok(())) if self.form == Form::Array => {
                self.out.extend_from_slice(if self.count == 0 { b"[]" } else { b"]" });
            }
            Some(Err(error)) if self.form != Form::Array => {
                self.out.extend_from_slice(before);
                self.out.extend_from_slice(&self.translate.error(error));
                self.out.extend_from_slice(after);
            }
            _ => {}
        }
    }
}

impl<B, T> Streamed for Messages<B, T>
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<Error> + Display,
    T: Translate,
{
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        if this.poll_fill(cx).is_pending() {
            let Some(heartbeat) = &mut this.heartbeat else { return Poll::Pending };
            ready!(heartbeat.poll_tick(cx));
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b":\n\n")))));
        }
        if !this.closed && this.end.is_some() {
            this.close();
        }
        if this.out.is_empty() {
            // An array that ends in an error is left open.
            let broken = this.form == Form::Array && matches!(this.end, Some(Err(_)));
            if broken && !this.flushed {
                // The server throws away with the connection what it has not written yet: it gets a turn to write.
                this.flushed = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(broken.then_some(Err(Broken)));
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(std::mem::take(&mut this.out))))))
    }

    fn end(&self) -> End {
        match &self.end {
            Some(Ok(())) => End::status(Code::Ok),
            Some(Err(error)) => End::error(error, self.cause.clone()),
            // Asked before there is one only after a panic.
            None => End::error(&Error::Internal, None),
        }
    }
}
