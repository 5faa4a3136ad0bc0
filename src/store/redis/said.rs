//! Said: what the log was told of a Redis, so that one that refuses every call fills no log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// From one line to the next of the same.
const PERIOD: Duration = Duration::from_secs(30);
/// Things that are told apart: words of a server are among them.
const MOST: usize = 32;

/// What the log was told, and when.
#[derive(Default)]
pub(in crate::store) struct Said(Mutex<BTreeMap<Box<str>, Line>>);

struct Line {
    at: Instant,
    unsaid: u64,
}

impl Said {
    /// Whether the log is to be told of this now; then how often it came to pass untold since the last time.
    pub(in crate::store) fn again(&self, what: &str, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock();
        if let Some(line) = lines.get_mut(what) {
            if now.saturating_duration_since(line.at) < PERIOD {
                line.unsaid += 1;
                return None;
            }
            line.at = now;
            return Some(std::mem::take(&mut line.unsaid));
        }
        if lines.len() >= MOST {
            lines.clear();
        }
        lines.insert(what.into(), Line { at: now, unsaid: 0 });
        Some(0)
    }

    /// All is well: what goes wrong from now on is news.
    pub(in crate::store) fn forget(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{MOST, PERIOD, Said};

    #[test]
    fn the_same_is_told_once_in_a_while_with_how_often_it_was() {
        let (said, now) = (Said::default(), Instant::now());
        assert_eq!(said.again("OOM", now), Some(0));
        for _ in 0..7 {
            assert_eq!(said.again("OOM", now + PERIOD - Duration::from_millis(1)), None);
        }
        assert_eq!(said.again("LOADING", now), Some(0), "another matter");
        assert_eq!(said.again("OOM", now + PERIOD), Some(7));
        assert_eq!(said.again("OOM", now + PERIOD), None);
        said.forget();
        assert_eq!(said.again("OOM", now + PERIOD), Some(0));
        for number in 0..10 * MOST {
            said.again(&number.to_string(), now);
        }
        assert!(said.0.lock().len() <= MOST);
    }
}
