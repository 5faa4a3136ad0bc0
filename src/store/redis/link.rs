//! One worker's connection: made when it is first needed, made again when it breaks, by a task of its own.
//!
//! ```text
//! Idle ──asked──▶ Connecting(waited for) ──▶ Up ──broken──▶ Connecting(waited for)
//!                      │ failed, or too slow                       ▲      a server that takes no writes is asked again after a pause
//!                      ▼                                           │
//!                 Connecting(not waited for) ──made──▶ Up ─────────┘
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Cmd, Value};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Connection, Fails, Place, Script, Unavailable, asks_for_another, is_unknown_script};

/// From one failed attempt to the next, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// A connection that was of use for less was of none.
const SHORT: Duration = Duration::from_secs(1);

/// Who waits less has had most of its patience elsewhere: that it gets no answer says nothing of the connection, which others
/// share.
const FAIR: Duration = Duration::from_millis(25);

/// One worker's connection.
pub struct Link(Arc<watch::Sender<State>>);

#[derive(Clone)]
enum State {
    /// Nobody has asked yet.
    Idle,
    /// It is being made.
    Connecting {
        /// For the first time: it may well be there in a moment.
        hopeful: bool,
    },
    Up {
        connection: Connection,
        /// Tells one connection from the next.
        number: u64,
        since: Instant,
        /// What went before it.
        pause: Duration,
    },
}

impl Default for Link {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::Idle)))
    }
}

impl Link {
    /// One command; where it runs a script that the server does not know, that is loaded and asked again.
    pub(super) async fn ask(
        &self,
        place: &Arc<Place>,
        command: &Cmd,
        script: Option<&Script>,
        wait: Duration,
    ) -> Result<Value, Unavailable> {
        let mut used = None;
        let answer = timeout(wait, async {
            let (mut connection, number) = self.connection(place).await.ok_or(Unavailable)?;
            used = Some(number);
            let mut answer = connection.send(command).await;
            if let Some(script) = script.filter(|_| answer.as_ref().is_err_and(is_unknown_script)) {
                answer = match connection.load(script).await {
                    Ok(()) => connection.send(command).await,
                    Err(error) => Err(error),
                };
            }
            answer.map_err(|error| {
                if let Some(unsaid) = place.said.again(error.code().unwrap_or(error.category()), Instant::now()) {
                    tracing::warn!(%error, unsaid, "redis refused or broke off");
                }
                if let Some(fails) = asks_for_another(&error) {
                    self.broken(place, number, fails);
                }
                Unavailable
            })
        });
        match (answer.await, used) {
            (Ok(answer), _) => answer,
            (Err(_), _) if wait < FAIR => Err(Unavailable),
            // Nothing came: the next call must not wait as long.
            (Err(_), Some(number)) => {
                if let Some(unsaid) = place.said.again("late", Instant::now()) {
                    tracing::warn!(?wait, unsaid, "redis did not answer in time");
                }
                self.broken(place, number, Fails::Connection);
                self.despair();
                Err(Unavailable)
            }
            (Err(_), None) => {
                self.despair();
                Err(Unavailable)
            }
        }
    }

    /// The connection, or one that is just being made.
    async fn connection(&self, place: &Arc<Place>) -> Option<(Connection, u64)> {
        if let State::Up { connection, number, .. } = &*self.0.borrow() {
            return Some((connection.clone(), *number));
        }
        let mut changes = self.0.subscribe();
        if self.0.send_if_modified(|state| {
            let idle = matches!(state, State::Idle);
            if idle {
                *state = State::Connecting { hopeful: true };
            }
            idle
        }) {
            self.reconnect(place, 0, Duration::ZERO);
        }
        let settled = changes.wait_for(|state| !matches!(state, State::Connecting { hopeful: true })).await;
        match &*settled.ok()? {
            State::Up { connection, number, .. } => Some((connection.clone(), *number)),
            State::Idle | State::Connecting { .. } => None,
        }
    }

    /// The connection of this number is of no more use. Where it is the server that is of none, the next one may well be the same: nobody waits for that, and it
    /// takes its time.
    fn broken(&self, place: &Arc<Place>, broken: u64, fails: Fails) {
        let mut next = None;
        self.0.send_if_modified(|state| {
            let State::Up { number, since, pause, .. } = state else { return false };
            if *number != broken {
                return false;
            }
            let pause = match fails {
                Fails::Connection => Duration::ZERO,
                Fails::Server if since.elapsed() < SHORT => (*pause * 2).clamp(PAUSE.0, PAUSE.1),
                Fails::Server => PAUSE.0,
            };
            *state = State::Connecting { hopeful: pause.is_zero() };
            next = Some(pause);
            true
        });
        if let Some(pause) = next {
            self.reconnect(place, broken + 1, pause);
        }
    }

    /// A connection that took too long to be made is waited for no longer.
    fn despair(&self) {
        self.0.send_if_modified(|state| {
            let hopeful = matches!(state, State::Connecting { hopeful: true });
            if hopeful {
                *state = State::Connecting { hopeful: false };
            }
            hopeful
        });
    }

    /// Connects, after a pause, until that has worked, or nobody needs it any more.
    fn reconnect(&self, place: &Arc<Place>, number: u64, first: Duration) {
        let place = Arc::clone(place);
        let attempt = Attempt(Arc::downgrade(&self.0));
        tokio::spawn(async move {
            let mut pause = PAUSE.0;
            if !first.is_zero() {
                sleep(first).await;
            }
            loop {
                // Anew each time: the password may have changed since.
                let connected = place.target.load_full().connect().await;
                let Some(state) = attempt.0.upgrade() else { return };
                match connected {
                    Ok(connection) => {
                        tracing::debug!("redis is connected");
                        state.send_replace(State::Up { connection, number, since: Instant::now(), pause: first });
                        return;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "redis cannot be reached");
                        state.send_replace(State::Connecting { hopeful: false });
                    }
                }
                drop(state);
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        });
    }
}

/// Who connects. If its runtime ends before it is done, somebody else may.
struct Attempt(std::sync::Weak<watch::Sender<State>>);

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(state) = self.0.upgrade() {
            state.send_if_modified(|state| {
                let left = matches!(state, State::Connecting { .. });
                if left {
                    *state = State::Idle;
                }
                left
            });
        }
    }
}
