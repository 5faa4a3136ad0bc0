//! Once: what may be done one time alone, by whoever comes first at any gateway.

use std::time::{Duration, Instant};

use super::Store;
use super::gcra::nanos;
use super::redis::Unavailable;
use super::table::{Resting, Table};

/// What the keys of such things begin with.
const PREFIX: &str = "transom:once:";

/// Names under which something was done in this process.
pub(super) struct Used {
    names: Table<Until>,
    /// What instants are counted from.
    epoch: Instant,
}

/// Nobody does it again before this instant.
#[derive(Default)]
struct Until(u64);

impl Resting for Until {
    fn rests(&self) -> u64 {
        self.0
    }
}

impl Used {
    pub(super) fn new() -> Self {
        Self { names: Table::new(), epoch: Instant::now() }
    }

    /// Whether nobody has used this name for as long as that lasts; from here on somebody has.
    fn first(&self, name: &str, lasts: Duration, now: Instant) -> bool {
        let (key, now) = (self.names.key("once", name), self.at(now));
        let mut shard = self.names.lock(key.shard());
        let until = shard.value(key, now);
        let first = until.0 <= now;
        if first {
            until.0 = now.saturating_add(nanos(lasts)).max(now + 1);
        }
        first
    }

    /// Forgets what is at rest.
    pub(super) fn sweep(&self, now: Instant) {
        self.names.sweep(self.at(now));
    }

    fn at(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.epoch))
    }
}

/// How much longer than it is good for a name is remembered: the clocks of gateways differ.
const SKEW: Duration = Duration::from_secs(300);

impl Store {
    /// True for the first who asks, of all gateways; false for the others, for as long as it `lasts`.
    ///
    /// # Errors
    /// The Redis does not answer: whether somebody was first is not known.
    pub async fn once(&self, name: &str, lasts: Duration, wait: Duration) -> Result<bool, Unavailable> {
        let Some(redis) = &self.redis else { return Ok(self.used.first(name, lasts, Instant::now())) };
        let lasts = lasts.saturating_add(SKEW).as_millis();
        let mut set = redis::cmd("SET");
        set.arg(format!("{PREFIX}{name}")).arg(1).arg("NX").arg("PX").arg(u64::try_from(lasts).unwrap_or(u64::MAX));
        match redis.ask(&set, wait).await? {
            redis::Value::Okay => Ok(true),
            redis::Value::Nil => Ok(false),
            _ => Err(Unavailable),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Used;

    #[test]
    fn the_first_is_the_only_one_until_it_ends() {
        let (used, start) = (Used::new(), Instant::now());
        let once = |name: &str, at: u64| used.first(name, Duration::from_secs(10), start + Duration::from_secs(at));
        assert!(once("a", 0) && once("b", 0));
        assert!(!once("a", 0) && !once("a", 9) && !once("b", 5));
        assert!(once("a", 11) && !once("a", 12));
        used.sweep(start + Duration::from_secs(15));
        assert!(!once("a", 15), "what still counts is not swept");
    }
}
