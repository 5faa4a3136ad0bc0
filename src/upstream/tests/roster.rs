//! The roster: who comes, who proves itself, who leaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::support::{Server, numbered, settings, until, who};
use crate::config::{self, CircuitBreaker, Percent, SlowStart};
use crate::discovery::Found;
use crate::telemetry::{Ejection, Metrics};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::{Pool, Upstream};

const NOBODY: [SocketAddr; 3] = [at(1), at(2), at(3)];

const fn at(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// An upstream of one name that was not looked up yet.
fn service(metrics: &Arc<Metrics>, say: impl FnOnce(&mut config::Upstream)) -> Arc<Upstream> {
    let mut settings = settings(&[]);
    settings.endpoints = vec![config::Endpoint::at("service", 1)];
    say(&mut settings);
    Upstream::compile("test", &settings, metrics)
}

/// The name was looked up: addresses and their priorities.
fn found(upstream: &Upstream, at: &[(SocketAddr, u16)]) {
    let found: Vec<_> = at.iter().map(|(at, priority)| Found { priority: *priority, ..Found::at(*at) }).collect();
    upstream.group.found(&upstream.config.endpoints[0].place, Some(&found));
}

fn endpoint(upstream: &Upstream, at: SocketAddr) -> Arc<Endpoint> {
    Arc::clone(upstream.roster.all().iter().find(|endpoint| endpoint.address == at).unwrap())
}

fn warming(upstream: &Upstream) -> Vec<bool> {
    upstream.describe().iter().map(|state| state.warming).collect()
}

const SLOW_START: SlowStart = SlowStart { window: Duration::from_millis(100), min_weight: Percent(10) };

#[test]
fn at_the_start_nobody_is_new_and_who_comes_later_is() {
    let upstream = service(&Metrics::new(), |settings| settings.slow_start = Some(SLOW_START));
    let [first, second, third] = NOBODY.map(|at| (at, 0));
    found(&upstream, &[first, second]);
    assert_eq!(warming(&upstream), [false, false]);
    found(&upstream, &[first, second, third]);
    assert_eq!(warming(&upstream), [false, false, true]);
}

#[tokio::test]
async fn a_backup_that_came_while_nobody_called_it_warms_up() {
    let upstream = service(&Metrics::new(), |settings| settings.slow_start = Some(SLOW_START));
    let [main, old, new] = NOBODY;
    found(&upstream, &[(main, 0), (old, 1)]);
    found(&upstream, &[(main, 0), (old, 1), (new, 1)]);
    let mut warming_up = std::pin::pin!(Arc::clone(&upstream.group).warm_up());
    // It hears that somebody came, and finds nothing to do yet.
    assert!(warming_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());

    upstream.roster.set_down(&endpoint(&upstream, main), true);
    tokio::select! {
        () = warming_up => unreachable!("it goes on for good"),
        () = until(|| warming(&upstream) == [false; 3]) => {}
    }
}

#[tokio::test]
async fn a_backup_proves_itself_when_it_is_needed_and_not_before() {
    let servers = [numbered(0).await, numbered(1).await];
    let [main, backup] = servers.each_ref().map(|server| server.address);
    let rule = CircuitBreaker { failures: 1, open_for: Duration::from_millis(1), probes: 1 };
    let upstream = service(&Metrics::new(), |settings| settings.circuit_breaker = Some(rule.clone()));
    found(&upstream, &[(main, 0), (backup, 1)]);
    let pool = Pool::new(0, 1);
    let open = async |at: SocketAddr| {
        let endpoint = endpoint(&upstream, at);
        upstream.roster.failed(&endpoint);
        until(|| endpoint.breaker.circuit(std::time::Instant::now()).1.is_zero()).await;
        assert!(endpoint.breaker.rests());
    };

    open(backup).await;
    for _ in 0..5 {
        assert_eq!(who(&upstream, &pool).await, 0);
    }
    assert_eq!(servers.each_ref().map(Server::calls), [5, 0]);
    // The main one proves itself at once, though the backup could serve.
    let after = endpoint(&upstream, backup);
    let probe = after.breaker.probe(std::time::Instant::now(), true);
    assert!(after.breaker.served(probe).is_some());
    open(main).await;
    assert_eq!(who(&upstream, &pool).await, 0);
}

#[test]
fn gauges_of_an_endpoint_that_left_say_nothing_of_one_that_comes_back() {
    let metrics = Metrics::new();
    let rule = CircuitBreaker { failures: 1, open_for: Duration::from_secs(60), probes: 1 };
    let upstream = service(&metrics, |settings| settings.circuit_breaker = Some(rule));
    let [stays, leaves, _] = NOBODY;
    found(&upstream, &[(stays, 0), (leaves, 0)]);
    // A call holds it, and with it its series.
    let held = endpoint(&upstream, leaves);
    upstream.roster.failed(&held);
    upstream.roster.set_ejected(&held, Some(Ejection::Errors));
    let gauges = || {
        let (text, of) = (metrics.encode(), format!("upstream=\"test\",endpoint=\"{leaves}\""));
        ["circuit", "ejected"].map(|name| {
            let line = text.lines().find(|line| line.starts_with(&format!("transom_upstream_{name}{{{of}}}")));
            line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
        })
    };
    assert_eq!(gauges(), ["2", "1"].map(|value| Some(value.to_owned())));
    found(&upstream, &[(stays, 0)]);
    assert_eq!(gauges(), ["0", "0"].map(|value| Some(value.to_owned())));
    found(&upstream, &[(stays, 0), (leaves, 0)]);
    assert_eq!(gauges(), ["0", "0"].map(|value| Some(value.to_owned())));
    drop(held);
}
