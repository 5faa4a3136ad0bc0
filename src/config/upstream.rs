//! `upstreams`: the services behind the gateway.

use std::time::Duration;

/// One upstream: endpoints that serve the same services.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Full names of the services it serves.
    pub services: Vec<String>,
    /// Where it runs.
    pub endpoints: Vec<Endpoint>,
    /// Its name in `/health/detailed`; by default the upstream's own.
    pub health_name: Option<String>,
    /// How endpoints take turns.
    pub balance: Balance,
    /// Active checks by `grpc.health.v1`; none: connected is healthy.
    pub health_check: Option<HealthCheck>,
    /// A call's deadline, passed on as `grpc-timeout`.
    pub timeout: Duration,
    /// HTTP/2 connections per endpoint in total; at least one per worker.
    pub connections: usize,
    /// Bounds of a call and of all calls.
    pub limits: UpstreamLimits,
    /// Readiness waits for a usable endpoint of it.
    pub required: bool,
}

/// `host:port`; a name stands for all its addresses, re-resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A host name or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How endpoints take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
}

/// Active health checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Time from one check's end to the next.
    pub interval: Duration,
    /// Time that one check may take.
    pub timeout: Duration,
    /// The service asked for; empty asks for the server as a whole.
    pub service: String,
}

/// What an upstream's calls may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Calls in flight.
    pub in_flight: usize,
    /// Bytes of one message from the upstream.
    pub receive: usize,
    /// Bytes of one message to the upstream.
    pub send: usize,
}
