//! What all of the process shares: the snapshot that calls run on, what outlives it, and how the last reload went.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::drain::Drain;
use super::snapshot::Snapshot;
use crate::memory::Memory;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::upstream::Watches;

/// Reloads that may be asked for while one is under way; more are the same as one.
const ASKED: usize = 64;

/// What all of the process shares.
pub struct State {
    /// What runs now.
    pub snapshot: ArcSwap<Snapshot>,
    /// The upstreams that are looked after: those of the snapshot.
    pub watches: Mutex<Watches>,
    /// The way to another snapshot.
    pub reloads: Reloads,
    /// What the gateways of a system have in common; another one needs a restart, another password none.
    pub store: Arc<Store>,
    /// What calls hold of bodies and messages.
    pub memory: Arc<Memory>,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// Since when it runs.
    pub started: Instant,
    /// Whether it is about to stop.
    pub drain: Drain,
}

impl State {
    /// The state of a process that starts with this snapshot.
    pub fn new(snapshot: Snapshot, metrics: Arc<Metrics>) -> Arc<Self> {
        let reloads = Reloads::new();
        metrics.tls().expire(snapshot.expiries().into_iter().map(|(place, expiry)| (place, expiry.at.as_second())));
        metrics.reloads().applied(reloads.loaded().version);
        let store = Arc::new(Store::compile(&snapshot.config.redis));
        if let Some(connected) = store.connected() {
            metrics.follow_redis(connected.clone());
        }
        let memory = Memory::new(snapshot.config.overload.memory, &metrics);
        Arc::new(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            watches: Mutex::default(),
            reloads,
            store,
            memory,
            metrics,
            started: Instant::now(),
            drain: Drain::default(),
        })
    }
}

/// Why a reload is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A file that it was loaded from has changed.
    Files,
    /// SIGHUP.
    Signal,
    /// `POST /reload`.
    Admin,
    /// The schema that an upstream reflects has changed.
    Reflection(Arc<str>),
    /// A secret that a Vault keeps has changed.
    Secrets,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files => f.write_str("files changed"),
            Self::Secrets => f.write_str("secrets changed"),
            Self::Signal => f.write_str("SIGHUP"),
            Self::Admin => f.write_str("POST /reload"),
            Self::Reflection(upstream) => write!(f, "reflection of {upstream} changed"),
        }
    }
}

/// What runs, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// 1 at start, one more with each reload that was applied.
    pub version: u64,
    /// When it was applied.
    pub at: SystemTime,
}

/// One try to replace what runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// Why it was tried.
    pub reason: Reason,
    /// When.
    pub at: SystemTime,
    /// What came of it.
    pub outcome: Outcome,
    /// What of the change breaks clients, one line each.
    pub breaking: Vec<String>,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This version runs from now on.
    Applied(u64),
    /// Nothing changed, for these reasons.
    Refused(Vec<String>),
}

/// Asks for reloads, and knows how the last one went.
pub struct Reloads {
    ask: mpsc::Sender<Ask>,
    asked: Mutex<Option<mpsc::Receiver<Ask>>>,
    last: ArcSwapOption<Reload>,
    loaded: ArcSwap<Loaded>,
    alone: tokio::sync::Mutex<()>,
}

/// A wish for a reload.
pub struct Ask {
    /// Why.
    pub reason: Reason,
    /// Who waits for the outcome.
    pub answer: Option<oneshot::Sender<Arc<Reload>>>,
}

impl Reloads {
    fn new() -> Self {
        let (ask, asked) = mpsc::channel(ASKED);
        let loaded = Loaded { version: 1, at: SystemTime::now() };
        let (last, loaded) = (ArcSwapOption::empty(), ArcSwap::from_pointee(loaded));
        Self { ask, asked: Mutex::new(Some(asked)), last, loaded, alone: tokio::sync::Mutex::default() }
    }

    /// Wishes for a reload, soon. Wishes that come while one is under way become one.
    pub fn trigger(&self, reason: Reason) {
        // A full queue holds a wish that is as good as this one.
        let _ = self.ask.try_send(Ask { reason, answer: None });
    }

    /// Reloads and waits for the outcome. None: nobody reloads here.
    pub async fn ask(&self, reason: Reason) -> Option<Arc<Reload>> {
        let (answer, outcome) = oneshot::channel();
        self.ask.send(Ask { reason, answer: Some(answer) }).await.ok()?;
        outcome.await.ok()
    }

    /// Where wishes arrive; there is one such place, and who takes it reloads.
    pub fn take(&self) -> Option<mpsc::Receiver<Ask>> {
        self.asked.lock().take()
    }

    /// The last try, if there was one since the start.
    pub fn last(&self) -> Option<Arc<Reload>> {
        self.last.load_full()
    }

    /// Notes a try.
    pub fn note(&self, reload: Arc<Reload>) {
        self.last.store(Some(reload));
    }

    /// The right to replace what runs, which one has at a time.
    pub async fn alone(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.alone.lock().await
    }

    /// What runs is another one from now on: its version.
    pub fn advance(&self) -> u64 {
        let version = self.loaded().version + 1;
        self.loaded.store(Arc::new(Loaded { version, at: SystemTime::now() }));
        version
    }

    /// What runs.
    pub fn loaded(&self) -> Loaded {
        **self.loaded.load()
    }
}
