//! Records: what names were found to stand for, each family of addresses for itself.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::dns::Resolver;
use super::questions::{Family, has_addresses};
use super::{Found, Labels};

/// Names that are asked for at a time.
const AT_ONCE: usize = 32;

/// Addresses that came with other records, and until when they hold.
pub(super) type Told = HashMap<Arc<str>, Vec<(IpAddr, Instant)>>;

/// Addresses by name, IPv4 and IPv6, as they were found last.
pub(super) type Kept = HashMap<Arc<str>, [Vec<IpAddr>; 2]>;

/// What the SRV records of a name say.
pub(super) struct Service {
    pub(super) records: Vec<Record>,
    /// Addresses of its targets, as far as they came along.
    pub(super) told: Told,
    pub(super) until: Instant,
}

/// One SRV record.
pub(super) struct Record {
    pub(super) target: Arc<str>,
    pub(super) port: u16,
    pub(super) priority: u16,
    pub(super) weight: u16,
}

impl Record {
    pub(super) fn endpoints<'a>(&'a self, addresses: &'a Addresses<'_>) -> impl Iterator<Item = Found> + 'a {
        let found = |address: &IpAddr| Found {
            priority: self.priority,
            address: SocketAddr::new(*address, self.port),
            // RFC 2782: of weight 0 are those that are to be asked hardly ever, or all.
            weight: u32::from(self.weight).max(1),
            labels: Labels::default(),
        };
        addresses.of(&self.target).map(found)
    }
}

/// The addresses of one round of questions.
pub(super) struct Addresses<'a> {
    resolver: &'a Resolver,
    before: &'a Kept,
    finished: Finished,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Finished {
    pub(super) addresses: Kept,
    /// None: nothing has answered.
    pub(super) until: Option<Instant>,
    /// The first thing that went wrong.
    pub(super) failure: Option<String>,
    /// The first that went wrong with one family of a name whose other one has addresses.
    pub(super) half: Option<String>,
}

impl<'a> Addresses<'a> {
    /// A name that cannot be asked for has the addresses that it had `before`.
    pub(super) fn new(resolver: &'a Resolver, before: &'a Kept) -> Self {
        Self { resolver, before, finished: Finished::default() }
    }

    /// Addresses that need not be asked for.
    pub(super) fn learn(&mut self, told: Told) {
        for (name, addresses) in told {
            let (four, six) = addresses.iter().map(|(address, _)| *address).partition(IpAddr::is_ipv4);
            self.finished.until = addresses.iter().map(|(_, until)| *until).chain(self.finished.until).min();
            self.finished.addresses.insert(name, [four, six]);
        }
    }

    /// Asks for those names that are not known yet.
    pub(super) async fn look_up<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) {
        let mut wanted: Vec<&str> =
            names.into_iter().filter(|name| !self.finished.addresses.contains_key(*name)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut wanted = wanted.into_iter().map(Arc::<str>::from);
        let mut asked = JoinSet::new();
        loop {
            while asked.len() < AT_ONCE
                && let Some(name) = wanted.next()
            {
                let resolver = self.resolver.clone();
                asked.spawn(async move {
                    let families = resolver.addresses(&name).await;
                    (name, families)
                });
            }
            match asked.join_next().await {
                Some(Ok((name, families))) => self.note(name, families),
                Some(Err(error)) => self.finished.failure = Some(error.to_string()),
                None => return,
            }
        }
    }

    fn note(&mut self, name: Arc<str>, families: [Family; 2]) {
        let mut before = self.before.get(&name).cloned().unwrap_or_default().into_iter();
        let has_others = families.iter().any(|family| has_addresses(Some(family)));
        let addresses = families.map(|family| {
            let before = before.next().unwrap_or_default();
            match family {
                Ok((addresses, until)) => {
                    self.finished.until = self.finished.until.into_iter().chain([until]).min();
                    addresses
                }
                Err(error) => {
                    let noted = if has_others { &mut self.finished.half } else { &mut self.finished.failure };
                    noted.get_or_insert(error);
                    before
                }
            }
        });
        self.finished.addresses.insert(name, addresses);
    }

    pub(super) fn of(&self, name: &str) -> impl Iterator<Item = &IpAddr> {
        self.finished.addresses.get(name).into_iter().flatten().flatten()
    }

    pub(super) fn finish(self) -> Finished {
        self.finished
    }
}
