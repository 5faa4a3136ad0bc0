//! Timer wheel: the deadlines of all of a worker's calls under one sleep.
//!
//! A deadline is almost never reached, so what must be cheap is to set one and to take it back: both are O(1) on a
//! hashed wheel (Varghese and Lauck), with no task and no entry in the runtime's own timers. The one sleep behind
//! it waits for the next *occupied* slot, so that an idle or evenly loaded worker is hardly ever woken by it. A deadline
//! fires at most one [`TICK`] late, never early.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::Notify;

use super::failure::{Failure, FailureKind, Seen};

/// The wheel's resolution in milliseconds.
const TICK: u64 = 4;
/// Slots of the wheel; a deadline further away than `SLOTS` ticks stays in its slot for more than one turn.
const SLOTS: usize = 2048;
/// No entry.
const NONE: usize = usize::MAX;
/// A timer that has no entry yet.
const UNSET: u32 = u32::MAX;

/// A worker's deadlines.
#[derive(Clone)]
pub(super) struct Wheel(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    /// A deadline came in before the one that is slept for.
    earlier: Notify,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared { inner: Mutex::new(Inner::new(Instant::now())), earlier: Notify::new() }))
    }

    /// A timer for one deadline. It costs nothing until it is first polled.
    pub(super) fn timer(&self, deadline: Instant) -> Timer {
        Timer { wheel: self.clone(), deadline, key: UNSET, of: Ending::Deadline }
    }

    /// There is no more time: every timer fires, those that are still to come too.
    pub(super) fn stop(&self) {
        let due = self.0.inner.lock().stop();
        due.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.inner.lock().stopped
    }

    /// Sleeps from one occupied slot to the next, and ends when no deadline is left.
    async fn turn(self) {
        loop {
            let Some(next) = self.0.inner.lock().next() else { return };
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = self.0.earlier.notified() => {}
            }
            let due = self.0.inner.lock().advance(Instant::now());
            due.into_iter().for_each(Waker::wake);
        }
    }
}

/// One call's deadline; dropping it takes it back.
pub(super) struct Timer {
    wheel: Wheel,
    deadline: Instant,
    /// Its entry; small, as every call's future holds one of these.
    key: u32,
    of: Ending,
}

/// What has come when a timer fires.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// The call's deadline.
    Deadline,
    /// The age that streams may have.
    Age,
}

impl Timer {
    /// The same, for the age that a stream may have.
    pub(super) fn of_age(mut self) -> Self {
        self.of = Ending::Age;
        self
    }

    /// What becomes of a call when it has fired.
    pub(super) fn failure(&self) -> Failure {
        match self.of {
            _ if self.wheel.is_stopped() => Failure::new(Seen::Local, FailureKind::Draining, "the gateway stops"),
            Ending::Deadline => Failure::deadline(),
            Ending::Age => Failure::new(Seen::Local, FailureKind::Aged, "the stream is as old as it may grow"),
        }
    }

    /// Its time is over, whether it was polled or not.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline || self.wheel.is_stopped()
    }

    /// Its time is as good as over: who has waited for the same instant may have seen it pass a little earlier.
    pub(super) fn is_nearly_over(&self) -> bool {
        const NEARLY: Duration = Duration::from_millis(25);
        Instant::now() + NEARLY >= self.deadline
    }

    /// Ready once the deadline has passed. To be asked only after the work itself was found to be pending.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.wheel.0.inner.lock();
        if self.key != UNSET {
            return inner.check(self.key as usize, cx.waker());
        }
        if inner.stopped {
            return Poll::Ready(());
        }
        let key = inner.insert(self.deadline, cx.waker().clone());
        // There is no memory for so many timers.
        self.key = u32::try_from(key).unwrap_or(UNSET);
        let idle = !std::mem::replace(&mut inner.turning, true);
        let earlier = inner.entries[key].tick < inner.until;
        drop(inner);
        if idle {
            tokio::spawn(self.wheel.clone().turn());
        } else if earlier {
            self.wheel.0.earlier.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if self.key != UNSET {
            self.wheel.0.inner.lock().remove(self.key as usize);
        }
    }
}

struct Inner {
    start: Instant,
    /// Ticks up to and including this one have fired.
    now: u64,
    /// First entry of each slot's list.
    slots: Box<[usize]>,
    /// One bit a slot: its list is not empty.
    occupied: [u64; SLOTS / 64],
    entries: Slab<Entry>,
    /// A task turns the wheel.
    turning: bool,
    /// The tick that the turning task sleeps for.
    until: u64,
    /// All have fired, and whoever comes has no time.
    stopped: bool,
}

struct Entry {
    tick: u64,
    next: usize,
    previous: usize,
    /// None: it has fired and is in no list.
    waker: Option<Waker>,
}

impl Inner {
    fn new(start: Instant) -> Self {
        Self {
            start,
            now: 0,
            slots: vec![NONE; SLOTS].into(),
            occupied: [0; SLOTS / 64],
            entries: Slab::new(),
            turning: false,
            until: 0,
            stopped: false,
        }
    }

    fn insert(&mut self, deadline: Instant, waker: Waker) -> usize {
        let after = deadline.saturating_duration_since(self.start).as_micros();
        // Rounded up: a deadline never fires early.
        let tick = u64::try_from(after.div_ceil(u128::from(TICK) * 1000)).unwrap_or(u64::MAX).max(self.now + 1);
        let slot = slot(tick);
        let next = self.slots[slot];
        let key = self.entries.insert(Entry { tick, next, previous: NONE, waker: Some(waker) });
        if next != NONE {
            self.entries[next].previous = key;
        }
        self.slots[slot] = key;
        self.occupied[slot / 64] |= 1 << (slot % 64);
        key
    }

    fn check(&mut self, key: usize, waker: &Waker) -> Poll<()> {
        let Some(held) = &mut self.entries[key].waker else { return Poll::Ready(()) };
        held.clone_from(waker);
        Poll::Pending
    }

    fn remove(&mut self, key: usize) {
        if self.entries[key].waker.is_some() {
            self.unlink(key);
        }
        self.entries.remove(key);
    }

    fn unlink(&mut self, key: usize) {
        let Entry { tick, next, previous, .. } = self.entries[key];
        let slot = slot(tick);
        match previous {
            NONE => self.slots[slot] = next,
            previous => self.entries[previous].next = next,
        }
        if next != NONE {
            self.entries[next].previous = previous;
        }
        if self.slots[slot] == NONE {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
    }

    /// Fires all that there are.
    fn stop(&mut self) -> Vec<Waker> {
        self.stopped = true;
        let keys: Vec<_> = self.entries.iter().filter(|(_, entry)| entry.waker.is_some()).map(|(key, _)| key).collect();
        for key in &keys {
            self.unlink(*key);
        }
        keys.into_iter().filter_map(|key| self.entries[key].waker.take()).collect()
    }

    /// When the next occupied slot is due; none, and the wheel stands still, without entries.
    fn next(&mut self) -> Option<Instant> {
        let from = slot(self.now + 1);
        let ahead = (0..=SLOTS / 64).find_map(|words| {
            let word = (from / 64 + words) % (SLOTS / 64);
            let bits = match words {
                0 => self.occupied[word] & (u64::MAX << (from % 64)),
                _ => self.occupied[word],
            };
            (bits != 0).then(|| (word * 64 + bits.trailing_zeros() as usize + SLOTS - from) % SLOTS)
        });
        let Some(ahead) = ahead else {
            self.turning = false;
            return None;
        };
        self.until = self.now + 1 + ahead as u64;
        Some(self.start + Duration::from_millis(self.until * TICK))
    }

    /// Fires what is due at `now`; the wakers are for the caller to wake without the lock.
    fn advance(&mut self, now: Instant) -> Vec<Waker> {
        let elapsed = now.saturating_duration_since(self.start).as_millis();
        let ticks = u64::try_from(elapsed).unwrap_or(u64::MAX) / TICK;
        let mut due = Vec::new();
        // One turn passes every slot, however long the sleep was.
        for tick in self.now + 1..=ticks.min(self.now + SLOTS as u64) {
            let mut key = self.slots[slot(tick)];
            while key != NONE {
                let next = self.entries[key].next;
                if self.entries[key].tick <= ticks {
                    self.unlink(key);
                    due.extend(self.entries[key].waker.take());
                }
                key = next;
            }
        }
        self.now = self.now.max(ticks);
        due
    }
}

fn slot(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests;
