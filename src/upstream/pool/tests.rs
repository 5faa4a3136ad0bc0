//! What a connection that cannot be made says of its endpoint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::breaker::Breaker;
use super::{Acquired, Connecting, Endpoint, Failure, FailureKind, Pool, Roster, Seen};
use crate::discovery::Found;
use crate::telemetry::{Circuit, Metrics};

#[tokio::test]
async fn what_the_process_lacks_is_held_against_no_endpoint() {
    let (pool, roster) = (Pool::new(0, 1), Arc::new(Roster::new()));
    let address = "127.0.0.1:1".parse().unwrap();
    let metrics = Metrics::new().endpoint("test", "127.0.0.1:1");
    let rule = crate::config::CircuitBreaker { failures: 1, open_for: Duration::from_secs(30), probes: 1 };
    let endpoint = Arc::new(Endpoint::new(address, 1, Breaker::new(Some(rule)), metrics));
    roster.set_found(&[Found::at(address)], 1, |_| Arc::clone(&endpoint));
    let fails = |kind| {
        // Its own attempt does not run before this test waits for something.
        let Acquired::Queued(_, mut place) = pool.acquire(&endpoint, &roster, true) else {
            panic!("nobody is connected")
        };
        let slot = Arc::clone(&pool.slots().lock()[&endpoint.id]);
        slot.state.lock().connecting += 1;
        Connecting::of(&slot).fail(&Failure::new(Seen::NotSeen, kind, ""));
        let Ok(Err(failure)) = place.try_recv() else { panic!("nobody was told") };
        (failure.outcome(), endpoint.down(), endpoint.breaker.circuit(Instant::now()).0)
    };
    assert_eq!(fails(FailureKind::Overloaded), ("overloaded", false, Circuit::Closed));
    assert_eq!(fails(FailureKind::ConnectFailed), ("connect_failed", true, Circuit::Open));
}
