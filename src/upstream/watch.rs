//! Watch: what happens to an upstream beside its calls: names are resolved again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Upstream, literal};

/// From one resolution's end to the next.
const RESOLVE: Duration = Duration::from_secs(5);

impl Upstream {
    /// Runs on the control runtime until `cancel`.
    pub async fn watch(self: Arc<Self>, cancel: CancellationToken) {
        cancel.run_until_cancelled(self.discover()).await;
    }

    async fn discover(&self) {
        loop {
            let mut addresses = Vec::new();
            for endpoint in &self.config.endpoints {
                match literal(endpoint) {
                    Some(address) => addresses.push(address),
                    None => match tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await {
                        Ok(found) => addresses.extend(found),
                        Err(error) => {
                            tracing::warn!(upstream = %self.name, host = endpoint.host, %error, "not resolved")
                        }
                    },
                }
            }
            self.found(&addresses);
            tokio::time::sleep(RESOLVE).await;
        }
    }

    fn found(&self, addresses: &[SocketAddr]) {
        self.set_addresses(addresses);
        self.unresolved.store(false, Ordering::Release);
        self.resolved.notify_waiters();
    }
}
