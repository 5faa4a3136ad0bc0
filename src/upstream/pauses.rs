//! Pauses: how long a place that could not be looked up is left alone.

use std::time::{Duration, Instant};

/// The pause after a failure; the next one is twice as long, up to the last.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// Longer with each failure, from the first again once all was well for as long as the last one.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// After the last failure.
    last: Duration,
    /// Since when there are answers.
    well: Option<Instant>,
}

impl Pauses {
    /// There was an answer.
    pub(super) fn answered(&mut self, now: Instant) {
        self.well.get_or_insert(now);
    }

    /// There was none: how long to wait.
    pub(super) fn failed(&mut self, now: Instant) -> Duration {
        let over = self.well.take().is_some_and(|since| now.saturating_duration_since(since) >= self.last);
        self.last = if over { AGAIN.0 } else { (self.last * 2).clamp(AGAIN.0, AGAIN.1) };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Pauses;

    #[test]
    fn they_grow_until_all_was_well_for_a_while() {
        let (mut pauses, begun) = (Pauses::default(), Instant::now());
        let at = |millis| begun + Duration::from_millis(millis);
        let failed = |pauses: &mut Pauses, millis| pauses.failed(at(millis)).as_millis();
        assert_eq!([0, 500, 1500].map(|millis| failed(&mut pauses, millis)), [500, 1000, 2000]);
        // Well for a moment: that says little.
        pauses.answered(at(3500));
        assert_eq!(failed(&mut pauses, 3600), 4000);
        // Each answer since the first one.
        pauses.answered(at(8000));
        pauses.answered(at(11_900));
        assert_eq!(failed(&mut pauses, 12_000), 500);
        assert_eq!((0..9).map(|at| failed(&mut pauses, 13_000 + at)).max(), Some(8000));
    }
}
