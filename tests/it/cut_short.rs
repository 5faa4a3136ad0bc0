//! Messages that are cut short by the upstream: half of one is never taken for whole, whatever comes after it.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;
use transom_transcode::status::Code;

use crate::support::gateway::gateway;
use crate::support::reply::stream;
use crate::support::speak::Speech;
use crate::support::upstream::{self, Upstream};

/// A message of 23 bytes that ends after two: a frame of 21 bytes behind it would make it whole, a field of as many bytes.
const WITHIN_MESSAGE: &[u8] = b"\0\0\0\0\x17\x0a\x15";
const WITHIN_PREFIX: &[u8] = b"\0\0\0";
/// A whole book, and one that is announced to be of 4 GiB.
const TOO_LARGE: &[u8] = b"\0\0\0\0\x03\x12\x01B\0\xff\xff\xff\xff";

/// How a stream ends after its first message; the code, and the reason where the error is the gateway's own.
const ENDS: [(&str, &[u8], Code, Option<&str>); 7] = [
    ("ok-message", WITHIN_MESSAGE, Code::Internal, Some("UPSTREAM_PROTOCOL")),
    ("ok-prefix", WITHIN_PREFIX, Code::Internal, Some("UPSTREAM_PROTOCOL")),
    ("error-message", WITHIN_MESSAGE, Code::Aborted, None),
    ("error-prefix", WITHIN_PREFIX, Code::Aborted, None),
    ("reset-message", WITHIN_MESSAGE, Code::Unavailable, Some("UPSTREAM_RESET")),
    ("reset-prefix", WITHIN_PREFIX, Code::Unavailable, Some("UPSTREAM_RESET")),
    ("ok-large", TOO_LARGE, Code::ResourceExhausted, Some("RESPONSE_TOO_LARGE")),
];

/// A library whose streams end in these ways, once they are told to go on.
async fn library(notify: &Arc<Notify>) -> Upstream {
    let notify = notify.clone();
    upstream::grpc("library.v1.Library")
        .server_stream("WatchBooks", move |asked| {
            let how = asked["parent"].as_str().unwrap().strip_prefix("shelves/").unwrap();
            let (_, bytes, ..) = ENDS.into_iter().find(|(name, ..)| *name == how).unwrap();
            let reply = stream([json!({ "title": "A" })]);
            match how.split_once('-').unwrap().0 {
                "reset" => reply.then_bytes(bytes).then_wait(&notify).then_reset(),
                "error" => reply.then_wait(&notify).then_bytes(bytes).then_fail(Code::Aborted, "enough"),
                _ => reply.then_wait(&notify).then_bytes(bytes),
            }
        })
        .start()
        .await
}

#[tokio::test]
async fn an_end_within_a_message_is_read_as_no_part_of_it() {
    let notify = Arc::default();
    let library = library(&notify).await;
    let gateway = gateway().descriptors("library").expose_all().upstream("library", &library).start().await;
    let mut told: Vec<(Value, Value)> = Vec::new();
    for speech in Speech::SERVER_STREAM {
        for (version, (how, _, code, reason)) in
            speech.versions().iter().flat_map(|version| ENDS.map(|end| (*version, end)))
        {
            println!("{speech:?} over HTTP/{version}: {how}");
            let shelf = json!({ "parent": format!("shelves/{how}") });
            let mut call = speech.call(version, "WatchBooks").open(&gateway, Some(&shelf)).await;
            call.send(&shelf);
            call.close();
            call.head().await;
            if speech != Speech::Rest {
                assert_eq!(call.next().await, Some(json!({ "title": "A" })));
            }
            notify.notify_one();
            let outcome = call.outcome().await;

            let whole = how.ends_with("large");
            // Whose end is in the body has no place for it within a message. An array has none at all.
            let in_body = matches!(speech, Speech::Web | Speech::WebText | Speech::ConnectStream);
            let broken = speech == Speech::Rest || in_body && !whole;
            assert_eq!(outcome.code, (!broken).then_some(code), "{outcome:?}");
            let left = if whole && speech != Speech::Rest { vec![json!({ "title": "B" })] } else { Vec::new() };
            assert_eq!(outcome.messages, left);
            told.push((json!(code.name()), json!(reason)));
        }
    }
    let lines = gateway.log().await;
    let logged: Vec<_> = lines.iter().map(|line| (line["code"].clone(), line["reason"].clone())).collect();
    assert_eq!(logged, told);
}
