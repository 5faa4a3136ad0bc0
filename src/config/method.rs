//! `methods`: what one RPC, or all of a service, is allowed and how it prints.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;

use super::auth::{Access, Accesses, check_field, claim};
use super::cache::{Caching, MethodCache};
use super::cors::Cors;
use super::fallback::Fallback;
use super::kind::{self, Kind as _, checked, choice, count, duration, flag, list, map, size};
use super::overload::Priority;
use super::problem::quote;
use super::rate::{Rate, rate};
use super::read::{choice, section};
use super::retry::Retry;
use super::upstream::{self, is_full_name, is_identifier};
use super::{HOUR, MILLISECOND};

/// Bytes that a request body may have at most, by any limit.
const LARGEST: usize = 1 << 31;

section! {
    /// The policy of a method; an absent key falls back to the less specific entry, then to the default.
    pub struct Method {
        /// The call's deadline; by default the upstream's, and none for what streams its answer.
        timeout: Option<Duration> = duration(MILLISECOND..=24 * HOUR).optional(),
        /// What an unknown JSON field or query key gets; by default `refuse`.
        unknown_fields: Option<UnknownFields> = choice().optional(),
        /// The limits that its calls are under, by name, in place of `public` or `users`; `[]`: none. A call is let in by all of them or takes from none.
        rate_limits: Option<Vec<String>> = list(checked("a limit's name", limit_name)).optional(),
        /// How replies print.
        output: Output = kind::section().or("{}"),
        /// Answers are compressed for clients that accept it; by default `true`.
        compress: Option<bool> = flag().optional(),
        /// Bounds of one request.
        limits: MethodLimits = kind::section().or("{}"),
        /// Whose calls are refused first where a limit of calls in flight comes near: the gateway's or the upstream's. By default `normal`, and `high` for what `auth` and `sessions` name: to log in, to refresh, to log out, to verify.
        priority: Option<Priority> = choice().optional(),
        /// Content types that a REST body may have, `image/png` or `image/*`; others get 415. By default all that the method can read:
        /// JSON and forms, of a stream NDJSON too, of an HttpBody anything. The other dialects have types of their own.
        content_types: Option<Vec<String>> = list(checked("a type such as `image/png` or `image/*`", media_type)).optional(),
        /// Headers of REST that cross beside the usual; by default the top level's.
        headers: Headers = kind::section().or("{}"),
        /// How long replies are kept, or how; by default none is. For methods that are bound to GET, or NO_SIDE_EFFECTS.
        cache: Option<MethodCache> = Caching.optional(),
        /// Which pages of other origins may call; by default, key by key, as the top level says.
        cors: Cors = kind::section().or("{}"),
        /// Its failed calls are tried again; in place of its upstream's `retry`.
        retry: Option<Retry> = kind::section().optional(),
        /// It may be called twice for once. By default so it is if the .proto says so (`idempotency_level`) or a rule reaches it by GET; what a server says of itself by reflection does not count.
        idempotent: Option<bool> = flag().optional(),
        /// What is answered in place of a service that cannot be asked.
        fallback: Option<Fallback> = kind::section().optional(),
        /// Whether requests are held to what their schema says by `buf.validate`; by default `all` of it.
        validate: Option<Validate> = choice().optional(),
        /// What is done to strings of the request before rules look at them: a field's path, such as `profile.bio`, or `*`
        /// for every string that has no path of its own → steps. By default nothing.
        sanitize: Option<BTreeMap<String, Vec<Sanitize>>> =
            map("a field such as `bio`, or `*`", check_string, list(choice())).optional(),
        /// `x-http-code` may redirect (300 to 399, with the service's `location`); by default it may not.
        redirects: Option<bool> = flag().optional(),
        /// Who may call: `public`, `required`, or what a token must have for it; by default `required` once there is an `auth`
        /// section.
        auth: Option<Access> = Accesses.optional(),
        /// Fields of the request that are set from the token: field → claim. A caller may leave them out or send the same.
        bind: Option<BTreeMap<String, String>> =
            map("a field such as `user_id`", check_field, checked("a claim such as `sub`", claim)).optional(),
    }
}

choice! {
    /// What an unknown JSON field or query key gets.
    pub enum UnknownFields {
        /// 400, naming it.
        Refuse = "refuse",
        /// It is read over.
        Ignore = "ignore",
    }
}

choice! {
    /// Which rules of `buf.validate` the gateway holds requests to.
    pub enum Validate {
        /// All. A method that reaches a rule in CEL that the gateway cannot evaluate is refused at load.
        All = "all",
        /// The standard ones; those in CEL are left to the service.
        Standard = "standard",
        /// None.
        Off = "off",
    }
}

choice! {
    /// What is done to a string.
    pub enum Sanitize {
        /// White space at both ends goes.
        Trim = "trim",
        /// Control characters go, but tabs and line breaks.
        Control = "control",
        /// Unicode's normal form C.
        Nfc = "nfc",
        /// HTML's tags and comments go, the text between them stays.
        StripHtml = "strip_html",
    }
}

section! {
    /// How JSON prints; each key is `false` by default.
    pub struct Output {
        /// Absent fields print as their defaults.
        emit_defaults: Option<bool> = flag().optional(),
        /// Enums print as numbers.
        enums_as_numbers: Option<bool> = flag().optional(),
        /// Names print as in the .proto.
        proto_names: Option<bool> = flag().optional(),
        /// 64-bit integers print as numbers (an error beyond 2^53).
        int64_as_numbers: Option<bool> = flag().optional(),
    }
}

section! {
    /// Headers of REST that cross the gateway beside the usual ones.
    pub struct Headers {
        /// Request headers that become metadata, such as `x-tenant`. Over the RPC dialects nearly all do; those that services believe of auth proxies, meshes and CDNs (`x-envoy-…`, `x-auth-request-…`) only where they are listed here.
        request: Option<Vec<HeaderName>> = list(header()).optional(),
        /// Metadata of replies that becomes headers although it speaks to browsers, such as `set-cookie`.
        response: Option<Vec<HeaderName>> = list(header()).optional(),
    }
}

fn header() -> kind::Single<HeaderName> {
    checked("a header's name such as `x-tenant`", |text| {
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{} is not a header's name", quote(text)))
    })
}

section! {
    /// Bounds of one request.
    pub struct MethodLimits {
        /// Bytes of a REST request body, or of each message where the client streams; by default the upstream's `limits.send`.
        body: Option<usize> = size(1..=LARGEST).optional(),
        /// How deeply the JSON of a request may nest, the whole message counting as one; deeper gets 400 with the reason `TOO_DEEP`. By default 100.
        depth: Option<usize> = count(1..=100).optional(),
        /// Messages of one stream or WebSocket from the client, such as `50/s`; a stream that sends more ends with 429 or RESOURCE_EXHAUSTED. By default there is no such limit.
        messages: Option<Rate> = rate().optional(),
    }
}

/// A media type, or all of one kind; parameters are not looked at.
fn media_type(text: &str) -> Result<String, String> {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    match text.split_once('/') {
        Some((kind, "*")) if token(kind) => Ok(text.to_ascii_lowercase()),
        Some((kind, subtype)) if token(kind) && token(subtype) => Ok(text.to_ascii_lowercase()),
        _ => Err(format!("{} is no media type; write one without parameters", quote(text))),
    }
}

/// A field's path, or `*`.
fn check_string(text: &str) -> Result<(), String> {
    if text == "*" { Ok(()) } else { check_field(text) }
}

pub(super) fn limit_name(text: &str) -> Result<String, String> {
    upstream::check_name(text).map(|()| text.to_owned())
}

/// `pkg.Service/Method` or `pkg.Service/*`.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    match name.split_once('/') {
        Some((service, "*")) if is_full_name(service) => Ok(()),
        Some((service, method)) if is_full_name(service) && is_identifier(method) => Ok(()),
        Some(("", rest)) => Err(format!("starts with a slash; write `{}`", rest.escape_default())),
        None if is_full_name(name) => match name.rsplit_once('.') {
            Some((service, method)) => {
                Err(format!("names no method; write `{name}/*` for a service or `{service}/{method}` for a method"))
            }
            None => {
                Err("names no method; write `pkg.Service/Method`, or `pkg.Service/*` for all of a service".to_owned())
            }
        },
        _ => Err("is not a method; write `pkg.Service/Method` or `pkg.Service/*`".to_owned()),
    }
}
