//! Endpoint: one address of an upstream, and whether calls may go there.

use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::breaker::Breaker;
use super::tally::Counts;
use super::warmth::Warmth;
use crate::config;
use crate::discovery::{Found, Labels};
use crate::telemetry::{Circuit, Ejection, EndpointMetrics};
use crate::tls::Connector;

/// It could not be connected to, and has not answered since.
const DOWN: u8 = 1;
/// Its last health check said so.
const UNHEALTHY: u8 = 2;
/// No configuration or name leads to it any more.
const RETIRED: u8 = 4;
/// It was reached at least once.
const REACHED: u8 = 8;
/// It stands out from its peers.
const EJECTED: u8 = 16;
/// It is unhealthy for having said nothing, which may be the fault of the way there.
const SILENT: u8 = 32;

/// Servers of gRPC allow one PING in five minutes unless they are told otherwise (gRFC A8), by their own clocks.
const ALLOWED: Duration = Duration::from_secs(5 * 60 + 10);
/// As seldom PINGs become at most: as servers of gRPC send their own.
const SELDOM: Duration = Duration::from_secs(2 * 3600);

/// What health checks have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Serves,
    /// It says that it does not, or something that is no answer.
    Ill,
    /// It has not answered in time, time after time.
    Silent,
}

/// What went wrong at an endpoint last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// Why it went down, became unhealthy, or its breaker opened.
    pub cause: Arc<str>,
    /// When.
    pub at: SystemTime,
}

/// Shared by all workers; each keeps its own connections to it.
pub(super) struct Endpoint {
    /// Unique in the process and never reused: what pools know it by.
    pub(super) id: usize,
    pub(super) address: SocketAddr,
    /// The address as text, for logs and metrics.
    pub(super) label: Arc<str>,
    /// HTTP/2 connections over all workers.
    pub(super) connections: usize,
    /// How often its turn comes.
    weight: AtomicU32,
    /// Those with the lowest number come first.
    priority: AtomicU16,
    labels: Mutex<Labels>,
    last_failure: Mutex<Option<LastFailure>>,
    /// Calls under way, and those that wait for a stream, over all workers.
    load: AtomicUsize,
    state: AtomicU8,
    retired: CancellationToken,
    fell: Notify,
    /// When a connection broke that was no old one then.
    broke: Mutex<Option<Instant>>,
    /// When a try was last overtaken of those that began after the one before it was.
    lagged: Mutex<Option<Instant>>,
    /// When a stream last ended in a failure of those that began after the one before it had.
    cut: Mutex<Option<Instant>>,
    /// When it last said that PINGs come too often, on a connection that was made after it had said so before; and how often.
    wearied: Mutex<Option<Instant>>,
    weary: AtomicU32,
    pub(super) breaker: Breaker,
    /// Of its turns.
    pub(super) warmth: Warmth,
    /// What its calls came to.
    pub(super) counts: Counts,
    pub(super) metrics: EndpointMetrics,
    /// Its group's: how new connections are secured.
    pub(super) tls: Arc<ArcSwapOption<Connector>>,
    /// Its group's: how connections are found that lead nowhere.
    pub(super) keepalive: Arc<ArcSwapOption<config::Keepalive>>,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, connections: usize, breaker: Breaker, metrics: EndpointMetrics) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            address,
            label: address.to_string().into(),
            connections,
            weight: AtomicU32::new(1),
            priority: AtomicU16::new(0),
            labels: Mutex::default(),
            last_failure: Mutex::default(),
            load: AtomicUsize::new(0),
            state: AtomicU8::new(0),
            retired: CancellationToken::new(),
            fell: Notify::new(),
            broke: Mutex::default(),
            lagged: Mutex::default(),
            cut: Mutex::default(),
            wearied: Mutex::default(),
            weary: AtomicU32::new(0),
            breaker,
            warmth: Warmth::default(),
            counts: Counts::default(),
            metrics,
            tls: Arc::default(),
            keepalive: Arc::default(),
        }
    }

    /// The same, its connections made and kept as its group's are.
    pub(super) fn with(
        self,
        tls: &Arc<ArcSwapOption<Connector>>,
        keepalive: &Arc<ArcSwapOption<config::Keepalive>>,
    ) -> Self {
        Self { tls: Arc::clone(tls), keepalive: Arc::clone(keepalive), ..self }
    }

    /// Calls may go there; one that was never tried is worth a try. So is a retired one, to a call that knows no other.
    pub(super) fn takes_calls(&self) -> bool {
        self.state.load(Ordering::Relaxed) & (DOWN | UNHEALTHY) == 0
    }

    /// How often its turn comes.
    pub(super) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed).max(1)
    }

    /// It gets calls if no one with a lower number takes any.
    pub(super) fn priority(&self) -> u16 {
        self.priority.load(Ordering::Relaxed)
    }

    /// What is said of it.
    pub(super) fn labels(&self) -> Labels {
        self.labels.lock().clone()
    }

    /// What is said of it where it was found.
    pub(super) fn follow(&self, found: &Found) {
        self.weight.store(found.weight, Ordering::Relaxed);
        self.priority.store(found.priority, Ordering::Relaxed);
        self.labels.lock().clone_from(&found.labels);
    }

    /// Calls under way or waiting.
    #[inline]
    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// One more waits.
    pub(super) fn expect(&self) {
        self.load.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub(super) fn forgo(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// One more.
    #[inline]
    pub(super) fn enter(&self) {
        self.metrics.in_flight().inc();
        self.load.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    #[inline]
    pub(super) fn leave(&self) {
        self.metrics.in_flight().dec();
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// It was found to answer, or not to.
    pub(super) fn is_judged(&self) -> bool {
        self.state.load(Ordering::Relaxed) != 0
    }

    /// Calls may go there, and it is known that they can; one that is half-open may.
    pub(super) fn usable(&self) -> bool {
        self.state.load(Ordering::Relaxed) & !EJECTED == REACHED
            && self.breaker.circuit(Instant::now()).0 != Circuit::Open
    }

    /// What went wrong there, for who asks why it gets no calls.
    pub(super) fn note(&self, failure: &dyn fmt::Display) {
        let noted = LastFailure { cause: failure.to_string().into(), at: SystemTime::now() };
        *self.last_failure.lock() = Some(noted);
    }

    /// What went wrong there last.
    pub(super) fn last_failure(&self) -> Option<LastFailure> {
        self.last_failure.lock().clone()
    }

    /// It was connected to at some time.
    pub(super) fn was_reached(&self) -> bool {
        self.state.load(Ordering::Relaxed) & REACHED != 0
    }

    /// It was connected to, and could not be said to be down since.
    pub(super) fn reached(&self) -> bool {
        self.state.load(Ordering::Relaxed) & (REACHED | DOWN) == REACHED
    }

    pub(super) fn down(&self) -> bool {
        self.state.load(Ordering::Relaxed) & DOWN != 0
    }

    pub(super) fn healthy(&self) -> bool {
        self.state.load(Ordering::Relaxed) & UNHEALTHY == 0
    }

    /// True if that is news.
    pub(super) fn set_down(&self, down: bool) -> bool {
        if !down {
            self.set(REACHED, true);
        }
        let news = self.set(DOWN, down);
        if news && down {
            self.fell.notify_one();
        }
        news
    }

    /// Until it goes down, or has gone down since this was last awaited or forgotten.
    pub(super) async fn fell(&self) {
        self.fell.notified().await;
    }

    /// A connection of that time has broken. False if others had before, since it was made: however many workers there are, a cut
    /// is one.
    pub(super) fn breaks(&self, made: Instant) -> bool {
        follows(&self.broke, made)
    }

    /// A try that began then was overtaken. False if another was since: what stops all of them for a moment is one event.
    pub(super) fn lags(&self, began: Instant) -> bool {
        follows(&self.lagged, began)
    }

    /// A stream that began then has ended in a failure. False if another had since: what ends all of them at an instant, as the age of
    /// their connection does, is one event.
    pub(super) fn cuts(&self, began: Instant) -> bool {
        follows(&self.cut, began)
    }

    /// PINGs came too often for it, on a connection of that time. False if it had said so since.
    pub(super) fn wearies(&self, made: Instant) -> bool {
        let news = follows(&self.wearied, made);
        if news {
            self.weary.fetch_add(1, Ordering::Relaxed);
        }
        news
    }

    /// Another interval is wanted: what was learnt under the one before says nothing of it.
    pub(super) fn forget_weariness(&self) {
        *self.wearied.lock() = None;
        self.weary.store(0, Ordering::Relaxed);
    }

    /// How far apart its PINGs are where `interval` is wanted. Once it was too often they are as far apart as a server allows that was
    /// told nothing, since each try at less would end calls again; then twice as far each time.
    pub(super) fn spaced(&self, interval: Duration) -> Duration {
        let Some(doublings) = self.weary.load(Ordering::Relaxed).checked_sub(1) else { return interval };
        let learnt = interval.saturating_mul(2).max(ALLOWED).saturating_mul(1 << doublings.min(30));
        learnt.min(SELDOM.max(interval))
    }

    /// What was noted of its falls so far is old news.
    pub(super) fn forget_falls(&self) {
        // Takes the stored permit, if there is one.
        pin!(self.fell.notified()).enable();
    }

    /// True if that is news.
    pub(super) fn set_health(&self, health: Health) -> bool {
        let news = self.set(SILENT, health == Health::Silent);
        self.set(UNHEALTHY, health != Health::Serves) || news
    }

    /// It gets no calls only for having been silent: better that than nobody.
    pub(super) fn is_last_resort(&self) -> bool {
        self.state.load(Ordering::Relaxed) & (DOWN | UNHEALTHY | SILENT) == UNHEALTHY | SILENT
    }

    /// It gets no calls while its peers do.
    pub(super) fn ejected(&self) -> bool {
        self.state.load(Ordering::Relaxed) & EJECTED != 0
    }

    /// True if that is news.
    pub(super) fn set_ejected(&self, why: Option<Ejection>) -> bool {
        let news = self.set(EJECTED, why.is_some());
        if news {
            self.metrics.ejected(why);
        }
        news
    }

    /// Nothing leads to it any more: its connections close once they are idle.
    pub(super) fn retire(&self) {
        self.set(RETIRED, true);
        // One of the same address that comes back begins with neither.
        self.metrics.ejected(None);
        self.metrics.turned(Circuit::Closed);
        self.retired.cancel();
    }

    pub(super) async fn retired(&self) {
        self.retired.cancelled().await;
    }

    #[inline]
    pub(super) fn is_retired(&self) -> bool {
        self.state.load(Ordering::Relaxed) & RETIRED != 0
    }

    fn set(&self, bit: u8, on: bool) -> bool {
        let before = if on {
            self.state.fetch_or(bit, Ordering::Relaxed)
        } else {
            self.state.fetch_and(!bit, Ordering::Relaxed)
        };
        let news = (before & bit != 0) != on;
        if news {
            self.metrics.answers(self.state.load(Ordering::Relaxed) & (REACHED | DOWN | UNHEALTHY) == REACHED);
        }
        news
    }
}

/// What began then comes after the last event, and is the last one from now on.
fn follows(last: &Mutex<Option<Instant>>, began: Instant) -> bool {
    let mut last = last.lock();
    let news = last.is_none_or(|last| began > last);
    if news {
        *last = Some(Instant::now());
    }
    news
}
