//! What a reload brings has been asked for its health and is connected to by every worker before it gets calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpListener;

use crate::support::gateway::{Builder, Running, gateway};
use crate::support::network::{Network, Weather};
use crate::support::reply::ok;
use crate::support::until;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";
/// A reload that took so long may have gone on without what it waited for.
const BOUND: Duration = Duration::from_millis(900);

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({ "title": "Dune" }))).start().await
}

fn behind(endpoints: &[String], keys: &str) -> Builder {
    let builder = gateway().descriptors("library").config("workers: 2");
    builder.upstream_at("library", "library.v1.Library", endpoints, keys)
}

/// Connections to there that calls can use.
fn standing(gateway: &Running, endpoint: &str) -> f64 {
    gateway.metric(&format!("transom_upstream_connections{{upstream=\"library\",endpoint=\"{endpoint}\"}}"))
}

/// True if it took no longer than it waits.
async fn reload(gateway: &Running, next: &Builder) -> bool {
    let begun = Instant::now();
    gateway.reload(next).await.unwrap();
    begun.elapsed() < BOUND
}

fn calls(library: &Upstream) -> usize {
    library.saw("GetBook").calls().len()
}

#[tokio::test]
async fn connections_stand_before_the_first_call() {
    let (old, new) = (library().await, library().await);
    let (old_at, new_at) = (old.address().to_string(), new.address().to_string());
    // Far away: a handshake takes a while.
    let network = Network::before(new.address()).await;
    network.becomes(Weather::Late(Duration::from_millis(20)));
    let far = network.address();
    let port = new_at.rsplit(':').next().unwrap();
    for (what, endpoints, keys, brought) in [
        ("another upstream", vec![far.clone()], "", &far),
        ("one more endpoint", vec![old_at.clone(), far.clone()], "", &far),
        ("one more by name", vec![old_at.clone(), format!("localhost:{port}")], "", &new_at),
        ("other connections", vec![old_at.clone()], "connections: 4", &old_at),
    ] {
        println!("{what}");
        let gateway = behind(std::slice::from_ref(&old_at), "").start().await;
        gateway.get(BOOK).await.status(200);
        let all = if keys.is_empty() { 2.0 } else { 4.0 };
        if reload(&gateway, &behind(&endpoints, keys)).await && brought != &new_at {
            assert!(standing(&gateway, brought) >= 2.0);
        }
        until("a connection for each worker", async || standing(&gateway, brought) >= 2.0).await;
        for _ in 0..20 {
            gateway.get(BOOK).await.status(200);
        }
        assert!(standing(&gateway, brought) <= all);
    }
}

#[tokio::test]
async fn who_is_ill_or_gone_when_a_reload_brings_it_gets_no_call() {
    let (old, ill) = (library().await, library().await);
    ill.set_serving(false);
    let check = "health_check: { interval: 100ms }";
    let gone = library().await;
    gone.stop().await;
    let [old_at, ill_at, gone_at] = [&old, &ill, &gone].map(|library| library.address().to_string());
    let gateway = behind(std::slice::from_ref(&old_at), check).start().await;
    gateway.get(BOOK).await.status(200);
    if reload(&gateway, &behind(&[old_at, ill_at.clone(), gone_at], check)).await {
        for _ in 0..12 {
            gateway.get(BOOK).await.status(200);
        }
        assert_eq!((calls(&old), calls(&ill)), (13, 0));
        // The health check's own at most.
        assert!(standing(&gateway, &ill_at) <= 1.0);
    }
    ill.set_serving(true);
    until("it is well", async || {
        gateway.get(BOOK).await.status(200);
        calls(&ill) > 0
    })
    .await;
}

#[tokio::test]
async fn nobody_waits_for_one_that_says_nothing() {
    let (old, mute) = (library().await, library().await);
    let network = Network::before(mute.address()).await;
    network.becomes(Weather::Hole);
    let endpoints = [old.address().to_string(), network.address()];
    let gateway = behind(&endpoints[..1], "").start().await;
    gateway.reload(&behind(&endpoints, "")).await.unwrap();
    for _ in 0..4 {
        gateway.get(BOOK).await.status(200);
    }
    assert_eq!(calls(&mute), 0);
}

#[tokio::test]
async fn of_many_that_come_at_once_some_are_asked_at_a_time() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (open, most, all) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak, total) = (open.clone(), most.clone(), all.clone());
    let accepting = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            total.fetch_add(1, Ordering::Relaxed);
            peak.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let now = now.clone();
            tokio::spawn(async move {
                // Long enough that all others come meanwhile, if they may.
                tokio::time::sleep(Duration::from_millis(300)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                drop(socket);
            });
        }
    });
    let library = library().await;
    let mut endpoints = vec![library.address().to_string()];
    let gateway = behind(&endpoints, "").start().await;
    endpoints.extend((1..=200).map(|at| format!("127.1.0.{at}:{port}")));
    gateway.reload(&behind(&endpoints, "")).await.unwrap();
    gateway.get(BOOK).await.status(200);
    until("all were asked", async || all.load(Ordering::Relaxed) >= 200).await;
    // What the reload did not wait for may be asked anew while the last ones are still being let go.
    assert!(most.load(Ordering::Relaxed) < 3 * 64, "{most:?}");
    accepting.abort();
}
