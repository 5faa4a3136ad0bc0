//! Roster: the endpoints of an upstream and whose turn it is.
//!
//! The live list holds the endpoints that take calls and nothing else, so that turns stay exact while some are down: skipping over a
//! dead endpoint would give its turns to its neighbour.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::endpoint::Endpoint;

/// Swapped whole when an address comes or goes, or an endpoint's health changes.
pub(super) struct Roster {
    all: ArcSwap<Vec<Arc<Endpoint>>>,
    live: ArcSwap<Vec<Arc<Endpoint>>>,
    cursor: AtomicUsize,
    /// An endpoint went down.
    trouble: Notify,
    /// Something was said of an endpoint.
    verdict: Notify,
    /// One writer at a time; readers never wait.
    writing: Mutex<()>,
}

impl Roster {
    pub(super) fn new() -> Self {
        Self {
            all: ArcSwap::default(),
            live: ArcSwap::default(),
            cursor: AtomicUsize::new(0),
            trouble: Notify::new(),
            verdict: Notify::new(),
            writing: Mutex::new(()),
        }
    }

    pub(super) fn all(&self) -> Arc<Vec<Arc<Endpoint>>> {
        self.all.load_full()
    }

    /// Until an endpoint goes down, or one has gone down since this was last awaited.
    pub(super) async fn troubled(&self) {
        self.trouble.notified().await;
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
        !self.live.load().is_empty()
    }

    /// Endpoints that take calls and are known to answer.
    pub(super) fn usable(&self) -> usize {
        self.live.load().iter().filter(|endpoint| endpoint.usable()).count()
    }

    /// Gives `take` the endpoint whose turn it is; none is left when all live ones were tried.
    pub(super) fn next<T>(&self, tried: &[usize], take: impl FnOnce(&Arc<Endpoint>) -> T) -> Option<T> {
        let live = self.live.load();
        if live.is_empty() {
            return None;
        }
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed);
        let at = turn % live.len();
        let (before, from) = live.split_at(at);
        from.iter().chain(before).find(|endpoint| !tried.contains(&endpoint.id)).map(take)
    }

    /// The upstream's addresses as they are now. Endpoints that stay keep their state, connections and all.
    pub(super) fn set_addresses(
        &self,
        addresses: &[SocketAddr],
        connections: usize,
        make: impl Fn(SocketAddr) -> Endpoint,
    ) {
        let _writing = self.writing.lock();
        let before = self.all.load();
        let mut after: Vec<Arc<Endpoint>> = Vec::with_capacity(addresses.len());
        for &address in addresses {
            if after.iter().any(|known| known.address == address) {
                continue;
            }
            let stays = |known: &&Arc<Endpoint>| known.address == address && known.connections == connections;
            let known = before.iter().find(stays).cloned();
            after.push(known.unwrap_or_else(|| Arc::new(make(address))));
        }
        for gone in before.iter().filter(|known| !after.iter().any(|stays| stays.id == known.id)) {
            gone.retire();
        }
        self.all.store(Arc::new(after));
        self.relist();
    }

    /// Says whether an endpoint can be reached.
    pub(super) fn set_down(&self, endpoint: &Endpoint, down: bool) {
        let _writing = self.writing.lock();
        if endpoint.set_down(down) {
            self.relist();
            if down {
                self.trouble.notify_one();
            }
        }
        self.verdict.notify_waiters();
    }

    /// Says what an endpoint's health check said.
    pub(super) fn set_healthy(&self, endpoint: &Endpoint, healthy: bool) {
        let _writing = self.writing.lock();
        if endpoint.set_healthy(healthy) {
            self.relist();
        }
        self.verdict.notify_waiters();
    }

    fn relist(&self) {
        let live = self.all.load().iter().filter(|endpoint| endpoint.takes_calls()).cloned().collect();
        self.live.store(Arc::new(live));
    }
}
