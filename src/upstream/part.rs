//! Part: endpoints that take the same calls, all of an upstream's or those of a subset, and whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::attempt::Probe;
use super::balance::Ways;
use super::endpoint::Endpoint;
use super::turns::{self, Member, Turns};
use super::warmth::WARM;
use super::{Aim, zone};
use crate::telemetry::Circuit;

/// How often an endpoint is drawn for a try that is not the first, before the next one that is left is taken.
const DRAWS: usize = 8;

/// They, as of now; made anew with the list.
pub(super) struct Part {
    /// Those that take them.
    pub(super) live: Vec<Arc<Endpoint>>,
    /// Those that would, but for their breakers: they get probes.
    pub(super) resting: Vec<Arc<Endpoint>>,
    /// Of those that take them.
    turns: Turns,
    /// What outlasts it.
    pub(super) cursors: Arc<Cursors>,
}

/// What has taken turns so far. Tries that follow a first one have turns of their own: with two endpoints of which one fails they
/// would else fall into step, and each first try would go to the one that fails.
#[derive(Default)]
pub(super) struct Cursors {
    first: AtomicUsize,
    further: AtomicUsize,
}

impl Default for Part {
    fn default() -> Self {
        Self { live: Vec::new(), resting: Vec::new(), turns: Turns::Equal, cursors: Arc::default() }
    }
}

/// A call as far as it matters who is next for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seeks<'t> {
    /// Where it has been.
    pub(super) tried: &'t [usize],
    pub(super) aim: Aim,
    /// Nobody but the service is to be waited for until it is answered.
    pub(super) due: bool,
    /// It was nowhere yet.
    pub(super) first: bool,
}

/// One of them, and how often its turn comes.
pub(super) type Weighed = (Arc<Endpoint>, u32);

impl Part {
    pub(super) fn new(ways: &Ways, all: &[Weighed], cursors: Arc<Cursors>) -> Self {
        let rests = |(endpoint, _): &Weighed| endpoint.breaker.rests();
        let takes_calls = all.iter().filter(|(endpoint, _)| endpoint.takes_calls()).cloned();
        let (ejected, fit): (Vec<_>, Vec<_>) = takes_calls.partition(|(endpoint, _)| endpoint.ejected());
        let (mut resting, mut live): (Vec<_>, Vec<_>) = fit.into_iter().partition(rests);
        if live.is_empty() {
            // Better one that stands out than nobody.
            let (rest, others): (Vec<_>, Vec<_>) = ejected.into_iter().partition(rests);
            resting.extend(rest);
            live = others;
        }
        if live.is_empty() && resting.is_empty() {
            // All at once silent: it may well be us, or the way.
            let silent = all.iter().filter(|(endpoint, _)| endpoint.is_last_resort()).cloned();
            (resting, live) = silent.partition(rests);
        }
        let first = live.iter().map(|(endpoint, _)| endpoint.priority()).min();
        live.retain(|(endpoint, _)| Some(endpoint.priority()) == first);
        resting.retain(|(endpoint, _)| first.is_none_or(|first| endpoint.priority() <= first));
        if let Some(zone) = &ways.zone {
            prefer(zone, &mut live, all.iter().filter(|(endpoint, _)| Some(endpoint.priority()) == first));
        }
        let members = live.iter().map(|(endpoint, weight)| Member { name: &endpoint.label, weight: *weight });
        let turns = Turns::new(&ways.balance, &members.collect::<Vec<_>>());
        let only = |members: Vec<Weighed>| members.into_iter().map(|(endpoint, _)| endpoint).collect();
        Self { live: only(live), resting: only(resting), turns, cursors }
    }

    /// The place of the one whose turn it is among those that take calls.
    #[inline]
    pub(super) fn pick(&self, seeks: Seeks<'_>) -> Option<usize> {
        if self.live.is_empty() {
            return None;
        }
        match seeks.first {
            true => self.turn(&self.cursors.first, seeks, |at| !seeks.tried.contains(&self.live[at].id)),
            false => self.draw(seeks),
        }
    }

    /// The same for a try that is not the first: drawn anew where it has been, so that what is left shares them.
    #[cold]
    fn draw(&self, seeks: Seeks<'_>) -> Option<usize> {
        let (further, open) = (&self.cursors.further, |at: usize| !seeks.tried.contains(&self.live[at].id));
        let mut drawn = (0..DRAWS).map_while(|_| self.turn(further, seeks, |_| true));
        drawn.find(|at| open(*at)).or_else(|| self.turn(further, seeks, open))
    }

    #[inline]
    fn turn(&self, cursor: &AtomicUsize, seeks: Seeks<'_>, open: impl Fn(usize) -> bool) -> Option<usize> {
        let turn = cursor.fetch_add(1, Ordering::Relaxed);
        let key = seeks.aim.key.map(|key| turns::scatter(key.get().into()));
        self.turns.pick(self.live.len(), turn, key, |at| self.live[at].load(), open)
    }

    /// One that is to prove itself now.
    #[inline]
    pub(super) fn probe(&self, seeks: Seeks<'_>) -> Option<(&Arc<Endpoint>, Probe)> {
        if self.resting.is_empty() {
            return None;
        }
        let mut untried = self.resting.iter().filter(|endpoint| !seeks.tried.contains(&endpoint.id));
        let found = untried.find_map(|endpoint| Some((endpoint, Probe::of(endpoint, seeks.due, Instant::now())?)))?;
        found.0.metrics.turned(Circuit::HalfOpen);
        Some(found)
    }
}

/// Those near by get what they can take, and the others the rest. `all` are those of the same priority, also such that take
/// no calls now.
fn prefer<'e>(zone: &str, live: &mut Vec<Weighed>, all: impl Iterator<Item = &'e Weighed>) {
    let is_near = |endpoint: &Endpoint| endpoint.labels().named("zone") == Some(zone);
    let near = all.filter(|(endpoint, _)| is_near(endpoint));
    let near = near.map(|(endpoint, _)| u64::from(endpoint.weight()) * u64::from(WARM)).sum();
    let members: Vec<_> = live.iter().map(|(endpoint, weight)| (is_near(endpoint), *weight)).collect();
    for (member, weight) in live.iter_mut().zip(zone::weights(near, &members)) {
        member.1 = weight;
    }
    live.retain(|(_, weight)| *weight > 0);
}
