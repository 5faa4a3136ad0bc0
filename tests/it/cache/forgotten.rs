//! What makes the cache forget: calls that change something, whoever hears their answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::Notify;
use transom_transcode::status::Code;

use super::{BOOK, cached, counting, pages};
use crate::support::gateway::gateway;
use crate::support::grpc::frame;
use crate::support::reply::{fail, ok};
use crate::support::speak::Speech;
use crate::support::until;
use crate::support::upstream;

#[tokio::test]
async fn an_rpc_that_changes_something_makes_it_forget() {
    let library = counting().await;
    let cache = "{ ttl: 1h, public: true, invalidated_by: [library.v1.Library/Echo, library.v1.Library/Discuss] }";
    let gateway = cached(&library, cache).start().await;
    let ask = async || pages(&gateway, ("a", "b")).await;
    assert_eq!((ask().await, ask().await), ("1".to_owned(), "1".to_owned()));
    gateway.post("/v1/echo", &json!({})).await.status(200);
    assert_eq!((ask().await, ask().await), ("2".to_owned(), "2".to_owned()));
    gateway.grpc("library.v1.Library/Echo").send(&[json!({})]).await.ok(&[json!({})]);
    assert_eq!(ask().await, "3");
    gateway.grpc("library.v1.Library/Discuss").send(&[json!({ "text": "x" })]).await.ok(&[json!({ "text": "x" })]);
    assert_eq!(ask().await, "4");
    // The service says that nothing has changed, or was never asked.
    gateway.post("/v1/echo", &json!({ "title": "wrong" })).await.status(400);
    gateway.post("/v1/echo", &json!({ "nothing": 1 })).await.status(400);
    assert_eq!(ask().await, "4");
    // That there is nothing to change may be what an earlier try has done.
    gateway.post("/v1/echo", &json!({ "title": "gone" })).await.status(404);
    assert_eq!(ask().await, "5");
    gateway.post("/v1/echo", &json!({ "title": "there" })).await.status(409);
    assert_eq!(ask().await, "6");
}

#[tokio::test]
async fn a_call_that_a_service_has_seen_makes_it_forget_wherever_its_next_try_gets() {
    let asked = AtomicUsize::new(0);
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", move |_| ok(json!({ "pages": (asked.fetch_add(1, Ordering::SeqCst) + 1).to_string() })))
        .unary("Echo", |_| fail(Code::Unavailable, "it may have been done"))
        .start()
        .await;
    let config = "methods:
  library.v1.Library/GetBook: { cache: { ttl: 1h, public: true, invalidated_by: [library.v1.Library/Echo] } }
  library.v1.Library/Echo: { retry: { attempts: 3, backoff: 1ms }, idempotent: true }";
    // The first try opens the breaker, the second finds nobody. It closes at once for who comes next.
    let breaker = "circuit_breaker: { failures: 1, open_for: 100ms }, retry: { attempts: 1 }";
    let gateway = gateway().descriptors("library").upstream_with("library", &[&library], breaker).config(config);
    let gateway = gateway.start().await;
    assert_eq!(pages(&gateway, ("a", "b")).await, "1");
    gateway.post("/v1/echo", &json!({})).await.status(503).reason("CIRCUIT_OPEN");
    library.saw("Echo").times(1);
    until("it is asked again", async || {
        let reply = gateway.get(BOOK).await;
        reply.status == 200 && reply.value()["pages"] == "2"
    })
    .await;
}

#[tokio::test]
async fn a_call_whose_client_has_left_makes_it_forget_once_its_service_has_heard_of_it() {
    let never = Arc::new(Notify::new());
    let (told, asked) = (never.clone(), AtomicUsize::new(0));
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", move |_| ok(json!({ "pages": (asked.fetch_add(1, Ordering::SeqCst) + 1).to_string() })))
        .unary("Echo", move |book| ok(book.clone()).when(&told))
        .start()
        .await;
    let cache = "{ ttl: 1h, public: true, invalidated_by: [library.v1.Library/Echo] }";
    let gateway = cached(&library, cache).start().await;
    let path = "/library.v1.Library/Echo";
    for (at, dialect) in ["rest", "connect", "grpc", "grpc-web"].into_iter().enumerate() {
        let before = pages(&gateway, ("a", "b")).await;
        let (rest, connect) = (gateway.post("/v1/echo", &json!({})), gateway.post(path, &json!({})));
        let web = gateway.request("POST", path).header("content-type", "application/grpc-web+proto");
        let native = gateway.grpc("library.v1.Library/Echo");
        let leaves = tokio::spawn(async move {
            match dialect {
                "rest" => drop(rest.await),
                "connect" => drop(connect.header("connect-protocol-version", "1").await),
                "grpc" => drop(native.send(&[json!({})]).await),
                _ => drop(web.body(frame(&[])).await),
            }
        });
        until("it is asked", async || library.saw("Echo").calls().len() == at + 1).await;
        assert_eq!(pages(&gateway, ("a", "b")).await, before);
        leaves.abort();
        until(&format!("{dialect}: forgotten"), async || pages(&gateway, ("a", "b")).await != before).await;
    }
    // One that was never whole has changed nothing.
    let before = pages(&gateway, ("a", "b")).await;
    let (call, body) = gateway.request("POST", "/v1/echo").header("content-type", "application/json").streamed();
    body.send("{".into()).unwrap();
    let leaves = tokio::spawn(async move { drop(call.try_send().await) });
    until("it has come", async || gateway.metric("transom_in_flight") == 1.0).await;
    leaves.abort();
    until("it has left", async || gateway.metric("transom_in_flight") == 0.0).await;
    assert_eq!(pages(&gateway, ("a", "b")).await, before);
    library.saw("Echo").times(4);
}

#[tokio::test]
async fn a_call_makes_those_replies_forgotten_that_it_is_tied_to() {
    let library = counting().await;
    let cache = "{ ttl: 1h, public: true, invalidated_by: [
        { rpc: library.v1.Library/DeleteBook, fields: { name: name } },
        { rpc: library.v1.Library/UpdateBook, fields: { name: book.name } },
        { rpc: library.v1.Library/Echo } ] }";
    let gateway = cached(&library, cache).start().await;
    let ask = async |book: usize| gateway.get(&format!("/v1/shelves/1/books/{book}")).await.value()["pages"].clone();
    let (mut seven, eight) = (ask(7).await, ask(8).await);
    let mut others = async |what: &str| {
        let after = ask(7).await;
        assert_ne!(after, seven, "{what} forgets");
        assert_eq!(ask(8).await, eight, "{what} forgets no other");
        seven = after;
    };
    for speech in
        Speech::UNARY.into_iter().filter(|speech| !matches!(speech, Speech::ConnectGet | Speech::ConnectGetJson))
    {
        let message = [json!({ "name": "shelves/1/books/7" })];
        speech.call(2, "DeleteBook").send(&gateway, &message).await.ok(&[json!({})]);
        others(&format!("{speech:?}")).await;
        if speech.is_rpc() {
            let book = json!({ "name": "shelves/1/books/7", "title": "x" });
            speech.call(2, "UpdateBook").send(&gateway, &[json!({ "book": book })]).await.ok(&[book]);
            others(&format!("{speech:?}, a field of a field,")).await;
        }
    }
    gateway.request("PATCH", "/v1/shelves/1/books/7").json(&json!({ "title": "x" })).await.status(200);
    others("a part of the path").await;
    gateway.request("DELETE", "/v1/shelves/1/books/9").await.status(200);
    assert_eq!((ask(7).await, ask(8).await), (seven.clone(), eight.clone()));
    gateway.post("/v1/echo", &json!({})).await.status(200);
    assert!(ask(7).await != seven && ask(8).await != eight, "without fields all are forgotten");
}
