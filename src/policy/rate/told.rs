//! What answers tell of limits: `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10), structured
//! fields both.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::store::{Limit, Standing};

static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What one answer tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub(super) policy: HeaderValue,
    pub(super) standing: HeaderValue,
}

impl Told {
    /// Puts it where the client sees it, in place of what the upstream says of its own.
    pub fn tell(self, headers: &mut HeaderMap) {
        headers.insert(&RATELIMIT_POLICY, self.policy);
        headers.insert(&RATELIMIT, self.standing);
    }
}

/// Every limit: `"public";q=100;w=60, "login";q=5;w=60`. The window is left out where it is no whole number of seconds.
pub(super) fn policy<'a>(limits: impl Iterator<Item = &'a Limit>) -> Option<HeaderValue> {
    let mut text = String::new();
    for limit in limits {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}\"{}\";q={}", limit.name, limit.quota.burst());
        // Steps are rounded up to nanoseconds, which adds up to no more than a millisecond.
        let window = limit.quota.window();
        if window.as_secs() > 0 && window.subsec_nanos() < 1_000_000 {
            let _ = write!(text, ";w={}", window.as_secs());
        }
    }
    HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
}

/// How the tightest limit stands: `"public";r=99;t=1`, with the seconds until all permits are back.
pub(super) fn standing(name: &str, standing: &Standing) -> HeaderValue {
    let mut text = Vec::with_capacity(name.len() + 32);
    let mut number = itoa::Buffer::new();
    text.push(b'"');
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\";r=");
    text.extend_from_slice(number.format(standing.remaining).as_bytes());
    text.extend_from_slice(b";t=");
    text.extend_from_slice(number.format(seconds(standing.reset)).as_bytes());
    // Names are plain, and numbers are digits.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
