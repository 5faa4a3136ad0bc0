//! `admin` and `public_endpoints`: who sees the gateway's own state, and where.

use std::net::SocketAddr;

/// The admin port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What a caller from elsewhere than loopback must present as `Authorization: Bearer`; none: loopback only.
    pub token: Option<String>,
}

/// A built-in endpoint that may answer on `listen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicEndpoint {
    /// `/health`, `/livez`, `/readyz` and `grpc.health.v1.Health`.
    Health,
    /// `/health/detailed`.
    HealthDetailed,
    /// `/metrics`.
    Metrics,
}
