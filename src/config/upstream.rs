//! `upstreams`: the services behind the gateway.

use std::time::Duration;

use http::HeaderName;

use super::aim::{Canary, Subset};
use super::endpoint::{Endpoint, Endpoints};
use super::kind::{self, Kind, Shape, checked, count, duration, flag, list, percent, size, text};
use super::problem::quote;
use super::read::{Reader, Section as _, nearest, section};
use super::retry::{Percent, Retry};
use super::tls::UpstreamTls;
use super::tree::{Node, Value};
use super::{HOUR, MILLISECOND};

/// Bytes that one message may have at most, by any limit: what a gRPC frame can carry.
const LARGEST: usize = 1 << 31;

section! {
    /// One upstream: endpoints that serve the same services.
    pub struct Upstream {
        /// Full names of the services it serves, beside those whose .proto says `option (transom.service).upstream`.
        services: Vec<String> = list(checked("a service's full name such as `pkg.Service`", service)).or("[]"),
        /// Where it runs: `host:port`, or a map with `address`. A host name stands for all its addresses, `srv://_grpc._tcp.name` for what its SRV records name; both are looked up again when their time (TTL) is over. `kubernetes://namespace/service:port` stands for the pods that its EndpointSlices name, the port by its name or the pods' number. What was found last stays while a name cannot be looked up.
        endpoints: Vec<Endpoint> = list(Endpoints).not_empty().required(),
        /// Its name in `/health/detailed`; by default the upstream's own.
        health_name: Option<String> = checked("a name", name).optional(),
        /// How endpoints take turns.
        balance: Balance = Balances.or("round_robin"),
        /// Calls go only to endpoints with a label that they ask for; none: to all of them.
        subset: Option<Subset> = kind::section().optional(),
        /// Another upstream that gets some of the calls.
        canary: Option<Canary> = kind::section().optional(),
        /// Active checks by `grpc.health.v1`; none: connected is healthy. `{}` checks with the defaults.
        health_check: Option<HealthCheck> = kind::section().optional(),
        /// Leaves an endpoint alone that fails call after call; the upstream is open when all of its endpoints are: 503 at once. None: calls always go there. `{}` holds the defaults.
        circuit_breaker: Option<CircuitBreaker> = kind::section().optional(),
        /// Leaves an endpoint alone for a while that fails or is slow where its peers are not. None: it is not compared. `{}` holds the defaults.
        outlier_ejection: Option<OutlierEjection> = kind::section().optional(),
        /// An endpoint that comes, or comes back, gets its share of calls little by little. None: all of it at once. `{}` holds the defaults. Not with `balance: hash`, where calls have their places.
        slow_start: Option<SlowStart> = kind::section().optional(),
        /// A call's deadline, passed on as `grpc-timeout`. What streams its answer has none but its method's own.
        timeout: Duration = duration(MILLISECOND..=24 * HOUR).or("5s"),
        /// Failed calls are tried again where that is safe; a method's own `retry` is in its place. None: a call moves to another endpoint only if none has seen it. `{}` holds the defaults.
        retry: Option<Retry> = kind::section().optional(),
        /// HTTP/2 connections per endpoint in total; at least one per worker.
        connections: usize = count(1..=1024).or("2"),
        /// To how many they grow while the streams of those are taken; at least one per worker. Those beyond `connections` close once they have been idle for half a minute. The last eighth of all their streams is for unary calls alone.
        max_connections: usize = count(1..=1024).or("8"),
        /// Bounds of a call and of all calls.
        limits: UpstreamLimits = kind::section().or("{}"),
        /// The limit of calls in flight follows the upstream's latency, up to `limits.in_flight`. None: it stands still. `{}` holds the defaults.
        adaptive_concurrency: Option<AdaptiveConcurrency> = kind::section().optional(),
        /// PINGs that find connections which are open and yet lead nowhere; none: the kernel finds those whose host has vanished.
        keepalive: Option<Keepalive> = kind::section().optional(),
        /// TLS to its endpoints; without it they are called in the clear.
        tls: Option<UpstreamTls> = kind::section().optional(),
        /// Readiness waits for a usable endpoint of it.
        required: bool = flag().or("false"),
    }
    beside {
        /// Where the gateway runs.
        zone: Option<String>,
    }
}

impl Upstream {
    /// Whether it has such a key, and that says how calls go there and not which.
    pub fn is_how_calls_go(key: &str) -> bool {
        key != "services" && Self::keys().iter().any(|known| known.name == key)
    }
}

/// How endpoints take turns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// One after the other, each as often as its weight says.
    #[default]
    RoundRobin,
    /// Of two that chance draws the one with fewer calls under way, by weight.
    LeastRequest,
    /// Calls that have something in common go to the same one, unless it has a quarter more calls under way than its share.
    Hash(HashBy),
}

/// What calls have in common that go to the same endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashBy {
    /// The client's address.
    Client,
    /// A cookie; a client without it is given one.
    Cookie(String),
    /// A request header.
    Header(HeaderName),
    /// A claim of the token.
    Claim(String),
}

section! {
    /// A balance that has more to say than its name.
    pub(super) struct BalanceKeys {
        /// Calls that have it in common go to the same endpoint (consistent hashing), unless that has a quarter more calls under way than its share. A call without it takes turns.
        hash: Option<HashKeys> = kind::section().optional(),
    }
}

section! {
    /// What calls have in common; exactly one of these.
    pub(super) struct HashKeys {
        /// A cookie by its name; a client that sends none is given one.
        cookie: Option<String> = checked("a cookie's name", cookie_name).optional(),
        /// A request header by its name.
        header: Option<HeaderName> = checked("a header's name", header_name).optional(),
        /// A claim of the token by its name.
        claim: Option<String> = text("a claim such as `sub`").optional(),
        /// `true`: the client's address.
        client: Option<bool> = flag().optional(),
    }
}

/// A balance by its name, or as a map.
struct Balances;

impl Kind for Balances {
    type Out = Balance;

    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Balance> {
        const WAYS: &str = "`round_robin`, `least_request` or `{hash: {cookie: name}}`";
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Text(text) if text == "round_robin" => return Some(Balance::RoundRobin),
            Value::Text(text) if text == "least_request" => return Some(Balance::LeastRequest),
            Value::Text(text) => {
                let hint = match nearest(text, ["round_robin", "least_request"].into_iter()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None if text.starts_with("weight") => {
                        "write `round_robin`, and `{address, weight}` among the `endpoints`".to_owned()
                    }
                    None => format!("write {WAYS}"),
                };
                reader.tell(node.line, format!("{} is not known here; {hint}", quote(text)));
                return None;
            }
            other => {
                reader.tell(node.line, format!("is {}; write {WAYS}", other.noun()));
                return None;
            }
        };
        let keys = reader.section::<BalanceKeys>(node.line, entries).hash;
        let by = keys.and_then(|HashKeys { cookie, header, claim, client }| {
            let client = client.filter(|client| *client).map(|_| HashBy::Client);
            let all = [cookie.map(HashBy::Cookie), header.map(HashBy::Header), claim.map(HashBy::Claim), client];
            let mut given = all.into_iter().flatten();
            given.next().filter(|_| given.next().is_none())
        });
        if by.is_none() {
            let ways = "`{hash: {…}}` with one of `cookie: name`, `header: name`, `claim: name`, `client: true`";
            reader.tell(node.line, format!("says not what to go by; write {ways}"));
        }
        by.map(Balance::Hash)
    }

    fn shape(&self) -> Shape {
        let keys = kind::section::<BalanceKeys>().shape();
        Shape::Either(Box::new(Shape::Text("`round_robin` or `least_request`")), Box::new(keys))
    }
}

pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{} is not a header's name", quote(text)))
}

/// RFC 6265 §4.1.1: a token.
fn cookie_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not a cookie's name", quote(text)))
    }
}

section! {
    /// Active health checks.
    pub struct HealthCheck {
        /// Time from one check's end to the next.
        interval: Duration = duration(100 * MILLISECOND..=HOUR).or("5s"),
        /// Time that one check may take.
        timeout: Duration = duration(MILLISECOND..=HOUR).or("1s"),
        /// So many checks in a row that fail or are not answered make an endpoint unhealthy. One that says it does not serve
        /// is at once, and so is one that was never found healthy.
        unhealthy_after: usize = count(1..=100).or("2"),
        /// The service asked for; empty asks for the server as a whole.
        service: String = text("a name").or(""),
    }
}

section! {
    /// When an endpoint is left alone, and for how long.
    pub struct CircuitBreaker {
        /// Failures in a row after which it is: UNAVAILABLE, INTERNAL, DEADLINE_EXCEEDED (not by a deadline of the client's own), broken streams, answers that are no gRPC, tries that a hedge has overtaken by far, connections that cannot be made. A connection that breaks is one, however many calls it carried.
        failures: usize = count(1..=10_000).or("5"),
        /// How long it gets no calls. One that was down or unhealthy meanwhile and is so no more is probed at once.
        open_for: Duration = duration(MILLISECOND..=HOUR).or("30s"),
        /// Calls that it then gets to prove itself: all must be served, one that fails opens it again.
        probes: usize = count(1..=100).or("1"),
    }
}

section! {
    /// When an endpoint stands out from its peers, and for how long it then gets no calls.
    pub struct OutlierEjection {
        /// The share of failed calls (failures as of `circuit_breaker`) at which it is ejected, if a quarter of all endpoints fail less than half as often.
        error_rate: Percent = percent().or("50%"),
        /// It is ejected when its unary calls take more than so many times what those of the median endpoint take, on average. None: its time is not looked at.
        latency_factor: Option<usize> = count(2..=100).optional(),
        /// The time that is looked back at.
        window: Duration = duration(100 * MILLISECOND..=HOUR).or("30s"),
        /// Calls in that time below which nothing is said of an endpoint.
        request_volume: usize = count(1..=1_000_000).or("20"),
        /// The most that may be ejected of all endpoints; those that get no calls for another reason count as well.
        max_ejected: Percent = percent().or("50%"),
        /// How long it is ejected for the first time; the second time twice as long, and so on. Each such time without an ejection makes up for one.
        base_ejection_time: Duration = duration(MILLISECOND..=HOUR).or("30s"),
        /// The longest ejection.
        max_ejection_time: Duration = duration(MILLISECOND..=24 * HOUR).or("5m"),
    }
}

section! {
    /// How endpoints that come, or come back, are led up to their whole share of calls.
    pub struct SlowStart {
        /// How long that takes.
        window: Duration = duration(100 * MILLISECOND..=HOUR).or("30s"),
        /// The part of its weight that an endpoint begins with.
        min_weight: Percent = percent().or("10%"),
    }
}

section! {
    /// What an upstream's calls may take.
    pub struct UpstreamLimits {
        /// Calls in flight; one more gets 503 or UNAVAILABLE, by its method's `priority` before that. Streams and WebSockets have seven eighths of what their priority may have: the rest is for calls whose answers are due.
        in_flight: usize = count(1..=1_000_000).or("1000"),
        /// Bytes of one message from the upstream; of a compressed one that crosses unread, those on the wire.
        receive: usize = size(1..=LARGEST).or("4MiB"),
        /// Bytes of one message to the upstream; of a compressed one that crosses unread, those on the wire.
        send: usize = size(1..=LARGEST).or("4MiB"),
    }
}

section! {
    /// How the limit of calls in flight follows the latency of unary calls: down in proportion as the middle one of a tenth of a second takes longer than it needs, up a little while places are scarce. What calls need is the least that they have taken, measured anew every 30 s. For upstreams whose methods take alike.
    pub struct AdaptiveConcurrency {
        /// Calls in flight that it always may have, but for the moments in which what they need is measured anew.
        min: usize = count(1..=1_000_000).or("8"),
        /// How many times as long as they need calls may take before the limit goes down.
        tolerance: usize = count(2..=100).or("2"),
    }
}

section! {
    /// PINGs to endpoints.
    pub struct Keepalive {
        /// Time from one to the next. Servers of gRPC allow one in five minutes unless they are told otherwise, and close connections that PING more often: an endpoint that says so (`too_many_pings`) is asked as seldom as they allow from then on, more seldom each time it says so again, and told in the log; that costs its open streams once. Another interval begins anew.
        interval: Duration = duration(100 * MILLISECOND..=HOUR).or("30s"),
        /// How long the answer may take; then the connection is given up and calls go elsewhere.
        timeout: Duration = duration(10 * MILLISECOND..=HOUR).or("5s"),
        /// Also while no call is open.
        idle: bool = flag().or("false"),
    }
}

pub(super) fn is_host(host: &str) -> bool {
    const LONGEST: usize = 253;
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host.len() <= LONGEST && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

fn service(text: &str) -> Result<String, String> {
    match text.strip_prefix('.') {
        Some(rest) if is_full_name(rest) => Err(format!("{} starts with a dot; write `{rest}`", quote(text))),
        _ if is_full_name(text) => Ok(text.to_owned()),
        _ => Err(format!("{} is not a service's full name; write `pkg.Service`", quote(text))),
    }
}

/// Identifiers with dots between them.
pub(super) fn is_full_name(text: &str) -> bool {
    text.split('.').all(is_identifier)
}

/// A protobuf identifier.
pub(super) fn is_identifier(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

/// Names stand in metrics, logs and JSON keys.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        Ok(())
    } else {
        Err("is not a name; write 1 to 64 letters, digits, `-`, `_` or `.`".to_owned())
    }
}
