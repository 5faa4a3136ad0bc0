//! Inbound: a client's messages from a socket to the upstream's request, one at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;
use transom_transcode::frame;

use super::codec::ToWire;
use super::route::Rpc;
use crate::body::Broken;
use crate::envelope::Codec;
use crate::envelope::stream::Translate as _;
use crate::error::Error;
use crate::memory::Memory;
use crate::store::Pace;

/// Where the client's messages go.
pub(super) struct Inbound {
    state: State,
    /// Bytes of a JSON message, and of a protobuf one.
    limits: (usize, usize),
    /// The method takes one message.
    one: bool,
    /// How often the client may speak.
    pace: Option<Pace>,
}

enum State {
    Open(ToWire, PollSender<Bytes>, Arc<Memory>),
    /// The client has said everything.
    Ended,
    /// The request is complete without the client.
    Nothing,
}

impl Inbound {
    /// Messages for an RPC, and the body that they become.
    pub(super) fn new(codec: ToWire, rpc: &Rpc, memory: &Arc<Memory>) -> (Self, Incoming) {
        let (sender, receiver) = mpsc::channel(1);
        let limits = (rpc.settings.body.value, rpc.send.output);
        let state = State::Open(codec, PollSender::new(sender), Arc::clone(memory));
        (Self { state, limits, one: !rpc.client_streaming, pace: rpc.pace() }, Incoming(receiver))
    }

    /// No messages.
    pub(super) fn nothing() -> Self {
        Self { state: State::Nothing, limits: (0, 0), one: false, pace: None }
    }

    /// Ready when the upstream has room for a message; or when it wants none, so that the client is still heard.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Open(_, sender, _) => sender.poll_reserve(cx).map(drop),
            State::Ended | State::Nothing => Poll::Ready(()),
        }
    }

    /// Passes a message on; [`Inbound::poll_ready`] was ready.
    ///
    /// # Errors
    /// It comes too soon, is too large, not what the schema says, or there is no place for it.
    pub(super) fn message(&mut self, message: &[u8], codec: Codec) -> Result<(), Error> {
        if let Some(Err(retry_after)) = self.pace.as_mut().map(|pace| pace.take(Instant::now())) {
            return Err(Error::RateLimited { retry_after });
        }
        let limit = match codec {
            Codec::Json => self.limits.0,
            Codec::Proto => self.limits.1,
        };
        match &self.state {
            State::Open(..) if message.len() > limit => return Err(Error::TooLarge { limit }),
            State::Open(..) => self.pass(|translate, out| translate.message_in(codec, message, out).map(|()| true))?,
            State::Ended if self.one => return Err(Error::bad_request("this method takes one message")),
            State::Ended => return Err(Error::bad_request("a message after the end of the client's stream")),
            State::Nothing => {
                return Err(Error::bad_request(
                    "this method takes no messages: its request is in the path and the query",
                ));
            }
        }
        if self.one {
            self.state = State::Ended;
        }
        Ok(())
    }

    /// The client has said everything.
    ///
    /// # Errors
    /// What the path and the query say makes no message.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        if matches!(self.state, State::Open(..)) {
            self.pass(ToWire::end)?;
            self.state = State::Ended;
        }
        Ok(())
    }

    fn pass(&mut self, write: impl FnOnce(&mut ToWire, &mut Vec<u8>) -> Result<bool, Error>) -> Result<(), Error> {
        let State::Open(codec, sender, memory) = &mut self.state else { return Ok(()) };
        let mut out = vec![0; frame::PREFIX];
        if write(codec, &mut out)? {
            frame::seal(&mut out);
            // An upstream that wants no more has answered, or will.
            let _ = sender.send_item(memory.hold(out.into()));
        }
        Ok(())
    }
}

/// The body of the upstream's request.
pub(super) struct Incoming(mpsc::Receiver<Bytes>);

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
