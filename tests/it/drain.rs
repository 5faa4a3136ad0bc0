//! The end: what is in flight finishes, what comes late is told so, nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpSocket;
use tokio::sync::Notify;
use transom::server::Limits;
use transom_transcode::status::Code;

use crate::support::gateway::{Running, gateway};
use crate::support::library::library;
use crate::support::reply::{hang, ok, stream};
use crate::support::speak::Speech;
use crate::support::streams::Streams;
use crate::support::upstream::{self, Upstream};
use crate::support::{client, soon, until};

const BOOK: &str = "/v1/shelves/1/books/7";

async fn behind(library: &Upstream, config: &str) -> Running {
    gateway().descriptors("library").upstream("library", library).config(config).start().await
}

#[tokio::test]
async fn a_call_in_flight_is_answered_and_the_gateway_is_not_ready() {
    let go_on = Arc::new(Notify::new());
    let held = go_on.clone();
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", move |_| ok(json!({ "title": "Dune" })).when(&held))
        .start()
        .await;
    let mut gateway = behind(&library, "").await;
    let http1 = tokio::spawn(gateway.get(BOOK).try_send());
    let http2 = tokio::spawn(gateway.get(BOOK).http2().try_send());
    library.called("GetBook", 2).await;

    gateway.shut_down();
    until("draining", async || gateway.state.drain.has_begun()).await;
    gateway.admin("/readyz").await.status(503).json(&json!({ "status": "not ready", "reason": "draining" }));
    gateway.admin("/livez").await.status(200);
    // Those that do not know yet are still served, and told not to come back.
    gateway.get("/livez").await.status(200).header("connection", "close");
    gateway.get("/readyz").await.status(503);

    go_on.notify_waiters();
    http1.await.unwrap().unwrap().status(200).header("connection", "close").json(&json!({ "title": "Dune" }));
    http2.await.unwrap().unwrap().status(200).no_header("connection").json(&json!({ "title": "Dune" }));
    gateway.ended().await.unwrap();
    tokio::net::TcpStream::connect(gateway.address()).await.expect_err("nobody listens");
    tokio::net::TcpStream::connect(gateway.admin_address()).await.expect_err("nobody listens");
}

#[tokio::test]
async fn a_stream_in_flight_goes_on_to_its_end() {
    let go_on = Arc::new(Notify::new());
    let held = go_on.clone();
    let library = upstream::grpc("library.v1.Library")
        .server_stream("WatchBooks", move |_| {
            ok(json!({ "pages": "1" })).then_wait(&held).then(json!({ "pages": "2" }))
        })
        .start()
        .await;
    let mut gateway = behind(&library, "").await;
    let mut watch = gateway.grpc("library.v1.Library/WatchBooks").open().await;
    watch.send(&json!({ "parent": "shelves/1" }));
    watch.close();
    assert_eq!(watch.next().await, Some(json!({ "pages": "1" })));
    gateway.shut_down();
    until("draining", async || gateway.state.drain.has_begun()).await;
    go_on.notify_waiters();
    assert_eq!(watch.next().await, Some(json!({ "pages": "2" })));
    watch.status().await.failed(Code::Ok);
    gateway.ended().await.unwrap();
}

#[tokio::test]
async fn calls_that_do_not_end_are_ended_after_the_timeout() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| hang()).start().await;
    let mut gateway = behind(&library, "drain_timeout: 300ms").await;
    let call = tokio::spawn(gateway.get(BOOK).try_send());
    library.called("GetBook", 1).await;
    let asked = Instant::now();
    gateway.ended().await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(300), "{:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(4), "the call's own deadline is later: {:?}", asked.elapsed());
    call.await.unwrap().unwrap().status(503).reason("DRAINING").header("retry-after", "1");
    library.cancelled("GetBook", 1).await;
}

#[tokio::test]
async fn calls_that_wait_for_who_judges_their_tokens_are_ended_as_others_are() {
    let library = library().await;
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let verify = format!(
        "drain_timeout: 300ms\nauth: {{ verify: {{ url: \"http://{}/\", timeout: 30s }} }}\n\
         methods: {{ library.v1.Library/GetBook: {{ timeout: 30s }} }}",
        silent.local_addr().unwrap()
    );
    let mut gateway = behind(&library, &verify).await;
    let rest = tokio::spawn(gateway.get(BOOK).header("authorization", "Bearer a").try_send());
    let connect = gateway.post("/library.v1.Library/GetBook", &json!({})).header("authorization", "Bearer b");
    let connect = tokio::spawn(connect.http2().try_send());
    until("they wait", async || gateway.metric("transom_in_flight") >= 2.0).await;
    gateway.ended().await.unwrap();
    for call in [rest, connect] {
        let answer = call.await.unwrap().unwrap();
        assert!(answer.status(503).text().contains("DRAINING"), "{answer:?}");
    }
    for line in gateway.lines().iter().filter(|line| line["path"] == json!(BOOK)) {
        assert_eq!(line["reason"], "DRAINING", "{line}");
    }
}

#[tokio::test]
async fn streams_that_do_not_end_say_so_in_every_dialect() {
    let library = library().await;
    let shelf = json!({ "parent": "shelves/hang" });
    let limits = Limits { lame_duck: Duration::ZERO, ..Limits::default() };
    let gateway = gateway().descriptors("library").expose_all().upstream("library", &library).limits(limits);
    let mut gateway = gateway.config("drain_timeout: 300ms").start().await;
    let mut calls = Vec::new();
    // A socket's close says that the gateway goes away, and not the code: that has a test of its own.
    for speech in Speech::SERVER_STREAM.into_iter().filter(|speech| !speech.is_socket()) {
        for version in speech.versions() {
            let mut call = speech.call(*version, "WatchBooks").open(&gateway, Some(&shelf)).await;
            call.send(&shelf);
            call.close();
            call.head().await;
            calls.push((speech, *version, call));
        }
    }
    let streams = calls.len();
    let asked = Instant::now();
    gateway.shut_down();
    for (speech, version, call) in calls {
        println!("{speech:?} over HTTP/{version}");
        let reply = call.outcome().await;
        if speech == Speech::Rest {
            // An array is broken off, and says no more than that.
            assert_eq!((reply.http, reply.code), (200, None), "{reply:?}");
        } else {
            assert_eq!((reply.http, reply.code), (200, Some(Code::Unavailable)), "{reply:?}");
            assert_eq!(reply.messages, [json!({ "title": "A" })]);
        }
    }
    gateway.ended().await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    library.cancelled("WatchBooks", streams).await;
    for line in gateway.logged(streams).await {
        assert_eq!((&line["code"], &line["reason"]), (&json!("UNAVAILABLE"), &json!("DRAINING")), "{line}");
    }
}

#[tokio::test]
async fn who_reads_nothing_is_not_waited_for() {
    let library = upstream::grpc("library.v1.Library")
        .server_stream("WatchBooks", |_| stream(std::iter::repeat_n(json!({ "title": "x".repeat(1000) }), 100_000)));
    let library = library.start().await;
    let limits = Limits { lame_duck: Duration::ZERO, ..Limits::default() };
    let gateway = gateway().descriptors("library").upstream("library", &library).limits(limits);
    let mut gateway = gateway.config("drain_timeout: 200ms").start().await;
    let mut http1 = gateway.raw().await;
    http1.write("GET /v1/shelves/1/books:watch HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut http2 = gateway.grpc("library.v1.Library/WatchBooks").open().await;
    http2.send(&json!({ "parent": "shelves/1" }));
    http2.close();
    http2.headers().await;
    library.called("WatchBooks", 2).await;
    let asked = Instant::now();
    gateway.ended().await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    let library = upstream::grpc("library.v1.Library").start().await;
    let limits = Limits { lame_duck: Duration::from_millis(100), ..Limits::default() };
    let mut gateway = gateway()
        .descriptors("library")
        .upstream("library", &library)
        .limits(limits)
        .config("drain_timeout: 20s")
        .start()
        .await;
    let mut http1 = gateway.connect().await;
    http1.send("GET", "/livez").await.unwrap();
    let http2 = gateway.connect_http2().await;
    http2.get("/livez").await.unwrap();
    let silent = gateway.raw().await;
    until("all are open", async || gateway.metric("transom_connections_accepted_total") == 3.0).await;
    let asked = Instant::now();
    gateway.ended().await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    drop(silent);
}

#[tokio::test]
async fn who_comes_late_is_served_once_and_then_told() {
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", |_| ok(json!({ "title": "Dune" })))
        .unary("Echo", |_| hang())
        .start()
        .await;
    let limits = Limits { lame_duck: Duration::from_secs(20), ..Limits::default() };
    let gateway = gateway().descriptors("library").upstream("library", &library).limits(limits);
    let mut gateway = gateway.config("drain_timeout: 20s").start().await;
    let held = tokio::spawn(gateway.post("/v1/echo", &json!({})).try_send());
    library.called("Echo", 1).await;
    gateway.shut_down();
    until("draining", async || gateway.state.drain.has_begun()).await;
    let mut late = Streams::try_open(gateway.address()).await.unwrap();
    // Everything that the gateway says of itself has come.
    late.ping().await;
    late.get(BOOK).await.unwrap().expect("it is served").status(200);
    assert!(late.get(BOOK).await.unwrap().is_none(), "it was told to go");
    held.abort();
    drop(late);
    gateway.ended().await.unwrap();
}

#[tokio::test]
async fn an_answer_still_on_its_way_when_the_connection_closes_arrives() {
    let long = "x".repeat(2_000_000);
    let answer = ok(json!({ "title": long }));
    let library = upstream::grpc("library.v1.Library").unary("GetBook", move |_| answer.clone()).start().await;
    let mut gateway = behind(&library, "").await;
    // Its kernel takes little at a time, so that most of what has been written is still the gateway's kernel's.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let socket = socket.connect(gateway.address()).await.unwrap();
    let (mut sender, mut connection) = h2::client::handshake(socket).await.unwrap();
    let mut ping = connection.ping_pong().unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("http://{}{BOOK}", gateway.address())).body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    drop(sender);
    let mut body = soon("the head", response).await.unwrap().into_body();
    gateway.shut_down();
    until("draining", async || gateway.state.drain.has_begun()).await;
    let mut length = 0;
    while let Some(data) = soon("data", body.data()).await {
        let data = data.expect("the rest of the answer");
        length += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
        // It has its own to say all the while.
        let _ = ping.send_ping(h2::Ping::opaque());
    }
    assert_eq!(length, r#"{"title":""}"#.len() + long.len());
    soon("the close", connection).await.unwrap().unwrap();
    gateway.ended().await.unwrap();
}

#[tokio::test]
async fn under_load_no_call_is_lost() {
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", |_| ok(json!({ "title": "Dune" })).after(Duration::from_millis(5)))
        .start()
        .await;
    let limits = Limits { lame_duck: Duration::from_millis(200), ..Limits::default() };
    let mut gateway = gateway()
        .descriptors("library")
        .upstream("library", &library)
        .limits(limits)
        .config("workers: 2")
        .start()
        .await;
    let gone = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..16)
        .map(|at| {
            let (address, gone) = (gateway.address(), gone.clone());
            tokio::spawn(async move {
                if at % 2 == 0 { http1_client(address, &gone).await } else { http2_client(address, &gone).await }
            })
        })
        .collect();
    library.called("GetBook", 200).await;
    gateway.ended().await.unwrap();
    gone.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for client in clients {
        answered += soon("the client's end", client).await.unwrap();
    }
    library.saw("GetBook").times(answered);
    assert!(answered >= 200, "{answered}");
}

/// Calls until nobody listens. Each request that was sent must be answered.
async fn http1_client(address: std::net::SocketAddr, gone: &AtomicBool) -> usize {
    let mut answered = 0;
    loop {
        let Ok(mut connection) = client::Connection::try_open(address).await else {
            assert!(!gone.load(Ordering::Relaxed) || answered > 0);
            return answered;
        };
        loop {
            match connection.send("GET", BOOK).await {
                Ok(reply) => {
                    reply.status(200);
                    answered += 1;
                }
                // Never sent: the last answer said `connection: close`.
                Err(error) if error.is_canceled() || error.is_closed() => break,
                Err(error) => panic!("a request was lost: {error:?}"),
            }
        }
    }
}

async fn http2_client(address: std::net::SocketAddr, gone: &AtomicBool) -> usize {
    let mut answered = 0;
    loop {
        let Ok(mut connection) = Streams::try_open(address).await else {
            assert!(!gone.load(Ordering::Relaxed) || answered > 0);
            return answered;
        };
        while let Some(reply) =
            connection.get(BOOK).await.unwrap_or_else(|error| panic!("a request was lost: {error:?}"))
        {
            reply.status(200);
            answered += 1;
        }
    }
}
