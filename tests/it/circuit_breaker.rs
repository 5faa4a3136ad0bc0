//! Breakers: an endpoint that fails call after call is left alone, and gets a probe when its time is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Notify;
use transom_transcode::status::Code;

use crate::support::bare::{Bare, begin, read, time_told};
use crate::support::gateway::{Builder, Running, gateway};
use crate::support::reply::{Reply, fail, hang, ok, raw, stream};
use crate::support::until;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";
const ONE: &str = "timeout: 300ms, circuit_breaker: { failures: 3, open_for: 200ms }";

/// A library that answers, or fails as told, by a switch.
async fn library(failure: impl Fn() -> Reply + Send + Sync + 'static) -> (Upstream, Arc<AtomicBool>) {
    let ill = Arc::new(AtomicBool::new(false));
    let switch = ill.clone();
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", move |_| if switch.load(Ordering::Relaxed) { failure() } else { ok(json!({})) });
    (library.start().await, ill)
}

fn gateway_with(library: &Upstream, keys: &str) -> Builder {
    gateway().descriptors("library").upstream_with("library", &[library], keys)
}

async fn start(instances: &[&Upstream], keys: &str) -> Running {
    gateway().descriptors("library").upstream_with("library", instances, keys).start().await
}

fn unavailable() -> Reply {
    fail(Code::Unavailable, "ill")
}

async fn state(gateway: &Running) -> String {
    let upstreams = gateway.admin("/upstreams").await.value();
    upstreams["upstreams"][0]["circuit"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn failures_in_a_row_open_it_and_a_probe_closes_it() {
    let (library, ill) = library(unavailable).await;
    let gateway = start(&[&library], ONE).await;
    gateway.get(BOOK).await.status(200);
    ill.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let reply = gateway.get(BOOK).await;
        assert_eq!(reply.status(503).value()["message"], "ill");
    }
    assert_eq!(state(&gateway).await, "open");

    let asked = Instant::now();
    let refused = gateway.get(BOOK).await;
    assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());
    refused.status(503).reason("CIRCUIT_OPEN").header("retry-after", "1");
    let refused = gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await;
    refused.failed(Code::Unavailable);
    let refused = gateway.post("/library.v1.Library/GetBook", &json!({})).header("connect-protocol-version", "1").await;
    refused.status(503).header("retry-after", "1");
    library.saw("GetBook").times(4);
    let labels = format!("{{upstream=\"library\",endpoint=\"{}\"}}", library.address());
    assert_eq!(gateway.metric(&format!("transom_upstream_circuit{labels}")), 2.0);
    assert_eq!(gateway.metric(&format!("transom_upstream_circuit_opened_total{labels}")), 1.0);
    let health = gateway.admin("/health/detailed").await;
    assert_eq!(health.status(503).value()["circuit_breakers"]["library"], "open");

    // A probe that fails opens it again.
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(state(&gateway).await, "half-open");
    assert_eq!(gateway.get(BOOK).await.status(503).value()["message"], "ill");
    gateway.get(BOOK).await.status(503).reason("CIRCUIT_OPEN");

    ill.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(250)).await;
    gateway.get(BOOK).await.status(200);
    assert_eq!(state(&gateway).await, "closed");
    gateway.get(BOOK).await.status(200);
    gateway.admin("/health/detailed").await.status(200);
}

#[tokio::test]
async fn what_speaks_against_an_endpoint_and_what_does_not() {
    let broken = |reply: fn() -> Reply| async move {
        let (library, ill) = library(reply).await;
        let gateway = start(&[&library], ONE).await;
        ill.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            gateway.get(BOOK).await;
        }
        let rest = state(&gateway).await == "open";
        // The same in frames that nothing here reads.
        let gateway = start(&[&library], ONE).await;
        for _ in 0..3 {
            gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await;
        }
        (rest, state(&gateway).await == "open")
    };
    let failures: [fn() -> Reply; 5] = [
        unavailable,
        || fail(Code::Internal, ""),
        || fail(Code::DeadlineExceeded, ""),
        hang,
        || stream([]).then_reset(),
    ];
    for (index, failure) in failures.into_iter().enumerate() {
        assert_eq!(broken(failure).await, (true, true), "failure {index}");
    }
    let foreign: [fn() -> Reply; 4] = [
        || raw(200, "text/html", b"<p>"),
        || raw(404, "text/html", b"<p>"),
        || raw(500, "text/html", b"<p>"),
        || raw(302, "text/html", b"<p>"),
    ];
    for (index, failure) in foreign.into_iter().enumerate() {
        assert_eq!(broken(failure).await, (true, true), "foreign {index}");
    }
    let of_the_request: [fn() -> Reply; 4] = [
        || raw(401, "text/html", b"<p>"),
        || raw(403, "text/html", b"<p>"),
        || raw(429, "text/html", b"<p>"),
        || raw(431, "text/html", b"<p>"),
    ];
    for (index, refusal) in of_the_request.into_iter().enumerate() {
        assert_eq!(broken(refusal).await, (false, false), "refusal {index}");
    }
    for code in [Code::NotFound, Code::InvalidArgument, Code::Unknown, Code::ResourceExhausted, Code::Unauthenticated] {
        let (library, ill) = library(move || fail(code, "")).await;
        let gateway = start(&[&library], ONE).await;
        ill.store(true, Ordering::Relaxed);
        for _ in 0..4 {
            gateway.get(BOOK).await;
        }
        assert_eq!(state(&gateway).await, "closed", "{code:?}");
    }
}

#[tokio::test]
async fn a_client_without_patience_opens_no_breaker() {
    let (library, ill) = library(hang).await;
    let gateway = start(&[&library], ONE).await;
    ill.store(true, Ordering::Relaxed);
    for _ in 0..4 {
        gateway.get(BOOK).header("x-request-timeout", "0.02").await.status(504);
        let call = gateway.grpc("library.v1.Library/GetBook").header("grpc-timeout", "20m");
        call.send(&[json!({})]).await.failed(Code::DeadlineExceeded);
    }
    assert_eq!(state(&gateway).await, "closed");
}

/// What grpc-go's and grpc-java's servers do of themselves when the deadline has passed that they were told.
#[tokio::test]
async fn a_stream_that_is_cancelled_at_its_deadline_opens_no_breaker() {
    let service = Bare::start(h2::server::Builder::new(), |request, mut respond| async move {
        if request.headers().contains_key("x-at-once") {
            read(request).await;
            return respond.send_reset(h2::Reason::CANCEL);
        }
        // A little earlier: who is the first is no matter of chance.
        let late = tokio::time::sleep(time_told(&request).saturating_sub(Duration::from_millis(10)));
        if request.uri().path().ends_with("/WatchBooks") {
            let mut stream = begin(respond);
            late.await;
            return stream.send_reset(h2::Reason::CANCEL);
        }
        late.await;
        respond.send_reset(h2::Reason::CANCEL);
    })
    .await;
    let keys = "circuit_breaker: { failures: 3, open_for: 1h }";
    let config = "methods: { library.v1.Library/WatchBooks: { timeout: 60ms } }";
    let gateway = gateway().descriptors("library").config(config);
    let gateway = gateway.upstream_at("library", "library.v1.Library", &[service.address()], keys).start().await;
    for _ in 0..4 {
        gateway.get(BOOK).header("x-request-timeout", "0.05").await.status(504).reason("DEADLINE");
        let call = gateway.grpc("library.v1.Library/GetBook").header("grpc-timeout", "50m");
        call.send(&[json!({})]).await.failed(Code::DeadlineExceeded);
        let reply = gateway.grpc("library.v1.Library/WatchBooks").send(&[json!({})]).await;
        assert_eq!((reply.code, reply.messages.len()), (Code::DeadlineExceeded, 1));
        assert_eq!(state(&gateway).await, "closed");
    }
    // What is cancelled at any other time was broken off.
    for _ in 0..3 {
        let call = gateway.grpc("library.v1.Library/GetBook").header("x-at-once", "1");
        call.send(&[json!({})]).await.failed(Code::Unavailable);
    }
    assert_eq!(state(&gateway).await, "open");
}

#[tokio::test]
async fn a_stream_that_has_begun_has_its_clients_time_and_no_trys() {
    let library = upstream::grpc("library.v1.Library")
        .server_stream("WatchBooks", |_| stream([json!({ "title": "A" })]).then_fail(Code::DeadlineExceeded, "late"))
        .start()
        .await;
    let keys = "retry: { attempts: 2, per_try_timeout: 5s }, circuit_breaker: { failures: 1, open_for: 1h }";
    let gateway = start(&[&library], keys).await;
    for _ in 0..2 {
        // A try's time would be the gateway's, and its end the service's fault.
        let call = gateway.grpc("library.v1.Library/WatchBooks").header("grpc-timeout", "10S");
        let reply = call.send(&[json!({})]).await;
        assert_eq!((reply.code, reply.messages.len()), (Code::DeadlineExceeded, 1));
    }
    assert_eq!(state(&gateway).await, "closed");
}

#[tokio::test]
async fn another_rule_begins_anew_and_the_metric_says_so() {
    let (library, ill) = library(unavailable).await;
    let gateway = start(&[&library], ONE).await;
    ill.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        gateway.get(BOOK).await.status(503);
    }
    let circuit = format!("transom_upstream_circuit{{upstream=\"library\",endpoint=\"{}\"}}", library.address());
    assert_eq!(gateway.metric(&circuit), 2.0);
    gateway.reload(&gateway_with(&library, "circuit_breaker: { failures: 4 }")).await.unwrap();
    assert_eq!((state(&gateway).await.as_str(), gateway.metric(&circuit)), ("closed", 0.0));
}

#[tokio::test]
async fn the_others_go_on_and_take_turns_exactly() {
    let (well, _) = library(unavailable).await;
    let (other, _) = library(unavailable).await;
    let (sick, ill) = library(unavailable).await;
    let keys = "circuit_breaker: { failures: 2, open_for: 1h }";
    let gateway = start(&[&well, &sick, &other], keys).await;
    ill.store(true, Ordering::Relaxed);
    let mut failed = 0;
    for _ in 0..12 {
        failed += usize::from(gateway.get(BOOK).await.status != 200);
    }
    assert_eq!(failed, 2);
    sick.saw("GetBook").times(2);
    let before = (well.saw("GetBook").calls().len(), other.saw("GetBook").calls().len());
    for _ in 0..10 {
        gateway.get(BOOK).await.status(200);
    }
    assert_eq!((well.saw("GetBook").calls().len() - before.0, other.saw("GetBook").calls().len() - before.1), (5, 5));
    assert_eq!(state(&gateway).await, "closed", "the upstream is open when all of its endpoints are");
    let upstreams = gateway.admin("/upstreams").await.value();
    let open = upstreams["upstreams"][0]["endpoints"].as_array().unwrap().iter();
    assert_eq!(open.filter(|endpoint| endpoint["circuit"] == "open").count(), 1);
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_open_and_answers_at_once_until_it_is_back() {
    let ((one, _), (other, _)) = (library(unavailable).await, library(unavailable).await);
    let gateway = start(&[&one, &other], "circuit_breaker: { failures: 5, open_for: 1h }").await;
    gateway.get(BOOK).await.status(200);
    tokio::join!(one.stop(), other.stop());
    for _ in 0..8 {
        assert!(gateway.get(BOOK).await.status.is_server_error());
    }
    assert_eq!(state(&gateway).await, "open");

    let mut connection = gateway.connect().await;
    let mut took = Vec::new();
    for _ in 0..21 {
        let asked = Instant::now();
        connection.send("GET", BOOK).await.unwrap().status(503).reason("CIRCUIT_OPEN");
        took.push(asked.elapsed());
    }
    took.sort_unstable();
    assert!(took[10] < Duration::from_millis(5), "{took:?}");

    one.restart().await;
    let back = Instant::now();
    until("its return", async || gateway.get(BOOK).await.status == 200).await;
    assert!(back.elapsed() < Duration::from_millis(1500), "{:?}", back.elapsed());
    assert_eq!(state(&gateway).await, "closed", "a probe was served");
}

#[tokio::test]
async fn one_probe_at_a_time_and_the_rest_are_refused() {
    let held = Arc::new(Notify::new());
    let (library, ill) = {
        let held = held.clone();
        let ill = Arc::new(AtomicBool::new(true));
        let switch = ill.clone();
        let library = upstream::grpc("library.v1.Library").unary("GetBook", move |_| {
            if switch.load(Ordering::Relaxed) { unavailable() } else { ok(json!({})).when(&held) }
        });
        (library.start().await, ill)
    };
    let gateway = start(&[&library], "circuit_breaker: { failures: 1, open_for: 50ms }").await;
    gateway.get(BOOK).await.status(503);
    ill.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(60)).await;
    let others = async {
        library.called("GetBook", 2).await;
        for _ in 0..3 {
            gateway.get(BOOK).await.status(503).reason("CIRCUIT_OPEN");
        }
        held.notify_one();
    };
    let (probe, ()) = tokio::join!(async { gateway.get(BOOK).await }, others);
    probe.status(200);
    assert_eq!(state(&gateway).await, "closed");
}

#[tokio::test]
async fn a_stream_that_opens_is_a_probe_that_was_served_however_quiet_it_is() {
    let ill = Arc::new(AtomicBool::new(true));
    let switch = ill.clone();
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", move |_| if switch.load(Ordering::Relaxed) { unavailable() } else { ok(json!({})) })
        .server_stream("WatchBooks", |_| stream([]).then_hang())
        .start()
        .await;
    let gateway = start(&[&library], "circuit_breaker: { failures: 1, open_for: 50ms }").await;
    gateway.get(BOOK).await.status(503);
    ill.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(60)).await;
    let _quiet = gateway.get("/v1/shelves/1/books:watch").open().await;
    until("the probe is served", async || state(&gateway).await == "closed").await;
    gateway.get(BOOK).await.status(200);
}

#[tokio::test]
async fn a_call_that_may_be_tried_again_waits_for_a_probe() {
    let go_on = Arc::new(Notify::new());
    let (held, ill) = (go_on.clone(), Arc::new(AtomicBool::new(true)));
    let switch = ill.clone();
    let library =
        upstream::grpc("library.v1.Library").unary("GetBook", move |_| match switch.load(Ordering::Relaxed) {
            true => fail(Code::Internal, "ill"),
            false => ok(json!({})).when(&held),
        });
    let library = library.start().await;
    let keys =
        "circuit_breaker: { failures: 3, open_for: 300ms }, retry: { attempts: 2, backoff: 10s, max_backoff: 10s }";
    let gateway = start(&[&library], keys).await;
    let open = async |gateway: &Running| {
        ill.store(true, Ordering::Relaxed);
        until("it is open", async || {
            gateway.get(BOOK).await;
            state(gateway).await == "open"
        })
        .await;
        ill.store(false, Ordering::Relaxed);
        until("its time is over", async || state(gateway).await == "half-open").await;
    };
    // Nothing is known of the endpoint as long as its probe is under way: whoever has time waits for that.
    open(&gateway).await;
    let saw = library.saw("GetBook").calls().len();
    let probe = tokio::spawn(gateway.get(BOOK).try_send());
    library.called("GetBook", saw + 1).await;
    let waits = tokio::spawn(gateway.get(BOOK).try_send());
    until("it waits", async || gateway.metric("transom_in_flight") == 2.0).await;
    go_on.notify_one();
    probe.await.unwrap().unwrap().status(200);
    library.called("GetBook", saw + 2).await;
    go_on.notify_one();
    waits.await.unwrap().unwrap().status(200);
    assert_eq!(state(&gateway).await, "closed");

    // Not for long, and once.
    let gateway = start(&[&library], &keys.replace("10s", "20ms")).await;
    open(&gateway).await;
    let saw = library.saw("GetBook").calls().len();
    let probe = tokio::spawn(gateway.get(BOOK).try_send());
    library.called("GetBook", saw + 1).await;
    let asked = Instant::now();
    gateway.get(BOOK).await.status(503).reason("CIRCUIT_OPEN");
    assert!(asked.elapsed() >= Duration::from_millis(20), "{:?}", asked.elapsed());
    library.saw("GetBook").times(saw + 1);
    go_on.notify_one();
    probe.await.unwrap().unwrap().status(200);
}

#[tokio::test]
async fn an_answer_whose_head_is_too_large_fails_its_own_call_alone() {
    let (held, size) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (waiting, told) = (held.clone(), size.clone());
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", move |_| ok(json!({ "title": "Dune" })).when(&waiting))
        .unary("Echo", move |_| {
            fail(Code::InvalidArgument, "much is wrong").trailer("x-much", &"x".repeat(told.load(Ordering::Relaxed)))
        })
        .start()
        .await;
    let keys = "connections: 1, circuit_breaker: { failures: 2 }, limits: { in_flight: 20 }";
    let gateway = gateway_with(&library, keys).expose_all().config("workers: 1").start().await;
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let call = gateway.get(BOOK);
            tokio::spawn(async move { call.await })
        })
        .collect();
    library.called("GetBook", 4).await;
    for (bytes, status) in [(200 << 10, 400), (290 << 10, 502), (600 << 10, 502), (3 << 20, 502)] {
        size.store(bytes, Ordering::Relaxed);
        gateway.post("/v1/echo", &json!({})).await.status(status);
        size.store(0, Ordering::Relaxed);
        gateway.post("/v1/echo", &json!({})).await.status(400);
    }
    held.notify_waiters();
    for call in calls {
        call.await.unwrap().status(200);
    }
}
