//! Unread: what a connection keeps of answers that its client has not taken.
//!
//! Once the connection has an answer's last byte the call seems to be over. But over HTTP/2 a client that opens no window
//! leaves it all there, a thousand answers a connection. So each piece says when it has gone; and of those that wait only so
//! many bytes are without their calls: any more hold them, which are in flight, and bounded as such, as long as that.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Version;
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use super::activity::{Activity, InFlight};
use crate::body::Body;
use crate::memory::held;

/// So many bytes may wait on one connection without their calls.
const LOOSE: usize = 32 * 1024;
/// A break comes so long after the last bytes: clients that read both at once, curl is one, forget what came before.
const BREAK_AFTER: Duration = Duration::from_millis(50);
/// What an answer that waits takes besides its bytes, about.
const ASIDE: usize = 1024;

/// A body that knows of its call.
pub(super) trait Answered: http_body::Body<Data = Bytes> {
    /// When it has had its time, whether its client reads it or not.
    fn until(&self) -> Option<Instant> {
        None
    }

    /// The same piece of it: the call is in flight as long as that is there.
    fn keep(&mut self, piece: Bytes) -> Bytes {
        piece
    }
}

impl Answered for Body {
    fn until(&self) -> Option<Instant> {
        Self::until(self)
    }

    fn keep(&mut self, piece: Bytes) -> Bytes {
        Self::keep(self, piece)
    }
}

/// Of the admin port, whose clients are the operator's.
impl Answered for axum::body::Body {}

/// Of a redirect: empty.
impl Answered for Full<Bytes> {}

/// A piece of an answer that the connection keeps; dropped when it is written.
struct Unread {
    activity: Arc<Activity>,
    since: usize,
    loose: usize,
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.activity.taken(self.since);
        self.activity.tighten(self.loose);
    }
}

/// An answer's body; its call is in flight as long as it is there.
#[derive(Debug)]
pub(super) struct Tracked<B: http_body::Body> {
    body: B,
    call: InFlight,
    breaking: Option<Box<Breaking<B::Error>>>,
    /// Since when the last piece waits: hyper comes again when it has found room for it.
    waits: Option<usize>,
    /// HTTP/1.1: bytes since one was held. They are written in their order, so that one in so many is enough.
    passed: usize,
    /// HTTP/1.0: where it ends, the connection does.
    endless: bool,
}

impl<B: Answered> Tracked<B> {
    pub(super) fn new(body: B, call: InFlight, version: Version) -> Self {
        Self { body, call, breaking: None, waits: None, passed: 0, endless: version == Version::HTTP_10 }
    }

    /// A piece is on its way.
    fn hand_over(&mut self, data: Bytes) -> Bytes {
        let activity = self.call.activity();
        self.waits = Some(activity.offered());
        let weight = data.len().saturating_add(ASIDE);
        let loose = if activity.is_shared() {
            activity.loosen(weight, LOOSE)
        } else {
            self.passed = self.passed.saturating_add(weight);
            if self.passed <= LOOSE {
                return data;
            }
            self.passed = 0;
            None
        };
        let (activity, since) = (Arc::clone(activity), activity.offered());
        match loose {
            Some(()) => held(data, Unread { activity, since, loose: weight }),
            None => held(self.body.keep(data), Unread { activity, since, loose: 0 }),
        }
    }
}

/// How an answer is broken off: a break throws away what is not written, so that this comes first.
#[derive(Debug)]
struct Breaking<E> {
    error: E,
    written: Written,
    /// Since all is written.
    pause: Option<Pin<Box<Sleep>>>,
}

/// How it is known that all before a break is written.
#[derive(Debug)]
enum Written {
    /// HTTP/2: an empty piece behind all others has gone, and what it held with it.
    Piece(oneshot::Receiver<Infallible>),
    /// HTTP/1.1: hyper drops an empty piece unsent, but flushes its socket only when it keeps nothing itself.
    Flush,
}

impl<E> Breaking<E> {
    fn poll(&mut self, cx: &mut Context<'_>, activity: &Activity) -> Poll<()> {
        if self.pause.is_none() {
            match &mut self.written {
                Written::Piece(last) => drop(ready!(Pin::new(last).poll(cx))),
                // Who flushes wakes this task.
                Written::Flush if activity.awaits_flush() => return Poll::Pending,
                Written::Flush => {}
            }
        }
        self.pause.get_or_insert_with(|| Box::pin(sleep(BREAK_AFTER))).as_mut().poll(cx)
    }
}

impl<B: http_body::Body> Tracked<B> {
    /// Breaks off when all so far is written; over HTTP/2 the frame says when that is.
    fn begin_to_break(&mut self, error: B::Error, cx: &Context<'_>) -> Poll<Frame<Bytes>> {
        let activity = self.call.activity();
        self.waits = Some(activity.offered());
        let (written, frame) = if activity.is_shared() {
            let (gone, last) = oneshot::channel();
            (Written::Piece(last), Poll::Ready(Frame::data(held(Bytes::new(), gone))))
        } else {
            activity.await_flush();
            // The connection may have flushed for the last time in this turn.
            cx.waker().wake_by_ref();
            (Written::Flush, Poll::Pending)
        };
        self.breaking = Some(Box::new(Breaking { error, written, pause: None }));
        frame
    }

    fn taken(&mut self) {
        if let Some(since) = self.waits.take() {
            self.call.activity().taken(since);
        }
    }
}

impl<B: http_body::Body> Drop for Tracked<B> {
    fn drop(&mut self) {
        self.taken();
    }
}

impl<B: Answered + Unpin> http_body::Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if let Some(breaking) = &mut this.breaking {
            let activity = this.call.activity();
            ready!(breaking.poll(cx, activity));
            if !activity.is_shared() {
                activity.break_off(this.endless);
            }
            this.taken();
            return Poll::Ready(this.breaking.take().map(|breaking| Err(breaking.error)));
        }
        this.taken();
        Poll::Ready(match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => Some(Ok(frame.map_data(|data| this.hand_over(data)))),
            Some(Err(error)) => Some(Ok(ready!(this.begin_to_break(error, cx)))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.breaking.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
