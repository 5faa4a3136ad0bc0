//! `admin` and `public_endpoints`: who sees the gateway's own state, and where.

use std::net::SocketAddr;

use super::auth::Secret;
use super::kind::{Kind as _, secret, socket};
use super::read::{choice, section};

section! {
    /// The admin port.
    pub struct Admin {
        /// Where it listens.
        listen: SocketAddr = socket().or("127.0.0.1:9090"),
        /// What a caller from elsewhere than loopback must present as `Authorization: Bearer`; none: loopback only.
        token: Option<Secret> = secret("a secret").optional(),
    }
}

choice! {
    /// A built-in endpoint that may answer on `listen`.
    pub enum PublicEndpoint {
        /// `/health`, `/livez`, `/readyz` and `grpc.health.v1.Health`.
        Health = "health",
        /// `/health/detailed`.
        HealthDetailed = "health_detailed",
        /// `/metrics`.
        Metrics = "metrics",
        /// `grpc.reflection.v1` and `v1alpha` of the services that clients reach.
        Reflection = "reflection",
    }
}
