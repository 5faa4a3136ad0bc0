//! GCRA against what it stands for: a bucket whose permits are counted one by one.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::{Bucket, Quota, Standing};
use crate::config::{Penalty, Rate};

const SECOND: u64 = 1_000_000_000;

fn quota(permits: u32, period: Duration, burst: Option<usize>) -> Quota {
    Quota::new(Rate { permits: NonZeroU32::new(permits).unwrap(), period }, burst, None)
}

/// Asks once.
fn ask(bucket: &mut Bucket, quota: &Quota, now: u64) -> Standing {
    if bucket.standing(quota, now).retry.is_zero() { bucket.take(quota, now) } else { bucket.refuse(quota, now) }
}

#[test]
fn exactly_the_rate_passes_at_once_from_rest() {
    for permits in [1, 3, 7, 100, 1000, 999_983] {
        let quota = quota(permits, Duration::from_secs(60), None);
        let mut bucket = Bucket::default();
        let passed = (0..permits + 10).filter(|_| ask(&mut bucket, &quota, 5 * SECOND).granted == 1).count();
        assert_eq!(passed, permits as usize);
        assert_eq!(quota.burst(), u64::from(permits));
    }
}

#[test]
fn a_burst_of_its_own_changes_what_goes_at_once_and_not_the_rate() {
    let quota = quota(60, Duration::from_secs(60), Some(2));
    let mut bucket = Bucket::default();
    let at = |bucket: &mut Bucket, millis: u64| ask(bucket, &quota, 10 * SECOND + millis * 1_000_000);
    assert_eq!([0, 0, 0, 999].map(|millis| at(&mut bucket, millis).granted), [1, 1, 0, 0]);
    assert_eq!(at(&mut bucket, 999).retry, Duration::from_millis(1));
    let told = at(&mut bucket, 1000);
    let expected = Standing { granted: 1, remaining: 0, retry: Duration::from_secs(1), reset: Duration::from_secs(2) };
    assert_eq!(told, expected);
    assert_eq!([1000, 2000, 9000, 9000, 9000].map(|millis| at(&mut bucket, millis).granted), [0, 1, 1, 1, 0]);
}

#[test]
fn offenders_wait_longer_each_time_and_are_forgiven() {
    let penalty = Penalty { after: 2, double: Duration::from_secs(60), max: Duration::from_secs(180) };
    let rate = Rate { permits: NonZeroU32::MIN, period: Duration::from_secs(1) };
    let quota = Quota::new(rate, None, Some(&penalty));
    let mut bucket = Bucket::default();
    let mut now = 1000 * SECOND;
    let offend = |bucket: &mut Bucket, now: u64| {
        assert_eq!(ask(bucket, &quota, now).granted, 1);
        ask(bucket, &quota, now).retry.as_secs()
    };
    // The first refusal only refuses; from the second on it shuts out.
    assert_eq!(offend(&mut bucket, now), 1);
    now += 2 * SECOND;
    for shut in [60, 120, 180, 180] {
        assert_eq!(offend(&mut bucket, now), shut);
        // Asking meanwhile makes it no longer.
        assert_eq!(ask(&mut bucket, &quota, now + SECOND).retry.as_secs(), shut - 1);
        now += shut * SECOND;
    }
    // So long after the penalty nothing is held against anyone.
    now += 180 * SECOND;
    assert!(bucket.rests() <= now);
    assert_eq!(offend(&mut bucket, now), 1);
}

#[test]
fn what_is_owed_by_another_quota_is_owed_by_this_one() {
    let (old, new) = (quota(2, Duration::from_secs(3600), None), quota(100, Duration::from_secs(60), None));
    let (mut bucket, mut now) = (Bucket::default(), 10 * SECOND);
    assert_eq!([(); 3].map(|()| ask(&mut bucket, &old, now).granted), [1, 1, 0]);
    let told = ask(&mut bucket, &new, now);
    assert_eq!((told.granted, told.remaining), (0, 0), "an empty bucket stays empty");
    assert_eq!((told.retry, told.reset), (Duration::from_millis(600), Duration::from_secs(60)));
    for _ in 0..3 {
        now += SECOND * 6 / 10;
        assert_eq!([(); 2].map(|()| ask(&mut bucket, &new, now).granted), [1, 0]);
    }
    // A clock that was read a moment sooner is no other quota.
    let before = bucket;
    assert_eq!(ask(&mut bucket, &new, now - SECOND / 2).granted, 0);
    assert_eq!(bucket, before);

    let rate = Rate { permits: NonZeroU32::MIN, period: Duration::from_secs(1) };
    let penalty = |secs| Penalty { after: 1, double: Duration::from_secs(secs), max: Duration::from_secs(secs) };
    let [long, short, none] =
        [Some(penalty(1800)), Some(penalty(60)), None].map(|it| Quota::new(rate, None, it.as_ref()));
    let mut bucket = Bucket::default();
    assert_eq!([(); 2].map(|()| ask(&mut bucket, &long, now).granted), [1, 0]);
    let mut freed = bucket;
    assert_eq!(ask(&mut bucket, &short, now).retry, Duration::from_secs(60));
    assert_eq!(ask(&mut bucket, &short, now + 20 * SECOND).retry, Duration::from_secs(40));
    assert_eq!(ask(&mut bucket, &short, now + 60 * SECOND).granted, 1);
    assert!(bucket.rests() <= now + 120 * SECOND);
    assert_eq!(ask(&mut freed, &none, now).retry, Duration::from_secs(1));
    assert_eq!(ask(&mut freed, &none, now + SECOND).granted, 1);
}

/// Permits, counted: whole ones and the time towards the next.
struct Counted {
    permits: u64,
    /// When the next one began to grow.
    since: u64,
}

impl Counted {
    fn ask(&mut self, quota: &Quota, now: u64) -> bool {
        while self.permits < quota.burst() && now - self.since >= quota.step {
            self.permits += 1;
            self.since += quota.step;
        }
        if self.permits == quota.burst() {
            self.since = now;
        }
        let granted = self.permits > 0;
        self.permits -= u64::from(granted);
        granted
    }
}

proptest! {
    #[test]
    fn it_grants_what_counting_grants(
        permits in 1..50_u32,
        burst in proptest::option::of(1..60_usize),
        period in 1..100_000_u64,
        pauses in proptest::collection::vec(prop_oneof![Just(0), 0..5_000_u64, 0..500_000_u64], 1..300),
    ) {
        let quota = quota(permits, Duration::from_micros(period), burst);
        let mut bucket = Bucket::default();
        let mut now = SECOND;
        let mut counted = Counted { permits: quota.burst(), since: now };
        for pause in pauses {
            now += pause * 1000;
            let before = bucket.standing(&quota, now);
            let told = ask(&mut bucket, &quota, now);
            prop_assert_eq!(told.granted == 1, counted.ask(&quota, now));
            prop_assert_eq!(told.remaining, counted.permits);
            // What it says of the next permit holds to the nanosecond.
            if told.granted == 0 {
                let retry = u64::try_from(before.retry.as_nanos()).unwrap();
                prop_assert!(bucket.standing(&quota, now + retry).retry.is_zero());
                prop_assert!(!bucket.standing(&quota, now + retry - 1).retry.is_zero());
            }
            let reset = u64::try_from(told.reset.as_nanos()).unwrap();
            prop_assert_eq!(bucket.standing(&quota, now + reset).remaining, quota.burst());
        }
    }

    #[test]
    fn no_window_lets_more_pass_than_rate_and_burst(
        permits in 1..20_u32,
        burst in proptest::option::of(1..30_usize),
        pauses in proptest::collection::vec(0..300_u64, 1..400),
    ) {
        let quota = quota(permits, Duration::from_secs(1), burst);
        let mut bucket = Bucket::default();
        let mut now = SECOND;
        let mut passed = Vec::new();
        for pause in pauses {
            now += pause * 1_000_000;
            if ask(&mut bucket, &quota, now).granted == 1 {
                passed.push(now);
            }
        }
        for (first, from) in passed.iter().enumerate() {
            for (last, to) in passed.iter().enumerate().skip(first) {
                prop_assert!((last - first) as u64 <= quota.burst() + (to - from) / quota.step);
            }
        }
    }
}
