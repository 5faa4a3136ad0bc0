//! Outliers: endpoints that fail or are slow where their peers are not.
//!
//! Calls only count. Once in a while what was counted is compared, on the control thread: who stands out is ejected, which
//! is to say that it gets no calls for some time, the longer the more often it happens. A breaker looks at one endpoint and
//! at calls in a row; this looks at all of an upstream and at shares.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::endpoint::Endpoint;
use super::group::Group;
use super::tally::Tally;
use crate::config::OutlierEjection;
use crate::telemetry::Ejection;

/// Looks in the time of one window.
const LOOKS: u32 = 10;
/// A lag that is worth no ejection, whatever its factor.
const NOTICEABLE: Duration = Duration::from_millis(1);

impl Group {
    /// Compares the endpoints for as long as there is a rule to do it by.
    pub(super) async fn compare(self: Arc<Self>) {
        let mut rules = self.outliers.subscribe();
        let mut records = Records::default();
        loop {
            let rule = rules.borrow_and_update().clone();
            let changed = match rule {
                None => {
                    records.release(&self);
                    rules.changed().await
                }
                Some(rule) => {
                    let next = records.look(&rule, &self, Instant::now());
                    tokio::select! {
                        () = sleep_until(next.into()) => Ok(()),
                        changed = rules.changed() => changed,
                    }
                }
            };
            if changed.is_err() {
                return;
            }
        }
    }
}

/// What is known of an upstream's endpoints.
#[derive(Default)]
struct Records(Vec<Record>);

/// Of one endpoint.
struct Record {
    endpoint: Arc<Endpoint>,
    /// Its counts at the looks of one window, oldest first.
    past: VecDeque<(Instant, Tally)>,
    penalty: Penalty,
}

impl Records {
    /// Takes down what was counted, ejects who stands out, and lets those back in whose time is over. When to look again.
    fn look(&mut self, rule: &OutlierEjection, group: &Group, now: Instant) -> Instant {
        self.follow(rule, group);
        for record in &mut self.0 {
            if record.penalty.is_over(now) {
                // What it did before says nothing of it now.
                record.past.clear();
                group.roster.set_ejected(&record.endpoint, None);
            }
            record.penalty.fade(rule, now);
            record.note(rule, now);
        }
        let seen: Vec<_> = self.0.iter().map(Record::window).collect();
        for (place, why) in outliers(rule, &seen).into_iter().take(self.room(rule)) {
            let record = &mut self.0[place];
            let time = record.penalty.begin(rule, now);
            tracing::warn!(
                upstream = %group.name, endpoint = %record.endpoint.label, reason = why.name(), ?time,
                calls = seen[place].map(|seen| seen.calls), failures = seen[place].map(|seen| seen.failures),
                "endpoint ejected"
            );
            group.roster.set_ejected(&record.endpoint, Some(why));
        }
        let look = now + rule.window / LOOKS;
        self.0.iter().filter_map(|record| record.penalty.until).fold(look, Instant::min)
    }

    /// The endpoints as they are now; who stays keeps its record.
    fn follow(&mut self, rule: &OutlierEjection, group: &Group) {
        let all = group.roster.all();
        self.0.retain(|record| all.iter().any(|endpoint| endpoint.id == record.endpoint.id));
        for endpoint in all.iter() {
            endpoint.counts.set_timed(rule.latency_factor.is_some());
            if !self.0.iter().any(|record| record.endpoint.id == endpoint.id) {
                let endpoint = Arc::clone(endpoint);
                self.0.push(Record { endpoint, past: VecDeque::new(), penalty: Penalty::default() });
            }
        }
    }

    /// How many more may be ejected. Those that get no calls for another reason count as well; not those that never answered, such as
    /// addresses of a family for which there is no way.
    fn room(&self, rule: &OutlierEjection) -> usize {
        let known = || self.0.iter().filter(|record| record.endpoint.was_reached());
        let out = known().filter(|record| !record.is_in_rotation()).count();
        let most = known().count() * usize::from(rule.max_ejected.0) / 100;
        most.saturating_sub(out)
    }

    /// There is no rule any more.
    fn release(&mut self, group: &Group) {
        for record in self.0.drain(..) {
            record.endpoint.counts.set_timed(false);
            group.roster.set_ejected(&record.endpoint, None);
        }
    }
}

impl Record {
    fn is_in_rotation(&self) -> bool {
        self.endpoint.takes_calls() && !self.endpoint.ejected() && !self.endpoint.breaker.rests()
    }

    /// Takes down its counts, and forgets those from before the window.
    fn note(&mut self, rule: &OutlierEjection, now: Instant) {
        while self.past.get(1).is_some_and(|(then, _)| now.saturating_duration_since(*then) >= rule.window) {
            self.past.pop_front();
        }
        self.past.push_back((now, self.endpoint.counts.tally(&self.endpoint.metrics)));
    }

    /// What it did in the window; none while it gets no calls.
    fn window(&self) -> Option<Tally> {
        let ((_, first), (_, last)) = (self.past.front()?, self.past.back()?);
        self.is_in_rotation().then(|| last.since(first))
    }
}

/// How long an endpoint stays ejected.
#[derive(Debug, Default)]
struct Penalty {
    until: Option<Instant>,
    /// How often it was ejected of late.
    times: u32,
    /// Since when nothing was held against it.
    since: Option<Instant>,
}

impl Penalty {
    fn begin(&mut self, rule: &OutlierEjection, now: Instant) -> Duration {
        self.times = self.times.saturating_add(1);
        let time = rule.base_ejection_time.saturating_mul(self.times).min(rule.max_ejection_time);
        self.until = Some(now + time);
        time
    }

    /// True once.
    fn is_over(&mut self, now: Instant) -> bool {
        let over = self.until.is_some_and(|until| until <= now);
        if over {
            self.until = None;
            self.since = Some(now);
        }
        over
    }

    /// Each quiet time as long as the first ejection makes up for one.
    fn fade(&mut self, rule: &OutlierEjection, now: Instant) {
        if self.until.is_none()
            && self.since.is_some_and(|since| now.saturating_duration_since(since) >= rule.base_ejection_time)
        {
            self.times = self.times.saturating_sub(1);
            self.since = Some(now);
        }
    }
}

/// Who stands out by what each did in the window, the worst first.
fn outliers(rule: &OutlierEjection, seen: &[Option<Tally>]) -> Vec<(usize, Ejection)> {
    let volume = u64::try_from(rule.request_volume).unwrap_or(u64::MAX);
    let mut found = failing(rule, seen, volume);
    for place in slow(rule, seen, volume) {
        if !found.iter().any(|(known, _)| *known == place) {
            found.push((place, Ejection::Latency));
        }
    }
    found
}

/// Those that fail too often, while a quarter of all fail less than half as often.
fn failing(rule: &OutlierEjection, seen: &[Option<Tally>], volume: u64) -> Vec<(usize, Ejection)> {
    // In millionths, so that they are numbers with an order.
    let rates = worst_first(seen, |tally| {
        (tally.calls >= volume).then(|| tally.failures.min(tally.calls) * 1_000_000 / tally.calls.max(1))
    });
    // Of those that are well; a single endpoint has no peers.
    let Some((_, best)) = rates.iter().rev().nth(rates.len().saturating_sub(1) / 4).filter(|_| rates.len() > 1) else {
        return Vec::new();
    };
    let least = u64::from(rule.error_rate.0) * 10_000;
    let fails = |rate: u64| rate > 0 && rate >= least && rate > best * 2;
    rates.iter().take_while(|(_, rate)| fails(*rate)).map(|(place, _)| (*place, Ejection::Errors)).collect()
}

/// Those that take so many times as long as the median does.
fn slow(rule: &OutlierEjection, seen: &[Option<Tally>], volume: u64) -> Vec<usize> {
    let Some(factor) = rule.latency_factor else { return Vec::new() };
    let means = worst_first(seen, |tally| (tally.timed >= volume).then(|| tally.micros / tally.timed.max(1)));
    // Of two the faster one.
    let Some((_, median)) = means.get(means.len() / 2).filter(|_| means.len() > 1) else { return Vec::new() };
    let noticeable = u64::try_from(NOTICEABLE.as_micros()).unwrap_or(u64::MAX);
    let is_slow = |mean: u64| mean > median.saturating_mul(factor as u64) && mean - median >= noticeable;
    means.iter().take_while(|(_, mean)| is_slow(*mean)).map(|(place, _)| *place).collect()
}

fn worst_first(seen: &[Option<Tally>], measure: impl Fn(&Tally) -> Option<u64>) -> Vec<(usize, u64)> {
    let measured = |(place, tally): (usize, &Option<Tally>)| Some((place, measure(tally.as_ref()?)?));
    let mut all: Vec<_> = seen.iter().enumerate().filter_map(measured).collect();
    all.sort_by_key(|(_, measured)| std::cmp::Reverse(*measured));
    all
}

#[cfg(test)]
mod tests;
