//! gRPC to gRPC: frames, metadata and trailers cross untouched, whatever streams.

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use serde_json::json;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;
use transom_transcode::status::Code;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::{Reply, ok, stream};
use crate::support::upstream::{self, Upstream};

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library")
        .unary("GetBook", |request| {
            ok(json!({ "name": request["name"] })).header("x-shelf", "7").trailer("x-cost", "3")
        })
        .unary("Echo", |book| ok(book.clone()))
        .server_stream("WatchBooks", |_| stream([json!({ "title": "A" }), json!({ "title": "B" })]))
        .client_stream("ImportBooks", |books| ok(json!({ "imported": books.len() })))
        .bidi("Discuss", |remark| vec![remark.clone(), remark.clone()])
        .start()
        .await
}

async fn start(library: &Upstream) -> Running {
    gateway().descriptors("library").expose_all().upstream("library", library).start().await
}

#[tokio::test]
async fn all_four_kinds_pass() {
    let library = library().await;
    let gateway = start(&library).await;
    let call = |method: &str| gateway.grpc(&format!("library.v1.Library/{method}"));

    let reply =
        call("GetBook").header("x-custom", "kept").header("data-bin", "AAEC").send(&[json!({ "name": "n" })]).await;
    reply.ok(&[json!({ "name": "n" })]);
    assert_eq!(reply.headers["x-shelf"], "7");
    assert!(reply.headers.contains_key("x-request-id"));
    assert_eq!(reply.trailers["x-cost"], "3");
    library.saw("GetBook").header("x-custom", "kept").header("data-bin", "AAEC").header("te", "trailers");

    call("WatchBooks").send(&[json!({})]).await.ok(&[json!({ "title": "A" }), json!({ "title": "B" })]);
    call("ImportBooks").send(&[json!({}), json!({}), json!({})]).await.ok(&[json!({ "imported": 3 })]);

    let mut discussion = call("Discuss").open().await;
    for text in ["one", "two"] {
        // Each answer comes before the next remark is sent.
        discussion.send(&json!({ "text": text }));
        assert_eq!(discussion.next().await, Some(json!({ "text": text })));
        assert_eq!(discussion.next().await, Some(json!({ "text": text })));
    }
    discussion.close();
    discussion.status().await.failed(Code::Ok);
    assert!(gateway.logged(4).await.iter().all(|line| line["dialect"] == "grpc" && line["code"] == "OK"));
}

/// `library.v1.Book`, as far as these tests need it.
#[derive(Clone, PartialEq, Message)]
struct Book {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    title: String,
}

#[tokio::test]
async fn tonic_is_a_client_like_any_other() {
    let library = library().await;
    let gateway = start(&library).await;
    let channel = Channel::from_shared(format!("http://{}", gateway.address())).unwrap().connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    let path = |method: &str| PathAndQuery::try_from(format!("/library.v1.Library/{method}")).unwrap();
    let book = Book { name: "n".to_owned(), title: "Dune".to_owned() };

    client.ready().await.unwrap();
    let codec = ProstCodec::<Book, Book>::default();
    let reply = client.unary(tonic::Request::new(book.clone()), path("Echo"), codec).await.unwrap();
    assert_eq!(reply.into_inner(), book);

    client.ready().await.unwrap();
    let codec = ProstCodec::<Book, Book>::default();
    let reply = client.server_streaming(tonic::Request::new(Book::default()), path("WatchBooks"), codec).await.unwrap();
    let mut messages = reply.into_inner();
    assert_eq!(messages.message().await.unwrap().unwrap().title, "A");
    assert_eq!(messages.message().await.unwrap().unwrap().title, "B");
    assert_eq!(messages.message().await.unwrap(), None);

    client.ready().await.unwrap();
    let codec = ProstCodec::<Book, ()>::default();
    let books = tokio_stream::iter([Book::default(), Book::default()]);
    client.client_streaming(tonic::Request::new(books), path("ImportBooks"), codec).await.unwrap();
    library.saw("ImportBooks").messages(&[json!({}), json!({})]);

    client.ready().await.unwrap();
    let codec = ProstCodec::<Book, Book>::default();
    let remarks = tokio_stream::iter([Book { name: "one".to_owned(), ..Book::default() }]);
    let reply = client.streaming(tonic::Request::new(remarks), path("Discuss"), codec).await.unwrap();
    let mut messages = reply.into_inner();
    assert_eq!(messages.message().await.unwrap().unwrap().name, "one");

    client.ready().await.unwrap();
    let codec = ProstCodec::<Book, Book>::default();
    let status = client.unary(tonic::Request::new(book), path("Nothing"), codec).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    assert!(!status.details().is_empty(), "the reason is among the details");
}

#[tokio::test]
async fn what_identifies_the_client_is_stripped_here_too() {
    let library = library().await;
    let gateway = start(&library).await;
    let names =
        ["x-user-id", "x_user_id", "x-user-key-bin", "cookie", "x-real-ip", "grpc-internal-secret", "forwarded"];
    let call = names.iter().fold(gateway.grpc("library.v1.Library/GetBook"), |call, name| call.header(name, "AAEC"));
    call.header("x-forwarded-for", "192.0.2.1")
        .header("user-agent", "grpc-test")
        .send(&[json!({})])
        .await
        .failed(Code::Ok);
    let saw = library.saw("GetBook");
    for name in names {
        saw.no_header(name);
    }
    saw.header("x-forwarded-for", "127.0.0.1").header("user-agent", "grpc-test");
}

#[tokio::test]
async fn frames_are_opaque() {
    let library = library().await;
    let gateway = start(&library).await;
    // A message in three pieces, with a field that no schema has.
    let mut call = gateway.grpc("library.v1.Library/ImportBooks").open().await;
    for piece in [&[0_u8, 0, 0][..], &[0, 4, 120], &[1, 120, 2]] {
        call.send_bytes(Bytes::copy_from_slice(piece));
    }
    call.close();
    assert_eq!(call.next().await, Some(json!({ "imported": 1 })));
}

#[tokio::test]
async fn a_message_over_the_limit_stops_its_stream() {
    let library = library().await;
    let gateway = gateway()
        .descriptors("library")
        .expose_all()
        .upstream_with("library", &[&library], "limits: { send: 100, receive: 100 }")
        .start()
        .await;
    let mut call = gateway.grpc("library.v1.Library/Discuss").open().await;
    call.send(&json!({ "text": "short" }));
    assert_eq!(call.next().await, Some(json!({ "text": "short" })));
    assert_eq!(call.next().await, Some(json!({ "text": "short" })));
    call.send(&json!({ "text": "x".repeat(200) }));
    let reply = call.status().await;
    reply.failed(Code::ResourceExhausted);
    assert!(reply.message.contains("100"), "{}", reply.message);
    library.cancelled("Discuss", 1).await;
    library.saw("Discuss").messages(&[json!({ "text": "short" })]);
    assert_eq!(gateway.logged(1).await[0]["reason"], "TOO_LARGE");
}

#[tokio::test]
async fn an_empty_stream_says_what_answers() {
    // As C-core says so: in trailers alone.
    let library = upstream::grpc("library.v1.Library")
        .server_stream("WatchBooks", |_| stream([]).header("x-shelf", "7"))
        .start()
        .await;
    let gateway = start(&library).await;
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let call = gateway.grpc("library.v1.Library/WatchBooks").header("content-type", content_type);
        let reply = call.send(&[json!({})]).await;
        reply.ok(&[]);
        assert_eq!(reply.headers["content-type"], "application/grpc", "clients look for it");
    }
}

#[tokio::test]
async fn a_status_that_comes_early_costs_no_message() {
    for trailers in [true, false] {
        let late = move |reply: Reply| if trailers { reply } else { reply.then_no_trailers() };
        let library = upstream::grpc("library.v1.Library")
            .unary("GetBook", move |_| late(ok(json!({ "name": "n" })).header("grpc-status", "0")))
            .server_stream("WatchBooks", move |_| late(ok(json!({ "title": "A" })).header("grpc-status", "0")))
            .start()
            .await;
        let gateway = start(&library).await;
        let reply = gateway.grpc("library.v1.Library/WatchBooks").send(&[json!({})]).await;
        reply.ok(&[json!({ "title": "A" })]);
        assert!(!reply.headers.contains_key("grpc-status"), "{reply:?}");
        gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await.ok(&[json!({ "name": "n" })]);
        gateway.get("/v1/shelves/1/books/7").await.status(200).json(&json!({ "name": "n" }));
    }
}

#[tokio::test]
async fn metadata_of_an_error_passes() {
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", |_| {
            crate::support::reply::fail(Code::NotFound, "no such book: ü%").trailer("x-hint", "elsewhere")
        })
        .start()
        .await;
    let gateway = start(&library).await;
    let reply = gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await;
    reply.failed(Code::NotFound);
    assert_eq!(reply.message, "no such book: ü%");
    assert_eq!(reply.trailers["x-hint"], "elsewhere");
}
