//! A hedge judges the endpoint that it beat.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use transom_transcode::schema::Idempotency;

use super::support::{Call, Server, answer, framed, grpc_head, outgoing, status, upstream};
use crate::config::{self, Percent};
use crate::upstream::tally::Tally;
use crate::upstream::{Failure, Outgoing, Pool, Unary, Upstream};

const HEDGE: Duration = Duration::from_millis(10);

/// Holds its calls for good.
async fn stuck() -> Server {
    let held = Arc::new(Mutex::new(Vec::new()));
    Server::start(move |call: Call| held.lock().push(call)).await
}

fn refuse((_, mut respond): Call, number: &'static str) {
    let mut head = grpc_head();
    head.headers_mut().extend(status(number));
    respond.send_response(head, true).unwrap();
}

/// One call, by the first of these and then beside it by the second; what was noted of both.
async fn race(first: &Server, second: &Server) -> (Result<Unary, Failure>, [Tally; 2]) {
    let upstream = upstream(&[first.address, second.address]);
    let endpoints = upstream.roster.all();
    endpoints.iter().for_each(|endpoint| endpoint.counts.set_timed(true));
    let backoff = Duration::from_millis(1);
    let rule = config::Retry { hedge: Some(HEDGE), budget: Percent(100), backoff, ..config::Retry::default() };
    let rule = upstream.retry(&rule, Idempotency::NoSideEffects);
    let call = Outgoing { retry: rule.as_ref(), ..outgoing(Duration::from_secs(5)) };
    let answered = Upstream::unary(&upstream, &Pool::new(0, 1), call, framed(b"request")).await;
    let tally = |at: usize| endpoints[at].counts.tally(&endpoints[at].metrics);
    (answered, [tally(0), tally(1)])
}

#[tokio::test]
async fn one_that_was_overtaken_took_at_least_so_long() {
    let (stuck, quick) = (stuck().await, Server::start(|call| answer(call, b"quick")).await);
    let (answered, [beaten, winner]) = race(&stuck, &quick).await;
    assert_eq!(answered.unwrap().message, b"quick".as_slice());
    assert_eq!((beaten.timed, winner.timed), (1, 1));
    assert!(beaten.micros >= 10_000 && winner.micros < beaten.micros, "{beaten:?} {winner:?}");
    assert_eq!((beaten.failures, winner.failures), (0, 0));

    let none = Server::start(|call| refuse(call, "5")).await;
    let (answered, [beaten, _]) = race(&stuck, &none).await;
    answered.unwrap_err();
    assert_eq!((beaten.timed, beaten.failures), (1, 0));
}

#[tokio::test]
async fn one_that_failed_beside_a_better_one_has_failed() {
    let (asked, failed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (hears, tells) = (Arc::clone(&asked), Arc::clone(&failed));
    let failing = Server::start(move |call| {
        let (hears, tells) = (Arc::clone(&hears), Arc::clone(&tells));
        tokio::spawn(async move {
            hears.notified().await;
            refuse(call, "14");
            tells.notify_one();
        });
    });
    let late = Server::start(move |call| {
        let (asked, failed) = (Arc::clone(&asked), Arc::clone(&failed));
        tokio::spawn(async move {
            asked.notify_one();
            failed.notified().await;
            // The other's status is on its way: nothing tells a server that it has come.
            tokio::time::sleep(Duration::from_millis(20)).await;
            answer(call, b"late");
        });
    });
    let (failing, late) = (failing.await, late.await);
    let (answered, [beaten, winner]) = race(&failing, &late).await;
    assert_eq!(answered.unwrap().message, b"late".as_slice());
    assert_eq!((beaten.failures, winner.failures), (1, 0));
    assert_eq!((beaten.timed, winner.timed), (0, 1));
}
