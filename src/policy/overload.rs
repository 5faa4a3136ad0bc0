//! Overload: how many calls may be in flight, of one client too, and whose are refused first as that comes near.
//!
//! A call that is refused here has cost its head and nothing else: this is asked before tokens are verified and bodies
//! are read. Without that a gateway that is full would spend its time on calls that it cannot serve.

mod clients;

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::config::{Config, Network, Priority};
use crate::envelope::origin::is_proxy;
use crate::error::Error;
use crate::telemetry::{Metrics, Refusals};
use clients::Clients;

/// When who was refused may come again: the time of some calls.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Of so many places, of the gateway or an upstream or an endpoint's streams, one is left to calls that are answered once: what streams
/// stays for as long as its client likes.
pub const KEPT: usize = 8;

/// The places of calls in flight, over all upstreams.
pub struct Places {
    all: usize,
    /// Those of one client, where that is written.
    per_client: Option<usize>,
    /// Behind each of these are many clients.
    proxies: Box<[Network]>,
    /// Shared with those that a reload puts in their place, like the next: calls stay in flight.
    taken: Arc<AtomicUsize>,
    clients: Arc<Clients>,
    /// By priority.
    refused: [Refusals; 3],
    refused_clients: Refusals,
}

/// What a call asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Of its method.
    pub priority: Priority,
    /// It may stay for as long as its client likes.
    pub streams: bool,
}

/// A place that a call has; it is given back by [`Places::leave`].
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Who it is counted for, too.
    client: Option<IpAddr>,
}

impl Places {
    /// What is configured; who has one of the `previous` has one of these.
    pub fn compile(config: &Config, metrics: &Metrics, previous: Option<&Arc<Self>>) -> Arc<Self> {
        let (all, per_client) = (config.overload.in_flight, config.overload.in_flight_per_client);
        let (taken, clients) = match previous {
            Some(previous) => (previous.taken.clone(), previous.clients.clone()),
            None => Default::default(),
        };
        Arc::new(Self {
            all,
            per_client,
            proxies: config.trusted_proxies.as_slice().into(),
            taken,
            clients,
            refused: ["low", "normal", "high"].map(|priority| metrics.refusals("overload", priority)),
            refused_clients: metrics.refusals("overload", "client"),
        })
    }

    /// One more call of a client; who enters leaves.
    ///
    /// # Errors
    /// [`Error::RateLimited`], where the client has all that one may have; [`Error::Overloaded`], where what is free is kept for others.
    #[inline]
    pub fn enter(&self, client: IpAddr, wish: Wish) -> Result<Place, Error> {
        let place = Place { client: self.count(client)? };
        if self.taken.fetch_add(1, Ordering::Relaxed) < share(self.all, wish) {
            return Ok(place);
        }
        self.leave(place);
        self.refused[wish.priority as usize].count();
        Err(Error::Overloaded { retry_after: RETRY_AFTER })
    }

    /// One call less.
    #[inline]
    pub fn leave(&self, place: Place) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        if let Some(client) = place.client {
            self.clients.leave(client);
        }
    }

    /// The client, where its calls are counted. What nobody has written does not hold for who is on this machine.
    fn count(&self, client: IpAddr) -> Result<Option<IpAddr>, Error> {
        let most = match self.per_client {
            None if client.to_canonical().is_loopback() => return Ok(None),
            None => (self.all / 4).max(1),
            Some(most) => most,
        };
        if self.clients.enter(client, most) {
            return Ok(Some(client));
        }
        if is_proxy(client, &self.proxies) {
            return Ok(None);
        }
        self.refused_clients.count();
        Err(Error::RateLimited { retry_after: RETRY_AFTER })
    }
}

/// How many of so many places a call may find taken and still enter. A few places are not worth keeping free.
#[inline]
pub fn share(places: usize, wish: Wish) -> usize {
    let most = match wish.priority {
        Priority::Low => places - places / 4,
        Priority::Normal => places - places / 10,
        Priority::High => places,
    };
    if wish.streams { most - most / KEPT } else { most }
}

/// A time, give or take a tenth: what began together does not end together.
pub fn about(time: Duration) -> Duration {
    time * 9 / 10 + time / 5 * chance() / 1024
}

/// Something of 1024.
pub fn chance() -> u32 {
    // Every hasher state is seeded afresh: randomness enough.
    u32::try_from(foldhash::fast::RandomState::default().hash_one(0) % 1024).unwrap_or(0)
}

#[cfg(test)]
mod tests;
