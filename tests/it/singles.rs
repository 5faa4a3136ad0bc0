//! Unary calls in every dialect: whether its messages are read or cross unread, a call goes by the same rules.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use transom_transcode::status::Code;

use crate::support::faulty::{Fault, Faulty, Stage};
use crate::support::gateway::{Running, gateway};
use crate::support::reply::{Reply, ok, stream};
use crate::support::speak::Speech;
use crate::support::until;
use crate::support::upstream::{self, Upstream};

const SPEECHES: [Speech; 5] = [Speech::Rest, Speech::Grpc, Speech::Web, Speech::WebText, Speech::Connect];

/// A library that changes nothing (`GetBook`) or may (`Echo`).
async fn library(reply: impl Fn() -> Reply + Clone + Send + Sync + 'static) -> Upstream {
    let again = reply.clone();
    let library = upstream::grpc("library.v1.Library").unary("GetBook", move |_| reply());
    library.unary("Echo", move |_| again()).start().await
}

fn quick() -> Reply {
    ok(json!({ "title": "Dune" }))
}

/// A head, and nothing after it.
fn hangs() -> Reply {
    stream([]).then_hang()
}

fn book() -> Value {
    json!({ "name": "shelves/1/books/7" })
}

async fn before(endpoints: &[String], keys: &str) -> Running {
    gateway().descriptors("library").upstream_at("library", "library.v1.Library", endpoints, keys).start().await
}

async fn call(gateway: &Running, speech: Speech, method: &str, message: &Value) -> Option<Code> {
    speech.call(2, method).send(gateway, std::slice::from_ref(message)).await.code
}

#[tokio::test]
async fn what_no_service_has_seen_moves_on_in_every_dialect() {
    for speech in SPEECHES {
        let (ill, good) = (Faulty::start(Fault::Refuses, Stage::Before).await, library(quick).await);
        let gateway = before(&[ill.address(), good.address().to_string()], "connections: 1").await;
        for title in [1, 20_000, 50_000] {
            for _ in 0..2 {
                let message = json!({ "title": "a".repeat(title) });
                let code = call(&gateway, speech, "Echo", &message).await;
                assert_eq!(code, Some(Code::Ok), "{speech:?}, {title} bytes");
                let saw = good.saw("Echo");
                assert_eq!(saw.calls().last().unwrap().messages, [message], "{speech:?}");
            }
        }
        good.saw("Echo").times(6);
    }
}

#[tokio::test]
async fn a_head_alone_is_no_answer_in_any_dialect() {
    for keys in
        ["retry: { hedge: 40ms, budget: 100% }", "retry: { per_try_timeout: 100ms, backoff: 1ms, budget: 100% }"]
    {
        for speech in SPEECHES {
            let (stuck, good) = (library(hangs).await, library(quick).await);
            let endpoints = [&stuck, &good].map(|library| library.address().to_string());
            let gateway = before(&endpoints, &format!("timeout: 5s, {keys}")).await;
            let began = Instant::now();
            for _ in 0..4 {
                assert_eq!(call(&gateway, speech, "GetBook", &book()).await, Some(Code::Ok), "{keys}, {speech:?}");
            }
            assert!(began.elapsed() < Duration::from_secs(3), "{keys}, {speech:?}: {:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn who_hangs_after_a_head_opens_its_breaker_in_every_dialect() {
    for speech in SPEECHES {
        let (stuck, good) = (library(hangs).await, library(quick).await);
        let endpoints = [&stuck, &good].map(|library| library.address().to_string());
        let keys = "timeout: 100ms, circuit_breaker: { failures: 3, open_for: 1h }";
        let gateway = before(&endpoints, keys).await;
        let mut late = 0;
        for _ in 0..12 {
            match call(&gateway, speech, "Echo", &json!({})).await {
                Some(Code::Ok) => {}
                Some(Code::DeadlineExceeded) => late += 1,
                other => panic!("{speech:?}: {other:?}"),
            }
        }
        assert_eq!(late, 3, "{speech:?}");
    }
}

#[tokio::test]
async fn who_is_slow_is_ejected_in_every_dialect() {
    for speech in SPEECHES {
        let slow = library(|| quick().after(Duration::from_millis(100))).await;
        let others = [library(quick).await, library(quick).await];
        let endpoints = [&slow, &others[0], &others[1]].map(|library| library.address().to_string());
        let keys = "outlier_ejection: { window: 1s, request_volume: 3, latency_factor: 3 }";
        let gateway = before(&endpoints, keys).await;
        until("an ejection", async || {
            for _ in 0..3 {
                assert_eq!(call(&gateway, speech, "Echo", &json!({})).await, Some(Code::Ok), "{speech:?}");
            }
            let upstreams = gateway.admin("/upstreams").await.value();
            upstreams["upstreams"][0]["endpoints"][0]["ejected"] == true
        })
        .await;
    }
}
