//! A breaker through its states, by instants.

use std::time::{Duration, Instant};

use super::{Breaker, QUIET};
use crate::config::CircuitBreaker;
use crate::telemetry::Circuit;

const OPEN: Duration = Duration::from_secs(30);

fn breaker(failures: usize, probes: usize) -> (Breaker, Instant) {
    (Breaker::new(Some(CircuitBreaker { failures, open_for: OPEN, probes })), Instant::now())
}

fn open(failures: usize, probes: usize) -> (Breaker, Instant) {
    let (breaker, now) = breaker(failures, probes);
    for _ in 1..failures {
        assert_eq!(breaker.failed(None, now), None);
    }
    assert_eq!(breaker.failed(None, now), Some(Circuit::Open));
    (breaker, now)
}

#[test]
fn five_failures_in_a_row_open_it_for_thirty_seconds_and_one_probe_closes_it() {
    let (breaker, now) = open(5, 1);
    assert!(breaker.rests());
    assert_eq!(breaker.circuit(now), (Circuit::Open, OPEN));
    let late = now + OPEN - Duration::from_millis(1);
    assert_eq!(breaker.probe(late, true), None);
    assert_eq!(breaker.circuit(late), (Circuit::Open, Duration::from_millis(1)));

    let now = now + OPEN;
    assert_eq!(breaker.circuit(now).0, Circuit::HalfOpen);
    let probe = breaker.probe(now, true);
    assert!(probe.is_some());
    assert_eq!(breaker.probe(now, true), None, "one and no more");
    assert_eq!(breaker.served(probe), Some(Circuit::Closed));
    assert!(!breaker.rests());
}

#[test]
fn failures_that_are_not_in_a_row_do_not_open_it() {
    let (breaker, now) = breaker(2, 1);
    for _ in 0..10 {
        assert_eq!(breaker.failed(None, now), None);
        assert_eq!(breaker.served(None), None);
    }
    assert_eq!(breaker.circuit(now).0, Circuit::Closed);
}

#[test]
fn a_probe_that_fails_opens_it_for_as_long_again() {
    let (breaker, now) = open(2, 1);
    let now = now + OPEN;
    let probe = breaker.probe(now, true);
    assert_eq!(breaker.failed(probe, now), Some(Circuit::Open));
    assert_eq!(breaker.circuit(now), (Circuit::Open, OPEN));
}

#[test]
fn all_of_several_probes_must_be_served() {
    let (breaker, now) = open(1, 3);
    let now = now + OPEN;
    let [one, two, three, none] = [(); 4].map(|()| breaker.probe(now, true));
    assert_eq!((one, two, none), (two, three, None));
    assert_eq!((breaker.served(one), breaker.served(two)), (None, None));
    assert_eq!(breaker.served(three), Some(Circuit::Closed));
}

#[test]
fn what_began_before_it_opened_neither_closes_it_nor_opens_it_again() {
    let (breaker, now) = open(1, 1);
    assert_eq!((breaker.served(None), breaker.failed(None, now + OPEN / 2)), (None, None));
    assert_eq!(breaker.circuit(now), (Circuit::Open, OPEN));
    assert!(breaker.probe(now + OPEN, true).is_some());
    assert_eq!((breaker.served(None), breaker.failed(None, now + OPEN)), (None, None));
    assert_eq!(breaker.circuit(now + OPEN).0, Circuit::HalfOpen);
}

#[test]
fn a_probe_that_shows_nothing_makes_room_for_another_at_once_or_with_time() {
    let (breaker, now) = open(1, 1);
    let now = now + OPEN;
    breaker.released(breaker.probe(now, true).unwrap());
    assert!(breaker.probe(now, true).is_some());
    assert_eq!(breaker.probe(now + OPEN / 2, true), None);
    assert!(breaker.probe(now + OPEN, true).is_some());
}

#[test]
fn streams_that_wait_for_their_clients_take_nobodys_place() {
    let (breaker, now) = open(1, 1);
    let now = now + OPEN;
    let stream = breaker.probe(now, false);
    assert!(stream.is_some());
    assert_eq!(breaker.probe(now, false), None, "one at a time");
    // Nor does a call whose message has yet to come.
    let late = breaker.quiet(breaker.probe(now, true).unwrap(), now);
    let call = breaker.probe(now, true);
    assert!(call.is_some());
    assert_eq!((breaker.probe(now, true), breaker.probe(now + QUIET, false)), (None, None));
    breaker.released(late);
    breaker.released(call.unwrap());
    // What it shows in the end counts, however many have gone since.
    assert!(breaker.probe(now, false).is_some());
    assert_eq!((breaker.probe(now, false), breaker.probe(now + QUIET, false).is_some()), (None, true));
    assert_eq!(breaker.served(stream), Some(Circuit::Closed));
}

#[test]
fn a_probe_whose_round_is_over_says_nothing_of_the_next() {
    let (breaker, now) = open(1, 2);
    let now = now + OPEN;
    let stale = [breaker.probe(now, true), breaker.probe(now, true)];
    assert_eq!((stale[0], breaker.probe(now, true)), (stale[1], None));
    let [one, other] = [(); 2].map(|()| breaker.probe(now + OPEN, true));
    assert_eq!((one, one != stale[0]), (other, true));
    for stale in stale {
        breaker.released(stale.unwrap());
        assert_eq!((breaker.served(stale), breaker.failed(stale, now + OPEN)), (None, None));
    }
    assert_eq!(breaker.probe(now + OPEN, true), None, "both places are taken");
    assert_eq!((breaker.served(one), breaker.served(other)), (None, Some(Circuit::Closed)));
}

#[test]
fn an_endpoint_that_was_gone_and_is_back_is_probed_at_once_and_no_more() {
    let (breaker, now) = open(1, 1);
    breaker.recovered(now);
    assert_eq!(breaker.circuit(now).0, Circuit::HalfOpen);
    assert!(breaker.rests(), "a check never closes it");
    assert!(breaker.probe(now, true).is_some() && breaker.probe(now, true).is_none());
}

#[test]
fn without_a_rule_it_admits_whatever_happens_and_a_new_rule_starts_anew() {
    let now = Instant::now();
    let breaker = Breaker::new(None);
    assert!((0..100).all(|_| breaker.failed(None, now).is_none()));
    assert!(!breaker.rests());
    let rule = CircuitBreaker { failures: 1, open_for: OPEN, probes: 1 };
    assert!(breaker.follow(Some(&rule)) && !breaker.follow(Some(&rule)));
    assert_eq!(breaker.failed(None, now), Some(Circuit::Open));
    assert!(breaker.follow(None));
    assert_eq!(breaker.circuit(now).0, Circuit::Closed);
}
