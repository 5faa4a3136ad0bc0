//! What a method is allowed: `methods`' entries over its upstream's values over the defaults, key by key, each value with
//! the place that it comes from.

use std::fmt;
use std::time::Duration;

use transom_transcode::plan::{OutOptions, Unknown};

use crate::config::{self, UnknownFields};

/// A method's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The deadline of a call; a method that streams answers has none unless its own entry says so.
    pub timeout: Setting<Option<Duration>>,
    /// What an unknown JSON field or query key gets.
    pub unknown_fields: Setting<Unknown>,
    /// Bytes of a REST request's body.
    pub body: Setting<usize>,
    /// Absent fields print as their defaults.
    pub emit_defaults: Setting<bool>,
    /// Enums print as numbers.
    pub enums_as_numbers: Setting<bool>,
    /// Names print as in the .proto.
    pub proto_names: Setting<bool>,
    /// 64-bit integers print as numbers.
    pub int64_as_numbers: Setting<bool>,
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
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Written(place) => f.write_str(place),
        }
    }
}

impl Settings {
    /// The settings of `service`/`method`, served by the upstream `name`.
    pub(super) fn compile(
        config: &config::Config,
        name: &str,
        upstream: &config::Upstream,
        (service, method): (&str, &str),
        server_streaming: bool,
    ) -> Self {
        // Most specific first.
        let entries: Vec<(String, &config::Method)> = [format!("{service}/{method}"), format!("{service}/*")]
            .into_iter()
            .filter_map(|key| config.methods.get(&key).map(|entry| (key, entry)))
            .collect();
        let layers = Layers { config, entries: &entries, upstream: name };
        let refuse_or_ignore = |wish: UnknownFields| match wish {
            UnknownFields::Refuse => Unknown::Refuse,
            UnknownFields::Ignore => Unknown::Ignore,
        };
        Self {
            timeout: match layers.method(&["timeout"], |entry| entry.timeout.map(Some)) {
                Some(timeout) => timeout,
                // A stream ends when it ends: a watch that is cut after a call's usual time is of no use.
                None if server_streaming => Setting { value: None, from: Origin::Default },
                None => layers.upstream(&["timeout"], Some(upstream.timeout)),
            },
            unknown_fields: layers.or(
                &["unknown_fields"],
                |entry| entry.unknown_fields.map(refuse_or_ignore),
                Unknown::Refuse,
            ),
            body: layers
                .method(&["limits", "body"], |entry| entry.limits.body)
                .unwrap_or_else(|| layers.upstream(&["limits", "send"], upstream.limits.send)),
            emit_defaults: layers.or(&["output", "emit_defaults"], |entry| entry.output.emit_defaults, false),
            enums_as_numbers: layers.or(&["output", "enums_as_numbers"], |entry| entry.output.enums_as_numbers, false),
            proto_names: layers.or(&["output", "proto_names"], |entry| entry.output.proto_names, false),
            int64_as_numbers: layers.or(&["output", "int64_as_numbers"], |entry| entry.output.int64_as_numbers, false),
        }
    }

    /// How replies print.
    pub fn output(&self) -> OutOptions {
        OutOptions {
            emit_defaults: self.emit_defaults.value,
            enums_as_numbers: self.enums_as_numbers.value,
            proto_names: self.proto_names.value,
            int64_as_numbers: self.int64_as_numbers.value,
        }
    }

    /// Name, value and origin of each, for people.
    pub fn describe(&self) -> Vec<(&'static str, String, &Origin)> {
        let timeout = self.timeout.value.map_or_else(|| "none".to_owned(), |timeout| format!("{timeout:?}"));
        let unknown = match self.unknown_fields.value {
            Unknown::Refuse => "refuse",
            Unknown::Ignore => "ignore",
        };
        let flag = |setting: &Setting<bool>| setting.value.to_string();
        vec![
            ("timeout", timeout, &self.timeout.from),
            ("unknown_fields", unknown.to_owned(), &self.unknown_fields.from),
            ("limits.body", self.body.value.to_string(), &self.body.from),
            ("output.emit_defaults", flag(&self.emit_defaults), &self.emit_defaults.from),
            ("output.enums_as_numbers", flag(&self.enums_as_numbers), &self.enums_as_numbers.from),
            ("output.proto_names", flag(&self.proto_names), &self.proto_names.from),
            ("output.int64_as_numbers", flag(&self.int64_as_numbers), &self.int64_as_numbers.from),
        ]
    }
}

/// The places that a value may come from.
struct Layers<'a> {
    config: &'a config::Config,
    entries: &'a [(String, &'a config::Method)],
    upstream: &'a str,
}

impl Layers<'_> {
    /// The value of the most specific entry that has this key.
    fn method<T>(&self, key: &[&str], pick: impl Fn(&config::Method) -> Option<T>) -> Option<Setting<T>> {
        self.entries.iter().find_map(|(name, entry)| {
            let place = config::place(&[&["methods", name], key].concat());
            Some(Setting { value: pick(entry)?, from: Origin::Written(place.into()) })
        })
    }

    fn or<T>(&self, key: &[&str], pick: impl Fn(&config::Method) -> Option<T>, default: T) -> Setting<T> {
        self.method(key, pick).unwrap_or(Setting { value: default, from: Origin::Default })
    }

    /// The upstream's value, written or by default.
    fn upstream<T>(&self, key: &[&str], value: T) -> Setting<T> {
        let place = config::place(&[&["upstreams", self.upstream], key].concat());
        let written = self.config.source.line(&place).is_some();
        Setting { value, from: if written { Origin::Written(place.into()) } else { Origin::Default } }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Origin, Settings};
    use crate::config;

    const CONFIG: &str = "
        schema: { protos: [protos] }
        upstreams:
          library: { services: [library.v1.Library], endpoints: ['127.0.0.1:1'], timeout: 3s, limits: { send: 1KiB } }
        methods:
          library.v1.Library/*: { timeout: 2s, output: { emit_defaults: true, proto_names: true } }
          library.v1.Library/GetBook: { unknown_fields: ignore, output: { proto_names: false } }
    ";

    fn written(place: &str) -> Origin {
        Origin::Written(place.into())
    }

    fn settings(method: &str) -> Settings {
        let config = config::parse(CONFIG, &|_| None).unwrap();
        let upstream = &config.upstreams["library"];
        Settings::compile(&config, "library", upstream, ("library.v1.Library", method), false)
    }

    #[test]
    fn the_most_specific_entry_wins_key_by_key() {
        let settings = settings("GetBook");
        assert_eq!(settings.timeout.value, Some(Duration::from_secs(2)));
        assert_eq!(settings.timeout.from, written("methods[\"library.v1.Library/*\"].timeout"));
        assert!(settings.emit_defaults.value);
        assert!(!settings.proto_names.value);
        assert_eq!(settings.proto_names.from, written("methods[\"library.v1.Library/GetBook\"].output.proto_names"));
        assert_eq!((settings.body.value, settings.body.from), (1024, written("upstreams.library.limits.send")));
        assert_eq!(settings.enums_as_numbers.from, Origin::Default);
    }
}
