//! A hedge judges the endpoint that it beat.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use transom_transcode::schema::Idempotency;

use super::support::{Call, Server, answer, framed, grpc_head, join, outgoing, settings, status, upstream};
use crate::config::{self, CircuitBreaker, Percent};
use crate::telemetry::{Circuit, Metrics};
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
    among([first, second]).await
}

/// One call, by the first of these and then beside it by the others; what was noted of each.
async fn among<const N: usize>(servers: [&Server; N]) -> (Result<Unary, Failure>, [Tally; N]) {
    let upstream = upstream(&servers.map(|server| server.address));
    let endpoints = upstream.roster.all();
    endpoints.iter().for_each(|endpoint| endpoint.counts.set_timed(true));
    let backoff = Duration::from_millis(1);
    let rule = config::Retry { hedge: Some(HEDGE), budget: Percent(100), backoff, ..config::Retry::default() };
    let rule = upstream.retry(&rule, Idempotency::NoSideEffects);
    let call = Outgoing { retry: rule.as_ref(), ..outgoing(Duration::from_secs(5)) };
    let answered = Upstream::unary(&upstream, &Pool::new(0, 1), call, framed(b"request")).await;
    (answered, std::array::from_fn(|at| endpoints[at].counts.tally(&endpoints[at].metrics)))
}

#[tokio::test]
async fn a_second_try_that_fails_leaves_no_call_with_who_hangs() {
    let stuck = stuck().await;
    let failing = Server::start(|call| refuse(call, "14")).await;
    let quick = Server::start(|call| answer(call, b"quick")).await;
    let began = Instant::now();
    let (answered, [hung, failed, won]) = among([&stuck, &failing, &quick]).await;
    assert_eq!(answered.unwrap().message, b"quick".as_slice());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!((hung.failures, failed.failures, won.failures), (1, 1, 0));
    // Nobody is left, and the first answers after all.
    let late = slow(7).await;
    let (answered, _) = among([&late, &failing]).await;
    assert_eq!(answered.unwrap().message, [7].as_slice());
}

#[tokio::test]
async fn one_that_was_overtaken_took_at_least_so_long() {
    let (stuck, quick) = (stuck().await, Server::start(|call| answer(call, b"quick")).await);
    let (answered, [beaten, winner]) = race(&stuck, &quick).await;
    assert_eq!(answered.unwrap().message, b"quick".as_slice());
    assert_eq!((beaten.timed, winner.timed), (1, 1));
    assert!(beaten.micros >= 10_000 && winner.micros < beaten.micros, "{beaten:?} {winner:?}");
    assert_eq!(((beaten.calls, beaten.failures), (winner.calls, winner.failures)), ((1, 1), (1, 0)));

    let none = Server::start(|call| refuse(call, "5")).await;
    let (answered, [beaten, _]) = race(&stuck, &none).await;
    answered.unwrap_err();
    assert_eq!((beaten.timed, beaten.failures), (1, 1));
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

/// What overtakes takes so long as well that nothing stands out by its time.
async fn slow(number: u8) -> Server {
    Server::start(move |call| {
        tokio::spawn(async move {
            tokio::time::sleep(HEDGE).await;
            answer(call, &[number]);
        });
    })
    .await
}

#[tokio::test]
async fn one_that_hangs_is_found_by_calls_and_by_probes_that_are_overtaken() {
    const OPEN: Duration = Duration::from_secs(30);
    let servers = [stuck().await, slow(1).await];
    let mut settings = settings(&servers.each_ref().map(|server| server.address));
    settings.circuit_breaker = Some(CircuitBreaker { failures: 3, open_for: OPEN, probes: 1 });
    let (upstream, pool) = (Upstream::compile("test", &settings, &Metrics::new()), Pool::new(0, 1));
    let rule = config::Retry { hedge: Some(HEDGE), budget: Percent(100), ..config::Retry::default() };
    let rule = upstream.retry(&rule, Idempotency::NoSideEffects);
    let hedged = || {
        let call = Outgoing { retry: rule.as_ref(), ..outgoing(Duration::from_secs(5)) };
        upstream.unary(&pool, call, framed(b"request"))
    };
    // Those that were under way together are one.
    for outcome in join([hedged(), hedged(), hedged(), hedged(), hedged(), hedged()]).await {
        assert_eq!(outcome.unwrap().message[0], 1);
    }
    let endpoint = Arc::clone(&upstream.roster.all()[0]);
    assert!(!endpoint.breaker.rests());
    for _ in 0..4 {
        assert_eq!(hedged().await.unwrap().message[0], 1);
    }
    assert_eq!(endpoint.breaker.circuit(Instant::now()).0, Circuit::Open);

    endpoint.breaker.recovered(Instant::now());
    assert_eq!(hedged().await.unwrap().message[0], 1);
    let (circuit, rest) = endpoint.breaker.circuit(Instant::now());
    assert!(circuit == Circuit::Open && rest > OPEN / 2, "{circuit:?} {rest:?}");
}
