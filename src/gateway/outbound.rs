//! Outbound: an upstream's messages to a socket, one by one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;
use transom_transcode::frame::{Deframer, FrameError};
use transom_transcode::status::Code;

use crate::envelope::coding::{Opening, Packed};
use crate::envelope::grpc::status_of;
use crate::error::Error;
use crate::memory::Room;
use crate::upstream::ReplyBody;

/// An upstream's stream.
pub(super) struct Outbound {
    body: ReplyBody,
    deframer: Deframer,
    packed: Packed,
    /// The next message, while it is unpacked.
    opening: Option<Opening>,
    limit: usize,
    /// For the message that comes in.
    room: Room,
}

impl Outbound {
    /// Messages of at most `limit` bytes each, compressed as the reply's `head` says. What is kept of them takes `room`.
    pub(super) fn new(head: &HeaderMap, body: ReplyBody, limit: usize, room: Room) -> Self {
        Self { body, deframer: Deframer::new(limit), packed: Packed::of(head, limit), opening: None, limit, room }
    }

    /// The next message; none at the end of a stream whose status is OK.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            if let Some(opening) = &mut self.opening {
                let message = Pin::new(&mut *opening).poll(cx);
                let held = if message.is_pending() { opening.held() } else { 0 };
                self.room.keep_made(self.deframer.held() + held);
                let message = ready!(message);
                self.opening = None;
                return Poll::Ready(message.map(Some));
            }
            let next = self.deframer.next();
            if let Err(error) = self.room.keep(self.deframer.held()) {
                return Poll::Ready(Err(error));
            }
            match next {
                Ok(Some(message)) => {
                    self.opening = Some(self.packed.open(message.compressed, message.bytes));
                    continue;
                }
                Ok(None) => {}
                Err(FrameError::TooLarge { .. }) => {
                    return Poll::Ready(Err(Error::ResponseTooLarge { limit: self.limit }));
                }
                Err(FrameError::Flag(flag)) => {
                    return Poll::Ready(Err(Error::protocol(format!("a message that begins with {flag}"))));
                }
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(failure)) => return Poll::Ready(Err(failure.into())),
                None => return Poll::Ready(Err(Error::protocol("no trailers"))),
            };
            match frame.into_data() {
                Ok(data) => self.deframer.push(data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Poll::Ready(match status_of(&trailers) {
                        // A status of OK over half a message is no OK.
                        Some(status) if status.code == Code::Ok && !self.deframer.is_empty() => {
                            Err(Error::protocol("OK within a message"))
                        }
                        Some(status) if status.code == Code::Ok => Ok(None),
                        Some(status) => Err(Error::Upstream(Box::new(status))),
                        None => Err(Error::protocol("trailers without a status")),
                    });
                }
            }
        }
    }
}
