//! Roster: the endpoints of an upstream and whose turn it is.
//!
//! The live list holds the endpoints that take calls and nothing else, so that turns stay exact while some are down: skipping over a
//! dead endpoint would give its turns to its neighbour.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::attempt::Probe;
use super::endpoint::Endpoint;
use super::turns::{self, Member, Turns};
use crate::config::{Balance, CircuitBreaker};
use crate::discovery::Found;
use crate::telemetry::Circuit;

/// Swapped whole when an address comes or goes, or an endpoint's health changes.
pub(super) struct Roster {
    all: ArcSwap<Vec<Arc<Endpoint>>>,
    listed: ArcSwap<Listed>,
    cursor: AtomicUsize,
    /// To how many an endpoint's connections grow, over all workers.
    most_connections: AtomicUsize,
    /// An endpoint went down.
    trouble: watch::Sender<()>,
    /// Something was said of an endpoint.
    verdict: Notify,
    /// How endpoints take turns. One writer at a time; readers never wait.
    writing: Mutex<Balance>,
}

/// Who gets calls.
struct Listed {
    /// Those that take them.
    live: Vec<Arc<Endpoint>>,
    /// Those that would, but for their breakers: they get probes.
    resting: Vec<Arc<Endpoint>>,
    /// Of those that take them.
    turns: Turns,
}

impl Default for Listed {
    fn default() -> Self {
        Self { live: Vec::new(), resting: Vec::new(), turns: Turns::Equal }
    }
}

impl Roster {
    pub(super) fn new() -> Self {
        Self {
            all: ArcSwap::default(),
            listed: ArcSwap::default(),
            cursor: AtomicUsize::new(0),
            most_connections: AtomicUsize::new(1),
            trouble: watch::Sender::new(()),
            verdict: Notify::new(),
            writing: Mutex::default(),
        }
    }

    pub(super) fn all(&self) -> Arc<Vec<Arc<Endpoint>>> {
        self.all.load_full()
    }

    /// To how many an endpoint's connections may grow.
    pub(super) fn most_connections(&self) -> usize {
        self.most_connections.load(Ordering::Relaxed)
    }

    /// From now on they may grow to so many.
    pub(super) fn set_most_connections(&self, most: usize) {
        self.most_connections.store(most, Ordering::Relaxed);
    }

    /// Hears of each endpoint that goes down.
    pub(super) fn troubles(&self) -> watch::Receiver<()> {
        self.trouble.subscribe()
    }

    /// Until each endpoint was found to answer or not to.
    pub(super) async fn settled(&self) {
        loop {
            let verdict = self.verdict.notified();
            let mut verdict = std::pin::pin!(verdict);
            verdict.as_mut().enable();
            if self.all.load().iter().all(|endpoint| endpoint.is_judged()) {
                return;
            }
            verdict.await;
        }
    }

    /// It is among the upstream's addresses.
    pub(super) fn lists(&self, endpoint: &Endpoint) -> bool {
        self.all.load().iter().any(|listed| listed.id == endpoint.id)
    }

    /// Some endpoint takes calls.
    pub(super) fn is_live(&self) -> bool {
        !self.listed.load().live.is_empty()
    }

    /// Endpoints that take calls and are known to answer.
    pub(super) fn usable(&self) -> usize {
        let listed = self.listed.load();
        listed.live.iter().chain(&listed.resting).filter(|endpoint| endpoint.usable()).count()
    }

    /// The breakers as one: closed unless no endpoint takes calls because of its own; and the time to the first probe.
    pub(super) fn circuit(&self, now: Instant) -> (Circuit, Duration) {
        let listed = self.listed.load();
        let first = listed.resting.iter().map(|endpoint| endpoint.breaker.circuit(now)).min();
        first.filter(|_| listed.live.is_empty()).unwrap_or((Circuit::Closed, Duration::ZERO))
    }

    /// Gives `take` the endpoint whose turn it is, or where the key leads; none is left when all live ones were tried. One
    /// that needs a probe comes first.
    pub(super) fn next<T>(
        &self,
        tried: &[usize],
        key: Option<NonZeroU32>,
        take: impl FnOnce(&Arc<Endpoint>, Option<Probe>) -> T,
    ) -> Option<T> {
        let listed = self.listed.load();
        if let Some(endpoint) = listed.probe(tried) {
            return Some(take(endpoint, Some(Probe::of(endpoint))));
        }
        let live = &listed.live;
        if live.is_empty() {
            return None;
        }
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed);
        let key = key.map(|key| turns::scatter(key.get().into()));
        let (load, open) = (|at: usize| live[at].load(), |at: usize| !tried.contains(&live[at].id));
        listed.turns.pick(live.len(), turn, key, load, open).map(|at| take(&live[at], None))
    }

    /// The upstream's endpoints as they are now. Those that stay keep their state, connections and all.
    pub(super) fn set_found(&self, found: &[Found], connections: usize, make: impl Fn(SocketAddr) -> Endpoint) {
        let balance = self.writing.lock();
        let before = self.all.load();
        let mut seen = HashSet::with_capacity(found.len());
        let known: HashMap<_, _> = before.iter().map(|endpoint| (endpoint.address, endpoint)).collect();
        let mut after: Vec<Arc<Endpoint>> = Vec::with_capacity(found.len());
        for found in found.iter().filter(|found| seen.insert(found.address)) {
            let known = known.get(&found.address).filter(|known| known.connections == connections);
            let endpoint = known.map_or_else(|| Arc::new(make(found.address)), |known| Arc::clone(known));
            endpoint.follow(found);
            after.push(endpoint);
        }
        let stay: HashSet<_> = after.iter().map(|endpoint| endpoint.id).collect();
        for gone in before.iter().filter(|known| !stay.contains(&known.id)) {
            gone.retire();
        }
        self.all.store(Arc::new(after));
        self.relist(&balance);
    }

    /// Says whether an endpoint can be reached.
    pub(super) fn set_down(&self, endpoint: &Endpoint, down: bool) {
        let balance = self.writing.lock();
        if endpoint.set_down(down) {
            if !down {
                endpoint.breaker.recovered(Instant::now());
            }
            self.relist(&balance);
            if down {
                self.trouble.send_replace(());
            }
        }
        self.verdict.notify_waiters();
    }

    /// Says what an endpoint's health check said.
    pub(super) fn set_healthy(&self, endpoint: &Endpoint, healthy: bool) {
        let balance = self.writing.lock();
        if endpoint.set_healthy(healthy) {
            if healthy {
                endpoint.breaker.recovered(Instant::now());
            }
            self.relist(&balance);
        }
        self.verdict.notify_waiters();
    }

    /// An endpoint's breaker has turned.
    pub(super) fn turned(&self, endpoint: &Endpoint, circuit: Circuit) {
        let balance = self.writing.lock();
        match circuit {
            Circuit::Closed => tracing::info!(endpoint = %endpoint.label, "breaker closed"),
            Circuit::HalfOpen | Circuit::Open => tracing::warn!(endpoint = %endpoint.label, "breaker open"),
        }
        endpoint.metrics.turned(circuit);
        self.relist(&balance);
    }

    /// What every breaker goes by from now on.
    pub(super) fn set_breaker(&self, rule: Option<&CircuitBreaker>) {
        let balance = self.writing.lock();
        let all = self.all.load();
        // Each of them, and not the first that has news.
        if all.iter().filter(|endpoint| endpoint.breaker.follow(rule)).count() > 0 {
            self.relist(&balance);
        }
    }

    /// How endpoints take turns from now on.
    pub(super) fn set_balance(&self, balance: &Balance) {
        let mut writing = self.writing.lock();
        if *writing != *balance {
            writing.clone_from(balance);
            self.relist(&writing);
        }
    }

    fn relist(&self, balance: &Balance) {
        let all = self.all.load();
        let takes_calls = all.iter().filter(|endpoint| endpoint.takes_calls()).cloned();
        let (resting, mut live): (_, Vec<_>) = takes_calls.partition(|endpoint| endpoint.breaker.rests());
        let first = live.iter().map(|endpoint| endpoint.priority()).min();
        live.retain(|endpoint| Some(endpoint.priority()) == first);
        let members = live.iter().map(|endpoint| Member { name: &endpoint.label, weight: endpoint.weight() });
        let turns = Turns::new(balance, &members.collect::<Vec<_>>());
        self.listed.store(Arc::new(Listed { live, resting, turns }));
    }
}

impl Listed {
    /// One that is to prove itself now.
    #[inline]
    fn probe(&self, tried: &[usize]) -> Option<&Arc<Endpoint>> {
        if self.resting.is_empty() {
            return None;
        }
        let mut untried = self.resting.iter().filter(|endpoint| !tried.contains(&endpoint.id));
        let endpoint = untried.find(|endpoint| endpoint.breaker.probe(Instant::now()))?;
        endpoint.metrics.turned(Circuit::HalfOpen);
        Some(endpoint)
    }
}
