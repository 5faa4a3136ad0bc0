//! `upstreams.*.subset` and `upstreams.*.canary`: which calls go to which endpoints, beside turns.

use http::HeaderName;

use super::Percent;
use super::kind::{Kind as _, checked, choice, percent, text};
use super::problem::quote;
use super::read::{choice, section};
use super::upstream::{check_name, header_name};

section! {
    /// Calls go only to those endpoints whose label has the value that they ask for.
    pub struct Subset {
        /// The label, such as `version`.
        label: String = checked("a label's name", label).required(),
        /// A request header whose value is asked for; none: every call asks for `default`.
        header: Option<HeaderName> = checked("a header's name", header_name).optional(),
        /// What calls without that header ask for; none: they go to all endpoints.
        default: Option<String> = text("a label's value").optional(),
        /// Where calls go that ask for a value which no endpoint that takes calls has.
        otherwise: Otherwise = choice().or("any"),
    }
}

choice! {
    /// Where calls go that nobody is asked for by.
    pub enum Otherwise {
        /// To all endpoints.
        Any = "any",
        /// Nowhere: they are UNAVAILABLE.
        None = "none",
    }
}

section! {
    /// Another upstream that gets some of the calls, as far as its endpoints take them; those that it does not take are served as all others. Questions whose replies are kept are among them by `header` alone, and have replies of their own.
    pub struct Canary {
        /// Its name under `upstreams`; it needs no `services`.
        upstream: String = checked("an upstream's name", name).required(),
        /// How many of the calls: exactly so many of a hundred, never in a bunch.
        share: Percent = percent().or("0%"),
        /// A request header: calls that have it go there whatever the share.
        header: Option<HeaderName> = checked("a header's name", header_name).optional(),
        /// The value that the header must have; none: any.
        value: Option<String> = text("a header's value").optional(),
    }
}

fn name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

/// As in Kubernetes, roughly: letters, digits, `-`, `_`, `.`, `/`.
pub(super) fn check_label(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    if (1..=128).contains(&text.len()) && text.bytes().all(plain) {
        Ok(())
    } else {
        Err(format!("{} is not a label's name", quote(text)))
    }
}

fn label(text: &str) -> Result<String, String> {
    check_label(text).map(|()| text.to_owned())
}
