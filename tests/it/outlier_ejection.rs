//! Outlier ejection: an endpoint that fails or is slow where its peers are not gets no calls for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use transom_transcode::status::Code;

use crate::support::gateway::{Builder, Running, gateway};
use crate::support::reply::{Reply, fail, hang, ok};
use crate::support::until;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";
/// Looks every 30 ms.
const QUICK: &str = "error_rate: 50%, window: 300ms, request_volume: 5";

/// A library that answers, or otherwise by a switch.
async fn library(otherwise: impl Fn() -> Reply + Send + Sync + 'static) -> (Upstream, Arc<AtomicBool>) {
    let ill = Arc::new(AtomicBool::new(false));
    let switch = ill.clone();
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", move |_| if switch.load(Ordering::Relaxed) { otherwise() } else { ok(json!({})) });
    (library.start().await, ill)
}

fn unavailable() -> Reply {
    fail(Code::Unavailable, "ill")
}

fn builder(instances: &[&Upstream], keys: &str) -> Builder {
    gateway().descriptors("library").upstream_with("library", instances, keys)
}

/// Who is ejected, in the order of the configuration.
async fn ejected(gateway: &Running) -> Vec<bool> {
    let upstreams = gateway.admin("/upstreams").await.value();
    let endpoints = upstreams["upstreams"][0]["endpoints"].as_array().unwrap();
    endpoints.iter().map(|endpoint| endpoint["ejected"].as_bool().unwrap()).collect()
}

/// Calls until those are ejected.
async fn call_until(gateway: &Running, who: &[bool]) {
    until("an ejection", async || {
        for _ in 0..who.len() {
            gateway.get(BOOK).await;
            gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await;
        }
        ejected(gateway).await == who
    })
    .await;
}

#[tokio::test]
async fn addresses_that_never_answered_take_nobody_elses_share() {
    let ((well, _), (sick, ill)) = (library(unavailable).await, library(unavailable).await);
    // As the other family of the same two, for which there is no way.
    let mut endpoints = [&well, &sick].map(|library| library.address().to_string()).to_vec();
    for _ in 0..2 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        endpoints.push(listener.local_addr().unwrap().to_string());
    }
    let keys = format!("outlier_ejection: {{ {QUICK}, max_ejected: 50% }}");
    let gateway = gateway().descriptors("library");
    let gateway = gateway.upstream_at("library", "library.v1.Library", &endpoints, &keys).start().await;
    ill.store(true, Ordering::Relaxed);
    call_until(&gateway, &[false, true, false, false]).await;
}

#[tokio::test]
async fn who_hangs_is_found_by_clients_that_wait_for_less_than_the_gateway() {
    let (sick, ill) = library(hang).await;
    let ((well, _), (other, _)) = (library(hang).await, library(hang).await);
    let gateway = builder(&[&well, &sick, &other], &format!("outlier_ejection: {{ {QUICK} }}")).start().await;
    ill.store(true, Ordering::Relaxed);
    until("an ejection", async || {
        let call = || gateway.get(BOOK).header("x-request-timeout", "0.15").try_send();
        drop(futures_util::future::join_all((0..30).map(|_| call())).await);
        ejected(&gateway).await == [false, true, false]
    })
    .await;
}

#[tokio::test]
async fn who_fails_where_its_peers_do_not_gets_no_calls_for_a_while() {
    let (sick, ill) = library(unavailable).await;
    let ((well, _), (other, _)) = (library(unavailable).await, library(unavailable).await);
    let keys = format!("outlier_ejection: {{ {QUICK}, base_ejection_time: 1s }}");
    let gateway = builder(&[&well, &sick, &other], &keys).start().await;
    ill.store(true, Ordering::Relaxed);
    call_until(&gateway, &[false, true, false]).await;

    let before = sick.saw("GetBook").calls().len();
    for _ in 0..10 {
        gateway.get(BOOK).await.status(200);
    }
    sick.saw("GetBook").times(before);
    let labels = format!("upstream=\"library\",endpoint=\"{}\"", sick.address());
    assert_eq!(gateway.metric(&format!("transom_upstream_ejected{{{labels}}}")), 1.0);
    assert_eq!(gateway.metric(&format!("transom_upstream_ejections_total{{{labels},reason=\"errors\"}}")), 1.0);
    let health = gateway.admin("/health/detailed").await;
    assert_eq!(health.status(200).value()["ejected_endpoints"], json!({ "library": 1 }));
    let upstreams = gateway.admin("/upstreams").await.value();
    assert_eq!(
        (&upstreams["upstreams"][0]["usable"], &upstreams["upstreams"][0]["circuit"]),
        (&json!(2), &json!("closed"))
    );

    ill.store(false, Ordering::Relaxed);
    until("its return", async || ejected(&gateway).await == [false; 3]).await;
    for _ in 0..3 {
        gateway.get(BOOK).await.status(200);
    }
    sick.saw("GetBook").times(before + 1);
    assert_eq!(gateway.metric(&format!("transom_upstream_ejected{{{labels}}}")), 0.0);
    assert_eq!(gateway.admin("/health/detailed").await.value()["ejected_endpoints"], json!({ "library": 0 }));
}

#[tokio::test]
async fn never_more_than_the_share_is_ejected() {
    let all = [
        library(unavailable).await,
        library(unavailable).await,
        library(unavailable).await,
        library(unavailable).await,
    ];
    let instances = all.each_ref().map(|(library, _)| library);
    let keys = format!("outlier_ejection: {{ {QUICK}, base_ejection_time: 1h, max_ejected: 50% }}");
    let gateway = builder(&instances, &keys).start().await;
    all[..3].iter().for_each(|(_, ill)| ill.store(true, Ordering::Relaxed));
    until("an ejection", async || {
        for _ in 0..8 {
            gateway.get(BOOK).await;
        }
        ejected(&gateway).await.contains(&true)
    })
    .await;
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < Duration::from_millis(400) {
        gateway.get(BOOK).await;
        let ejected = ejected(&gateway).await;
        assert_eq!((ejected.iter().filter(|ejected| **ejected).count(), ejected[3]), (2, false), "{ejected:?}");
    }
}

#[tokio::test]
async fn who_is_slow_where_its_peers_are_not_gets_no_calls_for_a_while() {
    let slow = || ok(json!({})).after(Duration::from_millis(40));
    let ((sick, ill), (well, _), (other, _)) = (library(slow).await, library(slow).await, library(slow).await);
    let keys = format!("outlier_ejection: {{ {QUICK}, latency_factor: 3, base_ejection_time: 1h }}");
    let gateway = builder(&[&well, &other, &sick], &keys).start().await;
    for _ in 0..30 {
        gateway.get(BOOK).await.status(200);
    }
    ill.store(true, Ordering::Relaxed);
    call_until(&gateway, &[false, false, true]).await;
    let labels = format!("upstream=\"library\",endpoint=\"{}\"", sick.address());
    assert_eq!(gateway.metric(&format!("transom_upstream_ejections_total{{{labels},reason=\"latency\"}}")), 1.0);
}

#[tokio::test]
async fn an_outlier_is_better_than_nobody_and_without_a_rule_there_is_none() {
    let ((sick, ill), (well, _)) = (library(unavailable).await, library(unavailable).await);
    let keys = format!("outlier_ejection: {{ {QUICK}, base_ejection_time: 1h }}");
    let gateway = builder(&[&sick, &well], &keys).start().await;
    ill.store(true, Ordering::Relaxed);
    call_until(&gateway, &[true, false]).await;
    for _ in 0..4 {
        gateway.get(BOOK).await.status(200);
    }
    well.stop().await;
    until("the last one's calls", async || gateway.get(BOOK).await.value()["message"] == "ill").await;
    ill.store(false, Ordering::Relaxed);
    gateway.get(BOOK).await.status(200);
    assert_eq!(ejected(&gateway).await, [true, false]);

    gateway.reload(&builder(&[&sick, &well], "")).await.unwrap();
    until("its release", async || ejected(&gateway).await == [false, false]).await;
}
