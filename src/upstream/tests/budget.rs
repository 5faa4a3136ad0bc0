//! What fills the budget of retries, and what it pays for.

use std::time::Duration;

use transom_transcode::schema::Idempotency;

use super::support::{Call, Server, answer, framed, outgoing, upstream};
use crate::config;
use crate::upstream::{Failure, FailureKind, Outgoing, Pool, Retry, Unary, Upstream};

/// What ten seconds allow to whoever has made no call.
const FLOOR: usize = 100;

fn rule(upstream: &Upstream) -> Retry {
    let rule = config::Retry { backoff: Duration::from_millis(1), ..config::Retry::default() };
    upstream.retry(&rule, Idempotency::NoSideEffects).unwrap()
}

async fn call(upstream: &Upstream, pool: &Pool, rule: &Retry) -> Result<Unary, Failure> {
    let call = Outgoing { retry: Some(rule), ..outgoing(Duration::from_secs(5)) };
    upstream.unary(pool, call, framed(b"request")).await
}

fn left(rule: &Retry) -> usize {
    (0..1000).take_while(|_| rule.withdraw((0, 1))).count()
}

#[tokio::test]
async fn calls_that_reach_nobody_neither_fill_nor_drain_it() {
    let nobody = Server::start(|call| answer(call, b"")).await.stop().await;
    let (upstream, pool) = (upstream(&[nobody]), Pool::new(0, 1));
    let rule = rule(&upstream);
    for _ in 0..200 {
        let failure = call(&upstream, &pool, &rule).await.unwrap_err();
        assert!(matches!(failure.kind, FailureKind::ConnectFailed | FailureKind::NoEndpoint), "{failure}");
    }
    assert_eq!(left(&rule), FLOOR);
}

#[tokio::test]
async fn streams_that_are_refused_are_paid_for() {
    let busy = |(_, mut respond): Call| respond.send_reset(h2::Reason::REFUSED_STREAM);
    let busy = Server::start(busy).await;
    let (upstream, pool) = (upstream(&[busy.address]), Pool::new(0, 1));
    let rule = rule(&upstream);
    call(&upstream, &pool, &rule).await.unwrap_err();
    assert_eq!(left(&rule), FLOOR - 2);
}
