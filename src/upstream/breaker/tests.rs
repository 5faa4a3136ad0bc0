//! A breaker through its states, by instants.

use std::time::{Duration, Instant};

use super::Breaker;
use crate::config::CircuitBreaker;
use crate::telemetry::Circuit;

const OPEN: Duration = Duration::from_secs(30);

fn breaker(failures: usize, probes: usize) -> (Breaker, Instant) {
    (Breaker::new(Some(CircuitBreaker { failures, open_for: OPEN, probes })), Instant::now())
}

fn open(failures: usize, probes: usize) -> (Breaker, Instant) {
    let (breaker, now) = breaker(failures, probes);
    for _ in 1..failures {
        assert_eq!(breaker.failed(false, now), None);
    }
    assert_eq!(breaker.failed(false, now), Some(Circuit::Open));
    (breaker, now)
}

#[test]
fn five_failures_in_a_row_open_it_for_thirty_seconds_and_one_probe_closes_it() {
    let (breaker, now) = open(5, 1);
    assert!(breaker.rests());
    assert_eq!(breaker.circuit(now), (Circuit::Open, OPEN));
    let late = now + OPEN - Duration::from_millis(1);
    assert!(!breaker.probe(late));
    assert_eq!(breaker.circuit(late), (Circuit::Open, Duration::from_millis(1)));

    let now = now + OPEN;
    assert_eq!(breaker.circuit(now).0, Circuit::HalfOpen);
    assert!(breaker.probe(now));
    assert!(!breaker.probe(now), "one and no more");
    assert_eq!(breaker.served(true), Some(Circuit::Closed));
    assert!(!breaker.rests());
}

#[test]
fn failures_that_are_not_in_a_row_do_not_open_it() {
    let (breaker, now) = breaker(2, 1);
    for _ in 0..10 {
        assert_eq!(breaker.failed(false, now), None);
        assert_eq!(breaker.served(false), None);
    }
    assert_eq!(breaker.circuit(now).0, Circuit::Closed);
}

#[test]
fn a_probe_that_fails_opens_it_for_as_long_again() {
    let (breaker, now) = open(2, 1);
    let now = now + OPEN;
    assert!(breaker.probe(now));
    assert_eq!(breaker.failed(true, now), Some(Circuit::Open));
    assert_eq!(breaker.circuit(now), (Circuit::Open, OPEN));
}

#[test]
fn all_of_several_probes_must_be_served() {
    let (breaker, now) = open(1, 3);
    let now = now + OPEN;
    assert!((0..3).all(|_| breaker.probe(now)));
    assert!(!breaker.probe(now));
    assert_eq!((breaker.served(true), breaker.served(true)), (None, None));
    assert_eq!(breaker.served(true), Some(Circuit::Closed));
}

#[test]
fn what_began_before_it_opened_neither_closes_it_nor_opens_it_again() {
    let (breaker, now) = open(1, 1);
    assert_eq!((breaker.served(false), breaker.failed(false, now + OPEN / 2)), (None, None));
    assert_eq!(breaker.circuit(now), (Circuit::Open, OPEN));
    assert!(breaker.probe(now + OPEN));
    assert_eq!((breaker.served(false), breaker.failed(false, now + OPEN)), (None, None));
    assert_eq!(breaker.circuit(now + OPEN).0, Circuit::HalfOpen);
}

#[test]
fn a_probe_that_shows_nothing_makes_room_for_another_at_once_or_with_time() {
    let (breaker, now) = open(1, 1);
    let now = now + OPEN;
    assert!(breaker.probe(now));
    breaker.released();
    assert!(breaker.probe(now));
    assert!(!breaker.probe(now + OPEN / 2));
    assert!(breaker.probe(now + OPEN));
}

#[test]
fn an_endpoint_that_was_gone_and_is_back_is_probed_at_once_and_no_more() {
    let (breaker, now) = open(1, 1);
    breaker.recovered(now);
    assert_eq!(breaker.circuit(now).0, Circuit::HalfOpen);
    assert!(breaker.rests(), "a check never closes it");
    assert!(breaker.probe(now) && !breaker.probe(now));
}

#[test]
fn without_a_rule_it_admits_whatever_happens_and_a_new_rule_starts_anew() {
    let now = Instant::now();
    let breaker = Breaker::new(None);
    assert!((0..100).all(|_| breaker.failed(false, now).is_none()));
    assert!(!breaker.rests());
    let rule = CircuitBreaker { failures: 1, open_for: OPEN, probes: 1 };
    assert!(breaker.follow(Some(&rule)) && !breaker.follow(Some(&rule)));
    assert_eq!(breaker.failed(false, now), Some(Circuit::Open));
    assert!(breaker.follow(None));
    assert_eq!(breaker.circuit(now).0, Circuit::Closed);
}
