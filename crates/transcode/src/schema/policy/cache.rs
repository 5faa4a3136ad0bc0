//! `transom.Cache`: how a method's replies are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{LONGEST, descriptor, duration, is_header};

/// How a method's replies are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachePolicy {
    /// How long a reply is good; zero: none is kept.
    pub ttl: Duration,
    /// How long after that it may still be given, while another one is fetched.
    pub stale_while_revalidate: Duration,
    /// How long after its time it may still be given when its service cannot be asked.
    pub stale_if_error: Duration,
    /// All callers get the same reply.
    pub public: bool,
    /// Request headers on which a public reply depends, in lower case.
    pub vary: Option<Vec<String>>,
    /// Calls after which kept replies are forgotten.
    pub invalidated_by: Vec<Invalidation>,
    /// Whether gateways share the replies.
    pub shared: Option<bool>,
}

/// Calls after which kept replies are forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalidation {
    /// `pkg.Service/Method`
    pub rpc: String,
    /// Fields of the method's request and those of that call's: only replies to requests that say the same in them. Without
    /// any, all.
    pub fields: BTreeMap<String, String>,
}

impl CachePolicy {
    /// What the option says, or what is wrong with it.
    pub(super) fn read(read: &descriptor::Cache) -> Result<Self, String> {
        let time = |value: Option<&_>, key: &str| {
            duration(value, Duration::ZERO..=LONGEST, &format!("cache.{key} is not from 0 to 24 h"))
        };
        let vary = read.vary.as_ref().map(|vary| vary.headers.clone());
        if let Some(name) = vary.iter().flatten().find(|name| !is_header(name)) {
            return Err(format!("cache.vary: `{name}` is no header's name in lower case"));
        }
        let invalidation = |read: &descriptor::Invalidation| match is_rpc(&read.rpc) {
            true => Ok(Invalidation { rpc: read.rpc.clone(), fields: read.fields.clone() }),
            false => Err(format!("cache.invalidated_by: `{}` is no method: write pkg.Service/Method", read.rpc)),
        };
        Ok(Self {
            ttl: time(read.ttl.as_ref(), "ttl")?.ok_or("cache has no ttl: say how long a reply is good")?,
            stale_while_revalidate: time(read.stale_while_revalidate.as_ref(), "stale_while_revalidate")?
                .unwrap_or_default(),
            stale_if_error: time(read.stale_if_error.as_ref(), "stale_if_error")?.unwrap_or_default(),
            public: read.public,
            shared: read.shared,
            vary,
            invalidated_by: read.invalidated_by.iter().map(invalidation).collect::<Result<_, _>>()?,
        })
    }
}

/// `pkg.Service/Method`
fn is_rpc(name: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    name.split_once('/').is_some_and(|(service, method)| service.split('.').all(word) && word(method))
}
