//! `transom/options.proto`: what services and methods say of themselves, as plain data.
//!
//! An option that this version does not know is a problem: none is accepted and ignored.

mod cache;
mod retry;

use std::ops::RangeInclusive;
use std::time::Duration;

use prost::encoding::{DecodeContext, decode_key, decode_varint, skip_field};

use super::descriptor::{self, MethodOptions, ServiceOptions, decode};

pub use cache::{CachePolicy, Invalidation};
pub use retry::RetryPolicy;

/// `(transom.service)`: what a service says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServicePolicy {
    /// The upstream that serves it; empty where it does not say.
    pub upstream: Box<str>,
    /// What holds for every method that does not say otherwise.
    pub methods: MethodPolicy,
}

/// `(transom.method)`: what a method is allowed and how it prints. What is `None` is not said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MethodPolicy {
    /// The call's deadline.
    pub timeout: Option<Duration>,
    /// What an unknown JSON field or query key gets.
    pub unknown_fields: Option<UnknownFields>,
    /// Absent fields print as their defaults.
    pub emit_defaults: Option<bool>,
    /// Enums print as numbers.
    pub enums_as_numbers: Option<bool>,
    /// Names print as in the .proto.
    pub proto_names: Option<bool>,
    /// 64-bit integers print as numbers.
    pub int64_as_numbers: Option<bool>,
    /// Bytes of a REST request body.
    pub body: Option<usize>,
    /// Who may call.
    pub auth: Option<Access>,
    /// The limits that its calls are under, by name.
    pub rate_limits: Option<Vec<String>>,
    /// How failed calls are tried again.
    pub retry: Option<RetryPolicy>,
    /// How replies are kept.
    pub cache: Option<CachePolicy>,
    /// Answers are compressed for clients that accept it.
    pub compress: Option<bool>,
    /// Whose calls are refused first.
    pub priority: Option<Priority>,
    /// Request headers that become metadata.
    pub request_headers: Option<Vec<String>>,
    /// Metadata of replies that becomes headers although it speaks to browsers.
    pub response_headers: Option<Vec<String>>,
}

/// Who may call a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everyone.
    Public,
    /// Who has a token with all of the scopes, and with one of the roles where there are any.
    Token {
        /// Scopes.
        scopes: Vec<String>,
        /// Roles.
        roles: Vec<String>,
    },
}

/// Whose calls are refused first where a limit comes near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// These.
    Low,
    /// Those of methods that say nothing.
    Normal,
    /// These last.
    High,
}

/// What an unknown JSON field or query key gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownFields {
    /// A refusal, naming it.
    Refuse,
    /// It is read over.
    Ignore,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const LARGEST: u64 = 1 << 31;

/// The numbers of a message, and of the messages in it.
struct Known(&'static [(u32, Option<&'static Known>)]);

const DURATION: Known = Known(&[(1, None), (2, None)]);
const OUTPUT: Known = Known(&[(1, None), (2, None), (3, None), (4, None)]);
const LIMITS: Known = Known(&[(1, None)]);
const AUTH: Known = Known(&[(1, None), (2, None), (3, None)]);
const RETRY: Known = Known(&[
    (1, None),
    (2, None),
    (3, None),
    (4, Some(&DURATION)),
    (5, Some(&DURATION)),
    (6, Some(&DURATION)),
    (7, Some(&DURATION)),
]);
const VARY: Known = Known(&[(1, None)]);
const INVALIDATION: Known = Known(&[(1, None), (2, None)]);
const CACHE: Known = Known(&[
    (1, Some(&DURATION)),
    (2, Some(&DURATION)),
    (3, None),
    (4, Some(&VARY)),
    (5, Some(&INVALIDATION)),
    (6, None),
    (7, Some(&DURATION)),
]);
const HEADERS: Known = Known(&[(1, None), (2, None)]);
const METHOD: Known = Known(&[
    (1, Some(&DURATION)),
    (2, None),
    (3, Some(&OUTPUT)),
    (4, Some(&LIMITS)),
    (5, Some(&AUTH)),
    (6, None),
    (7, Some(&RETRY)),
    (8, None),
    (9, Some(&HEADERS)),
    (10, Some(&CACHE)),
    (16, None),
]);
const SERVICE: Known = Known(&[(1, None), (2, Some(&METHOD))]);

/// The number of both extensions.
const EXTENSION: u32 = 87_267;

/// The policy among a service's options.
pub(super) fn of_service(options: &[Vec<u8>]) -> Result<ServicePolicy, String> {
    let Some(read) = decode::<ServiceOptions>(options)?.policy else { return Ok(ServicePolicy::default()) };
    check("(transom.service)", options, &SERVICE)?;
    let methods = read.methods.map(|methods| method(&methods)).transpose();
    let methods = methods.map_err(|why| format!("option (transom.service).methods.{why}"))?.unwrap_or_default();
    Ok(ServicePolicy { upstream: read.upstream.into(), methods })
}

/// The policy among a method's options.
pub(super) fn of_method(options: &[Vec<u8>], read: &MethodOptions) -> Result<MethodPolicy, String> {
    let Some(policy) = &read.policy else { return Ok(MethodPolicy::default()) };
    check("(transom.method)", options, &METHOD)?;
    method(policy).map_err(|why| format!("option (transom.method).{why}"))
}

fn method(read: &descriptor::MethodPolicy) -> Result<MethodPolicy, String> {
    let timeout = duration(read.timeout.as_ref(), MILLISECOND..=LONGEST, "timeout is not from 1 ms to 24 h");
    let unknown_fields = match read.unknown_fields {
        0 => None,
        1 => Some(UnknownFields::Refuse),
        2 => Some(UnknownFields::Ignore),
        number => return Err(format!("unknown_fields has no value {number}: write REFUSE or IGNORE")),
    };
    let priority = match read.priority {
        0 => None,
        1 => Some(Priority::Low),
        2 => Some(Priority::Normal),
        3 => Some(Priority::High),
        number => return Err(format!("priority has no value {number}: write LOW, NORMAL or HIGH")),
    };
    let body = read.limits.as_ref().and_then(|limits| limits.body).map(|body| {
        let body = usize::try_from(body).ok().filter(|_| (1..=LARGEST).contains(&body));
        body.ok_or_else(|| format!("limits.body is not from 1 to {LARGEST} bytes"))
    });
    let output = read.output.as_ref();
    let auth = read.auth.as_ref().map(|auth| match (auth.public, auth.scopes.is_empty() && auth.roles.is_empty()) {
        (true, true) => Ok(Access::Public),
        (true, false) => Err("auth is public and asks for scopes or roles: it can be one of the two".to_owned()),
        (false, _) if auth.scopes.iter().any(|scope| scope.contains(char::is_whitespace)) => {
            Err("auth.scopes: a scope has no space within: write `scopes:` before each".to_owned())
        }
        (false, _) => Ok(Access::Token { scopes: auth.scopes.clone(), roles: auth.roles.clone() }),
    });
    let headers = |key: &str, names: fn(&descriptor::Headers) -> &Vec<String>| {
        let names = read.headers.as_ref().map(names).filter(|names| !names.is_empty());
        let wrong = names.into_iter().flatten().find(|name| !is_header(name));
        match wrong {
            Some(name) => Err(format!("headers.{key}: `{name}` is no header's name in lower case")),
            None => Ok(names.cloned()),
        }
    };
    Ok(MethodPolicy {
        auth: auth.transpose()?,
        rate_limits: Some(read.rate_limits.clone()).filter(|names| !names.is_empty()),
        retry: read.retry.as_ref().map(RetryPolicy::read).transpose()?,
        cache: read.cache.as_ref().map(CachePolicy::read).transpose()?,
        compress: read.compress,
        priority,
        request_headers: headers("request", |headers| &headers.request)?,
        response_headers: headers("response", |headers| &headers.response)?,
        timeout: timeout?,
        unknown_fields,
        emit_defaults: output.and_then(|output| output.emit_defaults),
        enums_as_numbers: output.and_then(|output| output.enums_as_numbers),
        proto_names: output.and_then(|output| output.proto_names),
        int64_as_numbers: output.and_then(|output| output.int64_as_numbers),
        body: body.transpose()?,
    })
}

/// A duration within bounds; `wrong` is what to say of another.
fn duration(
    read: Option<&descriptor::Duration>,
    bounds: RangeInclusive<Duration>,
    wrong: &str,
) -> Result<Option<Duration>, String> {
    let Some(read) = read else { return Ok(None) };
    let parts = u64::try_from(read.seconds).ok().zip(u32::try_from(read.nanos).ok());
    let whole = parts.filter(|parts| parts.1 < 1_000_000_000).map(|parts| Duration::new(parts.0, parts.1));
    whole.filter(|whole| bounds.contains(whole)).map(Some).ok_or_else(|| wrong.to_owned())
}

fn is_header(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

/// Refuses what a newer `transom/options.proto` may say and this one does not know.
fn check(option: &str, options: &[Vec<u8>], known: &'static Known) -> Result<(), String> {
    let outer = Known(&[]);
    let unknown = options.iter().find_map(|bytes| unknown(bytes, &outer, Some(known)));
    unknown.map_or(Ok(()), |number| {
        Err(format!("option {option} has a field {number} that this version of Transom does not support: remove it"))
    })
}

/// The number of the first field that is not known; below `extension` only what it holds is looked at.
fn unknown(mut bytes: &[u8], known: &Known, extension: Option<&'static Known>) -> Option<u32> {
    while !bytes.is_empty() {
        let (number, wire_type) = decode_key(&mut bytes).ok()?;
        let inner = match (extension, known.0.iter().find(|(known, _)| *known == number)) {
            (Some(extension), _) => (number == EXTENSION).then_some(extension),
            (None, Some((_, inner))) => *inner,
            (None, None) => return Some(number),
        };
        let Some(inner) = inner else {
            skip_field(wire_type, number, &mut bytes, DecodeContext::default()).ok()?;
            continue;
        };
        let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
        let (message, rest) = bytes.split_at_checked(length)?;
        if let Some(found) = unknown(message, inner, None) {
            return Some(found);
        }
        bytes = rest;
    }
    None
}
