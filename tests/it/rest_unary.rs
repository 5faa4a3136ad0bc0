//! REST: one request, one message, one JSON answer.

use http::StatusCode;
use serde_json::json;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::{ok, stream};
use crate::support::upstream::{self, Upstream};

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library")
        .unary("GetBook", |request| ok(json!({ "name": request["name"], "title": "Dune", "genre": "NOVEL" })))
        .unary("ListBooks", |request| ok(json!({ "next_page_token": request["filter"] })))
        .unary("CreateBook", |request| ok(request["book"].clone()).header("x-http-code", "201"))
        .unary("UpdateBook", |request| ok(request["book"].clone()))
        .unary("DeleteBook", |_| ok(json!({})))
        .unary("Echo", |book| ok(book.clone()))
        .start()
        .await
}

async fn start(library: &Upstream) -> Running {
    gateway().descriptors("library").upstream("library", library).start().await
}

#[tokio::test]
async fn rest_get_becomes_a_unary_call() {
    let library = library().await;
    let gateway = start(&library).await;

    let reply = gateway.get("/v1/shelves/1/books/7").await;

    reply.status(200).json(&json!({ "name": "shelves/1/books/7", "title": "Dune", "genre": "NOVEL" }));
    library
        .saw("GetBook")
        .times(1)
        .message(&json!({ "name": "shelves/1/books/7" }))
        .header("x-forwarded-proto", "http");
}

#[tokio::test]
async fn rest_works_over_http2_too() {
    let library = library().await;
    let gateway = start(&library).await;
    let book = json!({ "title": "Dune" });
    gateway.post("/v1/shelves/1/books", &book).http2().await.status(201).json(&book);
}

#[tokio::test]
async fn body_path_and_query_become_one_message() {
    let library = library().await;
    let gateway = start(&library).await;
    gateway.post("/v1/shelves/1/books?book_id=7", &json!({ "title": "Dune" })).await.status(201);
    library.saw("CreateBook").message(&json!({ "parent": "shelves/1", "book_id": "7", "book": { "title": "Dune" } }));

    gateway.get("/v1/shelves/1/books?pageSize=3&filter=a%20b&genres=NOVEL&genres=2").await.status(200);
    library
        .saw("ListBooks")
        .message(&json!({ "parent": "shelves/1", "page_size": 3, "filter": "a b", "genres": ["NOVEL", "ESSAY"] }));
}

#[tokio::test]
async fn x_http_code_sets_a_success_and_nothing_else() {
    let answered = async |code: &'static str| {
        let library = upstream::grpc("library.v1.Library")
            .unary("GetBook", move |_| ok(json!({ "title": "Dune" })).header("x-http-code", code))
            .start()
            .await;
        let gateway = start(&library).await;
        let reply = gateway.get("/v1/shelves/1/books/7").await;
        reply.no_header("x-http-code");
        (reply.status, reply.text())
    };
    let body = "{\"title\":\"Dune\"}".to_owned();
    assert_eq!(answered("202").await, (StatusCode::ACCEPTED, body.clone()));
    assert_eq!(answered("204").await, (StatusCode::NO_CONTENT, String::new()));
    for refused in ["199", "302", "404", "500", "99", "2000", "abc"] {
        assert_eq!(answered(refused).await, (StatusCode::OK, body.clone()), "{refused}");
    }
}

#[tokio::test]
async fn content_types_that_are_json_are_read() {
    let library = library().await;
    let gateway = start(&library).await;
    let send = async |content_type: Option<&str>, body: &'static str| {
        let call = gateway.request("POST", "/v1/echo").body(body);
        match content_type {
            Some(content_type) => call.header("content-type", content_type).await,
            None => call.await,
        }
    };
    send(Some("application/json"), "{}").await.status(200);
    send(Some("application/json; charset=utf-8"), "{}").await.status(200);
    send(None, "").await.status(200);
    for suffixed in
        ["application/merge-patch+json", "application/CloudEvents+JSON; charset=UTF-8", "application/vnd.a.b-c+json"]
    {
        send(Some(suffixed), "{}").await.status(200);
    }
    for (content_type, body) in [
        (None, "{}"),
        (Some("text/plain"), "{}"),
        (Some("application/xml"), "<a/>"),
        (Some("application/json-patch+json"), "[]"),
        (Some("application/scim+json; charset=utf-16"), "{}"),
        (Some("text/vnd.a+json"), "{}"),
    ] {
        send(content_type, body).await.status(415).reason("UNSUPPORTED_MEDIA_TYPE");
    }
    let deflate = gateway.post("/v1/echo", &json!({})).header("content-encoding", "deflate");
    deflate.await.status(415).reason("UNSUPPORTED_ENCODING");
    library.saw("Echo").times(6);
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let library = library().await;
    let gateway = start(&library).await;
    let get = gateway.get("/v1/shelves/1/books/7").await;
    let head = gateway.request("HEAD", "/v1/shelves/1/books/7").await;
    head.status(200).header("content-length", &get.body.len().to_string()).header("content-type", "application/json");
    assert_eq!(head.body.len(), 0);
    gateway.logged(2).await.iter().for_each(|line| assert_eq!(line["status"], 200, "{line}"));
}

#[tokio::test]
async fn alt_asks_for_enums_as_numbers() {
    let library = library().await;
    let gateway = start(&library).await;
    let reply = gateway.get("/v1/shelves/1/books/7?$alt=json;enum-encoding=int").await;
    assert_eq!(reply.status(200).value()["genre"], 1);
}

#[tokio::test]
async fn output_options_of_the_method_apply() {
    let library = library().await;
    let gateway = gateway()
        .descriptors("library")
        .upstream("library", &library)
        .config("methods: { library.v1.Library/Echo: { output: { emit_defaults: true, proto_names: true } } }")
        .start()
        .await;
    let reply = gateway.post("/v1/echo", &json!({ "title": "Dune" })).await;
    let book = reply.status(200).value();
    assert_eq!(
        (&book["pages"], &book["genre"], &book["authors"]),
        (&json!("0"), &json!("GENRE_UNSPECIFIED"), &json!([]))
    );
}

#[tokio::test]
async fn unknown_fields_are_refused_unless_the_method_says_otherwise() {
    let library = library().await;
    let strict = start(&library).await;
    let reply = strict.post("/v1/echo", &json!({ "titel": "Dune" })).await;
    reply.status(400).reason("BAD_REQUEST");
    assert!(reply.text().contains("titel"), "{}", reply.text());
    let lax = gateway()
        .descriptors("library")
        .upstream("library", &library)
        .config("methods: { library.v1.Library/*: { unknown_fields: ignore } }")
        .start()
        .await;
    lax.post("/v1/echo", &json!({ "titel": "Dune", "pages": 3 })).await.status(200).json(&json!({ "pages": "3" }));
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let library = library().await;
    let gateway = start(&library).await;
    let mut connection = gateway.connect().await;
    for id in 0..20 {
        let path = format!("/v1/shelves/1/books/{id}");
        let reply = connection.send("GET", &path).await.unwrap();
        assert_eq!(reply.status(200).value()["name"], path[4..]);
    }
    assert!(library.connections() <= 2, "upstream connections are kept");
}

#[tokio::test]
async fn a_built_in_endpoint_is_asked_on_the_same_port() {
    let library = library().await;
    let gateway = start(&library).await;
    let reply = gateway.get("/health").header("x-request-id", "mine").await;
    reply.status(200).header("x-request-id", "mine");
    assert_eq!(reply.value()["status"], "healthy");
}

#[tokio::test]
async fn one_line_is_logged_per_call() {
    let library = library().await;
    let gateway = start(&library).await;
    let reply = gateway.get("/v1/shelves/1/books/7?access_token=secret").header("x-request-id", "r1").await;
    // The query key is no field.
    reply.status(400);
    let reply = gateway.post("/v1/echo", &json!({ "title": "Dune" })).header("x-request-id", "r2").await;
    reply.status(200);
    let lines = gateway.logged(2).await;
    assert!(!lines.iter().any(|line| line.to_string().contains("secret")), "{lines:?}");
    let line = &lines[1];
    for (key, value) in [
        ("request_id", json!("r2")),
        ("client", json!("127.0.0.1")),
        ("method", json!("POST")),
        ("path", json!("/v1/echo")),
        ("route", json!("/v1/echo")),
        ("rpc", json!("library.v1.Library/Echo")),
        ("dialect", json!("rest")),
        ("status", json!(200)),
        ("code", json!("OK")),
        ("bytes_in", json!(16)),
        ("bytes_out", json!(16)),
    ] {
        assert_eq!(line[key], value, "{key} of {line}");
    }
    let metrics = gateway.state.metrics.encode();
    assert!(metrics.contains("transom_in_flight 0"), "{metrics}");
    let counted = metrics.lines().find(|line| line.starts_with("transom_requests_total") && line.contains("/v1/echo"));
    assert!(counted.is_some_and(|line| line.contains("code=\"OK\"") && line.ends_with(" 1")), "{metrics}");
}

#[tokio::test]
async fn an_empty_stream_of_a_unary_method_is_an_error() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| stream([])).start().await;
    let gateway = start(&library).await;
    gateway.get("/v1/shelves/1/books/7").await.status(502).reason("UPSTREAM_PROTOCOL");
}
