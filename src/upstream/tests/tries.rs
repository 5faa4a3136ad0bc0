//! What the log says of a try.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use serde_json::Value;
use tracing::Level;
use transom_transcode::schema::Idempotency;

use super::support::{Call, Server, framed, grpc_head, outgoing, settings, status};
use crate::config;
use crate::telemetry::Metrics;
use crate::upstream::{Outgoing, Pool, Upstream};

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_try_of_a_call_says_whose_it_is_and_how_it_ended() {
    let server = Server::start(|(_, mut respond): Call| {
        let mut head = grpc_head();
        head.headers_mut().extend(status("14"));
        respond.send_response(head, true).unwrap();
    })
    .await;
    let (upstream, pool) = (Upstream::compile("test", &settings(&[server.address]), &Metrics::new()), Pool::new(0, 1));
    let rule = config::Retry { attempts: 2, backoff: Duration::from_millis(1), ..config::Retry::default() };
    let retry = upstream.retry(&rule, Idempotency::NoSideEffects);
    let mut call = Outgoing { retry: retry.as_ref(), ..outgoing(Duration::from_secs(5)) };
    call.headers.given_mut().insert("x-request-id", HeaderValue::from_static("call-7"));

    let page = Page::default();
    let written = page.clone();
    let log = tracing_subscriber::fmt().json().flatten_event(true).with_max_level(Level::DEBUG);
    let log = tracing::subscriber::set_default(log.with_writer(move || written.clone()).finish());
    // Another test may just have been the first to come by such a line, with nobody there to read it.
    tracing::callsite::rebuild_interest_cache();
    upstream.unary(&pool, call, framed(b"x")).await.unwrap_err();
    drop(log);

    let text = String::from_utf8(page.0.lock().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let tries: Vec<_> = lines.filter(|line| line["message"] == "upstream try").collect();
    assert_eq!(tries.len(), 2, "{text}");
    for (line, attempt) in tries.iter().zip(1..) {
        let said =
            ["request_id", "rpc", "upstream", "endpoint", "outcome", "code"].map(|key| line[key].as_str().unwrap());
        let endpoint = server.address.to_string();
        assert_eq!(said, ["call-7", "test.Service/Method", "test", &endpoint, "status", "UNAVAILABLE"]);
        assert_eq!(line["attempt"], attempt);
        assert!(line["duration_us"].as_u64().unwrap() > 0);
    }
}
