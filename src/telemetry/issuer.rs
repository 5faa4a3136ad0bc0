//! What is known of the keys that an issuer publishes: how many, since when, and how often they were asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The handle of an issuer's keys. Cheap to clone; the series ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct IssuerKeys(pub(super) Arc<Series>);

impl IssuerKeys {
    /// What the issuer is called.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// So many keys serve.
    pub fn serve(&self, keys: usize) {
        self.0.keys.store(u64::try_from(keys).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The issuer has answered with its keys.
    pub fn fetched(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.fetched_at.store(now.as_secs(), Ordering::Relaxed);
        self.0.fetched.fetch_add(1, Ordering::Relaxed);
    }

    /// It has not.
    pub fn failed(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }
}

/// One issuer's numbers.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) issuer: Box<str>,
    keys: AtomicU64,
    /// Seconds since the epoch; 0: never.
    fetched_at: AtomicU64,
    fetched: AtomicU64,
    failed: AtomicU64,
}

impl Series {
    pub(super) fn new(issuer: Box<str>) -> Self {
        Self {
            issuer,
            keys: AtomicU64::new(0),
            fetched_at: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub(super) fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    pub(super) fn fetched_at(&self) -> u64 {
        self.fetched_at.load(Ordering::Relaxed)
    }

    /// Fetches by outcome.
    pub(super) fn fetches(&self) -> [(&'static str, u64); 2] {
        [("ok", self.fetched.load(Ordering::Relaxed)), ("failed", self.failed.load(Ordering::Relaxed))]
    }
}
