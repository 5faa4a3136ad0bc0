//! Warmth: the part of its turns that an endpoint gets after it came, or came back.
//!
//! Caches are cold and code is not compiled yet: an endpoint that gets its whole share at once answers slowly, or falls
//! again. So its weight grows over a window. Without `slow_start` everybody is warm, and turns are as exact as weights are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::sleep_until;

use super::group::Group;
use crate::config::SlowStart;

/// The weight of an endpoint that is warm, for each one that was written: weights grow in so many steps.
pub(super) const WARM: u32 = 20;

/// One endpoint's.
#[derive(Debug, Default)]
pub(super) struct Warmth(Mutex<Option<Instant>>);

impl Warmth {
    /// From now on it warms up.
    pub(super) fn begin(&self, now: Instant) {
        *self.0.lock() = Some(now);
    }

    /// It has not got its whole weight yet.
    pub(super) fn is_growing(&self) -> bool {
        self.0.lock().is_some()
    }

    /// What of its weight it has, of [`WARM`]; once that is all it is warm.
    pub(super) fn share(&self, rule: Option<&SlowStart>, now: Instant) -> u32 {
        let mut since = self.0.lock();
        let Some((rule, began)) = rule.zip(*since) else {
            *since = None;
            return WARM;
        };
        let grown = now.saturating_duration_since(began).as_nanos() * u128::from(WARM) / rule.window.as_nanos().max(1);
        let least = (u32::from(rule.min_weight.0) * WARM / 100).max(1);
        let share = u32::try_from(grown).unwrap_or(WARM).clamp(least, WARM);
        if share == WARM {
            *since = None;
        }
        share
    }
}

/// From one step to the next.
pub(super) fn step(rule: &SlowStart) -> Duration {
    rule.window / WARM
}

impl Group {
    /// Gives endpoints that warm up more and more of their weight.
    pub(super) async fn warm_up(self: Arc<Self>) {
        loop {
            match self.roster.warm_up(Instant::now()) {
                Some(next) => sleep_until(next.into()).await,
                None => self.roster.came().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{WARM, Warmth};
    use crate::config::{Percent, SlowStart};

    #[test]
    fn a_share_grows_from_the_least_to_all_over_the_window() {
        let rule = SlowStart { window: Duration::from_secs(20), min_weight: Percent(10) };
        let (warmth, begin) = (Warmth::default(), Instant::now());
        let share = |after| warmth.share(Some(&rule), begin + Duration::from_secs(after));
        assert_eq!(share(0), WARM, "one that never came is warm");
        warmth.begin(begin);
        assert_eq!([0, 1, 2, 5, 10, 19].map(share), [2, 2, 2, 5, 10, 19]);
        assert!(warmth.is_growing());
        assert_eq!((share(20), warmth.is_growing()), (WARM, false));
        warmth.begin(begin);
        assert_eq!((warmth.share(None, begin), warmth.is_growing()), (WARM, false), "there is no rule any more");
    }
}
