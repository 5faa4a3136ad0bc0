//! Upstream: the services behind the gateway, and the way of a call to one of them.
//!
//! ```text
//! permit → loop { whose turn → stream of a connection → send → reply }
//! ```
//!
//! Shared by all workers are the endpoints' health, whose turn it is, and counters; connections belong to a worker's
//! [`Pool`]. A try goes to each endpoint at most once, and on to another only if the first cannot have seen it; more tries are
//! `retry`'s to make, one beside another `hedge`'s.

mod arrival;
mod attempt;
mod balance;
mod body;
mod breaker;
mod concurrency;
mod connection;
mod endpoint;
mod exchange;
mod failure;
mod first;
mod greeting;
mod group;
mod health;
mod hedge;
mod keepalive;
mod metadata;
mod opening;
mod outliers;
mod part;
mod parting;
mod pauses;
mod permit;
mod pick;
mod pings;
mod pool;
mod pump;
mod queue;
mod reaper;
mod replay;
mod reply;
mod retry;
mod send;
mod sent;
mod tally;
mod turns;
mod waiting;
mod warmth;
mod watch;
mod watches;
mod wheel;
mod zone;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use transom_transcode::schema::Idempotency;

use crate::config::{self, Priority};
use crate::telemetry::{Circuit, Metrics};
use crate::tls::Connector;

pub use body::ReplyBody;
pub use endpoint::LastFailure;
pub use failure::{Answer, Failure, FailureKind, Seen};
pub use metadata::{About, Metadata};
pub use pool::Pool;
pub use reply::Unary;
pub use retry::Retry;
pub use send::Streaming;
pub use sent::Takes;
pub use watches::Watches;

use balance::Roster;
use concurrency::Adaptive;
use endpoint::Endpoint;
use group::Group;
use permit::Permit;
use retry::Budget;

/// One upstream, running under one configuration.
pub struct Upstream {
    config: config::Upstream,
    /// How many of its calls may be further tries.
    budget: Option<Arc<Budget>>,
    /// Its limit of calls in flight, where that follows its latency.
    adaptive: Option<Arc<Adaptive>>,
    /// Its endpoints, which a reload may keep.
    group: Arc<Group>,
    /// The group's.
    roster: Arc<Roster>,
    /// How its endpoints are spoken to once it is enacted; none: in the clear.
    tls: Option<Arc<Connector>>,
    /// The endpoints that calls aimed at its canary go to first.
    canary: Option<Arc<Roster>>,
}

/// A request, as far as HTTP/2 is concerned.
#[derive(Debug)]
pub struct Outgoing<'r> {
    /// `http://authority/pkg.Service/Method`, constant.
    pub uri: &'r Uri,
    /// The metadata.
    pub headers: Metadata,
    /// When the caller has no more use for an answer.
    pub deadline: Instant,
    /// How old its stream may grow, give or take a tenth; what streams nothing has a deadline.
    pub max_age: Option<&'r Duration>,
    /// The deadline is not of the client's making: that it passes speaks against the endpoint.
    pub patient: bool,
    /// One message there and one back, the first of which is here or comes at once.
    pub single: bool,
    /// Whose calls are refused first where the upstream's limit comes near.
    pub priority: Priority,
    /// Which endpoints it may go to.
    pub aim: Aim,
    /// How the call is tried again when it fails.
    pub retry: Option<&'r Retry>,
    /// What its method takes, where a service that calls that an error of its own would be held to it.
    pub takes: Option<&'r Arc<Takes>>,
}

/// Which endpoints a call may go to, where that is not a matter of turns alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Aim {
    /// What keeps its client at one endpoint, where the upstream balances so.
    pub key: Option<NonZeroU32>,
    /// The [key](key_of) of the label that they must have, where the upstream has subsets.
    pub subset: Option<NonZeroU32>,
    /// First to the canary's, if the upstream has one.
    pub canary: bool,
}

impl Aim {
    /// It matters who answers: a client is to stay where it is, or a canary is to be tried.
    pub(super) fn is_somewhere(self) -> bool {
        self.key.is_some() || self.canary
    }
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
    /// What its health check says; without one, that it is not down.
    pub healthy: bool,
    /// What went wrong there last; it is kept when the endpoint is well again.
    pub last_failure: Option<LastFailure>,
    /// What its breaker says; closed without one.
    pub circuit: Circuit,
    /// It stands out from its peers for failing or being slow, and gets no calls for a while.
    pub ejected: bool,
    /// It came, or came back, and does not get all of its turns yet.
    pub warming: bool,
    /// Open connections over all workers.
    pub connections: i64,
    /// Calls there now.
    pub in_flight: i64,
}

impl<'r> Outgoing<'r> {
    /// A call of the gateway's own, without metadata: whoever is late with its answer is at fault, and it is refused last.
    pub fn own(uri: &'r Uri, deadline: Instant) -> Self {
        Self {
            uri,
            headers: Metadata::default(),
            deadline,
            max_age: None,
            patient: true,
            single: true,
            priority: Priority::High,
            aim: Aim::default(),
            retry: None,
            takes: None,
        }
    }

    /// The same for who sends it; what is left has no metadata.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self { headers: std::mem::take(&mut self.headers), ..*self }
    }
}

impl Upstream {
    /// Endpoints written as addresses can be called at once, names once [`Watches`] have resolved them.
    pub fn compile(name: &str, config: &config::Upstream, metrics: &Arc<Metrics>) -> Arc<Self> {
        Self::compile_with(name, config, None, metrics)
    }

    /// The same, where its endpoints are spoken to by TLS.
    pub fn compile_with(
        name: &str,
        config: &config::Upstream,
        tls: Option<Arc<Connector>>,
        metrics: &Arc<Metrics>,
    ) -> Arc<Self> {
        Self::anew(Group::new(name, config, None, metrics), config, tls, metrics)
    }

    fn anew(group: Arc<Group>, config: &config::Upstream, tls: Option<Arc<Connector>>, metrics: &Metrics) -> Arc<Self> {
        group.tls.store(tls.clone());
        Self::of(group, config, tls, (None, metrics))
    }

    /// The same upstream under another configuration. It shares what runs if one of its endpoints stays; until
    /// [`Upstream::enact`] nothing of that changes.
    pub fn recompile(
        &self,
        config: &config::Upstream,
        tls: Option<Arc<Connector>>,
        metrics: &Arc<Metrics>,
    ) -> Arc<Self> {
        // Connections made by other rules are no longer to be used; new files of the same rules are for new connections.
        if self.group.goes_on_in(config) && self.config.tls == config.tls {
            Self::of(Arc::clone(&self.group), config, tls, (self.adaptive.as_ref(), metrics))
        } else {
            Self::anew(Group::new(self.name(), config, Some(&self.group), metrics), config, tls, metrics)
        }
    }

    fn of(
        group: Arc<Group>,
        config: &config::Upstream,
        tls: Option<Arc<Connector>>,
        (before, metrics): (Option<&Arc<Adaptive>>, &Metrics),
    ) -> Arc<Self> {
        let budget = config.retry.as_ref().map(|retry| Arc::new(Budget::new(retry.budget)));
        let adaptive = config
            .adaptive_concurrency
            .as_ref()
            .map(|rule| Adaptive::new(rule, config.limits.in_flight, before, || metrics.upstream_limit(&group.name)));
        Arc::new(Self {
            config: config.clone(),
            budget,
            adaptive,
            roster: Arc::clone(&group.roster),
            group,
            tls,
            canary: None,
        })
    }

    /// The same, where calls that are aimed so go to this one's endpoints, as long as one of those takes them.
    #[must_use]
    pub fn with_canary(self: &Arc<Self>, canary: &Self) -> Arc<Self> {
        if self.canary.as_ref().is_some_and(|roster| Arc::ptr_eq(roster, &canary.roster)) {
            return Arc::clone(self);
        }
        Arc::new(Self {
            config: self.config.clone(),
            budget: self.budget.clone(),
            adaptive: self.adaptive.clone(),
            group: Arc::clone(&self.group),
            roster: Arc::clone(&self.roster),
            tls: self.tls.clone(),
            canary: Some(Arc::clone(&canary.roster)),
        })
    }

    /// How its endpoints are spoken to, if not in the clear.
    pub fn tls(&self) -> Option<&Arc<Connector>> {
        self.tls.as_ref()
    }

    /// Whether this is how.
    pub fn has_tls(&self, tls: Option<&Arc<Connector>>) -> bool {
        self.tls.as_ref().map(Arc::as_ptr) == tls.map(Arc::as_ptr)
    }

    /// From now on this configuration is the one that counts: endpoints come and go, the others keep their connections.
    pub fn enact(&self) {
        self.group.tls.store(self.tls.clone());
        self.group.follow(&self.config);
    }

    /// Until it is known of each endpoint whether it answers.
    pub async fn settled(&self) {
        self.group.settled().await;
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.group.name
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
        let now = Instant::now();
        let state = |endpoint: &Arc<Endpoint>| EndpointState {
            address: Arc::clone(&endpoint.label),
            usable: endpoint.usable() && self.roster.turns_to(endpoint),
            reached: endpoint.reached(),
            down: endpoint.down(),
            healthy: endpoint.healthy() && !endpoint.down(),
            last_failure: endpoint.last_failure(),
            circuit: endpoint.breaker.circuit(now).0,
            ejected: endpoint.ejected(),
            warming: endpoint.warmth.is_growing(),
            connections: endpoint.metrics.connections().value(),
            in_flight: endpoint.metrics.in_flight().value(),
        };
        self.roster.all().iter().map(state).collect()
    }

    /// Some endpoint takes calls.
    pub fn is_live(&self) -> bool {
        self.roster.is_live(Aim::default())
    }

    /// Open when no endpoint takes calls because of its breaker.
    pub fn circuit(&self) -> Circuit {
        self.roster.circuit(Aim::default(), Instant::now()).0
    }

    /// A rule for calls to it: its own, or one of theirs with a budget of its own.
    pub fn retry(&self, rule: &config::Retry, repeats: Idempotency) -> Option<Retry> {
        let own = self.budget.as_ref().filter(|_| self.config.retry.as_ref() == Some(rule));
        let budget = own.cloned().unwrap_or_else(|| Arc::new(Budget::new(rule.budget)));
        Retry::new(rule, repeats, budget)
    }
}

/// The key of calls that have this text in common; the same in every gateway.
pub fn key_of(text: &[u8]) -> NonZeroU32 {
    u32::try_from(turns::place_of(text) >> 32).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

/// An endpoint that is written as an address.
fn literal(endpoint: &config::Endpoint) -> Option<SocketAddr> {
    let config::Place::Host { host, port } = &endpoint.place else { return None };
    host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, *port))
}

#[cfg(test)]
mod tests;
