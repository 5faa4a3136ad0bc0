//! Requests: a client's messages on their way to the upstream, read by their envelope and translated by their codec.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame};
use transom_transcode::frame;

use super::{Reader, Stop, Translate};
use crate::body::Broken;
use crate::error::Error;
use crate::memory::Room;
use crate::store::Pace;

/// Messages that are there already share a frame of HTTP/2, up to about this size.
const BATCH: usize = 16 * 1024;

/// A client's messages as gRPC frames. What is wrong with one breaks the request off; the answer's side says why.
pub struct Requests<B, R, T> {
    body: B,
    reader: R,
    translate: T,
    stop: Stop,
    /// For the message that comes in.
    room: Room,
    pace: Option<Pace>,
    /// The client has said everything.
    ended: bool,
    /// A message is wrong: what came before it goes out first.
    wrong: Option<Error>,
    over: bool,
}

impl<B, R: Reader, T: Translate> Requests<B, R, T> {
    /// The messages of `body`; an error of theirs is left in `stop`. What is kept of them takes `room`.
    pub fn new(body: B, reader: R, translate: T, stop: Stop, room: Room) -> Self {
        Self { body, reader, translate, stop, room, pace: None, ended: false, wrong: None, over: false }
    }

    /// Messages must not come faster.
    #[must_use]
    pub fn paced(self, pace: Option<Pace>) -> Self {
        Self { pace, ..self }
    }

    /// The frames of the messages that have come.
    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<Vec<u8>> {
        let (mut out, mut pauses) = (Vec::new(), false);
        while out.len() < BATCH && self.wrong.is_none() {
            let Poll::Ready(next) = self.reader.poll_next(cx) else {
                pauses = true;
                break;
            };
            match next {
                Ok(Some(message)) => {
                    if let Some(Err(retry_after)) = self.pace.as_mut().map(|pace| pace.take(Instant::now())) {
                        self.wrong = Some(Error::RateLimited { retry_after });
                        break;
                    }
                    out.reserve(frame::PREFIX + message.len() + 16);
                    self.frame(&mut out, |translate, out| translate.message(&message, out).map(|()| true));
                }
                Ok(None) => break,
                Err(error) => self.wrong = Some(error),
            }
        }
        if let Err(error) = self.room.keep(self.reader.held()) {
            self.wrong.get_or_insert(error);
            pauses = false;
        }
        if pauses && out.is_empty() { Poll::Pending } else { Poll::Ready(out) }
    }

    /// Appends the frame of a message, if there is one.
    fn frame(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut T, &mut Vec<u8>) -> Result<bool, Error>) {
        let start = out.len();
        out.extend_from_slice(&[0; frame::PREFIX]);
        match write(&mut self.translate, out) {
            Ok(true) => {
                frame::seal(&mut out[start..]);
                return;
            }
            Ok(false) => {}
            Err(error) => self.wrong = Some(error),
        }
        out.truncate(start);
    }
}

impl<B, R, T> Body for Requests<B, R, T>
where
    B: Body<Data = Bytes> + Unpin,
    R: Reader,
    T: Translate,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        while !this.over {
            let frames = ready!(this.poll_frames(cx));
            if !frames.is_empty() {
                let frames = this.room.memory().hold(frames.into());
                return Poll::Ready(Some(Ok(Frame::data(frames))));
            }
            if let Some(error) = this.wrong.take() {
                this.over = true;
                this.stop.with(error);
                return Poll::Ready(Some(Err(Broken)));
            }
            if this.ended {
                this.over = true;
                let mut last = Vec::new();
                this.frame(&mut last, Translate::end);
                if let Some(error) = this.wrong.take() {
                    this.stop.with(error);
                    return Poll::Ready(Some(Err(Broken)));
                }
                if !last.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(last.into()))));
                }
            }
            if this.over {
                break;
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                // Trailers mean nothing here.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        this.stop.came(data.len());
                        this.reader.push(data);
                    }
                }
                Some(Err(_)) => {
                    this.over = true;
                    return Poll::Ready(Some(Err(Broken)));
                }
                None => {
                    this.ended = true;
                    this.wrong = this.reader.end().err();
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}
