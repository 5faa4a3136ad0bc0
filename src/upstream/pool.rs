//! Pool: one worker's connections to every endpoint, and its timer wheel.
//!
//! Connections belong to the worker whose runtime drives them, so that a call wakes no other thread. Streams are counted
//! here and not asked of h2: a cloned h2 handle says `ready` at once and queues without bound.

mod connecting;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::balance::Roster;
use super::connection::{self, Connection};
use super::endpoint::Endpoint;
use super::failure::{Failure, FailureKind, Seen};
use super::queue::Queue;
use super::wheel::{Timer, Wheel};
use crate::error::Error;
use crate::memory::Memory;
use crate::policy::overload::{KEPT, about};
use crate::telemetry::Circuit;

pub(super) use connecting::Connecting;

/// Pause after a failed attempt at a further connection, give or take; each in a row doubles it, so often at most.
const RECONNECT: (Duration, u32) = (Duration::from_secs(1), 5);
/// How long a connection that is one more than are kept stays without a stream.
const LINGER: Duration = Duration::from_secs(30);

/// A worker's connections; made and used inside the worker's runtime.
pub struct Pool {
    /// Which of how many: its share of an endpoint's connections.
    worker: usize,
    workers: usize,
    wheel: Wheel,
    slots: Arc<Slots>,
    memory: Arc<Memory>,
    /// How long connections that are more than are kept stay without a stream.
    pub(super) linger: Duration,
}

/// By the endpoint's id.
pub(super) type Slots = Mutex<HashMap<usize, Arc<Slot>, foldhash::fast::RandomState>>;

impl Pool {
    /// The pool of worker `worker` (from 0) of `workers`.
    pub fn new(worker: usize, workers: usize) -> Self {
        let (wheel, memory) = (Wheel::new(), Memory::unbounded());
        Self { worker, workers: workers.max(1), wheel, slots: Arc::default(), memory, linger: LINGER }
    }

    /// The same; what its calls hold is counted there.
    #[must_use]
    pub fn sharing(mut self, memory: &Arc<Memory>) -> Self {
        self.memory = Arc::clone(memory);
        self
    }

    /// Where it is counted what calls hold.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Which worker's it is, of how many.
    pub(super) fn of(&self) -> (usize, usize) {
        (self.worker, self.workers)
    }

    pub(super) fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    pub(super) fn timer(&self, deadline: Instant) -> Timer {
        self.wheel.timer(deadline)
    }

    /// There is no more time for its calls: whatever they wait for, they end now, and say so.
    pub fn stop(&self) {
        self.wheel.stop();
    }

    /// It was told so.
    pub(super) fn is_stopped(&self) -> bool {
        self.wheel.is_stopped()
    }

    /// What becomes of a call that had no more time.
    pub fn overdue(&self) -> Error {
        if self.is_stopped() { Error::Draining } else { Error::Deadline }
    }

    /// What becomes of a call that had no more time for its request to come: who calls is late, and nobody else.
    pub fn unread(&self) -> Error {
        if self.is_stopped() { Error::Draining } else { Error::TooSlow }
    }

    /// The future's outcome, or none once the deadline has passed; it costs no timer of the runtime's.
    pub async fn within<F: Future>(&self, deadline: Instant, future: F) -> Option<F::Output> {
        let mut timer = None;
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => timer.get_or_insert_with(|| self.timer(deadline)).poll(cx).map(|()| None),
        })
        .await
    }

    /// Streams that wait to be reset.
    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        let slots = self.slots.lock();
        let members = |slot: &Arc<Slot>| slot.state.lock().members.clone();
        slots.values().flat_map(members).map(|member| member.reaper.held()).sum()
    }

    /// A stream to `endpoint` for a call whose answer is `due` or for one that may stay, or a place in the queue for one.
    pub(super) fn acquire(&self, endpoint: &Arc<Endpoint>, roster: &Arc<Roster>, due: bool) -> Acquired {
        acquire(&self.slots, (self.of(), self.linger, &self.memory), endpoint, roster, due)
    }

    /// A stream to `endpoint` if one is free. Where there is no connection one is made for whoever asks next.
    pub(super) fn free(&self, endpoint: &Arc<Endpoint>, roster: &Arc<Roster>, due: bool) -> Option<Lease> {
        at(&self.slots, (self.of(), self.linger, &self.memory), endpoint, roster, |slot| slot.free(due))
    }
}

/// As [`Pool::acquire`], in the pool of these slots.
#[inline]
pub(super) fn acquire(
    home: &Arc<Slots>,
    of: ((usize, usize), Duration, &Arc<Memory>),
    endpoint: &Arc<Endpoint>,
    roster: &Arc<Roster>,
    due: bool,
) -> Acquired {
    at(home, of, endpoint, roster, |slot| slot.acquire(due))
}

/// What is asked of the slot of `endpoint`, which is made where there is none.
#[inline]
fn at<T>(
    home: &Arc<Slots>,
    (of, linger, memory): ((usize, usize), Duration, &Arc<Memory>),
    endpoint: &Arc<Endpoint>,
    roster: &Arc<Roster>,
    ask: impl FnOnce(&Arc<Slot>) -> T,
) -> T {
    let mut slots = home.lock();
    if let Some(slot) = slots.get(&endpoint.id) {
        return ask(slot);
    }
    // Those of retired endpoints that had no connection to close.
    slots.retain(|_, slot| !slot.endpoint.is_retired());
    let slot = Arc::new(Slot {
        endpoint: Arc::clone(endpoint),
        roster: Arc::clone(roster),
        home: Arc::downgrade(home),
        kept: share(endpoint.connections, of.0, of.1),
        of,
        linger,
        memory: Arc::clone(memory),
        state: Mutex::default(),
    });
    ask(slots.entry(endpoint.id).or_insert(slot))
}

impl Drop for Pool {
    fn drop(&mut self) {
        let slots = std::mem::take(&mut *self.slots.lock());
        for slot in slots.values() {
            let members = slot.state.lock().members.clone();
            members.iter().for_each(|member| member.drain());
        }
    }
}

/// A worker's part of an endpoint's connections: at least one.
fn share(connections: usize, worker: usize, workers: usize) -> usize {
    (connections / workers + usize::from(worker < connections % workers)).max(1)
}

/// One worker's connections to one endpoint, and the calls that wait for a stream.
pub(super) struct Slot {
    pub(super) endpoint: Arc<Endpoint>,
    roster: Arc<Roster>,
    /// The pool that finds it.
    home: Weak<Slots>,
    /// Connections that stay once they are made.
    kept: usize,
    /// Whose it is of how many: its share of what connections may grow to.
    of: (usize, usize),
    pub(super) linger: Duration,
    /// Where it is counted what calls hold of replies.
    pub(super) memory: Arc<Memory>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Those that take new streams. Draining ones have left; they live until their last stream ends.
    members: SmallVec<[Arc<Connection>; 2]>,
    connecting: usize,
    /// A stream that ends goes to the first that still waits.
    waiting: Queue,
    /// A further connection could not be made: none is tried before this.
    not_before: Option<Instant>,
    /// How often in a row.
    failed: u32,
    /// When the last connection was made anew before a call asked for it.
    renewed: Option<Instant>,
}

pub(super) type Grant = Result<Lease, Failure>;

/// What a queued call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Connection,
    Stream,
}

/// What asking for a stream brings.
pub(super) enum Acquired {
    /// A stream.
    Lease(Lease),
    /// A place in the queue: for a connection, or for a stream of those that there are.
    Queued(Wait, oneshot::Receiver<Grant>),
    /// Nothing: the queue is full.
    Full,
}

impl Slot {
    fn acquire(self: &Arc<Self>, due: bool) -> Acquired {
        let mut state = self.state.lock();
        if let Some(lease) = self.lease(&state, due) {
            // The next one is there before anybody waits for it.
            if lease.connection.is_crowded() && state.is_last(&lease.connection) && self.may_grow(&state) {
                self.connect(state);
            }
            return Acquired::Lease(lease);
        }
        let Some(place) = state.waiting.join(due) else { return Acquired::Full };
        let may_connect = state.members.is_empty() && state.connecting < self.kept || self.may_grow(&state);
        let wait = if state.members.is_empty() { Wait::Connection } else { Wait::Stream };
        if may_connect {
            self.connect(state);
        }
        Acquired::Queued(wait, place)
    }

    fn free(self: &Arc<Self>, due: bool) -> Option<Lease> {
        let state = self.state.lock();
        let lease = self.lease(&state, due);
        if state.members.is_empty() && state.connecting == 0 {
            self.connect(state);
        }
        lease
    }

    /// A stream that is free. What may stay leaves the last ones to calls whose answers are due: where streams have taken them all
    /// for as long as their clients like, every call would be refused.
    #[inline]
    fn lease(&self, state: &State, due: bool) -> Option<Lease> {
        if due || !self.is_scarce(state) { state.lease() } else { None }
    }

    /// There can be no further connection, and of those that there are few streams are free.
    fn is_scarce(&self, state: &State) -> bool {
        if state.members.len() < self.most() {
            return false;
        }
        let sum = |of: fn(&Connection) -> usize| state.members.iter().map(|member| of(member)).sum::<usize>();
        let all = sum(Connection::limit);
        all.saturating_sub(sum(Connection::streams)) <= all / KEPT
    }

    /// A further connection may be made. Beyond those that are kept it is one at a time: it may be enough.
    fn may_grow(&self, state: &State) -> bool {
        let there = state.members.len() + state.connecting;
        let room = there < self.kept || state.connecting == 0 && there < self.most();
        room && state.not_before.is_none_or(|not_before| Instant::now() >= not_before)
    }

    /// How many connections there may be.
    fn most(&self) -> usize {
        share(self.roster.most_connections(), self.of.0, self.of.1).max(self.kept)
    }

    /// Lets go of the lock first: a runtime that shuts down drops a new task at once, and then the task takes it.
    fn connect(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        state.connecting += 1;
        drop(state);
        tokio::spawn(connection::run(Connecting::of(self)));
    }

    /// Gives free streams to those that wait.
    pub(super) fn serve_waiting(self: &Arc<Self>) {
        let mut state = self.state.lock();
        while let Some(due) = state.waiting.next_is_due() {
            let Some(lease) = self.lease(&state, due) else {
                if self.may_grow(&state) {
                    self.connect(state);
                }
                return;
            };
            if let Err(unwanted) = state.waiting.give(due, lease) {
                // All of its kind have left. It takes the lock when it is dropped, and serves those of the other.
                drop(state);
                drop(unwanted);
                return;
            }
        }
    }

    fn release(self: &Arc<Self>, connection: &Connection) {
        let state = self.state.lock();
        connection.close_one();
        if !state.waiting.is_empty() {
            drop(state);
            self.serve_waiting();
        } else if self.endpoint.is_retired() {
            drop(state);
            self.close_idle(connection);
        }
    }

    /// Closes a connection to a retired endpoint if nobody uses it. One that is in use is closed by its last stream.
    pub(super) fn close_idle(&self, connection: &Connection) {
        let mut state = self.state.lock();
        let before = state.members.len();
        if connection.is_idle() && state.waiting.is_empty() {
            // From here on nobody finds it.
            state.members.retain(|member| !std::ptr::eq(&**member, connection));
        }
        if state.members.len() < before {
            drop(state);
            self.endpoint.metrics.connections().dec();
            connection.close();
            // A call that comes after all finds another one like it.
            if let Some(slots) = self.home.upgrade() {
                slots.lock().remove(&self.endpoint.id);
            }
        }
    }

    /// Closes a connection that nobody uses, if it is one more than are kept.
    pub(super) fn trim(&self, connection: &Connection) {
        let mut state = self.state.lock();
        if state.members.len() <= self.kept || !connection.is_idle() || !state.waiting.is_empty() {
            return;
        }
        let before = state.members.len();
        // From here on nobody finds it.
        state.members.retain(|member| !std::ptr::eq(&**member, connection));
        if state.members.len() < before {
            drop(state);
            self.endpoint.metrics.connections().dec();
            connection.close();
        }
    }

    /// A connection was made.
    fn enter(self: &Arc<Self>, connection: Arc<Connection>) {
        self.endpoint.metrics.connections().inc();
        let mut state = self.state.lock();
        state.connecting -= 1;
        (state.not_before, state.failed) = (None, 0);
        state.members.push(connection);
        drop(state);
        self.roster.set_down(&self.endpoint, false);
        self.serve_waiting();
    }

    /// The endpoint's breaker has turned.
    pub(super) fn turned(&self, circuit: Circuit) {
        self.roster.turned(&self.endpoint, circuit);
    }

    /// No connection could be made.
    fn connect_failed(&self, failure: &Failure) {
        let mut state = self.state.lock();
        state.connecting -= 1;
        if !state.members.is_empty() {
            // Those that wait still can be served.
            state.not_before = Some(Instant::now() + about(RECONNECT.0 * 2_u32.pow(state.failed)));
            state.failed = (state.failed + 1).min(RECONNECT.1);
            return;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        // Refused or unanswered, it is so for every worker; the control thread asks again at once, and beside the calls.
        if !failure.is_ours() {
            self.endpoint.note(failure);
            self.roster.set_down(&self.endpoint, true);
            // The breaker counts what calls come to.
            if !waiting.is_empty() {
                self.roster.failed(&self.endpoint);
            }
        }
        self.refuse(waiting, failure);
    }

    fn refuse(&self, waiting: Queue, failure: &Failure) {
        waiting.refuse(|| failure.clone().at(&self.endpoint.label));
    }

    /// The connection takes no more streams. Those that wait need another one, and the next call should not have to wait for it.
    pub(super) fn leave(self: &Arc<Self>, connection: &Connection) {
        let is_wanted = self.is_found() && self.endpoint.takes_calls() && !self.endpoint.is_retired();
        let mut state = self.state.lock();
        let before = state.members.len();
        state.members.retain(|member| !std::ptr::eq(&**member, connection));
        if state.members.len() == before {
            return;
        }
        self.endpoint.metrics.connections().dec();
        if self.endpoint.is_retired() && !self.roster.lists(&self.endpoint) {
            // There are others by now.
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            let gone = Failure::new(Seen::NotSeen, FailureKind::NoEndpoint, "the endpoint is retired");
            self.refuse(waiting, &gone);
            return;
        }
        // Calls that have left need no connection.
        state.waiting.tidy();
        if !state.members.is_empty() || state.connecting > 0 {
            return;
        }
        if !state.waiting.is_empty() || is_wanted && state.may_renew(Instant::now()) {
            self.connect(state);
        }
    }

    /// Calls come by it: the pool is there, and has not let go of it.
    fn is_found(&self) -> bool {
        self.home.upgrade().is_some_and(|slots| slots.lock().contains_key(&self.endpoint.id))
    }
}

impl State {
    /// A connection may be made that no call has asked for. A peer that ends each at once is left to the calls.
    fn may_renew(&mut self, now: Instant) -> bool {
        let may = self.renewed.is_none_or(|last| now.saturating_duration_since(last) >= RECONNECT.0);
        if may {
            self.renewed = Some(now);
        }
        may
    }

    fn is_last(&self, connection: &Arc<Connection>) -> bool {
        self.members.last().is_some_and(|last| Arc::ptr_eq(last, connection))
    }

    fn lease(&self) -> Option<Lease> {
        // Filling one connection before the next keeps frames of many calls in one write.
        let connection = self.members.iter().find(|member| member.open_one())?;
        Some(Lease { connection: Arc::clone(connection) })
    }
}

/// An open stream of a connection, by count; dropping it gives the stream to the next call.
pub(super) struct Lease {
    connection: Arc<Connection>,
}

impl Lease {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connection.slot.release(&self.connection);
    }
}

#[cfg(test)]
mod tests;
