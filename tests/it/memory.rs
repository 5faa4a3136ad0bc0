//! Memory: what all calls hold together is bounded.

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::gateway::{Builder, Running, gateway};
use crate::support::reply::{hang, ok};
use crate::support::upstream::Upstream;
use crate::support::{soon, until, upstream};

const BOOK: &str = "/v1/shelves/1/books/7";
const LARGE: usize = 600_000;

fn large() -> Value {
    json!({ "title": "x".repeat(LARGE) })
}

/// Books are large; an echo never comes, and imports end with their client.
async fn library() -> Upstream {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(large()));
    let library = library.client_stream("ImportBooks", |_| ok(json!({})));
    library.unary("ListBooks", |_| ok(json!({}))).unary("Echo", |_| hang()).start().await
}

fn front(library: &Upstream, memory: &str) -> Builder {
    gateway().descriptors("library").upstream("library", library).config(&format!("overload: {{ memory: {memory} }}"))
}

/// An answer of which not a byte is read.
async fn unread(gateway: &Running) -> Response<h2::RecvStream> {
    let socket = TcpStream::connect(gateway.address()).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (client, connection) = builder.initial_window_size(0).handshake::<_, Bytes>(socket).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{}{BOOK}", gateway.address())).body(()).unwrap();
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
    let answer = unread(&gateway).await;
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

#[tokio::test]
async fn what_a_coding_remembers_is_counted() {
    let library = library().await;
    let rule = "{ selector: library.v1.Library.ImportBooks, post: \"/v1/books:import\", body: \"*\" }";
    let schema = format!("schema: {{ descriptor_sets: [in-memory], expose: all, http_rules: [{rule}] }}");
    let gateway = front(&library, "20MiB").config(&schema).start().await;
    let import = |coding: &str| {
        let call = gateway.request("POST", "/v1/books:import").header("content-type", "application/x-ndjson");
        call.header("content-encoding", coding).streamed()
    };
    let (first, open) = import("br");
    let first = tokio::spawn(async move { first.try_send().await });
    // Its window may be 16 MiB.
    until("it is there", async || gateway.state.memory.taken() == 1 << 24).await;
    let (second, _open) = import("br");
    second.await.status(503).reason("OVERLOADED");
    drop((first.abort(), open));
    until("it is free", async || gateway.state.memory.taken() == 0).await;
}
