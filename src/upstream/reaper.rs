//! Reaper: where streams go that their callers have left, until they may be reset.
//!
//! A caller that leaves is gone at once. But servers built on h2 (tonic) answer a burst of RST_STREAM with
//! GOAWAY `too_many_resets` (CVE-2023-44487), which takes every other call down with it, so they go out at most [`BURST`] a
//! round trip. What is held still counts as open, so a connection's limit on streams bounds it.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Ping, Reason, RecvStream, SendStream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::connection::Connection;
use super::keepalive::Keepalive;
use super::pings::Pings;
use super::pool::Lease;

/// Resets in one round trip.
const BURST: usize = 16;
/// A round trip is surely over after this time.
const QUIET: Duration = Duration::from_secs(1);
/// Servers built on grpc-go close connections that PING more often than this without an answer of theirs in between.
const PINGS: usize = 2;

/// A stream left open.
pub(super) struct Left {
    pub(super) send: Option<SendStream<Bytes>>,
    pub(super) response: Option<ResponseFuture>,
    pub(super) receive: Option<RecvStream>,
    /// After the stream: its place is free once the reset is on its way.
    pub(super) place: Place,
}

impl Left {
    fn reset(self) {
        let Self { send, response, receive, place } = self;
        // In so many words where the other half is still held; else h2 does it when the last half is dropped.
        if let Some(mut send) = send {
            send.send_reset(Reason::CANCEL);
        }
        drop((response, receive));
        drop(place);
    }
}

/// A stream's place among those that its connection carries.
pub(super) enum Place {
    Own(Lease),
    /// Between the two halves of a stream; it is free when both are done.
    Shared(Arc<Lease>),
}

impl Place {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        match self {
            Self::Own(lease) => lease.connection(),
            Self::Shared(lease) => lease.connection(),
        }
    }
}

/// A connection's streams to be reset.
pub(super) struct Reaper {
    state: Mutex<State>,
    arrived: Notify,
}

struct State {
    held: VecDeque<Left>,
    pace: Pace,
    /// The connection is gone, and with it every stream.
    ended: bool,
}

impl Reaper {
    pub(super) fn new(round_trip: Duration) -> Self {
        let state = State { held: VecDeque::new(), pace: Pace::new(round_trip), ended: false };
        Self { state: Mutex::new(state), arrived: Notify::new() }
    }

    /// Resets the stream, now or in its turn.
    pub(super) fn leave(&self, left: Left) {
        let mut state = self.state.lock();
        if state.ended || (state.held.is_empty() && state.pace.admit(Instant::now())) {
            drop(state);
            left.reset();
            return;
        }
        state.held.push_back(left);
        if state.held.len() == 1 {
            self.arrived.notify_one();
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.state.lock().held.len()
    }

    /// Lets go of everything: there is no connection any more.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        let held = std::mem::take(&mut state.held);
        drop(state);
        // Nobody is left to wait for.
        self.arrived.notify_one();
        held.into_iter().for_each(Left::reset);
    }
}

/// Resets held streams, a burst each round trip, for as long as the connection lives; `driver` drives it.
pub(super) async fn run(connection: Arc<Connection>, mut pings: Pings, driver: AbortHandle) {
    let reaper = &connection.reaper;
    let mut keepalive = Keepalive::new(&connection.slot.endpoint);
    let mut retired = false;
    let linger = connection.slot.linger;
    let mut idle = pin!(tokio::time::sleep(linger));
    let mut carried = 0;
    while !reaper.state.lock().ended {
        tokio::select! {
            () = reaper.arrived.notified() => {}
            () = connection.slot.endpoint.retired(), if !retired => {
                connection.slot.close_idle(&connection);
                retired = true;
            }
            () = idle.as_mut() => {
                let before = std::mem::replace(&mut carried, connection.opened());
                if carried == before {
                    connection.slot.trim(&connection);
                }
                idle.as_mut().reset(tokio::time::Instant::now() + linger);
            }
            () = keepalive.due() => {
                if !keepalive.holds(connection.is_idle(), &mut pings).await {
                    tracing::debug!(endpoint = %connection.slot.endpoint.label, "no answer to a PING: given up");
                    return driver.abort();
                }
            }
        }
        while !reaper.state.lock().held.is_empty() {
            round_trip(&connection, &mut pings).await;
            let burst: Vec<Left> = {
                let mut state = reaper.state.lock();
                let burst = state.held.len().min(BURST);
                state.pace.next_round(Instant::now(), burst);
                state.held.drain(..burst).collect()
            };
            burst.into_iter().for_each(Left::reset);
        }
    }
}

/// Waits until the peer has read what we sent, as its answer to a PING says; or, where PINGs would be held against us, as
/// long as that took before.
async fn round_trip(connection: &Connection, pings: &mut Pings) {
    let replied = connection.replied.swap(false, Ordering::Relaxed);
    let (may_ping, pause) = {
        let pace = &mut connection.reaper.state.lock().pace;
        (pace.may_ping(replied), pace.pause())
    };
    let ping = if may_ping { pings.sender().await } else { None };
    let Some(ping) = ping else { return tokio::time::sleep(pause).await };
    let begin = Instant::now();
    match tokio::time::timeout(QUIET, ping.ping(Ping::opaque())).await {
        Ok(Ok(_)) => connection.reaper.state.lock().pace.round_trip = begin.elapsed(),
        // An earlier one is still on its way, or the connection ends.
        Ok(Err(_)) => tokio::time::sleep(pause).await,
        Err(_) => {}
    }
}

/// How fast resets may go out.
struct Pace {
    round_trip: Duration,
    /// Resets since `since`, the begin of this round trip.
    sent: usize,
    since: Option<Instant>,
    /// PINGs since the last reply.
    pings: usize,
}

impl Pace {
    fn new(round_trip: Duration) -> Self {
        Self { round_trip, sent: 0, since: None, pings: 0 }
    }

    /// One more reset may go out at `now`.
    fn admit(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) > QUIET) {
            self.next_round(now, 0);
        }
        let admitted = self.sent < BURST;
        self.sent += usize::from(admitted);
        admitted
    }

    fn next_round(&mut self, now: Instant, sent: usize) {
        self.since = Some(now);
        self.sent = sent;
    }

    fn may_ping(&mut self, replied: bool) -> bool {
        if replied {
            self.pings = 0;
        }
        self.pings += 1;
        self.pings <= PINGS
    }

    /// A round trip by the clock, with room for a busy peer.
    fn pause(&self) -> Duration {
        (self.round_trip * 2).clamp(Duration::from_millis(5), QUIET)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{BURST, PINGS, Pace, QUIET};

    #[test]
    fn a_burst_goes_out_and_the_rest_waits_for_the_round_trip() {
        let mut pace = Pace::new(Duration::from_millis(1));
        let now = Instant::now();
        assert_eq!((0..100).filter(|_| pace.admit(now)).count(), BURST);
        // A full burst of held ones went out with the new round: nothing else may.
        pace.next_round(now, BURST);
        assert!(!pace.admit(now));
        pace.next_round(now, BURST - 1);
        assert!(pace.admit(now) && !pace.admit(now));
    }

    #[test]
    fn a_quiet_second_is_a_round_trip() {
        let mut pace = Pace::new(Duration::from_millis(1));
        let now = Instant::now();
        while pace.admit(now) {}
        assert!(!pace.admit(now + QUIET));
        assert!(pace.admit(now + QUIET + Duration::from_millis(1)));
    }

    #[test]
    fn pings_stop_when_nothing_comes_back_and_go_on_when_something_does() {
        let mut pace = Pace::new(Duration::from_millis(1));
        assert_eq!((0..10).filter(|_| pace.may_ping(false)).count(), PINGS);
        assert!(pace.may_ping(true));
    }
}
