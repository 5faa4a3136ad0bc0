//! Roster: the endpoints of an upstream and whose turn it is.
//!
//! The live list holds the endpoints that take calls and nothing else, so that turns stay exact while some are down: skipping over a
//! dead endpoint would give its turns to its neighbour.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter::once;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::{Notify, watch};

use super::attempt::Probe;
use super::endpoint::{Endpoint, Health};
use super::part::{Part, Seeks, Weighed};
use super::warmth;
use super::{Aim, key_of};
use crate::config::{self, Balance, CircuitBreaker, Otherwise, SlowStart, Subset};
use crate::discovery::Found;
use crate::telemetry::{Circuit, Ejection};

/// Swapped whole when an address comes or goes, or an endpoint's health changes.
pub(super) struct Roster {
    all: ArcSwap<Vec<Arc<Endpoint>>>,
    listed: ArcSwap<Listed>,
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
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ways {
    pub(super) balance: Balance,
    slow_start: Option<SlowStart>,
    /// Where the gateway runs.
    pub(super) zone: Option<String>,
    subset: Option<Subset>,
}

impl Ways {
    pub(super) fn of(config: &config::Upstream) -> Self {
        Self {
            balance: config.balance.clone(),
            slow_start: config.slow_start.clone(),
            zone: config.zone.clone(),
            subset: config.subset.clone(),
        }
    }
}

/// Who gets calls.
#[derive(Default)]
struct Listed {
    whole: Part,
    /// Those that have a label in common, by its value's key, in order.
    subsets: Vec<(NonZeroU32, Part)>,
    /// Calls that ask for none of these go nowhere.
    strict: bool,
}

impl Roster {
    pub(super) fn new() -> Self {
        Self {
            all: ArcSwap::default(),
            listed: ArcSwap::default(),
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
        self.said(|| self.all.load().iter().all(|endpoint| endpoint.is_judged())).await;
    }

    /// Until this one was.
    pub(super) async fn judged(&self, endpoint: &Endpoint) {
        self.said(|| endpoint.is_judged()).await;
    }

    async fn said(&self, enough: impl Fn() -> bool) {
        loop {
            let verdict = self.verdict.notified();
            let mut verdict = std::pin::pin!(verdict);
            verdict.as_mut().enable();
            if enough() {
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
        self.listed.load().endpoints().any(|listed| listed.id == endpoint.id)
    }

    /// Some endpoint takes such calls that is none of these.
    pub(super) fn has_another(&self, than: &[usize], aim: Aim) -> bool {
        let listed = self.listed.load();
        listed.part(aim).is_some_and(|part| part.live.iter().any(|endpoint| !than.contains(&endpoint.id)))
    }

    /// Some endpoint takes such calls.
    pub(super) fn is_live(&self, aim: Aim) -> bool {
        self.listed.load().part(aim).is_some_and(|part| !part.live.is_empty())
    }

    /// Nobody takes such calls, but somebody is being asked whether they can.
    pub(super) fn is_proving(&self, aim: Aim) -> bool {
        let listed = self.listed.load();
        let Some(part) = listed.part(aim).filter(|part| part.live.is_empty()) else { return false };
        part.resting.iter().any(|endpoint| endpoint.breaker.circuit(Instant::now()).0 == Circuit::HalfOpen)
    }

    /// Until that has come to something.
    pub(super) async fn proven(&self, aim: Aim) {
        self.said(|| !self.is_proving(aim)).await;
    }

    /// Endpoints that take calls and are known to answer.
    pub(super) fn usable(&self) -> usize {
        let listed = self.listed.load();
        let usable = listed.endpoints().filter(|endpoint| endpoint.usable());
        usable.map(|endpoint| endpoint.id).collect::<HashSet<_>>().len()
    }

    /// The breakers of those that take such calls, as one: closed unless none does because of its own; and the time to the
    /// first probe. Those that are down count where there is no other.
    pub(super) fn circuit(&self, aim: Aim, now: Instant) -> (Circuit, Duration) {
        let (listed, all) = (self.listed.load(), self.all.load());
        let of = |endpoints: &[Arc<Endpoint>]| endpoints.iter().map(|endpoint| endpoint.breaker.circuit(now)).min();
        let first = match listed.part(aim) {
            Some(part) if !part.live.is_empty() => None,
            Some(part) if !part.resting.is_empty() => of(&part.resting),
            _ if listed.whole.live.is_empty() => of(&all),
            _ => None,
        };
        first.unwrap_or((Circuit::Closed, Duration::ZERO))
    }

    /// Gives `take` the endpoint whose turn it is, or where the key leads; none is left when all live ones were tried. One
    /// that needs a probe comes first.
    pub(super) fn next<T>(&self, seeks: Seeks<'_>, take: impl FnOnce(&Arc<Endpoint>, Option<Probe>) -> T) -> Option<T> {
        let listed = self.listed.load();
        let part = listed.part(seeks.aim)?;
        if let Some((endpoint, probe)) = part.probe(seeks) {
            return Some(take(endpoint, Some(probe)));
        }
        part.pick(seeks).map(|at| take(&part.live[at], None))
    }

    /// What `take` gives of the first of `looks` others than this, in turn, that take such calls.
    pub(super) fn elsewhere<T>(
        &self,
        seeks: Seeks<'_>,
        (than, looks): (&Endpoint, usize),
        take: impl Fn(&Arc<Endpoint>) -> Option<T>,
    ) -> Option<T> {
        let listed = self.listed.load();
        let part = listed.part(seeks.aim)?;
        let mut tried: SmallVec<[usize; 8]> = seeks.tried.into();
        tried.push(than.id);
        (0..looks).find_map(|_| {
            let endpoint = &part.live[part.pick(Seeks { tried: &tried, first: false, ..seeks })?];
            tried.push(endpoint.id);
            take(endpoint)
        })
    }

    /// The upstream's endpoints as they are now. Those that stay keep their state, connections and all.
    pub(super) fn set_found(&self, found: &[Found], connections: usize, make: impl Fn(SocketAddr) -> Arc<Endpoint>) {
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
            tell(endpoint, !down, "can be connected to again", "cannot be connected to: it gets no calls");
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

    /// Says what an endpoint's health checks have come to.
    pub(super) fn set_health(&self, endpoint: &Endpoint, health: Health) {
        let ways = self.writing.lock();
        let was_healthy = endpoint.healthy();
        if endpoint.set_health(health) {
            if was_healthy != (health == Health::Serves) {
                tell(endpoint, !was_healthy, "is healthy again", "is not healthy: it gets no calls");
            }
            if health == Health::Serves {
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
            Circuit::HalfOpen | Circuit::Open => {
                let cause = endpoint.last_failure().map(|failure| failure.cause);
                tracing::warn!(upstream = endpoint.metrics.upstream(), endpoint = %endpoint.label, cause = cause.as_deref(), "breaker open");
            }
        }
        endpoint.metrics.turned(circuit);
        if circuit == Circuit::Closed {
            self.warms(&ways, endpoint);
        }
        self.relist(&ways);
        self.verdict.notify_waiters();
    }

    /// A call was refused; where every endpoint is down it was for that.
    pub(super) fn refused(&self) {
        if !self.is_live(Aim::default()) {
            self.all.load().iter().filter(|endpoint| endpoint.down()).for_each(|endpoint| self.failed(endpoint));
        }
    }

    /// It was not to be reached.
    pub(super) fn failed(&self, endpoint: &Endpoint) {
        if let Some(circuit) = endpoint.breaker.failed(None, Instant::now()) {
            self.turned(endpoint, circuit);
        }
    }

    /// What every breaker goes by from now on.
    pub(super) fn set_breaker(&self, rule: Option<&CircuitBreaker>) {
        let ways = self.writing.lock();
        let all = self.all.load();
        let anew: Vec<_> = all.iter().filter(|endpoint| endpoint.breaker.follow(rule)).collect();
        if !anew.is_empty() {
            anew.into_iter().for_each(|endpoint| endpoint.metrics.turned(Circuit::Closed));
            self.relist(&ways);
        }
    }

    /// How endpoints take turns from now on.
    pub(super) fn set_ways(&self, ways: Ways) {
        let mut writing = self.writing.lock();
        if *writing != ways {
            *writing = ways;
            self.relist(&writing);
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
        if !self.all.load().iter().any(|endpoint| endpoint.warmth.is_growing()) {
            return None;
        }
        self.relist(&ways);
        Some(now + step)
    }

    fn newcomer(&self, endpoint: Arc<Endpoint>, ways: &Ways) -> Arc<Endpoint> {
        if self.complete.load(Ordering::Relaxed) {
            self.warms(ways, &endpoint);
        }
        endpoint
    }

    fn warms(&self, ways: &Ways, endpoint: &Endpoint) {
        if ways.slow_start.is_some() {
            endpoint.warmth.begin(Instant::now());
            self.came.notify_one();
        }
    }

    fn relist(&self, ways: &Ways) {
        let (all, before, now) = (self.all.load(), self.listed.load(), Instant::now());
        // Each counts by the same warmth in every part; those whose turn does not come warm up too.
        let weigh = |endpoint: &Endpoint| endpoint.weight() * endpoint.warmth.share(ways.slow_start.as_ref(), now);
        let weighed: Vec<_> = all.iter().map(|endpoint| (Arc::clone(endpoint), weigh(endpoint))).collect();
        let mut valued: BTreeMap<NonZeroU32, Vec<Weighed>> = BTreeMap::new();
        if let Some(subset) = &ways.subset {
            for member in &weighed {
                if let Some(value) = member.0.labels().named(&subset.label) {
                    valued.entry(key_of(value.as_bytes())).or_default().push(member.clone());
                }
            }
        }
        let strict = ways.subset.as_ref().is_some_and(|subset| subset.otherwise == Otherwise::None);
        let subsets = valued.into_iter().map(|(key, members)| {
            let cursors = before.subset(key).map(|part| Arc::clone(&part.cursors)).unwrap_or_default();
            (key, Part::new(ways, &members, cursors))
        });
        // Where another will do one without anybody is none.
        let subsets = subsets.filter(|(_, part)| strict || !part.live.is_empty()).collect();
        let whole = Part::new(ways, &weighed, Arc::clone(&before.whole.cursors));
        self.listed.store(Arc::new(Listed { whole, subsets, strict }));
    }
}

/// What becomes of an endpoint is news to who runs it: without that nobody knows why calls fail.
fn tell(endpoint: &Endpoint, is_well: bool, well: &'static str, ill: &'static str) {
    let (upstream, cause) = (endpoint.metrics.upstream(), endpoint.last_failure().map(|failure| failure.cause));
    match is_well {
        _ if endpoint.is_retired() => {}
        true => tracing::info!(upstream, endpoint = %endpoint.label, "{well}"),
        false => tracing::warn!(upstream, endpoint = %endpoint.label, cause = cause.as_deref(), "{ill}"),
    }
}

impl Listed {
    /// Everybody who gets calls, of some in more than one part.
    fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let parts = once(&self.whole).chain(self.subsets.iter().map(|(_, part)| part));
        parts.flat_map(|part| part.live.iter().chain(&part.resting))
    }

    /// Those that such calls go to.
    #[inline]
    fn part(&self, aim: Aim) -> Option<&Part> {
        match aim.subset {
            None => Some(&self.whole),
            Some(asked) => self.subset(asked).or_else(|| (!self.strict).then_some(&self.whole)),
        }
    }

    fn subset(&self, asked: NonZeroU32) -> Option<&Part> {
        let at = self.subsets.binary_search_by_key(&asked, |(key, _)| *key).ok()?;
        Some(&self.subsets[at].1)
    }
}
