//! Group: an upstream's endpoints as they run, with their health and connections.
//!
//! It outlives the configurations that name it: a reload that changes timeouts or limits touches nothing here, one that
//! changes endpoints keeps those that stay, connections and all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::balance::{Roster, Ways};
use super::breaker::Breaker;
use super::endpoint::{Endpoint, Health};
use super::literal;
use crate::config::{self, CircuitBreaker, HealthCheck, OutlierEjection};
use crate::discovery::Found;
use crate::telemetry::{Metrics, Refusals};
use crate::tls::Connector;

/// Shared by the generations of one upstream.
pub(super) struct Group {
    pub(super) name: Arc<str>,
    pub(super) roster: Arc<Roster>,
    /// Calls that are under way.
    pub(super) in_flight: Arc<AtomicUsize>,
    /// Calls that were too many.
    pub(super) refused: Refusals,
    /// How endpoints are asked for their health; a change is acted on at once.
    pub(super) health: watch::Sender<Option<HealthCheck>>,
    /// Who of them stands out, and for how long; a change is acted on at once.
    pub(super) outliers: watch::Sender<Option<OutlierEjection>>,
    written: Mutex<Written>,
    /// Endpoints that the next configuration brings.
    expected: Mutex<Vec<Arc<Endpoint>>>,
    /// Other endpoints were written or found.
    pub(super) moved: Notify,
    /// Some of its places have not been looked up yet.
    unresolved: AtomicBool,
    pub(super) resolved: Notify,
    metrics: Arc<Metrics>,
    /// How new connections are secured; none: not at all.
    pub(super) tls: Arc<ArcSwapOption<Connector>>,
    keepalive: Arc<ArcSwapOption<config::Keepalive>>,
}

/// What endpoints are made with, and what places stand for.
struct Written {
    connections: usize,
    breaker: Option<CircuitBreaker>,
    places: Vec<Place>,
}

/// An endpoint as it was written, and what it stands for.
#[derive(Clone)]
struct Place {
    endpoint: config::Endpoint,
    literal: bool,
    found: Vec<Found>,
    /// It was looked up, whatever came of it.
    asked: bool,
}

impl Group {
    /// Endpoints written as addresses can be called at once, names once they are resolved, or at once where the one `before` knows
    /// what they stand for: its connections may be of no use any more, what it was told is.
    pub(super) fn new(
        name: &str,
        config: &config::Upstream,
        before: Option<&Self>,
        metrics: &Arc<Metrics>,
    ) -> Arc<Self> {
        let places = before.map(Self::found_places).unwrap_or_default();
        let group = Self {
            name: name.into(),
            roster: Arc::new(Roster::new()),
            in_flight: Arc::default(),
            refused: metrics.refusals("upstream_in_flight", name),
            health: watch::Sender::new(None),
            outliers: watch::Sender::new(None),
            written: Mutex::new(Written {
                connections: config.connections,
                breaker: config.circuit_breaker.clone(),
                places,
            }),
            expected: Mutex::default(),
            moved: Notify::new(),
            unresolved: AtomicBool::new(false),
            resolved: Notify::new(),
            metrics: Arc::clone(metrics),
            tls: Arc::default(),
            keepalive: Arc::default(),
        };
        group.follow(config);
        Arc::new(group)
    }

    /// Those of which it is known what they stand for.
    fn found_places(&self) -> Vec<Place> {
        self.written.lock().places.iter().filter(|place| !place.found.is_empty()).cloned().collect()
    }

    /// Whether an upstream of this configuration is the same service, moved at most: one of its endpoints stays.
    pub(super) fn goes_on_in(&self, config: &config::Upstream) -> bool {
        self.written.lock().places.iter().any(|place| config.endpoints.iter().any(|endpoint| place.is(&endpoint.place)))
    }

    /// Takes over what is written now. Endpoints that stay with their connection settings keep their connections; places
    /// that stay keep what they stand for until they are looked up again.
    pub(super) fn follow(&self, config: &config::Upstream) {
        let interval = |rule: &config::Keepalive| rule.interval;
        let before = self.keepalive.swap(config.keepalive.clone().map(Arc::new));
        if before.as_deref().map(interval) != config.keepalive.as_ref().map(interval) {
            self.roster.all().iter().for_each(|endpoint| endpoint.forget_weariness());
        }
        self.roster.set_most_connections(config.max_connections);
        let mut written = self.written.lock();
        let before = std::mem::take(&mut written.places);
        written.places = config.endpoints.iter().map(|endpoint| Place::of(endpoint, &before)).collect();
        written.connections = config.connections;
        written.breaker.clone_from(&config.circuit_breaker);
        self.list(&written);
        self.unresolved.store(written.places.iter().any(|place| !place.asked), Ordering::Release);
        drop(written);
        // The place that was waited for may be written no more.
        self.told();
        self.roster.set_ways(Ways::of(config));
        self.roster.set_breaker(config.circuit_breaker.as_ref());
        let news = tell(&self.health, &config.health_check);
        tell(&self.outliers, &config.outlier_ejection);
        if news && config.health_check.is_none() {
            // Nobody would ever say that they are well again.
            self.roster.all().iter().for_each(|endpoint| self.roster.set_health(endpoint, Health::Serves));
        }
        self.moved.notify_one();
    }

    /// The places that are to be looked up.
    pub(super) fn places(&self) -> Vec<config::Place> {
        let written = self.written.lock();
        written.places.iter().filter(|place| !place.literal).map(|place| place.endpoint.place.clone()).collect()
    }

    /// A place was looked up; `found` is what it stands for now, none that nobody could say.
    pub(super) fn found(&self, at: &config::Place, found: Option<&[Found]>) {
        let mut written = self.written.lock();
        let mut news = false;
        for place in written.places.iter_mut().filter(|place| !place.literal && place.is(at)) {
            place.asked = true;
            if let Some(found) = found.filter(|found| **found != *place.found) {
                place.found = found.to_vec();
                news = true;
            }
        }
        if news {
            self.list(&written);
        }
        self.unresolved.store(written.places.iter().any(|place| !place.asked), Ordering::Release);
        drop(written);
        self.told();
        self.moved.notify_one();
    }

    /// Who waits for addresses looks again. Once each place was looked up, whoever has not come does not come.
    fn told(&self) {
        if self.is_resolved() {
            self.roster.set_complete();
            self.set_expected(Vec::new());
        }
        self.resolved.notify_waiters();
    }

    pub(super) fn is_resolved(&self) -> bool {
        !self.unresolved.load(Ordering::Acquire)
    }

    /// Until it is known of each endpoint whether it answers.
    pub(super) async fn settled(&self) {
        self.resolved().await;
        self.roster.settled().await;
    }

    /// Until each place was looked up.
    pub(super) async fn resolved(&self) {
        loop {
            let resolved = self.resolved.notified();
            let mut resolved = std::pin::pin!(resolved);
            resolved.as_mut().enable();
            if self.is_resolved() {
                return;
            }
            resolved.await;
        }
    }

    /// Nobody names it any more: connections close once they are idle. Calls that are on their way still get there.
    pub(super) fn retire(&self) {
        self.roster.all().iter().for_each(|endpoint| endpoint.retire());
    }

    /// What a place that was looked up stands for.
    pub(super) fn stands_for(&self, place: &config::Place) -> Option<Vec<SocketAddr>> {
        let written = self.written.lock();
        let known = written.places.iter().find(|known| known.asked && known.is(place))?;
        Some(known.found.iter().map(|found| found.address).collect())
    }

    /// Endpoints that are looked at already, in the place of those that were expected before and have not come.
    pub(super) fn set_expected(&self, expected: Vec<Arc<Endpoint>>) {
        let before = std::mem::replace(&mut *self.expected.lock(), expected);
        before.iter().for_each(|endpoint| endpoint.retire());
    }

    pub(super) fn endpoint(&self, address: SocketAddr, connections: usize, breaker: Breaker) -> Endpoint {
        let metrics = self.metrics.endpoint(&self.name, &address.to_string());
        Endpoint::new(address, connections, breaker, metrics).with(&self.tls, &self.keepalive)
    }

    fn list(&self, written: &Written) {
        let found: Vec<_> = written.places.iter().flat_map(Place::endpoints).collect();
        let connections = written.connections;
        self.roster.set_found(&found, connections, |address| {
            let mut expected = self.expected.lock();
            let is_it = |endpoint: &Arc<Endpoint>| endpoint.address == address && endpoint.connections == connections;
            match expected.iter().position(is_it) {
                Some(at) => expected.swap_remove(at),
                None => Arc::new(self.endpoint(address, connections, Breaker::new(written.breaker.clone()))),
            }
        });
    }
}

/// True if that is news.
fn tell<T: Clone + PartialEq>(to: &watch::Sender<T>, now: &T) -> bool {
    to.send_if_modified(|before| {
        let news = before != now;
        before.clone_from(now);
        news
    })
}

impl Place {
    fn of(endpoint: &config::Endpoint, before: &[Self]) -> Self {
        let literal = literal(endpoint);
        let known = before.iter().find(|place| place.is(&endpoint.place));
        let found = literal.map(|address| vec![Found::at(address)]);
        Self {
            endpoint: endpoint.clone(),
            literal: literal.is_some(),
            asked: literal.is_some() || known.is_some_and(|known| known.asked),
            found: found.or_else(|| Some(known?.found.clone())).unwrap_or_default(),
        }
    }

    /// Whatever its weight is.
    fn is(&self, place: &config::Place) -> bool {
        self.endpoint.place == *place
    }

    /// What it stands for, each with the weight and the labels that are written too.
    fn endpoints(&self) -> impl Iterator<Item = Found> {
        let weight = u32::from(self.endpoint.weight.0);
        self.found.iter().map(move |found| Found {
            weight: found.weight.saturating_mul(weight),
            labels: found.labels.with(&self.endpoint.labels),
            ..found.clone()
        })
    }
}
