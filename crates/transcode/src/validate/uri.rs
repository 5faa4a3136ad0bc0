//! URIs and references to them: the grammar of RFC 3986, with RFC 6874's zones. Each rule eats a front of the text and says
//! what is left.

use super::address::{self, Version};

/// `URI = scheme ":" hier-part [ "?" query ] [ "#" fragment ]`
pub(super) fn is_uri(text: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', text) else { return false };
    let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
    let first = scheme.first().is_some_and(u8::is_ascii_alphabetic);
    let others = scheme.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    first && others && has_path(rest, true)
}

/// `URI-reference = URI / relative-ref`
pub(super) fn is_reference(text: &[u8]) -> bool {
    is_uri(text) || has_path(text, false)
}

/// `"//" authority path-abempty / path-absolute / path-rootless / path-empty`, then query and fragment. Without a scheme
/// the first segment has no colon.
fn has_path(text: &[u8], scheme: bool) -> bool {
    let (text, fragment) = cut(text, b'#');
    let (path, query) = cut(text, b'?');
    let free = |byte| is_pchar(byte) || byte == b'/' || byte == b'?';
    let path = match path.strip_prefix(b"//") {
        Some(rest) => {
            let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
            is_authority(&rest[..end]) && is_text(&rest[end..], free_segment)
        }
        None => {
            let first = path.split(|&byte| byte == b'/').next().unwrap_or_default();
            is_text(path, free_segment) && (scheme || !first.contains(&b':'))
        }
    };
    path && query.is_none_or(|query| is_text(query, free)) && fragment.is_none_or(|fragment| is_text(fragment, free))
}

fn free_segment(byte: u8) -> bool {
    is_pchar(byte) || byte == b'/'
}

/// `authority = [ userinfo "@" ] host [ ":" port ]`
fn is_authority(text: &[u8]) -> bool {
    let host_and_port = match memchr::memchr(b'@', text) {
        Some(at) => {
            if !is_text(&text[..at], |byte| is_regular(byte) || byte == b':') {
                return false;
            }
            &text[at + 1..]
        }
        None => text,
    };
    let (host, port) = match host_and_port.strip_prefix(b"[") {
        Some(literal) => {
            let Some(end) = memchr::memchr(b']', literal) else { return false };
            match &literal[end + 1..] {
                [] if is_literal(&literal[..end]) => return true,
                [b':', port @ ..] if is_literal(&literal[..end]) => (&b""[..], port),
                _ => return false,
            }
        }
        None => match memchr::memchr(b':', host_and_port) {
            Some(at) => (&host_and_port[..at], &host_and_port[at + 1..]),
            None => (host_and_port, &b""[..]),
        },
    };
    is_text(host, is_regular) && names_text(host) && port.iter().all(u8::is_ascii_digit)
}

/// What brackets hold: an IPv6 address, one with a zone, or a future kind of address.
fn is_literal(text: &[u8]) -> bool {
    if let Some(future) = text.strip_prefix(b"v") {
        let Some(dot) = memchr::memchr(b'.', future) else { return false };
        let (version, address) = (&future[..dot], &future[dot + 1..]);
        let free = |byte: &u8| *byte != b'%' && (is_regular(*byte) || *byte == b':');
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(free);
    }
    match memchr::memmem::find(text, b"%25") {
        Some(at) => {
            let zone = &text[at + 3..];
            let free = |byte| byte == b'%' || is_unreserved(byte);
            address::is_address(&text[..at], Version::V6) && !zone.is_empty() && is_text(zone, free)
        }
        None => !text.contains(&b'%') && address::is_address(text, Version::V6),
    }
}

/// Only these bytes, and a percent sign only in front of two hexadecimal digits.
fn is_text(text: &[u8], allowed: impl Fn(u8) -> bool) -> bool {
    let mut bytes = text.iter();
    let digit = |bytes: &mut std::slice::Iter<'_, u8>| bytes.next().is_some_and(u8::is_ascii_hexdigit);
    while let Some(&byte) = bytes.next() {
        if !allowed(byte) || byte == b'%' && !(digit(&mut bytes) && digit(&mut bytes)) {
            return false;
        }
    }
    true
}

/// What percent signs encode in a host must be UTF-8 (§3.2.2).
fn names_text(host: &[u8]) -> bool {
    if !host.contains(&b'%') {
        return true;
    }
    let hex = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
    let mut decoded = Vec::with_capacity(host.len());
    let mut rest = host;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                decoded.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            _ => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    simdutf8::basic::from_utf8(&decoded).is_ok()
}

/// The text in front of the first such byte, and what follows it.
fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, text) {
        Some(found) => (&text[..found], Some(&text[found + 1..])),
        None => (text, None),
    }
}

/// `unreserved / pct-encoded / sub-delims / ":" / "@"`
fn is_pchar(byte: u8) -> bool {
    is_regular(byte) || byte == b':' || byte == b'@'
}

/// `unreserved / pct-encoded / sub-delims`
fn is_regular(byte: u8) -> bool {
    is_unreserved(byte) || b"%!$&'()*+,;=".contains(&byte)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}
