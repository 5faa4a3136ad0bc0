//! Leases: permits that were taken from Redis a few at a time, given out here without asking.
//!
//! Who comes seldom takes one permit, as if there were no lease. Who used up the last lease and comes back before its permits
//! could have come back by themselves is handed twice as many next time, or as many as waited, up to a tenth of the burst. A
//! lease lapses in the time that its permits take to come back, or in a moment that is longer than a trip: so a gateway never lets
//! one in beyond the limit but for what it held of one lease. One call asks for a lease; others of the same asker wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::gcra::{Standing, nanos};
use super::limit::Ask;
use super::redis::{Redis, Unavailable, Want};
use super::table::{Key, Resting, Table};

/// Permits of one lease, at most.
const MOST: u64 = 100;

/// The least time that a lease holds, in nanoseconds: where permits come back faster than a trip takes, each would have lapsed
/// before it is there.
const LEAST: u64 = 10_000_000;

/// Permits that are given out here.
pub(super) struct Leases {
    held: Table<Lease>,
    epoch: Instant,
}

#[derive(Default)]
struct Lease {
    permits: u32,
    /// Permits that the last trip asked for.
    size: u32,
    /// When the permits lapse.
    lapses: u64,
    /// Until when Redis would refuse.
    refused: u64,
    /// When the bucket is full, as Redis said last.
    full: u64,
    /// What was left there.
    remaining: u64,
    /// Who asks at the moment is waited for.
    asking: Option<Arc<Notify>>,
    /// Calls that have waited for the last trip.
    waited: u32,
}

impl Resting for Lease {
    fn rests(&self) -> u64 {
        if self.asking.is_some() { u64::MAX } else { self.lapses.max(self.refused) }
    }
}

/// What a lease has to say.
enum Found {
    /// It decides.
    Standing(Standing),
    /// Somebody asks already.
    Wait(Arc<Notify>),
    /// So many permits should be asked for.
    Empty(u32),
}

impl Leases {
    pub(super) fn new() -> Self {
        Self { held: Table::new(), epoch: Instant::now() }
    }

    /// Takes a permit: from the lease, or with a new one.
    pub(super) async fn take(&self, redis: &Redis, ask: &Ask<'_>, wait: Duration) -> Result<Standing, Unavailable> {
        let deadline = tokio::time::Instant::now() + wait;
        let key = self.held.key(&ask.limit.name, ask.whom);
        loop {
            let found = self.find(key, ask);
            let permits = match found {
                Found::Standing(standing) => return Ok(standing),
                Found::Wait(notify) => {
                    let mut told = std::pin::pin!(notify.notified());
                    // From here on a word is not missed; one that came before shows in the lease.
                    told.as_mut().enable();
                    if matches!(self.held.lock(key.shard()).find(key), Some(Lease { asking: Some(asking), .. }) if Arc::ptr_eq(asking, &notify))
                    {
                        tokio::time::timeout_at(deadline, told).await.map_err(|_| Unavailable)?;
                    }
                    continue;
                }
                Found::Empty(permits) => permits,
            };
            let asking = Asking { leases: self, key };
            let want = Want { ask: *ask, permits: i64::from(permits) };
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let told = redis.take(&[want], left).await?[0];
            return Ok(asking.told(ask, permits, told));
        }
    }

    /// Gives a permit back that was not used after all.
    pub(super) fn give_back(&self, ask: &Ask<'_>) {
        let now = self.now();
        let key = self.held.key(&ask.limit.name, ask.whom);
        let mut shard = self.held.lock(key.shard());
        let lease = shard.value(key, now);
        // What is more than one lease is lost rather than let in beyond the limit.
        if lease.lapses > now && lease.permits < most(ask) {
            lease.permits += 1;
        }
    }

    /// Forgets what has lapsed.
    pub(super) fn sweep(&self) {
        self.held.sweep(self.now());
    }

    fn find(&self, key: Key, ask: &Ask<'_>) -> Found {
        let now = self.now();
        let quota = &ask.limit.quota;
        let mut shard = self.held.lock(key.shard());
        let lease = shard.value(key, now);
        if lease.lapses > now && lease.permits > 0 {
            lease.permits -= 1;
            return Found::Standing(Standing { granted: 1, ..lease.standing(now) });
        }
        // A refusal by another quota, before a reload, may last longer than any by this one: Redis knows. It counts microseconds.
        let longest = now.saturating_add(quota.step).saturating_add(1000);
        if lease.refused > now && lease.refused <= longest && quota.penalty.is_none() {
            return Found::Standing(lease.standing(now));
        }
        if let Some(notify) = &lease.asking {
            lease.waited += 1;
            return Found::Wait(notify.clone());
        }
        lease.asking = Some(Arc::new(Notify::new()));
        let hurried = lease.permits == 0 && lease.lapses.saturating_add(LEAST) > now;
        let wanted = if hurried { lease.size.saturating_mul(2) } else { 1 };
        Found::Empty(wanted.max(std::mem::take(&mut lease.waited)).clamp(1, most(ask)))
    }

    fn now(&self) -> u64 {
        nanos(self.epoch.elapsed())
    }
}

/// Permits that are held here at once, at most.
fn most(ask: &Ask<'_>) -> u32 {
    u32::try_from((ask.limit.quota.burst() / 10).clamp(1, MOST)).unwrap_or(1)
}

impl Lease {
    fn standing(&self, now: u64) -> Standing {
        Standing {
            granted: 0,
            remaining: self.remaining + u64::from(self.permits),
            retry: Duration::from_nanos(self.refused.saturating_sub(now)),
            reset: Duration::from_nanos(self.full.saturating_sub(now)),
        }
    }
}

/// Who asks; however that ends, those who wait go on.
struct Asking<'a> {
    leases: &'a Leases,
    key: Key,
}

impl Asking<'_> {
    /// Notes what Redis said, and gives out the first permit.
    fn told(&self, ask: &Ask<'_>, wanted: u32, told: Standing) -> Standing {
        let now = self.leases.now();
        let mut shard = self.leases.held.lock(self.key.shard());
        let lease = shard.value(self.key, now);
        lease.size = wanted;
        // Some may have been given back in the meantime.
        let held = if lease.lapses > now { lease.permits } else { 0 };
        lease.permits = held.saturating_add(told.granted.saturating_sub(1)).min(most(ask));
        lease.lapses = now + (u64::from(told.granted) * ask.limit.quota.step).max(LEAST);
        lease.refused = if told.granted == 0 { now + nanos(told.retry) } else { 0 };
        lease.full = now + nanos(told.reset);
        lease.remaining = told.remaining;
        Standing { granted: told.granted.min(1), remaining: told.remaining + u64::from(lease.permits), ..told }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let now = self.leases.now();
        let asking = self.leases.held.lock(self.key.shard()).value(self.key, now).asking.take();
        if let Some(asking) = asking {
            asking.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::{Asking, Found, Leases};
    use crate::config::{Mode, OnStoreFailure, Rate};
    use crate::store::gcra::{Quota, Standing};
    use crate::store::limit::{Ask, Limit, Whom};

    const NOBODY: Whom<'static> = Whom::Named(b"a");

    /// A hundred in a hundred seconds: ten in a lease, each back after a second.
    fn limit() -> Limit {
        let rate = Rate { permits: NonZeroU32::new(100).unwrap(), period: Duration::from_secs(100) };
        let quota = Quota::new(rate, None, None);
        Limit { name: "l".into(), quota, mode: Mode::Leased, on_store_failure: OnStoreFailure::Local }
    }

    /// Takes as many as there are without asking, up to `most`.
    fn taken(leases: &Leases, ask: &Ask<'_>, most: usize) -> usize {
        (0..most).take_while(|_| matches!(leases.find(leases.held.key("l", ask.whom), ask), Found::Standing(_))).count()
    }

    /// Asks Redis for a lease, which says that so many are granted, while so many come back.
    fn trip(leases: &Leases, ask: &Ask<'_>, granted: u32, come_back: usize) -> u32 {
        let key = leases.held.key("l", ask.whom);
        let Found::Empty(wanted) = leases.find(key, ask) else { panic!("somebody asks, or there are permits") };
        let asking = Asking { leases, key };
        (0..come_back).for_each(|_| leases.give_back(ask));
        let told = Standing { granted, remaining: 50, retry: Duration::ZERO, reset: Duration::from_secs(50) };
        assert_eq!(asking.told(ask, wanted, told).granted, 1);
        wanted
    }

    #[test]
    fn a_lease_lapses_when_its_permits_would_be_back() {
        let (limit, mut leases) = (limit(), Leases::new());
        let ask = Ask { limit: &limit, whom: NOBODY };
        assert_eq!(trip(&leases, &ask, 5, 0), 1);
        assert_eq!(taken(&leases, &ask, 2), 2);
        leases.epoch -= Duration::from_secs(3);
        assert_eq!(taken(&leases, &ask, 1), 1);
        leases.epoch -= Duration::from_secs(3);
        assert_eq!(trip(&leases, &ask, 1, 0), 1, "whoever comes late asks for one, and what was left is lost");
    }

    #[test]
    fn what_comes_back_is_kept_and_never_more_than_a_lease() {
        let (limit, leases) = (limit(), Leases::new());
        let ask = Ask { limit: &limit, whom: NOBODY };
        trip(&leases, &ask, 4, 0);
        leases.give_back(&ask);
        assert_eq!(taken(&leases, &ask, 9), 4, "three, and the one that came back");
        let key = leases.held.key("l", NOBODY);
        leases.held.lock(key.shard()).value(key, 0).asking = None;
        // Some come back while somebody asks.
        assert_eq!(trip(&leases, &ask, 2, 3), 2, "who used them up gets twice as many");
        assert_eq!(taken(&leases, &ask, 9), 4);
        leases.held.lock(key.shard()).value(key, 0).asking = None;
        trip(&leases, &ask, 10, 100);
        (0..100).for_each(|_| leases.give_back(&ask));
        assert_eq!(taken(&leases, &ask, 99), 10);
    }
}
