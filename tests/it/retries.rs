//! Retries: what failed and may be made again is made again, elsewhere first, and never too often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use transom_transcode::status::Code;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::{Reply, fail, hang, ok, stream};
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

/// A library whose first answers fail.
async fn library(failures: usize, failure: impl Fn() -> Reply + Send + Sync + 'static) -> Upstream {
    let failure = Arc::new(failure);
    let answer = || {
        let (left, failure) = (AtomicUsize::new(failures), failure.clone());
        move || match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => failure(),
            Err(_) => ok(json!({ "title": "Dune" })),
        }
    };
    let (get, echo) = (answer(), answer());
    let library = upstream::grpc("library.v1.Library").unary("GetBook", move |_| get()).unary("Echo", move |_| echo());
    library.start().await
}

async fn start(instances: &[&Upstream], keys: &str) -> Running {
    gateway().descriptors("library").upstream_with("library", instances, keys).start().await
}

fn unavailable() -> Reply {
    fail(Code::Unavailable, "busy")
}

#[tokio::test]
async fn what_may_be_made_twice_is_tried_again_in_every_dialect() {
    for failure in [unavailable as fn() -> Reply, || stream([]).then_reset()] {
        let library = library(2, failure).await;
        let gateway = start(&[&library], "retry: { attempts: 3, backoff: 1ms }").await;
        gateway.get(BOOK).await.status(200);
        library.saw("GetBook").times(3);
    }
    let library = library(2, unavailable).await;
    let gateway = start(&[&library], "retry: { attempts: 3, backoff: 1ms }").await;
    let reply = gateway.grpc("library.v1.Library/GetBook").send(&[json!({ "name": "n" })]).await;
    reply.ok(&[json!({ "title": "Dune" })]);
    let saw = library.saw("GetBook");
    saw.times(3);
    assert!(saw.calls().iter().all(|call| call.messages == [json!({ "name": "n" })]), "the request is whole each time");
}

#[tokio::test]
async fn what_may_not_is_not_unless_configuration_says_so() {
    let failing = library(1, unavailable).await;
    let gateway = start(&[&failing], "retry: { backoff: 1ms }").await;
    gateway.post("/v1/echo", &json!({})).await.status(503);
    failing.saw("Echo").times(1);

    let failing = library(1, unavailable).await;
    let gateway = gateway_with(&failing, "library.v1.Library/Echo", "{ idempotent: true }").await;
    gateway.post("/v1/echo", &json!({})).await.status(200);
    let failing = library(1, unavailable).await;
    let gateway = gateway_with(&failing, "library.v1.Library/GetBook", "{ idempotent: false }").await;
    gateway.get(BOOK).await.status(503);
    let failing = library(1, unavailable).await;
    let gateway = gateway_with(&failing, "library.v1.Library/GetBook", "{ retry: { attempts: 1 } }").await;
    gateway.get(BOOK).await.status(503);
}

async fn gateway_with(library: &Upstream, method: &str, keys: &str) -> Running {
    let config = format!("methods: {{ \"{method}\": {keys} }}");
    let gateway = gateway().descriptors("library").config(&config);
    gateway.upstream_with("library", &[library], "retry: { backoff: 1ms }").start().await
}

#[tokio::test]
async fn tries_end_with_their_number_and_the_last_answer_is_the_clients() {
    let library = library(usize::MAX, unavailable).await;
    let gateway = start(&[&library], "retry: { attempts: 4, backoff: 1ms }").await;
    assert_eq!(gateway.get(BOOK).await.status(503).value()["message"], "busy");
    library.saw("GetBook").times(4);
}

#[tokio::test]
async fn another_endpoint_comes_first() {
    let (bad, good) = (library(usize::MAX, unavailable).await, library(0, unavailable).await);
    // Its turn alone would lead each call back to where it was.
    let keys = "balance: { hash: { header: x-tenant } }, retry: { attempts: 2, backoff: 1ms, budget: 100% }";
    let gateway = start(&[&bad, &good], keys).await;
    for tenant in 0..10 {
        gateway.get(BOOK).header("x-tenant", &format!("t{tenant}")).await.status(200);
    }
    good.saw("GetBook").times(10);
    assert!(!bad.saw("GetBook").calls().is_empty());
}

#[tokio::test]
async fn a_service_may_ask_for_a_pause_or_for_none() {
    let after = library(1, || unavailable().trailer("grpc-retry-pushback-ms", "120")).await;
    let gateway = start(&[&after], "retry: { backoff: 1ms }").await;
    let asked = Instant::now();
    gateway.get(BOOK).await.status(200);
    assert!(asked.elapsed() >= Duration::from_millis(120), "{:?}", asked.elapsed());

    // google.rpc.RetryInfo { retry_delay: 120 ms }
    let detail: &[u8] =
        &[&[10, 40][..], b"type.googleapis.com/google.rpc.RetryInfo", &[18, 7, 10, 5, 16, 128, 156, 156, 57]].concat();
    let details = STANDARD.encode([&[8, 14, 26, u8::try_from(detail.len()).unwrap()], detail].concat());
    for (name, value, least) in [("grpc-status-details-bin", details.as_str(), 120), ("retry-after", "1", 1000)] {
        let value = value.to_owned();
        let after = library(1, move || unavailable().trailer(name, &value)).await;
        let gateway = start(&[&after], "retry: { backoff: 1ms }").await;
        let asked = Instant::now();
        gateway.get(BOOK).await.status(200);
        assert!(asked.elapsed() >= Duration::from_millis(least), "{name}: {:?}", asked.elapsed());
        after.saw("GetBook").times(2);
    }

    let never = library(1, || unavailable().trailer("grpc-retry-pushback-ms", "-1")).await;
    let gateway = start(&[&never], "retry: { backoff: 1ms }").await;
    gateway.get(BOOK).await.status(503);
    never.saw("GetBook").times(1);
}

#[tokio::test]
async fn no_try_goes_beyond_the_deadline_and_each_has_less_time() {
    let slow = library(1, unavailable).await;
    let gateway = start(&[&slow], "timeout: 10s, retry: { backoff: 1h, max_backoff: 1h }").await;
    let asked = Instant::now();
    gateway.get(BOOK).await.status(503);
    assert!(asked.elapsed() < Duration::from_secs(5), "a pause that outlasts the call is not begun");

    let library = library(1, || unavailable().after(Duration::from_millis(60))).await;
    let gateway = start(&[&library], "timeout: 5s, retry: { backoff: 1ms }").await;
    gateway.get(BOOK).await.status(200);
    let left = |at: usize| {
        let text = library.saw("GetBook").calls()[at].headers["grpc-timeout"].to_str().unwrap().to_owned();
        transom_transcode::frame::timeout::parse(&text).unwrap()
    };
    assert!(left(1) + Duration::from_millis(50) < left(0), "{:?} {:?}", left(0), left(1));
}

#[tokio::test]
async fn a_try_that_takes_too_long_is_given_up_for_another() {
    let (stuck, good) = (library(usize::MAX, hang).await, library(0, hang).await);
    let keys = "timeout: 5s, retry: { per_try_timeout: 80ms, backoff: 1ms }";
    let gateway = start(&[&stuck, &good], keys).await;
    let asked = Instant::now();
    for _ in 0..2 {
        gateway.get(BOOK).await.status(200);
    }
    assert!(asked.elapsed() < Duration::from_secs(2));
    stuck.cancelled("GetBook", 1).await;
}

#[tokio::test]
async fn a_stream_that_answers_has_the_time_of_the_call() {
    let books =
        || stream([json!({ "title": "1" })]).then_sleep(Duration::from_millis(300)).then(json!({ "title": "2" }));
    let library = upstream::grpc("library.v1.Library").server_stream("WatchBooks", move |_| books()).start().await;
    let gateway = start(&[&library], "timeout: 5s, retry: { per_try_timeout: 100ms }").await;
    let reply = gateway.grpc("library.v1.Library/WatchBooks").send(&[json!({})]).await;
    reply.ok(&[json!({ "title": "1" }), json!({ "title": "2" })]);
    // A service that keeps to what it is told would end at that.
    assert_eq!(library.saw("WatchBooks").calls()[0].headers.get("grpc-timeout"), None);
}

#[tokio::test]
async fn retries_are_a_share_of_the_calls() {
    let library = library(usize::MAX, unavailable).await;
    let gateway = start(&[&library], "retry: { attempts: 3, backoff: 1ms, budget: 10% }").await;
    for _ in 0..100 {
        gateway.get(BOOK).await.status(503);
    }
    let calls = library.saw("GetBook").calls().len();
    // A tenth, and the floor of ten a second over ten seconds.
    assert!((205..=211).contains(&calls), "{calls}");
}

#[tokio::test]
async fn what_is_under_way_where_an_endpoint_dies_is_more_than_a_share() {
    let broken = Arc::new(AtomicUsize::new(0));
    let count = broken.clone();
    // Every other try breaks, from the first call on.
    let library = upstream::grpc("library.v1.Library").unary("GetBook", move |_| {
        match count.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => stream([]).then_reset(),
            _ => ok(json!({})),
        }
    });
    let library = library.start().await;
    let gateway = start(&[&library], "retry: { attempts: 2, backoff: 1ms }").await;
    for _ in 0..50 {
        gateway.get(BOOK).await.status(200);
    }
    assert_eq!(broken.load(Ordering::Relaxed), 100);
}

#[tokio::test]
async fn a_wish_for_a_long_pause_is_told_to_the_client_and_not_waited_for() {
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", |_| unavailable().trailer("retry-after", "3600"))
        .server_stream("WatchBooks", |_| unavailable().trailer("retry-after", "3600"))
        .start()
        .await;
    let gateway = start(&[&library], "timeout: 24h, retry: {}").await;
    gateway.get(BOOK).await.status(503);
    // A stream has no deadline that would bound the pause.
    gateway.get("/v1/shelves/1/books:watch").await.status(503);
    library.saw("WatchBooks").times(1);
    assert_eq!(gateway.metric("transom_in_flight"), 0.0);
    // Nor is a pause worth while that is longer than the stream may live.
    let library = upstream::grpc("library.v1.Library")
        .server_stream("WatchBooks", |_| unavailable().trailer("retry-after", "1"))
        .start()
        .await;
    let aging = crate::support::gateway::gateway().descriptors("library");
    let aging = aging.upstream_with("library", &[&library], "retry: {}").config("overload: { max_stream_age: 500ms }");
    aging.start().await.get("/v1/shelves/1/books:watch").await.status(503);
    library.saw("WatchBooks").times(1);
}
