//! Options in a `.proto`, as if configuration said them.

use http::HeaderName;
use transom_transcode::schema::{self, CachePolicy, MethodPolicy, RetryPolicy};
use transom_transcode::status::Code;

use crate::config::{self, Access, MethodCache, Percent, Priority, Requirements, RetryOn, UnknownFields};

/// An option as if configuration said it.
pub(super) fn as_written(policy: &MethodPolicy) -> config::Method {
    config::Method {
        timeout: policy.timeout,
        unknown_fields: policy.unknown_fields.map(|wish| match wish {
            schema::UnknownFields::Refuse => UnknownFields::Refuse,
            schema::UnknownFields::Ignore => UnknownFields::Ignore,
        }),
        output: config::Output {
            emit_defaults: policy.emit_defaults,
            enums_as_numbers: policy.enums_as_numbers,
            proto_names: policy.proto_names,
            int64_as_numbers: policy.int64_as_numbers,
        },
        compress: policy.compress,
        priority: policy.priority.map(|priority| match priority {
            schema::Priority::Low => Priority::Low,
            schema::Priority::Normal => Priority::Normal,
            schema::Priority::High => Priority::High,
        }),
        limits: config::MethodLimits { body: policy.body, depth: None, messages: None },
        content_types: None,
        rate_limits: policy.rate_limits.clone(),
        headers: config::Headers {
            request: headers(&policy.request_headers),
            response: headers(&policy.response_headers),
        },
        cache: policy.cache.as_ref().map(cache),
        cors: config::Cors::SILENT,
        retry: policy.retry.as_ref().map(retry),
        idempotent: None,
        fallback: None,
        redirects: None,
        auth: policy.auth.as_ref().map(|access| match access {
            schema::Access::Public => Access::Public,
            schema::Access::Token { scopes, roles } => Access::Required(Requirements {
                scopes: scopes.clone(),
                roles: roles.clone(),
                ..Requirements::default()
            }),
        }),
        bind: None,
        validate: None,
        sanitize: None,
    }
}

/// Names that the schema has checked.
fn headers(names: &Option<Vec<String>>) -> Option<Vec<HeaderName>> {
    Some(names.as_ref()?.iter().filter_map(|name| HeaderName::try_from(name).ok()).collect())
}

fn cache(policy: &CachePolicy) -> MethodCache {
    let short = MethodCache::lasting(policy.ttl);
    MethodCache {
        stale_while_revalidate: policy.stale_while_revalidate,
        stale_if_error: policy.stale_if_error,
        public: policy.public,
        vary: headers(&policy.vary).unwrap_or(short.vary),
        invalidated_by: policy.invalidated_by.iter().map(invalidation).collect(),
        shared: policy.shared.unwrap_or(short.shared),
        ..short
    }
}

fn invalidation(by: &schema::Invalidation) -> config::Invalidation {
    config::Invalidation { rpc: by.rpc.clone(), fields: by.fields.clone() }
}

fn retry(policy: &RetryPolicy) -> config::Retry {
    let unsaid = config::Retry::default();
    config::Retry {
        attempts: policy.attempts.unwrap_or(unsaid.attempts),
        on: if policy.on.is_empty() {
            unsaid.on
        } else {
            policy.on.iter().filter_map(|code| retry_on(*code)).collect()
        },
        budget: policy.budget.map_or(unsaid.budget, Percent),
        backoff: policy.backoff.unwrap_or(unsaid.backoff),
        max_backoff: policy.max_backoff.unwrap_or(unsaid.max_backoff),
        per_try_timeout: policy.per_try_timeout.or(unsaid.per_try_timeout),
        hedge: policy.hedge.or(unsaid.hedge),
    }
}

/// A status that the schema has checked.
fn retry_on(code: Code) -> Option<RetryOn> {
    match code {
        Code::Unavailable => Some(RetryOn::Unavailable),
        Code::DeadlineExceeded => Some(RetryOn::DeadlineExceeded),
        Code::Internal => Some(RetryOn::Internal),
        Code::Aborted => Some(RetryOn::Aborted),
        Code::ResourceExhausted => Some(RetryOn::ResourceExhausted),
        Code::Unknown => Some(RetryOn::Unknown),
        _ => None,
    }
}

/// Every caller gets a reply of its own and of now: nothing is tighter, and everything else is looser.
pub(super) fn keeps_nothing(new: Option<&MethodCache>) -> bool {
    new.is_none_or(|new| new.ttl.is_zero())
}

/// No more tries than before, after nothing else, no sooner, none of them cut shorter so that another one is made, and none
/// sooner beside another.
pub(super) fn tries_no_more(new: Option<&config::Retry>, old: Option<&config::Retry>) -> bool {
    let Some(new) = new.filter(|new| new.attempts > 1) else { return true };
    old.is_some_and(|old| {
        new.attempts <= old.attempts
            && new.on.iter().all(|status| old.on.contains(status))
            && new.budget <= old.budget
            && new.backoff >= old.backoff
            && new.max_backoff >= old.max_backoff
            && new.per_try_timeout.is_none_or(|new| old.per_try_timeout.is_some_and(|old| new >= old))
            && new.hedge.is_none_or(|new| old.hedge.is_some_and(|old| new >= old))
    })
}
