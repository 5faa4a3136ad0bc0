//! Callers that leave, one by one and all at once.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::{Reason, server};
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use transom_transcode::status::Code;

use super::support::{Call, Server, answer, call, framed, join, numbered, outgoing, until, upstream, uri, who};
use crate::upstream::{Pool, Upstream};

/// tonic's own health service, and the connections that it was asked for.
async fn tonic() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let (_reporter, service) = tonic_health::server::health_reporter();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let incoming = TcpListenerStream::new(listener).map(move |tcp| {
        counted.fetch_add(1, Ordering::Relaxed);
        tcp
    });
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    (address, connections)
}

async fn check(upstream: &Upstream, pool: &Pool) {
    let mut outgoing = outgoing(Duration::from_secs(5));
    outgoing.uri = uri("http://test/grpc.health.v1.Health/Check");
    let reply = upstream.unary(pool, outgoing, framed(b"")).await.unwrap();
    assert_eq!(reply.message, [8, 1].as_slice());
}

#[tokio::test]
async fn a_thousand_that_leave_at_once_break_no_connection() {
    let (address, connections) = tonic().await;
    let (upstream, pool) = (upstream(&[address]), Pool::new(0, 1));
    check(&upstream, &pool).await;
    for _ in 0..5 {
        // Begun and left before the server has seen any of them.
        let mut calls: Vec<_> =
            (0..1000).map(|_| Box::pin(upstream.unary(&pool, outgoing(Duration::from_secs(5)), framed(b"")))).collect();
        let mut cx = Context::from_waker(Waker::noop());
        for call in &mut calls {
            assert!(matches!(call.as_mut().poll(&mut cx), Poll::Pending));
        }
        drop(calls);
        check(&upstream, &pool).await;
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    // Everything that was held is let go of.
    until(|| upstream.describe()[0].in_flight == 0).await;
}

#[tokio::test]
async fn who_comes_in_the_turn_in_which_others_leave_has_their_places() {
    const PLACES: u8 = 4;
    let (held, number) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU8::new(0)));
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(PLACES.into());
    let server = Server::with(builder, move |call| match number.fetch_add(1, Ordering::Relaxed) {
        // Of these nobody hears.
        1..=PLACES => held.lock().push(call),
        number => answer(call, &[number]),
    })
    .await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    assert_eq!(who(&upstream, &pool).await, 0);
    let mut leaving: Vec<_> = (0..PLACES).map(|_| Box::pin(call(&upstream, &pool))).collect();
    for call in &mut leaving {
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    until(|| server.calls() == 1 + usize::from(PLACES)).await;
    drop(leaving);
    for outcome in join((0..PLACES).map(|_| call(&upstream, &pool))).await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn the_last_stream_of_a_full_connection_is_reset_when_its_caller_leaves() {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(1);
    let (told, was_told) = oneshot::channel();
    let told = Arc::new(Mutex::new(Some(told)));
    let server = Server::with(builder, move |(_, mut respond): Call| {
        let told = told.lock().take();
        tokio::spawn(async move {
            let reason = poll_fn(|cx| respond.poll_reset(cx)).await;
            if let Some(told) = told {
                told.send(reason.ok()).unwrap();
            }
        });
    })
    .await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    tokio::select! {
        _ = call(&upstream, &pool) => unreachable!("it is not answered"),
        () = until(|| server.calls() == 1) => {}
    }
    // And not when another one comes.
    let reset = tokio::time::timeout(Duration::from_secs(5), was_told).await.expect("it is told at once");
    assert_eq!(reset.unwrap(), Some(Reason::CANCEL));
}

#[tokio::test]
async fn streams_that_are_left_make_room_for_others() {
    let (address, connections) = tonic().await;
    let (upstream, pool) = (upstream(&[address]), Pool::new(0, 1));
    // tonic allows 200 streams at once: all of these together are not possible.
    for _ in 0..10 {
        let mut watching = Vec::new();
        for _ in 0..100 {
            let mut outgoing = outgoing(Duration::from_secs(5));
            outgoing.uri = uri("http://test/grpc.health.v1.Health/Watch");
            let body = Full::new(framed(b""));
            watching.push(upstream.stream(&pool, outgoing, body).await.unwrap());
        }
    }
    check(&upstream, &pool).await;
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn answers_in_trailers_alone_are_no_cancellations() {
    let (address, connections) = tonic().await;
    let (upstream, pool) = (upstream(&[address]), Pool::new(0, 1));
    for _ in 0..50 {
        // tonic says UNIMPLEMENTED in a head of its own. As left streams, 16 at a time, these would have to wait for PINGs.
        let calls = (0..100).map(|_| upstream.unary(&pool, outgoing(Duration::from_secs(5)), framed(b"")));
        for outcome in join(calls).await {
            assert_eq!(outcome.unwrap_err().code(), Some(Code::Unimplemented));
        }
        assert_eq!(pool.left(), 0);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_pool_that_is_dropped_closes_its_connections() {
    let server = numbered(1).await;
    let upstream = upstream(&[server.address]);
    let pool = Pool::new(0, 1);
    assert_eq!(who(&upstream, &pool).await, 1);
    assert_eq!(upstream.describe()[0].connections, 1);
    drop(pool);
    until(|| upstream.describe()[0].connections == 0).await;
    until(|| server.open() == 0).await;
}
