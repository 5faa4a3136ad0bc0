//! What the user wrote: plain data, one file per section. No I/O happens here.

mod admin;
mod method;
mod schema;
mod upstream;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use admin::{Admin, PublicEndpoint};
pub use method::{Method, MethodLimits, Output, UnknownFields};
pub use schema::{Expose, Schema};
pub use upstream::{Balance, Endpoint, HealthCheck, Upstream, UpstreamLimits};

/// One `transom.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Every protocol on this one port.
    pub listen: SocketAddr,
    /// Worker threads: `cores` (what the cgroup allows) or a number.
    pub workers: Workers,
    /// The admin port.
    pub admin: Admin,
    /// Which built-in endpoints answer on `listen` too.
    pub public_endpoints: Vec<PublicEndpoint>,
    /// Networks whose `X-Forwarded-For` is believed: the rightmost address outside them is the client.
    pub trusted_proxies: Vec<Network>,
    /// How long calls in flight may take to end after SIGTERM.
    pub drain_timeout: Duration,
    /// Where schemas come from.
    pub schema: Schema,
    /// The services behind the gateway, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Policies by `pkg.Service/Method` or `pkg.Service/*`; the most specific wins, key by key.
    pub methods: BTreeMap<String, Method>,
}

/// How many workers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// One per core that the process may use.
    Cores,
    /// This many.
    Count(usize),
}

/// An address block: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// Leading bits that must agree.
    pub prefix: u8,
}
