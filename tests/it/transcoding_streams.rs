//! The rules of streams over REST beyond those of server streams (`stream_rest`): what a client streams, raw bodies,
//! heartbeats.

use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use transom::server::Limits;
use transom_transcode::status::Code;

use crate::support::client::Call;
use crate::support::gateway::{Running, gateway};
use crate::support::reply::{fail, ok, stream};
use crate::support::soon;
use crate::support::upstream::{self, Upstream};

const NDJSON: &str = "application/x-ndjson";

async fn streams() -> (Upstream, Running) {
    let service = upstream::grpc("rules.v1.Rules")
        .client_stream("Collect", |messages| ok(json!({ "numbers": [messages.len()] })))
        .client_stream("CollectInner", |messages| ok(json!({ "numbers": [messages.len()] })))
        .bidi("Chat", |message| vec![message.clone()])
        .client_stream("UploadStream", |messages| {
            let bytes = messages.iter().map(|message| message["file"]["data"].as_str().map_or(0, str::len));
            ok(json!({ "note": bytes.sum::<usize>().to_string() }))
        })
        .bidi("MirrorStream", |message| vec![message.clone()]);
    let service = service.start().await;
    let gateway = gateway().descriptors("rules").upstream("rules", &service).start().await;
    (service, gateway)
}

fn post(gateway: &Running, path: &str, content_type: &str, body: impl Into<Bytes>) -> Call {
    gateway.request("POST", path).header("content-type", content_type).body(body)
}

fn seen(service: &Upstream, method: &str) -> Vec<Value> {
    service.saw(method).last().messages.clone()
}

#[tokio::test]
async fn a_client_stream_is_an_array_or_lines() {
    let (service, gateway) = streams().await;
    for (content_type, body) in [
        ("application/json", "[{\"text\": \"a\"}, {\"numbers\": [1, 2]}, {}]"),
        (NDJSON, "{\"text\": \"a\"}\n\n{\"numbers\": [1, 2]}\r\n{}"),
        ("application/jsonl", "{\"text\": \"a\"}\n{\"numbers\": [1, 2]}\n{}\n"),
    ] {
        for http2 in [false, true] {
            let call = post(&gateway, "/v1/collect/7", content_type, body);
            let reply = if http2 { call.http2().await } else { call.await };
            reply.status(200).json(&json!({ "numbers": [3] }));
            // What the path says goes with the first message.
            let expected = [json!({ "id": "7", "text": "a" }), json!({ "numbers": [1, 2] }), json!({})];
            assert_eq!(seen(&service, "Collect"), expected);
        }
    }
}

#[tokio::test]
async fn a_compressed_client_stream_is_unpacked_as_it_comes() {
    let (service, gateway) = streams().await;
    let lines = "{\"text\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}\n".repeat(3000);
    let (brotli, zstd) = (brotli(lines.as_bytes()), zstd::stream::encode_all(lines.as_bytes(), 3).unwrap());
    for (coding, body) in [("gzip", gzip(lines.as_bytes())), ("br", brotli), ("zstd", zstd)] {
        for http2 in [false, true] {
            let call = post(&gateway, "/v1/collect/7", NDJSON, body.clone()).header("content-encoding", coding);
            let reply = if http2 { call.http2().await } else { call.await };
            reply.status(200).json(&json!({ "numbers": [3000] }));
            assert_eq!(seen(&service, "Collect")[0]["id"], "7");
        }
        let short = body[..body.len() / 2].to_vec();
        let reply = post(&gateway, "/v1/collect/7", NDJSON, short).header("content-encoding", coding).await;
        reply.status(400).reason("BAD_REQUEST");
    }
    let plain = post(&gateway, "/v1/collect/7", NDJSON, "{}\n").header("content-encoding", "gzip").await;
    plain.status(400).reason("BAD_REQUEST");
    let unknown = post(&gateway, "/v1/collect/7", NDJSON, "{}\n").header("content-encoding", "compress").await;
    unknown.status(415).reason("UNSUPPORTED_ENCODING").header("accept-encoding", "gzip, br, zstd, identity");
    // 32 MB of a message in a few KB.
    let bomb = gzip(&[b"{\"text\": \"", &vec![b'a'; 32 << 20][..], b"\"}\n"].concat());
    let reply = post(&gateway, "/v1/collect/7", NDJSON, bomb).header("content-encoding", "gzip").await;
    reply.status(413).reason("TOO_LARGE");

    // A message goes on once what it is packed in has come.
    let (call, sender) = gateway.request("POST", "/v1/collect/7").header("content-type", NDJSON).streamed();
    let reply = tokio::spawn(call.header("content-encoding", "gzip").try_send());
    let before = service.saw("Collect").calls().len();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"{\"text\": \"a\"}\n").unwrap();
    encoder.flush().unwrap();
    sender.send(std::mem::take(encoder.get_mut()).into()).unwrap();
    service.heard("Collect", before + 1, 1).await;
    sender.send(encoder.finish().unwrap().into()).unwrap();
    drop(sender);
    soon("the answer", reply).await.unwrap().unwrap().status(200).json(&json!({ "numbers": [1] }));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
    encoder.write_all(bytes).unwrap();
    encoder.into_inner()
}

#[tokio::test]
async fn messages_go_on_as_they_come() {
    let (service, gateway) = streams().await;
    for (content_type, pieces) in [
        ("application/json", ["[ {\"text\": \"a\"} ,", " {\"text\":\"b\"", "} ]"]),
        (NDJSON, ["{\"text\":\"a\"}\n", "{\"text\"", ":\"b\"}\n"]),
    ] {
        let (call, sender) = gateway.request("POST", "/v1/collect/7").header("content-type", content_type).streamed();
        let reply = tokio::spawn(call.try_send());
        let before = service.saw("Collect").calls().len();
        sender.send(pieces[0].into()).unwrap();
        service.heard("Collect", before + 1, 1).await;
        assert_eq!(seen(&service, "Collect"), [json!({ "id": "7", "text": "a" })]);
        sender.send(pieces[1].into()).unwrap();
        sender.send(pieces[2].into()).unwrap();
        drop(sender);
        soon("the answer", reply).await.unwrap().unwrap().status(200).json(&json!({ "numbers": [2] }));
    }
}

#[tokio::test]
async fn a_stream_without_a_message_says_what_the_path_says() {
    let (service, gateway) = streams().await;
    for (content_type, body) in [("application/json", "[]"), (NDJSON, "\n"), ("application/json", "")] {
        post(&gateway, "/v1/collect/7", content_type, body).await.status(200).json(&json!({ "numbers": [1] }));
        assert_eq!(seen(&service, "Collect"), [json!({ "id": "7" })]);
    }
}

#[tokio::test]
async fn later_messages_may_repeat_the_path_but_not_change_it() {
    let (service, gateway) = streams().await;
    let lines = |id: &str| format!("{{\"id\":\"7\"}}\n{{\"id\":\"{id}\",\"text\":\"b\"}}\n");
    post(&gateway, "/v1/collect/7", NDJSON, lines("7")).await.status(200);
    assert_eq!(seen(&service, "Collect"), [json!({ "id": "7" }), json!({ "id": "7", "text": "b" })]);
    post(&gateway, "/v1/collect/7", NDJSON, lines("8")).await.status(400).reason("BAD_REQUEST");
}

#[tokio::test]
async fn a_streamed_field_and_the_query_make_the_messages() {
    let (service, gateway) = streams().await;
    let body = "[{\"text\":\"a\"},{\"text\":\"b\"}]";
    post(&gateway, "/v1/collect/7/inner?flag=true", "application/json", body).await.status(200);
    let expected = [json!({ "id": "7", "flag": true, "inner": { "text": "a" } }), json!({ "inner": { "text": "b" } })];
    assert_eq!(seen(&service, "CollectInner"), expected);
}

#[tokio::test]
async fn a_wrong_message_in_a_stream_is_a_bad_request() {
    let (service, gateway) = streams().await;
    for (content_type, body) in [
        ("application/json", "{}"),
        ("application/json", "[{}"),
        ("application/json", "[{},]"),
        ("application/json", "[{}] x"),
        ("application/json", "[{},{\"nope\":1}]"),
        ("application/json", "[{},7]"),
        (NDJSON, "{}\n{\"text\": 1}\n"),
        (NDJSON, "{}\n[{}]\n"),
        (NDJSON, "{} {}\n"),
    ] {
        let reply = post(&gateway, "/v1/collect/7", content_type, body).await;
        reply.status(400).reason("BAD_REQUEST");
    }
    service.cancelled("Collect", 1).await;
    // Which message, and where in it.
    let (lines, array) = ("{}\n".repeat(730) + "{\"text\": 1}\n", format!("[{}{{\"text\": 1}}]", "{},".repeat(730)));
    for (content_type, body) in [(NDJSON, lines), ("application/json", array)] {
        let reply = post(&gateway, "/v1/collect/7", content_type, body).await;
        let violation = reply.status(400).value()["details"][1]["fieldViolations"][0].clone();
        assert_eq!(violation["field"], "[730].text");
        let told = violation["description"].as_str().unwrap();
        assert!(told.starts_with("message 731: ") && told.ends_with("(at byte 9)"), "{told}");
    }
    for (content_type, told) in [
        ("text/plain", "as application/x-ndjson"),
        // What curl says unasked: a form is one message.
        ("application/x-www-form-urlencoded", "as application/x-ndjson"),
        ("application/json; charset=latin1", "read as UTF-8 here"),
        ("application/x-ndjson; charset=latin1", "read as UTF-8 here"),
    ] {
        let refused = post(&gateway, "/v1/collect/7", content_type, "[]").await;
        refused.status(415).reason("UNSUPPORTED_MEDIA_TYPE");
        assert!(refused.text().contains(told), "{content_type}: {}", refused.text());
    }
}

/// As of a single message: what is empty has no type, and that it is so may be known only when it ends.
#[tokio::test]
async fn what_says_no_type_may_bring_no_messages() {
    let service = upstream::grpc("rules.v1.Rules")
        .client_stream("Collect", |messages| ok(json!({ "numbers": [messages.len()] })))
        .start()
        .await;
    let types = "methods: { rules.v1.Rules/Collect: { content_types: [application/json] } }";
    for (config, told) in [("", "as application/x-ndjson"), (types, "send the body as application/json")] {
        let gateway = gateway().descriptors("rules").upstream("rules", &service).config(config).start().await;
        for (chunk, http2) in [("", false), ("[]", false), ("", true), ("[]", true)] {
            let (call, sender) = gateway.request("POST", "/v1/collect/7").streamed();
            let _ = (!chunk.is_empty()).then(|| sender.send(chunk.into()).unwrap());
            drop(sender);
            let reply = if http2 { call.http2().await } else { call.await };
            if chunk.is_empty() {
                // What the path says is one.
                reply.status(200).json(&json!({ "numbers": [1] }));
            } else {
                assert!(reply.status(415).text().contains(told), "{}", reply.text());
            }
        }
        gateway.request("POST", "/v1/collect/7").body("[]").await.status(415);
    }
}

#[tokio::test]
async fn each_message_of_a_stream_is_bounded_and_not_their_sum() {
    let service = upstream::grpc("rules.v1.Rules")
        .client_stream("Collect", |messages| ok(json!({ "numbers": [messages.len()] })))
        .start()
        .await;
    let config = "methods: { rules.v1.Rules/Collect: { limits: { body: 1KiB } } }";
    let gateway = gateway().descriptors("rules").upstream("rules", &service).config(config).start().await;
    let line = |bytes: usize| format!("{{\"text\":\"{}\"}}\n", "x".repeat(bytes));
    let reply = post(&gateway, "/v1/collect/7", NDJSON, line(900).repeat(100)).await;
    reply.status(200).json(&json!({ "numbers": [100] }));
    post(&gateway, "/v1/collect/7", NDJSON, line(900) + &line(1100)).await.status(413).reason("TOO_LARGE");
    let endless = format!("[{{}}, {}", "[".repeat(2000));
    post(&gateway, "/v1/collect/7", "application/json", endless).await.status(413).reason("TOO_LARGE");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_stream() {
    let (service, gateway) = streams().await;
    let mut raw = gateway.raw().await;
    raw.write("POST /v1/collect/7 HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{}\n\r\n").await;
    service.heard("Collect", 1, 1).await;
    drop(raw);
    service.cancelled("Collect", 1).await;
    assert_eq!(gateway.logged(1).await[0]["reason"], "CLIENT_GONE");
}

#[tokio::test]
async fn an_upstream_may_answer_before_its_client_has_ended() {
    let service = upstream::grpc("rules.v1.Rules").bidi("Chat", |_| vec![]).start().await;
    let gateway = gateway().descriptors("rules").upstream("rules", &service).start().await;
    // Nobody serves `Collect`: the answer comes while the body is still open.
    let (call, sender) = gateway.request("POST", "/v1/collect/7").header("content-type", NDJSON).streamed();
    sender.send("{}\n".into()).unwrap();
    let reply = soon("the answer", call.open()).await;
    assert_eq!(reply.status(), 501);
    drop(sender);
}

#[tokio::test]
async fn both_sides_may_stream_over_http() {
    let (_service, gateway) = streams().await;
    for http2 in [false, true] {
        let call = gateway.request("POST", "/v1/chat/7").header("content-type", NDJSON).header("accept", NDJSON);
        let (call, sender) = if http2 { call.http2() } else { call }.streamed();
        sender.send("{\"text\":\"a\"}\n".into()).unwrap();
        let reply = soon("the head", call.open()).await;
        assert_eq!(reply.status(), 200);
        let mut body = reply.into_body();
        let first = soon("the first answer", body.frame()).await.unwrap().unwrap();
        assert_eq!(first.data_ref().unwrap(), "{\"id\":\"7\",\"text\":\"a\"}\n");
        // The request is still open.
        sender.send("{\"text\":\"b\"}\n".into()).unwrap();
        drop(sender);
        let rest = soon("the other answers", body.collect()).await.unwrap().to_bytes();
        assert_eq!(rest, "{\"text\":\"b\"}\n");
    }
}

#[tokio::test]
async fn a_raw_stream_has_the_bindings_first_and_data_later() {
    let (service, gateway) = streams().await;
    let data = Bytes::from(vec![b'x'; 100_000]);
    let reply = post(&gateway, "/v1/streams/7?note=n", "image/png", data.clone()).await;
    // In base64.
    let expected: usize = [32_768, 32_768, 32_768, 1_696].iter().map(|piece: &usize| piece.div_ceil(3) * 4).sum();
    let note: usize = reply.status(200).value()["note"].as_str().unwrap().parse().unwrap();
    assert!(note.abs_diff(expected) < 100, "{note} {expected}");
    let messages = seen(&service, "UploadStream");
    assert!(messages.len() >= 4);
    assert_eq!((&messages[0]["name"], &messages[0]["note"]), (&json!("7"), &json!("n")));
    assert_eq!(messages[0]["file"]["content_type"], "image/png");
    for message in &messages[1..] {
        let keys: Vec<_> =
            message.as_object().unwrap().keys().chain(message["file"].as_object().unwrap().keys()).collect();
        assert_eq!(keys, ["file", "data"]);
    }
    // Nothing at all is still a message.
    post(&gateway, "/v1/streams/7", "image/png", "").await.status(200);
    assert_eq!(seen(&service, "UploadStream"), [json!({ "name": "7", "file": { "content_type": "image/png" } })]);
}

#[tokio::test]
async fn raw_answers_are_chunks_under_the_first_ones_type() {
    let service = upstream::grpc("rules.v1.Rules").server_stream("DownloadStream", |request| {
        let first = json!({ "content_type": "text/csv", "data": "YSxi" });
        match request["name"].as_str().unwrap() {
            "none" => stream([]),
            "fails" => fail(Code::NotFound, "no such file"),
            "breaks" => stream([first]).then_sleep(Duration::from_millis(50)).then_fail(Code::DataLoss, "gone"),
            "wrong" => stream([json!({ "content_type": "text/csv\nx: y", "data": "YQ==" })]),
            _ => stream([first, json!({ "content_type": "text/html", "data": "Cg==" }), json!({ "data": "Yyxk" })]),
        }
    });
    let service = service.start().await;
    let gateway = gateway().descriptors("rules").upstream("rules", &service).start().await;
    let reply = gateway.get("/v1/streams/7").await;
    reply.status(200).header("content-type", "text/csv").header("x-content-type-options", "nosniff");
    assert_eq!(reply.text(), "a,b\nc,d");
    let reply = gateway.get("/v1/streams/none").await;
    reply.status(200).header("content-type", "application/octet-stream");
    assert!(reply.body.is_empty());
    gateway.get("/v1/streams/fails").await.status(404);
    gateway.get("/v1/streams/wrong").await.status(502).reason("UPSTREAM_PROTOCOL");
    for http2 in [false, true] {
        let call = gateway.get("/v1/streams/breaks");
        let reply = if http2 { call.http2().open().await } else { call.open().await };
        assert_eq!(reply.status(), 200);
        assert!(soon("the end", reply.into_body().collect()).await.is_err(), "never closed as if it were whole");
    }
}

#[tokio::test]
async fn raw_bodies_stream_both_ways() {
    let (_service, gateway) = streams().await;
    let data: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    for http2 in [false, true] {
        let call = post(&gateway, "/v1/mirror:stream", "application/x-thing", data.clone());
        let reply = if http2 { call.http2().await } else { call.await };
        reply.status(200).header("content-type", "application/x-thing");
        assert!(reply.body == data);
    }
}

#[tokio::test]
async fn a_quiet_event_stream_has_heartbeats() {
    let service = upstream::grpc("rules.v1.Rules").server_stream("Watch", |_| ok(json!({ "text": "a" })).then_hang());
    let service = service.start().await;
    let limits = Limits { heartbeat: Duration::from_millis(20), ..Limits::default() };
    let gateway = gateway().descriptors("rules").upstream("rules", &service).limits(limits).start().await;
    let mut body = gateway.get("/v1/things/7:watch").header("accept", "text/event-stream").open().await.into_body();
    let mut text = String::new();
    while !text.ends_with(":\n\n:\n\n:\n\n") {
        let frame = soon("a heartbeat", body.frame()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert_eq!(text, "id: 1\ndata: {\"text\":\"a\"}\n\n:\n\n:\n\n:\n\n");
    // The other forms have no words for it.
    let mut body = gateway.get("/v1/things/7:watch").header("accept", NDJSON).open().await.into_body();
    let first = soon("the message", body.frame()).await.unwrap().unwrap();
    assert_eq!(first.data_ref().unwrap(), "{\"text\":\"a\"}\n");
    assert!(tokio::time::timeout(Duration::from_millis(100), body.frame()).await.is_err());
}

#[tokio::test]
async fn a_slow_upstream_slows_its_client_down() {
    // It takes the call and reads nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        let mut held = Vec::new();
        let mut connections = Vec::new();
        loop {
            let mut connection = h2::server::handshake(listener.accept().await.unwrap().0).await.unwrap();
            held.push(connection.accept().await);
            connections.push(tokio::spawn(async move { while connection.accept().await.is_some() {} }));
        }
    });
    let gateway = gateway().descriptors("rules").upstream_at("rules", "rules.v1.Rules", &[address], "").start().await;
    let line = Bytes::from(format!("{{\"text\":\"{}\"}}\n", "x".repeat(10_000)));
    let call = gateway.request("POST", "/v1/collect/7").header("content-type", NDJSON).http2();
    let (call, taken) = call.header("x-request-timeout", "0.5").pulled(line.clone(), 10_000);
    call.await.status(504);
    // Windows on both sides and a few buffers, of 100 MB.
    let bytes = taken.load(Ordering::Relaxed) * line.len();
    assert!(bytes > 0 && bytes < 1 << 20, "{bytes} bytes were taken from the client");
    serving.abort();
}
