//! Bodies: what a client sends, from whichever server reads it, and the one response body, whole or as it comes.
//!
//! A response body carries the call's [`Guard`], which learns of the last byte, or of the drop when the client left before it. A call whose
//! client does not read is in flight as long as its bytes are kept: those that the server asks to ([`Body::keep`]) hold the guard.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use transom_transcode::status::Code;

use crate::error::Error;
use crate::memory::held;

/// Bytes that the connection is given at once: a client that reads slowly is seen to read.
const PIECE: usize = 64 * 1024;

/// A request's body.
pub trait Incoming:
    http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static
{
}

impl<B> Incoming for B where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static
{
}

/// A response body.
pub struct Body {
    content: Content,
    guard: Option<Box<dyn Guard>>,
    long: Option<Box<Long>>,
}

/// What is known of an answer that is long.
#[derive(Default)]
struct Long {
    /// What is left of a frame that came in one piece.
    rest: Bytes,
    /// The guard, once the last byte was handed over; the bytes that are not written yet share it.
    held: Arc<Mutex<Option<Box<dyn Guard>>>>,
}

/// Where the bytes come from.
enum Content {
    Empty,
    /// No bytes: what it comes to was said in the head.
    Told(Box<End>),
    Full(Bytes),
    Streamed(Pin<Box<dyn Streamed>>),
}

/// A body that is made while it is sent: opaque gRPC frames, translated messages, a built-in endpoint's.
pub trait Streamed: Send {
    /// The next frame, as [`http_body::Body::poll_frame`]; an error breaks the answer off, so that no client takes it
    /// for whole.
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>>;

    /// The call's outcome, asked for once, when the last frame or the error has been given; none: it was noted before.
    fn end(&self) -> Option<End>;

    /// What is known of the length of what is still to come.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }

    /// No more bytes will come.
    fn is_over(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }
}

/// The outcome of a streamed body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The call's code.
    pub code: Code,
    /// The reason of an error of the gateway's own.
    pub reason: Option<&'static str>,
    /// What lies behind it: for the log alone.
    pub cause: Option<String>,
}

impl End {
    /// The end of a stream that carries its own status.
    pub fn status(code: Code) -> Self {
        Self { code, reason: None, cause: None }
    }

    /// What an error is to the log and the counters.
    pub fn error(error: &Error, cause: Option<String>) -> Self {
        let cause = cause.or_else(|| error.cause().map(str::to_owned));
        Self { code: error.code(), reason: error.reason(), cause }
    }
}

/// Learns how a body ended. Dropped without [`Guard::ended`], it knows that the client left.
pub trait Guard: Send {
    /// So many bytes more have been handed to the connection.
    fn sent(&mut self, bytes: usize);

    /// When a stream has had its time, read or not; none: whenever its client lets go of it.
    fn until(&self) -> Option<Instant> {
        None
    }

    /// The last byte has been handed over, or the answer was broken off; `end` is the outcome of a streamed body.
    fn ended(&mut self, end: Option<End>);
}

/// The answer is broken off: the connection (HTTP/1.1) or the stream (HTTP/2) ends in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer was broken off")
    }
}

impl std::error::Error for Broken {}

impl Body {
    fn of(content: Content) -> Self {
        Self { content, guard: None, long: None }
    }

    /// No bytes.
    pub fn empty() -> Self {
        Self::of(Content::Empty)
    }

    /// All bytes at once; the server knows the length and writes them with the head.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::of(if bytes.is_empty() { Content::Empty } else { Content::Full(bytes) })
    }

    /// All of its bytes, where they are at hand.
    pub fn whole(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Full(bytes) => Some(bytes),
            Content::Empty | Content::Told(_) | Content::Streamed(_) => None,
        }
    }

    /// The bytes of a body that has them all at once.
    pub fn into_bytes(mut self) -> Option<Bytes> {
        match std::mem::replace(&mut self.content, Content::Empty) {
            Content::Empty | Content::Told(_) => Some(Bytes::new()),
            Content::Full(bytes) => Some(bytes),
            Content::Streamed(_) => None,
        }
    }

    /// Bytes as they come.
    pub fn streamed(source: impl Streamed + 'static) -> Self {
        Self::of(Content::Streamed(Box::pin(source)))
    }

    /// The answer of a built-in endpoint. What gRPC it is says its status in the head or in trailers.
    pub fn built_in<B>(answer: Response<B>) -> Response<Self>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let end = End::status(told(answer.headers()).unwrap_or(Code::Ok));
        answer.map(|body| match body.is_end_stream() {
            true => Self::of(Content::Told(Box::new(end))),
            false => Self::streamed(Foreign { body: Box::pin(body), end }),
        })
    }

    /// The same body with other bytes: `whole` makes those that are there, `streamed` those that come. It is not watched yet.
    #[must_use]
    pub fn map(
        self,
        whole: impl FnOnce(Bytes) -> Bytes,
        streamed: impl FnOnce(Pin<Box<dyn Streamed>>) -> Pin<Box<dyn Streamed>>,
    ) -> Self {
        let mut body = self;
        body.content = match std::mem::replace(&mut body.content, Content::Empty) {
            Content::Empty => Content::Empty,
            Content::Told(end) => Content::Told(end),
            Content::Full(bytes) => Content::Full(whole(bytes)),
            Content::Streamed(source) => Content::Streamed(streamed(source)),
        };
        body
    }

    /// The same body, watched.
    #[must_use]
    pub fn guarded(mut self, guard: Box<dyn Guard>) -> Self {
        self.guard = Some(guard);
        self
    }

    /// When it has had its time, if it is a stream: nobody may have asked it for anything by then.
    pub fn until(&self) -> Option<Instant> {
        let guard = self.guard.as_ref().filter(|_| matches!(self.content, Content::Streamed(_)));
        guard.and_then(|guard| guard.until())
    }

    /// The same piece of its bytes: the call is in flight until that is dropped.
    pub fn keep(&mut self, piece: Bytes) -> Bytes {
        match self.guard {
            Some(_) => held(piece, Arc::clone(&self.long.get_or_insert_default().held)),
            None => piece,
        }
    }

    /// A piece of `data` is on its way; what is left of it is given back.
    fn hand_over(&mut self, mut data: Bytes) -> (Bytes, Bytes) {
        let rest = data.split_off(data.len().min(PIECE));
        if let Some(guard) = &mut self.guard {
            guard.sent(data.len());
        }
        (data, rest)
    }

    /// The same of a frame that came in one piece; what is left of it comes next.
    fn piece(&mut self, frame: Bytes) -> Bytes {
        let (piece, rest) = self.hand_over(frame);
        if !rest.is_empty() {
            self.long.get_or_insert_default().rest = rest;
        }
        piece
    }

    /// What is left of such a frame, in bytes.
    fn rest(&self) -> usize {
        self.long.as_ref().map_or(0, |long| long.rest.len())
    }

    fn finish(&mut self, end: Option<End>) {
        if let Some(mut guard) = self.guard.take() {
            guard.ended(end);
            if let Some(long) = self.long.take() {
                *long.held.lock() = Some(guard);
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        if let Some(long) = this.long.as_mut().filter(|long| !long.rest.is_empty()) {
            let rest = std::mem::take(&mut long.rest);
            return Poll::Ready(Some(Ok(Frame::data(this.piece(rest)))));
        }
        match &mut this.content {
            Content::Empty => {
                this.finish(None);
                Poll::Ready(None)
            }
            Content::Told(end) => {
                let end = (**end).clone();
                this.content = Content::Empty;
                this.finish(Some(end));
                Poll::Ready(None)
            }
            // It has ended when it is dropped: until then it may wait for its client.
            Content::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                let (piece, rest) = this.hand_over(bytes);
                this.content = if rest.is_empty() { Content::Empty } else { Content::Full(rest) };
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Content::Streamed(source) => {
                // A panic while translating costs this answer, not the others on its connection.
                let polled = catch_unwind(AssertUnwindSafe(|| source.as_mut().poll_frame(cx)));
                let polled = polled.unwrap_or(Poll::Ready(Some(Err(Broken))));
                let frame = std::task::ready!(polled);
                if matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
                    return Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|data| this.piece(data)))));
                }
                // Trailers, an error or nothing: whichever it is, it is the last.
                let end = source.end();
                this.content = Content::Empty;
                this.finish(end);
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Empty | Content::Told(_))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty | Content::Told(_) => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Streamed(source) => {
                let (rest, mut hint, more) = (self.rest() as u64, SizeHint::new(), source.size_hint());
                hint.set_lower(more.lower().saturating_add(rest));
                if let Some(upper) = more.upper() {
                    hint.set_upper(upper.saturating_add(rest));
                }
                hint
            }
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // A server that knows the length asks for no more than that, nor for an empty body at all.
        let over = match &self.content {
            Content::Empty => Some(None),
            Content::Told(end) => Some(Some((**end).clone())),
            Content::Streamed(source) if source.is_over() && self.rest() == 0 => Some(source.end()),
            Content::Full(_) | Content::Streamed(_) => None,
        };
        if let Some(end) = over {
            self.finish(end);
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = match &self.content {
            Content::Empty => "Empty",
            Content::Told(_) => "Told",
            Content::Full(_) => "Full",
            Content::Streamed(_) => "Streamed",
        };
        f.debug_struct("Body").field("content", &content).field("guarded", &self.guard.is_some()).finish()
    }
}

/// The status that gRPC says in a head or in trailers.
fn told(headers: &HeaderMap) -> Option<Code> {
    let number = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    Some(Code::from_number(number))
}

/// A body of another library: axum's or tonic's.
struct Foreign<B> {
    body: Pin<Box<B>>,
    end: End,
}

impl<B> Streamed for Foreign<B>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.body.as_mut().poll_frame(cx).map(|frame| {
            if let Some(Ok(frame)) = &frame
                && let Some(code) = frame.trailers_ref().and_then(told)
            {
                self.end = End::status(code);
            }
            frame.map(|frame| {
                frame.map_err(|error| {
                    let error: Box<dyn std::error::Error + Send + Sync> = error.into();
                    self.end = End::error(&Error::Internal, Some(error.to_string()));
                    Broken
                })
            })
        })
    }

    fn end(&self) -> Option<End> {
        Some(self.end.clone())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
