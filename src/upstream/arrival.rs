//! Arrival: what a reload brings is known to answer, and connected to in every worker, before it gets calls.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::balance::Roster;
use super::breaker::Breaker;
use super::endpoint::Endpoint;
use super::group::Group;
use super::health::{UNTRIED, newcomers_turn};
use super::pool::{Acquired, Pool, Slots, acquire};
use super::{Upstream, literal};
use crate::config::{self, Config};
use crate::discovery::Discovery;
use crate::memory::Memory;

/// Connections that a worker makes at a time before they are needed: its calls go on meanwhile, and handshakes are work.
const AT_ONCE: usize = 16;

/// How long a reload waits for what a place stands for that it cannot do without.
const LOOK: Duration = Duration::from_secs(5);

/// A worker's pool, for others to have connections made in it. It keeps none of them.
#[derive(Clone)]
pub(super) struct Home {
    runtime: Handle,
    of: (usize, usize),
    linger: Duration,
    memory: Arc<Memory>,
    slots: Weak<Slots>,
    places: Arc<Semaphore>,
}

impl Pool {
    /// It, as others see it; asked for where its calls run.
    pub(super) fn home(&self) -> Home {
        Home {
            runtime: Handle::current(),
            of: self.of(),
            linger: self.linger,
            memory: Arc::clone(self.memory()),
            slots: Arc::downgrade(self.slots()),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Home {
    /// Its worker has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.slots.strong_count() == 0
    }

    /// Until a connection stands there, or cannot be made.
    async fn reach(self, endpoint: Arc<Endpoint>, roster: Arc<Roster>) {
        let Ok(held) = Arc::clone(&self.places).acquire_owned().await else { return };
        // A connection belongs to the runtime that makes it, and goes on being made when nobody waits for it any more.
        let reaching = self.runtime.clone().spawn(async move {
            let acquired = self
                .slots
                .upgrade()
                .map(|slots| acquire(&slots, (self.of, self.linger, &self.memory), &endpoint, &roster, true));
            if let Some(Acquired::Queued(_, place)) = acquired {
                // A failure is noted where it is met, and a stream is not wanted.
                drop(place.await);
            }
            drop(held);
        });
        drop(reaching.await);
    }
}

impl Upstream {
    /// Until its endpoints are known to answer or not, and connections to those that do stand: all of them where it `begins`, else
    /// those that its configuration will bring. Nothing that gets calls is touched.
    pub(super) async fn arrive(self: Arc<Self>, begins: bool, discovery: Arc<Discovery>, homes: Arc<[Home]>) {
        let group = &self.group;
        let mut arriving = JoinSet::new();
        if begins {
            group.resolved().await;
            for endpoint in group.roster.all().iter() {
                let (group, endpoint, homes) = (Arc::clone(group), Arc::clone(endpoint), Arc::clone(&homes));
                arriving.spawn(async move {
                    group.roster.judged(&endpoint).await;
                    stand(endpoint, &group.roster, &homes).await;
                });
            }
        } else {
            // By the same rules, if perhaps with newer files.
            group.tls.store(self.tls.clone());
            let asking = Arc::new(Pool::new(0, 1));
            for endpoint in group.expect(&self.config, &discovery).await {
                let (group, homes, asking) = (Arc::clone(group), Arc::clone(&homes), Arc::clone(&asking));
                let check = self.config.health_check.clone();
                arriving.spawn(async move {
                    let turn = newcomers_turn().await;
                    group.look(check.as_ref(), &endpoint, &asking, &mut { UNTRIED }).await;
                    drop(turn);
                    stand(endpoint, &group.roster, &homes).await;
                });
            }
        }
        while arriving.join_next().await.is_some() {}
    }
}

impl Upstream {
    /// Why an upstream that takes calls would take none by what is written for it now: its places are others, and not one of them can be
    /// looked up by this configuration.
    pub async fn is_lost_in(&self, config: &Config) -> Option<String> {
        let next = config.upstreams.get(&**self.name()).filter(|_| self.usable() > 0)?;
        let known = |endpoint: &config::Endpoint| {
            literal(endpoint).is_some() || self.group.stands_for(&endpoint.place).is_some_and(|there| !there.is_empty())
        };
        if next.endpoints.iter().any(known) {
            return None;
        }
        let discovery = Arc::new(Discovery::default());
        discovery.follow(config);
        let mut looking = JoinSet::new();
        for endpoint in &next.endpoints {
            let (place, mut search) = (endpoint.place.clone(), discovery.search(&endpoint.place));
            looking.spawn(async move {
                let looked = tokio::time::timeout(LOOK, search.look()).await;
                (place, looked.unwrap_or_else(|_| Err(format!("no answer within {LOOK:?}"))))
            });
        }
        let mut lost = None;
        while let Some(Ok((place, looked))) = looking.join_next().await {
            match looked {
                // One that has an answer is enough, if it is that nobody is there. One that was asked for in vain before is known now.
                Ok(answer) => {
                    self.group.found(&place, Some(&answer.found));
                    return None;
                }
                Err(why) => lost = Some(format!("`{place}`: {why}")),
            }
        }
        lost
    }
}

/// Until connections to it stand everywhere, if it takes calls.
async fn stand(endpoint: Arc<Endpoint>, roster: &Arc<Roster>, homes: &[Home]) {
    if endpoint.takes_calls() {
        let reach = |home: &Home| home.clone().reach(Arc::clone(&endpoint), Arc::clone(roster));
        homes.iter().map(reach).collect::<JoinSet<()>>().join_all().await;
    }
}

impl Group {
    /// Makes the endpoints that this configuration will bring; they get calls once it is followed.
    async fn expect(&self, config: &config::Upstream, discovery: &Arc<Discovery>) -> Vec<Arc<Endpoint>> {
        let mut looking = JoinSet::new();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for endpoint in &config.endpoints {
            match literal(endpoint).map(|address| vec![address]).or_else(|| self.stands_for(&endpoint.place)) {
                Some(known) => addresses.extend(known),
                None => {
                    let mut search = discovery.search(&endpoint.place);
                    looking.spawn(async move { search.look().await });
                }
            }
        }
        while let Some(looked) = looking.join_next().await {
            // What cannot be looked up now comes later, as it does at any time.
            let found = looked.ok().and_then(Result::ok).map(|answer| answer.found).unwrap_or_default();
            addresses.extend(found.iter().map(|found| found.address));
        }
        let all = self.roster.all();
        let stays =
            |at: &SocketAddr| all.iter().any(|known| known.address == *at && known.connections == config.connections);
        let mut seen = HashSet::new();
        addresses.retain(|address| seen.insert(*address) && !stays(address));
        let make = |address: SocketAddr| {
            Arc::new(self.endpoint(address, config.connections, Breaker::new(config.circuit_breaker.clone())))
        };
        let expected: Vec<_> = addresses.into_iter().map(make).collect();
        self.set_expected(expected.clone());
        expected
    }
}
