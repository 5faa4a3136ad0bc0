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

/// Which probes belong together: what those of an earlier round come to says nothing any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Round(u32);

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// So many calls in a row have failed.
    Admitting {
        failures: usize,
    },
    Refusing {
        until: Instant,
    },
    /// Of the calls that were let through since then so many are under way, and so many were served.
    Probing {
        since: Instant,
        under_way: usize,
        served: usize,
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

    /// A call was served, as a probe of a round or as none. The state that follows, if that is another.
    #[inline]
    pub(super) fn served(&self, probe: Option<Round>) -> Option<Circuit> {
        if self.calm.load(Ordering::Relaxed) { None } else { self.served_after_failures(probe) }
    }

    #[cold]
    fn served_after_failures(&self, probe: Option<Round>) -> Option<Circuit> {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Admitting { .. } => {
                self.enter(&mut state, Phase::Admitting { failures: 0 });
                None
            }
            Phase::Probing { since, under_way, served } if probe == Some(state.round) => {
                let served = served + 1;
                if state.rule.as_ref().is_some_and(|rule| served < rule.probes) {
                    let under_way = under_way.saturating_sub(1);
                    self.enter(&mut state, Phase::Probing { since, under_way, served });
                    return None;
                }
                self.enter(&mut state, Phase::Admitting { failures: 0 });
                Some(Circuit::Closed)
            }
            // A call of before says nothing of now.
            Phase::Probing { .. } | Phase::Refusing { .. } => None,
        }
    }

    /// A call has failed by the endpoint's own fault. The state that follows, if that is another.
    #[cold]
    pub(super) fn failed(&self, probe: Option<Round>, now: Instant) -> Option<Circuit> {
        let mut state = self.state.lock();
        let rule = state.rule.as_ref()?;
        let (most, open) = (rule.failures, Phase::Refusing { until: now + rule.open_for });
        match state.phase {
            Phase::Admitting { failures } if failures + 1 < most => {
                self.enter(&mut state, Phase::Admitting { failures: failures + 1 });
                None
            }
            Phase::Probing { .. } if probe != Some(state.round) => None,
            Phase::Refusing { .. } => None,
            Phase::Admitting { .. } | Phase::Probing { .. } => {
                self.enter(&mut state, open);
                Some(Circuit::Open)
            }
        }
    }

    /// Lets a call through to see how it fares, if it is time and not too many are: as one of this round.
    #[cold]
    pub(super) fn probe(&self, now: Instant) -> Option<Round> {
        let mut state = self.state.lock();
        let CircuitBreaker { probes, open_for, .. } = state.rule.clone()?;
        let next = Round(state.round.0.wrapping_add(1));
        let fresh = (Phase::Probing { since: now, under_way: 1, served: 0 }, next);
        let (phase, round) = match state.phase {
            Phase::Admitting { .. } => return None,
            Phase::Refusing { until } if now < until => return None,
            Phase::Refusing { .. } => fresh,
            Phase::Probing { since, under_way, served } if under_way + served < probes => {
                (Phase::Probing { since, under_way: under_way + 1, served }, state.round)
            }
            // Those that were let through have said nothing for so long: others may say more.
            Phase::Probing { since, .. } if now.saturating_duration_since(since) >= open_for => fresh,
            Phase::Probing { .. } => return None,
        };
        state.round = round;
        self.enter(&mut state, phase);
        Some(round)
    }

    /// A probe has ended and shown nothing.
    pub(super) fn released(&self, probe: Round) {
        let mut state = self.state.lock();
        let of_now = state.round == probe;
        if let Phase::Probing { under_way, .. } = &mut state.phase
            && of_now
        {
            *under_way = under_way.saturating_sub(1);
        }
    }

    /// The endpoint was gone or ill, and is not any more: no need to wait for the rest of the time.
    pub(super) fn recovered(&self, now: Instant) {
        let mut state = self.state.lock();
        if let Phase::Refusing { until } = &mut state.phase {
            *until = now.min(*until);
        }
    }

    /// Only probes go there.
    pub(super) fn rests(&self) -> bool {
        !self.calm.load(Ordering::Relaxed) && !matches!(self.state.lock().phase, Phase::Admitting { .. })
    }

    /// Its state, and how long until it changes by itself.
    pub(super) fn circuit(&self, now: Instant) -> (Circuit, Duration) {
        if self.calm.load(Ordering::Relaxed) {
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
