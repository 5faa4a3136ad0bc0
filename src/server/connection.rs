//! One client's connection, from its first byte to its close.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::activity::{Activity, Finding, InFlight, Watch};
use super::farewell::{LAST_WORD, linger, part};
use super::frames::Framed;
use super::hangup::Hangup;
use super::limits::Limits;
use super::on_wake::OnWake;
use super::patience::{self, Patient};
use super::phase::{Phase, Phases, reached};
use super::preface::{self, Head, Rewound};
use super::unread::{Answered, Tracked};
use super::upload::Upload;
use crate::corked::Corked;
use crate::gateway::{Peer, State, Tether};
use crate::policy::overload::about;
use crate::telemetry::{Protocol, Refusals};
use crate::tls::Socket;

/// What answers a connection's requests.
pub(super) trait Answer: Send + Sync + 'static {
    /// The answers' bodies.
    type Body: Answered<Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send> + Send + Unpin + 'static;

    /// Whether a connection from there may stay.
    fn admits(&self, _: IpAddr) -> bool {
        true
    }

    /// Answers one request.
    fn answer(&self, peer: &Peer, request: Request<Upload>) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// What every connection of a listener has in common.
pub(super) struct Terms<A> {
    pub(super) answer: A,
    pub(super) limits: Limits,
    pub(super) state: Arc<State>,
    pub(super) phases: Phases,
    /// TLS is spoken where the snapshot has certificates.
    pub(super) secure: bool,
    http1: http1::Builder,
    http2: http2::Builder<Patient>,
    /// Connections that were ended for what their clients reset.
    flooded: Refusals,
}

impl<A> Terms<A> {
    pub(super) fn new(answer: A, limits: Limits, state: Arc<State>, phases: Phases) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            // The connection's own watch does this, without a timer per request.
            .header_read_timeout(None)
            .max_header_size(limits.head_bytes as usize)
            // Of what a slow client does not read, hyper would keep up to a megabyte.
            .max_buf_size(2 * limits.head_bytes as usize)
            // hyper's own refusal is bare, and logged nowhere: the gateway's is for who sends a few too many.
            .max_headers(2 * limits.headers);
        let mut http2 = http2::Builder::new(Patient);
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(limits.head_bytes)
            .max_pending_accept_reset_streams(limits.pending_resets)
            .initial_stream_window_size(limits.stream_window)
            .initial_connection_window_size(limits.connection_window)
            // WebSockets (RFC 8441).
            .enable_connect_protocol();
        let flooded = state.metrics.refusals("clients", "rapid_reset");
        Self { answer, limits, state, phases, secure: false, http1, http2, flooded }
    }

    /// The same, for clients who are to be sure of whom they speak to.
    pub(super) fn secured(self) -> Self {
        Self { secure: true, ..self }
    }
}

/// Serves one connection until either side has enough of it.
pub(super) async fn serve<A: Answer>(terms: Arc<Terms<A>>, socket: TcpStream, address: SocketAddr) {
    let mut phases = terms.phases.clone();
    let begun = tokio::select! {
        begun = timeout(terms.limits.head, begin(&terms, socket, address)) => begun,
        () = async {
            reached(&mut phases, Phase::Closing).await;
            sleep(LAST_WORD).await;
        } => return,
    };
    // A client that says nothing in time, leaves, or breaks off gets no answer: there is no request.
    let Ok(Ok(Some(Begun { socket, peer, protocol, head }))) = begun else { return };
    let activity = Arc::new(Activity::of(protocol));
    let io = Rewound::new(head, socket, activity.clone());
    let _open = terms.state.metrics.connections(protocol).enter();
    let client = Arc::new((terms.clone(), peer));
    let tunnels = Tunnels::default();
    let service = service_fn(|mut request: Request<Incoming>| {
        let (client, mut call) = (client.clone(), activity.begin());
        if protocol == Protocol::Http2 {
            call = call.unanswered();
        }
        if request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE) {
            request.extensions_mut().insert(tunnels.tether(activity.begin()));
        }
        let version = request.version();
        let request = Upload::of(request, call.activity());
        async move {
            let (terms, peer) = &*client;
            let mut response = terms.answer.answer(peer, request).await;
            call.answered();
            let last = || terms.state.drain.has_begun() || call.is_last() || call.activity().has_left();
            let until = response.body().until();
            match protocol {
                Protocol::Http1 => call.ends_by(until),
                Protocol::Http2 => patience::ends_by(until),
            }
            if protocol == Protocol::Http1 && last() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| Tracked::new(body, call, version)))
        }
    });
    let old = terms.limits.max_age.map(|age| Instant::now() + about(age));
    match protocol {
        Protocol::Http1 => {
            let watch = Watch::new(protocol, terms.limits.head, terms.limits.idle_http1);
            let mut watch = watch.stalling(terms.limits.stall);
            let (mut io, mut service) = (io, service);
            loop {
                let mut connection = Box::new(terms.http1.serve_connection(io, service).with_upgrades());
                let driven = drive(Pin::new(&mut *connection), (&mut watch, old), &activity, &tunnels, phases.clone());
                // What hyper has read and nobody has answered is part of a head, whose time is over.
                let driven = driven.await;
                activity.forget_handle();
                let resting = match driven {
                    Driven::Resting => connection.into_parts().filter(|parts| parts.read_buf.is_empty()),
                    Driven::Well if activity.has_left() => {
                        if let Some(parts) = connection.into_parts() {
                            linger(TokioIo::new(parts.io), phases.clone()).await;
                        }
                        None
                    }
                    // All that was said before a break is with the kernel, which forgets it if the client says more.
                    Driven::Broken if activity.is_broken() && !activity.is_to_reset() => {
                        if let Some(mut parts) = connection.into_parts() {
                            part(&mut parts.io).await;
                            linger(TokioIo::new(parts.io), phases.clone()).await;
                        }
                        None
                    }
                    Driven::Well | Driven::Broken => None,
                };
                let Some(resting) = resting.map(|parts| (parts.io, parts.service)) else { break };
                (io, service) = resting;
                if !rest(&mut io, &mut watch, phases.clone()).await {
                    part(&mut io).await;
                    break;
                }
            }
            // A connection that has become a tunnel is no longer hyper's.
            tunnels.ended(phases).await;
        }
        Protocol::Http2 => {
            // A call is a task here: boxed, hyper and tokio hand on a pointer to it and not, six times, the 3 KB that it takes.
            let service = service_fn(|request| Box::pin(service.call(request)));
            let socket = Corked::new(Framed::new(TokioIo::new(io), activity.clone()));
            // Not in here: the memory of one that is at rest is that of the other.
            let mut connection = Box::pin(terms.http2.serve_connection(TokioIo::new(socket.clone()), service));
            let connection = pin!(Uncorked { connection: connection.as_mut(), socket: socket.clone() });
            let mut watch = Watch::new(protocol, terms.limits.head, terms.limits.idle_http2);
            let driven = drive(connection, (&mut watch, old), &activity, &tunnels, phases.clone());
            let flooded = || activity.is_flooded(terms.limits.early_resets);
            match unless(flooded, driven).await {
                Some(Driven::Well) => linger(socket, phases).await,
                Some(Driven::Broken | Driven::Resting) => {}
                None => {
                    terms.flooded.count();
                    tracing::debug!(client = %address, "ended: it resets most of its calls at once");
                }
            }
        }
    }
}

/// What it comes to, unless that happens: it is looked at each time that something has.
async fn unless<F: Future>(happened: impl Fn() -> bool, driven: F) -> Option<F::Output> {
    let mut driven = pin!(driven);
    poll_fn(|cx| match driven.as_mut().poll(cx) {
        Poll::Pending if happened() => Poll::Ready(None),
        polled => polled.map(Some),
    })
    .await
}

/// A connection whose first bytes have come.
struct Begun {
    socket: Socket,
    peer: Peer,
    protocol: Protocol,
    head: Head,
}

/// The handshake where TLS is spoken, then the first bytes; none if the client left without a word.
async fn begin<A>(terms: &Terms<A>, socket: TcpStream, address: SocketAddr) -> io::Result<Option<Begun>> {
    let tls = if terms.secure { terms.state.snapshot.load().tls.clone() } else { None };
    let (mut socket, peer) = match tls {
        None => (Socket::Plain(socket), Peer::new(address, false)),
        Some(tls) => {
            let socket = tls.accept(socket).await.inspect_err(|error| {
                terms.state.metrics.tls().failed();
                tracing::debug!(client = %address, %error, "no TLS");
            })?;
            let certificate = socket.identity();
            (socket, Peer::new(address, true).certified(certificate))
        }
    };
    let detected = preface::detect(&mut socket).await?;
    Ok(detected.map(|(protocol, head)| Begun { socket, peer, protocol, head }))
}

/// Calls of a connection that go on after their answers' heads.
#[derive(Default)]
struct Tunnels {
    open: TaskTracker,
    leaving: CancellationToken,
}

impl Tunnels {
    fn tether(&self, call: InFlight) -> Tether {
        Tether::new(self.leaving.clone(), (call, self.open.token()))
    }

    /// Waits for their ends, for as long as the server lets them.
    async fn ended(&self, mut phases: Phases) {
        self.open.close();
        tokio::select! {
            () = self.open.wait() => {}
            () = reached(&mut phases, Phase::Gone) => self.end().await,
        }
    }

    /// Tells them that the time is over, and lets them say so.
    async fn end(&self) {
        self.leaving.cancel();
        self.open.close();
        let _ = timeout(LAST_WORD, self.open.wait()).await;
    }
}

/// A connection without a call, and without the memory that calls need, until bytes come; false: it is to end.
async fn rest(io: &mut Rewound, watch: &mut Watch, mut phases: Phases) -> bool {
    let come = tokio::select! {
        come = io.wait() => come.unwrap_or(false),
        () = sleep(watch.patience()) => false,
        () = reached(&mut phases, Phase::Closing) => false,
    };
    watch.disturbed();
    come
}

/// A connection that can be told to end after what it has begun.
trait Graceful: Future {
    /// It can be taken down to its socket, and be put up again.
    const RESTS: bool;

    /// It reads at all times, whatever becomes of its calls.
    const HEARS: bool;

    /// Told that the server drains, or that it is old: HTTP/2 says GOAWAY; HTTP/1.1 says it with its next answer.
    fn announce(self: Pin<&mut Self>);

    /// Takes no more requests.
    fn close(self: Pin<&mut Self>);
}

impl<S> Graceful for http1::UpgradeableConnection<Rewound, S>
where
    Self: Future,
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    const RESTS: bool = true;
    const HEARS: bool = false;

    fn announce(self: Pin<&mut Self>) {}

    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// An HTTP/2 connection that sends what its calls have written when its turn ends.
struct Uncorked<'c, C> {
    connection: Pin<&'c mut C>,
    socket: Corked<Framed<TokioIo<Rewound>>>,
}

type Http2<S> = http2::Connection<TokioIo<Corked<Framed<TokioIo<Rewound>>>>, S, Patient>;

impl<C: Future> Future for Uncorked<'_, C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let outcome = self.connection.as_mut().poll(cx);
        self.socket.poll_send(cx);
        outcome
    }
}

impl<S> Graceful for Uncorked<'_, Http2<S>>
where
    Self: Future,
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
    Patient: Http2ServerConnExec<S::Future, S::ResBody>,
{
    const RESTS: bool = false;
    const HEARS: bool = true;

    fn announce(mut self: Pin<&mut Self>) {
        self.connection.as_mut().graceful_shutdown();
    }

    fn close(mut self: Pin<&mut Self>) {
        self.connection.as_mut().graceful_shutdown();
    }
}

/// How a connection was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driven {
    /// It has ended, and all that it had to say was written.
    Well,
    /// It has ended.
    Broken,
    /// Nothing has happened for a while.
    Resting,
}

/// Drives a connection, and ends it when it is idle or the server drains.
async fn drive<C: Graceful<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    (watch, old): (&mut Watch, Option<Instant>),
    activity: &Activity,
    tunnels: &Tunnels,
    mut phases: Phases,
) -> Driven {
    let mut look = pin!(sleep(watch.every));
    let mut old = pin!(async {
        match old {
            Some(old) => sleep_until(old).await,
            None => std::future::pending().await,
        }
    });
    // Whoever comes while the server drains is told with the first call: a client that waits for our SETTINGS, as gRPC's do, and
    // finds the goodbye beside them, would come again and again and never be served.
    let mut late = *phases.borrow() == Phase::Draining;
    let mut phase = if late { Phase::Draining } else { Phase::Serving };
    let (mut closing, mut ended) = (false, Driven::Broken);
    let mut on_wake = OnWake::new();
    let mut hangup = Hangup::default();
    loop {
        let happened = {
            on_wake.begin();
            let mut beside = pin!(async {
                tokio::select! {
                    () = reached(&mut phases, next(phase)) => Beside::Phase,
                    () = look.as_mut() => Beside::Look,
                    () = old.as_mut(), if !activity.is_old() => Beside::Old,
                }
            });
            poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Ready(outcome) => {
                    ended = if outcome.is_ok() { Driven::Well } else { Driven::Broken };
                    Poll::Ready(None)
                }
                Poll::Pending if late && activity.calls() > 0 => Poll::Ready(Some(Beside::FirstCall)),
                Poll::Pending if !C::HEARS && hangup.look(cx, activity).is_ready() => Poll::Ready(Some(Beside::HungUp)),
                Poll::Pending => on_wake.poll(cx, beside.as_mut()).map(Some),
            })
            .await
        };
        match happened {
            None => return ended,
            Some(Beside::HungUp) => return Driven::Broken,
            Some(Beside::FirstCall) => {
                late = false;
                connection.as_mut().announce();
            }
            Some(Beside::Phase) => {
                phase = *phases.borrow_and_update();
                match phase {
                    Phase::Serving => {}
                    Phase::Draining => connection.as_mut().announce(),
                    Phase::Closing if activity.calls() == 0 => {
                        connection.as_mut().announce();
                        look.as_mut().reset(Instant::now() + LAST_WORD);
                        closing = true;
                    }
                    Phase::Closing => connection.as_mut().close(),
                    Phase::Gone => {
                        // Calls end by themselves now, each with its own words.
                        connection.as_mut().close();
                        let (ended, ()) = tokio::join!(timeout(LAST_WORD, connection.as_mut()), tunnels.end());
                        return if let Ok(Ok(())) = ended { Driven::Well } else { Driven::Broken };
                    }
                }
            }
            Some(Beside::Old) => {
                activity.grow_old();
                connection.as_mut().announce();
            }
            Some(Beside::Look) => {
                if activity.is_overdue(std::time::Instant::now()) {
                    return Driven::Broken;
                }
                match watch.look(activity) {
                    Finding::SlowHead | Finding::Stalled => return Driven::Broken,
                    // It was told to end, and nothing has moved since: its client does not read.
                    Finding::Idle | Finding::Unread if closing => return Driven::Broken,
                    Finding::Idle | Finding::Unread => {
                        connection.as_mut().close();
                        closing = true;
                    }
                    Finding::Busy | Finding::Quiet if closing => connection.as_mut().close(),
                    Finding::Quiet if C::RESTS => return Driven::Resting,
                    Finding::Busy | Finding::Quiet => {}
                }
                look.as_mut().reset(Instant::now() + watch.every);
            }
        }
    }
}

/// What a connection waits for beside its client.
enum Beside {
    /// The first call of a connection that came late.
    FirstCall,
    /// Its client has left, and nobody reads what it sent.
    HungUp,
    /// The server's next phase.
    Phase,
    /// The time to look at what it does.
    Look,
    /// Its age.
    Old,
}

fn next(phase: Phase) -> Phase {
    match phase {
        Phase::Serving => Phase::Draining,
        Phase::Draining => Phase::Closing,
        Phase::Closing | Phase::Gone => Phase::Gone,
    }
}
