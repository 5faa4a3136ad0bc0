//! The request line.

use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, header};
use smallvec::SmallVec;
use tower::ServiceExt as _;
use transom_transcode::frame::PREFIX;
use transom_transcode::plan::OutPlan;
use transom_transcode::to_wire::{Input, Media, SystemParameters};

use super::cached;
use super::call::Call;
use super::route::{Action, Binding, Route, Rpc};
use super::snapshot::Snapshot;
use super::socket::Tunnel;
use super::state::State;
use super::stream::{Asking, client_stream, stream};
use super::translate::{answer, frame};
use super::worker::{Peer, Worker};
use crate::body::Body;
use crate::envelope::coding::Coding;
use crate::envelope::head::Known;
use crate::envelope::stream::opaque;
use crate::envelope::{Codec, Dialect, grpc, metadata, origin, rest, whole};
use crate::error::Error;
use crate::policy::rate::Stage;
use crate::upstream::{About, Metadata, Outgoing};

/// The gateway: from a request to its answer.
pub struct Gateway {
    state: Arc<State>,
    builtin: axum::Router,
}

/// The raw values of a path's variables.
type Captured<'p> = SmallVec<[&'p str; 4]>;

impl Gateway {
    /// A gateway on this state; `builtin` serves the routes that are the gateway's own.
    pub fn new(state: Arc<State>, builtin: axum::Router) -> Self {
        Self { state, builtin }
    }

    /// One call, whatever its dialect. It always answers: what goes wrong, a panic too, becomes the error that the
    /// dialect has for it. Dropped, it leaves nothing running.
    pub fn serve<B>(
        &self,
        worker: &Arc<Worker>,
        peer: &Peer,
        request: Request<B>,
    ) -> impl Future<Output = Response<Body>> + Send
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        // Here and not in the future: an `async fn` would keep the request beside its parts.
        let (head, body) = request.into_parts();
        async move {
            // Boxed: it waits as long as the call does.
            let known = Box::new(Known::of(&head.headers));
            self.run(Call::begin(worker, peer, &head, &known), peer, &head, &known, body).await
        }
    }

    async fn run<B>(&self, mut call: Box<Call>, peer: &Peer, head: &Parts, known: &Known<'_>, body: B) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let answer = {
            let mut answer = pin!(self.answer(&mut call, peer, (head, known), body));
            poll_fn(|cx| {
                catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))).unwrap_or(Poll::Ready(Err(Error::Internal)))
            })
            .await
        };
        match (answer, call.tunnel.take()) {
            (Ok(response), Some(tunnel)) => call.tunnel(response, *tunnel),
            (Ok(response), None) => call.finish(response),
            (Err(error), _) => {
                let response = call.refuse(&error);
                call.finish(response)
            }
        }
    }

    /// The line itself.
    async fn answer<B>(
        &self,
        call: &mut Call,
        peer: &Peer,
        (head, known): (&Parts, &Known<'_>),
        body: B,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        // Arrive.
        let snapshot = self.state.snapshot.load();
        if let Some(answer) = self.arrive(call, peer, head, &snapshot) {
            return answer;
        }

        // Route. One host first: a path is looked up for no request that leaves open whom it is for.
        if head.method == Method::CONNECT && call.dialect != Dialect::WebSocket {
            return Err(Error::bad_request("CONNECT is not served here: this is no proxy for tunnels"));
        }
        let host = known.host(&head.uri)?;
        call.accepts = known.accept_encoding.cloned();
        let mut captured = Captured::new();
        let route = route(&snapshot, call, head, &mut captured)?;
        // It is needed no longer: the route holds what the call needs.
        drop(snapshot);
        let Action::Call(binding) = &route.action else {
            return Box::pin(self.ask_own(call, &route, head, body)).await;
        };
        let rpc = &binding.rpc;

        // Admit, by the head alone.
        call.enter(rpc)?;
        call.gates(rpc, head).await?;
        let mut outgoing = admit(call, peer, rpc, head, known, host)?;
        call.speak_for_caller(rpc, head, outgoing.headers.given_mut())?;
        if call.dialect == Dialect::Grpc(Codec::Proto) && rpc.opaque && !rpc.replays() && !rpc.is_noted() {
            let stop = call.stop();
            let body = opaque::Watched::new(body, rpc.send.output, stop.clone());
            call.asks();
            let reply = rpc.upstream.stream(&call.worker.pool, outgoing, body).await;
            let reply = reply.map_err(|failure| stop.or(call.failed(failure)))?;
            call.answered(reply.endpoint);
            let frames = opaque::Frames::new(reply.body, rpc.receive, stop, grpc::Frames::plain());
            return Ok(grpc::reply(reply.headers, Codec::Proto, None, Body::streamed(frames)));
        }
        if call.dialect.is_rpc() {
            return Box::pin(super::rpc::answer(call, binding, head, outgoing, body)).await;
        }
        let query = head.uri.query().unwrap_or_default();
        let mut out = binding.out.clone();
        out.options.enums_as_numbers |= SystemParameters::of(query).enums_as_numbers;
        if call.dialect == Dialect::WebSocket {
            let (response, tunnel) = Box::pin(Tunnel::open(call, binding, head, &captured, outgoing)).await?;
            call.tunnel = Some(Box::new(tunnel));
            return Ok(response);
        }
        if rpc.client_streaming {
            let asking = Asking::messages(call, binding, (head, known), &captured, body)?;
            return match rpc.server_streaming {
                true => Box::pin(stream(call, binding, out, head, outgoing, (asking, Coding::Identity))).await,
                false => Box::pin(client_stream(call, binding, out, outgoing, asking)).await,
            };
        }
        let limit = rpc.settings.body.value;
        let (media, coding) = rest::admit(known, &body, limit, binding.taken())?;

        // Translate in.
        let asked = Asked { head, media, coding, captured: &captured, limit, deadline: outgoing.deadline };
        let message = message(call, binding, asked, body).await?;

        // Look up: a reply that is kept, or that another call has just got.
        if rpc.cache.is_some() || call.refreshes(rpc) {
            return Box::pin(look_up(call, (binding, &out), head, outgoing, message)).await;
        }

        // Send.
        if rpc.server_streaming {
            return Box::pin(stream(call, binding, out, head, outgoing, (Asking::Whole(message), Coding::Identity)))
                .await;
        }
        let reply = rpc.upstream.unary(&call.worker.pool, outgoing, message).await;
        let reply = reply.map_err(|failure| call.failed(failure))?;
        call.answered(reply.endpoint);

        // Translate back.
        let message = call.shape(rpc, reply.message).await?;
        let content = answer(&call.worker, rpc, &out, &message)?;
        Ok(rest::reply(content, [&reply.headers, &reply.trailers], &rpc.crossing))
    }

    /// Whether a connection from there may stay. Behind a trusted proxy are many clients: it opens as many as it needs.
    pub fn admits(&self, address: IpAddr) -> bool {
        let snapshot = self.state.snapshot.load();
        let Some(guard) = &snapshot.burst_guard else { return true };
        let address = address.to_canonical();
        snapshot.trusted_proxies().iter().any(|proxy| proxy.contains(address)) || guard.connection(address)
    }

    /// Who calls, whether it may at all, and which pages may read the answer. Browsers' own questions are answered here.
    fn arrive(
        &self,
        call: &mut Call,
        peer: &Peer,
        head: &Parts,
        snapshot: &Snapshot,
    ) -> Option<Result<Response<Body>, Error>> {
        let limit = snapshot.config.clients.headers;
        if head.headers.len() > limit {
            return Some(Err(Error::TooManyHeaders { limit }));
        }
        call.client = origin::client(&head.headers, peer.ip(), snapshot.trusted_proxies());
        if snapshot.shared {
            call.page = head.headers.get(header::ORIGIN).cloned();
            call.cors = snapshot.cors.clone();
        }
        if let Some(guard) = &snapshot.burst_guard
            && let Err(refused) = guard.call(call.client, head.uri.path())
        {
            return Some(Err(refused));
        }
        if snapshot.shared { self.preflight(call, head, snapshot) } else { None }
    }

    /// What the gateway answers itself.
    async fn ask_own<B>(&self, call: &mut Call, route: &Route, head: &Parts, body: B) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        if let Action::Desk(desk) = &route.action {
            return desk.answer(call, head, body).await;
        }
        let request = Request::from_parts(head.clone(), axum::body::Body::new(body));
        // A router's error is Infallible.
        let response = self.builtin.clone().oneshot(request).await.map_err(|_| Error::Internal)?;
        Ok(Body::built_in(response))
    }
}

/// Where the request goes.
fn route<'p>(
    snapshot: &Snapshot,
    call: &mut Call,
    head: &'p Parts,
    captured: &mut Captured<'p>,
) -> Result<Arc<Route>, Error> {
    let mut working = call.worker.working.lock();
    let route = snapshot.route(head, &mut call.dialect, &mut working.captures)?;
    captured.extend(working.captures.iter(head.uri.path()));
    if !matches!(route.action, Action::Builtin) {
        call.cors = route.cors().cloned();
    }
    call.route = Some(route.clone());
    Ok(route.clone())
}

/// What a REST request is translated from, its body apart.
struct Asked<'a> {
    head: &'a Parts,
    media: Media<'a>,
    coding: Coding,
    captured: &'a [&'a str],
    /// Bytes of the body.
    limit: usize,
    deadline: Instant,
}

/// The request's message in its frame: read, translated, and let in by the limits that look into it. One wait for the
/// line: what is needed for it alone is gone when the call is sent.
async fn message<B>(call: &mut Call, binding: &Binding, asked: Asked<'_>, body: B) -> Result<Bytes, Error>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let pool = &call.worker.pool;
    let read = pool.within(asked.deadline, whole::read(body, asked.limit, pool.memory())).await;
    let mut body = read.unwrap_or(Err(Error::Deadline))?;
    call.read(body.len());
    if asked.coding != Coding::Identity {
        body = call.worker.pool.memory().hold(asked.coding.decode(&body, asked.limit)?.into());
    }
    let query = asked.head.uri.query().unwrap_or_default();
    let input = Input { body: &body, media: asked.media, captures: asked.captured, query, later: false };
    let message = frame(call, binding, &input)?;
    if binding.rpc.rates.need_message() {
        call.limit(&binding.rpc, Stage::Message, &asked.head.headers, &message[PREFIX..]).await?;
    }
    call.note(&binding.rpc, &message);
    Ok(message)
}

/// A call that may not have to be made.
async fn look_up(
    call: &mut Call,
    (binding, out): (&Binding, &OutPlan),
    head: &Parts,
    outgoing: Outgoing<'_>,
    message: Bytes,
) -> Result<Response<Body>, Error> {
    match &binding.rpc.cache {
        Some(cached) => cached::answer(call, cached, (binding, out), head, outgoing, (message, Coding::Identity)).await,
        None => call.refreshed((binding, out), outgoing, message).await,
    }
}

/// What the head alone decides: a deadline. What goes to the upstream with every message is complete from
/// here.
fn admit<'r>(
    call: &mut Call,
    peer: &Peer,
    rpc: &'r Rpc,
    head: &Parts,
    known: &Known<'_>,
    host: HeaderValue,
) -> Result<Outgoing<'r>, Error> {
    let aim = call.aim(rpc, &head.headers);
    let (own, asked) = (rpc.settings.timeout.value, known.timeout()?);
    let deadline = call.deadline(own, asked);
    let patient = asked.is_none_or(|asked| own.is_some_and(|own| own <= asked));
    let given = match call.dialect {
        Dialect::Rest | Dialect::WebSocket | Dialect::Http => metadata::from_rest(&head.headers, known, &rpc.crossing)?,
        dialect => {
            metadata::from_rpc(&head.headers, known, dialect == Dialect::Grpc(Codec::Proto) && rpc.bound.is_none())
        }
    };
    let about = About {
        request_id: call.id.header().clone(),
        forwarded_for: origin::forwarded_for(&head.headers, &peer.forwarded, call.client != peer.ip()),
        forwarded_host: host,
        tls: peer.tls,
        certificate: peer.certificate.clone(),
        unpacks: !call.dialect.is_opaque(),
    };
    let headers = Metadata::new(given, about);
    let (priority, retry) = (rpc.settings.priority.value, rpc.retry.as_ref());
    let max_age = rpc.max_age.as_ref();
    Ok(Outgoing { uri: &rpc.uri, headers, deadline, max_age, patient, priority, aim, retry })
}
