//! `retry`: which failed calls are tried again, when, and how many.

use std::time::Duration;

use super::kind::{Kind as _, choice, count, duration, list, percent};
use super::read::{Reader, choice, section};
use super::{HOUR, MILLISECOND};

section! {
    /// Further tries of calls that failed: those that no endpoint has seen, and of methods that may be called twice (`idempotent`) also those that one has. It goes to another endpoint if there is one. A service's own wish holds before the rule's: `grpc-retry-pushback-ms`, `google.rpc.RetryInfo`, `Retry-After`. A call is never tried beyond its deadline.
    pub struct Retry {
        /// Tries in all, the first included; `1`: none but that.
        attempts: usize = count(1..=10).or("3"),
        /// Statuses after which it is tried again, where it may be. A stream that broke is UNAVAILABLE.
        on: Vec<RetryOn> = list(choice()).not_empty().or("unavailable"),
        /// So many of the calls may be further tries (of each worker's in the last 10 s), beside ten a second. What no endpoint can have seen is tried again without it.
        budget: Percent = percent().or("20%"),
        /// The first pause; each one after it is twice as long. Of each, chance takes any part (full jitter); after a service's `RetryInfo` or `Retry-After` it is added to that.
        backoff: Duration = duration(MILLISECOND..=HOUR).or("25ms"),
        /// The longest pause. Where a service wishes for more than ten times as long, the call is not tried again.
        max_backoff: Duration = duration(MILLISECOND..=HOUR).or("1s"),
        /// Time of one try; by default a try may take all of the call's.
        per_try_timeout: Option<Duration> = duration(MILLISECOND..=24 * HOUR).optional(),
        /// A call that has no answer after this time is sent to another endpoint as well; the first answer wins, the other try is cancelled. It is one of the `attempts` and taken from the `budget`. For methods without side effects: bound to GET, NO_SIDE_EFFECTS in the .proto, or `idempotent: true` here. None: no call is sent twice at a time.
        hedge: Option<Duration> = duration(MILLISECOND..=HOUR).optional(),
    }
}

impl Default for Retry {
    /// What holds where nothing is said.
    fn default() -> Self {
        Reader::default().section(0, &[])
    }
}

choice! {
    /// A status after which a call may be tried again.
    pub enum RetryOn {
        /// UNAVAILABLE.
        Unavailable = "unavailable",
        /// DEADLINE_EXCEEDED, answered by the service.
        DeadlineExceeded = "deadline_exceeded",
        /// INTERNAL.
        Internal = "internal",
        /// ABORTED.
        Aborted = "aborted",
        /// RESOURCE_EXHAUSTED.
        ResourceExhausted = "resource_exhausted",
        /// UNKNOWN.
        Unknown = "unknown",
    }
}

/// So many of a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u8);

impl Percent {
    /// Of one.
    pub fn fraction(self) -> f32 {
        f32::from(self.0) / 100.0
    }
}
