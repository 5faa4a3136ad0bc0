//! The burst guard: what one client may do at all, in every dialect, and how connections are refused.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use transom_transcode::status::Code;

use crate::support::gateway::{Builder, gateway};
use crate::support::library::library;
use crate::support::soon;
use crate::support::upstream::Upstream;

const BOOK: &str = "/v1/shelves/1/books/7";

fn guarded(library: &Upstream, config: &str) -> Builder {
    gateway().descriptors("library").expose_all().upstream("library", library).config(config)
}

#[tokio::test]
async fn a_burst_passes_and_the_next_is_refused_in_every_dialect() {
    let library = library().await;
    let config = "
burst_guard: { rate: 1/h, burst: 3 }
cors: { origins: [\"https://app.example.com\"] }";
    let gateway = guarded(&library, config).start().await;
    for path in [BOOK, "/v1/nowhere", BOOK] {
        assert_ne!(gateway.get(path).await.status, 429, "{path}");
    }
    let page = "https://app.example.com";
    let rest = gateway.get(BOOK).header("origin", page).await;
    rest.status(429).reason("RATE_LIMITED").header("retry-after", "3600").header("access-control-allow-origin", page);
    gateway.get("/v1/nowhere").await.status(429);
    let grpc = gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await;
    grpc.failed(Code::ResourceExhausted);
    let rpc = |content_type| {
        gateway.request("POST", "/library.v1.Library/GetBook").header("content-type", content_type).body("{}")
    };
    rpc("application/grpc-web+proto").await.status(200).header("grpc-status", "8");
    let connect = rpc("application/proto").await;
    assert_eq!(connect.status(429).value()["code"], "resource_exhausted");
    // What else is wrong with it is not looked at.
    let many = (0..120).fold(gateway.get(BOOK), |call, at| call.header(&format!("x-{at}"), "v"));
    many.await.status(429);
    library.saw("GetBook").times(2);
    // Who asks for the gateway's health is let through, over HTTP and gRPC.
    for _ in 0..10 {
        gateway.get("/health").await.status(200);
        gateway.get("/readyz").await.status(200);
        let check = gateway.request("POST", "/grpc.health.v1.Health/Check").http2();
        let check = check.header("content-type", "application/grpc").body(vec![0; 5]).await;
        assert!(check.headers.get("grpc-status").is_none_or(|status| status == "0"), "{check:?}");
    }
    // Not who holds on to it, nor what only looks like it.
    for path in ["/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check/", "/grpc.health.v1.Health/List"] {
        let refused = gateway.request("POST", path).http2().header("content-type", "application/grpc").await;
        assert_eq!(refused.headers["grpc-status"], "8", "{path}");
    }
    assert_eq!(gateway.metric("transom_refusals_total{gate=\"burst_guard\",reason=\"calls\"}"), 9.0);
    assert_eq!(gateway.metric("transom_refusals_total{gate=\"burst_guard\",reason=\"connections\"}"), 0.0);
    gateway.admin("/livez").await.status(200);
}

#[tokio::test]
async fn clients_are_told_apart_behind_trusted_proxies_alone() {
    let library = library().await;
    let config = "burst_guard: { rate: 1/h, burst: 2 }";
    let behind = guarded(&library, &format!("{config}\ntrusted_proxies: [127.0.0.0/8]")).start().await;
    for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        for status in [200, 200, 429] {
            behind.get(BOOK).header("x-forwarded-for", client).await.status(status);
        }
    }
    behind.get(BOOK).header("x-forwarded-for", "2001:db8::ffff").await.status(429);
    let open = guarded(&library, config).start().await;
    for (client, status) in [("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.3", 429)] {
        open.get(BOOK).header("x-forwarded-for", client).await.status(status);
    }
}

#[tokio::test]
async fn who_goes_on_connecting_is_not_answered() {
    let library = library().await;
    let gateway = guarded(&library, "burst_guard: { rate: 1/h, burst: 2 }").start().await;
    let kept = gateway.connect_http2().await;
    let mut closed = 0;
    for _ in 0..200 {
        let mut socket = TcpStream::connect(gateway.address()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is refused may be reset at any time.
        let _ = socket.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let _ = soon("an answer, or the end", socket.read_to_end(&mut answer)).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 200 "), "{answer:?}");
        closed += usize::from(answer.is_empty());
    }
    // 128 at once, of which one is kept.
    assert_eq!(closed, 200 - 127);
    assert_eq!(gateway.metric("transom_refusals_total{gate=\"burst_guard\",reason=\"connections\"}"), 73.0);
    // Who is connected stays so, and the admin port is another door.
    kept.get("/health").await.unwrap().status(200);
    gateway.admin("/livez").await.status(200);
}

#[tokio::test]
async fn a_proxy_that_is_trusted_connects_as_often_as_it_needs() {
    let library = library().await;
    let config = "burst_guard: { rate: 1/h, burst: 2 }\ntrusted_proxies: [127.0.0.0/8]";
    let gateway = guarded(&library, config).start().await;
    for _ in 0..200 {
        gateway.get("/health").header("x-forwarded-for", "192.0.2.1").await.status(200);
    }
    assert_eq!(gateway.metric("transom_refusals_total{gate=\"burst_guard\",reason=\"connections\"}"), 0.0);
}

#[tokio::test]
async fn a_reload_that_leaves_it_alone_forgets_nothing() {
    let library = library().await;
    let config = "burst_guard: { rate: 1/h, burst: 1 }";
    let gateway = guarded(&library, config).start().await;
    gateway.get(BOOK).await.status(200);
    gateway.reload(&guarded(&library, &format!("{config}\ndrain_timeout: 6s"))).await.unwrap();
    gateway.get(BOOK).await.status(429);
    gateway.reload(&guarded(&library, "burst_guard: { rate: 1/h, burst: 2 }")).await.unwrap();
    gateway.get(BOOK).await.status(200);
    gateway.reload(&guarded(&library, "")).await.unwrap();
    for _ in 0..3 {
        gateway.get(BOOK).await.status(200);
    }
}
