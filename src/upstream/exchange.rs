//! Exchange: the HTTP/2 stream of one call.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};

use super::connection::Unopened;
use super::failure::Failure;
use super::pool::Lease;
use super::reaper::{Left, Place};
use crate::memory::Memory;

/// Bytes of an answer's head, and of its trailers, as HTTP/2 counts them.
const HEAD: usize = 256 * 1024;

/// One stream. Dropped before both sides have ended it, it is left to its connection's reaper.
pub(super) struct Exchange {
    send: Option<SendStream<Bytes>>,
    response: Option<ResponseFuture>,
    receive: Option<RecvStream>,
    /// Given away only on drop.
    place: Option<Place>,
    sent: bool,
    received: bool,
    /// Bytes given out and not yet released to the peer's window.
    held: usize,
}

impl Exchange {
    pub(super) fn open(lease: Lease, request: Request<()>) -> Result<Self, Unopened> {
        let connection = lease.connection();
        let (response, send) = connection.open(request, false).inspect_err(|unopened| {
            if matches!(unopened, Unopened::Draining) {
                connection.drain();
            }
        })?;
        Ok(Self {
            send: Some(send),
            response: Some(response),
            receive: None,
            place: Some(Place::Own(lease)),
            sent: false,
            received: false,
            held: 0,
        })
    }

    /// Sends a request's only message, in as few frames as the windows allow, and ends our side.
    pub(super) fn send_whole(&mut self, message: Bytes) {
        if let Some(mut send) = self.send.take() {
            // A stream that cannot be written to has ended: its head says why.
            drop(send.send_data(message, true));
        }
        self.sent = true;
    }

    /// Where it is counted what is held of the reply; none: it is over.
    pub(super) fn memory(&self) -> Option<&Arc<Memory>> {
        self.place.as_ref().map(|place| &place.connection().slot.memory)
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Failure>> {
        let Some(response) = &mut self.response else {
            return Poll::Ready(Err(Failure::protocol("a second response")));
        };
        let outcome = ready!(Pin::new(response).poll(cx));
        self.response = None;
        match outcome {
            Ok(response) => {
                let (head, receive) = response.into_parts();
                self.receive = Some(receive);
                admit(&head.headers)?;
                if let Some(place) = &self.place {
                    place.connection().replied.store(true, Ordering::Relaxed);
                }
                Poll::Ready(Ok(Response::from_parts(head, ())))
            }
            Err(error) => {
                self.over();
                if let Some(place) = self.place.as_ref().filter(|_| error.is_go_away()) {
                    place.connection().drain();
                }
                Poll::Ready(Err(Failure::stream(&error, false)))
            }
        }
    }

    /// The reply's head was all of it.
    pub(super) fn is_whole(&self) -> bool {
        self.receive.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    /// The next DATA frame. What the one before it took from the stream's window is given back: who asks for more has
    /// passed it on. What the last one took h2 gives back itself: most replies are one frame.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let Some(receive) = &mut self.receive else { return Poll::Ready(None) };
        match ready!(receive.poll_data(cx)) {
            Some(Ok(data)) => {
                let passed_on = std::mem::replace(&mut self.held, data.len());
                if passed_on > 0 {
                    // Fails only if more is released than came.
                    drop(receive.flow_control().release_capacity(passed_on));
                }
                Poll::Ready(Some(Ok(data)))
            }
            Some(Err(error)) => {
                self.over();
                Poll::Ready(Some(Err(Failure::stream(&error, true))))
            }
            None => Poll::Ready(None),
        }
    }

    /// After the data.
    pub(super) fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, Failure>> {
        let Some(receive) = &mut self.receive else { return Poll::Ready(Ok(None)) };
        let outcome = ready!(receive.poll_trailers(cx));
        match outcome {
            Ok(trailers) => {
                self.received = true;
                trailers.as_ref().map_or(Ok(()), admit)?;
                Poll::Ready(Ok(trailers))
            }
            Err(error) => {
                self.over();
                Poll::Ready(Err(Failure::stream(&error, true)))
            }
        }
    }

    /// The sending side on its own, for a request that is still being made. Both halves share one place.
    pub(super) fn split(&mut self) -> Option<Self> {
        let send = self.send.take()?;
        let lease = match self.place.take()? {
            Place::Own(lease) => Arc::new(lease),
            Place::Shared(lease) => lease,
        };
        self.place = Some(Place::Shared(Arc::clone(&lease)));
        self.sent = true;
        Some(Self {
            send: Some(send),
            response: None,
            receive: None,
            place: Some(Place::Shared(lease)),
            sent: false,
            received: true,
            held: 0,
        })
    }

    pub(super) fn sender(&mut self) -> Option<&mut SendStream<Bytes>> {
        self.send.as_mut()
    }

    /// No part of a reply has come.
    pub(super) fn is_unheard(&self) -> bool {
        self.response.is_some()
    }

    /// Our side has ended.
    pub(super) fn sent(&mut self) {
        self.send = None;
        self.sent = true;
    }

    /// The peer or the connection has ended it: there is nothing to reset.
    pub(super) fn over(&mut self) {
        self.sent = true;
        self.received = true;
    }
}

/// One that is too large fails its call and no other.
fn admit(head: &HeaderMap) -> Result<(), Failure> {
    let size: usize = head.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    if size > HEAD { Err(Failure::protocol("its head or its trailers are larger than 256 KiB")) } else { Ok(()) }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let (send, response, receive) = (self.send.take(), self.response.take(), self.receive.take());
        let Some(place) = self.place.take() else { return };
        // A trailers-only answer is over with its head.
        let received = self.received || receive.as_ref().is_some_and(RecvStream::is_end_stream);
        if self.sent && received {
            // The stream before its place: h2 has let go of it when the next is opened.
            drop((send, response, receive));
            return;
        }
        let connection = Arc::clone(place.connection());
        connection.reaper.leave(Left { send, response, receive, place });
    }
}
