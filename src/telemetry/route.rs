//! What a route counts: calls by dialect and code, and how long they took.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use transom_transcode::status::Code;

use super::dialect::DialectName;
use super::shard::{Sharded, add};

/// Upper bounds of the latency buckets, in microseconds; the last one is open.
const BOUNDS: [u64; 16] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000,
];

/// The handle that a route holds. Cheap to clone; the series ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct RouteMetrics(pub(super) Arc<Series>);

impl RouteMetrics {
    /// Counts a finished call.
    #[inline]
    pub fn record(&self, dialect: DialectName, code: Code, elapsed: Duration) {
        let cells = self.0.dialects[dialect as usize].here();
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        add(&cells.codes[usize::from(code.number())], 1);
        add(&cells.buckets[BOUNDS.partition_point(|bound| micros > *bound)], 1);
        add(&cells.micros, micros);
    }

    /// Calls counted with this dialect and code.
    pub fn calls(&self, dialect: DialectName, code: Code) -> u64 {
        self.0.calls(dialect, code)
    }
}

/// The labels of a route's series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels {
    pub(super) service: Box<str>,
    pub(super) method: Box<str>,
    pub(super) route: Box<str>,
}

/// A route's counters, per dialect and worker.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) labels: Labels,
    dialects: [Sharded<Cells>; DialectName::ALL.len()],
}

#[derive(Debug, Default)]
struct Cells {
    codes: [AtomicU64; Code::ALL.len()],
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Series {
    pub(super) fn new(labels: Labels) -> Self {
        Self { labels, dialects: DialectName::ALL.map(|_| Sharded::new()) }
    }

    pub(super) fn calls(&self, dialect: DialectName, code: Code) -> u64 {
        let cells = self.dialects[dialect as usize].all();
        cells.map(|cells| cells.codes[usize::from(code.number())].load(Ordering::Relaxed)).sum()
    }

    /// Latencies of one dialect, summed over all workers.
    pub(super) fn latency(&self, dialect: DialectName) -> Latency {
        let mut latency = Latency { seconds: 0.0, count: 0, buckets: BOUNDS.map(|bound| (seconds(bound), 0)).to_vec() };
        latency.buckets.push((f64::INFINITY, 0));
        let mut micros = 0_u64;
        for cells in self.dialects[dialect as usize].all() {
            for (bucket, cell) in latency.buckets.iter_mut().zip(&cells.buckets) {
                bucket.1 += cell.load(Ordering::Relaxed);
            }
            micros = micros.saturating_add(cells.micros.load(Ordering::Relaxed));
        }
        // The count is the buckets' sum, not a cell of its own: it cannot disagree with them in the middle of a call.
        latency.count = latency.buckets.iter().map(|(_, count)| count).sum();
        latency.seconds = seconds(micros);
        latency
    }
}

/// A histogram as a scrape shows it; buckets are not cumulative here.
#[derive(Debug)]
pub(super) struct Latency {
    pub(super) seconds: f64,
    pub(super) count: u64,
    pub(super) buckets: Vec<(f64, u64)>,
}

#[expect(clippy::cast_precision_loss, reason = "2^53 µs are 285 years")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
