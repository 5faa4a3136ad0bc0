//! Whose reply: a digest of all that the service would see of a call.

use std::num::NonZeroU32;

use aws_lc_rs::digest::{Context, SHA256};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// What tells calls apart, by its SHA-256, and how often such replies were forgotten here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    name: [u8; 32],
    generation: u64,
}

/// Which endpoints may be asked: another one has other replies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Of the upstream's own, those with a value.
    pub subset: Option<NonZeroU32>,
    /// Those of its canary.
    pub canary: bool,
}

impl Key {
    /// The key of a call of the method and the policy that `seed` stands for. `vary`: the headers on which a public reply depends; without it all of them count that are not
    /// known to say nothing of the caller. `asked`: which endpoints may be.
    pub(super) fn of(
        seed: &[u8; 32],
        generation: u64,
        (message, asked): (&[u8], Asked),
        metadata: &HeaderMap,
        vary: Option<&[HeaderName]>,
    ) -> Self {
        let mut digest = Context::new(&SHA256);
        let mut part = |bytes: &[u8]| {
            // With its length, so that no two lists of parts are one text.
            digest.update(&(bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        part(seed);
        part(message);
        // Before pairs: one more part makes another list of parts.
        if asked != Asked::default() {
            let [a, b, c, d] = asked.subset.map_or(0, NonZeroU32::get).to_le_bytes();
            part(&[a, b, c, d, u8::from(asked.canary)]);
        }
        let counted = metadata.iter().filter(|(name, _)| counts(name, vary));
        let mut counted: SmallVec<[(&str, &[u8]); 8]> =
            counted.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        // Names come in no order that means anything; the values of one name do.
        counted.sort_by_key(|(name, _)| *name);
        for (name, value) in counted {
            part(name.as_bytes());
            part(value);
        }
        let mut name = [0; 32];
        name.copy_from_slice(digest.finish().as_ref());
        Self { name, generation }
    }

    /// What it is called everywhere.
    pub(super) fn name(&self) -> &[u8; 32] {
        &self.name
    }
}

/// Takes out what keys do not count: a service that answers by it would let one client choose the reply of all others.
pub(super) fn leave_out(metadata: &mut HeaderMap, vary: Option<&[HeaderName]>) {
    let left_out = |(name, value): &(&HeaderName, &HeaderValue)| !counts(name, vary) && !names_the_call(name, value);
    let left_out: SmallVec<[HeaderName; 8]> = metadata.iter().filter(left_out).map(|(name, _)| name.clone()).collect();
    for name in &left_out {
        metadata.remove(name);
    }
}

/// Whether a service sees other calls by it.
fn counts(name: &HeaderName, vary: Option<&[HeaderName]>) -> bool {
    match vary {
        // A service that makes links of them would else let one client choose everyone's.
        Some(vary) => vary.contains(name) || is_host(name),
        None => !says_nothing(name),
    }
}

/// What the gateway says of a call, and what finds it again in traces and logs.
fn names_the_call(name: &HeaderName, value: &HeaderValue) -> bool {
    match name.as_str() {
        "x-request-id" | "x-forwarded-client-cert" => true,
        "traceparent" => value.len() == 55 && value.as_bytes().iter().all(|byte| b"0123456789abcdef-".contains(byte)),
        _ => false,
    }
}

fn is_host(name: &HeaderName) -> bool {
    matches!(name.as_str(), "x-forwarded-host" | "x-forwarded-proto")
}

/// Metadata of the call and its connection: not of who calls, nor of what is asked.
fn says_nothing(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "x-request-id"
            | "x-forwarded-for"
            | "user-agent"
            | "traceparent"
            | "tracestate"
            | "baggage"
            | "grpc-trace-bin"
            | "grpc-tags-bin"
            | "grpc-previous-rpc-attempts"
            | "grpc-timeout"
            | "te"
            | "content-type"
            | "cache-control"
            | "pragma"
            | "if-none-match"
            | "if-modified-since"
            | "origin"
            | "referer"
            | "priority"
            | "dnt"
    ) || name.as_str().starts_with("sec-")
        || name.as_str().starts_with("access-control-")
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT_LANGUAGE;
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Asked, Key};

    fn key(message: &[u8], headers: &[(&'static str, &'static str)], public: bool) -> Key {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let metadata: HeaderMap = headers.iter().map(pair).collect();
        Key::of(&[7; 32], 1, (message, Asked::default()), &metadata, public.then_some(&[ACCEPT_LANGUAGE]))
    }

    #[test]
    fn what_tells_calls_apart_for_the_service_does_so_here() {
        let bare = key(b"m", &[], false);
        assert_ne!(bare, key(b"n", &[], false));
        for header in ["authorization", "x-user-id", "x-tenant", "cookie", "accept-language", "x-forwarded-host"] {
            assert_ne!(bare, key(b"m", &[(header, "a")], false), "{header}");
            assert_ne!(key(b"m", &[(header, "b")], false), key(b"m", &[(header, "a")], false), "{header}");
        }
        for header in ["x-request-id", "user-agent", "traceparent", "x-forwarded-for", "sec-fetch-mode"] {
            assert_eq!(bare, key(b"m", &[(header, "a")], false), "{header}");
        }
        let (one, other) = ([("x-a", "1"), ("x-b", "2")], [("x-b", "2"), ("x-a", "1")]);
        assert_eq!(key(b"m", &one, false), key(b"m", &other, false));
        // No two lists of parts are one text.
        assert_ne!(key(b"m", &[("x-a", "b"), ("x-c", "")], false), key(b"m", &[("x-a", "bx-c")], false));
    }

    #[test]
    fn a_public_reply_depends_on_what_is_said() {
        let bare = key(b"m", &[], true);
        for header in ["authorization", "x-user-id", "cookie"] {
            assert_eq!(bare, key(b"m", &[(header, "a")], true), "{header}");
        }
        for header in ["accept-language", "x-forwarded-host", "x-forwarded-proto"] {
            assert_ne!(bare, key(b"m", &[(header, "a")], true), "{header}");
        }
    }
}
