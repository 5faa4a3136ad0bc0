//! Who is an outlier, and for how long, by numbers and instants.

use std::time::{Duration, Instant};

use super::{Penalty, outliers};
use crate::config::{OutlierEjection, Percent};
use crate::telemetry::Ejection;
use crate::upstream::tally::Tally;

const S: Duration = Duration::from_secs(1);
const NOBODY: [usize; 0] = [];

fn rule() -> OutlierEjection {
    OutlierEjection {
        error_rate: Percent(50),
        latency_factor: Some(3),
        window: 30 * S,
        request_volume: 20,
        max_ejected: Percent(50),
        base_ejection_time: 30 * S,
        max_ejection_time: 100 * S,
    }
}

fn failing(calls: u64, failures: u64) -> Option<Tally> {
    Some(Tally { calls, failures, ..Tally::default() })
}

fn slow(millis: u64) -> Option<Tally> {
    Some(Tally { calls: 20, failures: 0, timed: 20, micros: 20 * millis * 1000 })
}

fn places(seen: &[Option<Tally>]) -> Vec<usize> {
    outliers(&rule(), seen).into_iter().map(|(place, _)| place).collect()
}

#[test]
fn who_fails_where_the_others_do_not_stands_out_the_worst_first() {
    let well = failing(100, 1);
    assert_eq!(places(&[well, failing(100, 50), well]), [1]);
    assert_eq!(places(&[well, failing(100, 49), well]), NOBODY);
    assert_eq!(places(&[failing(100, 60), failing(100, 90), well, well]), [1, 0]);
    assert_eq!(places(&[failing(100, 100), failing(100, 100), failing(100, 100), well]), [0, 1, 2]);
    assert_eq!(outliers(&rule(), &[well, failing(100, 50)]), [(1, Ejection::Errors)]);
}

#[test]
fn what_all_have_in_common_is_no_endpoints_fault() {
    assert_eq!(places(&[failing(100, 80), failing(100, 70), failing(100, 60)]), NOBODY);
    assert_eq!(places(&[slow(400), slow(500), slow(300)]), NOBODY);
    assert_eq!(places(&[failing(100, 100)]), NOBODY, "nobody is an outlier alone");
    assert_eq!(places(&[slow(1000)]), NOBODY);
    assert_eq!(places(&[]), NOBODY);
}

#[test]
fn few_calls_say_nothing_and_neither_does_who_gets_none() {
    assert_eq!(places(&[failing(19, 19), failing(100, 0)]), NOBODY);
    assert_eq!(places(&[failing(20, 20), failing(19, 0)]), NOBODY, "there is nobody to compare with");
    assert_eq!(places(&[None, failing(20, 20), failing(20, 0)]), [1]);
}

#[test]
fn who_takes_so_many_times_as_long_as_the_median_stands_out() {
    assert_eq!(outliers(&rule(), &[slow(10), slow(31), slow(10)]), [(1, Ejection::Latency)]);
    assert_eq!(places(&[slow(10), slow(30), slow(10)]), NOBODY);
    assert_eq!(places(&[slow(10), slow(31)]), [1], "of two the slower one");
    assert_eq!(places(&[slow(200), slow(10), slow(90), slow(11), slow(12)]), [0, 2]);
    let quick = |micros: u64| Some(Tally { calls: 20, failures: 0, timed: 20, micros: 20 * micros });
    assert_eq!(places(&[quick(100), quick(900), quick(100)]), NOBODY, "a lag below a millisecond");
    let blind = OutlierEjection { latency_factor: None, ..rule() };
    assert!(outliers(&blind, &[slow(10), slow(31), slow(10)]).is_empty());
}

#[test]
fn who_fails_and_is_slow_is_told_once() {
    let both = Some(Tally { calls: 20, failures: 20, timed: 20, micros: 20_000_000 });
    assert_eq!(outliers(&rule(), &[both, slow(1), slow(1)]), [(0, Ejection::Errors)]);
}

#[test]
fn an_ejection_grows_with_repeats_up_to_the_longest_and_quiet_makes_up_for_it() {
    let (rule, mut now) = (rule(), Instant::now());
    let mut penalty = Penalty::default();
    for time in [30, 60, 90, 100, 100] {
        assert_eq!(penalty.begin(&rule, now), time * S);
        assert!(!penalty.is_over(now + time * S - Duration::from_millis(1)));
        now += time * S;
        assert!(penalty.is_over(now) && !penalty.is_over(now), "once");
        penalty.fade(&rule, now);
    }
    for _ in 0..4 {
        now += 30 * S;
        penalty.fade(&rule, now);
    }
    assert_eq!(penalty.begin(&rule, now), 60 * S);
}
