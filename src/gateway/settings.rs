//! What a method is allowed: `methods`' entries over the `.proto`'s options over its upstream's values over the defaults,
//! key by key, each value with the place that it comes from.

mod cors;
mod describe;
mod layers;
mod option;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::HeaderName;
use transom_transcode::plan::{Limits, OutOptions, Unknown};
use transom_transcode::schema::{Idempotency, Method, Service};

use crate::config::{self, Access, MethodCache, Priority, Rate, Requirements, Sanitize, UnknownFields, Validate};
use crate::envelope::metadata::Crossing;

pub(super) use cors::Cors;
use layers::{Entry, Layers};

/// A method's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The deadline of a call; a method that streams answers has none unless its own entry says so.
    pub timeout: Setting<Option<Duration>>,
    /// What an unknown JSON field or query key gets.
    pub unknown_fields: Setting<Unknown>,
    /// Bytes of a REST request's body.
    pub body: Setting<usize>,
    /// How deeply the JSON of a request may nest.
    pub depth: Setting<u16>,
    /// Content types that a REST body may have; none: all that the method can read.
    pub content_types: Setting<Vec<String>>,
    /// Answers are compressed for clients that accept it.
    pub compress: Setting<bool>,
    /// The limits that its calls are under.
    pub rate_limits: Setting<Vec<String>>,
    /// Messages of one stream from the client.
    pub messages: Setting<Option<Rate>>,
    /// Whose calls are refused first.
    pub priority: Setting<Priority>,
    /// Absent fields print as their defaults.
    pub emit_defaults: Setting<bool>,
    /// Enums print as numbers.
    pub enums_as_numbers: Setting<bool>,
    /// Names print as in the .proto.
    pub proto_names: Setting<bool>,
    /// 64-bit integers print as numbers.
    pub int64_as_numbers: Setting<bool>,
    /// Request headers that become metadata beside the usual.
    pub request_headers: Setting<Vec<HeaderName>>,
    /// Metadata of replies that becomes headers although it speaks to browsers.
    pub response_headers: Setting<Vec<HeaderName>>,
    /// How replies are kept.
    pub cache: Setting<Option<MethodCache>>,
    /// Which pages of other origins may call.
    pub cors: Cors,
    /// How its failed calls are tried again.
    pub retry: Setting<Option<config::Retry>>,
    /// It may be called twice for once.
    pub idempotent: Setting<bool>,
    /// What is answered in place of a service that cannot be asked.
    pub fallback: Setting<Option<config::Fallback>>,
    /// `x-http-code` may redirect.
    pub redirects: Setting<bool>,
    /// Who may call.
    pub auth: Setting<Access>,
    /// Fields of the request and the claims that set them.
    pub bind: Setting<BTreeMap<String, String>>,
    /// Which rules of `buf.validate` hold.
    pub validate: Setting<Validate>,
    /// What is done to strings of the request, by their paths.
    pub sanitize: Setting<BTreeMap<String, Vec<Sanitize>>>,
}

/// One value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub from: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Transom's default.
    Default,
    /// This place of the configuration, such as `upstreams.booking.timeout`.
    Written(Box<str>),
    /// An option in a `.proto`, such as `booking/booking.proto: booking.BookingService: (transom.service).upstream`.
    Option(Box<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Written(place) | Self::Option(place) => f.write_str(place),
        }
    }
}

impl Origin {
    /// It is this place of the configuration, or in it.
    pub(super) fn is_below(&self, place: &str) -> bool {
        let Self::Written(written) = self else { return false };
        written.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// An option of a symbol.
    pub(super) fn option(file: &str, symbol: &str, option: &str) -> Self {
        Self::Option(format!("{file}: {symbol}: {option}").into())
    }
}

impl Settings {
    /// The settings of a method that the upstream `name` serves.
    pub(super) fn compile(
        config: &config::Config,
        name: &str,
        upstream: &config::Upstream,
        service: &Service,
        method: &Method,
    ) -> Self {
        let layers = Layers { config, entries: &Entry::all(config, service, method), upstream: name };
        let refuse_or_ignore = |wish: UnknownFields| match wish {
            UnknownFields::Refuse => Unknown::Refuse,
            UnknownFields::Ignore => Unknown::Ignore,
        };
        let flag = |key: &str, pick: fn(&config::Output) -> Option<bool>| {
            let pick = |entry: &config::Method| pick(&entry.output);
            layers.method(&["output", key], pick, Setting { value: false, from: Origin::Default }, |_, _| true)
        };
        let timeout = match method.server_streaming {
            // A stream ends when it ends: a watch that is cut after a call's usual time is of no use.
            true => Setting { value: None, from: Origin::Default },
            false => layers.upstream(&["timeout"], Some(upstream.timeout)),
        };
        let auth = layers.method(
            &["auth"],
            |entry| entry.auth.clone(),
            Self::everyone(config),
            |new, old| {
                // What a service asks for may be more than what holds without it, not something else.
                config.auth.is_some() && *new != Access::Public && *old == Access::Required(Requirements::default())
            },
        );
        Self {
            timeout: layers.method(
                &["timeout"],
                |entry| entry.timeout.map(Some),
                timeout,
                |new, old| old.is_none() || new.is_some() && new <= old,
            ),
            unknown_fields: layers.method(
                &["unknown_fields"],
                |entry| entry.unknown_fields.map(refuse_or_ignore),
                Setting { value: Unknown::Refuse, from: Origin::Default },
                |new, _| *new == Unknown::Refuse,
            ),
            body: layers.method(
                &["limits", "body"],
                |entry| entry.limits.body,
                layers.upstream(&["limits", "send"], upstream.limits.send),
                |new, old| new <= old,
            ),
            depth: layers.method(
                &["limits", "depth"],
                |entry| u16::try_from(entry.limits.depth?).ok(),
                Setting { value: Limits::default().depth, from: Origin::Default },
                |new, old| new <= old,
            ),
            content_types: layers.method(
                &["content_types"],
                |entry| entry.content_types.clone(),
                Setting { value: Vec::new(), from: Origin::Default },
                |_, old| old.is_empty(),
            ),
            compress: layers.method(
                &["compress"],
                |entry| entry.compress,
                Setting { value: true, from: Origin::Default },
                |new, _| !*new,
            ),
            rate_limits: layers.method(
                &["rate_limits"],
                |entry| entry.rate_limits.clone(),
                layers.rate_limits(&auth.value),
                |_, _| false,
            ),
            messages: layers.method(
                &["limits", "messages"],
                |entry| entry.limits.messages.map(Some),
                Setting { value: None, from: Origin::Default },
                |_, old| old.is_none(),
            ),
            priority: layers.method(
                &["priority"],
                |entry| entry.priority,
                layers.priority(&format!("{}/{}", service.name, method.name)),
                |new, old| *new as u8 <= *old as u8,
            ),
            emit_defaults: flag("emit_defaults", |output| output.emit_defaults),
            enums_as_numbers: flag("enums_as_numbers", |output| output.enums_as_numbers),
            proto_names: flag("proto_names", |output| output.proto_names),
            int64_as_numbers: flag("int64_as_numbers", |output| output.int64_as_numbers),
            request_headers: layers.method(
                &["headers", "request"],
                |entry| entry.headers.request.clone(),
                layers.top(&["headers", "request"], config.headers.request.clone()),
                |_, _| false,
            ),
            response_headers: layers.method(
                &["headers", "response"],
                |entry| entry.headers.response.clone(),
                layers.top(&["headers", "response"], config.headers.response.clone()),
                |_, _| false,
            ),
            cache: layers.method(
                &["cache"],
                |entry| entry.cache.clone().map(Some),
                Setting { value: None, from: Origin::Default },
                |new, _| option::keeps_nothing(new.as_ref()),
            ),
            cors: Cors::of(&layers),
            retry: layers.method(
                &["retry"],
                |entry| entry.retry.clone().map(Some),
                layers.upstream(&["retry"], upstream.retry.clone()),
                |new, old| option::tries_no_more(new.as_ref(), old.as_ref()),
            ),
            idempotent: layers.method(
                &["idempotent"],
                |entry| entry.idempotent,
                Setting { value: declared(service, method) != Idempotency::Unknown, from: Origin::Default },
                |new, _| !new,
            ),
            fallback: layers.method(
                &["fallback"],
                |entry| entry.fallback.clone().map(Some),
                Setting { value: None, from: Origin::Default },
                |_, _| false,
            ),
            redirects: layers.method(
                &["redirects"],
                |entry| entry.redirects,
                Setting { value: false, from: Origin::Default },
                |new, _| !new,
            ),
            auth,
            bind: layers.method(
                &["bind"],
                |entry| entry.bind.clone(),
                Setting { value: BTreeMap::new(), from: Origin::Default },
                |_, _| false,
            ),
            validate: layers.method(
                &["validate"],
                |entry| entry.validate,
                Setting { value: Validate::All, from: Origin::Default },
                |_, _| false,
            ),
            sanitize: layers.method(
                &["sanitize"],
                |entry| entry.sanitize.clone(),
                Setting { value: BTreeMap::new(), from: Origin::Default },
                |_, _| false,
            ),
        }
    }

    /// Which headers cross beside the usual.
    pub fn crossing(&self) -> Crossing {
        Crossing {
            request: self.request_headers.value.clone().into(),
            response: self.response_headers.value.clone().into(),
            redirects: self.redirects.value,
        }
    }

    /// Who may call a method that says nothing: who has a token, once there is an `auth` section.
    fn everyone(config: &config::Config) -> Setting<Access> {
        match &config.auth {
            None => Setting { value: Access::Public, from: Origin::Default },
            Some(_) => {
                Setting { value: Access::Required(Requirements::default()), from: Origin::Written("auth".into()) }
            }
        }
    }

    /// How replies print.
    pub fn output(&self) -> OutOptions {
        OutOptions {
            emit_defaults: self.emit_defaults.value,
            enums_as_numbers: self.enums_as_numbers.value,
            proto_names: self.proto_names.value,
            int64_as_numbers: self.int64_as_numbers.value,
            // What a service says is not lost because nobody here has its schema.
            unknown_any: true,
        }
    }
}

/// What a method's author says of calling it again, or by GET. What a server says of itself by reflection turns nothing on.
pub(super) fn declared(service: &Service, method: &Method) -> Idempotency {
    if service.reflected { Idempotency::Unknown } else { method.idempotency }
}

#[cfg(test)]
mod tests;
