//! Server streams over REST: an array, lines or events; errors before the head and after it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::sync::Notify;
use transom_transcode::status::Code;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::{Reply, fail, ok, stream};
use crate::support::upstream::{self, Upstream};
use crate::support::{soon, until};

const WATCH: &str = "/v1/shelves/1/books:watch";

async fn library(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Upstream {
    upstream::grpc("library.v1.Library").server_stream("WatchBooks", move |_| reply()).start().await
}

async fn start(library: &Upstream) -> Running {
    gateway().descriptors("library").upstream_with("library", &[library], "limits: { receive: 1KiB }").start().await
}

fn three() -> Reply {
    stream([json!({ "title": "A" }), json!({ "pages": "2" }), json!({})])
}

#[tokio::test]
async fn a_stream_takes_the_form_that_the_client_accepts() {
    let library = library(three).await;
    let gateway = start(&library).await;
    for (accept, content_type, body) in [
        ("*/*", "application/json", "[{\"title\":\"A\"},{\"pages\":\"2\"},{}]"),
        ("application/json", "application/json", "[{\"title\":\"A\"},{\"pages\":\"2\"},{}]"),
        ("application/x-ndjson", "application/x-ndjson", "{\"title\":\"A\"}\n{\"pages\":\"2\"}\n{}\n"),
        (
            "text/event-stream",
            "text/event-stream",
            "id: 1\ndata: {\"title\":\"A\"}\n\nid: 2\ndata: {\"pages\":\"2\"}\n\nid: 3\ndata: {}\n\n",
        ),
    ] {
        for http2 in [false, true] {
            let call = gateway.get(WATCH).header("accept", accept);
            let reply = if http2 { call.http2().await } else { call.await };
            reply.status(200).header("content-type", content_type);
            assert_eq!(reply.text(), body);
            assert!(reply.headers.get_all("vary").iter().any(|name| name == "accept"), "{:?}", reply.headers);
        }
    }
    library.saw("WatchBooks").message(&json!({ "parent": "shelves/1" }));
}

#[tokio::test]
async fn an_empty_stream_is_an_empty_array() {
    let library = library(|| stream([])).await;
    let gateway = start(&library).await;
    gateway.get(WATCH).await.status(200).json(&json!([]));
    let lines = gateway.get(WATCH).header("accept", "application/x-ndjson").await;
    assert_eq!(lines.status(200).text(), "");
}

#[tokio::test]
async fn what_fails_at_once_has_its_http_status() {
    for accept in ["*/*", "application/x-ndjson", "text/event-stream"] {
        let told = [
            (fail(Code::NotFound, "no shelf"), 404),
            // After the head and before the first message.
            (stream([]).header("x-a", "b").then_sleep(Duration::from_millis(20)).then_fail(Code::Aborted, "no"), 409),
        ];
        for (reply, status) in told {
            let library = library(move || reply.clone()).await;
            let gateway = start(&library).await;
            let reply = gateway.get(WATCH).header("accept", accept).await;
            reply.status(status).header("content-type", "application/json");
        }
    }
}

#[tokio::test]
async fn messages_come_as_they_are_sent() {
    let go = Arc::new(Notify::new());
    let told = go.clone();
    let library = library(move || ok(json!({ "title": "A" })).then_wait(&told).then(json!({ "title": "B" }))).await;
    let gateway = start(&library).await;
    let mut body = gateway.get(WATCH).header("accept", "application/x-ndjson").open().await.into_body();
    let first = soon("the first message", body.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "{\"title\":\"A\"}\n");
    go.notify_one();
    let rest = soon("the rest", body.collect()).await.unwrap().to_bytes();
    assert_eq!(rest, "{\"title\":\"B\"}\n");
}

#[tokio::test]
async fn a_quiet_watch_opens_within_a_second_and_beats() {
    let library = library(|| stream([]).header("x-a", "b").then_sleep(Duration::from_secs(60))).await;
    let gateway = start(&library).await;
    let response = gateway.get(WATCH).header("accept", "text/event-stream").open().await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-a"], "b");
    drop(response);
    library.cancelled("WatchBooks", 1).await;
    assert_eq!(gateway.logged(1).await[0]["reason"], "CLIENT_GONE");
}

/// The end of the connection is the end of such an answer, unless it is reset.
#[tokio::test]
async fn a_break_is_seen_over_http_1_0_too() {
    let broken = library(|| ok(json!({ "title": "A" })).then_fail(Code::Aborted, "enough")).await;
    let whole = library(|| ok(json!({ "title": "A" }))).await;
    for (library, expected) in [(broken, Err(std::io::ErrorKind::ConnectionReset)), (whole, Ok(0))] {
        let gateway = start(&library).await;
        let mut client = TcpStream::connect(gateway.address()).await.unwrap();
        client.write_all(format!("GET {WATCH} HTTP/1.0\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = loop {
            match soon("the answer", client.read_buf(&mut answer)).await {
                Ok(1..) => {}
                end => break end.map_err(|error| error.kind()),
            }
        };
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains("200 OK") && answer.contains("[{\"title\":\"A\"}"), "{answer}");
        assert_eq!(end, expected);
    }
}

#[tokio::test]
async fn an_error_in_the_middle_is_never_taken_for_the_end() {
    let endings: [(fn() -> Reply, Value); 4] = [
        (|| ok(json!({})).then_fail(Code::Aborted, "enough"), json!({ "code": 10, "message": "enough" })),
        (|| ok(json!({})).then_sleep(Duration::from_millis(50)).then_reset(), reason(14, "UPSTREAM_RESET")),
        (|| ok(json!({})).then_no_trailers(), reason(13, "UPSTREAM_PROTOCOL")),
        (|| ok(json!({})).then(json!({ "title": "x".repeat(2000) })), reason(8, "RESPONSE_TOO_LARGE")),
    ];
    for (reply, expected) in endings {
        let library = library(reply).await;
        let gateway = start(&library).await;
        let is_expected = |error: &Value| {
            assert_eq!(error["code"], expected["code"], "{error}");
            assert_eq!(error["details"][0]["reason"], expected["details"][0]["reason"], "{error}");
        };

        let lines = gateway.get(WATCH).header("accept", "application/x-ndjson").await;
        let text = lines.status(200).text();
        let (first, last) = text.trim_end().split_once('\n').expect("two lines");
        assert_eq!(first, "{}");
        is_expected(&serde_json::from_str::<Value>(last).unwrap()["error"]);

        let events = gateway.get(WATCH).header("accept", "text/event-stream").await;
        let text = events.status(200).text();
        let (first, last) = text.split_once("event: error\ndata: ").expect("an error event");
        assert_eq!(first, "id: 1\ndata: {}\n\n");
        is_expected(&serde_json::from_str(last).unwrap());

        for http2 in [false, true] {
            let call = gateway.get(WATCH);
            let response = if http2 { call.http2().open().await } else { call.open().await };
            assert_eq!(response.status(), 200);
            let mut body = response.into_body();
            let mut text = Vec::new();
            let broken = loop {
                match soon("the next frame", body.frame()).await {
                    Some(Ok(frame)) => text.extend_from_slice(frame.data_ref().unwrap()),
                    Some(Err(_)) => break true,
                    None => break false,
                }
            };
            assert!(broken, "a broken array was closed as if it were whole");
            assert_eq!(text, b"[{}");
        }
        for line in gateway.logged(4).await {
            assert_eq!(line["code"], Code::from_number(expected["code"].as_i64().unwrap()).name(), "{line}");
        }
    }
}

#[tokio::test]
async fn whole_messages_come_before_a_break() {
    let library = library(|| three().then_fail(Code::Aborted, "enough")).await;
    let gateway = start(&library).await;
    let url = format!("http://{}{WATCH}", gateway.address());
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        // One that is late finds all of it at once, and forgets over a reset what came before.
        until("curl has read every message", async || {
            let mut curl = Command::new("curl");
            let curl = curl.args(["-sS", "--max-time", "20", version, &url]).output().await.expect("curl");
            // The transfer was cut, or the stream reset.
            assert!(matches!(curl.status.code(), Some(18 | 56 | 92)), "{version}: {curl:?}");
            curl.stdout == b"[{\"title\":\"A\"},{\"pages\":\"2\"},{}"
        })
        .await;
    }
}

#[tokio::test]
async fn a_break_waits_for_who_reads_slowly() {
    let book = json!({ "title": "x".repeat(900) });
    let books = move || stream(std::iter::repeat_n(book.clone(), 3)).then_fail(Code::Aborted, "enough");
    let library = library(books).await;
    let gateway = start(&library).await;
    let ask = async || {
        let socket = TcpStream::connect(gateway.address()).await.unwrap();
        // Less than there is to say: the rest waits at the gateway until the client has read this.
        let mut builder = h2::client::Builder::new();
        let (client, connection) = builder.initial_window_size(1000).handshake::<_, Bytes>(socket).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(format!("http://{}{WATCH}", gateway.address())).body(()).unwrap();
        let answer = client.ready().await.unwrap().send_request(request, true).unwrap().0;
        soon("a head", answer).await.unwrap().into_body()
    };
    let mut body = ask().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut text = Vec::new();
    let end = loop {
        match soon("the next piece", body.data()).await {
            Some(Ok(piece)) => {
                body.flow_control().release_capacity(piece.len()).unwrap();
                text.extend_from_slice(&piece);
            }
            end => break end,
        }
    };
    assert!(matches!(end, Some(Err(_))), "a broken array was closed as if it were whole");
    assert_eq!(text.len(), "[".len() + 3 * "{\"title\":\"\"}".len() + 3 * 900 + 2 * ",".len());
    // Who leaves in place of reading on is not waited for.
    drop(ask().await);
    gateway.logged(2).await;
}

/// Bytes that nobody has read make a reset of a close, and a reset throws away what is still on its way.
#[tokio::test]
async fn what_was_said_before_a_break_reaches_a_client_that_still_sends() {
    let line = || json!({ "title": "x".repeat(900) });
    let library = library(move || stream(std::iter::repeat_n(line(), 200)).then_fail(Code::Aborted, "enough")).await;
    let gateway = start(&library).await;
    let client = TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(4096).unwrap();
    let (mut read, mut write) = client.connect(gateway.address()).await.unwrap().into_split();
    let ask = async {
        let request = format!("GET {WATCH} HTTP/1.1\r\nhost: a\r\n\r\n");
        write.write_all(request.as_bytes()).await.unwrap();
        // The next ones: nobody asked for so many.
        while write.write_all(request.repeat(1000).as_bytes()).await.is_ok() {}
    };
    let listen = async {
        let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
        let end = loop {
            match soon("more of it", read.read(&mut piece)).await {
                Ok(read @ 1..) => answer.extend_from_slice(&piece[..read]),
                end => break end,
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        (String::from_utf8(answer).unwrap(), end.map_err(|error| error.kind()))
    };
    let (answer, end) = tokio::select! {
        () = ask => panic!("the gateway reads on"),
        heard = listen => heard,
    };
    assert_eq!((answer.matches("xxx\"}").count(), end), (200, Ok(0)));
    assert!(!answer.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_service_is_told_of_no_deadline_where_there_is_none() {
    let library = library(three).await;
    let gateway = start(&library).await;
    let told = || library.saw("WatchBooks").last().headers.get("grpc-timeout").cloned();
    gateway.get(WATCH).await.status(200);
    assert_eq!(told(), None);
    // Timers of services in JavaScript hold 24 days.
    gateway.grpc("library.v1.Library/WatchBooks").header("grpc-timeout", "99999999S").send(&[json!({})]).await;
    assert_eq!(told(), None);
    gateway.get(WATCH).header("x-request-timeout", "10").await.status(200);
    assert!(told().is_some());
}

fn reason(code: u8, reason: &str) -> Value {
    json!({ "code": code, "details": [{ "reason": reason }] })
}

#[tokio::test]
async fn a_stream_outlives_the_timeout_of_calls() {
    let library = library(|| ok(json!({})).then_sleep(Duration::from_millis(400)).then(json!({}))).await;
    let gateway =
        gateway().descriptors("library").upstream_with("library", &[&library], "timeout: 100ms").start().await;
    gateway.get(WATCH).await.status(200).json(&json!([{}, {}]));
    let reply = gateway.get(WATCH).header("accept", "application/x-ndjson").header("x-request-timeout", "0.1").await;
    assert!(reply.text().contains("DEADLINE"), "{}", reply.text());
}

#[tokio::test]
async fn a_reader_that_waits_is_waited_for() {
    let book = json!({ "title": "x".repeat(900) });
    let library = library(move || stream(std::iter::repeat_n(book.clone(), 5_000))).await;
    let gateway = start(&library).await;
    let mut body = gateway.get(WATCH).header("accept", "application/x-ndjson").open().await.into_body();
    // Nothing is taken for a while: what the gateway has sent by then is what it and the sockets hold, not 4.5 MB.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(gateway.lines().len(), 0, "the call is still open");
    let mut bytes = 0;
    while let Some(frame) = soon("the next frame", body.frame()).await {
        bytes += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(bytes, 5_000 * (900 + "{\"title\":\"\"}\n".len()));
    assert_eq!(gateway.logged(1).await[0]["bytes_out"], bytes);
}
