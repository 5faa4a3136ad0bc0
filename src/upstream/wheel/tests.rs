//! The wheel under a clock of the test's own.

use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::{Inner, SLOTS, TICK};

const TURN: u64 = TICK * SLOTS as u64;

struct Clock {
    wheel: Inner,
    start: Instant,
}

impl Clock {
    fn new() -> Self {
        let start = Instant::now();
        Self { wheel: Inner::new(start), start }
    }

    fn set(&mut self, at: u64) -> usize {
        self.wheel.insert(self.start + Duration::from_millis(at), Waker::noop().clone())
    }

    /// What has fired by then.
    fn at(&mut self, at: u64) -> usize {
        self.wheel.advance(self.start + Duration::from_millis(at)).len()
    }

    fn next(&mut self) -> Option<u64> {
        let next = self.wheel.next()?;
        Some(u64::try_from((next - self.start).as_millis()).unwrap())
    }

    fn fired(&mut self, key: usize) -> bool {
        self.wheel.check(key, Waker::noop()) == Poll::Ready(())
    }
}

#[test]
fn a_deadline_fires_once_never_early_and_at_most_a_tick_late() {
    let mut clock = Clock::new();
    let key = clock.set(101);
    assert_eq!(clock.at(100), 0);
    assert!(!clock.fired(key));
    assert_eq!(clock.at(101 + TICK), 1);
    assert!(clock.fired(key));
    assert_eq!(clock.at(10 * TURN), 0);
    clock.wheel.remove(key);
    assert!(clock.wheel.entries.is_empty());
}

#[test]
fn one_in_the_past_fires_at_the_next_tick() {
    let mut clock = Clock::new();
    clock.at(5000);
    clock.set(17);
    assert_eq!(clock.at(5000 + TICK), 1);
}

#[test]
fn it_sleeps_until_the_next_occupied_slot_and_stands_still_without_one() {
    let mut clock = Clock::new();
    assert_eq!(clock.next(), None);
    let (far, near) = (clock.set(5000), clock.set(40));
    assert_eq!(clock.next(), Some(40));
    clock.wheel.remove(near);
    assert_eq!(clock.next(), Some(5000));
    clock.wheel.remove(far);
    assert_eq!(clock.next(), None);
    assert!(!clock.wheel.turning);
}

#[test]
fn one_beyond_a_turn_stays_in_its_slot_until_its_own_turn() {
    let mut clock = Clock::new();
    let key = clock.set(3 * TURN + 8);
    assert_eq!(clock.next(), Some(8));
    for turn in 0..3 {
        assert_eq!(clock.at(turn * TURN + 12), 0);
    }
    assert!(!clock.fired(key));
    assert_eq!(clock.at(3 * TURN + 8), 1);
}

#[test]
fn a_sleep_of_many_turns_misses_nothing() {
    let mut clock = Clock::new();
    for at in (0..2 * TURN).step_by(7) {
        clock.set(at);
    }
    let all = clock.wheel.entries.len();
    assert_eq!(clock.at(50 * TURN), all);
    assert_eq!(clock.next(), None);
}

#[test]
fn it_agrees_with_a_list_of_deadlines() {
    let mut clock = Clock::new();
    let mut list: Vec<(u64, usize)> = Vec::new();
    let (mut now, mut random) = (0, 1_u64);
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = random >> 33;
        match draw % 4 {
            0 | 1 => {
                let at = now + draw % (2 * TURN);
                list.push((at.max(now + 1), clock.set(at)));
            }
            2 if !list.is_empty() => {
                let (_, key) = list.swap_remove(usize::try_from(draw).unwrap() % list.len());
                clock.wheel.remove(key);
            }
            _ => {
                now += draw % 500;
                clock.at(now);
                // Rounded up to its tick, one that is due has fired.
                for (at, key) in list.extract_if(.., |(at, _)| at.div_ceil(TICK) * TICK <= now / TICK * TICK) {
                    assert!(clock.fired(key), "{at} at {now}");
                    clock.wheel.remove(key);
                }
                assert!(list.iter().all(|(at, key)| *at > now || !clock.fired(*key)));
                let next = clock.next().unwrap_or(u64::MAX);
                assert!(list.iter().all(|(at, _)| next < at + TICK), "{next}");
            }
        }
    }
}

#[test]
fn one_that_stops_fires_all() {
    let mut clock = Clock::new();
    let keys = [clock.set(10), clock.set(10), clock.set(TURN + 10), clock.set(1000 * TURN)];
    assert_eq!(clock.at(10 + TICK), 2);
    assert_eq!(clock.wheel.stop().len(), 2);
    assert!(keys.into_iter().all(|key| clock.fired(key)));
    assert_eq!(clock.next(), None);
    keys.into_iter().for_each(|key| clock.wheel.remove(key));
    assert!(clock.wheel.entries.is_empty());
}
