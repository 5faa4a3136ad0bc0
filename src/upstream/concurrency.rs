//! Adaptive concurrency: how many calls an upstream is given at once, by how long its answers take.
//!
//! A service that has more to do than it can do at once only takes longer, and what waits in it helps nobody. So the
//! limit goes down in proportion as answers take longer than they need, and up a little at a time while they do not and
//! places are scarce. What they need is measured: the least that a window's middle call has taken. That is forgotten
//! from time to time and measured anew, with fewer calls at once if places are scarce by then, since a service that is
//! never left to breathe would hide what it could do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::AdaptiveConcurrency;
use crate::telemetry::UpstreamLimit;

/// The least time between two changes of the limit.
const WINDOW: Duration = Duration::from_millis(100);
/// Calls that a change of the limit needs at least.
const FEWEST: usize = 10;
/// Calls of a window that are remembered; its middle one is one of these.
const REMEMBERED: usize = 64;
/// How long the least latency is believed; the first one, which may have been found under load, not as long.
const BELIEVED: Duration = Duration::from_secs(30);
const FIRST_BELIEVED: Duration = Duration::from_secs(1);
/// How many times fewer calls, beside `tolerance`, a probe lets in: as many as the service can surely do at once.
const FEWER: f64 = 2.0;
/// Windows, once the calls of before have ended, of which the last says how long calls take with fewer at once.
const PROBE: u8 = 2;
/// What of `in_flight` a new upstream begins with. It doubles until something is slow.
const BEGINNING: usize = 8;

/// The limit of an upstream that follows its latency.
pub(super) struct Adaptive {
    rule: AdaptiveConcurrency,
    most: usize,
    limit: AtomicUsize,
    /// Streams in flight, which take places and say nothing of latency: the limit is of the calls beside them.
    streams: AtomicUsize,
    controller: Mutex<Controller>,
    told: UpstreamLimit,
}

impl Adaptive {
    /// For an upstream that may have so many calls at most; `previous` goes on if that has not changed.
    pub(super) fn new(
        rule: &AdaptiveConcurrency,
        most: usize,
        previous: Option<&Arc<Self>>,
        told: impl FnOnce() -> UpstreamLimit,
    ) -> Arc<Self> {
        if let Some(kept) = previous.filter(|kept| kept.rule == *rule && kept.most == most) {
            return Arc::clone(kept);
        }
        let controller = Controller::new(rule, most, Instant::now());
        let (limit, told) = (controller.limit(), told());
        told.set(limit);
        let rule = rule.clone();
        Arc::new(Self {
            rule,
            most,
            limit: AtomicUsize::new(limit),
            streams: AtomicUsize::new(0),
            controller: Mutex::new(controller),
            told,
        })
    }

    /// Calls that may be in flight now.
    #[inline]
    pub(super) fn limit(&self) -> usize {
        let streams = self.streams.load(Ordering::Relaxed);
        self.most.min(self.limit.load(Ordering::Relaxed) + streams)
    }

    /// A stream takes a place.
    pub(super) fn opened(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    /// And gives it back.
    pub(super) fn closed(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    /// A call has taken so long, and ended beside so many others. One that another thread is in the way of is passed
    /// over: no call waits for this.
    pub(super) fn took(&self, latency: Duration, in_flight: usize) {
        let calls = in_flight.saturating_sub(self.streams.load(Ordering::Relaxed));
        let Some(mut controller) = self.controller.try_lock() else { return };
        if let Some(limit) = controller.took(latency, calls, Instant::now()) {
            self.limit.store(limit, Ordering::Relaxed);
            self.told.set(limit);
        }
    }
}

/// The limit, and what it is made of. It knows no clock.
struct Controller {
    least: f64,
    most: f64,
    tolerance: f64,
    limit: f64,
    /// It has never had to go down: it doubles.
    young: bool,
    /// What calls need, in microseconds; none: it is to be measured.
    needed: Option<f64>,
    believed_until: Instant,
    /// Windows with fewer calls at once that are still to come.
    probing: u8,
    /// Until then those that began before them still end.
    settles: Instant,
    window: Window,
}

/// Calls between two changes.
struct Window {
    began: Instant,
    /// The last of them, in microseconds.
    latencies: [u32; REMEMBERED],
    calls: usize,
    /// Calls in flight at most.
    peak: usize,
}

impl Controller {
    fn new(rule: &AdaptiveConcurrency, most: usize, now: Instant) -> Self {
        let least = rule.min.min(most);
        Self {
            least: float(least),
            most: float(most),
            tolerance: float(rule.tolerance),
            limit: float((most / BEGINNING).max(least)),
            young: true,
            needed: None,
            believed_until: now + FIRST_BELIEVED,
            probing: 0,
            settles: now,
            window: Window::new(now),
        }
    }

    /// Calls that may be in flight.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between `least` and `most`, which are usize"
    )]
    fn limit(&self) -> usize {
        let limit = if self.probing > 0 { (self.limit / (self.tolerance * FEWER)).max(1.0) } else { self.limit };
        limit as usize
    }

    /// A call has ended; a new limit, if that was the last of its window.
    fn took(&mut self, latency: Duration, in_flight: usize, now: Instant) -> Option<usize> {
        self.window.add(latency, in_flight);
        if self.window.calls < FEWEST || now.saturating_duration_since(self.window.began) < WINDOW {
            return None;
        }
        let window = std::mem::replace(&mut self.window, Window::new(now));
        let peak = window.peak;
        self.turn(window.middle(), peak, now);
        Some(self.limit())
    }

    /// A window has ended: its middle call took so long.
    fn turn(&mut self, latency: f64, peak: usize, now: Instant) {
        if self.probing > 0 {
            if now < self.settles {
                return;
            }
            self.probing -= 1;
            if self.probing == 0 {
                self.believe(latency, now);
            }
            return;
        }
        let scarce = float(peak) >= self.limit * 0.75;
        if now >= self.believed_until {
            if scarce {
                self.probing = PROBE;
                self.settles = now + Duration::from_secs_f64(latency / 1e6);
                return;
            }
            self.believe(latency, now);
        }
        let needed = self.needed.map_or(latency, |needed| needed.min(latency));
        self.needed = Some(needed);
        let may_take = needed * self.tolerance;
        if latency > may_take {
            self.young = false;
            self.limit *= (may_take / latency).max(0.5);
        } else if scarce {
            self.limit += if self.young { self.limit } else { self.limit.sqrt() };
        }
        self.limit = self.limit.clamp(self.least, self.most);
    }

    fn believe(&mut self, latency: f64, now: Instant) {
        self.needed = Some(latency);
        self.believed_until = now + BELIEVED;
    }
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { began: now, latencies: [0; REMEMBERED], calls: 0, peak: 0 }
    }

    fn add(&mut self, latency: Duration, in_flight: usize) {
        self.latencies[self.calls % REMEMBERED] = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX).max(1);
        self.calls += 1;
        self.peak = self.peak.max(in_flight);
    }

    /// What the middle one of those that are remembered took.
    fn middle(mut self) -> f64 {
        let remembered = &mut self.latencies[..self.calls.min(REMEMBERED)];
        let middle = remembered.len() / 2;
        f64::from(*remembered.select_nth_unstable(middle).1)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
