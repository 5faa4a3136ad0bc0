//! What upstreams answer, and what becomes of it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use transom_transcode::status::Code;

use super::support::{Call, Server, call, framed, grpc_head, join, outgoing, settings, status, upstream};
use crate::error::Error;
use crate::telemetry::Metrics;
use crate::upstream::{Answer, Failure, FailureKind, Pool, Seen, Unary, Upstream};

/// What a call gets from a server that answers with these frames.
async fn reply(head: Response<()>, frames: Vec<Bytes>, trailers: Option<HeaderMap>) -> Result<Unary, Failure> {
    let server = Server::start(move |(_, mut respond): Call| {
        let ended = frames.is_empty() && trailers.is_none();
        let Ok(mut send) = respond.send_response(head.clone(), ended) else { return };
        for (at, frame) in frames.iter().enumerate() {
            let last = trailers.is_none() && at + 1 == frames.len();
            send.send_data(frame.clone(), last).unwrap();
        }
        if let Some(trailers) = &trailers {
            send.send_trailers(trailers.clone()).unwrap();
        }
    })
    .await;
    call(&upstream(&[server.address]), &Pool::new(0, 1)).await
}

fn answer(outcome: Result<Unary, Failure>) -> Answer {
    match outcome.unwrap_err().kind {
        FailureKind::Status(answer) => *answer,
        other => panic!("{other:?}"),
    }
}

fn is_protocol(outcome: &Result<Unary, Failure>) -> bool {
    matches!(outcome, Err(Failure { kind: FailureKind::Protocol, seen: Seen::Seen, .. }))
}

#[tokio::test]
async fn a_reply_has_its_message_and_all_its_metadata() {
    let head = Response::builder().header("content-type", "application/grpc+proto").header("a", "1").body(()).unwrap();
    let mut trailers = status("0");
    trailers.insert("b", "2".parse().unwrap());
    let reply = reply(head, vec![framed(b"hello")], Some(trailers)).await.unwrap();
    assert_eq!(reply.message, "hello");
    assert_eq!(reply.headers["a"], "1");
    assert_eq!(reply.trailers, HeaderMap::from_iter([("b".parse().unwrap(), "2".parse().unwrap())]));
}

#[tokio::test]
async fn a_message_may_come_in_any_pieces() {
    let whole = framed(&[7; 300]);
    for size in [1, 2, 3, 4, 5, 6, 100, 299, 304] {
        let frames = whole.chunks(size).map(Bytes::copy_from_slice).collect();
        let reply = reply(grpc_head(), frames, Some(status("0"))).await.unwrap();
        assert_eq!(reply.message, [7; 300].as_slice(), "in pieces of {size}");
    }
    let alone = vec![whole.slice(..5), Bytes::new(), whole.slice(5..)];
    assert_eq!(reply(grpc_head(), alone, Some(status("0"))).await.unwrap().message, [7; 300].as_slice());
}

#[tokio::test]
async fn an_empty_message_is_a_message() {
    let reply = reply(grpc_head(), vec![framed(b"")], Some(status("0"))).await.unwrap();
    assert_eq!(reply.message, "");
}

#[tokio::test]
async fn a_message_larger_than_a_window_comes_through() {
    let body = vec![1; 3 << 20];
    let reply = reply(grpc_head(), vec![framed(&body)], Some(status("0"))).await.unwrap();
    assert!(reply.message == body);
}

#[tokio::test]
async fn trailers_only_answers_are_statuses() {
    let head = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "5")
        .header("grpc-message", "no such book: %C3%A9%20%zz")
        .header("x-hint", "h")
        .body(())
        .unwrap();
    let answer = answer(reply(head, vec![], None).await);
    assert_eq!(answer.status.code, Code::NotFound);
    assert_eq!(answer.status.message, "no such book: é %zz");
    assert_eq!(answer.trailers.len(), 1);
    assert_eq!(answer.trailers["x-hint"], "h");
}

#[tokio::test]
async fn details_are_kept_with_and_without_padding() {
    // google.rpc.Status { code: 3, message: "m", details: [Any { type_url: "t/x.Y", value: "v" }] }
    for details in ["CAMSAW0aCgoFdC94LlkSAXY=", "CAMSAW0aCgoFdC94LlkSAXY"] {
        let mut trailers = status("3");
        trailers.insert("grpc-status-details-bin", details.parse().unwrap());
        let answer = answer(reply(grpc_head(), vec![], Some(trailers)).await);
        let [detail] = answer.status.details.as_slice() else { panic!("{answer:?}") };
        assert_eq!((detail.type_url.as_str(), &detail.value[..]), ("t/x.Y", b"v".as_slice()));
        assert!(answer.trailers.is_empty());
    }
}

#[tokio::test]
async fn an_http_status_stands_for_a_code_where_grpc_gives_none() {
    for (http, code) in [(503, Code::Unavailable), (401, Code::Unauthenticated), (404, Code::Unimplemented)] {
        let head = Response::builder().status(http).header("content-type", "text/html").body(()).unwrap();
        let outcome = reply(head, vec![Bytes::from_static(b"<html>")], None).await;
        assert_eq!(answer(outcome).status.code, code);
    }
}

#[tokio::test]
async fn broken_grpc_is_a_protocol_failure() {
    let html = Response::builder().header("content-type", "text/html").body(()).unwrap();
    let web = Response::builder().header("content-type", "application/grpc-web").body(()).unwrap();
    let ok = || Some(status("0"));
    let mut compressed = framed(b"zip").to_vec();
    compressed[0] = 1;
    let two = [framed(b"1"), framed(b"2")].concat();
    let cases = [
        ("html", html, vec![framed(b"x")], ok()),
        ("grpc-web", web, vec![framed(b"x")], ok()),
        ("no trailers", grpc_head(), vec![framed(b"x")], None),
        ("no head either", grpc_head(), vec![], None),
        ("no status", grpc_head(), vec![framed(b"x")], Some(HeaderMap::new())),
        ("a status in words", grpc_head(), vec![framed(b"x")], Some(status("fine"))),
        ("no message", grpc_head(), vec![], ok()),
        ("half a prefix", grpc_head(), vec![framed(b"x").slice(..3)], ok()),
        ("half a message", grpc_head(), vec![framed(b"xyz").slice(..6)], ok()),
        ("two messages", grpc_head(), vec![framed(b"1"), framed(b"2")], ok()),
        ("two messages in a frame", grpc_head(), vec![two.into()], ok()),
        ("compressed", grpc_head(), vec![compressed.into()], ok()),
    ];
    for (name, head, frames, trailers) in cases {
        let outcome = reply(head, frames, trailers).await;
        assert!(is_protocol(&outcome), "{name}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_by_its_prefix() {
    // The prefix says 4 GiB, and nothing more ever comes.
    let server = Server::start(|(_, mut respond): Call| {
        let mut send = respond.send_response(grpc_head(), false).unwrap();
        send.send_data(Bytes::from_static(&[0, 255, 255, 255, 255]), false).unwrap();
        tokio::spawn(async move { std::future::poll_fn(|cx| send.poll_reset(cx)).await });
    })
    .await;
    let failure = call(&upstream(&[server.address]), &Pool::new(0, 1)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::TooLarge { limit: 4_194_304 }), "{failure}");
    assert_eq!(Error::from(failure), Error::ResponseTooLarge { limit: 4 << 20 });
}

#[tokio::test]
async fn a_deadline_ends_the_call_and_crosses_to_the_upstream() {
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |(request, respond): Call| {
        let (head, body) = request.into_parts();
        let sender = sender.clone();
        tokio::spawn(async move {
            sender.send(head.headers).unwrap();
            let (_body, mut respond) = (body, respond);
            std::future::poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
            sender.send(HeaderMap::new()).unwrap();
        });
    })
    .await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let begin = std::time::Instant::now();
    let outcome = upstream.unary(&pool, outgoing(Duration::from_millis(100)), framed(b"")).await;
    let elapsed = begin.elapsed();
    let failure = outcome.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Deadline), "{failure}");
    assert!((100..400).contains(&elapsed.as_millis()), "{elapsed:?}");
    let headers = seen.recv().await.unwrap();
    assert_eq!(headers["te"], "trailers");
    assert_eq!(headers["content-type"], "application/grpc");
    let timeout = headers["grpc-timeout"].to_str().unwrap();
    let left = transom_transcode::frame::timeout::parse(timeout).unwrap().as_millis();
    assert!((50..=101).contains(&left), "{timeout}");
    // The server learns that nobody waits any more.
    assert_eq!(seen.recv().await.unwrap(), HeaderMap::new());
}

#[tokio::test]
async fn calls_in_flight_are_limited() {
    let server = Server::start(|(_, respond): Call| std::mem::forget(respond)).await;
    let mut settings = settings(&[server.address]);
    settings.limits.in_flight = 3;
    let upstream = Upstream::compile("test", &settings, &Metrics::new());
    let pool = Pool::new(0, 1);
    let calls = (0..5).map(|_| upstream.unary(&pool, outgoing(Duration::from_millis(200)), framed(b"")));
    let outcomes = join(calls).await;
    let overloaded = |outcome: &&Result<Unary, Failure>| {
        matches!(outcome, Err(Failure { kind: FailureKind::Overloaded, seen: Seen::Local, .. }))
    };
    assert_eq!(outcomes.iter().filter(overloaded).count(), 2);
}

/// The service was told the deadline, and waits for the same instant as the gateway.
#[tokio::test]
async fn a_deadline_that_the_service_sees_first_is_the_calls() {
    const TIME: Duration = Duration::from_millis(100);
    let server = Server::start(|(_, mut respond): Call| {
        tokio::spawn(async move {
            tokio::time::sleep(TIME - Duration::from_millis(10)).await;
            let mut head = grpc_head();
            head.headers_mut().extend(status("4"));
            respond.send_response(head, true).unwrap();
        });
    })
    .await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    for (within, ours) in [(TIME, true), (Duration::from_secs(60), false)] {
        let failure = upstream.unary(&pool, outgoing(within), framed(b"x")).await.unwrap_err();
        assert_eq!(matches!(failure.kind, FailureKind::Deadline), ours, "{failure:?}");
    }
}
