//! A breaker and the calls that are its probes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::StreamBody;

use super::support::{Call, Server, answer, call, outgoing, settings, until};
use crate::config::CircuitBreaker;
use crate::telemetry::{Circuit, Metrics};
use crate::upstream::{Outgoing, Pool, Upstream};

const LONG: Duration = Duration::from_secs(30);

/// One whose only endpoint has failed, and may prove itself by now.
async fn half_open(server: &Server, open_for: Duration) -> Arc<Upstream> {
    let mut settings = settings(&[server.address]);
    settings.circuit_breaker = Some(CircuitBreaker { failures: 1, open_for, probes: 1 });
    let upstream = Upstream::compile("test", &settings, &Metrics::new());
    let endpoint = Arc::clone(&upstream.roster.all()[0]);
    upstream.roster.failed(&endpoint);
    // As if it had been down until now.
    endpoint.breaker.recovered(Instant::now());
    assert_eq!(upstream.circuit(), Circuit::HalfOpen);
    upstream
}

/// Answers once all of a request is there.
fn echo((request, respond): Call) {
    tokio::spawn(async move {
        let mut body = request.into_body();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
        }
        answer((http::Request::new(body), respond), b"echo");
    });
}

/// A request whose client never says anything.
fn silent() -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
    StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>())
}

#[tokio::test]
async fn a_stream_whose_client_is_silent_keeps_no_call_from_proving_the_endpoint() {
    for single in [false, true] {
        let server = Server::start(echo).await;
        let (upstream, pool) = (half_open(&server, LONG).await, Pool::new(0, 1));
        let quiet = Outgoing { single, ..outgoing(LONG) };
        let mut quiet = Box::pin(upstream.stream(&pool, quiet, silent()));
        tokio::select! {
            _ = quiet.as_mut() => unreachable!("it is never answered"),
            () = until(|| server.calls() == 1) => {}
        }
        assert_eq!(upstream.circuit(), Circuit::HalfOpen);
        assert_eq!(call(&upstream, &pool).await.unwrap().message, "echo");
        assert_eq!(upstream.circuit(), Circuit::Closed);
    }
}
