//! What is done beside the calls: health checks, reconnection, names.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Response;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::support::{Call, Server, answer, call, framed, numbered, outgoing, settings, status, until, upstream, who};
use crate::config::{CircuitBreaker, HealthCheck};
use crate::telemetry::Metrics;
use crate::upstream::{Aim, Failure, FailureKind, Pool, Seen, Upstream, Watches};

/// Watched until it is dropped.
fn watch(upstream: &Arc<Upstream>) -> Watches {
    let mut watches = Watches::default();
    watches.begin([upstream]);
    watches
}

#[tokio::test]
async fn a_look_for_which_the_process_lacks_files_says_nothing() {
    let upstream = upstream(&["127.0.0.1:1".parse().unwrap()]);
    let endpoint = Arc::clone(&upstream.roster.all()[0]);
    let looks = |kind| upstream.group.reached(&endpoint, &Err(Failure::new(Seen::NotSeen, kind, "why")));
    assert!(!looks(FailureKind::Overloaded));
    assert_eq!((endpoint.down(), endpoint.last_failure()), (false, None));
    assert!(!looks(FailureKind::ConnectFailed));
    assert!(endpoint.down() && endpoint.last_failure().is_some());
}

#[tokio::test]
async fn a_dead_endpoint_comes_back_when_it_answers_again() {
    let servers = [numbered(0).await, numbered(1).await];
    let upstream = upstream(&servers.each_ref().map(|server| server.address));
    let _watched = watch(&upstream);
    let pool = Pool::new(0, 1);
    let [zero, one] = servers;
    let address = one.stop().await;
    for _ in 0..4 {
        assert_eq!(who(&upstream, &pool).await, 0);
    }
    assert_eq!(upstream.usable(), 1);
    assert!(upstream.describe()[1].down);
    let _back = Server::on(address, h2::server::Builder::new(), |call| answer(call, &[1])).await;
    until(|| upstream.usable() == 2).await;
    let mut answers = [who(&upstream, &pool).await, who(&upstream, &pool).await];
    answers.sort_unstable();
    assert_eq!(answers, [0, 1]);
    drop(zero);
}

#[tokio::test]
async fn an_endpoint_that_never_answered_is_found_out_without_calls() {
    let gone = numbered(0).await.stop().await;
    let upstream = upstream(&[gone]);
    // Worth a try, but nothing to promise.
    assert_eq!((upstream.usable(), upstream.describe()[0].down), (0, false));
    let _watched = watch(&upstream);
    until(|| upstream.describe()[0].down).await;
    let failure = call(&upstream, &Pool::new(0, 1)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::NoEndpoint), "{failure}");
}

/// What a server says of its health: a status, or one of these.
const NO_SUCH_SERVICE: Option<u8> = None;
const NOT_FOUND: Option<u8> = Some(200);
const NOTHING: Option<u8> = Some(201);

/// A server that answers calls, and health checks with what is set.
async fn with_health(health: &Arc<Mutex<Option<u8>>>) -> Server {
    let (health, held) = (Arc::clone(health), Arc::new(Mutex::new(Vec::new())));
    Server::start(move |(request, mut respond): Call| {
        if !request.uri().path().starts_with("/grpc.health.v1.Health/") {
            return answer((request, respond), &[9]);
        }
        match *health.lock() {
            // As a proxy says it, of which nothing is behind.
            NOT_FOUND => drop(respond.send_response(Response::builder().status(404).body(()).unwrap(), true)),
            NOTHING => held.lock().push((request, respond)),
            Some(serving) => answer((request, respond), &[8, serving]),
            NO_SUCH_SERVICE => {
                let mut head = super::support::grpc_head();
                head.headers_mut().extend(status("12"));
                respond.send_response(head, true).unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_endpoint_that_says_it_does_not_serve_gets_no_calls() {
    let health = Arc::new(Mutex::new(Some(1)));
    let server = with_health(&health).await;
    let mut settings = settings(&[server.address]);
    let (interval, timeout) = (Duration::from_millis(20), Duration::from_secs(1));
    settings.health_check = Some(HealthCheck { interval, timeout, unhealthy_after: 2, service: "s".into() });
    let upstream = Upstream::compile("test", &settings, &Metrics::new());
    let _watched = watch(&upstream);
    let pool = Pool::new(0, 1);
    assert_eq!(who(&upstream, &pool).await, 9);
    // NOT_SERVING.
    *health.lock() = Some(2);
    until(|| upstream.usable() == 0).await;
    assert!(matches!(call(&upstream, &pool).await.unwrap_err().kind, FailureKind::NoEndpoint));
    // No such service: that it answers must do.
    *health.lock() = NO_SUCH_SERVICE;
    until(|| upstream.usable() == 1).await;
    assert_eq!(who(&upstream, &pool).await, 9);
    // The same in HTTP's words is nobody's answer who speaks gRPC.
    *health.lock() = NOT_FOUND;
    until(|| upstream.usable() == 0).await;
    assert!(matches!(call(&upstream, &pool).await.unwrap_err().kind, FailureKind::NoEndpoint));
}

/// An upstream whose endpoints are checked often, and are ill after so many checks.
fn checked(servers: &[&Server], unhealthy_after: usize) -> Arc<Upstream> {
    let mut settings = settings(&servers.iter().map(|server| server.address).collect::<Vec<_>>());
    let (interval, timeout) = (Duration::from_millis(20), Duration::from_millis(100));
    settings.health_check = Some(HealthCheck { interval, timeout, unhealthy_after, service: String::new() });
    Upstream::compile("test", &settings, &Metrics::new())
}

#[tokio::test]
async fn a_check_that_is_lost_takes_no_endpoint_out() {
    let (asked, ill) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let (checks, switch) = (Arc::clone(&asked), Arc::clone(&ill));
    let server = Server::start(move |(request, mut respond): Call| {
        if !request.uri().path().starts_with("/grpc.health.v1.Health/") {
            return answer((request, respond), &[9]);
        }
        // One by one at first, then all.
        match checks.fetch_add(1, Ordering::Relaxed) {
            3 | 5 => respond.send_reset(h2::Reason::CANCEL),
            7.. if switch.load(Ordering::Relaxed) => respond.send_reset(h2::Reason::CANCEL),
            _ => answer((request, respond), &[8, 1]),
        }
    })
    .await;
    let upstream = checked(&[&server], 2);
    let _watched = watch(&upstream);
    until(|| upstream.usable() == 1).await;
    until(|| !upstream.describe()[0].healthy).await;
    assert!(asked.load(Ordering::Relaxed) >= 9, "{asked:?}");
    ill.store(false, Ordering::Relaxed);
    until(|| upstream.describe()[0].healthy).await;
}

#[tokio::test]
async fn where_all_are_silent_at_once_they_are_asked_all_the_same() {
    let health = [Arc::new(Mutex::new(Some(1))), Arc::new(Mutex::new(Some(1)))];
    let servers = [with_health(&health[0]).await, with_health(&health[1]).await];
    let upstream = checked(&servers.each_ref(), 1);
    let _watched = watch(&upstream);
    let pool = Pool::new(0, 1);
    until(|| upstream.usable() == 2).await;
    health.iter().for_each(|health| *health.lock() = NOTHING);
    until(|| upstream.usable() == 0).await;
    assert_eq!(who(&upstream, &pool).await, 9);
    // Who says that it does not serve is believed.
    health.iter().for_each(|health| *health.lock() = Some(2));
    until(|| !upstream.roster.is_live(Aim::default())).await;
    assert!(matches!(call(&upstream, &pool).await.unwrap_err().kind, FailureKind::NoEndpoint));
}

#[tokio::test]
async fn where_all_are_silent_their_breakers_hold_all_the_same() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&held);
    let silent = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&silent);
    let server = Server::start(move |call| match switch.load(Ordering::Relaxed) {
        true => kept.lock().push(call),
        false => answer(call, &[8, 1]),
    })
    .await;
    let mut settings = settings(&[server.address]);
    let (interval, timeout) = (Duration::from_millis(20), Duration::from_millis(50));
    settings.health_check = Some(HealthCheck { interval, timeout, unhealthy_after: 1, service: String::new() });
    settings.circuit_breaker = Some(CircuitBreaker { failures: 3, open_for: Duration::from_secs(60), probes: 1 });
    let upstream = Upstream::compile("test", &settings, &Metrics::new());
    let (_watched, pool) = (watch(&upstream), Pool::new(0, 1));
    until(|| upstream.usable() == 1).await;
    silent.store(true, Ordering::Relaxed);
    until(|| upstream.usable() == 0).await;
    for _ in 0..3 {
        let failure = upstream.unary(&pool, outgoing(Duration::from_millis(20)), framed(b"")).await.unwrap_err();
        assert!(matches!(failure.kind, FailureKind::Deadline), "{failure}");
    }
    let failure = call(&upstream, &pool).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::CircuitOpen { .. }), "{failure}");
}

/// A failing endpoint is asked for the sixth time after 50 ms, 100, 200, 400 and 800, each less up to a quarter. Were
/// its first failure counted twice, it would be after 100 ms, 200 and so on.
async fn until_asked_six_times(check: bool, serve: impl Fn(TcpStream) -> Broken + Send + 'static) {
    let server = Server::raw("127.0.0.1:0".parse().unwrap(), Arc::default(), serve).await;
    let mut settings = settings(&[server.address]);
    let (interval, timeout) = (Duration::from_millis(100), Duration::from_secs(1));
    settings.health_check =
        check.then_some(HealthCheck { interval, timeout, unhealthy_after: 2, service: String::new() });
    let upstream = Upstream::compile("test", &settings, &Metrics::new());
    let begun = Instant::now();
    let _watched = watch(&upstream);
    until(|| server.connections.load(Ordering::Relaxed) >= 6).await;
    let taken = begun.elapsed();
    assert!((Duration::from_millis(1150)..Duration::from_millis(1870)).contains(&taken), "{taken:?}");
    assert_eq!(upstream.usable(), 0);
}

type Broken = Pin<Box<dyn Future<Output = ()> + Send>>;

#[tokio::test]
async fn a_failure_that_is_seen_twice_is_backed_off_from_once() {
    // Closed before it has said a word, with health checks, where the pool notes the fall too, and without.
    tokio::join!(
        until_asked_six_times(true, |tcp| Box::pin(async { drop(tcp) })),
        until_asked_six_times(false, |tcp| Box::pin(async { drop(tcp) })),
    );
}
