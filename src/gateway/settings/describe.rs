//! What a method is allowed, in words: for `transom routes`, `explain` and the admin port.

use std::collections::BTreeMap;

use http::HeaderName;
use transom_transcode::plan::Unknown;

use super::{Origin, Setting, Settings};
use crate::config::{Access, Priority, Retry, Sanitize, Validate, write_size};

impl Settings {
    /// Name, value and origin of each, for people.
    pub fn describe(&self) -> Vec<(&'static str, String, &Origin)> {
        let timeout = self.timeout.value.map_or_else(|| "none".to_owned(), |timeout| format!("{timeout:?}"));
        let unknown = match self.unknown_fields.value {
            Unknown::Refuse => "refuse",
            Unknown::Ignore => "ignore",
        };
        let validate = match self.validate.value {
            Validate::All => "all",
            Validate::Standard => "standard",
            Validate::Off => "off",
        };
        let priority = match self.priority.value {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
        };
        let flag = |setting: &Setting<bool>| setting.value.to_string();
        let retry = self.retry.value.as_ref().map_or_else(|| "none".to_owned(), tries);
        let fallback =
            self.fallback.value.as_ref().map_or_else(|| "none".to_owned(), |told| told.status.as_u16().to_string());
        let list = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(" ") };
        let limits = list(self.rate_limits.value.iter().map(String::as_str).collect());
        let messages = self.messages.value.map_or_else(|| "any".to_owned(), |rate| rate.to_string());
        let names = |setting: &Setting<Vec<HeaderName>>| list(setting.value.iter().map(HeaderName::as_str).collect());
        let mut described = vec![
            ("timeout", timeout, &self.timeout.from),
            ("unknown_fields", unknown.to_owned(), &self.unknown_fields.from),
            ("limits.body", write_size(self.body.value), &self.body.from),
            ("limits.depth", self.depth.value.to_string(), &self.depth.from),
            ("compress", flag(&self.compress), &self.compress.from),
            ("rate_limits", limits, &self.rate_limits.from),
            ("limits.messages", messages, &self.messages.from),
            ("priority", priority.to_owned(), &self.priority.from),
            ("auth", access(&self.auth.value), &self.auth.from),
            ("bind", bindings(&self.bind.value), &self.bind.from),
            ("validate", validate.to_owned(), &self.validate.from),
            ("sanitize", steps(&self.sanitize.value), &self.sanitize.from),
            ("output.emit_defaults", flag(&self.emit_defaults), &self.emit_defaults.from),
            ("output.enums_as_numbers", flag(&self.enums_as_numbers), &self.enums_as_numbers.from),
            ("output.proto_names", flag(&self.proto_names), &self.proto_names.from),
            ("output.int64_as_numbers", flag(&self.int64_as_numbers), &self.int64_as_numbers.from),
            ("headers.request", names(&self.request_headers), &self.request_headers.from),
            ("headers.response", names(&self.response_headers), &self.response_headers.from),
            ("retry", retry, &self.retry.from),
            ("idempotent", flag(&self.idempotent), &self.idempotent.from),
            ("fallback", fallback, &self.fallback.from),
            ("redirects", flag(&self.redirects), &self.redirects.from),
        ];
        if let Some(cache) = &self.cache.value {
            described.push(("cache", cache.to_string(), &self.cache.from));
        }
        if !self.content_types.value.is_empty() {
            described.push(("content_types", self.content_types.value.join(" "), &self.content_types.from));
        }
        described.extend(self.cors.describe());
        described
    }
}

/// Who may call, in a few words.
fn access(access: &Access) -> String {
    let Access::Required(required) = access else { return "public".to_owned() };
    let mut text = "required".to_owned();
    let lists = [
        ("scopes", &required.scopes),
        ("roles", &required.roles),
        ("issuer", &required.issuer),
        ("audience", &required.audience),
    ];
    let lists = lists.into_iter().chain(required.claims.iter().map(|(claim, values)| (claim.as_str(), values)));
    for (name, list) in lists.filter(|(_, list)| !list.is_empty()) {
        text.push_str(&format!(" {name}={}", list.join(",")));
    }
    if let Some(kind) = &required.connect_token {
        text.push_str(&format!(" connect_token={kind}"));
    }
    text
}

fn tries(retry: &Retry) -> String {
    let hedge = retry.hedge.map(|delay| format!(" hedge={delay:?}")).unwrap_or_default();
    format!("{} tries{hedge}", retry.attempts)
}

fn bindings(bind: &BTreeMap<String, String>) -> String {
    if bind.is_empty() {
        return "none".to_owned();
    }
    bind.iter().map(|(field, claim)| format!("{field}={claim}")).collect::<Vec<_>>().join(" ")
}

fn steps(sanitize: &BTreeMap<String, Vec<Sanitize>>) -> String {
    if sanitize.is_empty() {
        return "none".to_owned();
    }
    let word = |step: &Sanitize| match step {
        Sanitize::Trim => "trim",
        Sanitize::Control => "control",
        Sanitize::Nfc => "nfc",
        Sanitize::StripHtml => "strip_html",
    };
    let words = |steps: &[Sanitize]| steps.iter().map(word).collect::<Vec<_>>().join(",");
    sanitize.iter().map(|(field, steps)| format!("{field}={}", words(steps))).collect::<Vec<_>>().join(" ")
}
