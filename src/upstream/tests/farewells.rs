//! Connections that say goodbye, and those that are made in their place.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use h2::server;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::support::{Server, answer, call, join, numbered, settings, until, until_headers, upstream, who};
use crate::config::CircuitBreaker;
use crate::telemetry::{Circuit, Metrics};
use crate::upstream::{Pool, Upstream};

const HERE: &str = "127.0.0.1:0";

#[tokio::test]
async fn goaway_lets_open_calls_finish_and_sends_new_ones_elsewhere() {
    // Each connection takes two calls, says goodbye, and answers both after that.
    let server = Server::raw(HERE.parse().unwrap(), Arc::default(), |tcp: TcpStream| async move {
        let mut connection = server::handshake(tcp).await.unwrap();
        let mut open = Vec::new();
        while let Some(Ok(call)) = connection.accept().await {
            open.push(call);
            if open.len() == 2 {
                connection.graceful_shutdown();
                for call in open.drain(..) {
                    answer(call, b"!");
                }
            }
        }
    })
    .await;
    let upstream = upstream(&[server.address]);
    let pool = Pool::new(0, 1);
    for _ in 0..5 {
        let outcomes = join((0..2).map(|_| call(&upstream, &pool))).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    assert!(server.connections.load(Ordering::Relaxed) >= 5);
    assert_eq!(upstream.usable(), 1);
}

/// A server whose first connection keeps its second call, and says goodbye when it is told to.
async fn leaving(goodbye: &Arc<Notify>) -> Server {
    let (goodbye, connections) = (Arc::clone(goodbye), AtomicUsize::new(0));
    Server::raw(HERE.parse().unwrap(), Arc::default(), move |tcp: TcpStream| {
        let (goodbye, first) = (Arc::clone(&goodbye), connections.fetch_add(1, Ordering::Relaxed) == 0);
        async move {
            let mut connection = server::handshake(tcp).await.unwrap();
            let (mut calls, mut kept) = (0, Vec::new());
            loop {
                tokio::select! {
                    () = goodbye.notified(), if first => connection.graceful_shutdown(),
                    accepted = connection.accept() => {
                        let Some(Ok(call)) = accepted else { return };
                        calls += 1;
                        if first && calls == 2 { kept.push(call) } else { answer(call, &[7]) }
                    }
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_connection_that_says_goodbye_is_made_anew_before_a_call_wants_it() {
    for keeps_one in [false, true] {
        let goodbye = Arc::new(Notify::new());
        let server = leaving(&goodbye).await;
        let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
        assert_eq!(who(&upstream, &pool).await, 7);
        let mut open = pin!(call(&upstream, &pool));
        if keeps_one {
            let begun = tokio::time::timeout(Duration::from_millis(50), &mut open).await;
            assert!(begun.is_err(), "it is under way");
        }
        goodbye.notify_one();
        let endpoint = Arc::clone(&upstream.roster.all()[0]);
        let stands = || pool.free(&endpoint, &upstream.roster, true).is_some();
        until(|| server.connections.load(Ordering::Relaxed) == 2).await;
        until(stands).await;
        assert_eq!(who(&upstream, &pool).await, 7);
        assert_eq!(server.connections.load(Ordering::Relaxed), 2, "{keeps_one}");
    }
}

#[tokio::test]
async fn a_peer_that_ends_every_connection_is_not_connected_to_over_and_over() {
    // Good until its first call is answered.
    let server = Server::raw(HERE.parse().unwrap(), Arc::default(), |tcp: TcpStream| async move {
        let mut connection = server::handshake(tcp).await.unwrap();
        connection.graceful_shutdown();
        while let Some(Ok(call)) = connection.accept().await {
            answer(call, &[7]);
        }
    })
    .await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let _ = call(&upstream, &pool).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let made = server.connections.load(Ordering::Relaxed);
    assert!(made <= 8, "{made}: a few for the call, one for the next");
}

#[tokio::test]
async fn nobody_there_when_no_call_asked_counts_against_no_breaker() {
    let server = numbered(1).await;
    let breaker = CircuitBreaker { failures: 1, open_for: Duration::from_secs(60), probes: 1 };
    let config = crate::config::Upstream { circuit_breaker: Some(breaker), ..settings(&[server.address]) };
    let (upstream, pool) = (Upstream::compile("test", &config, &Metrics::new()), Pool::new(0, 1));
    who(&upstream, &pool).await;
    server.stop().await;
    // It is found out although nobody calls.
    until(|| upstream.describe()[0].down).await;
    assert_eq!(upstream.circuit(), Circuit::Closed);
    call(&upstream, &pool).await.unwrap_err();
    assert_eq!(upstream.circuit(), Circuit::Open);
}

#[tokio::test]
async fn a_call_that_goaway_overtook_is_sent_again_to_the_only_endpoint() {
    // The first connection goes away without having read the call: last stream id 0.
    let connections = AtomicUsize::new(0);
    let server = Server::raw(HERE.parse().unwrap(), Arc::default(), move |mut tcp: TcpStream| {
        let first = connections.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if first {
                let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
                tcp.write_all(&settings).await.unwrap();
                until_headers(&mut tcp, 1).await;
                let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                tcp.write_all(&goaway).await.unwrap();
                tokio::time::sleep(Duration::from_secs(5)).await;
                return;
            }
            let mut connection = server::handshake(tcp).await.unwrap();
            while let Some(Ok(call)) = connection.accept().await {
                answer(call, &[7]);
            }
        }
    })
    .await;
    assert_eq!(who(&upstream(&[server.address]), &Pool::new(0, 1)).await, 7);
}
