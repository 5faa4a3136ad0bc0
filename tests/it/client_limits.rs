//! What clients may take of connections: the keys of `clients`, each with what it holds back.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use transom::telemetry::Protocol;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::ok;
use crate::support::{soon, until, upstream};

const BOOK: &str = "/v1/shelves/1/books/7";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

async fn limited(clients: &str) -> Running {
    gateway().config(&format!("clients: {{ {clients} }}")).start().await
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn one_client_has_its_own_bound_of_connections() {
    let gateway = limited("connections: 100, connections_per_client: 2").await;
    let from = async |address: Ipv4Addr| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        let mut socket = socket.connect(gateway.address()).await.unwrap();
        let _ = socket.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut answer = [0; 12];
        soon("an answer", socket.read_exact(&mut answer)).await.map(|_| socket)
    };
    let (one, other) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    let kept = [from(one).await.unwrap(), from(one).await.unwrap()];
    from(one).await.expect_err("one too many");
    from(other).await.expect("another client has a bound of its own");
    assert_eq!(gateway.metric("transom_connections_turned_away_total"), 1.0);
    drop(kept);
    until("there is room again", async || from(one).await.is_ok()).await;
}

#[tokio::test]
async fn who_comes_by_a_trusted_proxy_is_many() {
    let config = "clients: { connections_per_client: 1 }\ntrusted_proxies: [127.0.0.1]";
    let gateway = gateway().config(config).start().await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut connection = gateway.connect().await;
        connection.send("GET", "/livez").await.unwrap().status(200);
        kept.push(connection);
    }
}

#[tokio::test]
async fn heads_that_drip_are_cut_off_and_nobody_else_feels_it() {
    let gateway = limited("head_timeout: 500ms, head_size: 8KiB").await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut raw = gateway.raw().await;
        raw.write("GET /livez HTTP/1.1\r\nhost: a\r\nx-slow: ").await;
        slow.push(raw);
    }
    let mut kept = gateway.connect().await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(900) {
        for raw in &mut slow {
            raw.write("a").await;
        }
        kept.send("GET", "/livez").await.expect("who calls is served").status(200);
    }
    for raw in &mut slow {
        assert_eq!(raw.read_to_end().await, "");
    }
    until("one is left", async || gateway.state.metrics.connections(Protocol::Http1).value() == 1).await;
    // A head that is only long is told so.
    let mut raw = gateway.raw().await;
    raw.write(format!("GET /livez HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n", "a".repeat(20_000))).await;
    assert!(raw.read_to_end().await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn idle_connections_end_after_their_time() {
    let gateway = limited("idle_timeout: 300ms, idle_timeout_http2: 300ms").await;
    let mut http1 = gateway.connect().await;
    http1.send("GET", "/livez").await.unwrap().status(200);
    let http2 = gateway.connect_http2().await;
    http2.get("/livez").await.unwrap().status(200);
    until("both are closed", async || http1.is_closed() && http2.is_closed()).await;
}

#[tokio::test]
async fn a_connection_that_only_pings_is_idle() {
    let gateway = limited("idle_timeout_http2: 300ms").await;
    let mut raw = gateway.raw().await;
    raw.write(PREFACE).await;
    let open = || gateway.state.metrics.connections(Protocol::Http2).value();
    until("it is open", async || open() == 1).await;
    until("it is closed", async || {
        raw.write(frame(6, 0, 0, b"are you?")).await;
        open() == 0
    })
    .await;
}

#[tokio::test]
async fn heads_over_http2_end_in_time_or_their_connections_do() {
    let gateway = limited("head_timeout: 300ms, idle_timeout_http2: 1h").await;
    // `GET /livez`, cut short in its frame, and after a frame that says that it goes on.
    let block = b"\x82\x86\x04\x06/livez\x01\x01a";
    let whole = frame(1, 5, 1, block);
    let cut = [PREFACE, &whole[..whole.len() - 3]].concat();
    let goes_on = [PREFACE, &frame(1, 1, 1, &block[..4])].concat();
    for said in [&PREFACE[..24], &PREFACE[..30], &cut, &goes_on] {
        let mut raw = gateway.raw().await;
        raw.write(said).await;
        raw.read_to_end().await;
    }
    // Who has said hello, or all of a request, may be quiet.
    let mut quiet = gateway.raw().await;
    quiet.write(PREFACE).await;
    let mut asked = gateway.raw().await;
    asked.write([PREFACE, &whole].concat()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(gateway.state.metrics.connections(Protocol::Http2).value(), 2);
}

#[tokio::test]
async fn old_connections_take_no_new_calls_and_end_those_they_have() {
    let go_on = std::sync::Arc::new(Notify::new());
    let held = go_on.clone();
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", move |_| ok(json!({ "title": "Dune" })).when(&held))
        .start()
        .await;
    let gateway = gateway()
        .descriptors("library")
        .upstream("library", &library)
        .config("clients: { max_age: 300ms }")
        .start()
        .await;
    let mut http1 = gateway.connect().await;
    http1.send("GET", "/livez").await.unwrap().status(200).no_header("connection");
    let http2 = gateway.connect_http2().await;
    let (one, other) = (http2.clone(), tokio::spawn(gateway.get(BOOK).try_send()));
    let long = tokio::spawn(async move { one.get(BOOK).await });
    library.called("GetBook", 2).await;
    until("the old connection takes no new call", async || http2.get("/livez").await.is_err()).await;
    // Not a call is lost: the one in flight ends, the next answer is the last.
    go_on.notify_waiters();
    soon("the call", long).await.unwrap().unwrap().status(200);
    soon("the call", other).await.unwrap().unwrap().status(200);
    // Each connection has an age of its own, about that.
    until("an answer is the last", async || {
        let reply = http1.send("GET", "/livez").await.unwrap();
        reply.status(200).headers.get("connection").is_some_and(|value| value == "close")
    })
    .await;
    until("it is closed", async || http1.is_closed()).await;
}

#[tokio::test]
async fn a_head_without_an_end_ends_its_connection() {
    let gateway = limited("head_size: 16KiB").await;
    let bystander = gateway.connect_http2().await;
    let mut socket = TcpStream::connect(gateway.address()).await.unwrap();
    socket.write_all(PREFACE).await.unwrap();
    // A HEADERS frame and then CONTINUATION for ever: each small, together without bound. `\x00\x01a\x01b` is a literal header.
    let part = [0, 1, b'a', 1, b'b'].repeat(1000);
    socket.write_all(&frame(1, 0, 1, &part)).await.unwrap();
    let mut sent = 0;
    let flood = async {
        while socket.write_all(&frame(9, 0, 1, &part)).await.is_ok() {
            sent += part.len();
            assert!(sent < 64 << 20, "it goes on and on");
        }
    };
    soon("the connection's end", flood).await;
    bystander.get("/livez").await.unwrap().status(200);
}

#[tokio::test]
async fn frames_that_ask_for_answers_are_not_kept_for_who_does_not_read() {
    let gateway = gateway().start().await;
    let bystander = gateway.connect_http2().await;
    for flood in [frame(4, 0, 0, &[0, 4, 0, 1, 0, 0]), frame(6, 0, 0, &[0; 8])] {
        let mut socket = TcpStream::connect(gateway.address()).await.unwrap();
        socket.write_all(PREFACE).await.unwrap();
        let many = flood.repeat(4096);
        let mut sent = 0;
        // Nobody reads the answers: the connection stalls or ends once the sockets are full of them.
        while let Ok(Ok(())) = timeout(Duration::from_millis(500), socket.write_all(&many)).await {
            sent += many.len();
            assert!(sent < 256 << 20, "it takes all that comes");
        }
        bystander.get("/livez").await.unwrap().status(200);
    }
}

#[tokio::test]
async fn a_small_head_that_unpacks_to_a_large_one_is_refused() {
    let gateway = limited("head_size: 16KiB").await;
    let (client, connection) =
        h2::client::handshake(TcpStream::connect(gateway.address()).await.unwrap()).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let mut request = http::Request::get(format!("http://{}/livez", gateway.address())).body(()).unwrap();
    // Each comes once over the wire, and then as one byte.
    for _ in 0..100 {
        request.headers_mut().append("x-bomb", "a".repeat(3000).parse().unwrap());
    }
    let answer = soon("an answer", client.send_request(request, true).unwrap().0).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 431));
    gateway.get("/livez").http2().await.status(200);
}
