//! A breaker and the calls that are its probes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::watch;

use super::support::{Call, Server, answer, call, framed, grpc_head, join, outgoing, settings, status, until, uri};
use crate::config::CircuitBreaker;
use crate::telemetry::{Circuit, Metrics};
use crate::upstream::{Outgoing, Pool, ReplyBody, Upstream};

const LONG: Duration = Duration::from_secs(30);

/// One whose only endpoint has failed, and may prove itself by now.
async fn half_open(server: &Server, open_for: Duration) -> Arc<Upstream> {
    let mut settings = settings(&[server.address]);
    settings.circuit_breaker = Some(CircuitBreaker { failures: 1, open_for, probes: 1 });
    let upstream = Upstream::compile("test", &settings, &Metrics::new());
    let endpoint = Arc::clone(&upstream.roster.all()[0]);
    upstream.roster.failed(&endpoint);
    // As if it had been down until now.
    endpoint.breaker.recovered(Instant::now());
    assert_eq!(upstream.circuit(), Circuit::HalfOpen);
    upstream
}

/// Answers once all of a request is there.
fn echo((request, respond): Call) {
    tokio::spawn(async move {
        let mut body = request.into_body();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
        }
        answer((http::Request::new(body), respond), b"echo");
    });
}

/// A request whose client never says anything.
fn silent() -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
    StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>())
}

#[tokio::test]
async fn a_stream_whose_client_is_silent_keeps_no_call_from_proving_the_endpoint() {
    for single in [false, true] {
        let server = Server::start(echo).await;
        let (upstream, pool) = (half_open(&server, LONG).await, Pool::new(0, 1));
        let quiet = Outgoing { single, ..outgoing(LONG) };
        let mut quiet = Box::pin(upstream.stream(&pool, quiet, silent()));
        tokio::select! {
            _ = quiet.as_mut() => unreachable!("it is never answered"),
            () = until(|| server.calls() == 1) => {}
        }
        assert_eq!(upstream.circuit(), Circuit::HalfOpen);
        assert_eq!(call(&upstream, &pool).await.unwrap().message, "echo");
        assert_eq!(upstream.circuit(), Circuit::Closed);
    }
}

/// One whose calls fail, and whose streams give a message after `pause`, then end so, or not.
async fn watched(pause: Duration, end: Option<&'static str>) -> Server {
    Server::start(move |(request, mut respond): Call| {
        tokio::spawn(async move {
            let mut send = respond.send_response(grpc_head(), false).unwrap();
            if request.uri().path().ends_with("Method") {
                return send.send_trailers(status("14")).unwrap();
            }
            tokio::time::sleep(pause).await;
            send.send_data(framed(b"x"), false).unwrap();
            match end {
                Some(end) => send.send_trailers(status(end)).unwrap(),
                None => std::future::pending().await,
            }
        });
    })
    .await
}

fn guarded(server: &Server, open_for: Duration) -> Arc<Upstream> {
    let mut settings = settings(&[server.address]);
    settings.circuit_breaker = Some(CircuitBreaker { failures: 3, open_for, probes: 1 });
    Upstream::compile("test", &settings, &Metrics::new())
}

/// A stream, of which one message was read.
async fn watched_stream(upstream: &Upstream, pool: &Pool) -> ReplyBody {
    let call = Outgoing { uri: uri("http://test/test.Service/Watch"), ..outgoing(LONG) };
    let mut body = upstream.server_stream(pool, call, framed(b"x")).await.unwrap().body;
    body.frame().await.unwrap().unwrap();
    body
}

#[tokio::test]
async fn streams_that_break_after_a_message_have_failed() {
    // A stream may last as long as its method's time: that it ends then speaks against nobody.
    for (end, circuit) in [("14", Circuit::Open), ("4", Circuit::Closed), ("0", Circuit::Closed)] {
        let server = watched(Duration::ZERO, Some(end)).await;
        let (upstream, pool) = (guarded(&server, LONG), Pool::new(0, 1));
        for _ in 0..3 {
            let mut body = watched_stream(&upstream, &pool).await;
            body.frame().await.unwrap().unwrap();
        }
        assert_eq!(upstream.circuit(), circuit, "{end}");
    }
}

#[tokio::test]
async fn one_that_lasts_makes_up_for_calls_that_failed() {
    let pause = Duration::from_millis(20);
    let server = watched(pause, None).await;
    for (open_for, circuit) in [(LONG, Circuit::Open), (pause / 2, Circuit::Closed)] {
        let (upstream, pool) = (guarded(&server, open_for), Pool::new(0, 1));
        for _ in 0..2 {
            call(&upstream, &pool).await.unwrap_err();
        }
        let _open = watched_stream(&upstream, &pool).await;
        call(&upstream, &pool).await.unwrap_err();
        assert_eq!(upstream.circuit(), circuit, "{open_for:?}");
    }
}

/// Says goodbye to all of its streams at once; before or after it has answered anything.
async fn aging(heard: bool, aged: &watch::Sender<()>) -> Server {
    let aged = aged.clone();
    Server::start(move |(_, mut respond): Call| {
        let mut aged = aged.subscribe();
        tokio::spawn(async move {
            if heard {
                let mut send = respond.send_response(grpc_head(), false).unwrap();
                send.send_data(framed(b"x"), false).unwrap();
                aged.changed().await.unwrap();
                return send.send_trailers(status("14")).unwrap();
            }
            aged.changed().await.unwrap();
            let mut head = grpc_head();
            head.headers_mut().extend(status("14"));
            respond.send_response(head, true).unwrap();
        });
    })
    .await
}

#[tokio::test]
async fn streams_that_end_together_have_failed_once() {
    const STREAMS: usize = 8;
    for heard in [true, false] {
        let aged = watch::Sender::new(());
        let server = aging(heard, &aged).await;
        let (upstream, pool) = (guarded(&server, LONG), Pool::new(0, 1));
        for (events, circuit) in [(1, Circuit::Closed), (2, Circuit::Closed), (3, Circuit::Open)] {
            let open = (0..STREAMS).map(|_| async {
                let call = Outgoing { uri: uri("http://test/test.Service/Watch"), ..outgoing(LONG) };
                let Ok(stream) = upstream.stream(&pool, call, silent()).await else { return };
                let mut body = stream.body;
                while let Some(Ok(_)) = body.frame().await {}
            });
            let ends = async {
                until(|| server.calls() == STREAMS * events).await;
                aged.send_replace(());
            };
            tokio::join!(join(open), ends);
            assert_eq!(upstream.circuit(), circuit, "heard {heard}: {events}");
        }
    }
}

/// Says that the time is over, whatever is still to come of the request.
fn too_late((_, mut respond): Call) {
    let mut head = grpc_head();
    head.headers_mut().extend(status("4"));
    respond.send_response(head, true).unwrap();
}

#[tokio::test]
async fn who_is_slow_with_a_request_speaks_against_nobody() {
    let server = Server::start(too_late).await;
    let (upstream, pool) = (guarded(&server, LONG), Pool::new(0, 1));
    for _ in 0..4 {
        upstream.client_stream(&pool, outgoing(LONG), silent()).await.unwrap_err();
        assert!(upstream.stream(&pool, outgoing(LONG), silent()).await.is_err());
    }
    assert_eq!(upstream.circuit(), Circuit::Closed);
    for _ in 0..3 {
        call(&upstream, &pool).await.unwrap_err();
    }
    assert_eq!(upstream.circuit(), Circuit::Open);
}
