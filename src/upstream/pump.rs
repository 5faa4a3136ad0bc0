//! Pump: a streaming request's body on its way into its HTTP/2 stream.
//!
//! It takes a frame from the client only when the one before has gone into the window: a slow upstream slows its client
//! down, and the gateway holds one frame of it. The first frame alone waits for nobody: it goes with the head. What is one small
//! message is kept until it is answered: a call that no service has seen goes elsewhere.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::Body;
use smallvec::SmallVec;

use super::exchange::Exchange;
use super::failure::{Failure, FailureKind, Seen};
use super::sent::Sent;
use crate::memory::SMALL;

/// A first frame of up to so many bytes is sent without asking for room. A stream has none until its connection has sent the
/// head: to wait for that cost a small gRPC call two of nine polls of tasks, one of three writes, and 2,200 of 85,900 instructions.
const UNASKED: usize = 16 * 1024;

/// A request's body and the part of its last frame that the window has not taken.
pub(super) struct Pump<B> {
    body: B,
    chunk: Bytes,
    /// What has come of it, if it can be sent once more.
    kept: Option<Kept>,
    /// The peer has been asked for room for `chunk`.
    reserved: bool,
    /// A frame has come.
    begun: bool,
    untouched: bool,
    /// The client has ended it.
    whole: bool,
    /// It was waited for the client, or for room.
    late: bool,
    /// When all of it was on its way, where that was not at once.
    since: Option<Instant>,
    /// What has come.
    sent: Option<Arc<Sent>>,
}

/// The frames of a request that have come, by reference, and how many of them have been sent.
#[derive(Default)]
struct Kept {
    chunks: SmallVec<[Bytes; 1]>,
    next: usize,
}

impl Kept {
    /// One more, that is being sent; none of it is kept of what is more than is held for any call.
    fn with(mut self, chunk: &Bytes) -> Option<Self> {
        let bytes: usize = self.chunks.iter().map(Bytes::len).sum();
        if bytes + chunk.len() > SMALL {
            return None;
        }
        self.chunks.push(chunk.clone());
        self.next += 1;
        Some(self)
    }

    fn next(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.get(self.next)?;
        self.next += 1;
        Some(chunk.clone())
    }

    fn is_sent(&self) -> bool {
        self.next == self.chunks.len()
    }
}

impl<B> Pump<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    pub(super) fn new(body: B, sent: Option<Arc<Sent>>) -> Self {
        Self {
            body,
            chunk: Bytes::new(),
            kept: None,
            reserved: false,
            begun: false,
            untouched: true,
            whole: false,
            late: false,
            since: None,
            sent,
        }
    }

    /// The same of a request that is one message: it is kept until it is answered, as long as it is small.
    pub(super) fn keeping(mut self, single: bool) -> Self {
        self.kept = single.then(Kept::default);
        self
    }

    /// Nothing of it will be sent again.
    pub(super) fn settled(mut self) -> Self {
        self.kept = None;
        self
    }

    /// It begins anew, if all that was read of it is at hand.
    pub(super) fn rewind(&mut self) -> bool {
        let Some(kept) = &mut self.kept else { return self.untouched };
        kept.next = 0;
        self.chunk.clear();
        (self.reserved, self.begun, self.late, self.since) = (false, false, false, None);
        true
    }

    /// Nothing was taken from the body yet.
    pub(super) fn untouched(&self) -> bool {
        self.untouched
    }

    /// All of it is on its way, which it is not where the other side had enough before.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// When all of it was on its way, where that was not at once.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Ready when all was sent, or nothing more can be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange) -> Poll<Result<(), Failure>> {
        let polled = self.pump(cx, exchange);
        if polled.is_pending() {
            self.late = true;
        } else if self.late && self.whole && self.since.is_none() {
            self.since = Some(Instant::now());
        }
        polled
    }

    fn pump(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange) -> Poll<Result<(), Failure>> {
        loop {
            if exchange.sender().is_none() {
                return Poll::Ready(Ok(()));
            }
            if self.chunk.is_empty() {
                ready!(self.poll_body(cx, exchange))?;
            } else {
                ready!(self.poll_send(cx, exchange))?;
            }
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange) -> Poll<Result<(), Failure>> {
        if let Some(chunk) = self.kept.as_mut().and_then(Kept::next) {
            self.chunk = chunk;
            return Poll::Ready(Ok(()));
        }
        if self.whole {
            return finish(exchange, Bytes::new());
        }
        let Some(send) = exchange.sender() else { return Poll::Ready(Ok(())) };
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.untouched = false;
                frame
            }
            // Nothing to send: the peer may be the one that has had enough.
            Poll::Pending => {
                if send.poll_reset(cx).is_ready() {
                    // The receiving side says why.
                    exchange.sent();
                    return Poll::Ready(Ok(()));
                }
                return Poll::Pending;
            }
        };
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => Poll::Ready(Ok(())),
                Ok(data) => {
                    if let Some(sent) = &self.sent {
                        sent.came(&data);
                    }
                    self.kept = self.kept.take().and_then(|kept| kept.with(&data));
                    self.chunk = data;
                    Poll::Ready(Ok(()))
                }
                // gRPC's requests have no trailers: what a client says there is an end and no more. A service may close the
                // connection over them, and nobody has taken out what no client may say.
                Err(_) => self.end(exchange),
            },
            Some(Err(_)) => {
                let cause = "the request broke off";
                Poll::Ready(Err(Failure::new(Seen::Local, FailureKind::ClientGone, cause)))
            }
            None => self.end(exchange),
        }
    }

    /// The client has ended it.
    fn end(&mut self, exchange: &mut Exchange) -> Poll<Result<(), Failure>> {
        self.whole = true;
        finish(exchange, Bytes::new())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange) -> Poll<Result<(), Failure>> {
        let Some(send) = exchange.sender() else { return Poll::Ready(Ok(())) };
        let unasked = !std::mem::replace(&mut self.begun, true) && self.chunk.len() <= UNASKED;
        if !self.reserved && !unasked {
            send.reserve_capacity(self.chunk.len());
            self.reserved = true;
        }
        let room = match send.capacity() {
            _ if unasked => self.chunk.len(),
            0 => match ready!(send.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                // Closed: the receiving side says why.
                Some(Err(_)) | None => {
                    exchange.sent();
                    return Poll::Ready(Ok(()));
                }
            },
            room => room,
        };
        let data = self.chunk.split_to(room.min(self.chunk.len()));
        self.reserved = !self.chunk.is_empty();
        if self.chunk.is_empty() && self.is_last() {
            self.whole = true;
            return finish(exchange, data);
        }
        if send.send_data(data, false).is_err() {
            exchange.sent();
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing comes after the chunk that is being sent.
    fn is_last(&self) -> bool {
        self.body.is_end_stream() && self.kept.as_ref().is_none_or(Kept::is_sent)
    }
}

/// Sends the last bytes. A stream that cannot be ended was ended by the other side, which the receiving half reports.
fn finish(exchange: &mut Exchange, last: Bytes) -> Poll<Result<(), Failure>> {
    if let Some(send) = exchange.sender() {
        drop(send.send_data(last, true));
    }
    exchange.sent();
    Poll::Ready(Ok(()))
}
