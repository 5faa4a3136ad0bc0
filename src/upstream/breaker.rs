//! Breaker: whether an endpoint's own answers still earn it calls.
//!
//! Admitting until so many calls in a row have failed; then Refusing for a while; then Probing: a few calls are let
//! through, and it admits again when all of them were served. Outside these are called closed, open and half-open.
//!
//! An endpoint that cannot be connected to is down besides: it gets no calls, and is asked beside them until it answers. Each
//! attempt at a connection for calls that fails counts here too, and so does each call that is refused because all are
//! down: so an upstream that is gone shows as open.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::CircuitBreaker;
use crate::telemetry::Circuit;

/// One endpoint's, shared by all workers.
#[derive(Debug)]
pub(super) struct Breaker {
    /// It admits, and the last call was served: all that another call which is served looks at.
    calm: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// None: it always admits.
    rule: Option<CircuitBreaker>,
    phase: Phase,
    /// That began last.
    round: Round,
}

/// How soon another stream may prove what the one before has not: it may be one that waits for its client.
const QUIET: Duration = Duration::from_secs(1);

/// Which probes belong together: what those of an earlier round come to says nothing any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Round(u32);

/// A probe that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    round: Round,
    /// Nobody but the service is waited for.
    pub(super) due: bool,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// So many calls in a row have failed.
    Admitting {
        failures: usize,
    },
    Refusing {
        until: Instant,
    },
    /// Of the calls that were let through since then so many whose answer is due are under way, and so many of all were served.
    Probing {
        since: Instant,
        under_way: usize,
        served: usize,
        /// When the last one went that may say nothing for long.
        quiet: Option<Instant>,
    },
}

impl Breaker {
    pub(super) fn new(rule: Option<CircuitBreaker>) -> Self {
        let phase = Phase::Admitting { failures: 0 };
        Self { calm: AtomicBool::new(true), state: Mutex::new(State { rule, phase, round: Round::default() }) }
    }

    /// What is configured now; without a rule, or with a new one, it starts anew. True if that is news.
    pub(super) fn follow(&self, rule: Option<&CircuitBreaker>) -> bool {
        let mut state = self.state.lock();
        let news = state.rule.as_ref() != rule;
        if news {
            state.rule = rule.cloned();
            self.enter(&mut state, Phase::Admitting { failures: 0 });
        }
        news
    }

    /// A call was served, as a probe or as none. The state that follows, if that is another.
    #[inline]
    pub(super) fn served(&self, probe: Option<Pass>) -> Option<Circuit> {
        if self.is_calm() { None } else { self.served_after_failures(probe) }
    }

    #[cold]
    fn served_after_failures(&self, probe: Option<Pass>) -> Option<Circuit> {
        let mut state = self.state.lock();
        let of_now = probe.filter(|probe| probe.round == state.round);
        match (state.phase, of_now) {
            (Phase::Admitting { .. }, _) => {
                self.enter(&mut state, Phase::Admitting { failures: 0 });
                None
            }
            (Phase::Probing { since, under_way, served, quiet }, Some(probe)) => {
                let served = served + 1;
                if state.rule.as_ref().is_some_and(|rule| served < rule.probes) {
                    let under_way = under_way.saturating_sub(probe.due.into());
                    let quiet = quiet.filter(|_| probe.due);
                    self.enter(&mut state, Phase::Probing { since, under_way, served, quiet });
                    return None;
                }
                self.enter(&mut state, Phase::Admitting { failures: 0 });
                Some(Circuit::Closed)
            }
            // A call of before says nothing of now.
            (Phase::Probing { .. } | Phase::Refusing { .. }, _) => None,
        }
    }

    /// A call has failed by the endpoint's own fault. The state that follows, if that is another.
    #[cold]
    pub(super) fn failed(&self, probe: Option<Pass>, now: Instant) -> Option<Circuit> {
        let mut state = self.state.lock();
        let rule = state.rule.as_ref()?;
        let (most, open) = (rule.failures, Phase::Refusing { until: now + rule.open_for });
        match state.phase {
            Phase::Admitting { failures } if failures + 1 < most => {
                self.enter(&mut state, Phase::Admitting { failures: failures + 1 });
                None
            }
            Phase::Probing { .. } if probe.is_none_or(|probe| probe.round != state.round) => None,
            Phase::Refusing { .. } => None,
            Phase::Admitting { .. } | Phase::Probing { .. } => {
                self.enter(&mut state, open);
                Some(Circuit::Open)
            }
        }
    }

    /// Lets a call through to see how it fares, if it is time and not too many are. `due`: nobody but the service is to be waited
    /// for. Others, which may say nothing for as long as their clients say nothing, go one at a time, and take nobody's place.
    #[cold]
    pub(super) fn probe(&self, now: Instant, due: bool) -> Option<Pass> {
        let mut state = self.state.lock();
        let CircuitBreaker { probes, open_for, .. } = state.rule.clone()?;
        let next = Round(state.round.0.wrapping_add(1));
        let fresh = Phase::Probing { since: now, under_way: due.into(), served: 0, quiet: (!due).then_some(now) };
        let rested = |since: Instant, time: Duration| now.saturating_duration_since(since) >= time;
        let (phase, round) = match state.phase {
            Phase::Admitting { .. } => return None,
            Phase::Refusing { until } if now < until => return None,
            Phase::Refusing { .. } => (fresh, next),
            Phase::Probing { since, under_way, served, quiet } if due && under_way + served < probes => {
                let since = if under_way + served == 0 { now } else { since };
                (Phase::Probing { since, under_way: under_way + 1, served, quiet }, state.round)
            }
            Phase::Probing { since, under_way, served, quiet }
                if under_way + served < probes && quiet.is_none_or(|quiet| rested(quiet, QUIET.min(open_for))) =>
            {
                (Phase::Probing { since, under_way, served, quiet: Some(now) }, state.round)
            }
            // Those that were let through have said nothing for so long: others may say more.
            Phase::Probing { since, under_way, .. } if under_way > 0 && rested(since, open_for) => (fresh, next),
            Phase::Probing { .. } => return None,
        };
        state.round = round;
        self.enter(&mut state, phase);
        Some(Pass { round, due })
    }

    /// The client of a probe has yet to speak: it takes nobody's place any more.
    #[cold]
    pub(super) fn quiet(&self, probe: Pass, now: Instant) -> Pass {
        let mut state = self.state.lock();
        let of_now = state.round == probe.round;
        if let Phase::Probing { under_way, quiet, .. } = &mut state.phase
            && of_now
        {
            *under_way = under_way.saturating_sub(probe.due.into());
            *quiet = Some(now);
        }
        Pass { due: false, ..probe }
    }

    /// A probe has ended and shown nothing.
    pub(super) fn released(&self, probe: Pass) {
        let mut state = self.state.lock();
        let of_now = state.round == probe.round;
        if let Phase::Probing { under_way, quiet, .. } = &mut state.phase
            && of_now
        {
            match probe.due {
                true => *under_way = under_way.saturating_sub(1),
                false => *quiet = None,
            }
        }
    }

    /// The endpoint was gone or ill, and is not any more: no need to wait for the rest of the time.
    pub(super) fn recovered(&self, now: Instant) {
        let mut state = self.state.lock();
        if let Phase::Refusing { until } = &mut state.phase {
            *until = now.min(*until);
        }
    }

    /// It admits, and nothing has failed since a call was served.
    #[inline]
    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// A call that has lasted so long, and goes on, makes up for what has failed.
    #[cold]
    pub(super) fn forgets(&self, lasted: Duration) -> bool {
        self.state.lock().rule.as_ref().is_some_and(|rule| lasted >= rule.open_for)
    }

    /// Only probes go there.
    pub(super) fn rests(&self) -> bool {
        !self.is_calm() && !matches!(self.state.lock().phase, Phase::Admitting { .. })
    }

    /// Its state, and how long until it changes by itself.
    pub(super) fn circuit(&self, now: Instant) -> (Circuit, Duration) {
        if self.is_calm() {
            return (Circuit::Closed, Duration::ZERO);
        }
        match self.state.lock().phase {
            Phase::Admitting { .. } => (Circuit::Closed, Duration::ZERO),
            Phase::Refusing { until } if now < until => (Circuit::Open, until - now),
            Phase::Refusing { .. } | Phase::Probing { .. } => (Circuit::HalfOpen, Duration::ZERO),
        }
    }

    fn enter(&self, state: &mut State, phase: Phase) {
        state.phase = phase;
        self.calm.store(matches!(phase, Phase::Admitting { failures: 0 }), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
