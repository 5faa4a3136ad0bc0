//! What balancer, breaker and limits cost a call, without the call:
//! `cargo test --release --lib upstream::tests::cost -- --ignored --nocapture`, `CALLS` times.
//!
//! Under valgrind two runs of different `CALLS` tell its instructions.

use std::time::Instant;

use super::support::{outgoing, settings};
use crate::config::{CircuitBreaker, OutlierEjection, Percent};
use crate::telemetry::{Metrics, Outcome};
use crate::upstream::{Aim, Upstream};

#[test]
#[ignore = "a measurement"]
fn of_balancer_breaker_and_limits() {
    const SECOND: std::time::Duration = std::time::Duration::from_secs(1);
    let mut settings = settings(&[1, 2, 3, 4].map(|port| ([127, 0, 0, 1], port).into()));
    settings.circuit_breaker = Some(CircuitBreaker { failures: 5, open_for: SECOND, probes: 1 });
    settings.outlier_ejection = Some(OutlierEjection {
        error_rate: Percent(50),
        latency_factor: None,
        window: SECOND,
        request_volume: 20,
        max_ejected: Percent(50),
        base_ejection_time: SECOND,
        max_ejection_time: SECOND,
    });
    let upstream = Upstream::compile("test", &settings, &Metrics::new());
    let calls: u32 = std::env::var("CALLS").ok().and_then(|calls| calls.parse().ok()).unwrap_or(1_000_000);
    let call = outgoing(SECOND);
    let begin = Instant::now();
    for _ in 0..calls {
        let permit = upstream.permit(&call).unwrap();
        let taken = upstream.roster.next(&[], Aim::default(), |endpoint, probe| {
            assert!(probe.is_none());
            endpoint.enter();
            assert!(endpoint.breaker.served(false).is_none());
            endpoint.counts.served(begin);
            endpoint.leave();
            endpoint.metrics.record(Outcome::Ok);
        });
        assert!(taken.is_some());
        drop(permit);
    }
    println!("{:.1} ns a call", begin.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
}
