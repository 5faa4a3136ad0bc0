//! Pick: which endpoint is next for a call, and a stream to it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::attempt::{Attempt, Probe, outcome};
use super::balance::Roster;
use super::endpoint::Endpoint;
use super::failure::{Failure, FailureKind, Seen};
use super::part::Seeks;
use super::pool::{Acquired, Grant, Lease, Pool, Wait};
use super::wheel::Timer;
use super::{Aim, Outgoing, Upstream};
use crate::telemetry::Circuit;

/// Connections that may go away under one call before that counts against their endpoints.
const DRAINED: u8 = 3;
/// Endpoints that may refuse one call: more of them are too many of their kind, and asking all is what keeps them so.
const REFUSALS: u8 = 3;
/// Pause before the only endpoint there is gets a call that it has refused once more: some servers count a stream until its end
/// is written, and refuse who comes in its place that soon.
const REFUSED: Duration = Duration::from_millis(5);
/// Endpoints that one call may find unreachable.
const UNREACHED: u8 = 10;
/// When to come again while the probe of an open breaker is under way.
const PROBE: Duration = Duration::from_secs(1);

/// A call on its way to an endpoint.
pub(super) struct Sending<'c, 'r> {
    pub(super) pool: &'c Pool,
    pub(super) outgoing: &'c mut Outgoing<'r>,
    pub(super) tries: Tries,
    /// Of its deadline, or a try's.
    pub(super) timer: Timer,
}

impl<'c, 'r> Sending<'c, 'r> {
    /// It has been nowhere yet.
    pub(super) fn new(pool: &'c Pool, outgoing: &'c mut Outgoing<'r>) -> Self {
        Self { pool, tries: Tries::new(outgoing), timer: outgoing.timer(pool), outgoing }
    }
}

/// Where a call has been, and why it is not there any more.
pub(super) struct Tries {
    endpoints: SmallVec<[usize; 2]>,
    /// How often a connection went away under it. That is not the endpoint's refusal, which may be asked again.
    drained: u8,
    /// How many endpoints have refused it, and how many could not be reached.
    refused: u8,
    unreached: u8,
    /// A connection was ended with an error under it: that may have been for this call.
    expelled: bool,
    last: Option<Box<Failure>>,
    /// Which endpoints it may go to.
    aim: Aim,
    /// The call's deadline; a try's may be shorter.
    pub(super) deadline: Instant,
    /// That one is not of the client's making.
    pub(super) patient: bool,
    /// What is awaited of it is not all of its reply.
    pub(super) goes_on: bool,
    /// Nobody but the service is to be waited for until all of that is there.
    pub(super) due: bool,
    /// No endpoint has had its turn for it yet.
    first: bool,
    /// Tries that have begun at an endpoint, whoever makes them.
    pub(super) begun: u16,
    /// Tries that a rule has counted.
    pub(super) made: u16,
    /// Where it has failed it may go again, if there is nowhere else.
    pub(super) again: bool,
    /// It was sent somewhere: it counts as a call of which some may be retries.
    pub(super) counted: bool,
    /// It has waited for what a probe comes to.
    pub(super) waited: bool,
    /// Who has seen it, and has not answered as it should.
    seen_at: Option<Arc<str>>,
}

impl Tries {
    /// None yet.
    pub(super) fn new(outgoing: &Outgoing<'_>) -> Self {
        Self {
            endpoints: SmallVec::new(),
            drained: 0,
            refused: 0,
            unreached: 0,
            expelled: false,
            last: None,
            aim: outgoing.aim,
            deadline: outgoing.deadline,
            patient: outgoing.patient,
            goes_on: false,
            due: outgoing.single,
            first: true,
            begun: 0,
            made: 0,
            again: false,
            counted: false,
            waited: false,
            seen_at: None,
        }
    }

    /// The next ones are made after a pause.
    pub(super) fn start_over(&mut self) {
        self.again = true;
        (self.drained, self.refused, self.unreached) = (0, 0, 0);
        self.last = None;
    }

    /// Goes on if the call may be sent elsewhere.
    pub(super) fn failed(&mut self, mut attempt: Attempt, failure: Failure, replayable: bool) -> Result<(), Failure> {
        let failure = attempt.failed(failure);
        let again = matches!(failure.kind, FailureKind::Expelled) && std::mem::replace(&mut self.expelled, true);
        if failure.seen != Seen::NotSeen || !replayable || again {
            self.endpoints.push(attempt.connection().slot.endpoint.id);
            return Err(failure);
        }
        let connection = attempt.connection();
        self.drained = self.drained.saturating_add(connection.drains().into());
        if !connection.drains() || self.drained > DRAINED {
            self.endpoints.push(connection.slot.endpoint.id);
            self.refused += 1;
        }
        if self.refused > REFUSALS {
            return Err(failure);
        }
        self.last = Some(Box::new(failure));
        Ok(())
    }

    /// Those of a try beside this one, which goes elsewhere.
    pub(super) fn beside(&self, attempt: &Attempt) -> Self {
        let mut endpoints = self.endpoints.clone();
        endpoints.push(attempt.connection().slot.endpoint.id);
        let nowhere = Failure::new(Seen::NotSeen, FailureKind::NoEndpoint, "there is no other endpoint");
        let (aim, deadline, patient, goes_on, due) = (self.aim, self.deadline, self.patient, self.goes_on, self.due);
        let last = Some(Box::new(nowhere));
        let (drained, refused, unreached) = (0, self.refused, self.unreached);
        let (made, again, counted, waited) = (0, false, true, true);
        let expelled = self.expelled;
        Self {
            endpoints,
            drained,
            refused,
            unreached,
            expelled,
            last,
            aim,
            deadline,
            patient,
            goes_on,
            due,
            first: false,
            begun: self.begun,
            made,
            again,
            counted,
            waited,
            seen_at: None,
        }
    }

    /// Where the try beside has been this one need not go.
    pub(super) fn learn(&mut self, beside: &Self) {
        let news: SmallVec<[usize; 2]> =
            beside.endpoints.iter().copied().filter(|endpoint| !self.endpoints.contains(endpoint)).collect();
        self.endpoints.extend(news);
        self.begun = beside.begun;
        self.expelled |= beside.expelled;
    }

    /// Keeps in mind who has seen it: a later try that gets nowhere does not make that undone.
    pub(super) fn remember(&mut self, failure: &mut Failure) {
        match &failure.endpoint {
            Some(endpoint) if failure.seen != Seen::NotSeen => self.seen_at = Some(endpoint.clone()),
            Some(_) => {}
            None => failure.endpoint.clone_from(&self.seen_at),
        }
    }

    /// Sending it again after this failure is more load than it was: somebody has seen it, or had the work of refusing it.
    pub(super) fn burdens(&self, failure: &Failure) -> bool {
        failure.seen != Seen::NotSeen || self.refused > 0
    }

    /// It has been nowhere but at one endpoint, which has not looked at it.
    fn is_refused_once(&self) -> bool {
        self.refused == 1 && self.unreached == 0 && self.endpoints.len() == 1
    }

    /// Where it has been.
    pub(super) fn endpoints(&self) -> &[usize] {
        &self.endpoints
    }

    /// Which endpoints it may go to.
    pub(super) fn aim(&self) -> Aim {
        self.aim
    }

    pub(super) fn seeks(&self) -> Seeks<'_> {
        Seeks { tried: &self.endpoints, aim: self.aim, due: self.due, first: self.first }
    }

    fn unreachable(&mut self, endpoint: &Endpoint, failure: Failure) -> Result<(), Failure> {
        endpoint.metrics.record(outcome(&failure.kind));
        self.endpoints.push(endpoint.id);
        self.unreached += 1;
        if self.unreached > UNREACHED {
            return Err(failure);
        }
        self.last = Some(Box::new(failure));
        Ok(())
    }
}

/// Until an endpoint that has refused a call may take it.
async fn pause(pool: &Pool) {
    let mut timer = pool.timer(Instant::now() + REFUSED);
    poll_fn(|cx| timer.poll(cx)).await;
}

enum Turn {
    Lease(Lease, Option<Probe>),
    Queued(Arc<Endpoint>, Option<Probe>, Wait, oneshot::Receiver<Grant>),
    Full(Arc<Endpoint>),
}

impl Upstream {
    /// A stream to the endpoint whose turn it is, or to the next one that can be reached.
    pub(super) async fn acquire(&self, sending: &mut Sending<'_, '_>) -> Result<(Lease, Option<Probe>), Failure> {
        let Sending { pool, tries, timer, .. } = sending;
        loop {
            let turn = self.turn(pool, tries);
            tries.first &= turn.is_none();
            match turn {
                Some(Turn::Lease(lease, probe)) => return Ok((lease, probe)),
                Some(Turn::Queued(endpoint, probe, wait, place)) => {
                    match Box::pin(self.waits(pool, tries, timer, &endpoint, (wait, place))).await {
                        Ok(lease) => {
                            // Where there was room before, nobody is to prove anything.
                            let there = lease.connection().slot.endpoint.id == endpoint.id;
                            return Ok((lease, probe.filter(|_| there)));
                        }
                        Err(failure) if failure.seen == Seen::NotSeen => tries.unreachable(&endpoint, failure)?,
                        Err(failure) => return Err(failure.at(&endpoint.label)),
                    }
                }
                Some(Turn::Full(endpoint)) => {
                    let cause = "the queue for a stream is full";
                    let failure = Failure::new(Seen::Local, FailureKind::Overloaded, cause).at(&endpoint.label);
                    tries.unreachable(&endpoint, failure)?;
                }
                None if std::mem::take(&mut tries.again) => tries.endpoints.clear(),
                None if tries.is_refused_once() => {
                    Box::pin(pause(pool)).await;
                    tries.endpoints.clear();
                }
                None => match tries.last.take() {
                    Some(failure) => return Err(*failure),
                    None => Box::pin(self.wait_for_addresses(tries.aim, timer)).await?,
                },
            }
        }
    }

    /// The endpoint whose turn it is, and a stream to it or a place in its queue. What is aimed at a canary that takes no calls
    /// is the upstream's own.
    fn turn(&self, pool: &Pool, tries: &Tries) -> Option<Turn> {
        let of = |roster: &Arc<Roster>| {
            roster.next(tries.seeks(), |endpoint, probe| match pool.acquire(endpoint, roster, tries.due) {
                Acquired::Lease(lease) => Turn::Lease(lease, probe),
                Acquired::Queued(wait, place) => Turn::Queued(Arc::clone(endpoint), probe, wait, place),
                Acquired::Full => Turn::Full(Arc::clone(endpoint)),
            })
        };
        match &self.canary {
            Some(canary) if tries.aim.canary => of(canary).or_else(|| of(&self.roster)),
            _ => of(&self.roster),
        }
    }

    /// Until names were resolved for the first time; an upstream whose endpoints are all down fails at once.
    async fn wait_for_addresses(&self, aim: Aim, timer: &mut Timer) -> Result<(), Failure> {
        let none = || Failure::new(Seen::NotSeen, FailureKind::NoEndpoint, "no endpoint is usable");
        let resolved = self.group.resolved.notified();
        let mut resolved = std::pin::pin!(resolved);
        resolved.as_mut().enable();
        if self.group.is_resolved() {
            return match self.roster.circuit(aim, Instant::now()) {
                _ if self.roster.is_live(aim) => Ok(()),
                (Circuit::Closed, _) => {
                    self.roster.refused();
                    Err(none())
                }
                (Circuit::HalfOpen | Circuit::Open, retry_after) => {
                    let kind = FailureKind::CircuitOpen { retry_after: retry_after.max(PROBE) };
                    Err(Failure::new(Seen::NotSeen, kind, "every endpoint's breaker is open"))
                }
            };
        }
        poll_fn(|cx| match resolved.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => timer.poll(cx).map(|()| Err(none())),
        })
        .await
    }
}
