//! Memory: what all calls hold together is bounded.

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::gateway::{Builder, Running, gateway};
use crate::support::reply::{hang, ok, stream};
use crate::support::socket::Socket;
use crate::support::upstream::Upstream;
use crate::support::{soon, until, upstream};

const BOOK: &str = "/v1/shelves/1/books/7";
const WATCH: &str = "/v1/shelves/1/books:watch";
const LARGE: usize = 600_000;

fn large() -> Value {
    json!({ "title": "x".repeat(LARGE) })
}

/// Books are large; an echo never comes, and imports and remarks end with their client.
async fn library() -> Upstream {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(large()));
    let library = library.client_stream("ImportBooks", |_| ok(json!({})));
    let library = library.server_stream("WatchBooks", |_| stream([large()])).bidi("Discuss", |_| Vec::new());
    library.unary("ListBooks", |_| ok(json!({}))).unary("Echo", |_| hang()).start().await
}

fn front(library: &Upstream, memory: &str) -> Builder {
    gateway().descriptors("library").upstream("library", library).config(&format!("overload: {{ memory: {memory} }}"))
}

/// An answer of which not a byte is read.
async fn unread(gateway: &Running, path: &str) -> Response<h2::RecvStream> {
    let socket = TcpStream::connect(gateway.address()).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (client, connection) = builder.initial_window_size(0).handshake::<_, Bytes>(socket).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{}{path}", gateway.address())).body(()).unwrap();
    let answer = client.ready().await.unwrap().send_request(request, true).unwrap().0;
    soon("a head", answer).await.unwrap()
}

#[tokio::test]
async fn what_requests_bring_is_bounded_over_all_calls() {
    let library = library().await;
    let gateway = front(&library, "1MiB").start().await;
    let echo = gateway.post("/v1/echo", &large());
    let first = tokio::spawn(async move { echo.try_send().await });
    library.called("Echo", 1).await;
    let taken = gateway.metric("transom_memory_held_bytes");
    assert!((LARGE as f64..LARGE as f64 * 1.25).contains(&taken), "{taken}");

    gateway.post("/v1/echo", &large()).await.status(503).reason("OVERLOADED").header("retry-after", "1");
    gateway.get("/v1/shelves/1/books").await.status(200);
    library.saw("Echo").times(1);
    assert_eq!(gateway.metric("transom_refusals_total{gate=\"overload\",reason=\"memory\"}"), 1.0);
    // More of it without a restart.
    gateway.reload(&front(&library, "2MiB")).await.unwrap();
    let echo = gateway.post("/v1/echo", &large());
    let second = tokio::spawn(async move { echo.try_send().await });
    library.called("Echo", 2).await;

    first.abort();
    second.abort();
    until("all of it is free", async || gateway.state.memory.taken() == 0).await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_takes_its_memory_until_it_is_gone() {
    let library = library().await;
    let gateway = front(&library, "1MiB").start().await;
    let answer = unread(&gateway, BOOK).await;
    assert!(gateway.state.memory.taken() >= LARGE as u64);
    gateway.get(BOOK).await.status(503).reason("OVERLOADED");
    drop(answer);
    until("all of it is free", async || gateway.state.memory.taken() == 0).await;
    assert_eq!(gateway.get(BOOK).await.status(200).value()["title"].as_str().map(str::len), Some(LARGE));
}

#[tokio::test]
async fn replies_that_are_kept_have_a_bound_of_their_own() {
    let library = library().await;
    let kept = "methods: { library.v1.Library/GetBook: { cache: 1h } }";
    let gateway = front(&library, "1MiB").config(kept).start().await;
    for _ in 0..5 {
        gateway.get(BOOK).await.status(200);
    }
    library.saw("GetBook").times(1);
    until("none of it is held", async || gateway.state.memory.taken() == 0).await;
}

/// The same library, its imports open to REST.
fn imports(library: &Upstream, memory: &str) -> Builder {
    let rule = "{ selector: library.v1.Library.ImportBooks, post: \"/v1/books:import\", body: \"*\" }";
    let schema = format!("schema: {{ descriptor_sets: [in-memory], expose: all, http_rules: [{rule}] }}");
    front(library, memory).config(&schema)
}

#[tokio::test]
async fn a_streams_message_takes_memory_while_it_comes_in() {
    let library = library().await;
    let gateway = imports(&library, "1MiB").start().await;
    let import = || {
        let (call, open) =
            gateway.request("POST", "/v1/books:import").header("content-type", "application/x-ndjson").streamed();
        open.send(large().to_string().into()).unwrap();
        (call, open)
    };
    let (first, open) = import();
    let first = tokio::spawn(async move { first.try_send().await });
    until("it is there", async || gateway.state.memory.taken() >= LARGE as u64).await;
    let (second, _open) = import();
    second.await.status(503).reason("OVERLOADED").header("retry-after", "1");
    // Once it is whole it goes on, and the next may come.
    open.send("\n".into()).unwrap();
    until("it is passed on", async || gateway.state.memory.taken() == 0).await;
    drop(open);
    first.await.unwrap().unwrap().status(200);
    library.saw("ImportBooks").times(2);
}

#[tokio::test]
async fn a_streams_answer_takes_memory_until_it_is_read() {
    let library = library().await;
    let gateway = front(&library, "1MiB").start().await;
    let answer = unread(&gateway, WATCH).await;
    until("it is there", async || gateway.state.memory.taken() >= LARGE as u64).await;
    gateway.get(WATCH).await.status(503).reason("OVERLOADED");
    drop(answer);
    until("all of it is free", async || gateway.state.memory.taken() == 0).await;
    gateway.get(WATCH).await.status(200);
    until("all of it is free again", async || gateway.state.memory.taken() == 0).await;
}

#[tokio::test]
async fn a_sockets_message_takes_memory_while_it_comes_in() {
    let library = library().await;
    let gateway = imports(&library, "1MiB").start().await;
    let half = || Message::Frame(Frame::message(large().to_string(), OpCode::Data(Data::Text), false));
    let open = async || Socket::open(gateway.address(), "/library.v1.Library/Discuss", &[]).await;
    let mut first = open().await;
    first.send(half()).await;
    until("it is there", async || gateway.state.memory.taken() >= LARGE as u64).await;
    // What comes between its parts does not hide it.
    first.send(Message::Ping("here".into())).await;
    assert_eq!(first.any().await, Message::Pong("here".into()));
    assert!(gateway.state.memory.taken() >= LARGE as u64);
    let mut second = open().await;
    second.send(half()).await;
    assert_eq!(second.value().await["error"]["code"], 14);
    assert_eq!(second.closed().await.0, 4014);
    first.send(Message::Frame(Frame::message("", OpCode::Data(Data::Continue), true))).await;
    until("all of it is free", async || gateway.state.memory.taken() == 0).await;
}

#[tokio::test]
async fn a_sockets_answer_leaves_none_of_it_taken() {
    let library = library().await;
    let gateway = front(&library, "1MiB").start().await;
    let mut socket = Socket::open(gateway.address(), WATCH, &[]).await;
    assert_eq!(socket.value().await["title"].as_str().map(str::len), Some(LARGE));
    assert_eq!(socket.closed().await.0, 1000);
    until("all of it is free", async || gateway.state.memory.taken() == 0).await;
}

#[tokio::test]
async fn a_sockets_answer_that_nobody_reads_keeps_its_memory() {
    let library =
        upstream::grpc("library.v1.Library").server_stream("WatchBooks", |_| stream([(); 40].map(|()| large())));
    let library = library.start().await;
    let gateway = front(&library, "64MiB").start().await;
    let socket = Socket::open(gateway.address(), WATCH, &[]).await;
    // What comes in takes some too, but no two looks find the same of it.
    let mut before = 0.0;
    until("one waits", async || {
        let now = gateway.metric("transom_memory_held_bytes");
        let same = now.to_bits() == std::mem::replace(&mut before, now).to_bits();
        same && now >= LARGE as f64
    })
    .await;
    drop(socket);
    until("it is gone", async || gateway.metric("transom_memory_held_bytes") == 0.0).await;
}

#[tokio::test]
async fn a_sockets_answer_takes_memory_while_it_comes_in() {
    let library = library().await;
    let gateway = front(&library, "1MiB").start().await;
    let kept = unread(&gateway, BOOK).await;
    until("it is there", async || gateway.state.memory.taken() >= LARGE as u64).await;
    let mut socket = Socket::open(gateway.address(), WATCH, &[]).await;
    assert_eq!(socket.value().await["error"]["code"], 14);
    assert_eq!(socket.closed().await.0, 4014);
    drop(kept);
    until("all of it is free", async || gateway.state.memory.taken() == 0).await;
}

#[tokio::test]
async fn what_a_coding_remembers_is_counted() {
    let library = library().await;
    let gateway = imports(&library, "20MiB").start().await;
    let import = |coding: &str| {
        let call = gateway.request("POST", "/v1/books:import").header("content-type", "application/x-ndjson");
        call.header("content-encoding", coding).streamed()
    };
    // What one may want, and how many of them the gateway has no room for.
    for (coding, window, fit) in [("br", 1 << 24, 1), ("zstd", 1 << 23, 2)] {
        let mut kept = Vec::new();
        for count in 1..=fit {
            let (call, open) = import(coding);
            kept.push((tokio::spawn(async move { call.try_send().await }), open));
            until("it is there", async || gateway.state.memory.taken() == count * window).await;
        }
        let (one_more, _open) = import(coding);
        one_more.await.status(503).reason("OVERLOADED");
        kept.iter().for_each(|(call, _)| call.abort());
        drop(kept);
        until("it is free", async || gateway.state.memory.taken() == 0).await;
    }
    let (call, open) = import("gzip");
    let call = tokio::spawn(async move { call.try_send().await });
    until("it is there", async || gateway.state.memory.taken() == 1 << 15).await;
    drop((call.abort(), open));
}
