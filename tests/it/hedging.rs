//! Hedging: a call that takes its time is sent to another endpoint as well, and the first answer wins.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;
use transom_transcode::status::Code;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::{Reply, fail, hang, ok};
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";
const HEDGE: &str = "retry: { hedge: 40ms, backoff: 1ms, budget: 100% }";

async fn library(reply: impl Fn() -> Reply + Clone + Send + Sync + 'static) -> Upstream {
    let again = reply.clone();
    let library = upstream::grpc("library.v1.Library").unary("GetBook", move |_| reply());
    library.unary("Echo", move |_| again()).start().await
}

fn quick() -> Reply {
    ok(json!({ "title": "Dune" }))
}

fn slow(millis: u64) -> Reply {
    quick().after(Duration::from_millis(millis))
}

async fn start(instances: &[&Upstream], keys: &str) -> Running {
    gateway().descriptors("library").upstream_with("library", instances, keys).start().await
}

fn seen(library: &Upstream, method: &str) -> usize {
    library.saw(method).calls().len()
}

#[tokio::test]
async fn the_other_answers_and_the_one_that_does_not_is_cancelled_in_every_dialect() {
    let (stuck, well) = (library(hang).await, library(quick).await);
    let gateway = start(&[&stuck, &well], HEDGE).await;
    let asked = Instant::now();
    for _ in 0..2 {
        gateway.get(BOOK).await.status(200);
        let grpc = gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await;
        grpc.ok(&[json!({ "title": "Dune" })]);
    }
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    well.saw("GetBook").times(4);
    let stuck_calls = seen(&stuck, "GetBook");
    assert!((1..=4).contains(&stuck_calls), "{stuck_calls}");
    stuck.cancelled("GetBook", stuck_calls).await;
}

#[tokio::test]
async fn the_first_wins_where_it_is_quicker_and_who_is_quick_stays_alone() {
    let (late, stuck) = (library(|| slow(100)).await, library(hang).await);
    let gateway = start(&[&late, &stuck], HEDGE).await;
    gateway.get(BOOK).await.status(200);
    late.saw("GetBook").times(1);
    stuck.cancelled("GetBook", 1).await;

    let (one, other) = (library(quick).await, library(quick).await);
    let gateway = start(&[&one, &other], HEDGE).await;
    for _ in 0..10 {
        gateway.get(BOOK).await.status(200);
    }
    assert_eq!((seen(&one, "GetBook"), seen(&other, "GetBook")), (5, 5));
}

#[tokio::test]
async fn without_another_endpoint_no_attempt_is_spent_on_a_hedge() {
    let asked = Arc::new(AtomicUsize::new(0));
    let alone = library(move || match asked.fetch_add(1, Relaxed) {
        0 => fail(Code::Unavailable, "busy").after(Duration::from_millis(100)),
        _ => quick(),
    });
    let alone = alone.await;
    let gateway = start(&[&alone], &HEDGE.replace("hedge", "attempts: 2, hedge")).await;
    gateway.get(BOOK).await.status(200);
    alone.saw("GetBook").times(2);
}

#[tokio::test]
async fn what_has_effects_is_never_sent_twice_unless_configuration_says_that_it_may() {
    let echo = async |keys: &str| {
        let (one, other) = (library(|| slow(150)).await, library(|| slow(150)).await);
        let config = format!("methods: {{ \"library.v1.Library/Echo\": {keys} }}");
        let gateway = gateway().descriptors("library").config(&config);
        let gateway = gateway.upstream_with("library", &[&one, &other], HEDGE).start().await;
        gateway.post("/v1/echo", &json!({})).await.status(200);
        seen(&one, "Echo") + seen(&other, "Echo")
    };
    assert_eq!(echo("{}").await, 1);
    assert_eq!(echo("{ idempotent: true }").await, 2);
}

#[tokio::test]
async fn an_answer_that_no_other_try_would_change_ends_both() {
    let (stuck, none) = (library(hang).await, library(|| fail(Code::NotFound, "no such book")).await);
    let gateway = start(&[&stuck, &none], &format!("timeout: 5s, {HEDGE}")).await;
    let asked = Instant::now();
    for _ in 0..2 {
        gateway.get(BOOK).await.status(404);
    }
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    stuck.cancelled("GetBook", 1).await;
}

#[tokio::test]
async fn a_hedge_is_one_of_the_attempts_and_of_the_budget() {
    let failing = || fail(Code::Unavailable, "busy").after(Duration::from_millis(90));
    let (one, other) = (library(failing).await, library(failing).await);
    let gateway =
        start(&[&one, &other], &format!("timeout: 5s, {}", HEDGE.replace("hedge", "attempts: 3, hedge"))).await;
    gateway.get(BOOK).await.status(503);
    assert_eq!(seen(&one, "GetBook") + seen(&other, "GetBook"), 3);

    let (one, other) = (library(|| slow(5)).await, library(|| slow(5)).await);
    let keys = "retry: { hedge: 1ms, budget: 10% }";
    let gateway = start(&[&one, &other], keys).await;
    for _ in 0..160 {
        gateway.get(BOOK).await.status(200);
    }
    let calls = seen(&one, "GetBook") + seen(&other, "GetBook");
    // A tenth, and the floor of ten a second over ten seconds.
    assert!((200..=277).contains(&calls), "{calls}");
}

#[tokio::test]
async fn a_second_try_has_a_time_of_its_own() {
    let (stuck, late) = (library(hang).await, library(|| slow(250)).await);
    let keys = "timeout: 10s, retry: { attempts: 2, hedge: 300ms, per_try_timeout: 400ms, budget: 100% }";
    let gateway = start(&[&stuck, &late], keys).await;
    gateway.get(BOOK).await.status(200);
    let text = late.saw("GetBook").calls()[0].headers["grpc-timeout"].to_str().unwrap().to_owned();
    let given = transom_transcode::frame::timeout::parse(&text).unwrap();
    assert!(given > Duration::from_millis(350), "{given:?}");
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_found_out_though_the_others_answer_for_it() {
    let (stuck, well) = (library(hang).await, library(quick).await);
    let keys = format!("circuit_breaker: {{ failures: 3, open_for: 1h }}, {HEDGE}");
    let gateway = start(&[&stuck, &well], &keys).await;
    for _ in 0..16 {
        gateway.get(BOOK).await.status(200);
    }
    stuck.saw("GetBook").times(3);

    // Who is slow now and then is not.
    let asked = Arc::new(AtomicUsize::new(0));
    let late = library(move || if asked.fetch_add(1, Relaxed).is_multiple_of(2) { slow(90) } else { quick() }).await;
    let quick = library(|| slow(30)).await;
    let gateway = start(&[&late, &quick], &keys).await;
    for _ in 0..8 {
        gateway.get(BOOK).await.status(200);
    }
    let upstreams = gateway.admin("/upstreams").await.value();
    let mut endpoints = upstreams["upstreams"][0]["endpoints"].as_array().unwrap().iter();
    assert!(endpoints.all(|endpoint| endpoint["circuit"] == "closed"), "{upstreams}");
    assert!(seen(&late, "GetBook") >= 4);
}
