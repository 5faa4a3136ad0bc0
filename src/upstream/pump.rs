//! Pump: a streaming request's body on its way into its HTTP/2 stream.
//!
//! It takes a frame from the client only when the one before has gone into the window: a slow upstream slows its client
//! down, and the gateway holds one frame of it. The first frame alone waits for nobody: it goes with the head.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;

use super::exchange::Exchange;
use super::failure::{Failure, FailureKind, Seen};
use super::sent::Sent;

/// A first frame of up to so many bytes is sent without asking for room. A stream has none until its connection has sent the
/// head: to wait for that cost a small gRPC call two of nine polls of tasks, one of three writes, and 2,200 of 85,900 instructions.
const UNASKED: usize = 16 * 1024;

/// A request's body and the part of its last frame that the window has not taken.
pub(super) struct Pump<B> {
    body: B,
    chunk: Bytes,
    /// The peer has been asked for room for `chunk`.
    reserved: bool,
    /// A frame has come.
    begun: bool,
    untouched: bool,
    /// The client has ended it.
    whole: bool,
    /// What has come.
    sent: Option<Arc<Sent>>,
}

impl<B> Pump<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    pub(super) fn new(body: B, sent: Option<Arc<Sent>>) -> Self {
        Self { body, chunk: Bytes::new(), reserved: false, begun: false, untouched: true, whole: false, sent }
    }

    /// Nothing was taken from the body yet.
    pub(super) fn untouched(&self) -> bool {
        self.untouched
    }

    /// All of it is on its way, which it is not where the other side had enough before.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Ready when all was sent, or nothing more can be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange) -> Poll<Result<(), Failure>> {
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
        if self.chunk.is_empty() && self.body.is_end_stream() {
            self.whole = true;
            return finish(exchange, data);
        }
        if send.send_data(data, false).is_err() {
            exchange.sent();
        }
        Poll::Ready(Ok(()))
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
