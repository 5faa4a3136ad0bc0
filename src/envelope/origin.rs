//! Who the client is: its address, as trusted proxies tell it.

use std::net::{IpAddr, SocketAddr};

use http::header::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use super::metadata::{X_FORWARDED_FOR, unindexed};
use crate::config::Network;

/// The client behind trusted proxies: the rightmost address of `x-forwarded-for` that is none of theirs.
pub fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer;
    if trusted.is_empty() || !is_trusted(peer) {
        return client;
    }
    // A list may come in several headers; the last address of the last one is nearest.
    let lists: SmallVec<[&HeaderValue; 2]> = headers.get_all(&X_FORWARDED_FOR).iter().collect();
    for list in lists.iter().rev() {
        for text in list.to_str().unwrap_or_default().rsplit(',') {
            let Some(address) = address(text.trim()) else { return client };
            client = address;
            if !is_trusted(address) {
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
