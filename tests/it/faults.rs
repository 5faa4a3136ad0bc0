//! What breaks behind the gateway, and what every client is told of it: each fault in each dialect, by the error table.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use transom_transcode::status::Code;

use crate::support::faulty::{Fault, Faulty, Stage};
use crate::support::gateway::{Running, gateway};
use crate::support::heard::Outcome;
use crate::support::library::library;
use crate::support::network::{Network, Weather};
use crate::support::speak::Speech;
use crate::support::{until, upstream};

const KEYS: &str = "timeout: 500ms, connections: 1";
const SERVICE: &str = "library.v1.Library";

/// A stream has no deadline unless a method says so.
const STREAMS: &str = "methods: { library.v1.Library/WatchBooks: { timeout: 500ms } }";

async fn before(address: String, keys: &str) -> Running {
    let gateway = gateway().descriptors("library").config(STREAMS);
    gateway.upstream_at("library", SERVICE, &[address], keys).start().await
}

/// A row of the error table: the code, the reason, REST's HTTP status.
type Row = (Code, &'static str, u16);

const CONNECT_FAILED: Row = (Code::Unavailable, "CONNECT_FAILED", 502);
const NO_ENDPOINT: Row = (Code::Unavailable, "NO_ENDPOINT", 503);
const RESET: Row = (Code::Unavailable, "UPSTREAM_RESET", 502);
const PROTOCOL: Row = (Code::Internal, "UPSTREAM_PROTOCOL", 502);
/// The service's own status, of which the gateway says no reason.
const NOT_GRPC: Row = (Code::Unimplemented, "", 501);
const DEADLINE: Row = (Code::DeadlineExceeded, "DEADLINE", 504);

/// The dialects of a kind of call, over each version of HTTP.
fn all(speeches: &[Speech]) -> impl Iterator<Item = (Speech, u8)> {
    speeches.iter().flat_map(|speech| speech.versions().iter().map(move |version| (*speech, *version)))
}

fn book() -> Value {
    json!({ "name": "shelves/1/books/7" })
}

fn shelf() -> Value {
    json!({ "parent": "shelves/1" })
}

/// Every dialect gets one of these rows of a call that fails before it is answered.
async fn in_every_dialect(gateway: &Running, rows: &[Row]) {
    let unary = all(&Speech::UNARY).map(|(speech, version)| (speech, version, "GetBook", book()));
    let streams = all(&Speech::SERVER_STREAM).map(|(speech, version)| (speech, version, "WatchBooks", shelf()));
    let calls = unary.chain(streams).map(async |(speech, version, method, message)| {
        let outcome = speech.call(version, method).send(gateway, &[message]).await;
        let call = format!("{speech:?} over HTTP/{version}, {method}: {outcome:?}");
        assert!(outcome.messages.is_empty(), "{call}");
        assert!(!outcome.message.contains("127.0.0.1"), "addresses are for the log: {call}");
        let code = outcome.code.unwrap_or_else(|| panic!("{call}"));
        let http = (speech.name() == "rest").then_some(outcome.http);
        let told = |row: &Row| row.0 == code && http.is_none_or(|http| http == row.2);
        assert!(rows.iter().any(told), "{call}");
    });
    let made = if rows == [DEADLINE] {
        // At once: each takes its time.
        join_all(calls).await.len()
    } else {
        let mut made = 0;
        for call in calls {
            call.await;
            made += 1;
        }
        made
    };
    for line in gateway.logged(made).await {
        let told = |row: &Row| line["code"] == row.0.name() && line["reason"].as_str().unwrap_or_default() == row.1;
        assert!(rows.iter().any(told), "{line}");
    }
}

#[tokio::test]
async fn a_call_that_is_not_answered_is_a_row_of_the_table_in_every_dialect() {
    for (fault, rows) in [
        (Fault::HalfOpen, &[DEADLINE][..]),
        // Who does not speak HTTP/2 is down from then on.
        (Fault::GarbageFirst, &[PROTOCOL, NO_ENDPOINT]),
        (Fault::Silent, &[DEADLINE]),
        (Fault::Garbage, &[PROTOCOL]),
        (Fault::Refuses, &[CONNECT_FAILED]),
        (Fault::Resets, &[RESET]),
        (Fault::NotGrpc, &[NOT_GRPC]),
        (Fault::GoesAway, &[CONNECT_FAILED]),
        (Fault::Abandons, &[RESET]),
        (Fault::Ends, &[RESET]),
        (Fault::Breaks, &[RESET]),
    ] {
        println!("{fault:?}");
        let service = Faulty::start(fault, Stage::Before).await;
        in_every_dialect(&before(service.address(), KEYS).await, rows).await;
    }
}

#[tokio::test]
async fn a_service_that_answers_plain_http_errors_is_left_alone_in_every_dialect() {
    let unary = all(&Speech::UNARY).map(|(speech, version)| (speech, version, "GetBook", book()));
    let streams = all(&Speech::SERVER_STREAM).map(|(speech, version)| (speech, version, "WatchBooks", shelf()));
    for (speech, version, method, message) in unary.chain(streams) {
        let service = Faulty::start(Fault::NotGrpc, Stage::Before).await;
        let keys = "connections: 1, circuit_breaker: { failures: 2, open_for: 1h }";
        let gateway = before(service.address(), keys).await;
        for code in [Code::Unimplemented, Code::Unimplemented, Code::Unavailable] {
            let outcome = speech.call(version, method).send(&gateway, std::slice::from_ref(&message)).await;
            assert_eq!(outcome.code, Some(code), "{speech:?} over HTTP/{version}, {method}: {outcome:?}");
        }
        let lines = gateway.logged(3).await;
        assert_eq!(lines[2]["reason"], "CIRCUIT_OPEN", "{lines:?}");
    }
}

#[tokio::test]
async fn a_call_for_which_connections_are_ended_ends_no_more_than_two() {
    for speech in [Speech::Grpc, Speech::Connect, Speech::Rest] {
        let mut services = Vec::new();
        for _ in 0..3 {
            services.push(Faulty::start(Fault::Expels, Stage::Before).await);
        }
        let endpoints: Vec<_> = services.iter().map(Faulty::address).collect();
        let keys = "connections: 1, retry: { attempts: 4, backoff: 1ms }";
        let gateway = gateway().descriptors("library").upstream_at("library", SERVICE, &endpoints, keys).start().await;
        let message = json!({ "name": "shelves/1/books/7" });
        speech.call(2, "GetBook").send(&gateway, &[message]).await.failed(Code::Unavailable);
        assert_eq!(services.iter().map(Faulty::calls).sum::<usize>(), 2, "{speech:?}");
    }
}

#[tokio::test]
async fn nobody_there() {
    let service = upstream::grpc(SERVICE).start().await;
    let address = service.address().to_string();
    service.stop().await;
    in_every_dialect(&before(address, KEYS).await, &[CONNECT_FAILED, NO_ENDPOINT]).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_complete_in_any_dialect() {
    for (fault, row) in [
        (Fault::Garbage, PROTOCOL),
        (Fault::Refuses, RESET),
        (Fault::Resets, RESET),
        (Fault::Abandons, RESET),
        (Fault::Ends, RESET),
        (Fault::Breaks, RESET),
    ] {
        println!("{fault:?}");
        let service = Faulty::start(fault, Stage::Amid).await;
        let gateway = before(service.address(), KEYS).await;
        let mut calls = 0;
        for (speech, version) in all(&Speech::SERVER_STREAM) {
            println!("  {speech:?} over HTTP/{version}");
            let mut call = speech.call(version, "WatchBooks").open(&gateway, Some(&shelf())).await;
            call.send(&shelf());
            call.close();
            call.head().await;
            if speech != Speech::Rest {
                assert_eq!(call.next().await, Some(json!({})));
            }
            service.go_on();
            let outcome: Outcome = call.outcome().await;
            assert_eq!(outcome.http, 200);
            // An array is broken off, and says no more than that.
            assert_eq!(outcome.code, (speech != Speech::Rest).then_some(row.0), "{outcome:?}");
            calls += 1;
        }
        for (speech, version) in all(&Speech::UNARY) {
            println!("  {speech:?} over HTTP/{version}, unary");
            service.go_on();
            let outcome = speech.call(version, "GetBook").send(&gateway, &[book()]).await;
            assert_eq!(outcome.code, Some(row.0), "{outcome:?}");
            calls += 1;
        }
        for line in gateway.logged(calls).await {
            assert_eq!((&line["code"], &line["reason"]), (&json!(row.0.name()), &json!(row.1)), "{line}");
        }
    }
}

#[tokio::test]
async fn a_slow_network_delays_answers_and_loses_none() {
    let library = library().await;
    let network = Network::before(library.address()).await;
    let gateway = before(network.address(), "timeout: 15s, connections: 1").await;
    let large = json!({ "title": "x".repeat(100_000) });
    for weather in [Weather::Late(Duration::from_millis(20)), Weather::Slow(5000, Duration::from_millis(1))] {
        network.becomes(weather);
        let calls = all(&Speech::UNARY).filter(|(speech, _)| !speech.is_get()).map(async |(speech, version)| {
            speech.call(version, "Echo").send(&gateway, std::slice::from_ref(&large)).await
        });
        for outcome in join_all(calls).await {
            outcome.ok(std::slice::from_ref(&large));
        }
    }
}

#[tokio::test]
async fn a_network_that_swallows_everything_ends_calls_at_their_deadline() {
    let library = library().await;
    let network = Network::before(library.address()).await;
    network.becomes(Weather::Hole);
    in_every_dialect(&before(network.address(), KEYS).await, &[DEADLINE]).await;
    library.saw("GetBook").times(0);
}

#[tokio::test]
async fn a_network_that_breaks_connections_breaks_what_was_on_them_and_nothing_after() {
    let library = library().await;
    let network = Network::before(library.address()).await;
    let gateway = before(network.address(), "timeout: 10s, connections: 1").await;
    let mut calls = 0;
    for weather in [Weather::Ended, Weather::Broken] {
        for (speech, version) in all(&Speech::UNARY) {
            println!("{weather:?}: {speech:?} over HTTP/{version}");
            let asked = library.saw("GetBook").calls().len();
            let hang = &json!({ "name": "shelves/1/books/hang" });
            let (outcome, ()) =
                tokio::join!(speech.call(version, "GetBook").send(&gateway, std::slice::from_ref(hang)), async {
                    library.called("GetBook", asked + 1).await;
                    network.becomes(weather);
                });
            outcome.failed(Code::Unavailable);
            network.becomes(Weather::Clear);
            // The endpoint may have been found down meanwhile; it is found again by itself.
            until("it answers again", async || {
                speech.call(version, "GetBook").send(&gateway, &[book()]).await.code == Some(Code::Ok)
            })
            .await;
            calls += 1;
        }
    }
    let lines = gateway.logged(2 * calls).await;
    assert_eq!(lines.iter().filter(|line| line["reason"] == "UPSTREAM_RESET").count(), calls);
}
