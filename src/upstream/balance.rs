//! Roster: the endpoints of an upstream and whose turn it is.
//!
//! The live list holds the endpoints that take calls and nothing else, so that turns stay exact while some are down: skipping over a
//! dead endpoint would give its turns to its neighbour.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::attempt::Probe;
use super::endpoint::Endpoint;
use super::turns::{self, Member, Turns};
use super::warmth;
use crate::config::{Balance, CircuitBreaker, SlowStart};
use crate::discovery::Found;
use crate::telemetry::{Circuit, Ejection};

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
    /// All that was written first is here: who comes now is new among others.
    complete: AtomicBool,
    /// An endpoint came that is to warm up.
    came: Notify,
    /// One writer at a time; readers never wait.
    writing: Mutex<Ways>,
}

/// How endpoints take turns.
#[derive(Default)]
struct Ways {
    balance: Balance,
    slow_start: Option<SlowStart>,
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
            complete: AtomicBool::new(false),
            came: Notify::new(),
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

    /// It takes turns, or proves itself.
    pub(super) fn turns_to(&self, endpoint: &Endpoint) -> bool {
        let listed = self.listed.load();
        listed.live.iter().chain(&listed.resting).any(|listed| listed.id == endpoint.id)
    }

    /// Some endpoint takes calls that is none of these.
    pub(super) fn has_another(&self, than: &[usize]) -> bool {
        self.listed.load().live.iter().any(|endpoint| !than.contains(&endpoint.id))
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

    /// The breakers as one: closed unless no endpoint takes calls because of its own; and the time to the first probe. Those
    /// that are down count where there is no other.
    pub(super) fn circuit(&self, now: Instant) -> (Circuit, Duration) {
        let (listed, all) = (self.listed.load(), self.all.load());
        let of = |endpoints: &[Arc<Endpoint>]| endpoints.iter().map(|endpoint| endpoint.breaker.circuit(now)).min();
        let first = of(&listed.resting).or_else(|| of(&all)).filter(|_| listed.live.is_empty());
        first.unwrap_or((Circuit::Closed, Duration::ZERO))
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
        let ways = self.writing.lock();
        let before = self.all.load();
        let mut seen = HashSet::with_capacity(found.len());
        let known: HashMap<_, _> = before.iter().map(|endpoint| (endpoint.address, endpoint)).collect();
        let mut after: Vec<Arc<Endpoint>> = Vec::with_capacity(found.len());
        for found in found.iter().filter(|found| seen.insert(found.address)) {
            let known = known.get(&found.address).filter(|known| known.connections == connections);
            let endpoint = known.map_or_else(|| self.newcomer(make(found.address), &ways), |known| Arc::clone(known));
            endpoint.follow(found);
            after.push(endpoint);
        }
        let stay: HashSet<_> = after.iter().map(|endpoint| endpoint.id).collect();
        for gone in before.iter().filter(|known| !stay.contains(&known.id)) {
            gone.retire();
        }
        self.all.store(Arc::new(after));
        self.relist(&ways);
    }

    /// Says whether an endpoint can be reached.
    pub(super) fn set_down(&self, endpoint: &Endpoint, down: bool) {
        let ways = self.writing.lock();
        if endpoint.set_down(down) {
            if !down {
                endpoint.breaker.recovered(Instant::now());
                self.warms(&ways, endpoint);
            }
            self.relist(&ways);
            if down {
                self.trouble.send_replace(());
            }
        }
        self.verdict.notify_waiters();
    }

    /// Says what an endpoint's health check said.
    pub(super) fn set_healthy(&self, endpoint: &Endpoint, healthy: bool) {
        let ways = self.writing.lock();
        if endpoint.set_healthy(healthy) {
            if healthy {
                endpoint.breaker.recovered(Instant::now());
                self.warms(&ways, endpoint);
            }
            self.relist(&ways);
        }
        self.verdict.notify_waiters();
    }

    /// An endpoint stands out from its peers, or has had its time.
    pub(super) fn set_ejected(&self, endpoint: &Endpoint, why: Option<Ejection>) {
        let ways = self.writing.lock();
        if endpoint.set_ejected(why) {
            if why.is_none() {
                self.warms(&ways, endpoint);
            }
            self.relist(&ways);
        }
    }

    /// An endpoint's breaker has turned.
    pub(super) fn turned(&self, endpoint: &Endpoint, circuit: Circuit) {
        let ways = self.writing.lock();
        match circuit {
            Circuit::Closed => tracing::info!(endpoint = %endpoint.label, "breaker closed"),
            Circuit::HalfOpen | Circuit::Open => tracing::warn!(endpoint = %endpoint.label, "breaker open"),
        }
        endpoint.metrics.turned(circuit);
        if circuit == Circuit::Closed {
            self.warms(&ways, endpoint);
        }
        self.relist(&ways);
    }

    /// Every endpoint is down, and for that a call was refused.
    pub(super) fn refused(&self) {
        self.all.load().iter().filter(|endpoint| endpoint.down()).for_each(|endpoint| self.failed(endpoint));
    }

    /// It was not to be reached.
    pub(super) fn failed(&self, endpoint: &Endpoint) {
        if let Some(circuit) = endpoint.breaker.failed(false, Instant::now()) {
            self.turned(endpoint, circuit);
        }
    }

    /// What every breaker goes by from now on.
    pub(super) fn set_breaker(&self, rule: Option<&CircuitBreaker>) {
        let ways = self.writing.lock();
        let all = self.all.load();
        // Each of them, and not the first that has news.
        if all.iter().filter(|endpoint| endpoint.breaker.follow(rule)).count() > 0 {
            self.relist(&ways);
        }
    }

    /// How endpoints take turns from now on.
    pub(super) fn set_ways(&self, balance: &Balance, slow_start: Option<&SlowStart>) {
        let mut ways = self.writing.lock();
        if ways.balance != *balance || ways.slow_start.as_ref() != slow_start {
            *ways = Ways { balance: balance.clone(), slow_start: slow_start.cloned() };
            self.relist(&ways);
        }
    }

    /// All that was written first is here.
    pub(super) fn set_complete(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }

    /// Until an endpoint came that is to warm up, or one has come since this was last awaited.
    pub(super) async fn came(&self) {
        self.came.notified().await;
    }

    /// Gives those that warm up what they have earned by now. When to do so again, if there are any.
    pub(super) fn warm_up(&self, now: Instant) -> Option<Instant> {
        let ways = self.writing.lock();
        let step = warmth::step(ways.slow_start.as_ref()?);
        if !self.listed.load().live.iter().any(|endpoint| endpoint.warmth.is_growing()) {
            return None;
        }
        self.relist(&ways);
        Some(now + step)
    }

    fn newcomer(&self, endpoint: Endpoint, ways: &Ways) -> Arc<Endpoint> {
        if self.complete.load(Ordering::Relaxed) {
            self.warms(ways, &endpoint);
        }
        Arc::new(endpoint)
    }

    fn warms(&self, ways: &Ways, endpoint: &Endpoint) {
        if ways.slow_start.is_some() {
            endpoint.warmth.begin(Instant::now());
            self.came.notify_one();
        }
    }

    fn relist(&self, ways: &Ways) {
        let all = self.all.load();
        let takes_calls = all.iter().filter(|endpoint| endpoint.takes_calls()).cloned();
        let (ejected, fit): (Vec<_>, Vec<_>) = takes_calls.partition(|endpoint| endpoint.ejected());
        let (mut resting, mut live): (Vec<_>, Vec<_>) = fit.into_iter().partition(|endpoint| endpoint.breaker.rests());
        if live.is_empty() {
            // Better one that stands out than nobody.
            let (rest, others): (Vec<_>, Vec<_>) = ejected.into_iter().partition(|endpoint| endpoint.breaker.rests());
            resting.extend(rest);
            live = others;
        }
        let first = live.iter().map(|endpoint| endpoint.priority()).min();
        live.retain(|endpoint| Some(endpoint.priority()) == first);
        resting.retain(|endpoint| first.is_none_or(|first| endpoint.priority() <= first));
        let now = Instant::now();
        let weight = |endpoint: &Endpoint| endpoint.weight() * endpoint.warmth.share(ways.slow_start.as_ref(), now);
        let members = live.iter().map(|endpoint| Member { name: &endpoint.label, weight: weight(endpoint) });
        let turns = Turns::new(&ways.balance, &members.collect::<Vec<_>>());
        if live.iter().any(|endpoint| endpoint.warmth.is_growing()) {
            // It may have been out of the list when it came.
            self.came.notify_one();
        }
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
