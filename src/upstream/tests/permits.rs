//! Permits: what takes the places of an upstream.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use http_body_util::Full;
use parking_lot::Mutex;

use super::support::{Call, Server, framed, grpc_head, outgoing, settings, until};
use crate::config::AdaptiveConcurrency;
use crate::telemetry::Metrics;
use crate::upstream::{FailureKind, Outgoing, Pool, Upstream};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn streams_leave_the_last_places_to_calls() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let server = Server::start(move |(request, mut respond): Call| {
        let send = respond.send_response(grpc_head(), false).unwrap();
        held.lock().push((request, send));
    })
    .await;
    let mut settings = settings(&[server.address]);
    // Of which calls of this priority have ninety.
    settings.limits.in_flight = 100;
    let (upstream, pool) = (Upstream::compile("test", &settings, &Metrics::new()), Pool::new(0, 1));
    let mut streams = Vec::new();
    for _ in 0..79 {
        streams.push(upstream.server_stream(&pool, outgoing(LONG), framed(b"x")).await.unwrap());
    }
    let failure = upstream.server_stream(&pool, outgoing(LONG), framed(b"x")).await.map(drop).unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Overloaded), "{failure}");
    let call = Outgoing { single: true, ..outgoing(LONG) };
    let mut one = pin!(upstream.unary(&pool, call, framed(b"x")));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(one.as_mut().poll(&mut cx).is_pending());
    until(|| server.calls() == 80).await;
}

#[tokio::test]
async fn streams_come_on_top_of_a_limit_that_follows_latency() {
    let held = Arc::new(Mutex::new(Vec::new()));
    // Each call gets a head, and no end.
    let server = Server::start(move |(request, mut respond): Call| {
        let send = respond.send_response(grpc_head(), false).unwrap();
        held.lock().push((request, send));
    })
    .await;
    let mut settings = settings(&[server.address]);
    settings.limits.in_flight = 16;
    settings.adaptive_concurrency = Some(AdaptiveConcurrency { min: 2, tolerance: 2 });
    let upstream = Upstream::compile("test", &settings, &Metrics::new());
    let pool = Pool::new(0, 1);
    let limit = || upstream.adaptive.as_ref().unwrap().limit();
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(limit(), 2);

    let both = upstream.stream(&pool, outgoing(LONG), Full::new(framed(b"x"))).await.unwrap();
    assert_eq!(limit(), 3);
    let from_server = upstream.server_stream(&pool, outgoing(LONG), framed(b"x")).await.unwrap();
    assert_eq!(limit(), 4);
    {
        let mut from_client = pin!(upstream.client_stream(&pool, outgoing(LONG), Full::new(framed(b"x"))));
        assert!(from_client.as_mut().poll(&mut cx).is_pending());
        assert_eq!(limit(), 5);
        // There are the two places for calls that there were.
        let mut one = pin!(upstream.unary(&pool, outgoing(LONG), framed(b"x")));
        let mut other = pin!(upstream.unary(&pool, outgoing(LONG), framed(b"x")));
        assert!(one.as_mut().poll(&mut cx).is_pending() && other.as_mut().poll(&mut cx).is_pending());
        let failure = upstream.unary(&pool, outgoing(LONG), framed(b"x")).await.unwrap_err();
        assert!(matches!(failure.kind, FailureKind::Overloaded), "{failure}");
        assert_eq!(limit(), 5);
        until(|| server.calls() == 5).await;
    }
    assert_eq!(limit(), 4);
    drop((both, from_server));
    assert_eq!(limit(), 2);
}
