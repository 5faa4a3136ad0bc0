//! The burst guard: what one client may do at all, asked when it connects and as the first line of every call.
//!
//! Its buckets are tower-governor's, asked directly: as a layer it would put axum's body around every answer, and its own
//! extractors believe what any client says of its address. A connection that is refused tells its client nothing; so
//! that who comes with a connection a call is told 429 first, connections have buckets of their own, larger than those of calls.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::Clock as _;
use governor::middleware::StateInformationMiddleware;
use http::Request;
use parking_lot::Mutex;
use tower_governor::GovernorError;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;

use crate::config::{self, Config, PublicEndpoint};
use crate::error::Error;
use crate::store::Client;
use crate::telemetry::{Metrics, Refusals};

/// Clients that are remembered, at most.
const MOST: usize = 1_000_000;

/// Connections that a client may open at once, at least: so many are told 429 before they are told nothing.
const CONNECTIONS: u32 = 128;

/// What one client may do at all.
pub struct BurstGuard {
    written: config::BurstGuard,
    /// The gateway answers for its health, and is asked by those who may be many behind one address.
    health: bool,
    calls: Buckets,
    connections: Buckets,
}

impl BurstGuard {
    /// What is configured; `None`: nothing is. Where nothing of it has changed, `previous` goes on counting.
    pub fn compile(config: &Config, metrics: &Metrics, previous: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let written = config.burst_guard.clone()?;
        let health = config.public_endpoints.contains(&PublicEndpoint::Health);
        if let Some(kept) = previous.filter(|kept| kept.written == written && kept.health == health) {
            return Some(kept.clone());
        }
        let permits = written.rate.permits.get();
        let step = (written.rate.period / permits).max(Duration::from_nanos(2));
        let burst = written.burst.and_then(|burst| u32::try_from(burst).ok()).unwrap_or(permits);
        let connections = burst.saturating_mul(2).max(CONNECTIONS);
        let refusals = |reason| metrics.refusals("burst_guard", reason);
        Some(Arc::new(Self {
            calls: Buckets::new(step, burst, MOST, refusals("calls")),
            connections: Buckets::new(step / 2, connections, MOST, refusals("connections")),
            written,
            health,
        }))
    }

    /// One more call of a client.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn call(&self, client: IpAddr, path: &str) -> Result<(), Error> {
        if self.health && is_health(path) {
            return Ok(());
        }
        self.calls.take(client).map_err(|retry_after| Error::RateLimited { retry_after })
    }

    /// One more connection of a client: whether it may stay.
    pub fn connection(&self, client: IpAddr) -> bool {
        self.connections.take(client).is_ok()
    }

    /// Forgets clients that are at rest.
    pub fn sweep(&self) {
        self.calls.sweep();
        self.connections.sweep();
    }
}

/// A question that is answered at once; `Watch` is a stream, of which a client needs one.
fn is_health(path: &str) -> bool {
    matches!(path, "/health" | "/livez" | "/readyz" | "/grpc.health.v1.Health/Check")
}

type Limiter = GovernorConfig<ByClient, StateInformationMiddleware>;

/// A bucket a client, for so many of them and no more.
struct Buckets {
    limiter: ArcSwap<Limiter>,
    step: Duration,
    burst: u32,
    most: usize,
    /// Clients at the last sweep, and those that may have come since.
    clients: AtomicUsize,
    sweeping: Mutex<()>,
    refused: Refusals,
}

impl Buckets {
    fn new(step: Duration, burst: u32, most: usize, refused: Refusals) -> Self {
        let limiter = ArcSwap::from_pointee(limiter(step, burst));
        Self { limiter, step, burst, most, clients: AtomicUsize::new(0), sweeping: Mutex::new(()), refused }
    }

    /// Takes a permit; an error is how long until there is one.
    fn take(&self, client: IpAddr) -> Result<(), Duration> {
        let config = self.limiter.load();
        let limiter = config.limiter();
        match limiter.check_key(&Client::from(client)) {
            Ok(left) => {
                // As full as a bucket is after its first permit: this may be a new one.
                if left.remaining_burst_capacity() + 1 >= self.burst
                    && self.clients.fetch_add(1, Ordering::Relaxed) >= self.most
                {
                    self.sweep();
                }
                Ok(())
            }
            Err(refused) => {
                self.refused.count();
                Err(refused.wait_time_from(limiter.clock().now()))
            }
        }
    }

    /// Forgets clients that are at rest; all of them, where that leaves little room.
    fn sweep(&self) {
        let Some(_alone) = self.sweeping.try_lock() else { return };
        let config = self.limiter.load();
        let limiter = config.limiter();
        limiter.retain_recent();
        let clients = match limiter.len() {
            // A flood of clients that are all busy: starting anew costs less than looking through them again and again.
            clients if clients > self.most / 4 * 3 => {
                self.limiter.store(Arc::new(limiter_of(self)));
                0
            }
            clients => {
                limiter.shrink_to_fit();
                clients
            }
        };
        self.clients.store(clients, Ordering::Relaxed);
    }
}

fn limiter_of(buckets: &Buckets) -> Limiter {
    limiter(buckets.step, buckets.burst)
}

#[expect(
    clippy::expect_used,
    reason = "neither number is zero: configuration has no zero, and steps are cut off above it"
)]
fn limiter(step: Duration, burst: u32) -> Limiter {
    let mut builder = GovernorConfigBuilder::default();
    let mut builder = builder.period(step).burst_size(burst).key_extractor(ByClient);
    builder.use_headers().finish().expect("a period and a burst")
}

/// Clients by their address, as the gateway knows it.
#[derive(Debug, Clone, Copy)]
struct ByClient;

impl KeyExtractor for ByClient {
    type Key = Client;

    /// A request says nothing that is believed: whoever asks knows the client.
    fn extract<T>(&self, request: &Request<T>) -> Result<Client, GovernorError> {
        request.extensions().get().copied().ok_or(GovernorError::UnableToExtractKey)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::Buckets;
    use crate::telemetry::Metrics;

    fn buckets(step: Duration, burst: u32, most: usize) -> Buckets {
        Buckets::new(step, burst, most, Metrics::new().refusals("burst_guard", "calls"))
    }

    fn held(buckets: &Buckets) -> usize {
        buckets.limiter.load().limiter().len()
    }

    #[test]
    fn a_client_has_its_burst_and_no_more() {
        let buckets = buckets(Duration::from_secs(3600), 3, 1000);
        let taken = |address: IpAddr| (0..5).filter(|_| buckets.take(address).is_ok()).count();
        assert_eq!(taken(Ipv4Addr::new(192, 0, 2, 1).into()), 3);
        assert_eq!(taken(Ipv4Addr::new(192, 0, 2, 2).into()), 3);
        // One customer has a /64.
        assert_eq!(taken(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1).into()), 3);
        assert_eq!(taken(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0xffff, 0, 0, 9).into()), 0);
        let wait = buckets.take(Ipv4Addr::new(192, 0, 2, 1).into()).unwrap_err();
        assert!(wait > Duration::from_secs(3590) && wait <= Duration::from_secs(3600), "{wait:?}");
    }

    #[test]
    fn a_flood_of_clients_is_bounded() {
        for burst in [1, 5] {
            let buckets = buckets(Duration::from_secs(3600), burst, 1000);
            for address in 0..20_000_u32 {
                assert!(buckets.take(Ipv4Addr::from_bits(address).into()).is_ok());
                assert!(held(&buckets) <= 1001, "{}", held(&buckets));
            }
        }
    }

    #[test]
    fn clients_at_rest_are_forgotten() {
        let buckets = buckets(Duration::from_micros(10), 1, 1000);
        for address in 0..500_u32 {
            let _ = buckets.take(Ipv4Addr::from_bits(address).into());
        }
        let started = std::time::Instant::now();
        while held(&buckets) > 0 {
            buckets.sweep();
            assert!(started.elapsed() < Duration::from_secs(10), "{} are held", held(&buckets));
        }
    }
}
