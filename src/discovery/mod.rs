//! Discovery: where the endpoints of upstreams are.
//!
//! A [`Search`] follows one place that is written as an endpoint: a host name by its A and AAAA records, a service by its
//! SRV records. It says what is there and for how long that holds; what cannot be asked for stays what it was.

mod dns;
mod records;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::config::{self, Place};
use dns::Names;
use records::{Addresses, Kept};

/// An answer holds at least so long, whatever its TTL: who asks more often learns nothing and is no good neighbour.
const SOONEST: Duration = Duration::from_secs(1);
/// And no longer than that.
const LATEST: Duration = Duration::from_secs(300);
/// What was asked for in part is asked for again after this time.
const AGAIN: Duration = Duration::from_secs(2);
/// Endpoints that one place stands for at most.
const MOST: usize = 4096;

/// An endpoint that was found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Found {
    /// Of all that take calls, those with the lowest number get them.
    pub priority: u16,
    /// Where it is.
    pub address: SocketAddr,
    /// Its share of the calls, beside the others'.
    pub weight: u32,
}

impl Found {
    /// One like any other.
    pub fn at(address: SocketAddr) -> Self {
        Self { priority: 0, address, weight: 1 }
    }
}

/// What a place stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// In an order that does not change from answer to answer; not empty.
    pub found: Vec<Found>,
    /// How long it holds.
    pub holds: Duration,
    /// What could not be asked for: that part is what it was before.
    pub failure: Option<String>,
}

/// What everybody looks places up with. What it needs is made when it is first asked.
#[derive(Default)]
pub struct Discovery {
    names: ArcSwap<Names>,
}

impl Discovery {
    /// Looks up by these rules from now on.
    pub fn follow(&self, dns: &config::Dns) {
        if self.names.load().rules() != dns {
            self.names.store(Arc::new(Names::new(dns.clone())));
        }
    }

    /// What follows a place.
    pub fn search(self: &Arc<Self>, place: &Place) -> Search {
        Search { discovery: Arc::clone(self), place: place.clone(), kept: Kept::default() }
    }
}

/// Follows one place.
pub struct Search {
    discovery: Arc<Discovery>,
    place: Place,
    /// The addresses that names had.
    kept: Kept,
}

impl Search {
    /// What the place stands for now.
    ///
    /// # Errors
    /// Nothing is there, or nobody can say; what was found before still counts.
    pub async fn look(&mut self) -> Result<Answer, String> {
        let names = self.discovery.names.load_full();
        let resolver = names.resolver()?;
        let mut addresses = Addresses::new(&resolver, &self.kept);
        let (mut found, until): (Vec<Found>, _) = match &self.place {
            Place::Host { host, port } => {
                addresses.look_up([host.as_str()]).await;
                let at = |address: &IpAddr| Found::at(SocketAddr::new(*address, *port));
                (addresses.of(host).map(at).collect(), None)
            }
            Place::Srv(name) => {
                let service = resolver.service(name).await?;
                addresses.learn(service.told);
                addresses.look_up(service.records.iter().map(|record| &*record.target)).await;
                (service.records.iter().flat_map(|record| record.endpoints(&addresses)).collect(), Some(service.until))
            }
        };
        found.sort_unstable();
        found.dedup_by_key(|found: &mut Found| (found.priority, found.address));
        found.truncate(MOST);
        let (kept, now) = (addresses.finish(), Instant::now());
        if found.is_empty() {
            return Err(kept.failure.unwrap_or_else(|| "it has no address".to_owned()));
        }
        let until = [until, kept.until].into_iter().flatten().min().unwrap_or(now);
        let holds = until.saturating_duration_since(now).clamp(SOONEST, LATEST);
        let holds = if kept.failure.is_some() { holds.min(AGAIN) } else { holds };
        self.kept = kept.addresses;
        Ok(Answer { found, holds, failure: kept.failure })
    }
}
