//! Buckets of limits in this process.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::gcra::{Bucket, Quota, Standing, nanos};
use super::table::{Resting, Table};
use super::{Ask, Standings};
use crate::config;
use crate::telemetry::Refusals;

/// Buckets of limits in this process.
pub(super) struct Buckets {
    held: Table<Bucket>,
    /// What instants are counted from.
    epoch: Instant,
}

impl Resting for Bucket {
    fn rests(&self) -> u64 {
        Self::rests(self)
    }
}

impl Buckets {
    pub(super) fn new() -> Self {
        Self { held: Table::new(), epoch: Instant::now() }
    }

    /// Takes a permit from every bucket, or from none if one is empty.
    pub(super) fn take(&self, asks: &[Ask<'_>], now: Instant) -> Standings {
        let now = self.at(now);
        let keys: SmallVec<[_; 4]> = asks.iter().map(|ask| self.held.key(&ask.limit.name, ask.whom)).collect();
        if let ([ask], [key]) = (asks, &*keys) {
            let mut shard = self.held.lock(key.shard());
            let bucket = shard.value(*key, now);
            let granted = bucket.standing(&ask.limit.quota, now).retry.is_zero();
            let quota = &ask.limit.quota;
            return Standings::from_elem(if granted { bucket.take(quota, now) } else { bucket.refuse(quota, now) }, 1);
        }
        // Locked in the order of the shards, so that no two calls wait for each other.
        let mut order: SmallVec<[usize; 4]> = keys.iter().map(|key| key.shard()).collect();
        order.sort_unstable();
        order.dedup();
        let mut shards: SmallVec<[_; 4]> = order.iter().map(|shard| self.held.lock(*shard)).collect();
        let mut bucket = |at: usize, decide: &dyn Fn(&mut Bucket) -> Standing| {
            let shard = order.iter().position(|shard| *shard == keys[at].shard()).unwrap_or_default();
            decide(shards[shard].value(keys[at], now))
        };
        let before: Standings = asks
            .iter()
            .enumerate()
            .map(|(at, ask)| bucket(at, &|bucket| bucket.standing(&ask.limit.quota, now)))
            .collect();
        let granted = before.iter().all(|standing| standing.retry.is_zero());
        let mut decide = |at: usize, ask: &Ask<'_>| {
            let quota = &ask.limit.quota;
            match (granted, before[at].retry.is_zero()) {
                (true, _) => bucket(at, &|bucket| bucket.take(quota, now)),
                (false, false) => bucket(at, &|bucket| bucket.refuse(quota, now)),
                (false, true) => before[at],
            }
        };
        asks.iter().enumerate().map(|(at, ask)| decide(at, ask)).collect()
    }

    /// Forgets what is at rest.
    pub(super) fn sweep(&self, now: Instant) {
        self.held.sweep(self.at(now));
    }

    fn at(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.epoch))
    }
}

/// A limit of one stream's own: how often its client may speak.
#[derive(Debug)]
pub struct Pace {
    quota: Quota,
    bucket: Bucket,
    epoch: Instant,
    refused: Refusals,
}

impl Pace {
    /// Full at first. Streams that were too fast are counted by `refused`.
    pub fn new(rate: config::Rate, refused: Refusals, now: Instant) -> Self {
        Self { quota: Quota::new(rate, None, None), bucket: Bucket::default(), epoch: now, refused }
    }

    /// Takes a permit; an error is how long until there is one.
    ///
    /// # Errors
    /// None is left.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let now = nanos(now.saturating_duration_since(self.epoch));
        let retry = self.bucket.standing(&self.quota, now).retry;
        if retry.is_zero() {
            self.bucket.take(&self.quota, now);
            return Ok(());
        }
        self.refused.count();
        Err(retry)
    }
}

#[cfg(test)]
mod tests;
