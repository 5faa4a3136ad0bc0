//! Reply body: a streaming reply's frames as they come, and everything that its call still holds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::task::AbortHandle;
use transom_transcode::status::Code;

use crate::envelope::grpc::code_of;

use super::Permit;
use super::attempt::Attempt;
use super::exchange::Exchange;
use super::failure::{Failure, FailureKind, Seen};
use super::first::Next;
use super::reply::{ok, timed};
use super::sent::Sent;
use super::wheel::Timer;

/// A reply that comes faster than it is read has its timer looked at with each so manieth piece.
const LOOK: u8 = 32;

/// The DATA frames of a reply, untouched, and its trailers. A stream that ends without trailers ends in a failure.
///
/// A frame's room in the peer's window is given back when the next one is asked for. Dropping the body cancels the call.
pub struct ReplyBody {
    state: State,
    exchange: Exchange,
    timer: Timer,
    attempt: Attempt,
    /// What was sent, as long as the reply may be what the service says to that.
    sent: Option<Arc<Sent>>,
    /// The task that still sends the request.
    sending: Option<Sending>,
    /// Pieces of it that came without a wait.
    ready: u8,
    /// Its head has said OK already.
    said: bool,
    _permit: Permit,
}

enum State {
    Data,
    Trailers,
    /// This was awaited with the head, and is next.
    Held(Frame<Bytes>),
    Done,
}

/// Ends the sending task when the reply has ended.
struct Sending(AbortHandle);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ReplyBody {
    pub(super) fn new(
        exchange: Exchange,
        timer: Timer,
        (attempt, sent): (Attempt, Option<Arc<Sent>>),
        permit: Permit,
    ) -> Self {
        Self {
            state: State::Data,
            exchange,
            timer,
            attempt,
            sent,
            sending: None,
            ready: 0,
            said: false,
            _permit: permit,
        }
    }

    /// Who answers.
    pub(super) fn endpoint(&self) -> &Arc<str> {
        self.attempt.endpoint()
    }

    /// The reply is a status of OK alone.
    pub(super) fn ended(mut self, trailers: HeaderMap) -> Self {
        self.state = State::Held(Frame::trailers(trailers));
        self
    }

    /// This of it has come with its head.
    pub(super) fn with(mut self, next: Option<Next>) -> Self {
        if let Some(next) = next {
            self.state = State::Held(next.into());
        }
        self
    }

    /// Its head came, and more is to come.
    pub(super) fn opened(mut self) -> Self {
        self.attempt.opened();
        // From here on its client may be the slow one.
        self.attempt.excuse();
        self
    }

    /// Its head has said OK: so it ends where it says nothing more.
    pub(super) fn said(mut self) -> Self {
        self.said = true;
        self
    }

    pub(super) fn sending(mut self, task: Option<AbortHandle>) -> Self {
        self.sending = task.map(Sending);
        self
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if matches!(self.state, State::Data) {
            match self.exchange.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Poll::Ready(Some(Err(failure))) => return Poll::Ready(Some(Err(failure))),
                Poll::Ready(None) => self.state = State::Trailers,
                Poll::Pending => return Poll::Pending,
            }
        }
        if matches!(self.state, State::Trailers) {
            return match self.exchange.poll_trailers(cx) {
                Poll::Ready(Ok(Some(trailers))) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Poll::Ready(Ok(None)) if self.said => Poll::Ready(Some(Ok(Frame::trailers(ok())))),
                Poll::Ready(Ok(None)) => {
                    let cause = "the reply ended without trailers";
                    Poll::Ready(Some(Err(Failure::new(Seen::Seen, FailureKind::Protocol, cause))))
                }
                Poll::Ready(Err(failure)) => Poll::Ready(Some(Err(failure))),
                Poll::Pending => Poll::Pending,
            };
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Held(next) => {
                if next.is_data() {
                    self.state = State::Data;
                }
                Poll::Ready(Some(Ok(next)))
            }
            _ => Poll::Ready(None),
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        this.ready = this.ready.wrapping_add(1);
        let late = this.ready.is_multiple_of(LOOK) && matches!(this.state, State::Data) && this.timer.is_over();
        let polled = if late { Poll::Pending } else { this.poll(cx) };
        let frame = match polled {
            Poll::Ready(frame) => frame,
            Poll::Pending if late || this.timer.poll(cx).is_ready() => Some(Err(this.timer.failure())),
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.state = State::Done;
                    this.sending = None;
                    match code_of(trailers) {
                        Some(Code::Internal) if this.sent.take().is_some_and(|sent| !sent.is_well()) => {
                            this.attempt.provoked();
                        }
                        code => this.attempt.ended(code),
                    }
                } else {
                    this.sent.take_if(|sent| sent.is_read());
                    this.attempt.goes_on();
                }
                Some(Ok(frame))
            }
            Some(Err(failure)) => {
                this.state = State::Done;
                this.sending = None;
                let is_well = || this.sent.as_ref().is_none_or(|sent| sent.is_well());
                Some(Err(this.attempt.failed(timed(failure, &this.timer).weigh(is_well))))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Done)
    }
}
