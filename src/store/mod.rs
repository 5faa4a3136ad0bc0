//! Store: what the gateways of a system have in common. Without a Redis, each has it to itself.
//!
//! ```text
//! gcra           what a limit decides: a bucket, an instant
//! limit          what is asked, and by whom
//! table          a value a client, for two million of them
//! buckets        those of this process
//! redis          connections: one a worker and one for long values, made again when they break, waited for as long as said; buckets there
//! lease          permits of buckets there, given out here
//! sessions       whose tokens the gateways issue, each good once
//! events         what one gateway tells all
//! single_flight  what one of all gateways does for all
//! once           what may be done one time alone
//! marks          what no gateway takes any more: told, and kept for who comes later
//! ```
//!
//! Nobody may wait for a store that is gone: whoever asks says how long, and what holds without an answer.

mod buckets;
mod events;
mod gcra;
mod lease;
mod limit;
mod marks;
mod once;
mod redis;
mod sessions;
mod single_flight;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Mode, OnStoreFailure};
use buckets::Buckets;
use events::Events;
use lease::Leases;
use once::Used;
use redis::Want;
use sessions::Records;
use single_flight::Flights;

pub use buckets::Pace;
pub use events::Event;
pub use gcra::{Quota, Standing};
pub use limit::{Ask, Client, Limit, Standings, Whom};
pub use marks::Mark;
pub use redis::{Link, Redis, Script, Unavailable};
pub use sessions::{Opening, Session, Spans, Turn, Turned};
pub use single_flight::Flight;

/// How often what is at rest is forgotten, where no newcomer makes room first.
const SWEEP: Duration = Duration::from_secs(10);

/// What the gateways of a system have in common.
pub struct Store {
    events: Events,
    /// Buckets of this process: all of them, or those that count while the Redis does not answer.
    buckets: Buckets,
    leases: Leases,
    /// Sessions of this process, where there is no Redis.
    sessions: Records,
    flights: Flights,
    /// What was done one time alone in this process, where there is no Redis.
    used: Used,
    /// None: everything is kept here.
    redis: Option<Redis>,
}

impl Store {
    /// A store as configured. Nothing is connected before it is asked.
    pub fn compile(config: &config::Redis) -> Self {
        Self {
            events: Events::new(),
            buckets: Buckets::new(),
            leases: Leases::new(),
            sessions: Records::default(),
            flights: Flights::default(),
            used: Used::new(),
            redis: Redis::compile(config),
        }
    }

    /// The Redis, where there is one.
    pub fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    /// Goes by this password from now on; where the Redis is needs a restart.
    pub fn follow(&self, config: &config::Redis) {
        if let Some(redis) = &self.redis {
            redis.follow(config);
        }
    }

    /// Whether the Redis answers; `None` without one.
    pub fn is_connected(&self) -> Option<bool> {
        self.connected().map(|connected| connected.load(Ordering::Relaxed))
    }

    /// The same, now and from now on.
    pub fn connected(&self) -> Option<&Arc<AtomicBool>> {
        self.redis.as_ref().map(|_| self.events.connected())
    }

    /// Takes a permit of every limit, or of none if one refuses, in this process.
    pub fn take_here(&self, asks: &[Ask<'_>]) -> Standings {
        self.buckets.take(asks, Instant::now())
    }

    /// Takes a permit of every limit, or of none if one refuses, wherever they are counted. Permits that a lease holds stay in it.
    ///
    /// `patience` is how long a call may wait for the store in all; what is spent here is subtracted.
    ///
    /// # Errors
    /// The store does not answer, and a limit says that then nobody passes.
    pub async fn take(&self, asks: &[Ask<'_>], patience: &mut Duration) -> Result<Standings, Unavailable> {
        let Some(redis) = &self.redis else { return Ok(self.take_here(asks)) };
        let started = Instant::now();
        let answer = match asks {
            [ask] if ask.limit.mode == Mode::Leased => {
                self.leases.take(redis, ask, *patience).await.map(|standing| Standings::from_elem(standing, 1))
            }
            _ => self.take_all(redis, asks, started, *patience).await,
        };
        *patience = patience.saturating_sub(started.elapsed());
        answer.or_else(|Unavailable| self.take_alone(asks))
    }

    /// Leases first: what they gave can be given back.
    async fn take_all(
        &self,
        redis: &Redis,
        asks: &[Ask<'_>],
        started: Instant,
        patience: Duration,
    ) -> Result<Standings, Unavailable> {
        let mut standings: Standings = asks.iter().map(|ask| Standing::full(&ask.limit.quota)).collect();
        let mut held = Held { leases: &self.leases, asks: SmallVec::new() };
        for (ask, standing) in asks.iter().zip(&mut standings) {
            if ask.limit.mode == Mode::Leased {
                *standing = self.leases.take(redis, ask, patience.saturating_sub(started.elapsed())).await?;
                if standing.granted == 0 {
                    return Ok(standings);
                }
                held.asks.push(ask);
            }
        }
        let exact = |ask: &Ask<'_>| ask.limit.mode == Mode::Exact;
        let wants: SmallVec<[Want<'_>; 4]> =
            asks.iter().filter(|ask| exact(ask)).map(|ask| Want { ask: *ask, permits: 1 }).collect();
        if !wants.is_empty() {
            let mut told = redis.take(&wants, patience.saturating_sub(started.elapsed())).await?.into_iter();
            for (ask, standing) in asks.iter().zip(&mut standings) {
                if exact(ask) {
                    *standing = told.next().ok_or(Unavailable)?;
                }
            }
        }
        if standings.iter().all(|standing| standing.granted > 0) {
            held.asks.clear();
        }
        Ok(standings)
    }

    /// What holds while nobody can be asked.
    fn take_alone(&self, asks: &[Ask<'_>]) -> Result<Standings, Unavailable> {
        if asks.iter().any(|ask| ask.limit.on_store_failure == OnStoreFailure::Deny) {
            return Err(Unavailable);
        }
        let is_local = |ask: &&Ask<'_>| ask.limit.on_store_failure == OnStoreFailure::Local;
        let local: SmallVec<[Ask<'_>; 4]> = asks.iter().filter(is_local).copied().collect();
        let mut told = self.buckets.take(&local, Instant::now()).into_iter();
        let mut standing = |ask: &Ask<'_>| match ask.limit.on_store_failure {
            OnStoreFailure::Local => told.next(),
            OnStoreFailure::Allow | OnStoreFailure::Deny => None,
        };
        Ok(asks
            .iter()
            .map(|ask| standing(ask).unwrap_or(Standing { granted: 1, ..Standing::full(&ask.limit.quota) }))
            .collect())
    }

    /// Everything that gateways tell each other from now on, this one included.
    pub fn listen(&self) -> tokio::sync::broadcast::Receiver<Event> {
        self.events.listen()
    }

    /// Tells all gateways, this one first; `topic` is a word of ours.
    ///
    /// # Errors
    /// The others were not told.
    pub async fn tell(&self, topic: &'static str, payload: &[u8]) -> Result<(), Unavailable> {
        self.events.here(topic, payload);
        match &self.redis {
            Some(redis) => events::publish(redis, topic, payload).await,
            None => Ok(()),
        }
    }

    /// Keeps up what is beside the calls, until stopped.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let sweep = async {
            loop {
                tokio::time::sleep(SWEEP).await;
                self.buckets.sweep(Instant::now());
                self.used.sweep(Instant::now());
                self.leases.sweep();
            }
        };
        let follow = async {
            if let Some(redis) = &self.redis {
                self.events.follow(redis).await;
            }
        };
        let _ = stop.run_until_cancelled(async { tokio::join!(sweep, follow) }).await;
    }
}

/// Permits out of leases, given back unless they are used.
struct Held<'a> {
    leases: &'a Leases,
    asks: SmallVec<[&'a Ask<'a>; 2]>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        for ask in &self.asks {
            self.leases.give_back(ask);
        }
    }
}
