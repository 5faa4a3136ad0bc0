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

use super::balance::Roster;
use super::breaker::Breaker;
use super::endpoint::Endpoint;
use super::literal;
use crate::config::{self, CircuitBreaker, HealthCheck};
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
    written: Mutex<Written>,
    /// Other names were written.
    pub(super) renamed: Notify,
    /// Some of its names have not been resolved yet.
    unresolved: AtomicBool,
    pub(super) resolved: Notify,
    metrics: Arc<Metrics>,
    /// How new connections are secured; none: not at all.
    pub(super) tls: Arc<ArcSwapOption<Connector>>,
    keepalive: Arc<ArcSwapOption<config::Keepalive>>,
}

/// What endpoints are made with, and what names stand for.
struct Written {
    connections: usize,
    breaker: Option<CircuitBreaker>,
    names: Vec<Name>,
}

/// An endpoint as it was written, and what it stands for.
struct Name {
    endpoint: config::Endpoint,
    literal: bool,
    addresses: Vec<SocketAddr>,
}

impl Group {
    /// Endpoints written as addresses can be called at once, names once they are resolved.
    pub(super) fn new(name: &str, config: &config::Upstream, metrics: &Arc<Metrics>) -> Arc<Self> {
        let group = Self {
            name: name.into(),
            roster: Arc::new(Roster::new()),
            in_flight: Arc::default(),
            refused: metrics.refusals("upstream_in_flight", name),
            health: watch::Sender::new(None),
            written: Mutex::new(Written {
                connections: config.connections,
                breaker: config.circuit_breaker.clone(),
                names: Vec::new(),
            }),
            renamed: Notify::new(),
            unresolved: AtomicBool::new(false),
            resolved: Notify::new(),
            metrics: Arc::clone(metrics),
            tls: Arc::default(),
            keepalive: Arc::default(),
        };
        group.follow(config);
        Arc::new(group)
    }

    /// Whether an upstream of this configuration is the same service, moved at most: one of its endpoints stays.
    pub(super) fn goes_on_in(&self, config: &config::Upstream) -> bool {
        self.written.lock().names.iter().any(|name| config.endpoints.iter().any(|endpoint| name.is(endpoint)))
    }

    /// Takes over what is written now. Endpoints that stay with their connection settings keep their connections; names
    /// that stay keep their addresses until they are resolved again.
    pub(super) fn follow(&self, config: &config::Upstream) {
        self.keepalive.store(config.keepalive.clone().map(Arc::new));
        let mut written = self.written.lock();
        let before = std::mem::take(&mut written.names);
        written.names = config.endpoints.iter().map(|endpoint| Name::of(endpoint, &before)).collect();
        written.connections = config.connections;
        written.breaker.clone_from(&config.circuit_breaker);
        self.unresolved.store(written.names.iter().any(Name::is_unknown), Ordering::Release);
        self.list(&written);
        drop(written);
        self.roster.set_balance(&config.balance);
        self.roster.set_breaker(config.circuit_breaker.as_ref());
        let news = self.health.send_if_modified(|health| {
            let news = *health != config.health_check;
            health.clone_from(&config.health_check);
            news
        });
        if news && config.health_check.is_none() {
            // Nobody would ever say that they are well again.
            self.roster.all().iter().for_each(|endpoint| self.roster.set_healthy(endpoint, true));
        }
        self.renamed.notify_one();
    }

    /// The names to be resolved.
    pub(super) fn names(&self) -> Vec<config::Endpoint> {
        let written = self.written.lock();
        written.names.iter().filter(|name| !name.literal).map(|name| name.endpoint.clone()).collect()
    }

    /// What a name stands for now.
    pub(super) fn found(&self, endpoint: &config::Endpoint, addresses: &[SocketAddr]) {
        let mut written = self.written.lock();
        for name in written.names.iter_mut().filter(|name| !name.literal && name.is(endpoint)) {
            name.addresses = addresses.to_vec();
        }
        self.list(&written);
    }

    /// Every name was asked for.
    pub(super) fn set_resolved(&self) {
        self.unresolved.store(false, Ordering::Release);
    }

    pub(super) fn is_resolved(&self) -> bool {
        !self.unresolved.load(Ordering::Acquire)
    }

    /// Until it is known of each endpoint whether it answers.
    pub(super) async fn settled(&self) {
        loop {
            let resolved = self.resolved.notified();
            let mut resolved = std::pin::pin!(resolved);
            resolved.as_mut().enable();
            if self.is_resolved() {
                break;
            }
            resolved.await;
        }
        self.roster.settled().await;
    }

    /// Nobody names it any more: connections close once they are idle. Calls that are on their way still get there.
    pub(super) fn retire(&self) {
        self.roster.all().iter().for_each(|endpoint| endpoint.retire());
    }

    fn list(&self, written: &Written) {
        let addresses: Vec<_> = written
            .names
            .iter()
            .flat_map(|name| name.addresses.iter().map(|address| (*address, name.endpoint.weight)))
            .collect();
        self.roster.set_addresses(&addresses, written.connections, |address| {
            let metrics = self.metrics.endpoint(&self.name, &address.to_string());
            Endpoint::new(address, written.connections, Breaker::new(written.breaker.clone()), metrics)
                .with(&self.tls, &self.keepalive)
        });
    }
}

impl Name {
    fn of(endpoint: &config::Endpoint, before: &[Self]) -> Self {
        let literal = literal(endpoint);
        let known = || before.iter().find(|name| name.is(endpoint)).map(|name| name.addresses.clone());
        let addresses = literal.map(|address| vec![address]).or_else(known).unwrap_or_default();
        Self { endpoint: endpoint.clone(), literal: literal.is_some(), addresses }
    }

    /// Whatever its weight is.
    fn is(&self, endpoint: &config::Endpoint) -> bool {
        (&self.endpoint.host, self.endpoint.port) == (&endpoint.host, endpoint.port)
    }

    fn is_unknown(&self) -> bool {
        self.addresses.is_empty()
    }
}
