//! What reloads count: how often, with which outcome, and what runs since when.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Counters of reloads.
#[derive(Debug, Default)]
pub struct Reloads {
    applied: AtomicU64,
    refused: AtomicU64,
    version: AtomicU64,
    /// The last try was refused.
    stale: AtomicBool,
    /// Milliseconds since the epoch.
    applied_at: AtomicU64,
}

impl Reloads {
    /// This version runs from now on. The first is what the process starts with, and no reload.
    pub fn applied(&self, version: u64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.applied_at.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.applied.fetch_add(u64::from(version > 1), Ordering::Relaxed);
        self.version.store(version, Ordering::Relaxed);
        self.stale.store(false, Ordering::Relaxed);
    }

    /// What ran goes on.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.stale.store(true, Ordering::Relaxed);
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let mut metric = encoder.encode_descriptor("transom_reloads", "Reloads tried.", None, MetricType::Counter)?;
        for (outcome, count) in [("applied", load(&self.applied)), ("refused", load(&self.refused))] {
            metric.encode_family(&[("outcome", outcome)])?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
        for (name, help, value) in [
            ("transom_config_version", "What runs: 1 at start, one more with each reload.", load(&self.version)),
            (
                "transom_config_current",
                "1: the last reload was applied; 0: what runs is older than what was written.",
                u64::from(!self.stale.load(Ordering::Relaxed)),
            ),
        ] {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        let name = "transom_config_applied_timestamp_seconds";
        #[expect(clippy::cast_precision_loss, reason = "a time in milliseconds is exact as f64 for 285,000 years")]
        let seconds = load(&self.applied_at) as f64 / 1000.0;
        encoder
            .encode_descriptor(name, "When what runs was applied, in Unix time.", None, MetricType::Gauge)?
            .encode_gauge(&seconds)
    }
}
