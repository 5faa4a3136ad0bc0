//! Bounds of requests that configuration sets: how many headers, how deep, of which type.

use h2::RecvStream;
use http::Request;
use serde_json::json;
use transom::config::parse;
use transom_transcode::status::Code;

use crate::support::bare::{Bare, served};
use crate::support::gateway::gateway;
use crate::support::library::library;
use crate::support::reply::ok;
use crate::support::speak::Speech;
use crate::support::{until, upstream};

const BOOK: &str = "shelves/1/books/7";

#[tokio::test]
async fn too_many_headers_are_refused_in_each_dialect() {
    let library = library().await;
    let config = "clients: { headers: 20 }";
    let gateway = gateway().descriptors("library").upstream("library", &library).config(config).start().await;
    let mut good = 0;
    for speech in Speech::UNARY {
        for &version in speech.versions() {
            println!("{speech:?} over HTTP/{version}");
            let with = |count: usize| {
                (0..count).fold(speech.call(version, "GetBook"), |call, at| call.header(&format!("x-more-{at}"), ""))
            };
            let refused = with(21).send(&gateway, &[json!({ "name": BOOK })]).await;
            refused.failed(Code::ResourceExhausted);
            assert_eq!(refused.message, "the request has more than 20 headers");
            assert_eq!(refused.http, if matches!(speech.name(), "rest" | "connect") { 431 } else { 200 });
            library.saw("GetBook").times(good);
            with(10).send(&gateway, &[json!({ "name": BOOK })]).await.failed(Code::Ok);
            good += 1;
        }
    }
    // The same header so often is as many.
    let many = (0..21).fold(gateway.request("GET", "/livez"), |call, _| call.header("x-more", "a"));
    many.http2().await.status(431).reason("TOO_MANY_HEADERS");
}

#[tokio::test]
async fn a_request_that_does_not_come_in_time_is_its_clients_fault() {
    let library = library().await;
    let gateway = gateway().descriptors("library").expose_all().upstream("library", &library).start().await;
    for (path, content_type, more, status, said) in [
        ("/v1/echo", "application/json", "x-request-timeout: 0.2", "408 Request Timeout", "REQUEST_TIMEOUT"),
        (
            "/library.v1.Library/Echo",
            "application/json",
            "connect-protocol-version: 1\r\nconnect-timeout-ms: 200",
            "504 Gateway Timeout",
            "deadline_exceeded",
        ),
    ] {
        let mut raw = gateway.raw().await;
        raw.write(format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\n{more}\r\ncontent-type: {content_type}\r\ncontent-length: 100\r\n\r\n{{"
        ))
        .await;
        let answer = raw.read_until(said).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
    }
    let refused = "transom_refusals_total{gate=\"request\",reason=\"REQUEST_TIMEOUT\"}";
    until("both are counted", async || gateway.metric(refused) == 2.0).await;
    library.saw("Echo").times(0);
}

#[tokio::test]
async fn more_headers_than_usual_can_be_let_in() {
    for (config, let_in) in [("", 90), ("clients: { headers: 300 }", 290)] {
        let gateway = gateway().config(config).start().await;
        let with =
            |count: usize| (0..count).fold(gateway.request("GET", "/livez"), |call, _| call.header("x-more", "a"));
        with(let_in).await.status(200);
        with(let_in).http2().await.status(200);
        for more in [with(let_in + 20), with(let_in + 20).http2(), with(2 * let_in - 20)] {
            let refused = more.header("x-request-id", "many").await;
            refused.status(431).reason("TOO_MANY_HEADERS").header("x-request-id", "many");
        }
        // Nobody means so many.
        with(3 * let_in).await.status(431);
        let lines = gateway.logged(5).await;
        assert_eq!(lines.iter().filter(|line| line["reason"] == "TOO_MANY_HEADERS").count(), 3, "{lines:?}");
    }
}

#[tokio::test]
async fn json_may_nest_as_deep_as_configured_in_each_dialect() {
    let library = library().await;
    let config = "schema: { descriptor_sets: [in-memory], expose: all, http_rules: [
        { selector: library.v1.Library.ImportBooks, post: \"/v1/books:import\", body: \"*\" }] }
methods: { library.v1.Library/*: { limits: { depth: 4 } } }";
    let gateway = gateway().descriptors("library").upstream("library", &library).config(config).start().await;
    // A book, its place, and so many places behind it.
    let nested = |more: usize| {
        let behind = (0..more).fold(json!({}), |behind, _| json!({ "behind": behind }));
        json!({ "title": "A", "place": behind })
    };
    let json = [Speech::Rest, Speech::GrpcJson, Speech::WebJson, Speech::WebTextJson, Speech::ConnectJson];
    let streams = [Speech::RestLines, Speech::ConnectStreamJson, Speech::Socket];
    let counted = || gateway.metric("transom_refusals_total{gate=\"request\",reason=\"TOO_DEEP\"}");
    for (speech, method) in json.map(|speech| (speech, "Echo")).into_iter().chain(streams.map(|it| (it, "ImportBooks")))
    {
        println!("{speech:?}");
        let version = speech.versions()[0];
        speech.call(version, method).send(&gateway, &[nested(2)]).await.failed(Code::Ok);
        let calls = library.saw(method).calls().iter().filter(|call| call.finished).count();
        let before = counted();
        let refused = speech.call(version, method).send(&gateway, &[nested(3)]).await;
        refused.failed(Code::InvalidArgument);
        until("it is counted", async || counted() > before).await;
        assert_eq!(counted(), before + 1.0);
        assert!(refused.message.contains("deep"), "{}", refused.message);
        assert_eq!(library.saw(method).calls().iter().filter(|call| call.finished).count(), calls);
    }
}

#[tokio::test]
async fn each_gate_counts_what_is_wrong_with_a_later_message() {
    let library = library().await;
    let config = "schema: { descriptor_sets: [in-memory], expose: all, http_rules: [
        { selector: library.v1.Library.ImportBooks, post: \"/v1/books:import\", body: \"*\" },
        { selector: library.v1.Library.Discuss, post: \"/v1/discuss\", body: \"*\" }] }
methods:
  library.v1.Library/ImportBooks: { limits: { body: 1KiB, depth: 4, messages: 3/h } }
  library.v1.Library/Discuss: { limits: { body: 1KiB } }";
    let builder = gateway().descriptors("library").upstream_with("library", &[&library], "limits: { send: 1KiB }");
    let gateway = builder.config(config).start().await;
    let counted =
        |gate, reason| gateway.metric(&format!("transom_refusals_total{{gate=\"{gate}\",reason=\"{reason}\"}}"));
    let all = || {
        let request = ["BAD_REQUEST", "TOO_DEEP", "TOO_LARGE"].map(|reason| counted("request", reason));
        [request[0], request[1], request[2], counted("rate_limit", "MESSAGES")]
    };
    let good = || json!({ "title": "A" });
    let mut expected = [0.0; 4];
    let behind = (0..3).fold(json!({}), |behind, _| json!({ "behind": behind }));
    for speech in Speech::CLIENT_STREAM {
        let version = speech.versions()[0];
        let large = (2, vec![good(), json!({ "title": "x".repeat(1100) })], Code::ResourceExhausted);
        let deep = (1, vec![good(), json!({ "place": behind })], Code::InvalidArgument);
        let fast = (3, vec![good(); 4], Code::ResourceExhausted);
        for (at, messages, code) in [large, deep, fast] {
            // Bytes of protobuf have no depth of JSON's.
            if at == 1
                && matches!(
                    speech,
                    Speech::Grpc | Speech::Web | Speech::WebText | Speech::ConnectStream | Speech::SocketBinary
                )
            {
                continue;
            }
            println!("{speech:?}: {at}");
            speech.call(version, "ImportBooks").send(&gateway, &messages).await.failed(code);
            expected[at] += 1.0;
            until("it is counted", async || all() == expected).await;
        }
    }
    // Behind the answer's head, where messages answer each other.
    let remark = |text: &str| json!({ "text": text });
    for speech in Speech::CLIENT_STREAM.into_iter().filter(|speech| *speech != Speech::Rest) {
        println!("{speech:?}: within a discussion");
        let mut stream = speech.call(2, "Discuss").open(&gateway, None).await;
        stream.send(&remark("A"));
        assert_eq!(stream.next().await, Some(remark("A")));
        stream.send(&remark(&"x".repeat(1100)));
        expected[2] += 1.0;
        until("it is counted", async || all() == expected).await;
        stream.close();
        stream.outcome().await;
    }
    // Whether its client hears of it or not.
    let mut stream = Speech::Grpc.call(2, "ImportBooks").open(&gateway, None).await;
    (0..4).for_each(|_| stream.send(&good()));
    expected[3] += 1.0;
    until("it is counted", async || all() == expected).await;
}

#[tokio::test]
async fn a_body_has_one_of_the_types_that_are_written() {
    let service = upstream::grpc("rules.v1.Rules").unary("Upload", |_| ok(json!({}))).unary("Same", |_| ok(json!({})));
    let service = service.start().await;
    let config = "methods:
  rules.v1.Rules/Upload: { content_types: [\"image/*\", application/PDF] }
  rules.v1.Rules/Same: { content_types: [application/json] }";
    let gateway = gateway().descriptors("rules").upstream("rules", &service).config(config).start().await;
    let upload = async |path: &str, content_type: &str| {
        let call = gateway.request("POST", path).body("{}");
        if content_type.is_empty() { call.await } else { call.header("content-type", content_type).await }
    };
    for content_type in ["image/png", "Image/SVG+xml; charset=utf-8", "application/pdf"] {
        upload("/v1/uploads/7", content_type).await.status(200);
    }
    service.saw("Upload").times(3);
    for content_type in ["", "image", "text/html", "application/json", "imagex/png"] {
        let refused = upload("/v1/uploads/7", content_type).await;
        refused.status(415).reason("UNSUPPORTED_MEDIA_TYPE");
        assert!(refused.text().contains("send the body as image/* or application/pdf"), "{}", refused.text());
    }
    service.saw("Upload").times(3);
    upload("/v1/same", "application/json").await.status(200);
    upload("/v1/same", "application/x-www-form-urlencoded").await.status(415);
    // Text in another charset is the mistake, and not the type.
    for content_type in ["application/json; charset=latin1", "Application/JSON;charset=\"utf-16\""] {
        let refused = upload("/v1/same", content_type).await;
        refused.status(415).reason("UNSUPPORTED_MEDIA_TYPE");
        assert!(refused.text().contains("read as UTF-8 here"), "{}", refused.text());
    }
    // What comes without a body needs no type.
    gateway.request("POST", "/v1/same").await.status(200);
}

#[test]
fn bounds_that_mean_nothing_are_problems() {
    let told = |policy: &str| {
        let text = format!(
            "schema: {{ protos: [p] }}\nupstreams: {{ a: {{ endpoints: [\"a:1\"] }} }}\nmethods: {{ a.B/C: {policy} }}"
        );
        parse(&text, &|_| None).err().map(|problems| problems.to_string()).unwrap_or_default()
    };
    for (policy, part) in [
        ("{ limits: { depth: 0 } }", "limits.depth"),
        ("{ limits: { depth: 101 } }", "limits.depth"),
        ("{ content_types: [png] }", "content_types"),
        ("{ content_types: [\"image/png; q=1\"] }", "content_types"),
        ("{ content_types: [\"*/*\"] }", "content_types"),
    ] {
        assert!(told(policy).contains(part), "{policy}: {}", told(policy));
    }
    assert_eq!(told("{ limits: { depth: 1 }, content_types: [image/png] }"), "");
}

#[tokio::test]
async fn what_is_more_than_its_service_takes_of_a_head_is_refused_in_each_dialect() {
    let service = Bare::start(
        h2::server::Builder::new().max_header_list_size(8192).clone(),
        async |_: Request<RecvStream>, respond| served(respond),
    )
    .await;
    let keys = "circuit_breaker: { failures: 1, open_for: 1h }";
    let gateway = gateway().descriptors("library");
    let gateway = gateway.upstream_at("library", "library.v1.Library", &[service.address()], keys).start().await;
    for speech in Speech::UNARY {
        for &version in speech.versions() {
            println!("{speech:?} over HTTP/{version}");
            let with = |bytes: usize| speech.call(version, "GetBook").header("authorization", &"x".repeat(bytes));
            with(7000).send(&gateway, &[json!({ "name": BOOK })]).await.failed(Code::Ok);
            let refused = with(8000).send(&gateway, &[json!({ "name": BOOK })]).await;
            refused.failed(Code::ResourceExhausted);
            assert_eq!(refused.message, "the request's head is more than the 8192 bytes that its service takes");
            assert_eq!(refused.http, if matches!(speech.name(), "rest" | "connect") { 431 } else { 200 });
        }
    }
    let many =
        (0..100).fold(gateway.grpc("library.v1.Library/GetBook"), |call, at| call.header(&format!("x-{at}"), ""));
    many.header("x-some", &"x".repeat(5000)).send(&[json!({})]).await.failed(Code::ResourceExhausted);
    gateway.get("/v1/shelves/1/books/7").header("authorization", &"x".repeat(8000)).await.reason("HEAD_TOO_LARGE");
}
