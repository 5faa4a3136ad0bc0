//! Options in a `.proto`, as if configuration said them.

use http::HeaderName;
use transom_transcode::schema::{self, MethodPolicy};

use crate::config::{self, Access, Priority, Requirements, UnknownFields};

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
        cache: None,
        cors: config::Cors::SILENT,
        retry: policy.attempts.map(|attempts| config::Retry { attempts, ..config::Retry::default() }),
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
