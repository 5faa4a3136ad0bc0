//! What the user wrote: plain data, one file per section. No I/O happens here.
//!
//! [`parse`] reads a `transom.yaml` and tells every problem of it at once, each with its line, its place in the document
//! and what to write instead. Each key is declared once, in its section's struct: that declaration is how it is read,
//! what [`reference()`] says of it and what [`json_schema`] allows.

mod admin;
mod aim;
mod auth;
mod burst_guard;
mod cache;
mod check;
mod clients;
mod cluster;
mod connect;
mod cors;
mod describe;
mod dns;
mod endpoint;
mod fallback;
mod http_rule;
mod kind;
mod method;
mod overload;
mod problem;
mod rate;
mod read;
mod redis;
mod retry;
mod schema;
mod secrets;
mod sessions;
mod source;
mod tls;
#[cfg(test)]
mod tests;
mod tree;
mod units;
mod upstream;
mod vars;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use admin::{Admin, PublicEndpoint};
pub use aim::{Canary, Otherwise, Subset};
pub use auth::{
    Access, Algorithm, Auth, InvalidStatus, Jwks, Jwt, OnDeaf, Requirements, Secret, TokenSource, TokenType, Verify,
    VerifyMethod, is_pem,
};
pub use burst_guard::BurstGuard;
pub use cache::{Cache, Invalidation, MethodCache};
pub use clients::Clients;
pub use cluster::Cluster;
pub use connect::{ConnectToken, HandOut};
pub use cors::{AllowedHeader, AllowedOrigin, Cors};
pub use describe::{json_schema, reference};
pub use dns::Dns;
pub use endpoint::{Endpoint, Place, Service, Weight};
pub use fallback::Fallback;
pub use http_rule::{AdditionalBinding, CustomPattern, HttpRule};
pub use method::{Headers, Method, MethodLimits, Output, Sanitize, UnknownFields, Validate};
pub use overload::{Overload, Priority};
pub use problem::{Problem, Problems};
pub use rate::{By, Mode, Normalize, OnStoreFailure, PUBLIC, Penalty, Rate, RateLimit, USERS};
pub use read::nearest;
pub use redis::Redis;
pub use retry::{Percent, Retry, RetryOn};
pub use schema::{Breaking, Expose, Schema};
pub use secrets::{AppRole, Kubernetes, Secrets, Vault};
pub use sessions::{
    ACCESS as ACCESS_TOKEN, AccessCookie, InBody, Issue, OwnRoute, REFRESH as REFRESH_TOKEN, RefreshCookie, SameSite,
    Sessions,
};
pub use source::Source;
pub use tls::{Tls, UpstreamTls};
pub use tree::MAX_TEXT;
pub use units::{duration as parse_duration, write_size};
pub use upstream::{
    AdaptiveConcurrency, Balance, CircuitBreaker, HashBy, HealthCheck, Keepalive, OutlierEjection, SlowStart, Upstream,
    UpstreamLimits,
};
pub use vars::Lookup;

use kind::{Kind as _, checked, choice, count, duration, either, list, map, network, socket};
use read::{Reader, section};

/// A millisecond.
const MILLISECOND: Duration = Duration::from_millis(1);
/// An hour.
const HOUR: Duration = Duration::from_secs(3600);

section! {
    /// One `transom.yaml`.
    pub struct Config {
        /// Every protocol on this one port.
        listen: SocketAddr = socket().or("0.0.0.0:3000"),
        /// Worker threads: `cores` (what the cgroup allows) or a number.
        workers: Workers = either(checked("`cores`", cores), counted()).or("cores"),
        /// TLS on `listen`; without it HTTP/2 and HTTP/1.1 are spoken in the clear.
        tls: Option<Tls> = kind::section().optional(),
        /// Hosts by which clients reach the gateway, such as `api.example.com`, with the port where that is another than 443: where it redirects to, whatever host a request names.
        hosts: Vec<String> = list(checked("a host such as `api.example.com`", tls::host)).or("[]"),
        /// The gateway's own state and metrics.
        admin: Admin = kind::section().or("{}"),
        /// Which built-in endpoints answer on `listen` too.
        public_endpoints: Vec<PublicEndpoint> = list(choice()).or("health"),
        /// Networks whose `X-Forwarded-For` is believed: the rightmost address outside them is the client. Of who calls from there services are also told `X-Forwarded-Proto` (`http` or `https`) and `X-Forwarded-Host` as they come: such a proxy sets all three itself, or takes off what its clients send.
        trusted_proxies: Vec<Network> = list(network()).or("[]"),
        /// What one client (its address; IPv6 by /64) may do at all, in each gateway: more calls get 429. Connections count by themselves: of more than twice as many (128 at once at least) the client's are closed before TLS, unless it is one of `trusted_proxies`. Health endpoints are exempt. Without it there is no such bound.
        burst_guard: Option<BurstGuard> = kind::section().optional(),
        /// What all calls together may take.
        overload: Overload = kind::section().or("{}"),
        /// What clients may take of connections.
        clients: Clients = kind::section().or("{}"),
        /// Where it runs: `production` sets cookies for HTTPS and the own site, every other name for development.
        environment: String = checked("a name such as `production`", environment).or("development"),
        /// How long calls in flight may take to end after SIGTERM.
        drain_timeout: Duration = duration(Duration::ZERO..=HOUR).or("30s"),
        /// Headers of REST that cross beside the usual, for every method that names none of its own.
        headers: Headers = kind::section().or("{}"),
        /// Which pages of other origins may call, for every method that does not say otherwise and for the built-in endpoints.
        cors: Cors = kind::section().or("{}"),
        /// The replies that are kept of methods that say so.
        cache: Cache = kind::section().or("{}"),
        /// What gateways share: counters of rate limits, sessions, revoked tokens. Without it each keeps its own.
        redis: Redis = kind::section().or("{}"),
        /// Limits by name; methods name theirs. One named `public` is that of every public method that names none, one named `users` that of every other.
        rate_limits: BTreeMap<String, RateLimit> = map("a name", upstream::check_name, kind::section()).or("{}"),
        /// Where secrets are kept that this file only names.
        secrets: Secrets = kind::section().or("{}"),
        /// Where schemas come from.
        schema: Schema = kind::section().or("{}"),
        /// Where the gateway runs. Endpoints whose label `zone` is the same get its calls as long as seven in ten of them, by weight, take any; with fewer the rest of the calls goes to the others.
        zone: Option<String> = kind::text("a zone such as `eu-west-1a`").optional(),
        /// How names of endpoints are looked up.
        dns: Dns = kind::section().or("{}"),
        /// Where endpoints such as `kubernetes://namespace/service:port` are read.
        kubernetes: Cluster = kind::section().or("{}"),
        /// The services behind the gateway, by name.
        upstreams: BTreeMap<String, Upstream> = map("a name", upstream::check_name, kind::section()).required(),
        /// Who may call; without it everyone may.
        auth: Option<Auth> = kind::section().optional(),
        /// Tokens in a service's answers as cookies; without it none are set.
        sessions: Option<Sessions> = kind::section().optional(),
        /// Policies by `pkg.Service/Method` or `pkg.Service/*`; the most specific wins, key by key.
        methods: BTreeMap<String, Method> =
            map("`pkg.Service/Method` or `pkg.Service/*`", method::check_name, kind::section()).or("{}"),
    }
    beside {
        /// The text that it was read from.
        source: Source,
        /// The folder that relative paths start at.
        folder: PathBuf,
    }
    absent: "routes"
}

/// Reads a `transom.yaml`; `lookup` gives environment variables.
///
/// # Errors
/// Every problem of the text.
pub fn parse(text: &str, lookup: Lookup<'_>) -> Result<Config, Problems> {
    match Reading::of(text, lookup) {
        Reading { config: Some(config), problems } if problems.is_empty() => Ok(config),
        Reading { problems, .. } => Err(problems),
    }
}

/// What a text says, as far as that can be read, and every problem of it.
#[derive(Debug)]
pub struct Reading {
    /// It must not run if there is a problem: what is wrong has its default then. None if the text is no tree of keys.
    pub config: Option<Config>,
    /// All of them.
    pub problems: Problems,
}

impl Reading {
    /// Reads a `transom.yaml`; `lookup` gives environment variables.
    pub fn of(text: &str, lookup: Lookup<'_>) -> Self {
        let mut problems = Problems::default();
        let root = tree::parse(text, lookup, &mut problems);
        let Some(root) = root else { return Self { config: None, problems: problems.sorted() } };
        let (config, reader) = read(&root, problems, lookup);
        let Reader { problems, lines, secrets, elsewhere, .. } = reader;
        let source = Source::new(text, &secrets, lines, elsewhere.into_keys().collect());
        Self { config: config.map(|config| Config { source, ..config }), problems: problems.sorted() }
    }
}

fn read(root: &tree::Node, problems: Problems, lookup: Lookup<'_>) -> (Option<Config>, Reader) {
    let mut reader = Reader::new(Problems::default());
    // Which secrets are kept elsewhere shows when the text is read; what is wrong with it is told the second time.
    reader.read(&kind::section::<Config>(), root);
    let elsewhere = reader.wanted.into_iter().map(|name| {
        let kept = lookup(&name);
        (name, kept)
    });
    let elsewhere = elsewhere.collect();
    let mut reader = Reader::knowing(problems, elsewhere);
    let mut config = reader.read(&kind::section::<Config>(), root);
    if let Some(config) = &mut config {
        check::check(config, &mut reader);
        config.upstreams.values_mut().for_each(|upstream| upstream.zone.clone_from(&config.zone));
    }
    (config, reader)
}

/// A place in a document, as problems name it: `["methods", "a.B/C", "timeout"]` is `methods["a.B/C"].timeout`.
pub fn place(keys: &[&str]) -> String {
    let mut path = tree::Path::default();
    for key in keys {
        path.push_key(key);
    }
    path.text
}

/// How many workers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// One per core that the process may use.
    Cores,
    /// This many.
    Count(usize),
}

/// A name that only looks like `production` would take cookies' protection away, and nothing would say so.
fn environment(text: &str) -> Result<String, String> {
    const PRODUCTION: &str = "production";
    let begins = ["prod", "prd"].iter().any(|begin| text.to_ascii_lowercase().starts_with(begin));
    if text != PRODUCTION && (begins || nearest(text, [PRODUCTION].into_iter()).is_some()) {
        let text = problem::quote(text);
        return Err(format!("{text} would be development; write `{PRODUCTION}` if that is meant"));
    }
    Ok(text.to_owned())
}

fn cores(text: &str) -> Result<Workers, String> {
    if text == "cores" { Ok(Workers::Cores) } else { Err(String::new()) }
}

fn counted() -> kind::Single<Workers> {
    const MOST: usize = 256;
    count(1..=MOST).map(Workers::Count)
}

/// An address block: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// Leading bits that must agree.
    pub prefix: u8,
}

impl Network {
    /// Whether an address lies in it. An IPv4 address that came as IPv6 (`::ffff:10.0.0.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Self { address, ..*self }.first() == self.address
    }

    /// The address with only its leading bits.
    fn first(&self) -> IpAddr {
        let prefix = u32::from(self.prefix);
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        }
    }
}
