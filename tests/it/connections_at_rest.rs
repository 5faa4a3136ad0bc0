//! Connections at rest: a client that has been quiet for a while is nothing but a socket, and does not notice.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use transom::server::Limits;
use transom::telemetry::Protocol;

use crate::support::gateway::{Running, gateway};
use crate::support::raw::Raw;
use crate::support::{soon, until};

/// After two of these without a byte a connection is at rest.
const HEAD: Duration = Duration::from_millis(100);
const CALL: &str = "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";

async fn start(idle: Duration) -> Running {
    gateway().limits(Limits { head: HEAD, idle_http1: idle, ..Limits::default() }).start().await
}

async fn call(raw: &mut Raw) {
    raw.write(CALL).await;
    served(raw).await;
}

async fn served(raw: &mut Raw) {
    let head = raw.read_until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    raw.read(length).await;
}

/// A connection that has made a call, and has been quiet since.
async fn resting(gateway: &Running) -> Raw {
    let mut raw = gateway.raw().await;
    call(&mut raw).await;
    sleep(4 * HEAD).await;
    raw
}

#[tokio::test]
async fn it_goes_on_where_it_was() {
    let gateway = start(Duration::from_secs(30)).await;
    let mut raw = resting(&gateway).await;
    for _ in 0..3 {
        call(&mut raw).await;
        sleep(3 * HEAD).await;
        // A head in two parts, and two of them in one.
        raw.write(&CALL[..5]).await;
        sleep(HEAD / 2).await;
        raw.write(&CALL[5..]).await;
        served(&mut raw).await;
        sleep(3 * HEAD).await;
        raw.write(CALL.repeat(2)).await;
        served(&mut raw).await;
        served(&mut raw).await;
        sleep(3 * HEAD).await;
    }
    assert_eq!(gateway.metric("transom_connections_accepted_total"), 1.0);
    assert_eq!(gateway.state.metrics.connections(Protocol::Http1).value(), 1);
}

#[tokio::test]
async fn it_is_held_to_its_times() {
    let gateway = start(Duration::from_secs(1)).await;
    // Idle for as long as it may be, from its last call on.
    let mut idle = gateway.raw().await;
    call(&mut idle).await;
    let begun = Instant::now();
    assert_eq!(idle.read_to_end().await, "");
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    // A head that drips after the rest is as slow as any other.
    let mut slow = resting(&gateway).await;
    slow.write(&CALL[..7]).await;
    let begun = Instant::now();
    assert_eq!(slow.read_to_end().await, "");
    assert!(begun.elapsed() < Duration::from_millis(800), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_client_that_leaves_it_is_gone() {
    let gateway = start(Duration::from_secs(30)).await;
    drop(resting(&gateway).await);
    until("none is open", async || gateway.state.metrics.connections(Protocol::Http1).value() == 0).await;
}

#[tokio::test]
async fn it_keeps_no_gateway_from_ending() {
    let mut gateway = start(Duration::from_secs(30)).await;
    let mut raw = resting(&gateway).await;
    soon("the end", gateway.ended()).await.unwrap();
    assert_eq!(raw.read_to_end().await, "");
}
