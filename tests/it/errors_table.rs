//! Errors: every row of the table over REST and gRPC, each as its client expects it.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use transom_transcode::status::Code;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::{Reply, fail, hang, ok, raw, stream};
use crate::support::upstream::{self, Upstream};
use crate::support::{soon, until};

const BOOK: &str = "/v1/shelves/1/books/7";

async fn library(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Upstream {
    upstream::grpc("library.v1.Library")
        .unary("GetBook", move |_| reply())
        .unary("Echo", |book| ok(book.clone()))
        .start()
        .await
}

async fn start(library: &Upstream) -> Running {
    gateway()
        .descriptors("library")
        .upstream_with("library", &[library], "timeout: 300ms, limits: { receive: 1KiB, send: 2KiB }")
        .start()
        .await
}

/// The same failure in both dialects.
async fn both(reply: impl Fn() -> Reply + Send + Sync + 'static, http: u16, code: Code, reason: &str) {
    let library = library(reply).await;
    let gateway = start(&library).await;
    let rest = gateway.get(BOOK).await;
    rest.status(http).reason(reason).header("content-type", "application/json");
    assert_eq!(rest.value()["code"], code.number());
    let grpc = gateway.grpc("library.v1.Library/GetBook").send(&[json!({ "name": "n" })]).await;
    grpc.failed(code);
    for line in gateway.logged(2).await {
        assert_eq!((&line["code"], &line["reason"]), (&json!(code.name()), &json!(reason)), "{line}");
    }
}

#[tokio::test]
async fn no_route() {
    let library = library(|| ok(json!({}))).await;
    let gateway = start(&library).await;
    let reply = gateway.get("/v1/nowhere").await;
    reply.status(404).reason("NO_ROUTE");
    assert_eq!(reply.value()["code"], 5);
    for path in ["/", "/v1/shelves/1/books/7/", "/v1/shelves//books/7", "*"] {
        gateway.get(path).await.status(404).reason("NO_ROUTE");
    }
    // Not exposed: it has no rule, and `methods` does not name it.
    let hidden = gateway.grpc("library.v1.Library/ImportBooks").send(&[json!({})]).await;
    hidden.failed(Code::Unimplemented);
    assert_eq!(hidden.headers["content-type"], "application/grpc");
    assert!(!hidden.trailers.contains_key("trailer"));
}

#[tokio::test]
async fn method_not_allowed() {
    let library = library(|| ok(json!({}))).await;
    let gateway = start(&library).await;
    let reply = gateway.request("PUT", BOOK).await;
    reply.status(405).reason("METHOD_NOT_ALLOWED").header("allow", "DELETE, GET, HEAD, PATCH");
    assert_eq!(reply.value()["code"], 12);
    gateway.get("/v1/echo").await.status(405).header("allow", "POST");
}

#[tokio::test]
async fn bad_requests_name_the_field_and_the_way_out() {
    let library = library(|| ok(json!({}))).await;
    let gateway = start(&library).await;
    let bad = async |body: &str| {
        let call = gateway.request("POST", "/v1/echo").header("content-type", "application/json");
        let reply = call.body(body.to_owned()).await;
        reply.status(400).reason("BAD_REQUEST");
        let violation = reply.value()["details"][1].clone();
        assert_eq!(violation["@type"], "type.googleapis.com/google.rpc.BadRequest");
        violation["fieldViolations"][0].clone()
    };
    assert_eq!(bad(r#"{"place": {"shelf": "x"}}"#).await["field"], "place.shelf");
    assert_eq!(bad(r#"{"pages": 1.5}"#).await["field"], "pages");
    let cut = bad(r#"{"title": "Du"#).await;
    assert!(cut["description"].as_str().unwrap().contains("at byte"), "{cut}");
    bad(&format!("{}{}", r#"{"place": {"behind": "#, "[".repeat(200))).await;
    let deep = format!("{{\"place\":{}{}}}", "{\"behind\":".repeat(60), "{}".to_owned() + &"}".repeat(60));
    gateway.request("POST", "/v1/echo").header("content-type", "application/json").body(deep).await.status(200);
    let deep = format!("{{\"place\":{}{}}}", "{\"behind\":".repeat(120), "{}".to_owned() + &"}".repeat(120));
    let call = gateway.request("POST", "/v1/echo").header("content-type", "application/json");
    call.body(deep).await.status(400).reason("TOO_DEEP");
    gateway.get("/v1/shelves/%zz/books/7").await.status(400).reason("BAD_REQUEST");
    gateway.get(&format!("{BOOK}?nonsense=1")).await.status(400).reason("BAD_REQUEST");
    gateway.get(BOOK).header("content-type", "application/json").body("{}").await.status(400).reason("BAD_REQUEST");
    gateway.get(BOOK).header("x-request-timeout", "soon").await.status(400).reason("BAD_REQUEST");
    let grpc = gateway.grpc("library.v1.Library/GetBook").header("grpc-timeout", "1").send(&[json!({})]).await;
    grpc.failed(Code::InvalidArgument);
    assert!(grpc.trailers.contains_key("grpc-status-details-bin"));
    library.saw("Echo").times(1);
    library.saw("GetBook").times(0);
}

#[tokio::test]
async fn unsupported_media() {
    let library = library(|| ok(json!({}))).await;
    let gateway = start(&library).await;
    // An RPC's own path, in dialects that are not spoken: gRPC needs HTTP/2, a unary method is no stream.
    for content_type in ["text/plain", "application/connect+thrift", "application/connect+json", "application/grpc"] {
        let call = gateway.request("POST", "/library.v1.Library/GetBook").header("content-type", content_type);
        let reply = call.body("{}").await;
        reply.status(415);
        assert!(reply.headers["accept-post"].to_str().unwrap().starts_with("application/json, "));
        assert!(reply.text().contains("invalid_argument"), "{}", reply.text());
    }
    let health = gateway.request("POST", "/grpc.health.v1.Health/Check").header("content-type", "application/json");
    health.body("{}").await.status(415).header("accept-post", "application/grpc");
    // Without a type it is told what to send; by GET, how to.
    let reply = gateway.request("POST", "/library.v1.Library/GetBook").await;
    reply.status(415);
    assert!(reply.text().contains("content-type: application/json"), "{}", reply.text());
    // The method is wrong before the type is; what has no side effects may be called by GET, with Connect's query.
    for (path, allow) in [("/library.v1.Library/GetBook", "GET, POST"), ("/library.v1.Library/Echo", "POST")] {
        for content_type in ["application/json", "text/plain", "application/proto"] {
            let call = gateway.request("PUT", path).header("content-type", content_type);
            call.body("{}").await.status(405).header("allow", allow);
        }
    }
    gateway.get("/library.v1.Library/Echo").await.status(405).header("allow", "POST");
    let reply = gateway.get("/library.v1.Library/GetBook").await;
    assert!(reply.status(400).text().contains("encoding=json"), "{}", reply.text());
}

#[tokio::test]
async fn too_large_names_the_limit() {
    let library = library(|| ok(json!({}))).await;
    let gateway = start(&library).await;
    let long = json!({ "title": "x".repeat(2100) });
    let reply = gateway.post("/v1/echo", &long).await;
    reply.status(413).reason("TOO_LARGE");
    assert!(reply.text().contains("2048"), "{}", reply.text());
    // Chunked, so that no length says it beforehand.
    let mut raw = gateway.raw().await;
    raw.write(
        "POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await;
    for _ in 0..5 {
        raw.write(format!("200\r\n{}\r\n", " ".repeat(512))).await;
    }
    assert!(raw.read_until("TOO_LARGE").await.starts_with("HTTP/1.1 413"));
    // A length alone is enough; the body need not come.
    let mut raw = gateway.raw().await;
    raw.write(
        "POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n",
    )
    .await;
    assert!(raw.read_until("TOO_LARGE").await.starts_with("HTTP/1.1 413"));

    let grpc = gateway.grpc("library.v1.Library/Echo").send(&[long]).await;
    grpc.failed(Code::ResourceExhausted);
    assert!(grpc.message.contains("2048"), "{}", grpc.message);

    gateway.request("POST", "/v1/echo").header("content-type", "text/csv").body("a").await.status(415);
    gateway.request("POST", "/v1/echo").header("content-type", "application/json").body("{").await.status(400);
    let refused = |reason| gateway.metric(&format!("transom_refusals_total{{gate=\"request\",reason=\"{reason}\"}}"));
    let reasons = ["TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "BAD_REQUEST"];
    assert_eq!(reasons.map(refused), [4.0, 1.0, 1.0]);
}

#[tokio::test]
async fn an_answer_before_the_bodys_end_reaches_a_client_that_reads_only_after_it() {
    let library = library(|| ok(json!({}))).await;
    let gateway = start(&library).await;
    let long = vec![b' '; 40_000_000];
    for (path, status) in [("/v1/echo", "413"), ("/v1/nowhere", "404")] {
        for _ in 0..3 {
            let mut client = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                long.len()
            );
            client.write_all(head.as_bytes()).await.unwrap();
            soon("room for all of it", client.write_all(&long)).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = String::new();
            soon("the end", client.read_to_string(&mut answer)).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_message_may_be_too_large_where_its_body_is_not() {
    let library = library(|| ok(json!({}))).await;
    let gateway = gateway()
        .descriptors("library")
        .upstream_with("library", &[&library], "limits: { send: 2KiB }")
        .config("methods: { library.v1.Library/Echo: { limits: { body: 8KiB } } }")
        .start()
        .await;
    let reply = gateway.post("/v1/echo", &json!({ "title": "x".repeat(2100) })).await;
    reply.status(413).reason("TOO_LARGE");
    assert!(reply.text().contains("in protobuf than the limit of 2048"), "{}", reply.text());
}

#[tokio::test]
async fn a_chunk_that_is_none_is_the_clients_fault() {
    let library = library(|| ok(json!({}))).await;
    let gateway = start(&library).await;
    for chunk in ["zz\r\n{}\r\n", "ffffffffffffffffff\r\n{}\r\n"] {
        let mut raw = gateway.raw().await;
        let head = "POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked";
        raw.write(format!("{head}\r\n\r\n{chunk}")).await;
        let answer = raw.read_until("BAD_REQUEST").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

#[tokio::test]
async fn response_too_large() {
    let long = || ok(json!({ "title": "x".repeat(1100) }));
    both(long, 502, Code::ResourceExhausted, "RESPONSE_TOO_LARGE").await;
}

#[tokio::test]
async fn no_endpoint() {
    let library = library(|| ok(json!({}))).await;
    let gateway = start(&library).await;
    library.stop().await;
    // The first call may be the one that finds that out.
    until("it is known to be down", async || gateway.get(BOOK).await.status == 503).await;
    let reply = gateway.get(BOOK).await;
    reply.status(503).reason("NO_ENDPOINT");
    assert_eq!(reply.value()["code"], 14);
    assert!(!reply.text().contains("127.0.0.1"), "addresses are for the log: {}", reply.text());
    let grpc = gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await;
    grpc.failed(Code::Unavailable);
    assert_eq!(grpc.message, reply.value()["message"]);
}

#[tokio::test]
async fn upstream_reset() {
    both(|| stream([]).then_bytes(&[0, 0, 0]).then_reset(), 502, Code::Unavailable, "UPSTREAM_RESET").await;
}

#[tokio::test]
async fn upstream_that_answers_garbage() {
    // What a pass-through cannot see is the client's to judge; REST judges here.
    for (garbage, cause) in [
        (raw(200, "text/html", b"<p>hello</p>"), ""),
        (raw(200, "application/grpc", b"\x00\x00\x00\x00\x02\xff\xff"), ""),
        (stream([]).then_no_trailers(), ""),
        // A field cut short, under a status of OK.
        (stream([]).then_bytes(&[0, 0, 0, 0, 2, 10, 200]), "the reply's "),
        // Text that is none: which field it is.
        (stream([]).then_bytes(&[0, 0, 0, 0, 3, 18, 1, 0xff]), "the reply's title: "),
        // A compressed message that nobody asked for.
        (stream([]).then_bytes(&[1, 0, 0, 0, 0]), "a message that is not compressed"),
        // Two messages.
        (stream([json!({}), json!({})]), ""),
    ] {
        let library = library(move || garbage.clone()).await;
        let gateway = start(&library).await;
        let reply = gateway.get(BOOK).await;
        reply.status(502).reason("UPSTREAM_PROTOCOL");
        assert_eq!(reply.value()["message"], "the service's answer could not be understood", "the log alone says why");
        let line = &gateway.logged(1).await[0];
        assert!(line["cause"].as_str().is_some_and(|told| !told.is_empty() && told.starts_with(cause)), "{line}");
    }
    let library = library(|| raw(503, "text/html", b"busy")).await;
    let gateway = start(&library).await;
    let reply = gateway.get(BOOK).await;
    assert_eq!(reply.status(503).value()["code"], 14);
}

#[tokio::test]
async fn deadline() {
    both(hang, 504, Code::DeadlineExceeded, "DEADLINE").await;
}

#[tokio::test]
async fn a_client_may_shorten_the_deadline_and_never_lengthen_it() {
    let library = library(hang).await;
    let gateway = start(&library).await;
    let timeout = |saw: &crate::support::saw::SeenCall| {
        let text = saw.headers["grpc-timeout"].to_str().unwrap();
        transom_transcode::frame::timeout::parse(text).unwrap()
    };
    gateway.get(BOOK).header("x-request-timeout", "0.05").await.status(504);
    assert!(timeout(library.saw("GetBook").last()) <= Duration::from_millis(51));
    gateway.get(BOOK).header("x-request-timeout", "60").await.status(504);
    assert!(timeout(library.saw("GetBook").last()) <= Duration::from_millis(301));
    let call = gateway.grpc("library.v1.Library/GetBook").header("grpc-timeout", "50m");
    call.send(&[json!({})]).await.failed(Code::DeadlineExceeded);
    assert!(timeout(library.saw("GetBook").last()) <= Duration::from_millis(51));
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_call() {
    let library = library(hang).await;
    let gateway = gateway().descriptors("library").upstream("library", &library).start().await;
    let mut raw = gateway.raw().await;
    raw.write(format!("GET {BOOK} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    library.called("GetBook", 1).await;
    drop(raw);
    library.cancelled("GetBook", 1).await;
    let line = &gateway.logged(1).await[0];
    let told = (&line["status"], &line["code"], &line["reason"]);
    assert_eq!(told, (&json!(499), &json!("CANCELLED"), &json!("CLIENT_GONE")));

    let mut open = gateway.grpc("library.v1.Library/GetBook").open().await;
    open.send(&json!({}));
    library.called("GetBook", 2).await;
    drop(open);
    library.cancelled("GetBook", 2).await;
    assert_eq!(gateway.logged(2).await[1]["reason"], "CLIENT_GONE");
}

#[tokio::test]
async fn an_upstream_status_passes_with_its_details() {
    // google.rpc.Status { code: 9, message: "m", details: [Any { known type }, Any { unknown type }] }
    let known = any("type.googleapis.com/library.v1.GetBookRequest", &[10, 1, b'x']);
    let unknown = any("type.example.com/acme.Unknown", &[8, 1]);
    // One of the standard ones, which the library imports nowhere.
    let standard = any("type.googleapis.com/google.rpc.ErrorInfo", &[10, 1, b'r']);
    let status = [&[8, 9, 18, 1, b'm'][..], &nested(3, &known), &nested(3, &unknown), &nested(3, &standard)].concat();
    let details = base64(&status);
    let told = details.clone();
    let library =
        library(move || fail(Code::FailedPrecondition, "m\u{e4}h 100%").trailer("grpc-status-details-bin", &told))
            .await;
    let gateway = start(&library).await;
    gateway.get(BOOK).await.status(400).json(&json!({
        "code": 9,
        "message": "m\u{e4}h 100%",
        "details": [
            { "@type": "type.googleapis.com/library.v1.GetBookRequest", "name": "x" },
            { "@type": "type.example.com/acme.Unknown", "value": "CAE=" },
            { "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "r" },
        ]
    }));
    let grpc = gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await;
    grpc.failed(Code::FailedPrecondition);
    assert_eq!(grpc.message, "m\u{e4}h 100%");
    let sent = grpc.trailers["grpc-status-details-bin"].to_str().unwrap();
    for part in [&known, &unknown, &standard] {
        let bytes = unbase64(sent);
        assert!(bytes.windows(part.len()).any(|window| window == &part[..]), "{sent}");
    }
    // The upstream's own errors have no reason of ours.
    assert!(gateway.logged(2).await.iter().all(|line| line["reason"] == Value::Null));
}

#[tokio::test]
async fn every_code_has_its_http_status() {
    for (code, http) in
        Code::ALL.iter().skip(1).zip([499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401])
    {
        let library = library({
            let code = *code;
            move || fail(code, "told")
        })
        .await;
        let gateway = start(&library).await;
        let reply = gateway.get(BOOK).await;
        reply.status(http).json(&json!({ "code": code.number(), "message": "told" }));
    }
}

fn any(type_url: &str, value: &[u8]) -> Vec<u8> {
    [nested(1, type_url.as_bytes()), nested(2, value)].concat()
}

fn nested(field: u8, bytes: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes)
}

fn unbase64(text: &str) -> Bytes {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.decode(text.trim_end_matches('=')).unwrap().into()
}
