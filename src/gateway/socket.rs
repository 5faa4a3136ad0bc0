//! Socket: a call over a WebSocket, from its handshake to its close.
//!
//! Both directions are polled in one place and neither waits for the other: a message is taken from the client when the
//! upstream has room for it, and from the upstream when the client has. What is held is one message each way, and one of the
//! client's that waits for room: so its close is seen even where the upstream takes nothing.

mod meter;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, Sink as _, SinkExt as _, Stream as _, StreamExt as _};
use http::Response;
use http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval_at, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::WaitForCancellationFutureOwned;
use transom_transcode::plan::{BindPlan, Body as BodyPlan, OutPlan};
use transom_transcode::status::Code;
use transom_transcode::to_wire::Input;

use self::meter::Metered;
use super::call::Call;
use super::codec::{Beside, ToWire};
use super::inbound::Inbound;
use super::outbound::Outbound;
use super::route::{Binding, Rpc};
use super::translate::{message, print};
use super::worker::Tether;
use crate::body::{Body, End, Guard as _};
use crate::envelope::websocket::{self, Handshake};
use crate::envelope::{Codec, rest};
use crate::error::Error;
use crate::memory::Room;
use crate::upstream::{Failure, Outgoing, Streaming};

/// Messages of one direction before the other has its turn.
const TURN: usize = 32;

/// Heartbeats that a client may leave unanswered.
const SILENCE: u32 = 2;

/// A client that is not heard, because its messages wait for room, is pinged so often: a socket that leads nowhere refuses a ping.
const PROBE: Duration = Duration::from_secs(1);

/// How long a client may take to answer a close.
const FAREWELL: Duration = Duration::from_secs(2);

/// The same for one that broke the protocol: time for the close to arrive.
const BRIEF: Duration = Duration::from_millis(100);

/// A memory for reading that a quiet socket can afford.
const READ_BUFFER: usize = 8 * 1024;

/// A WebSocket that begins when its answer's head has been sent.
pub(super) struct Tunnel {
    upgrade: OnUpgrade,
    tether: Option<Tether>,
    asking: Asking,
    inbound: Inbound,
    rpc: Arc<Rpc>,
    out: OutPlan,
    codec: Option<Codec>,
}

/// The call on its way to the upstream.
type Asking = Pin<Box<dyn Future<Output = Result<Streaming, Failure>> + Send>>;

impl Tunnel {
    /// What the head alone decides, and whether there is a place: from here on, errors are close codes. The call keeps its tunnel until the answer is out.
    pub(super) async fn open(
        call: &mut Call,
        binding: &Binding,
        head: &Parts,
        captured: &[&str],
        outgoing: &mut Outgoing<'_>,
    ) -> Result<Response<Body>, Error> {
        if !binding.rpc.streams() {
            return Err(Error::bad_request("this method streams nothing: ask it without a WebSocket"));
        }
        let handshake = Handshake::read(head)?;
        let upgrade = head.extensions.get::<OnUpgrade>().cloned();
        let upgrade = upgrade.ok_or_else(|| Error::bad_request("this connection cannot become a WebSocket"))?;
        let (rpc, worker) = (binding.rpc.clone(), call.worker.clone());
        let Outgoing { headers, deadline, patient, aim, .. } = outgoing.take();
        let time = (deadline, patient);
        let query = head.uri.query().unwrap_or_default();
        let query = &*rpc.gate.without_token(query);
        let out = OutPlan { raw: false, ..binding.out_for(query) };
        let (asking, inbound): (Asking, _) = if !rpc.client_streaming && binding.bind.body == BodyPlan::None {
            // The request is in the path and the query, as it is without a WebSocket.
            let input = Input { captures: captured, query, ..Input::default() };
            let message = message(call, binding, &input)?;
            let frame = call.check(&rpc, &head.headers, message).await?;
            let (rpc, worker) = (rpc.clone(), worker.clone());
            let asking = async move {
                let outgoing = rpc.outgoing(headers, time, aim);
                rpc.upstream.server_stream(&worker.pool, outgoing, frame).await
            };
            (Box::pin(asking), Inbound::nothing())
        } else if rpc.rates.need_message() {
            let why = "this method's limits look into its message: ask it without a WebSocket";
            return Err(Error::bad_request(why));
        } else {
            let plan = plan(&binding.bind);
            let beside = Beside {
                captures: captured.iter().map(|&capture| capture.into()).collect(),
                query: query.into(),
                raw: None,
            };
            let codec = ToWire::planned(call, binding, plan, beside);
            let (inbound, body) = Inbound::new(codec, &rpc, worker.pool.memory());
            call.asks();
            let (rpc, worker) = (rpc.clone(), worker.clone());
            let asking = async move { rpc.upstream.stream(&worker.pool, rpc.outgoing(headers, time, aim), body).await };
            (Box::pin(asking), inbound)
        };
        let asking = unless_refused(asking).map_err(|failure| call.failed(failure))?;
        let tether = head.extensions.get::<Tether>().cloned();
        let tunnel = Self { upgrade, tether, asking, inbound, rpc, out, codec: handshake.codec };
        call.tunnel = Some(Box::new(tunnel));
        Ok(handshake.answer())
    }

    /// Carries the call to its end.
    pub(super) async fn run(self, mut call: Box<Call>) {
        let Self { upgrade, tether, asking, inbound, rpc, out, codec } = self;
        // A client that leaves before the head is sent.
        let Ok(upgraded) = upgrade.await else { return };
        let limit = rpc.settings.body.value.max(rpc.send.output);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let upgraded = Metered::new(TokioIo::new(upgraded));
        let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
        let heartbeat = every(call.worker.heartbeat);
        let leaving = tether.as_ref().map(|tether| Box::pin(tether.leaving.clone().cancelled_owned()));
        let over = Box::pin(sleep_until(call.over().0.into()));
        let upstream = Upstream::Asked(asking);
        let (silent, waiting, probe) = (0, None, None);
        let memory = call.worker.pool.memory();
        let rooms = Rooms { came: memory.room(), made: memory.room() };
        let mut talk =
            Talk { upstream, inbound, rpc, out, codec, heartbeat, silent, waiting, probe, rooms, leaving, over };
        let ending = std::future::poll_fn(|cx| talk.poll(cx, &mut socket, &mut call)).await;
        let codec = talk.codec.unwrap_or(Codec::Json);
        let schema = talk.rpc.schema.clone();
        // The upstream is let go before anything is said to the client.
        drop(talk);
        if let Ending::Ended(Err(error)) | Ending::Fault(_, error) = &ending {
            call.blame(error);
        }
        let (end, close, patience) = match &ending {
            Ending::Left => return,
            Ending::Closed => {
                // Its close is answered by the next read.
                let _ = timeout(BRIEF, async { while let Some(Ok(_)) = socket.next().await {} }).await;
                return;
            }
            Ending::Ended(Ok(())) => (End::status(Code::Ok), websocket::close(Ok(())), FAREWELL),
            Ending::Ended(Err(error)) => (End::error(error, None), websocket::close(Err(error)), FAREWELL),
            Ending::Fault(close, error) => (End::error(error, Some(close.reason.to_string())), close.clone(), BRIEF),
        };
        call.ended(Some(end));
        let details = match &ending {
            Ending::Ended(Err(error)) if codec == Codec::Json => Some(rest::error_line(error, &schema)),
            _ => None,
        };
        let _ = timeout(patience, farewell(&mut socket, details, close)).await;
    }
}

/// Begins the call. A place that it does not get at once, because there is none or nobody to call, is refused before the handshake, as an
/// HTTP answer. Nothing is waited for: a service of both ways may say nothing before its client has, who waits for the handshake.
fn unless_refused(mut asking: Asking) -> Result<Asking, Failure> {
    match (&mut asking).now_or_never() {
        None => Ok(asking),
        Some(Ok(reply)) => Ok(Box::pin(std::future::ready(Ok(reply)))),
        Some(Err(failure)) => Err(failure),
    }
}

/// The plan of a WebSocket's messages: what a GET takes from path and query, the messages add to.
fn plan(bind: &BindPlan) -> BindPlan {
    let whole = matches!(bind.body, BodyPlan::None | BodyPlan::Whole);
    let body = if whole { BodyPlan::Whole } else { bind.body };
    BindPlan { body, query: bind.query || whole, raw: false, mask: None, ..bind.clone() }
}

/// Says why, says goodbye, and waits for the client's.
async fn farewell(socket: &mut Socket, details: Option<String>, close: CloseFrame) {
    if let Some(details) = details
        && socket.send(Message::text(details)).await.is_err()
    {
        return;
    }
    if socket.send(Message::Close(Some(close))).await.is_ok() {
        // What still comes means nothing any more.
        while let Some(Ok(_)) = socket.next().await {}
    }
}

/// How a call over a WebSocket ended.
enum Ending {
    /// By the upstream's status, or an error of the call.
    Ended(Result<(), Error>),
    /// The client broke the protocol, or was silent for too long.
    Fault(CloseFrame, Error),
    /// The client said goodbye.
    Closed,
    /// The client left without a word.
    Left,
}

enum Upstream {
    Asked(Asking),
    Answers(Box<Outbound>),
}

/// A call under way. (The upstream comes first: dropped before the rest, it is cancelled and not ended.)
struct Talk {
    upstream: Upstream,
    inbound: Inbound,
    rpc: Arc<Rpc>,
    out: OutPlan,
    /// How answers are written, once that is known.
    codec: Option<Codec>,
    heartbeat: Interval,
    /// Heartbeats since the client was last heard.
    silent: u32,
    /// A message of the client's that has yet to be passed on.
    waiting: Option<Message>,
    /// The upstream has no room for it: no more are read, and the client is probed.
    probe: Option<Interval>,
    rooms: Rooms,
    leaving: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Its time, for a client that does not read: its answers are not asked for then.
    over: Pin<Box<Sleep>>,
}

/// What is kept of messages that are no small ones.
struct Rooms {
    /// For the client's, while it comes in and until it is passed on.
    came: Room,
    /// For an answer, until the client has taken it.
    made: Room,
}

type Socket = WebSocketStream<Metered<TokioIo<Upgraded>>>;

impl Talk {
    fn poll(&mut self, cx: &mut Context<'_>, socket: &mut Socket, call: &mut Call) -> Poll<Ending> {
        if let Upstream::Asked(asking) = &mut self.upstream
            && let Poll::Ready(asked) = asking.as_mut().poll(cx)
        {
            match asked {
                Ok(reply) => {
                    let room = call.worker.pool.memory().room();
                    let answers = Outbound::new(&reply.headers, reply.body, self.rpc.receive, room);
                    self.upstream = Upstream::Answers(Box::new(answers));
                }
                Err(failure) => return Poll::Ready(Ending::Ended(Err(call.failed(failure)))),
            }
        }
        if let Poll::Ready(ending) = self.poll_answers(cx, socket, call) {
            return Poll::Ready(ending);
        }
        if let Poll::Ready(ending) = self.poll_client(cx, socket, call) {
            return Poll::Ready(ending);
        }
        if let Some(leaving) = &mut self.leaving
            && leaving.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ending::Ended(Err(Error::Draining)));
        }
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ending::Ended(Err(call.over().1)));
        }
        let mut beat = false;
        while self.heartbeat.poll_tick(cx).is_ready() {
            beat = true;
            // A client that is not being read cannot be heard.
            self.silent = if self.probe.is_some() { 0 } else { self.silent + 1 };
            if self.silent > SILENCE {
                let close = websocket::frame(CloseCode::Away, "the client does not answer pings");
                return Poll::Ready(Ending::Fault(close, Error::ClientGone));
            }
        }
        while self.probe.as_mut().is_some_and(|probe| probe.poll_tick(cx).is_ready()) {
            beat = true;
        }
        if beat
            && Pin::new(&mut *socket).poll_ready(cx).is_ready()
            && Pin::new(&mut *socket).start_send(ping()).is_err()
        {
            return Poll::Ready(Ending::Left);
        }
        match Pin::new(socket).poll_flush(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(Ending::Left),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// The upstream's messages, as the client takes them.
    fn poll_answers(&mut self, cx: &mut Context<'_>, socket: &mut Socket, call: &mut Call) -> Poll<Ending> {
        let Upstream::Answers(answers) = &mut self.upstream else { return Poll::Pending };
        for _ in 0..TURN {
            match ready!(Pin::new(&mut *socket).poll_ready(cx)) {
                Ok(()) => self.rooms.made.keep_made(0),
                Err(_) => return Poll::Ready(Ending::Left),
            }
            let message = match ready!(answers.poll_next(cx)) {
                Ok(Some(message)) => message,
                Ok(None) => return Poll::Ready(Ending::Ended(Ok(()))),
                Err(error) => return Poll::Ready(Ending::Ended(Err(error))),
            };
            let codec = *self.codec.get_or_insert(Codec::Json);
            let message = match written(call, &self.rpc, &self.out, codec, &message) {
                Ok(message) => message,
                Err(error) => return Poll::Ready(Ending::Ended(Err(error))),
            };
            call.sent(message.len());
            self.rooms.made.keep_made(message.len());
            if Pin::new(&mut *socket).start_send(message).is_err() {
                return Poll::Ready(Ending::Left);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The client's messages, as the upstream takes them.
    fn poll_client(&mut self, cx: &mut Context<'_>, socket: &mut Socket, call: &mut Call) -> Poll<Ending> {
        for _ in 0..TURN {
            if self.waiting.is_none() {
                let next = Pin::new(&mut *socket).poll_next(cx);
                let came = match &next {
                    Poll::Ready(Some(Ok(message))) => socket.get_mut().passed(message),
                    Poll::Ready(_) => 0,
                    Poll::Pending => socket.get_ref().since(),
                };
                if let Err(error) = self.rooms.came.keep(came) {
                    return Poll::Ready(Ending::Ended(Err(error)));
                }
                let message = match ready!(next) {
                    Some(Ok(message)) => message,
                    Some(Err(error)) => return Poll::Ready(fault(&error)),
                    None => return Poll::Ready(Ending::Left),
                };
                self.silent = 0;
                call.read(message.len());
                match message {
                    Message::Text(_) | Message::Binary(_) => self.waiting = Some(message),
                    Message::Close(_) => return Poll::Ready(Ending::Closed),
                    Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
                }
            }
            if self.inbound.poll_ready(cx).is_pending() {
                self.probe.get_or_insert_with(|| every(PROBE));
                return Poll::Pending;
            }
            self.probe = None;
            let Some(message) = self.waiting.take() else { continue };
            if let Err(error) = self.pass(&message) {
                return Poll::Ready(Ending::Ended(Err(error)));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Passes a message of the client's on to the upstream, which has room for it.
    fn pass(&mut self, message: &Message) -> Result<(), Error> {
        match message {
            Message::Text(text) if text.is_empty() => self.inbound.end(),
            Message::Text(text) => {
                self.codec.get_or_insert(Codec::Json);
                self.inbound.message(text.as_bytes(), Codec::Json)
            }
            Message::Binary(bytes) => {
                self.codec.get_or_insert(Codec::Proto);
                self.inbound.message(bytes, Codec::Proto)
            }
            _ => Ok(()),
        }
    }
}

/// An answer as the client reads it.
fn written(call: &Call, rpc: &Arc<Rpc>, out: &OutPlan, codec: Codec, message: &Bytes) -> Result<Message, Error> {
    match codec {
        Codec::Proto => Ok(Message::Binary(message.clone())),
        Codec::Json => {
            let json = print(&call.worker, rpc, out, message)?;
            // The printer writes UTF-8.
            String::from_utf8(json).map(Message::text).map_err(|_| Error::Internal)
        }
    }
}

fn ping() -> Message {
    Message::Ping(Bytes::new())
}

/// Ticks from then on.
fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// What is wrong with what the client sent.
fn fault(error: &tungstenite::Error) -> Ending {
    use tungstenite::error::{CapacityError::MessageTooLong, ProtocolError::ResetWithoutClosingHandshake};
    let (code, reason) = match error {
        tungstenite::Error::Protocol(ResetWithoutClosingHandshake) => return Ending::Left,
        tungstenite::Error::Protocol(error) => (CloseCode::Protocol, error.to_string()),
        tungstenite::Error::Utf8(_) => (CloseCode::Invalid, "a text is not UTF-8".to_owned()),
        tungstenite::Error::Capacity(MessageTooLong { max_size: limit, .. }) => {
            let close = websocket::frame(CloseCode::Size, "the message is larger than its limit");
            return Ending::Fault(close, Error::TooLarge { limit: *limit });
        }
        _ => return Ending::Left,
    };
    Ending::Fault(websocket::frame(code, &reason), Error::bad_request(reason))
}
