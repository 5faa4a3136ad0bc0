//! What a connection is doing: the ground for closing it when it does nothing.
//!
//! A timer that every request resets would be the dearest part of a small call's bookkeeping. Instead each call leaves
//! marks, and the connection's one timer reads them every few seconds.
//!
//! An answer that its client does not read is neither at work nor over, and one connection may keep a thousand of them beside others
//! that are read: so each piece that waits is marked with the time when it began to.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::telemetry::Protocol;

/// A call that its client gives up so soon, unanswered, was made for the work that it begins.
const SOON: Duration = Duration::from_secs(1);

/// The connection waits for bytes.
const WAITS: u8 = 0;
/// Bytes have been read, and no more were asked for.
const TAKEN: u8 = 1;
/// The same since before the last look.
const LYING: u8 = 2;

/// Marks of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    begun: Instant,
    /// Calls whose answer's last byte has not been handed over.
    in_flight: Count,
    /// Calls begun.
    calls: Count,
    /// Calls that were given up within [`SOON`].
    given_up: Count,
    /// Bytes have come since a call last began or ended: part of a head.
    received: AtomicBool,
    /// HTTP/2: a head has begun and not ended, or nothing was said yet.
    heading: AtomicBool,
    /// Bytes have gone since the last look. They are of an answer that a slow client still reads, though its call is over, if
    /// there is one: HTTP/2 answers PINGs too.
    sent: AtomicBool,
    /// Bytes wait for a client that does not read: hyper holds them.
    stuck: AtomicBool,
    /// When the stream that it carries has had its time, in milliseconds from its begin; 0: it carries none. Over HTTP/1.1 it
    /// carries one at a time.
    until: AtomicU64,
    /// It is old: its next answer is to be its last.
    old: AtomicBool,
    /// The time now, in periods of which the client may let an answer wait for one.
    period: AtomicUsize,
    /// Pieces of answers that the client has not taken: that began to wait in an even period, and in an odd one.
    unread: [Count; 2],
    /// HTTP/2: it carries many calls at a time.
    shared: bool,
    /// Bytes of these that are without their calls.
    loose: AtomicUsize,
    /// [`WAITS`], [`TAKEN`] or [`LYING`].
    reading: AtomicU8,
    /// HTTP/1.1: bodies of requests that are not whole yet. What is left of one may be done with after the next has begun.
    uploads: Count,
    /// HTTP/1.1: a request's body was not taken to its end.
    left: AtomicBool,
    /// HTTP/1.1: an answer waits until all before it is written.
    unflushed: AtomicBool,
    /// HTTP/1.1: its answer breaks off,
    broken: AtomicBool,
    /// and no last chunk is missed: HTTP/1.0.
    endless: AtomicBool,
    /// A descriptor of the socket is asked for, and then it is here.
    asked: AtomicBool,
    handle: Mutex<Option<io::Result<OwnedFd>>>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            in_flight: Count::default(),
            calls: Count::default(),
            given_up: Count::default(),
            received: AtomicBool::new(false),
            sent: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            until: AtomicU64::new(0),
            old: AtomicBool::new(false),
            heading: AtomicBool::new(false),
            period: AtomicUsize::new(0),
            unread: Default::default(),
            shared: false,
            loose: AtomicUsize::new(0),
            reading: AtomicU8::new(WAITS),
            uploads: Count::default(),
            left: AtomicBool::new(false),
            unflushed: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            endless: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            handle: Mutex::new(None),
        }
    }
}

impl Activity {
    pub(super) fn of(protocol: Protocol) -> Self {
        Self { shared: protocol == Protocol::Http2, ..Self::default() }
    }

    /// It carries many calls at a time.
    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }

    /// Some of a request's body was left where it was.
    pub(super) fn leaves(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Its answer breaks off; `endless`: the connection's end is that of a whole one, too.
    pub(super) fn break_off(&self, endless: bool) {
        self.broken.store(true, Ordering::Relaxed);
        self.endless.store(endless, Ordering::Relaxed);
    }

    /// Its answer has broken off.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// It is to be reset, so that its client sees that.
    pub(super) fn is_to_reset(&self) -> bool {
        self.endless.load(Ordering::Relaxed)
    }

    /// An answer is to wait until all of it so far is written.
    pub(super) fn await_flush(&self) {
        self.unflushed.store(true, Ordering::Relaxed);
    }

    /// It waits for that.
    pub(super) fn awaits_flush(&self) -> bool {
        self.unflushed.load(Ordering::Relaxed)
    }

    /// All is written; true: somebody has waited for that.
    pub(super) fn flushed(&self) -> bool {
        let awaited = self.awaits_flush();
        if awaited {
            self.unflushed.store(false, Ordering::Relaxed);
        }
        awaited
    }

    /// A client may still be sending what nobody wants.
    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// A request's body is still to come.
    pub(super) fn uploads(&self) {
        self.uploads.inc();
    }

    /// It has come, or nobody waits for it.
    pub(super) fn uploaded(&self) {
        self.uploads.dec();
        // What came was its, and no next head.
        self.received.store(false, Ordering::Relaxed);
    }

    pub(super) fn received(&self) {
        self.received.store(true, Ordering::Relaxed);
        self.reading.store(TAKEN, Ordering::Relaxed);
    }

    /// Nothing is there to be read.
    pub(super) fn waits(&self) {
        self.reading.store(WAITS, Ordering::Relaxed);
    }

    /// A call is in flight, and nobody reads on: it would not be noticed if the client left.
    pub(super) fn is_unheard(&self) -> bool {
        self.reading.load(Ordering::Relaxed) != WAITS && self.in_flight() > 0
    }

    /// Nobody has read of the request's body since the last look.
    fn lies(&self) -> bool {
        let lies = self.reading.compare_exchange(TAKEN, LYING, Ordering::Relaxed, Ordering::Relaxed) == Err(LYING);
        lies && self.uploads.value() > 0
    }

    /// Asks for a second descriptor of the socket.
    pub(super) fn ask_for_handle(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Gives it, if it is asked for.
    pub(super) fn offer_handle(&self, handle: impl FnOnce() -> io::Result<OwnedFd>) {
        if self.asked.load(Ordering::Relaxed) {
            self.asked.store(false, Ordering::Relaxed);
            *self.handle.lock() = Some(handle());
        }
    }

    /// What was given.
    pub(super) fn take_handle(&self) -> Option<io::Result<OwnedFd>> {
        self.handle.lock().take()
    }

    /// It is not needed any more. A socket is closed when all of its descriptors are.
    pub(super) fn forget_handle(&self) {
        self.asked.store(false, Ordering::Relaxed);
        drop(self.take_handle());
    }

    pub(super) fn sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// Whether a head has begun that has not ended.
    pub(super) fn heading(&self, heading: bool) {
        self.heading.store(heading, Ordering::Relaxed);
    }

    /// Some of an answer is kept that its client has not read.
    fn keeps(&self) -> bool {
        self.unread.iter().any(|pieces| pieces.value() > 0)
    }

    /// Whether what was to be written has not been.
    pub(super) fn stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::Relaxed);
    }

    /// The answer that it carries now is given up then.
    pub(super) fn ends_by(&self, until: Option<Instant>) {
        let after = until.map(|until| until.saturating_duration_since(self.begun).as_millis());
        self.until.store(after.map_or(0, |after| u64::try_from(after).unwrap_or(u64::MAX).max(1)), Ordering::Relaxed);
    }

    /// Its answer has had its time, though its client does not read it.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until > 0 && self.in_flight() > 0 && now >= self.begun + Duration::from_millis(until)
    }

    pub(super) fn grow_old(&self) {
        self.old.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_old(&self) -> bool {
        self.old.load(Ordering::Relaxed)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.value()
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.value()
    }

    /// A piece of an answer begins to wait for the client: since when.
    pub(super) fn offered(&self) -> usize {
        let since = self.period.load(Ordering::Relaxed) % 2;
        self.unread[since].inc();
        since
    }

    /// It has been taken.
    pub(super) fn taken(&self, since: usize) {
        self.unread[since].dec();
    }

    /// So many bytes more wait without their call, if that is within `most`.
    pub(super) fn loosen(&self, bytes: usize, most: usize) -> Option<()> {
        let loose = self.loose.load(Ordering::Relaxed).saturating_add(bytes);
        (loose <= most).then(|| {
            self.loose.fetch_add(bytes, Ordering::Relaxed);
        })
    }

    /// They are written.
    pub(super) fn tighten(&self, bytes: usize) {
        self.loose.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The next period begins, unless something waits since before this one.
    fn next_period(&self) -> Result<(), Waits> {
        let next = self.period.load(Ordering::Relaxed) + 1;
        // The cell of the one before last, which is to be its.
        if self.unread[next % 2].value() > 0 {
            return Err(Waits);
        }
        self.period.store(next, Ordering::Relaxed);
        Ok(())
    }

    /// A call begins.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.inc();
        self.calls.inc();
        self.received.store(false, Ordering::Relaxed);
        self.until.store(0, Ordering::Relaxed);
        InFlight { activity: self.clone(), unanswered: None }
    }

    /// Its client gives up most of its calls as soon as they have begun, and of these there were more than `most`: each is work for a
    /// service, and none is in flight any more (CVE-2023-44487).
    pub(super) fn is_flooded(&self, most: usize) -> bool {
        let given_up = self.given_up.value();
        given_up > most && given_up * 2 > self.calls()
    }
}

/// A number that one thread changes, whose runtime the connection and its calls are on: without the bus lock, which would be taken
/// five times a call.
#[derive(Debug, Default)]
struct Count(AtomicUsize);

impl Count {
    fn value(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn inc(&self) {
        self.0.store(self.value() + 1, Ordering::Relaxed);
    }

    fn dec(&self) {
        self.0.store(self.value() - 1, Ordering::Relaxed);
    }
}

/// One call; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    /// Since when an answer is waited for, whose client may reset it.
    unanswered: Option<Instant>,
}

impl InFlight {
    /// The same; it is to be known if it is given up before it is answered.
    pub(super) fn unanswered(mut self) -> Self {
        self.unanswered = Some(Instant::now());
        self
    }

    /// There is an answer.
    pub(super) fn answered(&mut self) {
        self.unanswered = None;
    }

    /// Its connection's marks.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Its connection is old: it is to be the last.
    pub(super) fn is_last(&self) -> bool {
        self.activity.is_old()
    }

    /// Its answer is given up then, where its connection carries no other.
    pub(super) fn ends_by(&self, until: Option<Instant>) {
        self.activity.ends_by(until);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.in_flight.dec();
        self.activity.received.store(false, Ordering::Relaxed);
        if self.unanswered.is_some_and(|since| since.elapsed() < SOON) {
            self.activity.given_up.inc();
        }
    }
}

/// Something of an answer has waited all through a period.
struct Waits;

/// Reads the marks from time to time.
#[derive(Debug)]
pub(super) struct Watch {
    /// Time from one look to the next.
    pub(super) every: Duration,
    head: Duration,
    idle: Duration,
    quiet: Duration,
    /// What has passed of the period.
    period: Duration,
    calls: usize,
    protocol: Protocol,
    /// HTTP/2: a head was open the last time.
    heading: bool,
    /// How long a call may stand still, and how long it has.
    stall: Option<Duration>,
    still: Duration,
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// It may stay.
    Busy,
    /// It may stay; nothing has happened, and nothing has begun.
    Quiet,
    /// Nothing has happened for too long.
    Idle,
    /// A head has begun, and does not end.
    SlowHead,
    /// An answer has waited too long for its client to read.
    Unread,
    /// A call stands still: nothing of its request is taken, and nothing of its answer goes.
    Stalled,
}

impl Watch {
    /// `head` and `idle` are held to within the shorter of the two.
    pub(super) fn new(protocol: Protocol, head: Duration, idle: Duration) -> Self {
        Self {
            protocol,
            heading: true,
            every: head.min(idle),
            head,
            idle,
            quiet: Duration::ZERO,
            period: Duration::ZERO,
            calls: 0,
            stall: None,
            still: Duration::ZERO,
        }
    }

    /// The same for a connection that does not hear its client while a call stands still: it may for so long.
    pub(super) fn stalling(self, stall: Duration) -> Self {
        Self { every: self.every.min(stall), stall: Some(stall), ..self }
    }

    /// How long nothing may happen from now on.
    pub(super) fn patience(&self) -> Duration {
        self.idle.saturating_sub(self.quiet)
    }

    /// Something has happened.
    pub(super) fn disturbed(&mut self) {
        self.quiet = Duration::ZERO;
    }

    /// Looks, `every` after the last time.
    pub(super) fn look(&mut self, activity: &Activity) -> Finding {
        self.period += self.every;
        if self.period >= self.idle {
            if let Err(Waits) = activity.next_period() {
                return Finding::Unread;
            }
            self.period = Duration::ZERO;
        }
        let calls = activity.calls();
        let sent = activity.sent.swap(false, Ordering::Relaxed);
        if activity.in_flight() > 0 || calls != self.calls || sent && activity.keeps() {
            let stands = self.stall.is_some() && activity.lies() && calls == self.calls && !sent;
            self.still = if stands { self.still + self.every } else { Duration::ZERO };
            self.calls = calls;
            self.quiet = Duration::ZERO;
            return if self.stall.is_some_and(|stall| self.still >= stall) { Finding::Stalled } else { Finding::Busy };
        }
        self.quiet += self.every;
        let begun = match self.protocol {
            // Without a single call the connection is its first head, whether a byte of it has come or not.
            Protocol::Http1 => activity.received.load(Ordering::Relaxed) || calls == 0,
            // A gRPC channel may connect long before its first call.
            Protocol::Http2 => {
                let heading = activity.heading.load(Ordering::Relaxed);
                std::mem::replace(&mut self.heading, heading) && heading
            }
        };
        match self.quiet {
            quiet if quiet >= self.idle => Finding::Idle,
            quiet if begun && quiet >= self.head => Finding::SlowHead,
            _ if begun || activity.stuck.load(Ordering::Relaxed) => Finding::Busy,
            _ => Finding::Quiet,
        }
    }
}

#[cfg(test)]
mod tests;
