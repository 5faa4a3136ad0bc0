//! The controller against services that are arithmetic, by a clock that is given.

use std::time::{Duration, Instant};

use super::{Adaptive, Controller, FEWEST, WINDOW};
use crate::config::AdaptiveConcurrency;
use crate::telemetry::Metrics;

const MOST: usize = 1000;
const LEAST: usize = 4;

/// Calls, the clock, and a service that serves `width` calls at once and lets the others wait.
struct World {
    controller: Controller,
    now: Instant,
    needs: Duration,
    width: usize,
    /// Calls that there would be.
    offered: usize,
}

impl World {
    fn new(needs: Duration, width: usize, offered: usize) -> Self {
        let now = Instant::now();
        let rule = AdaptiveConcurrency { min: LEAST, tolerance: 2 };
        Self { controller: Controller::new(&rule, MOST, now), now, needs, width, offered }
    }

    fn limit(&self) -> usize {
        self.controller.limit()
    }

    fn in_flight(&self) -> usize {
        self.offered.min(self.limit())
    }

    /// So many windows: the limit at the end of each.
    fn run(&mut self, windows: usize) -> Vec<usize> {
        (0..windows).map(|_| self.window()).collect()
    }

    fn window(&mut self) -> usize {
        let in_flight = self.in_flight();
        let waits = self.needs.as_secs_f64() * (in_flight as f64 / self.width as f64).max(1.0);
        for _ in 1..FEWEST * 2 {
            let early = self.controller.took(Duration::from_secs_f64(waits), in_flight, self.now);
            assert_eq!(early, None, "a limit holds for a window at least");
        }
        self.now += WINDOW;
        self.controller.took(Duration::from_secs_f64(waits), in_flight, self.now).expect("the window's end");
        assert!((1..=MOST).contains(&self.limit()));
        self.limit()
    }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_service_that_is_fast_enough_gets_all_there_is() {
    let mut world = World::new(millis(5), 10_000, 5000);
    assert_eq!(world.run(4), [250, 500, 1000, 1000]);
}

#[test]
fn places_that_nobody_wants_are_no_reason_for_more() {
    let mut world = World::new(millis(5), 10_000, 50);
    assert_eq!(world.run(20), [125; 20]);
}

#[test]
fn what_a_service_cannot_do_at_once_is_not_given_to_it() {
    let mut world = World::new(millis(5), 100, 5000);
    world.run(50);
    // It serves a hundred at once; twice its time is borne, which is as many again that wait.
    assert!(world.run(200).iter().all(|limit| (90..=230).contains(limit)));
}

#[test]
fn years_of_load_do_not_make_it_forget_what_calls_need() {
    let mut world = World::new(millis(5), 100, 5000);
    world.run(100);
    let tenth_minute = world.run(10 * 600).split_off(9 * 600);
    assert!(tenth_minute.iter().all(|limit| (40..=260).contains(limit)), "{:?}", tenth_minute.iter().max());
    let mean = tenth_minute.iter().sum::<usize>() / tenth_minute.len();
    assert!((100..=220).contains(&mean), "{mean}");
}

#[test]
fn a_slow_service_gets_fewer_and_all_again_when_it_is_well() {
    let mut world = World::new(millis(5), 10_000, 200);
    world.run(10);
    assert!(world.limit() >= 200);
    world.needs = millis(100);
    let falling = world.run(8);
    assert!(falling.windows(2).all(|pair| pair[1] <= pair[0]), "{falling:?}");
    assert_eq!(world.limit(), LEAST);
    world.needs = millis(5);
    let back = world.run(60).iter().position(|limit| *limit >= 200);
    assert!(back.is_some_and(|windows| windows < 40), "{back:?}");
}

#[test]
fn a_service_that_is_slow_for_good_is_slow_and_no_more() {
    let mut world = World::new(millis(5), 10_000, 200);
    world.run(10);
    world.needs = millis(50);
    world.run(20);
    assert_eq!(world.limit(), LEAST);
    // What was believed has passed: this is what calls need now.
    world.run(300 + 60);
    assert!(world.limit() >= 200, "{}", world.limit());
}

#[test]
fn a_few_calls_change_nothing() {
    let mut world = World::new(millis(5), 10_000, 200);
    let before = world.limit();
    for _ in 1..FEWEST {
        world.now += WINDOW * 10;
        assert_eq!(world.controller.took(millis(900), 1, world.now), None);
    }
    assert_eq!(world.limit(), before);
}

#[test]
fn a_probe_waits_for_the_calls_of_before() {
    let (slow, quick) = (millis(600), millis(100));
    let mut world = World::new(slow, 10_000, 5000);
    let began = (0..50).position(|_| {
        world.window();
        world.controller.probing > 0
    });
    assert!(began.is_some(), "it is time to measure anew");
    // With fewer at once calls are quick; for as long as they took, those of before still end.
    let began = world.now;
    while world.controller.probing > 0 {
        world.needs = if world.now - began < slow { slow } else { quick };
        world.window();
        assert!(world.now - began < slow * 3, "a probe has an end");
    }
    assert_eq!(world.controller.needed, Some(100_000.0));
}

#[test]
fn streams_make_no_places_scarce() {
    let rule = AdaptiveConcurrency { min: 2, tolerance: 2 };
    let adaptive = Adaptive::new(&rule, 160, None, || Metrics::new().upstream_limit("test"));
    (0..30).for_each(|_| adaptive.opened());
    let begin = Instant::now();
    while begin.elapsed() < WINDOW * 3 {
        adaptive.took(millis(1), 31);
    }
    assert_eq!(adaptive.limit(), 20 + 30);
    (0..30).for_each(|_| adaptive.closed());
    assert_eq!(adaptive.limit(), 20);
}
