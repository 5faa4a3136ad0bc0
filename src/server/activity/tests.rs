//! Marks and looks, by their own clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Activity, Finding, Watch};
use crate::telemetry::Protocol;

const HEAD: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(30);

#[test]
fn a_connection_that_never_calls_is_a_slow_head() {
    let (activity, mut watch) = (Activity::default(), Watch::new(Protocol::Http1, HEAD, IDLE));
    assert_eq!(watch.look(&activity), Finding::SlowHead);
}

#[test]
fn a_connection_is_idle_after_its_calls() {
    let (activity, mut watch) = (Arc::new(Activity::default()), Watch::new(Protocol::Http1, HEAD, IDLE));
    drop(activity.begin());
    let found: Vec<_> = (0..4).map(|_| watch.look(&activity)).collect();
    assert_eq!(found, [Finding::Busy, Finding::Quiet, Finding::Quiet, Finding::Idle]);
}

#[test]
fn a_call_in_flight_is_never_idle_and_resets_the_clock() {
    let (activity, mut watch) = (Arc::new(Activity::default()), Watch::new(Protocol::Http1, HEAD, IDLE));
    let call = activity.begin();
    assert!((0..100).all(|_| watch.look(&activity) == Finding::Busy));
    drop(call);
    assert_eq!(watch.look(&activity), Finding::Quiet);
}

#[test]
fn an_answer_that_is_still_read_is_not_idle() {
    let (activity, mut watch) = (Arc::new(Activity::default()), Watch::new(Protocol::Http1, HEAD, IDLE));
    drop(activity.begin());
    let mut piece = activity.offered();
    for _ in 0..100 {
        activity.sent();
        assert_eq!(watch.look(&activity), Finding::Busy);
        activity.taken(std::mem::replace(&mut piece, activity.offered()));
    }
    activity.taken(piece);
    activity.sent();
    assert_eq!(watch.look(&activity), Finding::Quiet, "nothing is kept that could have been sent");
}

#[test]
fn an_answer_that_nobody_reads_is_no_rest() {
    let (activity, mut watch) = (Arc::new(Activity::default()), Watch::new(Protocol::Http1, HEAD, IDLE));
    drop(activity.begin());
    activity.stuck(true);
    let found: Vec<_> = (0..3).map(|_| watch.look(&activity)).collect();
    assert_eq!(found, [Finding::Busy; 3]);
    activity.stuck(false);
    assert_eq!(watch.look(&activity), Finding::Idle);
}

#[test]
fn an_answer_has_its_time_and_the_next_one_its_own() {
    let (activity, now) = (Arc::new(Activity::default()), Instant::now());
    let call = activity.begin();
    assert!(!activity.is_overdue(now + IDLE));
    activity.ends_by(Some(now + HEAD));
    assert_eq!([HEAD / 2, IDLE].map(|after| activity.is_overdue(now + after)), [false, true]);
    drop(call);
    assert!(!activity.is_overdue(now + IDLE));
    let _next = activity.begin();
    assert!(!activity.is_overdue(now + IDLE));
}

#[test]
fn a_head_over_http2_is_what_the_frames_say() {
    let new = || (Activity::default(), Watch::new(Protocol::Http2, HEAD, 5 * HEAD));
    let (activity, mut watch) = new();
    activity.heading(true);
    assert_eq!(watch.look(&activity), Finding::SlowHead, "nothing was said yet");

    let (activity, mut watch) = new();
    activity.received();
    assert_eq!([watch.look(&activity), watch.look(&activity)], [Finding::Quiet; 2]);
    activity.heading(true);
    assert_eq!(watch.look(&activity), Finding::Quiet, "it may have begun just now");
    assert_eq!(watch.look(&activity), Finding::SlowHead);
    activity.heading(false);
    assert_eq!(watch.look(&activity), Finding::Idle);
}

#[test]
fn an_answer_waits_a_whole_period_for_its_client_whatever_else_goes_on() {
    let (activity, mut watch) = (Arc::new(Activity::default()), Watch::new(Protocol::Http1, IDLE, IDLE));
    let since = activity.offered();
    let mut look = || {
        drop(activity.begin());
        watch.look(&activity)
    };
    assert_eq!([look(), look(), look()], [Finding::Busy, Finding::Unread, Finding::Unread]);
    let later = activity.offered();
    activity.taken(since);
    assert_eq!(look(), Finding::Busy);
    activity.taken(later);
    assert_eq!([look(), look(), look()], [Finding::Busy; 3]);
}

#[test]
fn bytes_after_a_call_are_a_head_that_must_end() {
    let (activity, mut watch) = (Arc::new(Activity::default()), Watch::new(Protocol::Http1, HEAD, IDLE));
    drop(activity.begin());
    assert_eq!(watch.look(&activity), Finding::Busy);
    activity.received();
    assert_eq!(watch.look(&activity), Finding::SlowHead);
}

#[test]
fn a_call_that_stands_still_has_stalled_after_its_time() {
    let (activity, watch) = (Arc::new(Activity::default()), Watch::new(Protocol::Http1, HEAD, IDLE));
    let mut watch = watch.stalling(2 * HEAD);
    let _call = activity.begin();
    // Nothing lies: its client is heard.
    activity.waits();
    assert!((0..100).all(|_| watch.look(&activity) == Finding::Busy));
    // Something is taken from time to time, or something goes.
    for _ in 0..100 {
        activity.received();
        assert_eq!([watch.look(&activity), watch.look(&activity)], [Finding::Busy; 2]);
    }
    for _ in 0..100 {
        activity.sent();
        assert_eq!(watch.look(&activity), Finding::Busy);
    }
    // What lies there is not of its request: another's, or nobody's.
    assert!((0..10).all(|_| watch.look(&activity) == Finding::Busy));
    activity.uploads();
    assert_eq!([watch.look(&activity), watch.look(&activity)], [Finding::Busy, Finding::Stalled]);
}
