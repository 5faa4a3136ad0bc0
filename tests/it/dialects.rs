//! What must hold in every dialect, written once and run over all of them, each over every version of HTTP that it has.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use transom_transcode::frame::timeout;
use transom_transcode::status::Code;

use crate::support::gateway::{Running, gateway};
use crate::support::grpc::frame;
use crate::support::heard::Outcome;
use crate::support::library::{library, library_that_waits};
use crate::support::socket::Socket;
use crate::support::speak::Speech;
use crate::support::upstream::Upstream;

/// What calls ask for: the part of the message that may be in a path.
const BOOK: &str = "shelves/1/books/7";

/// What REST's client streams need: the library's own have no rules.
const RULES: &str = "schema: { descriptor_sets: [in-memory], expose: all, http_rules: [
  { selector: library.v1.Library.ImportBooks, post: \"/v1/books:import\", body: \"*\" },
  { selector: library.v1.Library.Discuss, post: \"/v1/discuss\", body: \"*\" }] }";

async fn start(library: &Upstream) -> Running {
    gateway().descriptors("library").config(RULES).upstream("library", library).start().await
}

/// The deadline that the last call of a method had crossed to the upstream, and was no longer.
fn had_deadline(library: &Upstream, method: &str, millis: u64) {
    let sent = library.saw(method).last().headers["grpc-timeout"].to_str().unwrap().to_owned();
    assert!(timeout::parse(&sent).unwrap() <= Duration::from_millis(millis + 1), "{sent}");
}

/// The dialects of a kind of call, over each version of HTTP.
fn all(speeches: &[Speech]) -> impl Iterator<Item = (Speech, u8)> {
    speeches.iter().flat_map(|speech| speech.versions().iter().map(move |version| (*speech, *version)))
}

/// The library's metadata came with the answer. A WebSocket's head is there before the service has said a word.
#[track_caller]
fn told(speech: Speech, reply: &Outcome) {
    let shelf = reply.headers.get("x-shelf").map(|value| value.to_str().unwrap());
    assert_eq!(shelf, (!speech.is_socket()).then_some("7"));
}

/// The metadata of the library's error came, wherever the dialect has it.
#[track_caller]
fn hinted(speech: Speech, reply: &Outcome) {
    let hint = reply.trailers.get("x-hint").or(reply.headers.get("x-hint")).map(|value| value.to_str().unwrap());
    assert_eq!(hint, (!speech.is_socket()).then_some("elsewhere"));
}

fn book(name: &str) -> Value {
    json!({ "name": format!("shelves/1/books/{name}") })
}

fn shelf(name: &str) -> Value {
    json!({ "parent": format!("shelves/{name}") })
}

#[tokio::test]
async fn unary_with_metadata_both_ways() {
    let library = library().await;
    let gateway = start(&library).await;
    for (times, (speech, version)) in all(&Speech::UNARY).enumerate() {
        println!("{speech:?} over HTTP/{version}");
        let call = speech.call(version, "GetBook").header("authorization", "Bearer t").header("x-custom", "kept");
        let call = call.header("data-bin", "AAEC").header("x-user-id", "mallory").header("cookie", "a=b");

        let reply = call.send(&gateway, &[json!({ "name": BOOK })]).await;

        reply.ok(&[json!({ "name": BOOK, "title": "Dune" })]);
        assert_eq!(reply.headers["x-shelf"], "7");
        assert_eq!(reply.headers["data-bin"], "AAEC");
        assert!(reply.headers.contains_key("x-request-id"));
        let saw = library.saw("GetBook");
        saw.times(times + 1).message(&json!({ "name": BOOK })).header("authorization", "Bearer t");
        saw.no_header("x-user-id").no_header("cookie").no_header("connect-protocol-version");
        saw.header("content-type", "application/grpc").header("te", "trailers");
        if speech.is_rpc() {
            assert_eq!(reply.trailers["x-cost"], "3");
            saw.header("x-custom", "kept").header("data-bin", "AAEC");
        } else {
            saw.no_header("x-custom");
        }
    }
    let names: Vec<_> = all(&Speech::UNARY).map(|(speech, _)| speech.name()).collect();
    let lines = gateway.log().await;
    assert_eq!(lines.iter().map(|line| line["dialect"].as_str().unwrap()).collect::<Vec<_>>(), names);
}

#[tokio::test]
async fn server_streams_with_metadata_both_ways() {
    let library = library().await;
    let gateway = start(&library).await;
    for (times, (speech, version)) in all(&Speech::SERVER_STREAM).enumerate() {
        println!("{speech:?} over HTTP/{version}");
        let reply = speech.call(version, "WatchBooks").header("x-custom", "kept").send(&gateway, &[shelf("1")]).await;

        reply.ok(&[json!({ "title": "A" }), json!({ "title": "B", "pages": "7" })]);
        told(speech, &reply);
        let saw = library.saw("WatchBooks");
        saw.times(times + 1).message(&shelf("1"));
        if speech.is_rpc() {
            assert_eq!(reply.trailers["x-cost"], "3");
            saw.header("x-custom", "kept");
        } else {
            saw.no_header("x-custom");
        }
        saw.header("content-type", "application/grpc").header("te", "trailers");
    }
    assert!(gateway.log().await.iter().all(|line| line["code"] == "OK"));
}

#[tokio::test]
async fn client_and_bidirectional_streams() {
    let library = library().await;
    let gateway = start(&library).await;
    for (speech, version) in all(&Speech::CLIENT_STREAM) {
        println!("{speech:?} over HTTP/{version}");
        let books = [json!({ "title": "A" }), json!({ "title": "B" }), json!({})];
        let call = speech.call(version, "ImportBooks").header("authorization", "Bearer t").header("x-custom", "kept");
        let reply = call.header("x-user-id", "mallory").send(&gateway, &books).await;
        reply.ok(&[json!({ "imported": 3 })]);
        told(speech, &reply);
        let saw = library.saw("ImportBooks");
        saw.messages(&books).header("authorization", "Bearer t").no_header("x-user-id");
        if speech.is_rpc() {
            assert_eq!(reply.trailers["x-cost"], "3");
            saw.header("x-custom", "kept");
        } else {
            assert_eq!(reply.headers.contains_key("x-cost"), !speech.is_socket());
            saw.no_header("x-custom");
        }

        let mut discussion = speech.call(version, "Discuss").open(&gateway, None).await;
        // An array is read when it is whole.
        let talks = speech.is_socket() || version == 2 && speech != Speech::Rest;
        for text in ["one", "two"] {
            discussion.send(&json!({ "text": text }));
            if talks {
                // Each answer comes before the next remark is sent.
                assert_eq!(discussion.next().await, Some(json!({ "text": text })));
                assert_eq!(discussion.next().await, Some(json!({ "text": text })));
            }
        }
        discussion.close();
        let outcome = discussion.outcome().await;
        outcome.failed(Code::Ok);
        assert_eq!(outcome.messages.len(), if talks { 0 } else { 4 });
        library.saw("Discuss").messages(&[json!({ "text": "one" }), json!({ "text": "two" })]);
    }
}

#[tokio::test]
async fn an_error_before_the_head_keeps_its_details_and_metadata() {
    let library = library().await;
    let gateway = start(&library).await;
    for (times, (speech, version)) in all(&Speech::UNARY).enumerate() {
        println!("{speech:?} over HTTP/{version}");
        let reply = speech.call(version, "GetBook").send(&gateway, &[book("fail")]).await;
        reply.failed(Code::NotFound);
        library.saw("GetBook").times(times + 1).message(&book("fail"));
        assert_eq!(reply.message, "no such b\u{fc}cher 100%");
        assert_eq!(reply.details, ["library.v1.GetBookRequest", "acme.Unknown"]);
        let whole = matches!(speech.name(), "rest" | "connect");
        assert_eq!(reply.http, if whole { 404 } else { 200 });
        hinted(speech, &reply);
    }
    for (times, (speech, version)) in all(&Speech::SERVER_STREAM).enumerate() {
        println!("{speech:?} over HTTP/{version}");
        let reply = speech.call(version, "WatchBooks").send(&gateway, &[shelf("fail")]).await;
        reply.failed(Code::NotFound);
        library.saw("WatchBooks").times(times + 1).message(&shelf("fail"));
        assert_eq!(reply.message, "no such b\u{fc}cher 100%");
        assert_eq!(reply.http, if speech.is_begun() { 200 } else { 404 });
        hinted(speech, &reply);
    }
    for (times, (speech, version)) in all(&Speech::CLIENT_STREAM).enumerate() {
        println!("{speech:?} over HTTP/{version}");
        let reply = speech.call(version, "ImportBooks").send(&gateway, &[json!({ "name": "fail" })]).await;
        reply.failed(Code::NotFound);
        assert_eq!(reply.message, "no such b\u{fc}cher 100%");
        assert_eq!(reply.http, if speech.is_begun() { 200 } else { 404 });
        hinted(speech, &reply);
        library.saw("ImportBooks").times(times + 1).message(&json!({ "name": "fail" }));
    }
}

#[tokio::test]
async fn an_error_mid_stream_never_looks_complete() {
    let notify = Arc::default();
    let library = library_that_waits(&notify).await;
    let gateway = start(&library).await;
    let mut told = Vec::new();
    for (speech, version) in all(&Speech::SERVER_STREAM) {
        for (how, code, reason) in
            [("break", Code::Aborted, None), ("reset", Code::Unavailable, Some("UPSTREAM_RESET"))]
        {
            println!("{speech:?} over HTTP/{version}: {how}");
            let mut call = speech.call(version, "WatchBooks").open(&gateway, Some(&shelf(how))).await;
            call.send(&shelf(how));
            call.close();
            call.head().await;
            if speech != Speech::Rest {
                assert_eq!(call.next().await, Some(json!({ "title": "A" })));
            }
            if how == "reset" {
                notify.notify_one();
            }
            if speech == Speech::Rest {
                // An array is broken off, and says no more than that.
                let reply = call.outcome().await;
                assert_eq!((reply.http, reply.code), (200, None), "{reply:?}");
            } else {
                let reply = call.outcome().await;
                reply.failed(code);
                assert_eq!(reply.http, 200);
                if speech.is_begun() && how == "break" {
                    assert_eq!(reply.message, "enough");
                    assert_eq!(reply.trailers.contains_key("x-hint"), speech.is_rpc());
                }
            }
            told.push((json!(code.name()), json!(reason)));
            library.saw("WatchBooks").times(told.len()).message(&shelf(how));
        }
    }
    let lines = gateway.log().await;
    assert_eq!(lines.iter().map(|line| (line["code"].clone(), line["reason"].clone())).collect::<Vec<_>>(), told);
}

#[tokio::test]
async fn a_deadline_reaches_the_upstream_and_ends_the_call() {
    let library = library().await;
    let gateway = start(&library).await;
    for (times, (speech, version)) in all(&Speech::UNARY).enumerate() {
        println!("{speech:?} over HTTP/{version}");
        let (name, value) = speech.timeout(60);
        let reply = speech.call(version, "GetBook").header(name, &value).send(&gateway, &[book("hang")]).await;
        reply.failed(Code::DeadlineExceeded);
        library.cancelled("GetBook", times + 1).await;
        had_deadline(&library, "GetBook", 60);
    }
    for (times, (speech, version)) in all(&Speech::SERVER_STREAM).enumerate() {
        println!("{speech:?} over HTTP/{version}");
        let (name, value) = speech.timeout(60);
        let call = speech.call(version, "WatchBooks").header(name, &value);
        let mut call = call.open(&gateway, Some(&shelf("hang"))).await;
        call.send(&shelf("hang"));
        call.close();
        let reply = call.outcome().await;
        match speech {
            Speech::Rest => assert_eq!(reply.code, None),
            _ => drop(reply.failed(Code::DeadlineExceeded)),
        }
        library.cancelled("WatchBooks", times + 1).await;
        had_deadline(&library, "WatchBooks", 60);
    }
    for (times, (speech, version)) in all(&Speech::CLIENT_STREAM).enumerate() {
        println!("{speech:?} over HTTP/{version}");
        let (name, value) = speech.timeout(60);
        let call = speech.call(version, "ImportBooks").header(name, &value);
        call.send(&gateway, &[json!({ "name": "hang" })]).await.failed(Code::DeadlineExceeded);
        library.cancelled("ImportBooks", times + 1).await;
        had_deadline(&library, "ImportBooks", 60);
    }
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_call_at_once() {
    let library = library().await;
    let gateway = start(&library).await;
    for (times, (speech, version)) in all(&Speech::UNARY).enumerate() {
        println!("{speech:?} over HTTP/{version}");
        let mut call = speech.call(version, "GetBook").open(&gateway, Some(&book("hang"))).await;
        call.send(&book("hang"));
        call.close();
        // What is not asked for is not sent.
        let mut head = Box::pin(call.head());
        tokio::select! {
            _ = &mut head => panic!("it hangs"),
            () = library.called("GetBook", times + 1) => {}
        }
        drop(head);
        drop(call);
        library.cancelled("GetBook", times + 1).await;
    }
    for line in gateway.logged(all(&Speech::UNARY).count()).await {
        assert_eq!((&line["code"], &line["reason"]), (&json!("CANCELLED"), &json!("CLIENT_GONE")), "{line}");
    }
    for (times, (speech, version)) in all(&Speech::SERVER_STREAM).enumerate() {
        println!("{speech:?} over HTTP/{version}");
        let mut call = speech.call(version, "WatchBooks").open(&gateway, Some(&shelf("hang"))).await;
        call.send(&shelf("hang"));
        call.close();
        call.head().await;
        library.called("WatchBooks", times + 1).await;
        drop(call);
        library.cancelled("WatchBooks", times + 1).await;
    }
    let talks = |(speech, version): &(Speech, u8)| *version == 2 || speech.is_socket();
    for (times, (speech, version)) in all(&Speech::CLIENT_STREAM).filter(talks).enumerate() {
        println!("{speech:?} over HTTP/{version}");
        let mut call = speech.call(version, "Discuss").open(&gateway, None).await;
        // An array's message ends where the next one begins.
        call.send(&json!({ "text": "one" }));
        call.send(&json!({ "text": "two" }));
        library.heard("Discuss", times + 1, 1).await;
        call.head().await;
        drop(call);
        library.cancelled("Discuss", times + 1).await;
    }
}

#[tokio::test]
async fn large_messages_pass_and_too_large_ones_are_refused() {
    let library = library().await;
    let limits = "limits: { send: 1MiB, receive: 1MiB }";
    let gateway =
        gateway().descriptors("library").config(RULES).upstream_with("library", &[&library], limits).start().await;
    for (speech, version) in all(&Speech::UNARY) {
        if matches!(speech, Speech::ConnectGet | Speech::ConnectGetJson) {
            continue;
        }
        println!("{speech:?} over HTTP/{version}");
        let large = json!({ "title": "x".repeat(1_000_000) });
        speech
            .call(version, "Echo")
            .send(&gateway, std::slice::from_ref(&large))
            .await
            .ok(std::slice::from_ref(&large));
        let calls = library.saw("Echo").message(&large).calls().len();
        if version == 1 {
            // The answer comes before the request has gone: HTTP/1.1 clients see a closed connection.
            continue;
        }
        let too_large = json!({ "title": "x".repeat(1_100_000) });
        let reply = speech.call(version, "Echo").send(&gateway, &[too_large]).await;
        reply.failed(Code::ResourceExhausted);
        assert!(reply.message.contains("1048576"), "{}", reply.message);
        let finished = library.saw("Echo").calls().iter().filter(|call| call.finished).count();
        assert!(finished <= calls, "the upstream answered what was refused");
    }
    for (speech, version) in all(&Speech::CLIENT_STREAM) {
        println!("{speech:?} over HTTP/{version}");
        let large = json!({ "title": "x".repeat(1_000_000) });
        let books = [large.clone(), large.clone(), json!({})];
        speech.call(version, "ImportBooks").send(&gateway, &books).await.ok(&[json!({ "imported": 3 })]);
        library.saw("ImportBooks").messages(&books);
        if version == 1 {
            continue;
        }
        let books = [large, json!({ "title": "x".repeat(1_100_000) })];
        let reply = speech.call(version, "ImportBooks").send(&gateway, &books).await;
        reply.failed(Code::ResourceExhausted);
        let told = if speech.is_socket() { "larger than its limit" } else { "1048576" };
        assert!(reply.message.contains(told), "{}", reply.message);
    }
    for (speech, version) in all(&Speech::SERVER_STREAM) {
        println!("{speech:?} over HTTP/{version}");
        let reply = speech.call(version, "WatchBooks").send(&gateway, &[shelf("large")]).await;
        reply.failed(Code::Ok);
        assert_eq!(reply.messages.len(), 4);
        assert!(reply.messages.iter().all(|book| book["title"].as_str().unwrap().len() == 1_000_000));
    }
}

#[tokio::test]
async fn a_path_that_is_no_methods_is_refused_in_each_dialect() {
    let library = library().await;
    let gateway = start(&library).await;
    for (speech, version) in all(&Speech::UNARY) {
        for path in ["/library.v1.Library/Burn", "/acme.Library/GetBook", "/v1/echo", "/nowhere"] {
            // Bare JSON, and a GET, are REST's as long as nothing says that they are Connect's.
            if speech == Speech::Rest || speech == Speech::ConnectGetJson || path == "/v1/echo" && speech.is_get() {
                continue;
            }
            println!("{speech:?} over HTTP/{version}: {path}");
            let reply = speech.call(version, "Echo").path(path).send(&gateway, &[json!({ "title": "Dune" })]).await;
            reply.failed(Code::Unimplemented);
            assert_eq!(reply.http, if speech.name() == "connect" { 404 } else { 200 });
        }
    }
    for (speech, version) in all(&Speech::CLIENT_STREAM).filter(|(speech, _)| speech.is_rpc()) {
        println!("{speech:?} over HTTP/{version}");
        let books = [json!({ "title": "A" }), json!({ "title": "B" })];
        let call = speech.call(version, "ImportBooks").path("/v1/books:import");
        call.send(&gateway, &books).await.failed(Code::Unimplemented);
    }
    assert!(library.saw("Echo").calls().is_empty() && library.saw("ImportBooks").calls().is_empty());
}

#[tokio::test]
async fn a_connect_get_names_its_codec_and_json_is_utf8() {
    let library = library().await;
    let gateway = start(&library).await;
    let message = "message=%7B%22name%22%3A%22shelves%2F1%2Fbooks%2F7%22%7D";
    for (query, status) in [
        ("connect=v1&encoding=json", 200),
        ("connect=v1&encoding=js%6Fn", 200),
        ("encoding=js%6fn", 200),
        ("connect=v1&encoding=xml", 415),
        ("encoding=xml", 415),
        ("connect=v1", 400),
        ("connect=v2&encoding=json", 400),
        ("connect=v1&encoding=%zz", 400),
    ] {
        let reply = gateway.get(&format!("/library.v1.Library/GetBook?{query}&{message}")).await;
        reply.status(status).header("content-type", "application/json");
        assert_eq!(reply.value()["code"].as_str(), (status != 200).then_some("invalid_argument"), "{query}");
    }
    let mut calls = 3;
    library.saw("GetBook").times(calls);
    for (charset, taken) in
        [("", true), ("; charset=utf-8", true), ("; charset=\"UTF-8\"", true), ("; charset=latin1", false)]
    {
        let post =
            |path: &str, kind: &str| gateway.request("POST", path).header("content-type", &format!("{kind}{charset}"));
        let call = post("/library.v1.Library/GetBook", "application/json").body(book("7").to_string());
        let reply = call.await;
        reply.status(if taken { 200 } else { 415 });
        assert_eq!(reply.value()["code"].as_str(), (!taken).then_some("invalid_argument"));
        calls += usize::from(taken);
        library.saw("GetBook").times(calls);
        let watch = frame(shelf("1").to_string().as_bytes());
        let call = post("/library.v1.Library/WatchBooks", "application/connect+json").body(watch);
        call.await.status(if taken { 200 } else { 415 });
    }
}

#[tokio::test]
async fn bad_input_gets_each_dialects_own_error() {
    let library = library().await;
    let gateway = start(&library).await;
    for (speech, version) in all(&Speech::CLIENT_STREAM).filter(|(speech, _)| !speech.is_begun()) {
        println!("{speech:?} over HTTP/{version}");
        for bytes in [&b"{\"text\": 1}\n"[..], b"[{\"text\": \"a\"", b"[{}, x]", b"]"] {
            let mut call = speech.call(version, "ImportBooks").open(&gateway, None).await;
            call.send_bytes(bytes::Bytes::from_static(bytes));
            call.close();
            let outcome = call.outcome().await;
            assert_eq!(outcome.failed(Code::InvalidArgument).http, 400);
        }
    }
    for (speech, version) in all(&Speech::CLIENT_STREAM).filter(|(speech, _)| speech.is_rpc()) {
        println!("{speech:?} over HTTP/{version}");
        // A prefix that is none, one that promises too much, a message cut short.
        for (bytes, code) in [
            (&[7, 0, 0, 0, 0][..], Code::InvalidArgument),
            (&[0, 0xff, 0xff, 0xff, 0xff], Code::ResourceExhausted),
            (&[1, 0, 0, 0, 1, b'x'], Code::InvalidArgument),
            (&[0, 0, 0, 0, 5, b'{', b'}'], Code::InvalidArgument),
            (&[0, 0, 0], Code::InvalidArgument),
        ] {
            if bytes[0] == 1 && matches!(speech, Speech::Grpc | Speech::Web | Speech::WebText | Speech::ConnectStream) {
                // Compressed or not is the upstream's to say.
                continue;
            }
            let mut call = speech.call(version, "Discuss").open(&gateway, None).await;
            call.send_bytes(bytes::Bytes::from_static(bytes));
            call.close();
            call.outcome().await.failed(code);
        }
    }
    let saw = library.saw("Discuss");
    assert!(saw.calls().iter().all(|call| call.messages.is_empty() && !call.finished), "half a message is none");
    // A text that is no JSON. (Binary frames cross as gRPC's do: what is in them is the service's to judge.)
    for version in [1, 2] {
        for bytes in [&b"{\"text\": 1}"[..], b"\x07", b"[]"] {
            let mut call = Speech::Socket.call(version, "Discuss").open(&gateway, None).await;
            call.send_bytes(bytes::Bytes::from_static(bytes));
            call.outcome().await.failed(Code::InvalidArgument);
        }
    }
    let soon = [("x-request-timeout", "soon")];
    let refused = Socket::try_open(gateway.address(), "/library.v1.Library/Discuss", &soon).await;
    assert_eq!(refused.err().unwrap(), 400);
    for (speech, version) in all(&Speech::CLIENT_STREAM).chain(all(&Speech::UNARY)) {
        if speech.is_socket() {
            continue;
        }
        let stream = Speech::CLIENT_STREAM.contains(&speech);
        let (method, message) = if stream { ("Discuss", json!({})) } else { ("GetBook", book("7")) };
        let call = speech.call(version, method).header("grpc-timeout", "soon").header("connect-timeout-ms", "soon");
        let call = call.header("x-request-timeout", "soon");
        call.send(&gateway, &[message]).await.failed(Code::InvalidArgument);
    }
}
