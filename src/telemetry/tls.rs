//! What is known of TLS: handshakes that failed, and when certificates end.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Of clients and of services.
#[derive(Debug, Default)]
pub struct Tls {
    failed: AtomicU64,
    /// By the key that names the file: seconds since the epoch.
    ends: Mutex<Vec<(String, i64)>>,
}

impl Tls {
    /// A client's handshake came to nothing.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on these certificates are in use: where each is named, and its last second.
    pub fn expire(&self, ends: impl IntoIterator<Item = (String, i64)>) {
        *self.ends.lock() = ends.into_iter().collect();
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "TLS handshakes of clients that came to nothing.";
        encoder
            .encode_descriptor("transom_tls_handshakes_failed", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, u64, u64>(&self.failed.load(Ordering::Relaxed), None)?;
        let (name, help) = ("transom_certificate_expiry_timestamp_seconds", "When a certificate ends, in Unix time.");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (certificate, end) in &*self.ends.lock() {
            metric.encode_family(&[("certificate", certificate.as_str())])?.encode_gauge(end)?;
        }
        Ok(())
    }
}
