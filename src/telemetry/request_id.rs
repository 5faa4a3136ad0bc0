//! The name that a call has in logs, in the upstream's metadata and in its answer: `x-request-id`.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// `x-request-id`
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id taken from a client.
const LONGEST: usize = 128;
/// Characters that are a worker's own: 40 bits.
const OWN: usize = 8;
/// Characters that are a call's own: 50 bits. HPACK takes 20 instructions to write one, twice for a gRPC call.
const COUNT: usize = 10;
/// Bits of the latter.
const COUNTED: u64 = (1 << (5 * COUNT)) - 1;
/// Crockford's base 32, in lower case.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// One call's id; always printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The client's, if it is `[A-Za-z0-9._-]{1,128}`: it goes into logs and headers as it is.
    pub fn from_client(value: &HeaderValue) -> Option<Self> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let bytes = value.as_bytes();
        let valid = (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(allowed);
        valid.then(|| Self::once(value.clone()))
    }

    /// Kept out of HPACK's tables, where an id that comes once drives out what comes with every call.
    fn once(mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        Self(value)
    }

    /// As a header's value.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.0.as_bytes()).unwrap_or_default()
    }
}

/// A worker's source of ids: random letters that are its own, and a counter under a keyed permutation, so that ids
/// neither repeat nor tell clients how many calls there are.
#[derive(Debug)]
pub struct RequestIds {
    own: [u8; OWN],
    next: AtomicU64,
}

impl RequestIds {
    /// A source that shares no id with any other.
    pub fn new() -> Self {
        // The standard library's hash keys come from the system's entropy and differ at each call.
        let random = |salt: u8| RandomState::new().hash_one(salt);
        Self { own: base32(random(0)), next: AtomicU64::new(random(1)) }
    }

    /// The client's id where it sent exactly one that is valid, else a new one.
    pub fn of(&self, headers: &HeaderMap) -> RequestId {
        let mut sent = headers.get_all(HEADER).iter();
        self.or_next(sent.next().filter(|_| sent.next().is_none()))
    }

    /// The one id that the client sent where it is valid, else a new one.
    pub fn or_next(&self, sent: Option<&HeaderValue>) -> RequestId {
        sent.and_then(RequestId::from_client).unwrap_or_else(|| self.next())
    }

    /// A new id.
    pub fn next(&self) -> RequestId {
        let mut text = [0; OWN + COUNT];
        text[..OWN].copy_from_slice(&self.own);
        text[OWN..].copy_from_slice(&base32::<COUNT>(permute(self.next.fetch_add(1, Ordering::Relaxed))));
        // Shared from the start: it is cloned for the upstream, the answer and the log. Base 32 digits are valid in a header.
        let value = HeaderValue::from_maybe_shared(Bytes::from_owner(text));
        RequestId::once(value.unwrap_or_else(|_| HeaderValue::from_static("0")))
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

fn base32<const LENGTH: usize>(mut bits: u64) -> [u8; LENGTH] {
    let mut text = [0; LENGTH];
    for place in text.iter_mut().rev() {
        *place = DIGITS[(bits & 31) as usize];
        bits >>= 5;
    }
    text
}

/// SplitMix64's finisher on 50 bits: each number to another, none to the same.
fn permute(bits: u64) -> u64 {
    let halved = |bits: u64| bits ^ (bits >> (5 * COUNT / 2));
    let bits = halved(bits & COUNTED).wrapping_mul(0xbf58_476d_1ce4_e5b9) & COUNTED;
    halved(halved(bits).wrapping_mul(0x94d0_49bb_1331_11eb) & COUNTED)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::{HeaderMap, HeaderValue};

    use super::{HEADER, RequestIds};

    #[test]
    fn a_valid_id_of_the_client_is_kept() {
        let ids = RequestIds::new();
        for (sent, kept) in [
            ("abc-DEF_1.2", true),
            (&*"a".repeat(128), true),
            (&*"a".repeat(129), false),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            ("a/b", false),
        ] {
            let value = HeaderValue::from_str(sent).unwrap();
            assert_eq!(ids.or_next(Some(&value)).as_str() == sent, kept, "{sent:?}");
        }
    }

    #[test]
    fn two_ids_from_the_client_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(HEADER, HeaderValue::from_static("one"));
        headers.append(HEADER, HeaderValue::from_static("two"));
        assert_eq!(RequestIds::new().of(&headers).as_str().len(), 18);
    }

    #[test]
    fn ids_do_not_repeat() {
        let sources = [RequestIds::new(), RequestIds::new()];
        let seen: HashSet<String> =
            sources.iter().flat_map(|ids| (0..10_000).map(|_| ids.next().as_str().to_owned())).collect();
        assert_eq!(seen.len(), 20_000);
        assert!(seen.iter().all(|id| id.len() == 18));
    }
}
