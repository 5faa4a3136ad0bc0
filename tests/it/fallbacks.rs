//! Fallbacks: what is answered in place of a service that cannot be asked.

use serde_json::json;
use transom_transcode::status::Code;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::{fail, hang, ok, raw};
use crate::support::upstream;

const BOOK: &str = "/v1/shelves/1/books/7";
const GET_BOOK: &str = "library.v1.Library/GetBook";

async fn start(fallback: &str) -> Running {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let config = format!("methods: {{ \"{GET_BOOK}\": {{ fallback: {fallback} }} }}");
    let gateway = gateway().descriptors("library").config(&config);
    gateway.upstream_at("library", "library.v1.Library", &[gone], "").start().await
}

#[tokio::test]
async fn an_error_of_ones_own_for_rest_and_unavailable_for_the_others() {
    let gateway = start(r#"{ json: { error: "Service temporarily unavailable" } }"#).await;
    let reply = gateway.get(BOOK).await;
    reply.status(503).json(&json!({ "error": "Service temporarily unavailable" }));
    reply.header("content-type", "application/json");
    gateway.grpc(GET_BOOK).send(&[json!({})]).await.failed(Code::Unavailable);
    let call = gateway.request("POST", &format!("/{GET_BOOK}")).header("content-type", "application/json");
    call.body("{}").await.status(503);
    for line in gateway.logged(3).await {
        assert_eq!(line["code"], "UNAVAILABLE", "{line}");
    }
}

#[tokio::test]
async fn a_message_answers_every_dialect() {
    let gateway = start(r#"{ status: 200, json: '{"title":"unknown"}' }"#).await;
    let book = json!({ "title": "unknown" });
    gateway.get(BOOK).await.status(200).json(&book);
    gateway.grpc(GET_BOOK).send(&[json!({})]).await.ok(std::slice::from_ref(&book));
    let ask = |content_type: &str, body: Vec<u8>| {
        gateway.request("POST", &format!("/{GET_BOOK}")).header("content-type", content_type).body(body)
    };
    ask("application/json", b"{}".to_vec()).await.status(200).json(&book);
    let proto = ask("application/proto", vec![]).await;
    let bytes = proto.status(200).body.clone();
    let web = ask("application/grpc-web+proto", vec![0; 5]).await;
    let frame = [&[0, 0, 0, 0, u8::try_from(bytes.len()).unwrap()], &*bytes].concat();
    assert!(web.status(200).body.starts_with(&frame), "{:?}", web.body);
    assert!(String::from_utf8_lossy(&web.body[frame.len()..]).contains("grpc-status: 0"));
    let web = ask("application/grpc-web+json", [&[0, 0, 0, 0, 2], &b"{}"[..]].concat()).await;
    assert!(String::from_utf8_lossy(&web.body).contains(r#""title":"unknown""#), "{:?}", web.body);
    // The log knows better, in every dialect.
    for line in gateway.logged(6).await {
        assert_eq!(line["code"], "UNAVAILABLE", "{line}");
        assert!(line["reason"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn only_an_absent_service_is_stood_in_for() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |book| match book["name"].as_str() {
        Some("shelves/1/books/1") => fail(Code::Unavailable, ""),
        Some("shelves/1/books/2") => fail(Code::NotFound, "none"),
        Some("shelves/1/books/4") => fail(Code::Internal, "a fault of its own"),
        Some("shelves/1/books/5") => hang(),
        Some("shelves/1/books/6") => raw(200, "text/html", b"<p>sorry</p>"),
        Some("shelves/1/books/7") => fail(Code::DeadlineExceeded, "late"),
        _ => ok(json!({ "title": "Dune" })),
    });
    let library = library.start().await;
    let config = format!("methods: {{ \"{GET_BOOK}\": {{ fallback: {{ json: [sorry] }} }} }}");
    let gateway = gateway().descriptors("library").config(&config);
    let gateway = gateway.upstream_with("library", &[&library], "timeout: 300ms").start().await;
    // It says so itself, hangs, speaks something else, or is late.
    for book in [1, 5, 6, 7] {
        gateway.get(&format!("/v1/shelves/1/books/{book}")).await.status(503).json(&json!(["sorry"]));
    }
    gateway.get("/v1/shelves/1/books/2").await.status(404);
    gateway.get("/v1/shelves/1/books/4").await.status(500);
    gateway.get("/v1/shelves/1/books/3").await.status(200);
}

#[tokio::test]
async fn a_method_that_streams_has_none() {
    let config = "methods: { \"library.v1.Library/WatchBooks\": { fallback: { json: {} } } }";
    let gateway = gateway().descriptors("library").config(config);
    let gateway = gateway.upstream_at("library", "library.v1.Library", &["127.0.0.1:1".to_owned()], "");
    let problems = gateway.compile(&transom::telemetry::Metrics::new()).err().map(|problems| format!("{problems:?}"));
    assert!(problems.as_ref().is_some_and(|problems| problems.contains("streams nothing")), "{problems:?}");
}
