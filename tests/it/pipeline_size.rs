//! The pipeline by itself: what one call holds while it waits, and what a panic in it costs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tower::ServiceExt as _;
use transom::body::Body;
use transom::gateway::{Call, Gateway, Peer, Service, State, Worker};
use transom::telemetry::{AccessLog, Format, Metrics};
use transom::upstream::Pool;

use crate::support::gateway::gateway;

fn parts() -> (Arc<Gateway>, Arc<Worker>, Peer) {
    let metrics = Metrics::new();
    let builder = gateway().descriptors("library");
    let builder = builder.upstream_at("library", "library.v1.Library", &["127.0.0.1:1".to_owned()], "");
    let state = State::new(builder.compile(&metrics).unwrap(), metrics.clone());
    let log = AccessLog::to(std::io::sink(), Format::Json, metrics.lost_lines()).unwrap();
    let worker = Arc::new(Worker::new(Pool::new(0, 1), state.store.clone(), log.buffer(), metrics));
    (Arc::new(Gateway::new(state, axum::Router::new())), worker, Peer::new(([127, 0, 0, 1], 1).into(), false))
}

/// The size of what a function of these arguments gives.
fn size_of_answer<'a, B, F>(_: impl FnOnce(&'a Gateway, &'a Arc<Worker>, &'a Peer, Request<B>) -> F) -> usize {
    size_of::<F>()
}

/// It decides the memory of a busy connection: what waits, beside a real request's body, and the call that it has in a box.
#[test]
fn the_pipeline_is_at_most_two_kilobytes_and_its_call_three_quarters() {
    let (line, body, call) = (size_of_answer(Gateway::serve::<Incoming>), size_of::<Incoming>(), Call::SIZE);
    println!("the line {line} bytes with a body of {body}, its call {call}");
    assert!(line <= 2048 + body, "{line} bytes, {body} of them the body");
    assert!(call <= 768, "{call} bytes");
}

/// A body that no client can send.
struct Panics;

impl http_body::Body for Panics {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        panic!("told to")
    }
}

#[tokio::test]
async fn a_panic_costs_one_answer() {
    let (gateway, worker, peer) = parts();
    let service = Service::new(gateway, worker.clone(), peer);
    let request = |body: bool| {
        let request = Request::post("/v1/echo").header("host", "a").header("content-type", "application/json");
        request.header("x-request-id", if body { "second" } else { "first" })
    };

    let response: Response<Body> = service.clone().oneshot(request(false).body(Panics).unwrap()).await.unwrap();

    assert_eq!((response.status().as_u16(), &response.headers()["x-request-id"]), (500, &"first".parse().unwrap()));
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("\"INTERNAL\""), "{text:?}");
    assert_eq!(worker.metrics.in_flight().value(), 0);

    let response = service.oneshot(request(true).body(Full::from("{")).unwrap()).await.unwrap();
    assert_eq!(response.status(), 400);
}
