//! One message there and one back goes by the same rules, whether its reply is read or crosses unread.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use parking_lot::Mutex;
use transom_transcode::schema::Idempotency;

use super::support::{Call, Server, answer, framed, grpc_head, join, outgoing, settings, status, until, upstream, uri};
use crate::config::{self, AdaptiveConcurrency, CircuitBreaker, Percent};
use crate::telemetry::{Circuit, Metrics};
use crate::upstream::{Failure, FailureKind, Outgoing, Pool, Streaming, Upstream};

const LONG: Duration = Duration::from_secs(30);

/// How a call crosses.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// Read both ways.
    Read,
    /// Unread, as it comes.
    Unread,
    /// Unread, and all of it at hand.
    Whole,
}

const FORMS: [Form; 3] = [Form::Read, Form::Unread, Form::Whole];

impl Form {
    /// The reply's message.
    async fn ask(self, upstream: &Upstream, pool: &Pool, call: Outgoing<'_>, message: &[u8]) -> Result<Bytes, Failure> {
        let request = framed(message);
        let streaming = match self {
            Self::Read => return upstream.unary(pool, call, request).await.map(|reply| reply.message),
            Self::Unread => {
                let (one, other) = (request.slice(..request.len() / 2), request.slice(request.len() / 2..));
                let frames = [one, other].map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)));
                upstream.stream(pool, call, StreamBody::new(futures_util::stream::iter(frames))).await?
            }
            Self::Whole => upstream.server_stream(pool, call, request).await?,
        };
        read(streaming).await
    }
}

async fn read(mut reply: Streaming) -> Result<Bytes, Failure> {
    let mut frames = Vec::new();
    while let Some(frame) = reply.body.frame().await {
        if let Ok(data) = frame?.into_data() {
            frames.extend_from_slice(&data);
        }
    }
    Ok(Bytes::from(frames).slice(5..))
}

fn single(within: Duration) -> Outgoing<'static> {
    Outgoing { single: true, ..outgoing(within) }
}

/// Answers a request's message once all of it is there.
async fn echo() -> Server {
    Server::start(|(request, mut respond): Call| {
        tokio::spawn(async move {
            let (mut body, mut all) = (request.into_body(), Vec::new());
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
                all.extend_from_slice(&data);
            }
            let Ok(mut send) = respond.send_response(grpc_head(), false) else { return };
            let _ = send.send_data(all.into(), false);
            let _ = send.send_trailers(status("0"));
        });
    })
    .await
}

/// Sends a head, and nothing after it.
async fn hangs() -> Server {
    let held = Arc::new(Mutex::new(Vec::new()));
    Server::start(move |(request, mut respond): Call| {
        let send = respond.send_response(grpc_head(), false);
        held.lock().push((request, send));
    })
    .await
}

#[tokio::test]
async fn what_no_service_has_seen_goes_elsewhere_whole() {
    let refusing = Server::start(|(_, mut respond): Call| respond.send_reset(h2::Reason::REFUSED_STREAM)).await;
    let good = echo().await;
    for form in FORMS {
        for size in [1, 1000, 60_000] {
            let (upstream, pool) = (upstream(&[refusing.address, good.address]), Pool::new(0, 1));
            let message: Vec<u8> = (0..size).map(|at: u32| u8::try_from(at % 251).unwrap()).collect();
            for _ in 0..2 {
                let reply = form.ask(&upstream, &pool, single(LONG), &message).await;
                assert_eq!(reply.unwrap(), message, "{form:?}, {size} bytes");
            }
        }
    }
    assert_eq!((refusing.calls(), good.calls()), (9, 18));
    // What is longer is not kept; what is at hand needs no keeping.
    let message = vec![7; 300_000];
    for (form, goes_on) in [(Form::Read, true), (Form::Unread, false), (Form::Whole, true)] {
        let (upstream, pool) = (upstream(&[refusing.address, good.address]), Pool::new(0, 1));
        // With room for the connection's window, a refusal may come before all of it is read: then it goes on as well.
        let reply = form.ask(&upstream, &pool, single(LONG), &message).await;
        assert!(reply.is_ok() || !goes_on, "{form:?}");
        assert!(reply.is_err() || reply.unwrap() == message, "{form:?}");
    }
}

#[tokio::test]
async fn it_may_have_the_places_that_streams_leave() {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(8);
    let held = Arc::new(Mutex::new(Vec::new()));
    let server = Server::with(builder, move |(request, mut respond): Call| {
        if request.uri().path() == "/test.Service/Watch" {
            let send = respond.send_response(grpc_head(), false);
            held.lock().push((request, send));
        } else {
            answer((request, respond), b"x");
        }
    })
    .await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let mut streams = Vec::new();
    for _ in 0..7 {
        let watch = Outgoing { uri: uri("http://test/test.Service/Watch"), ..outgoing(LONG) };
        streams.push(upstream.server_stream(&pool, watch, framed(b"x")).await.unwrap());
    }
    for form in FORMS {
        let reply = form.ask(&upstream, &pool, single(Duration::from_millis(500)), b"x").await;
        assert_eq!(reply.unwrap(), "x", "{form:?}");
    }
}

#[tokio::test]
async fn a_head_is_no_answer_for_hedges_and_for_the_time_of_a_try() {
    let (stuck, good) = (hangs().await, echo().await);
    for form in [Form::Read, Form::Whole] {
        for rule in [
            config::Retry { hedge: Some(Duration::from_millis(20)), ..config::Retry::default() },
            config::Retry { per_try_timeout: Some(Duration::from_millis(50)), ..config::Retry::default() },
        ] {
            let (upstream, pool) = (upstream(&[stuck.address, good.address]), Pool::new(0, 1));
            let rule = config::Retry { budget: Percent(100), ..rule };
            let rule = upstream.retry(&rule, Idempotency::NoSideEffects);
            let call = Outgoing { retry: rule.as_ref(), ..single(Duration::from_secs(2)) };
            let began = Instant::now();
            assert_eq!(form.ask(&upstream, &pool, call, b"x").await.unwrap(), "x", "{form:?}");
            assert!(began.elapsed() < Duration::from_secs(1), "{form:?}: {:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn a_status_after_a_head_is_tried_again() {
    let ill = Server::start(|(_, mut respond): Call| {
        let Ok(mut send) = respond.send_response(grpc_head(), false) else { return };
        let _ = send.send_trailers(status("14"));
    })
    .await;
    let good = echo().await;
    for form in [Form::Read, Form::Whole] {
        let (upstream, pool) = (upstream(&[ill.address, good.address]), Pool::new(0, 1));
        let rule = config::Retry { backoff: Duration::from_millis(1), ..config::Retry::default() };
        let rule = upstream.retry(&rule, Idempotency::NoSideEffects);
        let call = Outgoing { retry: rule.as_ref(), ..single(LONG) };
        assert_eq!(form.ask(&upstream, &pool, call, b"x").await.unwrap(), "x", "{form:?}");
    }
}

#[tokio::test]
async fn who_hangs_after_a_head_opens_its_breaker() {
    for form in FORMS {
        let stuck = hangs().await;
        let mut settings = settings(&[stuck.address]);
        settings.circuit_breaker = Some(CircuitBreaker { failures: 3, open_for: LONG, probes: 1 });
        let (upstream, pool) = (Upstream::compile("test", &settings, &Metrics::new()), Pool::new(0, 1));
        for _ in 0..3 {
            let failure = form.ask(&upstream, &pool, single(Duration::from_millis(50)), b"x").await.unwrap_err();
            assert!(matches!(failure.kind, FailureKind::Deadline), "{form:?}: {failure}");
        }
        assert_eq!(upstream.circuit(), Circuit::Open, "{form:?}");
    }
}

/// One whose limit follows its latency, from two calls on.
fn adaptive(server: &Server) -> Arc<Upstream> {
    let mut settings = settings(&[server.address]);
    settings.limits.in_flight = 16;
    settings.adaptive_concurrency = Some(AdaptiveConcurrency { min: 2, tolerance: 2 });
    Upstream::compile("test", &settings, &Metrics::new())
}

#[tokio::test]
async fn it_is_bound_and_measured_by_a_limit_that_follows_latency() {
    let stuck = hangs().await;
    let slow = Server::start(|call: Call| {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(15)).await;
            answer(call, b"x");
        });
    })
    .await;
    for form in FORMS {
        let (upstream, pool) = (adaptive(&stuck), Pool::new(0, 1));
        let mut cx = Context::from_waker(Waker::noop());
        {
            let ask = || form.ask(&upstream, &pool, single(LONG), b"x");
            let (mut one, mut other) = (pin!(ask()), pin!(ask()));
            assert!(one.as_mut().poll(&mut cx).is_pending() && other.as_mut().poll(&mut cx).is_pending());
            assert_eq!(upstream.adaptive.as_ref().unwrap().limit(), 2, "{form:?}");
            let failure = ask().await.unwrap_err();
            assert!(matches!(failure.kind, FailureKind::Overloaded), "{form:?}: {failure}");
        }
        let upstream = adaptive(&slow);
        for _ in 0..12 {
            join((0..2).map(|_| form.ask(&upstream, &pool, single(LONG), b"x"))).await;
        }
        // As long as nothing is slow it doubles.
        assert!(upstream.adaptive.as_ref().unwrap().limit() >= 4, "{form:?}");
    }
}

#[tokio::test]
async fn an_answer_that_its_client_does_not_read_is_none_that_is_waited_for() {
    let server = echo().await;
    let (upstream, pool) = (adaptive(&server), Pool::new(0, 1));
    let mut unread = Vec::new();
    for _ in 0..3 {
        unread.push(upstream.server_stream(&pool, single(LONG), framed(b"x")).await.unwrap());
    }
    let ask = || Form::Read.ask(&upstream, &pool, single(LONG), b"x");
    assert!(join([ask(), ask()]).await.iter().all(Result::is_ok));
    until(|| server.calls() == 5).await;
}

#[tokio::test]
async fn a_client_that_does_not_send_its_message_takes_no_calls_place() {
    let server = echo().await;
    let (upstream, pool) = (adaptive(&server), Pool::new(0, 1));
    let silent = || StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let mut cx = Context::from_waker(Waker::noop());
    let mut quiet = Vec::new();
    for calls in 1..=6 {
        let mut one = Box::pin(upstream.stream(&pool, single(LONG), silent()));
        until(|| {
            assert!(one.as_mut().poll(&mut cx).is_pending());
            server.calls() == calls
        })
        .await;
        quiet.push(one);
    }
    for form in FORMS {
        let ask = || form.ask(&upstream, &pool, single(LONG), b"x");
        assert!(join([ask(), ask()]).await.iter().all(Result::is_ok), "{form:?}");
    }
}

#[tokio::test]
async fn its_time_speaks_for_its_endpoint() {
    let server = echo().await;
    for form in FORMS {
        let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
        let endpoint = Arc::clone(&upstream.roster.all()[0]);
        endpoint.counts.set_timed(true);
        for _ in 0..3 {
            form.ask(&upstream, &pool, single(LONG), b"x").await.unwrap();
        }
        assert_eq!(endpoint.counts.tally(&endpoint.metrics).timed, 3, "{form:?}");
    }
}
