//! Discovery: where the endpoints of upstreams are.
//!
//! A [`Search`] follows one place that is written as an endpoint: a host name by its A and AAAA records, a service by its
//! SRV records or by what a Kubernetes API server says of it. It says what is there and for how long that holds; what cannot
//! be asked for stays what it was.
//!
//! ```text
//! records   what names were found to stand for
//! dns       which names are asked for, of what name servers
//! questions one name's, and how long they are waited for
//! slices    the EndpointSlices of a service
//! cluster   the API server that has them
//! ```

mod cluster;
mod dns;
mod questions;
mod records;
mod slices;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::config::{Config, Place};
use cluster::Cluster;
use dns::Names;
use records::{Addresses, Kept};
use slices::Slices;

/// An answer holds at least so long, whatever its TTL: who asks more often learns nothing and is no good neighbour.
const SOONEST: Duration = Duration::from_secs(1);
/// And no longer than that.
const LATEST: Duration = Duration::from_secs(300);
/// What was asked for in part is asked for again after this time.
const AGAIN: Duration = Duration::from_secs(2);
/// Endpoints that one place stands for at most.
const MOST: usize = 4096;

/// An endpoint that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Of all that take calls, those with the lowest number get them.
    pub priority: u16,
    /// Where it is.
    pub address: SocketAddr,
    /// Its share of the calls, beside the others'.
    pub weight: u32,
    /// What is said of it.
    pub labels: Labels,
}

impl Found {
    /// One like any other.
    pub fn at(address: SocketAddr) -> Self {
        Self { priority: 0, address, weight: 1, labels: Labels::default() }
    }
}

/// What is said of an endpoint, by name; `zone` is where it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(Arc<BTreeMap<String, String>>);

impl Labels {
    /// The label of this name.
    pub fn named(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The same, and these in the place of those of the same name.
    pub fn with(&self, written: &BTreeMap<String, String>) -> Self {
        if written.is_empty() {
            return self.clone();
        }
        let own = |labels: &BTreeMap<String, String>| labels.clone().into_iter();
        own(&self.0).chain(own(written)).collect()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(labels: I) -> Self {
        Self(Arc::new(labels.into_iter().collect()))
    }
}

/// What a place stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// In an order that does not change from answer to answer. By name there is always somebody; that a cluster has nobody is
    /// its word.
    pub found: Vec<Found>,
    /// How long it holds; no time: the next answer comes when there is another.
    pub holds: Duration,
    /// What could not be asked for: that part is what it was before.
    pub failure: Option<String>,
    /// The same of one family of addresses, where a name has those of the other: that its AAAA cannot be asked for is nothing new of
    /// many names.
    pub half: Option<String>,
}

/// What everybody looks places up with. What it needs is made when it is first asked.
#[derive(Default)]
pub struct Discovery {
    names: ArcSwap<Names>,
    clusters: watch::Sender<Arc<Cluster>>,
}

impl Discovery {
    /// Looks up by these rules from now on.
    pub fn follow(&self, config: &Config) {
        if *self.names.load().rules() != config.dns {
            self.names.store(Arc::new(Names::new(config.dns.clone())));
        }
        let cluster = Cluster::new(config.kubernetes.clone(), &config.folder);
        self.clusters.send_if_modified(|known| {
            let news = **known != cluster;
            if news {
                *known = Arc::new(cluster);
            }
            news
        });
    }

    /// What follows a place.
    pub fn search(self: &Arc<Self>, place: &Place) -> Search {
        Search(match place {
            Place::Host { .. } | Place::Srv(_) => Kind::Names(Lookup {
                discovery: Arc::clone(self),
                place: place.clone(),
                kept: Kept::default(),
                again: AGAIN,
            }),
            Place::Slices(service) => Kind::Slices(Box::new(Slices::new(service.clone(), self.clusters.subscribe()))),
        })
    }
}

/// Follows one place.
pub struct Search(Kind);

enum Kind {
    Names(Lookup),
    Slices(Box<Slices>),
}

impl Search {
    /// What the place stands for now.
    ///
    /// # Errors
    /// Nothing is there, or nobody can say; what was found before still counts.
    pub async fn look(&mut self) -> Result<Answer, String> {
        match &mut self.0 {
            Kind::Names(lookup) => lookup.look().await,
            Kind::Slices(slices) => {
                let (found, failure) = slices.next().await?;
                Ok(Answer { found: tidy(found), holds: Duration::ZERO, failure, half: None })
            }
        }
    }
}

/// Follows one place by name.
struct Lookup {
    discovery: Arc<Discovery>,
    place: Place,
    /// The addresses that names had.
    kept: Kept,
    /// When a family that did not come is asked for again: each time in a row after twice as long.
    again: Duration,
}

impl Lookup {
    async fn look(&mut self) -> Result<Answer, String> {
        let names = self.discovery.names.load_full();
        let resolver = names.resolver()?;
        let mut addresses = Addresses::new(&resolver, &self.kept);
        let (found, until): (Vec<Found>, _) = match &self.place {
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
            Place::Slices(_) => (Vec::new(), None),
        };
        let found = tidy(found);
        let (kept, now) = (addresses.finish(), Instant::now());
        if found.is_empty() {
            return Err(kept.failure.unwrap_or_else(|| "it has no address".to_owned()));
        }
        let until = [until, kept.until].into_iter().flatten().min().unwrap_or(now);
        let holds = until.saturating_duration_since(now).clamp(SOONEST, LATEST);
        let again = if kept.half.is_some() { self.again } else { LATEST };
        self.again = if kept.half.is_some() { (again * 2).min(LATEST) } else { AGAIN };
        let holds = if kept.failure.is_some() { holds.min(AGAIN) } else { holds.min(again) };
        self.kept = kept.addresses;
        Ok(Answer { found, holds, failure: kept.failure, half: kept.half })
    }
}

/// In order, each once, and not too many.
fn tidy(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_unstable();
    found.dedup_by_key(|found| (found.priority, found.address));
    found.truncate(MOST);
    found
}
