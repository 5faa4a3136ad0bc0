//! Upstream: the services behind the gateway, and the way of a call to one of them.
//!
//! ```text
//! permit → loop { whose turn → stream of a connection → send → reply }
//! ```
//!
//! Shared by all workers are the endpoints' health, whose turn it is, and counters; connections belong to a worker's
//! [`Pool`]. A call goes to each endpoint at most once, and to a second one only if the first cannot have seen it.

mod attempt;
mod balance;
mod body;
mod connection;
mod endpoint;
mod exchange;
mod failure;
mod health;
mod pick;
mod pool;
mod pump;
mod reaper;
mod reply;
mod send;
mod status;
mod watch;
mod wheel;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use http::{HeaderMap, Uri};
use tokio::sync::Notify;

use crate::config;
use crate::telemetry::Metrics;

pub use body::ReplyBody;
pub use failure::{Answer, Failure, FailureKind, Seen};
pub use pool::Pool;
pub use reply::Unary;
pub use send::Streaming;
pub use status::status_of;

use balance::Roster;
use endpoint::Endpoint;

/// One upstream, running.
pub struct Upstream {
    name: Arc<str>,
    config: config::Upstream,
    roster: Arc<Roster>,
    in_flight: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    /// Some of its names have not been resolved yet.
    unresolved: AtomicBool,
    resolved: Notify,
}

/// A request, as far as HTTP/2 is concerned.
#[derive(Debug)]
pub struct Outgoing {
    /// `http://authority/pkg.Service/Method`, constant.
    pub uri: Uri,
    /// The metadata. What gRPC itself needs (`te`, `content-type`, `grpc-timeout`) is set when it is sent; a `content-type`
    /// of the caller's own stays.
    pub headers: HeaderMap,
    /// When the caller has no more use for an answer.
    pub deadline: Instant,
}

/// What `/upstreams` says of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// `ip:port`.
    pub address: Arc<str>,
    /// It gets calls and is known to answer. One that was not reached yet is tried, but not promised.
    pub usable: bool,
    /// A connection to it was made, and none has failed since.
    pub reached: bool,
    /// The last attempt to connect to it failed.
    pub down: bool,
    /// What its health check says; true without one.
    pub healthy: bool,
    /// Open connections over all workers.
    pub connections: i64,
    /// Calls there now.
    pub in_flight: i64,
}

impl Upstream {
    /// Endpoints written as addresses can be called at once, names once [`Upstream::watch`] has resolved them.
    pub fn compile(name: &str, config: &config::Upstream, metrics: &Arc<Metrics>) -> Arc<Self> {
        let upstream = Self {
            name: name.into(),
            config: config.clone(),
            roster: Arc::new(Roster::new()),
            in_flight: Arc::new(AtomicUsize::new(0)),
            metrics: Arc::clone(metrics),
            unresolved: AtomicBool::new(config.endpoints.iter().any(|endpoint| literal(endpoint).is_none())),
            resolved: Notify::new(),
        };
        upstream.set_addresses(&config.endpoints.iter().filter_map(literal).collect::<Vec<_>>());
        Arc::new(upstream)
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What was written.
    pub fn config(&self) -> &config::Upstream {
        &self.config
    }

    /// Endpoints that get calls and were reached at least once.
    pub fn usable(&self) -> usize {
        self.roster.usable()
    }

    /// Every endpoint as it is now.
    pub fn describe(&self) -> Vec<EndpointState> {
        let state = |endpoint: &Arc<Endpoint>| EndpointState {
            address: Arc::clone(&endpoint.label),
            usable: endpoint.usable(),
            reached: endpoint.reached(),
            down: endpoint.down(),
            healthy: endpoint.healthy(),
            connections: endpoint.metrics.connections().value(),
            in_flight: endpoint.metrics.in_flight().value(),
        };
        self.roster.all().iter().map(state).collect()
    }

    fn set_addresses(&self, addresses: &[SocketAddr]) {
        self.roster.set_addresses(addresses, |address| {
            Endpoint::new(address, self.config.connections, self.metrics.endpoint(&self.name, &address.to_string()))
        });
    }

    fn is_resolved(&self) -> bool {
        !self.unresolved.load(Ordering::Acquire)
    }

    /// One of the calls that may be in flight.
    fn permit(&self) -> Result<Permit, Failure> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(Arc::clone(&self.in_flight));
        if before < self.config.limits.in_flight {
            return Ok(permit);
        }
        Err(Failure::new(Seen::Local, FailureKind::Overloaded, "limits.in_flight is reached"))
    }
}

/// An endpoint that is written as an address.
fn literal(endpoint: &config::Endpoint) -> Option<SocketAddr> {
    endpoint.host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, endpoint.port))
}

/// A call in flight.
struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
