//! Overload: how many calls may be in flight, and whose are refused first as that comes near.
//!
//! A call that is refused here has cost its head and nothing else: this is asked before tokens are verified and bodies
//! are read. Without that a gateway that is full would spend its time on calls that it cannot serve.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::config::{Config, Priority};
use crate::error::Error;
use crate::telemetry::{Metrics, Refusals};

/// When who was refused may come again: the time of some calls.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The places of calls in flight, over all upstreams.
pub struct Places {
    all: usize,
    /// Shared with those that a reload puts in their place: calls stay in flight.
    taken: Arc<AtomicUsize>,
    /// By priority.
    refused: [Refusals; 3],
}

impl Places {
    /// What is configured; who has one of the `previous` has one of these.
    pub fn compile(config: &Config, metrics: &Metrics, previous: Option<&Arc<Self>>) -> Arc<Self> {
        let all = config.overload.in_flight;
        match previous {
            Some(kept) if kept.all == all => kept.clone(),
            _ => Arc::new(Self {
                all,
                taken: previous.map(|previous| previous.taken.clone()).unwrap_or_default(),
                refused: ["low", "normal", "high"].map(|priority| metrics.refusals("overload", priority)),
            }),
        }
    }

    /// One more call; who enters leaves.
    ///
    /// # Errors
    /// [`Error::Overloaded`], where what is free is kept for others.
    #[inline]
    pub fn enter(&self, priority: Priority) -> Result<(), Error> {
        if self.taken.fetch_add(1, Ordering::Relaxed) < share(self.all, priority) {
            return Ok(());
        }
        self.leave();
        self.refused[priority as usize].count();
        Err(Error::Overloaded { retry_after: RETRY_AFTER })
    }

    /// One call less.
    #[inline]
    pub fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many of so many places calls of a priority may find taken and still enter. A few places are not worth keeping free.
#[inline]
pub fn share(places: usize, priority: Priority) -> usize {
    match priority {
        Priority::Low => places - places / 4,
        Priority::Normal => places - places / 10,
        Priority::High => places,
    }
}

/// A time, give or take a tenth: what began together does not end together.
pub fn about(time: Duration) -> Duration {
    time * 9 / 10 + time / 5 * chance() / 1024
}

/// Something of 1024.
pub fn chance() -> u32 {
    // Every hasher state is seeded afresh: randomness enough.
    u32::try_from(foldhash::fast::RandomState::default().hash_one(0) % 1024).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use std::time::Duration;

    use super::{Places, about, share};
    use crate::config::{self, Priority};
    use crate::error::Error;
    use crate::telemetry::Metrics;

    fn places(many: usize, previous: Option<&Arc<Places>>) -> Arc<Places> {
        let text = format!(
            "overload: {{ in_flight: {many} }}\nschema: {{ protos: [p] }}\nupstreams: {{ a: {{ endpoints: [\"a:1\"] }} }}"
        );
        Places::compile(&config::parse(&text, &|_| None).unwrap(), &Metrics::new(), previous)
    }

    #[test]
    fn places_are_kept_for_who_matters_more() {
        let places = places(20, None);
        let enter = |priority| (0..30).take_while(|_| places.enter(priority).is_ok()).count();
        assert_eq!(enter(Priority::Low), 15);
        assert_eq!(enter(Priority::Normal), 3);
        assert_eq!(enter(Priority::High), 2);
        let refused = places.enter(Priority::High);
        assert!(matches!(refused, Err(Error::Overloaded { .. })), "{refused:?}");
        // A refusal takes no place.
        places.leave();
        assert!(places.enter(Priority::High).is_ok());
    }

    #[test]
    fn ages_are_spread_over_a_fifth() {
        let ages: Vec<_> = (0..2000).map(|_| about(Duration::from_secs(1000)).as_secs()).collect();
        assert!(ages.iter().all(|age| (900..=1100).contains(age)));
        // Each twentieth has its part.
        for from in (900..1100).step_by(10) {
            let there = ages.iter().filter(|age| (from..from + 10).contains(*age)).count();
            assert!((40..=180).contains(&there), "{there} from {from}");
        }
    }

    #[test]
    fn a_few_places_are_everybodys() {
        assert_eq!([Priority::Low, Priority::Normal, Priority::High].map(|priority| share(3, priority)), [3, 3, 3]);
        assert_eq!(
            [Priority::Low, Priority::Normal, Priority::High].map(|priority| share(1000, priority)),
            [750, 900, 1000]
        );
    }

    #[test]
    fn calls_in_flight_stay_so_when_another_limit_comes() {
        let before = places(9, None);
        (0..5).for_each(|_| before.enter(Priority::Normal).unwrap());
        let after = places(6, Some(&before));
        assert!(after.enter(Priority::Normal).is_ok());
        assert!(after.enter(Priority::Normal).is_err());
        before.leave();
        assert!(after.enter(Priority::Normal).is_ok());
    }
}
