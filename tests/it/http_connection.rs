//! Connections: what they may do, and what ends them.

use std::time::Duration;

use serde_json::json;
use transom::server::Limits;
use transom::telemetry::Protocol;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::{ok, stream};
use crate::support::upstream::Upstream;
use crate::support::{soon, until, upstream};

#[tokio::test]
async fn http1_connections_are_kept() {
    let gateway = gateway().start().await;
    let mut connection = gateway.connect().await;
    for _ in 0..3 {
        connection.send("GET", "/livez").await.unwrap().status(200).no_header("connection");
    }
    assert_eq!(gateway.metric("transom_connections_accepted_total"), 1.0);
    assert_eq!(gateway.metric(r#"transom_connections{protocol="http1"}"#), 1.0);
}

#[tokio::test]
async fn http1_requests_are_pipelined_and_answered_in_order() {
    let gateway = gateway().start().await;
    let mut raw = gateway.raw().await;
    raw.write("GET /livez HTTP/1.1\r\nhost: a\r\n\r\nGET /nowhere HTTP/1.1\r\nhost: a\r\n\r\nGET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let answers = raw.read_to_end().await;
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "404", "200"], "{answers}");
}

/// Clients keep a connection whose answer does not say `close`, and write the next request to it.
#[tokio::test]
async fn what_is_left_of_a_request_ends_no_connection() {
    let library = upstream::grpc("library.v1.Library")
        .server_stream("WatchBooks", |_| stream([json!({ "title": "A" })]))
        .start()
        .await;
    let gateway = gateway().descriptors("library").expose_all().upstream("library", &library).start().await;
    let json = "content-length: 9\r\ncontent-type: application/json";
    for (head, first, answer, rest) in [
        (format!("POST /nowhere HTTP/1.1\r\n{json}"), "", "}", "123456789"),
        (format!("DELETE /v1/shelves/1/books HTTP/1.1\r\n{json}"), "123", "}", "456789"),
        (format!("POST /library.v1.Library/WatchBooks HTTP/1.1\r\n{json}"), "", "}", "123456789"),
        ("POST /nowhere HTTP/1.1\r\ntransfer-encoding: chunked".to_owned(), "3\r\nabc\r\n", "}", "1\r\nd\r\n0\r\n\r\n"),
    ] {
        println!("{head}");
        let mut raw = gateway.raw().await;
        raw.write(format!("{head}\r\nhost: a\r\n\r\n{first}")).await;
        let answered = raw.read_until("\r\n\r\n").await;
        assert!(!answered.contains("connection: close"), "{answered}");
        raw.read_until(answer).await;
        // Whoever closes does so at once.
        tokio::time::sleep(Duration::from_millis(50)).await;
        raw.write(format!("{rest}GET /livez HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let answered = raw.read_until("\r\n\r\n").await;
        assert!(answered.ends_with("\r\n\r\n") && answered.contains("HTTP/1.1 200 OK"), "{answered}");
    }
}

#[tokio::test]
async fn what_is_too_much_to_read_is_told_to_end_a_connection() {
    let gateway = gateway().start().await;
    for head in ["content-length: 1000000", "content-length: 9\r\nexpect: 100-continue"] {
        let mut raw = gateway.raw().await;
        raw.write(format!("POST /nowhere HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n")).await;
        let answered = raw.read_to_end().await;
        assert!(answered.starts_with("HTTP/1.1 404 ") && answered.contains("connection: close\r\n"), "{answered}");
    }
    // More than was to be expected, or less for too long.
    for (sent, head) in [(300, "transfer-encoding: chunked"), (0, "content-length: 9")] {
        let mut raw = gateway.raw().await;
        raw.write(format!("POST /nowhere HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n")).await;
        for _ in 0..sent {
            raw.write(format!("400\r\n{}\r\n", "x".repeat(1024))).await;
        }
        assert!(raw.read_to_end().await.starts_with("HTTP/1.1 404 "));
    }
}

#[tokio::test]
async fn http2_needs_no_upgrade() {
    let gateway = gateway().start().await;
    let connection = gateway.connect_http2().await;
    let calls = (0..50).map(|_| connection.get("/livez"));
    for reply in futures(calls).await {
        reply.unwrap().status(200);
    }
    assert_eq!(gateway.state.metrics.connections(Protocol::Http2).value(), 1);
    drop(connection);
    until("the connection is closed", async || gateway.state.metrics.connections(Protocol::Http2).value() == 0).await;
}

#[tokio::test]
async fn the_first_bytes_may_come_one_by_one() {
    let gateway = gateway().start().await;
    let mut raw = gateway.raw().await;
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
        raw.write([*byte]).await;
        tokio::task::yield_now().await;
    }
    // The server's SETTINGS: a frame of type 4 on stream 0.
    let settings = raw.read(9).await;
    assert_eq!((settings[3], &settings[5..9]), (4, &[0; 4][..]));

    let mut raw = gateway.raw().await;
    for byte in b"PROPFIND / HTTP/1.1\r\nhost: a\r\n\r\n" {
        raw.write([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert!(raw.read_until("\r\n").await.starts_with("HTTP/1.1 4"));
}

#[tokio::test]
async fn a_head_that_is_too_long_is_431() {
    let gateway = gateway().start().await;
    let mut raw = gateway.raw().await;
    raw.write(format!("GET /livez HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n", "a".repeat(70_000))).await;
    assert!(raw.read_to_end().await.starts_with("HTTP/1.1 431 "));

    let mut raw = gateway.raw().await;
    raw.write(format!("GET /livez HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(200))).await;
    assert!(raw.read_to_end().await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_request_that_is_no_http_is_400() {
    let gateway = gateway().start().await;
    for garbage in ["GET /livez\r\n\r\n", "\x16\x03\x01\0\0\r\n\r\n", "GET /livez HTTP/1.1\r\nhost a\r\n\r\n"] {
        let mut raw = gateway.raw().await;
        raw.write(garbage).await;
        assert!(raw.read_to_end().await.starts_with("HTTP/1.1 400 "), "{garbage:?}");
    }
    gateway.get("/livez").await.status(200);
}

#[tokio::test]
async fn slow_and_idle_connections_are_closed() {
    let limits = Limits {
        head: Duration::from_millis(200),
        idle_http1: Duration::from_millis(400),
        idle_http2: Duration::from_millis(400),
        ..Limits::default()
    };
    let gateway = gateway().limits(limits).start().await;

    let mut silent = gateway.raw().await;
    let mut half = gateway.raw().await;
    half.write("GET /livez HTTP/1.1\r\nhost: a\r\nx-s").await;
    let mut second = gateway.raw().await;
    second.write("GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.read_until("}").await;
    second.write("GET /li").await;
    let mut kept = gateway.connect().await;
    kept.send("GET", "/livez").await.unwrap();
    let http2 = gateway.connect_http2().await;
    http2.get("/livez").await.unwrap();

    assert_eq!(silent.read_to_end().await, "");
    assert_eq!(half.read_to_end().await, "");
    assert_eq!(second.read_to_end().await, "");
    until("the idle connections are closed", async || kept.is_closed() && http2.is_closed()).await;
    let open =
        || [Protocol::Http1, Protocol::Http2].map(|protocol| gateway.state.metrics.connections(protocol).value());
    until("nothing is open", async || open() == [0, 0]).await;
}

#[tokio::test]
async fn a_busy_connection_is_not_idle() {
    let limits =
        Limits { head: Duration::from_millis(100), idle_http1: Duration::from_millis(100), ..Limits::default() };
    let gateway = gateway().limits(limits).start().await;
    let mut connection = gateway.connect().await;
    let end = tokio::time::Instant::now() + Duration::from_millis(600);
    while tokio::time::Instant::now() < end {
        connection.send("GET", "/livez").await.expect("a connection in use stays open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A gateway that lets go of idle connections at once, and a book of 16 MiB.
async fn long_book() -> (Upstream, Running) {
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", |_| ok(json!({ "title": "a".repeat(16 << 20) })))
        .start()
        .await;
    let limits = Limits { idle_http1: Duration::from_millis(200), ..Limits::default() };
    let gateway = gateway()
        .descriptors("library")
        .upstream_with("library", &[&library], "limits: { receive: 32MiB }")
        .limits(limits)
        .start()
        .await;
    (library, gateway)
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_its_answer() {
    let (_library, gateway) = long_book().await;
    let mut raw = gateway.raw().await;
    raw.write("GET /v1/shelves/1/books/7 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    raw.read_until("\r\n\r\n").await;
    let mut left = (16 << 20) + r#"{"title":""}"#.len();
    while left > 0 {
        let some = left.min(1 << 20);
        raw.read(some).await;
        left -= some;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(raw.read_to_end().await, "", "and then the connection is idle");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let (library, gateway) = long_book().await;
    let mut raw = gateway.raw().await;
    raw.write("GET /v1/shelves/1/books/7 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    library.called("GetBook", 1).await;
    let open = async || gateway.state.metrics.connections(Protocol::Http1).value();
    until("its connection is dropped", async || open().await == 0).await;
    until("its call is over", async || gateway.metric("transom_in_flight") == 0.0).await;
}

#[tokio::test]
async fn connections_over_the_limit_are_turned_away() {
    let gateway = gateway().limits(Limits { connections: 2, ..Limits::default() }).start().await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut connection = gateway.connect().await;
        connection.send("GET", "/livez").await.unwrap();
        kept.push(connection);
    }
    assert_eq!(gateway.raw().await.read_to_end().await, "");
    assert_eq!(gateway.metric("transom_connections_turned_away_total"), 1.0);
    gateway.admin("/livez").await.status(200);

    kept.pop();
    soon("room", async {
        while gateway.get("/livez").try_send().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Awaits all of them together.
async fn futures<F>(all: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future,
{
    let mut waiting: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|cx| {
        waiting.retain_mut(|future| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => {
                done.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}
