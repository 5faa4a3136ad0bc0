//! A call goes where there is room for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server;
use http_body::Frame;
use http_body_util::StreamBody;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::support::{Call, Server, answer, framed, join, numbered, outgoing, settings, until, upstream, who};
use crate::config;
use crate::telemetry::Metrics;
use crate::upstream::{Aim, FailureKind, Outgoing, Pool, Upstream, key_of};

const LONG: Duration = Duration::from_secs(30);

/// Has room for one call at a time.
fn narrow() -> server::Builder {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(1);
    builder
}

/// Keeps its calls until they are taken from there.
async fn keeping(builder: server::Builder) -> (Server, Arc<Mutex<Vec<Call>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&kept);
    (Server::with(builder, move |call: Call| keeps.lock().push(call)).await, kept)
}

#[tokio::test]
async fn one_that_takes_no_streams_gets_no_calls() {
    let mut none = server::Builder::new();
    none.max_concurrent_streams(0);
    let servers = [Server::with(none, |call| answer(call, &[0])).await, numbered(1).await];
    for balance in [config::Balance::RoundRobin, config::Balance::LeastRequest] {
        let mut settings = settings(&servers.each_ref().map(|server| server.address));
        settings.balance = balance;
        let (upstream, pool) = (Upstream::compile("test", &settings, &Metrics::new()), Pool::new(0, 1));
        for _ in 0..10 {
            assert_eq!(who(&upstream, &pool).await, 1);
        }
        assert_eq!(upstream.usable(), 1);
    }
}

#[tokio::test]
async fn nor_does_one_that_says_so_later() {
    const SETTINGS: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0];
    let later = Arc::new(Notify::new());
    let (hears, connections) = (Arc::clone(&later), AtomicUsize::new(0));
    let closing = Server::raw("127.0.0.1:0".parse().unwrap(), Arc::default(), move |mut tcp| {
        let (hears, first) = (Arc::clone(&hears), connections.fetch_add(1, Ordering::Relaxed) == 0);
        async move {
            if first {
                tcp.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
                hears.notified().await;
            }
            tcp.write_all(&SETTINGS).await.unwrap();
            while tcp.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
        }
    })
    .await;
    let (upstream, pool) = (upstream(&[closing.address]), Pool::new(0, 1));
    let mut waits = Box::pin(upstream.unary(&pool, outgoing(LONG), framed(b"x")));
    tokio::select! {
        _ = waits.as_mut() => unreachable!("it is never answered"),
        () = until(|| upstream.describe()[0].in_flight == 1) => {}
    }
    assert_eq!(upstream.describe()[0].connections, 1);
    later.notify_one();
    tokio::select! {
        _ = waits.as_mut() => unreachable!("it is never answered"),
        () = until(|| upstream.describe()[0].connections == 0) => {}
    }
    tokio::select! {
        _ = waits.as_mut() => unreachable!("it is never answered"),
        // Nor on another connection, which is asked for at once.
        () = until(|| upstream.describe()[0].down) => {}
    }
    assert_eq!(upstream.describe()[0].in_flight, 1, "what is under way goes on");
}

#[tokio::test]
async fn a_call_waits_for_nobody_while_another_has_room() {
    let (full, kept) = keeping(narrow()).await;
    let other = numbered(1).await;
    let (upstream, pool) = (upstream(&[full.address, other.address]), Pool::new(0, 1));
    let mut held = Box::pin(upstream.unary(&pool, outgoing(LONG), framed(b"x")));
    tokio::select! {
        _ = held.as_mut() => unreachable!("it is not answered yet"),
        () = until(|| kept.lock().len() == 1) => {}
    }
    for _ in 0..20 {
        assert_eq!(who(&upstream, &pool).await, 1);
    }
    let call = kept.lock().pop().unwrap();
    answer(call, &[0]);
    assert_eq!(held.await.unwrap().message[0], 0);
    assert_eq!((full.calls(), other.calls()), (1, 20));
}

#[tokio::test]
async fn calls_that_wait_go_where_room_comes_first() {
    let [(stuck, _held), (busy, kept)] = [keeping(narrow()).await, keeping(narrow()).await];
    let (upstream, pool) = (upstream(&[stuck.address, busy.address]), Pool::new(0, 1));
    let calls = || upstream.unary(&pool, outgoing(LONG), framed(b"x"));
    let mut first = Box::pin(join([calls(), calls()]));
    tokio::select! {
        _ = first.as_mut() => unreachable!("one is never answered"),
        () = until(|| stuck.calls() + busy.calls() == 2) => {}
    }
    // One waits at each of them.
    let mut waiting = Box::pin(join([calls(), calls()]));
    tokio::select! {
        _ = waiting.as_mut() => unreachable!("there is no room"),
        () = until(|| upstream.roster.all().iter().all(|endpoint| endpoint.load() == 2)) => {}
    }
    let answering = async {
        loop {
            until(|| !kept.lock().is_empty()).await;
            let call = kept.lock().pop().unwrap();
            answer(call, &[1]);
        }
    };
    let served = async {
        tokio::select! {
            _ = first.as_mut() => unreachable!("one is never answered"),
            served = waiting.as_mut() => served,
        }
    };
    tokio::select! {
        () = answering => unreachable!("it goes on for good"),
        served = tokio::time::timeout(Duration::from_secs(10), served) => {
            served.unwrap().into_iter().for_each(|outcome| assert_eq!(outcome.unwrap().message[0], 1));
        }
    }
    assert_eq!((stuck.calls(), busy.calls()), (1, 3));
    drop((waiting, first));
    assert!(upstream.roster.all().iter().all(|endpoint| endpoint.load() == 0));
}

#[tokio::test]
async fn a_stream_does_not_wait_for_good_where_others_have_every_place() {
    let (server, kept) = keeping(narrow()).await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let request = || StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let mut held = Box::pin(upstream.stream(&pool, outgoing(LONG), request()));
    tokio::select! {
        _ = held.as_mut() => unreachable!("it is not answered"),
        () = until(|| kept.lock().len() == 1) => {}
    }
    let waits = async {
        let failures = [
            upstream.stream(&pool, outgoing(LONG), request()).await.map(drop),
            upstream.server_stream(&pool, outgoing(LONG), framed(b"x")).await.map(drop),
        ];
        for failure in failures.map(Result::unwrap_err) {
            assert!(matches!(failure.kind, FailureKind::Overloaded), "{failure}");
        }
    };
    let bounded = tokio::time::timeout(LONG / 2, waits);
    tokio::select! {
        _ = held.as_mut() => unreachable!("it is not answered"),
        waited = bounded => waited.expect("they are told"),
    }
    assert_eq!(server.calls(), 1);
    // A call that is answered once waits for as long as it may.
    let short = Duration::from_millis(1500);
    let begun = Instant::now();
    let failure = upstream.unary(&pool, outgoing(short), framed(b"x")).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Overloaded) && begun.elapsed() >= short, "{failure}");
}

/// Answers its number, is slow to be connected to, and says goodbye after three calls.
async fn leaving(number: u8) -> Server {
    Server::raw("127.0.0.1:0".parse().unwrap(), Arc::default(), move |tcp| async move {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let Ok(mut connection) = server::handshake(tcp).await else { return };
        let mut calls = 0;
        while let Some(Ok(call)) = connection.accept().await {
            answer(call, &[number]);
            calls += 1;
            if calls == 3 {
                connection.graceful_shutdown();
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_belongs_somewhere_waits_there_for_a_connection() {
    let servers = [leaving(0).await, leaving(1).await];
    let mut settings = settings(&servers.each_ref().map(|server| server.address));
    settings.balance = config::Balance::Hash(config::HashBy::Client);
    let (upstream, pool) = (Upstream::compile("test", &settings, &Metrics::new()), Pool::new(0, 1));
    for client in [b"a", b"b", b"c", b"d"] {
        let mut seen = Vec::new();
        for _ in 0..8 {
            let aim = Aim { key: Some(key_of(client)), ..Aim::default() };
            let call = Outgoing { aim, ..outgoing(LONG) };
            seen.push(upstream.unary(&pool, call, framed(b"x")).await.unwrap().message[0]);
        }
        assert!(seen.iter().all(|by| *by == seen[0]), "{seen:?}");
    }
    assert!(servers.iter().any(|server| server.connections.load(Ordering::Relaxed) > 3));
}
