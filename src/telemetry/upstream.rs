//! What an upstream as a whole tells: how many calls it may have in flight now.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The handle that an upstream with a limit of its own making holds. Cheap to clone; the series ends when the last clone is
/// dropped.
#[derive(Debug, Clone)]
pub struct UpstreamLimit(pub(super) Arc<Series>);

impl UpstreamLimit {
    /// The limit is this from now on.
    pub fn set(&self, limit: usize) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }
}

/// One upstream's limit.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) upstream: Box<str>,
    limit: AtomicUsize,
}

impl Series {
    pub(super) fn new(upstream: Box<str>) -> Self {
        Self { upstream, limit: AtomicUsize::new(0) }
    }

    pub(super) fn limit(&self) -> i64 {
        i64::try_from(self.limit.load(Ordering::Relaxed)).unwrap_or(i64::MAX)
    }
}
