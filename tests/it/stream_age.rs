//! Ages: streams, WebSockets and connections end when they are as old as they may grow, each at an age of its own.

use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use transom_transcode::status::Code;

use crate::support::gateway::{Running, gateway};
use crate::support::library::library;
use crate::support::reply::{hang, ok, stream};
use crate::support::socket::Socket;
use crate::support::speak::Speech;
use crate::support::upstream::{self, Upstream};
use crate::support::{soon, until};

async fn aging(library: &Upstream, age: &str) -> Running {
    let builder = gateway().descriptors("library").expose_all().upstream("library", library);
    builder.config(&format!("overload: {{ max_stream_age: {age} }}")).start().await
}

#[tokio::test]
async fn old_streams_end_in_every_dialect_and_their_upstreams_hear_of_it() {
    let library = library().await;
    let gateway = aging(&library, "300ms").await;
    let shelf = json!({ "parent": "shelves/hang" });
    let mut told = 0;
    for speech in Speech::SERVER_STREAM {
        for version in speech.versions() {
            println!("{speech:?} over HTTP/{version}");
            let begun = Instant::now();
            let mut call = speech.call(*version, "WatchBooks").open(&gateway, Some(&shelf)).await;
            call.send(&shelf);
            call.close();
            call.head().await;
            let reply = call.outcome().await;
            let lived = begun.elapsed();
            assert!(lived >= Duration::from_millis(270) && lived < Duration::from_secs(5), "{lived:?}");
            if speech == Speech::Rest {
                // An array is broken off, and says no more than that.
                assert_eq!((reply.http, reply.code), (200, None), "{reply:?}");
            } else {
                assert_eq!((reply.http, reply.code), (200, Some(Code::Unavailable)), "{reply:?}");
                assert_eq!(reply.messages, [json!({ "title": "A" })]);
            }
            told += 1;
            library.cancelled("WatchBooks", told).await;
        }
    }
    for line in gateway.logged(told).await {
        assert_eq!((&line["code"], &line["reason"]), (&json!("UNAVAILABLE"), &json!("STREAM_AGE")), "{line}");
    }
    // A call that streams nothing has a deadline instead.
    let slow = gateway.get("/v1/shelves/1/books/hang").header("x-request-timeout", "0.6").await;
    slow.status(504).reason("DEADLINE");
}

#[tokio::test]
async fn a_stream_that_is_still_to_be_answered_grows_old_too() {
    let library = upstream::grpc("library.v1.Library")
        .server_stream("WatchBooks", |_| hang())
        .client_stream("ImportBooks", |_| hang())
        .start()
        .await;
    let gateway = aging(&library, "300ms").await;
    for (method, message) in [("WatchBooks", json!({ "parent": "shelves/1" })), ("ImportBooks", json!({}))] {
        let reply = gateway.grpc(&format!("library.v1.Library/{method}")).send(&[message]).await;
        reply.failed(Code::Unavailable);
        library.cancelled(method, 1).await;
    }
}

#[tokio::test]
async fn an_old_socket_is_closed_with_the_status() {
    let rules = upstream::grpc("rules.v1.Rules")
        .bidi("Chat", |message| vec![message.clone()])
        .server_stream("Watch", |_| ok(json!({ "text": "a" })).then_hang())
        .start()
        .await;
    let gateway = gateway().descriptors("rules").upstream("rules", &rules);
    let gateway = gateway.config("overload: { max_stream_age: 500ms }").start().await;
    // One that has spoken, and one whose upstream has not answered yet.
    let mut spoken = Socket::open(gateway.address(), "/v1/chat/7", &[]).await;
    let mut silent = Socket::open(gateway.address(), "/v1/chat/8", &[]).await;
    spoken.json(&json!({ "text": "a" })).await;
    assert_eq!(spoken.value().await, json!({ "id": "7", "text": "a" }));
    for socket in [&mut spoken, &mut silent] {
        let details = socket.value().await;
        assert!(details.to_string().contains("STREAM_AGE"), "{details}");
        assert_eq!(socket.closed().await.0, 4014);
    }
}

/// An upstream whose streams are more than all buffers on the way hold.
async fn large(service: &str, method: &str, field: &str) -> Upstream {
    let message = json!({ field: "x".repeat(1 << 20) });
    upstream::grpc(service).server_stream(method, move |_| stream(vec![message.clone(); 16]).then_hang()).start().await
}

async fn let_go(gateway: &Running, upstream: &Upstream, method: &str, times: usize) {
    upstream.cancelled(method, times).await;
    let line = gateway.logged(times).await.pop().unwrap();
    assert_eq!((&line["code"], &line["reason"]), (&json!("UNAVAILABLE"), &json!("STREAM_AGE")), "{line}");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_by_its_age_over_both_versions() {
    let library = large("library.v1.Library", "WatchBooks", "title").await;
    let builder = gateway().descriptors("library").upstream("library", &library);
    let builder = builder.config("overload: { max_stream_age: 300ms }\nclients: { idle_timeout: 500ms }");
    let gateway = builder.start().await;

    let mut raw = gateway.raw().await;
    let head =
        "POST /library.v1.Library/WatchBooks HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc-web+proto\r\n";
    raw.write(format!("{head}content-length: 5\r\n\r\n\0\0\0\0\0")).await;
    let_go(&gateway, &library, "WatchBooks", 1).await;

    let call = gateway.request("POST", "/library.v1.Library/WatchBooks").http2().body("\0\0\0\0\0");
    let unread = call.header("content-type", "application/grpc+proto").open().await;
    assert_eq!(unread.status(), 200);
    let_go(&gateway, &library, "WatchBooks", 2).await;
    unread.into_body().collect().await.expect_err("the stream is reset");
}

#[tokio::test]
async fn a_socket_that_nobody_reads_ends_by_its_age() {
    let rules = large("rules.v1.Rules", "Watch", "text").await;
    let gateway = gateway().descriptors("rules").upstream("rules", &rules);
    let gateway = gateway.config("overload: { max_stream_age: 300ms }").start().await;
    let _unread = Socket::open(gateway.address(), "/v1/things/7:watch", &[]).await;
    let_go(&gateway, &rules, "Watch", 1).await;
}

#[tokio::test]
async fn what_was_opened_together_does_not_end_together() {
    let library = library().await;
    let gateway = aging(&library, "1s").await;
    let mut ends = JoinSet::new();
    for _ in 0..40 {
        let watch = gateway.get("/v1/shelves/hang/books:watch").header("accept", "application/x-ndjson");
        ends.spawn(async move {
            let begun = Instant::now();
            watch.await.status(200);
            begun.elapsed()
        });
    }
    let ages = soon("all ends", ends.join_all()).await;
    let (first, last) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
    assert!(*first >= Duration::from_millis(900), "{first:?}");
    // A fifth of a second between them; chance leaves less than half of that out once in a billion.
    assert!(*last - *first >= Duration::from_millis(100), "{first:?} to {last:?}");
}

#[tokio::test]
async fn connections_that_were_opened_together_do_not_end_together() {
    let gateway = gateway().config("clients: { max_age: 1s }").start().await;
    let mut open = Vec::new();
    for _ in 0..40 {
        open.push(gateway.connect_http2().await);
    }
    let begun = Instant::now();
    let mut ages = Vec::new();
    until("all have ended", async || {
        open.retain(|connection| !connection.is_closed());
        ages.resize(40 - open.len(), begun.elapsed());
        open.is_empty()
    })
    .await;
    assert!(ages[39] - ages[0] >= Duration::from_millis(80), "{:?} to {:?}", ages[0], ages[39]);
}
