//! GCRA, the generic cell rate algorithm (ITU-T I.371): a bucket that is one instant.
//!
//! A bucket holds permits and regains one each `step`. Instead of counting them it keeps the instant at which it will be
//! full again: a permit may be taken while that lies less than `room` ahead, and taking one moves it one `step` on.
//! `room` is the time in which an empty bucket fills, `burst × step`; so exactly `burst` go at once, from rest.
//!
//! Times are nanoseconds since an epoch of the caller's.

use std::time::Duration;

use crate::config;

/// What a bucket holds, and what becomes of those who ask an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The time in which one permit comes back.
    pub(super) step: u64,
    /// The time in which all come back.
    pub(super) room: u64,
    pub(super) penalty: Option<Penalty>,
}

/// Exponential back-off for repeated offenders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Penalty {
    pub(super) after: u32,
    pub(super) first: u64,
    pub(super) longest: u64,
}

impl Quota {
    /// The quota of a rate; without a burst, all of its permits may be taken at once.
    pub fn new(rate: config::Rate, burst: Option<usize>, penalty: Option<&config::Penalty>) -> Self {
        let permits = u64::from(rate.permits.get());
        // Rounded up: never more than the rate.
        let step = nanos(rate.period).div_ceil(permits);
        let burst = burst.map_or(permits, |burst| burst as u64);
        let penalty = penalty.map(|penalty| Penalty {
            after: u32::try_from(penalty.after).unwrap_or(u32::MAX),
            first: nanos(penalty.double),
            longest: nanos(penalty.max.max(penalty.double)),
        });
        Self { step, room: step.saturating_mul(burst), penalty }
    }

    /// Permits of a full bucket.
    pub fn burst(&self) -> u64 {
        self.room / self.step
    }

    /// The time in which an empty bucket fills.
    pub fn window(&self) -> Duration {
        Duration::from_nanos(self.room)
    }
}

/// A duration in nanoseconds; what is longer than five centuries is five centuries.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Who asks at the same moment may have read the clock so much sooner: that is no other quota.
const LATE: u64 = 1_000_000_000;

/// How a bucket answers who asks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Permits that the asker got: none is a refusal, by this bucket or by another that was asked with it.
    pub granted: u32,
    /// Permits that are left.
    pub remaining: u64,
    /// Until the next one; nothing while any is left.
    pub retry: Duration,
    /// Until it is full.
    pub reset: Duration,
}

impl Standing {
    /// Of a bucket that nobody has asked.
    pub(super) fn full(quota: &Quota) -> Self {
        Self { granted: 0, remaining: quota.burst(), retry: Duration::ZERO, reset: Duration::ZERO }
    }
}

/// One asker's permits. At rest it is as good as none at all, and is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bucket {
    /// When it is full.
    full: u64,
    /// Until when nothing is granted, as a penalty.
    shut: u64,
    /// When its offences are forgotten.
    forget: u64,
    offences: u32,
}

impl Bucket {
    /// How it stands; it would grant if `retry` is nothing.
    pub(super) fn standing(&mut self, quota: &Quota, now: u64) -> Standing {
        self.settle(quota, now);
        let owed = self.full.saturating_sub(now);
        let left = quota.room.saturating_sub(owed);
        let next = if left >= quota.step { 0 } else { (owed + quota.step).saturating_sub(quota.room) };
        let shut = self.shut.saturating_sub(now);
        Standing {
            granted: 0,
            remaining: if shut > 0 { 0 } else { left / quota.step },
            retry: Duration::from_nanos(next.max(shut)),
            reset: Duration::from_nanos(owed.max(shut)),
        }
    }

    /// Takes one permit, which [`Bucket::standing`] has said is there.
    pub(super) fn take(&mut self, quota: &Quota, now: u64) -> Standing {
        self.full = self.full.max(now) + quota.step;
        Standing { granted: 1, ..self.standing(quota, now) }
    }

    /// Notes that it has refused. Those who ask while it is shut change nothing: they may come as often as they like,
    /// and are let in when it is over.
    pub(super) fn refuse(&mut self, quota: &Quota, now: u64) -> Standing {
        if let Some(penalty) = quota.penalty.as_ref().filter(|_| self.shut <= now) {
            self.offences = if self.forget <= now { 1 } else { self.offences.saturating_add(1) };
            let doublings = self.offences.saturating_sub(penalty.after).min(63);
            self.shut = now;
            if self.offences >= penalty.after {
                self.shut += penalty.first.saturating_mul(1 << doublings).min(penalty.longest);
            }
            self.forget = self.shut + penalty.longest;
        }
        self.standing(quota, now)
    }

    /// What it owes by another quota, before a reload, is owed by this one: no more than it holds, no longer than a penalty
    /// lasts now. It is noted at once, so that time pays it off.
    fn settle(&mut self, quota: &Quota, now: u64) {
        let settled = |at: u64, most: u64| if at > most.saturating_add(LATE) { most } else { at };
        self.full = settled(self.full, now.saturating_add(quota.room));
        match &quota.penalty {
            None => (self.shut, self.forget, self.offences) = (0, 0, 0),
            Some(Penalty { longest, .. }) => {
                self.shut = settled(self.shut, now.saturating_add(*longest));
                self.forget = settled(self.forget, self.shut.max(now).saturating_add(*longest));
            }
        }
    }

    /// From when on it is at rest.
    pub(super) fn rests(&self) -> u64 {
        self.full.max(self.forget)
    }
}

#[cfg(test)]
mod tests;
