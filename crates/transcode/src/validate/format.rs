//! The formats that strings may be held to: email addresses, names of hosts, identifiers, HTTP headers. Each is read in one
//! pass, without a regular expression.

use super::address::{self, Version};
use super::uri;

/// A format of `buf.validate.StringRules.well_known`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Email,
    Hostname,
    Ip(Version),
    IpWithPrefix(Version),
    IpPrefix(Version),
    Uri,
    UriRef,
    /// A host's name or an IP address.
    Address,
    HostAndPort,
    Uuid,
    /// A UUID without hyphens.
    TrimmedUuid,
    Ulid,
    ProtobufName {
        dot: bool,
    },
    HeaderName {
        strict: bool,
    },
    HeaderValue {
        strict: bool,
    },
}

impl Format {
    /// The text has this format; of most the empty text has not.
    pub(super) fn accepts(self, text: &[u8]) -> bool {
        match self {
            Self::Email => is_email(text),
            Self::Hostname => is_hostname(text),
            Self::Ip(version) => address::is_address(text, version),
            Self::IpWithPrefix(version) => address::is_prefix(text, version, false),
            Self::IpPrefix(version) => address::is_prefix(text, version, true),
            Self::Uri => uri::is_uri(text),
            Self::UriRef => uri::is_reference(text),
            Self::Address => is_hostname(text) || address::is_address(text, Version::Any),
            Self::HostAndPort => is_host_and_port(text, true),
            Self::Uuid => is_uuid(text),
            Self::TrimmedUuid => text.len() == 32 && text.iter().all(u8::is_ascii_hexdigit),
            Self::Ulid => is_ulid(text),
            Self::ProtobufName { dot: false } => is_protobuf_name(text),
            Self::ProtobufName { dot: true } => text.strip_prefix(b".").is_some_and(is_protobuf_name),
            Self::HeaderName { strict: true } => is_header_name(text),
            Self::HeaderName { strict: false } => !text.is_empty() && is_one_line(text),
            Self::HeaderValue { strict: true } => {
                text.iter().all(|&byte| byte == b'\t' || byte >= 0x20 && byte != 0x7f)
            }
            Self::HeaderValue { strict: false } => is_one_line(text),
        }
    }
}

/// As HTML reads an `<input type=email>`: a deliberate deviation from RFC 5322.
fn is_email(text: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b'@', text) else { return false };
    let (local, domain) = (&text[..at], &text[at + 1..]);
    let atom = |byte: &u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(byte);
    !local.is_empty() && local.iter().all(atom) && domain.split(|&byte| byte == b'.').all(is_label)
}

/// RFC 1034, with digits in front: labels of at most 63 bytes, 253 together, the last one not a number; a final dot is fine.
fn is_hostname(text: &[u8]) -> bool {
    if text.len() > 253 {
        return false;
    }
    let name = text.strip_suffix(b".").unwrap_or(text);
    let last = name.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
    name.split(|&byte| byte == b'.').all(is_label) && !last.iter().all(u8::is_ascii_digit)
}

fn is_label(label: &[u8]) -> bool {
    (1..=63).contains(&label.len())
        && label.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with(b"-")
        && !label.ends_with(b"-")
}

/// A name or an address, in brackets one of IPv6, and a port, which need not be there unless it is wanted.
pub(super) fn is_host_and_port(text: &[u8], wanted: bool) -> bool {
    let is_host = |host: &[u8]| match host.strip_prefix(b"[") {
        Some(inner) => inner.strip_suffix(b"]").is_some_and(|inner| address::is_address(inner, Version::V6)),
        None => is_hostname(host) || address::is_address(host, Version::V4),
    };
    if !wanted && is_host(text) {
        return true;
    }
    let Some(colon) = memchr::memrchr(b':', text) else { return false };
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    is_host(host) && address::decimal(port, 65_535).is_some()
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// 26 characters of Crockford's base 32, of which 128 bits are used.
fn is_ulid(text: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() && !b"ILOU".contains(&byte.to_ascii_uppercase());
    text.len() == 26 && text[0].is_ascii_digit() && text[0] < b'8' && text.iter().all(digit)
}

fn is_protobuf_name(text: &[u8]) -> bool {
    text.split(|&byte| byte == b'.').all(|part| {
        part.first().is_some_and(|&first| first.is_ascii_alphabetic() || first == b'_')
            && part.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// A token of RFC 9110, or a pseudo-header of HTTP/2. (The rule's own expression lets a comma pass, and so does this.)
fn is_header_name(text: &[u8]) -> bool {
    let name = text.strip_prefix(b":").unwrap_or(text);
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+,-.^_|~`".contains(byte);
    !name.is_empty() && name.iter().all(token)
}

fn is_one_line(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r'))
}
