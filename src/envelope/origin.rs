//! Who the client is and how it came: its address, its scheme and its host, as trusted proxies tell them.

use std::net::{IpAddr, SocketAddr};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::head::is_host;
use super::metadata::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, unindexed};
use crate::config::Network;

/// Whether an address is a trusted proxy's.
pub fn is_proxy(peer: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(peer))
}

/// Whether the client came to a trusted proxy over TLS; none: that does not say so in one word.
pub fn forwarded_tls(headers: &HeaderMap) -> Option<bool> {
    match one(headers, &X_FORWARDED_PROTO)?.as_bytes() {
        scheme if scheme.eq_ignore_ascii_case(b"https") => Some(true),
        scheme if scheme.eq_ignore_ascii_case(b"http") => Some(false),
        _ => None,
    }
}

/// The host by which the client came to a trusted proxy; none: that names no single one.
pub fn forwarded_host(headers: &HeaderMap) -> Option<&HeaderValue> {
    one(headers, &X_FORWARDED_HOST).filter(|host| is_host(host))
}

/// The value of a header that was sent once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The client behind trusted proxies: the rightmost address of `x-forwarded-for` that is none of theirs.
pub fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> IpAddr {
    let mut client = peer;
    if !is_proxy(peer, trusted) {
        return client;
    }
    // A list may come in several headers; the last address of the last one is nearest.
    let lists: SmallVec<[&HeaderValue; 2]> = headers.get_all(&X_FORWARDED_FOR).iter().collect();
    for list in lists.iter().rev() {
        // Each by itself: what a client wrote before a proxy's own says nothing of that.
        for written in list.as_bytes().rsplit(|&byte| byte == b',') {
            let Some(address) = str::from_utf8(written).ok().and_then(|text| address(text.trim())) else {
                return client;
            };
            client = address;
            if !is_proxy(address, trusted) {
                return client;
            }
        }
    }
    client
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

/// `x-forwarded-for` as the upstream gets it: the peer, behind what a trusted proxy said.
pub fn forwarded_for(headers: &HeaderMap, peer: &HeaderValue, trusted: bool) -> HeaderValue {
    if !trusted {
        return peer.clone();
    }
    let mut list = Vec::new();
    for value in headers.get_all(&X_FORWARDED_FOR) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(peer.as_bytes());
    HeaderValue::try_from(list).map_or_else(|_| peer.clone(), |list| unindexed(&list))
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderValue};

    use super::client;
    use crate::config::Network;

    #[test]
    fn what_a_client_writes_hides_nothing_of_what_a_proxy_does() {
        let trusted = [Network { address: [10, 0, 0, 0].into(), prefix: 8 }];
        let of = |lists: &[&[u8]]| {
            let lists =
                lists.iter().map(|list| (super::X_FORWARDED_FOR.clone(), HeaderValue::from_bytes(list).unwrap()));
            client(&lists.collect::<HeaderMap>(), [10, 0, 0, 1].into(), &trusted).to_string()
        };
        assert_eq!(of(&[b"192.0.2.7"]), "192.0.2.7");
        assert_eq!(of(&[b"\xff, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(of(&[b"198.51.100.1, \xe9, 192.0.2.7, 10.0.0.2"]), "192.0.2.7");
        assert_eq!(of(&[b"\xff", b"192.0.2.7", b"10.0.0.2"]), "192.0.2.7");
        // What no proxy would have written names nobody: the nearest that is known is it.
        assert_eq!(of(&[b"192.0.2.7, \xff"]), "10.0.0.1");
        assert_eq!(of(&[b"192.0.2.7, unknown, 10.0.0.2"]), "10.0.0.2");
    }
}
