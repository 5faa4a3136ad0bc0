//! What a method's cache counts: calls by what they found.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::shard::Sharded;

/// What a call found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CacheOutcome {
    /// A good reply.
    Hit,
    /// A reply that was given while another was fetched.
    Stale,
    /// Nothing.
    Miss,
    /// Nothing here, and a good reply that another gateway had kept: a miss that asked no service.
    Shared,
    /// Nothing that is good, and its service could not be asked: a miss that got the last reply instead of an error.
    Last,
}

impl CacheOutcome {
    /// Every outcome, by index.
    pub const ALL: [Self; 5] = [Self::Hit, Self::Stale, Self::Miss, Self::Shared, Self::Last];

    /// Its name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Shared => "shared",
            Self::Last => "last",
        }
    }
}

/// The handle that a method's cache holds. Cheap to clone; the series ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct CacheMetrics(pub(super) Arc<Series>);

impl CacheMetrics {
    /// Counts a call.
    pub fn count(&self, outcome: CacheOutcome) {
        self.0.counts[outcome as usize].here().fetch_add(1, Ordering::Relaxed);
    }
}

/// One method's counters.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) rpc: Box<str>,
    counts: [Sharded<AtomicU64>; CacheOutcome::ALL.len()],
}

impl Series {
    pub(super) fn new(rpc: Box<str>) -> Self {
        Self { rpc, counts: CacheOutcome::ALL.map(|_| Sharded::new()) }
    }

    pub(super) fn total(&self, outcome: CacheOutcome) -> u64 {
        self.counts[outcome as usize].all().map(|cell| cell.load(Ordering::Relaxed)).sum()
    }
}
