//! `cache`: replies that are kept for a while.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::HeaderName;
use http::header::ACCEPT_LANGUAGE;

use super::HOUR;
use super::auth::check_field;
use super::kind::{self, Kind, Shape, Single, checked, duration, flag, list, map, size};
use super::method;
use super::problem::quote;
use super::read::{Reader, section};
use super::tree::{Node, Value};
use super::units;

section! {
    /// The replies that a gateway keeps.
    pub struct Cache {
        /// Bytes that they may take, whatever their methods; the least used go first.
        size: usize = size(1 << 20..=1 << 40).or("64MiB"),
    }
}

section! {
    /// How the replies of a method are kept.
    pub struct MethodCache {
        /// How long a reply is good; `0s`: none is kept.
        ttl: Duration = ttl().required(),
        /// How long after that it may still be given, while another one is fetched.
        stale_while_revalidate: Duration = ttl().or("0s"),
        /// How long after its time it may still be given when its service cannot be asked or fails: the last reply instead of an error that would be 500, 502, 503 or 504, and before `fallback` (`stale-if-error` of RFC 5861).
        stale_if_error: Duration = ttl().or("0s"),
        /// All callers get the same reply, once they are let in: where the method asks for a token, `Cache-Control` says `private`, since caches in front ask for none. Otherwise a reply is for those alone whose calls look the same to the service: message, token, injected claims, and all other metadata but what speaks of the connection or the page and not of who calls: `x-forwarded-for`, `x-request-id`, `user-agent`, `origin`, `referer`, `sec-*`, `access-control-*`, `dnt`, `priority`, traces, deadlines and what HTTP caches say. The service is not told what does not count, so that no client chooses another one's reply: of a public one it gets `vary`, the host, the request's id, `traceparent` and what a verified token says.
        public: bool = flag().or("false"),
        /// Request headers on which a public reply depends; no others reach the service, an `authorization` that the gateway does not verify among them.
        vary: Vec<HeaderName> = list(checked("a header's name", header)).or("accept-language"),
        /// Calls after which the kept replies are forgotten, since they may have changed what these say: `pkg.Service/Method`,
        /// or a map that ties calls to replies by fields.
        invalidated_by: Vec<Invalidation> = list(Invalidations).or("[]"),
        /// Where there is a Redis, replies are kept there too, for all gateways. Who may read the Redis may read them.
        shared: bool = flag().or("true"),
    }
}

section! {
    /// Calls after which kept replies are forgotten.
    pub struct Invalidation {
        /// `pkg.Service/Method`
        rpc: String = rpc().required(),
        /// A field of this method's request → a field of that call's. Only replies to requests that say the same in all of them are forgotten; without any, all are.
        fields: BTreeMap<String, String> = map("a field such as `event_id`", check_field, field()).or("{}"),
    }
}

// Durations, words and names: nothing of it is ever unlike itself.
impl Eq for MethodCache {}

impl MethodCache {
    /// The short form: private replies, for so long.
    pub fn lasting(ttl: Duration) -> Self {
        Self {
            ttl,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            public: false,
            vary: vec![ACCEPT_LANGUAGE],
            invalidated_by: Vec::new(),
            shared: true,
        }
    }
}

impl fmt::Display for MethodCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&units::write(self.ttl))?;
        if !self.stale_while_revalidate.is_zero() {
            write!(f, " +{} stale", units::write(self.stale_while_revalidate))?;
        }
        f.write_str(if self.public { " public" } else { " private" })
    }
}

/// A duration, or a map.
pub(super) struct Caching;

impl Kind for Caching {
    type Out = MethodCache;

    fn read(&self, node: &Node, reader: &mut Reader) -> Option<MethodCache> {
        match &node.value {
            Value::Map(entries) => Some(reader.section(node.line, entries)),
            _ => ttl().read(node, reader).map(MethodCache::lasting),
        }
    }

    fn shape(&self) -> Shape {
        Shape::Either(Box::new(ttl().shape()), Box::new(kind::section::<MethodCache>().shape()))
    }
}

/// A method's name, or a map.
struct Invalidations;

impl Kind for Invalidations {
    type Out = Invalidation;

    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Invalidation> {
        match &node.value {
            Value::Map(entries) => Some(reader.section(node.line, entries)),
            _ => rpc().read(node, reader).map(|rpc| Invalidation { rpc, fields: BTreeMap::new() }),
        }
    }

    fn shape(&self) -> Shape {
        Shape::Either(Box::new(rpc().shape()), Box::new(kind::section::<Invalidation>().shape()))
    }
}

fn ttl() -> Single<Duration> {
    duration(Duration::ZERO..=24 * HOUR)
}

fn header(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| format!("{} is not a header's name", quote(text)))
}

fn field() -> Single<String> {
    checked("a field such as `event_id`", |text| match check_field(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(message) => Err(format!("{} {message}", quote(text))),
    })
}

fn rpc() -> Single<String> {
    checked("`pkg.Service/Method`", check_rpc)
}

fn check_rpc(text: &str) -> Result<String, String> {
    match method::check_name(text) {
        Ok(()) if text.ends_with("/*") => Err(format!("{} names no method; write each by its name", quote(text))),
        Ok(()) => Ok(text.to_owned()),
        Err(message) => Err(format!("{} {message}", quote(text))),
    }
}
