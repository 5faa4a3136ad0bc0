//! Once: what may be done one time alone, by whoever comes first at any gateway.

use std::time::{Duration, Instant};

use super::Store;
use super::redis::Unavailable;
use super::table::Resting;

/// What the keys of such things begin with.
const PREFIX: &str = "transom:once:";

/// Something that was done; until this instant nobody does it again.
#[derive(Default)]
pub(super) struct Done(pub(super) u64);

impl Resting for Done {
    fn rests(&self) -> u64 {
        self.0
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
        let Some(redis) = &self.redis else { return Ok(self.memory.once(name, lasts, Instant::now())) };
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

    use super::super::memory::Memory;

    #[test]
    fn the_first_is_the_only_one_until_it_ends() {
        let (memory, start) = (Memory::new(), Instant::now());
        let once = |name: &str, at: u64| memory.once(name, Duration::from_secs(10), start + Duration::from_secs(at));
        assert!(once("a", 0) && once("b", 0));
        assert!(!once("a", 0) && !once("a", 9) && !once("b", 5));
        assert!(once("a", 11) && !once("a", 12));
        memory.sweep(start + Duration::from_secs(15));
        assert!(!once("a", 15), "what still counts is not swept");
    }
}
