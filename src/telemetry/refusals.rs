//! What a gate counts: the calls that it refused, by reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::shard::Sharded;

/// The handle that a gate holds for one of its reasons. Cheap to clone; the series ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Refusals(pub(super) Arc<Series>);

impl Refusals {
    /// Counts a call that was refused.
    pub fn count(&self) {
        self.0.count.here().fetch_add(1, Ordering::Relaxed);
    }
}

/// The labels of a gate's series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels {
    pub(super) gate: &'static str,
    pub(super) reason: Box<str>,
}

/// One reason's counter.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) labels: Labels,
    count: Sharded<AtomicU64>,
}

impl Series {
    pub(super) fn new(labels: Labels) -> Self {
        Self { labels, count: Sharded::new() }
    }

    pub(super) fn total(&self) -> u64 {
        self.count.all().map(|cell| cell.load(Ordering::Relaxed)).sum()
    }
}
