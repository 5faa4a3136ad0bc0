//! Waiting: a call in the queue for a stream of its endpoint, which goes to another one if that has room before.
//!
//! Only the endpoint whose turn it is has the call in its queue. To wait there for as long as the call may take would make its
//! trouble the caller's, whatever is free elsewhere: an endpoint that hangs with all its streams never serves its queue.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;

use super::Upstream;
use super::balance::Roster;
use super::endpoint::Endpoint;
use super::failure::{Failure, FailureKind, Seen};
use super::pick::Tries;
use super::pool::{Grant, Lease, Pool, Wait};
use super::wheel::Timer;

/// How long a call waits before it looks elsewhere again; each time twice as long.
const PAUSE: Duration = Duration::from_millis(10);
/// How long one whose endpoint is not any one waits there for a connection: the next endpoint would do, but is not where it belongs.
/// Longer than a handshake to another zone takes, and much shorter than what is found to lead nowhere.
const FAITH: Duration = Duration::from_millis(250);
/// How long a stream waits for another's place: those that have one may keep it for as long as their clients like, and without a
/// deadline of its own it would wait as long, with a place in the gateway.
const TAKEN: Duration = Duration::from_secs(1);
/// The same while a connection is made: that has a bound of its own.
const CONNECTED: Duration = Duration::from_secs(3);
/// The endpoints that it looks at each time.
const LOOKS: usize = 3;

impl Upstream {
    /// A stream of this endpoint, by a place in its queue, or of another one that has room before.
    pub(super) async fn waits(
        &self,
        pool: &Pool,
        tries: &Tries,
        timer: &mut Timer,
        endpoint: &Arc<Endpoint>,
        (wait, mut place): (Wait, oneshot::Receiver<Grant>),
    ) -> Result<Lease, Failure> {
        let _expected = Expected::at(endpoint);
        let mut pause = match wait {
            Wait::Connection if tries.aim().is_somewhere() => {
                FAITH.min(tries.deadline.saturating_duration_since(Instant::now()) / 2).max(PAUSE)
            }
            Wait::Connection | Wait::Stream => PAUSE,
        };
        let most = match wait {
            _ if tries.due => None,
            Wait::Connection => Some(CONNECTED),
            Wait::Stream => Some(TAKEN),
        };
        let until = most.map(|most| Instant::now() + most);
        // A connection in the making is worth a moment: turns are exact while nothing is wrong.
        let mut looks = wait == Wait::Stream;
        loop {
            if looks && let Some(lease) = self.elsewhere(pool, tries, endpoint) {
                return Ok(lease);
            }
            let look = Instant::now() + pause;
            let look = until.map_or(look, |until| look.min(until));
            if let Some(outcome) = pool.within(look, queued(wait, &mut place, timer)).await {
                return outcome;
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Err(Failure::new(Seen::Local, FailureKind::Overloaded, "every stream is taken by others"));
            }
            (looks, pause) = (true, pause.saturating_mul(2));
        }
    }

    /// A stream that is free now at another one.
    fn elsewhere(&self, pool: &Pool, tries: &Tries, than: &Endpoint) -> Option<Lease> {
        let of = |roster: &Arc<Roster>| {
            roster.elsewhere(tries.seeks(), (than, LOOKS), |endpoint| pool.free(endpoint, roster, tries.due))
        };
        match &self.canary {
            Some(canary) if tries.aim().canary => of(canary).or_else(|| of(&self.roster)),
            _ => of(&self.roster),
        }
    }
}

/// A call that waits counts as one under way there: who has many of them is not idle.
struct Expected<'e>(&'e Endpoint);

impl<'e> Expected<'e> {
    fn at(endpoint: &'e Endpoint) -> Self {
        endpoint.expect();
        Self(endpoint)
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.0.forgo();
    }
}

/// Waits in the queue; the place is given up when the deadline passes.
pub(super) async fn queued(
    wait: Wait,
    mut place: impl Future<Output = Result<Grant, RecvError>> + Unpin,
    timer: &mut Timer,
) -> Result<Lease, Failure> {
    let given_up = || Failure::new(Seen::NotSeen, FailureKind::ConnectFailed, "the connection was given up");
    let late = |timer: &Timer| match wait {
        Wait::Connection => timer.failure(),
        Wait::Stream => Failure::new(Seen::Local, FailureKind::Overloaded, "the deadline passed in the queue"),
    };
    poll_fn(|cx| match Pin::new(&mut place).poll(cx) {
        Poll::Ready(grant) => Poll::Ready(grant.unwrap_or_else(|_| Err(given_up()))),
        Poll::Pending => timer.poll(cx).map(|()| Err(late(timer))),
    })
    .await
}
