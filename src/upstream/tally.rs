//! Tally: what the calls at an endpoint came to, to be compared with its peers'.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::telemetry::{EndpointMetrics, Outcome, Sharded};

/// What is counted while calls run, beside the metrics.
#[derive(Debug, Default)]
pub(super) struct Counts {
    failures: AtomicU64,
    /// Of hedged calls those that it had not begun to answer when another endpoint had: no answer tells of them.
    overtaken: AtomicU64,
    /// Somebody wants to know how long calls take.
    timed: AtomicBool,
    times: Sharded<Times>,
}

#[derive(Debug, Default)]
struct Times {
    calls: AtomicU64,
    micros: AtomicU64,
}

/// Sums since the endpoint is known, or between two instants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Calls that it has answered, or should have.
    pub(super) calls: u64,
    /// Those that failed by its own fault.
    pub(super) failures: u64,
    /// Unary calls that were served and timed.
    pub(super) timed: u64,
    /// What those took together.
    pub(super) micros: u64,
}

impl Counts {
    /// A call has failed by the endpoint's fault.
    #[cold]
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Another endpoint has answered a call before this one has begun to.
    #[cold]
    pub(super) fn overtaken(&self) {
        self.overtaken.fetch_add(1, Ordering::Relaxed);
    }

    /// A unary call that began then was served.
    #[inline]
    pub(super) fn served(&self, began: Instant) {
        if self.timed.load(Ordering::Relaxed) {
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            let times = self.times.here();
            times.calls.fetch_add(1, Ordering::Relaxed);
            times.micros.fetch_add(micros, Ordering::Relaxed);
        }
    }

    pub(super) fn set_timed(&self, timed: bool) {
        self.timed.store(timed, Ordering::Relaxed);
    }

    /// As of now. Calls that never got there or whose client left say nothing.
    pub(super) fn tally(&self, metrics: &EndpointMetrics) -> Tally {
        let ends = [Outcome::Ok, Outcome::Status, Outcome::Reset, Outcome::Protocol, Outcome::Deadline];
        let sum =
            |part: fn(&Times) -> &AtomicU64| self.times.all().map(|times| part(times).load(Ordering::Relaxed)).sum();
        let overtaken = self.overtaken.load(Ordering::Relaxed);
        Tally {
            calls: ends.into_iter().map(|outcome| metrics.calls(outcome)).sum::<u64>() + overtaken,
            failures: self.failures.load(Ordering::Relaxed) + overtaken,
            timed: sum(|times| &times.calls),
            micros: sum(|times| &times.micros),
        }
    }
}

impl Tally {
    /// What came after.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            failures: self.failures.saturating_sub(before.failures),
            timed: self.timed.saturating_sub(before.timed),
            micros: self.micros.saturating_sub(before.micros),
        }
    }
}
