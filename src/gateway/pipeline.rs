//! The request line.

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
use transom_transcode::to_wire::Input;

use super::call::Call;
use super::cohort::aside;
use super::passage::Passage;
use super::payload::Payload;
use super::route::{Action, Binding, Route, Rpc};
use super::snapshot::Snapshot;
use super::socket::Tunnel;
use super::state::State;
use super::translate::{content, message};
use super::worker::{Peer, Worker};
use super::{cached, rpc, stream};
use crate::body::{Body, Incoming};
use crate::envelope::coding::Coding;
use crate::envelope::head::{Head, no_host};
use crate::envelope::stream::opaque;
use crate::envelope::{Codec, Dialect, grpc, origin, rest, whole};
use crate::error::Error;
use crate::upstream::Outgoing;

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
    pub fn serve<B: Incoming>(
        &self,
        worker: &Arc<Worker>,
        peer: &Peer,
        request: Request<B>,
    ) -> impl Future<Output = Response<Body>> + Send {
        // Here and not in the future: an `async fn` would keep the request beside its parts.
        let (parts, body) = request.into_parts();
        async move {
            // Boxed: it waits as long as the call does.
            let head = Box::new(Head::of(&parts));
            let mut call = Call::begin(worker, peer, &head);
            let answer = {
                let mut answer = pin!(self.answer(&mut call, peer, &head, body));
                poll_fn(|cx| {
                    let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx)));
                    polled.unwrap_or(Poll::Ready(Err(Error::Internal)))
                })
                .await
            };
            call.finish(answer).await
        }
    }

    /// The line itself.
    async fn answer<B: Incoming>(
        &self,
        call: &mut Call,
        peer: &Peer,
        head: &Head<'_>,
        body: B,
    ) -> Result<Response<Body>, Error> {
        // Accept.
        let snapshot = self.state.snapshot.load();
        if let Some(answer) = self.accept(call, peer, head, &snapshot) {
            return answer;
        }

        // Route.
        let mut captured = Captured::new();
        let (route, host) = route(&snapshot, call, head, &mut captured)?;
        // It is needed no longer: the route holds what the call needs.
        drop(snapshot);
        let Action::Call(binding) = &route.action else {
            return Box::pin(self.ask_own(call, &route, head, body)).await;
        };
        let rpc = &*binding.rpc;

        // Gates, by the head alone.
        call.gates(rpc, head).await?;
        let outgoing = &mut call.outgoing(peer, rpc, head, host)?;

        // Translate, check, send, answer: each passage in its own way.
        match Passage::of(call.dialect, rpc) {
            Passage::Rest => transcode(call, binding, head, &captured, outgoing, body).await,
            Passage::Opaque => forward(call, rpc, outgoing, body).await,
            Passage::Framed => Box::pin(rpc::framed(call, binding, head, outgoing, body)).await,
            Passage::Connect => Box::pin(rpc::connect(call, binding, head, outgoing, body)).await,
            Passage::Socket => Box::pin(Tunnel::open(call, binding, head, &captured, outgoing)).await,
            Passage::RestStream => Box::pin(stream::rest(call, binding, head, &captured, outgoing, body)).await,
        }
    }

    /// Whether a connection from there may stay. Behind a trusted proxy are many clients: it opens as many as it needs.
    pub fn admits(&self, address: IpAddr) -> bool {
        let snapshot = self.state.snapshot.load();
        let Some(guard) = &snapshot.burst_guard else { return true };
        let address = address.to_canonical();
        snapshot.trusted_proxies().iter().any(|proxy| proxy.contains(address)) || guard.connection(address)
    }

    /// Who calls, whether it may at all, and which pages may read the answer. Browsers' own questions are answered here.
    fn accept(
        &self,
        call: &mut Call,
        peer: &Peer,
        head: &Parts,
        snapshot: &Snapshot,
    ) -> Option<Result<Response<Body>, Error>> {
        call.proxied = origin::is_proxy(peer.ip(), snapshot.trusted_proxies());
        if call.proxied {
            call.client = origin::client(&head.headers, peer.ip(), snapshot.trusted_proxies());
            call.tls = origin::forwarded_tls(&head.headers).unwrap_or(peer.tls);
        }
        if snapshot.shared {
            call.page = head.headers.get(header::ORIGIN).cloned();
            call.cors = snapshot.cors.clone();
        }
        if let Some(guard) = &snapshot.burst_guard
            && let Err(refused) = guard.call(call.client, head.uri.path())
        {
            return Some(Err(refused));
        }
        let limit = snapshot.config.clients.headers;
        if head.headers.len() > limit {
            return Some(Err(Error::TooManyHeaders { limit }));
        }
        if snapshot.shared { self.preflight(call, head, snapshot) } else { None }
    }

    /// What the gateway answers itself.
    async fn ask_own<B: Incoming>(
        &self,
        call: &mut Call,
        route: &Route,
        head: &Head<'_>,
        body: B,
    ) -> Result<Response<Body>, Error> {
        if let Action::Token(endpoint) = &route.action {
            return endpoint.answer(call, head, body).await;
        }
        let request = Request::from_parts(Parts::clone(head), axum::body::Body::new(body));
        // A router's error is Infallible.
        let response = self.builtin.clone().oneshot(request).await.map_err(|_| Error::Internal)?;
        Ok(Body::built_in(response))
    }
}

/// Where the request goes, and the host that it is for. One host first: a path is looked up for no request that leaves open
/// whom it is for.
fn route<'p>(
    snapshot: &Snapshot,
    call: &mut Call,
    head: &'p Head<'_>,
    captured: &mut Captured<'p>,
) -> Result<(Arc<Route>, HeaderValue), Error> {
    if head.method == Method::CONNECT && call.dialect != Dialect::WebSocket {
        return Err(Error::bad_request("CONNECT is not served here: this is no proxy for tunnels"));
    }
    head.is_framed_plainly()?;
    let host = head.host()?;
    call.accepts = head.accept_encoding();
    let mut working = call.worker.working.lock();
    let route = snapshot.route(head, &mut call.dialect, &mut working.captures)?;
    captured.extend(working.captures.iter(head.uri.path()));
    let own = matches!(route.action, Action::Builtin);
    if !own {
        call.cors = route.cors().cloned();
    }
    // Load balancers ask by HTTP/1.0 how the gateway is. A service is told which host its client means.
    let host = host.or(own.then(|| HeaderValue::from_static(""))).ok_or_else(no_host)?;
    call.route = Some(route.clone());
    Ok((route.clone(), host))
}

/// The line goes on for one message over REST.
#[expect(clippy::manual_async_fn, reason = "an `async fn` holds what it is given twice, for as long as the call waits")]
fn transcode<B: Incoming>(
    call: &mut Call,
    binding: &Binding,
    head: &Head<'_>,
    captures: &[&str],
    outgoing: &mut Outgoing<'_>,
    body: B,
) -> impl Future<Output = Result<Response<Body>, Error>> + Send {
    async move {
        let rpc = &binding.rpc;
        let query = head.uri.query().unwrap_or_default();
        aside(&call.worker).await;

        // Read, and translate. What is needed for that alone is gone when the call is sent.
        let message = {
            let taken = binding.taken();
            let (media, coding) = rest::admit(head, &body, rpc.settings.body.value, taken)?;
            let body = read(call, coding, rpc.settings.body.value, outgoing.deadline, body).await?;
            taken.admit_content(head, &body)?;
            message(call, binding, &Input { body: &body, media, captures, query, later: false })?
        };

        // Check.
        let frame = call.check(rpc, &head.headers, message).await?;

        // Send, unless the reply is kept.
        let out = binding.out_for(query);
        if let Some(cached) = &rpc.cache {
            let asked = (frame, Coding::Identity);
            return Box::pin(cached::answer(call, cached, (binding, &out), head, outgoing, asked)).await;
        }
        if rpc.server_streaming {
            let payload = (Payload::Whole(frame), Coding::Identity);
            return Box::pin(stream::stream(call, binding, out, head, outgoing, payload)).await;
        }
        let reply = call.send(rpc, outgoing, frame).await?;

        // Answer.
        let content = content(&call.worker, rpc, &out, &reply.message)?;
        let answer = rest::reply(content, [reply.headers, reply.trailers], &rpc.crossing);
        aside(&call.worker).await;
        Ok(answer)
    }
}

/// The line goes on for gRPC's frames, unread.
#[expect(clippy::manual_async_fn, reason = "an `async fn` holds what it is given twice, for as long as the call waits")]
fn forward<B: Incoming>(
    call: &mut Call,
    rpc: &Rpc,
    outgoing: &mut Outgoing<'_>,
    body: B,
) -> impl Future<Output = Result<Response<Body>, Error>> + Send {
    async move {
        let stop = call.stop();
        let body = opaque::Watched::new(body, rpc.send.output, stop.clone());
        let (headers, body) = call.exchange(rpc, outgoing, (body, &stop)).await?;
        let frames = opaque::Frames::new(body, rpc.receive, stop, grpc::Frames::plain());
        Ok(grpc::reply(headers, Codec::Proto, None, Body::streamed(frames)))
    }
}

/// A REST request's body, decoded.
async fn read<B: Incoming>(
    call: &mut Call,
    coding: Coding,
    limit: usize,
    deadline: Instant,
    body: B,
) -> Result<Bytes, Error> {
    let pool = &call.worker.pool;
    let read = pool.within(deadline, whole::read(body, limit, pool.memory())).await;
    let body = read.unwrap_or_else(|| Err(pool.unread()))?;
    call.read(body.len());
    if coding == Coding::Identity {
        return Ok(body);
    }
    // Boxed: few calls wait there, and all would have room for it.
    let unpacked = Box::pin(coding.unpack(body, limit)).await?;
    Ok(call.worker.pool.memory().hold(unpacked.into()))
}
