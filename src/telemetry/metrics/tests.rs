use std::time::Duration;

use transom_transcode::status::Code;

use super::{Metrics, Protocol};
use crate::telemetry::{DialectName, Outcome};

#[test]
fn a_call_shows_as_a_count_and_in_its_bucket() {
    let metrics = Metrics::new();
    let route = metrics.route("library.v1.Library", "GetBook", "/v1/books/{id}");
    route.record(DialectName::Rest, Code::Ok, Duration::from_micros(700));
    route.record(DialectName::Rest, Code::Ok, Duration::from_secs(60));
    route.record(DialectName::Grpc, Code::NotFound, Duration::ZERO);

    let text = metrics.encode();
    let has = |line: &str| assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
    let rpc = r#"service="library.v1.Library",method="GetBook",route="/v1/books/{id}""#;
    has(&format!(r#"transom_requests_total{{{rpc},dialect="rest",code="OK"}} 2"#));
    has(&format!(r#"transom_requests_total{{{rpc},dialect="grpc",code="NOT_FOUND"}} 1"#));
    let route = format!(r#"{rpc},dialect="rest""#);
    has(&format!(r#"transom_request_duration_seconds_bucket{{le="0.0005",{route}}} 0"#));
    has(&format!(r#"transom_request_duration_seconds_bucket{{le="0.001",{route}}} 1"#));
    has(&format!(r#"transom_request_duration_seconds_bucket{{le="30.0",{route}}} 1"#));
    has(&format!(r#"transom_request_duration_seconds_bucket{{le="+Inf",{route}}} 2"#));
    has(&format!(r#"transom_request_duration_seconds_count{{{route}}} 2"#));
    has(&format!(r#"transom_request_duration_seconds_sum{{{route}}} 60.0007"#));
    assert!(text.ends_with("# EOF\n"));
}

/// Prometheus takes one of two samples that have the same labels, and OpenMetrics forbids them.
#[test]
fn two_rpcs_of_one_path_are_series_of_their_own() {
    let metrics = Metrics::new();
    let rpcs = ["ListBooks", "CreateBook"].map(|method| metrics.route("library.v1.Library", method, "/v1/books"));
    for rpc in &rpcs {
        rpc.record(DialectName::Rest, Code::Ok, Duration::from_micros(700));
    }
    let text = metrics.encode();
    let mut seen = std::collections::HashSet::new();
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = sample.rsplit_once(' ').unwrap();
        assert!(seen.insert(series), "{series} is there twice");
    }
}

#[test]
fn an_endpoint_shows_calls_by_outcome() {
    let metrics = Metrics::new();
    let endpoint = metrics.endpoint("library", "127.0.0.1:50051");
    endpoint.record(Outcome::Ok);
    endpoint.record(Outcome::Refused);
    endpoint.connections().inc();
    metrics.connections(Protocol::Http2).inc();

    let text = metrics.encode();
    let labels = r#"upstream="library",endpoint="127.0.0.1:50051""#;
    assert!(text.contains(&format!("transom_upstream_calls_total{{{labels},outcome=\"refused\"}} 1\n")), "{text}");
    assert!(text.contains(&format!("transom_upstream_connections{{{labels}}} 1\n")), "{text}");
    assert!(text.contains(&format!("transom_upstream_in_flight{{{labels}}} 0\n")), "{text}");
    assert!(text.contains("transom_connections{protocol=\"http2\"} 1\n"), "{text}");
    assert!(text.contains("transom_in_flight 0\n"), "{text}");
}

#[test]
fn the_same_labels_are_the_same_counters_and_a_dropped_handle_ends_its_series() {
    let metrics = Metrics::new();
    let first = metrics.route("s", "m", "/r");
    first.record(DialectName::Rest, Code::Ok, Duration::ZERO);
    let second = metrics.route("s", "m", "/r");
    assert_eq!(second.calls(DialectName::Rest, Code::Ok), 1);

    drop((first, second));
    assert!(!metrics.encode().contains("service=\"s\""));
    assert_eq!(metrics.route("s", "m", "/r").calls(DialectName::Rest, Code::Ok), 0);
}
