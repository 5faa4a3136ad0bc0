//! The one response body: what the server sends to the client, whole or as it comes.
//!
//! It carries the call's [`Guard`], which learns of the last byte, or of the drop when the client left before it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use transom_transcode::status::Code;

use crate::error::Error;

/// A response body.
pub struct Body {
    content: Content,
    guard: Option<Box<dyn Guard>>,
}

/// Where the bytes come from.
enum Content {
    Empty,
    Full(Bytes),
    Streamed(Pin<Box<dyn Streamed>>),
}

/// A body that is made while it is sent: opaque gRPC frames, translated messages, a built-in endpoint's.
pub trait Streamed: Send {
    /// The next frame, as [`http_body::Body::poll_frame`]; an error breaks the answer off, so that no client takes it
    /// for whole.
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>>;

    /// The call's outcome, asked for once, when the last frame or the error has been given.
    fn end(&self) -> End;

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
    /// No bytes.
    pub fn empty() -> Self {
        Self { content: Content::Empty, guard: None }
    }

    /// All bytes at once; the server knows the length and writes them with the head.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { content: if bytes.is_empty() { Content::Empty } else { Content::Full(bytes) }, guard: None }
    }

    /// The bytes of a body that has them all at once.
    pub fn into_bytes(mut self) -> Option<Bytes> {
        match std::mem::replace(&mut self.content, Content::Empty) {
            Content::Empty => Some(Bytes::new()),
            Content::Full(bytes) => Some(bytes),
            Content::Streamed(_) => None,
        }
    }

    /// Bytes as they come.
    pub fn streamed(source: impl Streamed + 'static) -> Self {
        Self { content: Content::Streamed(Box::pin(source)), guard: None }
    }

    /// The body of a built-in endpoint.
    pub fn boxed<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::streamed(Foreign { body: Box::pin(body), end: End::status(Code::Ok) })
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

    fn finish(&mut self, end: Option<End>) {
        if let Some(mut guard) = self.guard.take() {
            guard.ended(end);
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        match &mut this.content {
            Content::Empty => {
                this.finish(None);
                Poll::Ready(None)
            }
            Content::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.content = Content::Empty;
                if let Some(guard) = &mut this.guard {
                    guard.sent(bytes.len());
                }
                this.finish(None);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Content::Streamed(source) => {
                // A panic while translating costs this answer, not the others on its connection.
                let polled = catch_unwind(AssertUnwindSafe(|| source.as_mut().poll_frame(cx)));
                let polled = polled.unwrap_or(Poll::Ready(Some(Err(Broken))));
                let frame = std::task::ready!(polled);
                match data_of(frame.as_ref()) {
                    Some(data) => {
                        this.guard.iter_mut().for_each(|guard| guard.sent(data.len()));
                        // HTTP/1.1 asks for nothing beyond a length that was told.
                        if source.is_over() {
                            let end = source.end();
                            this.finish(Some(end));
                        }
                    }
                    // Trailers, an error or nothing: whichever it is, it is the last.
                    None => {
                        let end = source.end();
                        this.content = Content::Empty;
                        this.finish(Some(end));
                    }
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Streamed(source) => source.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // A server that knows the length of an empty body never asks for it.
        match &self.content {
            Content::Empty => self.finish(None),
            Content::Streamed(source) if source.is_over() => {
                let end = source.end();
                self.finish(Some(end));
            }
            Content::Full(_) | Content::Streamed(_) => {}
        }
    }
}

fn data_of(frame: Option<&Result<Frame<Bytes>, Broken>>) -> Option<&Bytes> {
    frame?.as_ref().ok()?.data_ref()
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = match &self.content {
            Content::Empty => "Empty",
            Content::Full(_) => "Full",
            Content::Streamed(_) => "Streamed",
        };
        f.debug_struct("Body").field("content", &content).field("guarded", &self.guard.is_some()).finish()
    }
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
            frame.map(|frame| {
                frame.map_err(|error| {
                    let error: Box<dyn std::error::Error + Send + Sync> = error.into();
                    self.end = End::error(&Error::Internal, Some(error.to_string()));
                    Broken
                })
            })
        })
    }

    fn end(&self) -> End {
        self.end.clone()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
