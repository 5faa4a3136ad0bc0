//! What one call holds while it waits: it decides the memory of a busy connection.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use transom::gateway::{Gateway, Peer, State, Worker};
use transom::telemetry::{AccessLog, Format, Metrics};
use transom::upstream::Pool;

use crate::support::gateway::gateway;

#[tokio::test]
async fn the_pipeline_is_at_most_two_kilobytes() {
    let metrics = Metrics::new();
    let builder = gateway().descriptors("library");
    let builder = builder.upstream_at("library", "library.v1.Library", &["127.0.0.1:1".to_owned()], "");
    let state = State::new(builder.compile(&metrics).unwrap(), metrics.clone());
    let gateway = Gateway::new(state, axum::Router::new());
    let log = AccessLog::to(std::io::sink(), Format::Json, metrics.lost_lines()).unwrap();
    let worker = Arc::new(Worker::new(Pool::new(0, 1), log.buffer(), metrics));
    let peer = Peer::new(([127, 0, 0, 1], 1).into(), false);

    let call = gateway.serve(&worker, &peer, Request::new(Full::<Bytes>::default()));

    let size = size_of_val(&call);
    assert!(size <= 2048, "{size} bytes");
    println!("{size} bytes");
}
