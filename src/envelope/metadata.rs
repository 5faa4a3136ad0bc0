//! Which headers cross the gateway, in both directions. A list of what is let through for REST, a list of what is
//! kept back for gRPC; what speaks of the client's identity is kept back in every dialect.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::config::Network;

/// `x-request-id`
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `x-forwarded-for`
pub static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `x-forwarded-proto`
pub static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `x-forwarded-host`
pub static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `x-http-code`: the upstream's wish for the status of a successful REST answer.
pub static X_HTTP_CODE: HeaderName = HeaderName::from_static("x-http-code");
/// `x-request-timeout`: a client's deadline in seconds.
pub static X_REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// Room for a call's usual metadata, ours and the protocol's own, without growing.
const USUAL: usize = 12;

/// The metadata of a REST request: what the list lets through.
pub fn from_rest(headers: &HeaderMap) -> HeaderMap {
    let named = named_by_connection(headers);
    let mut metadata = HeaderMap::with_capacity(USUAL);
    for (name, value) in headers {
        if crosses_from_rest(name) && !named.iter().any(|dropped| dropped == name.as_str()) {
            metadata.append(name.clone(), value.clone());
        }
    }
    metadata
}

/// The metadata of a gRPC request: all but what is kept back.
pub fn from_grpc(headers: &HeaderMap) -> HeaderMap {
    let named = named_by_connection(headers);
    let mut metadata = HeaderMap::with_capacity(USUAL);
    for (name, value) in headers {
        if !kept_back(name.as_str()) && !named.iter().any(|dropped| dropped == name.as_str()) {
            metadata.append(name.clone(), value.clone());
        }
    }
    metadata
}

/// The reply's metadata as headers of a REST answer: names that frame the answer or speak to browsers stay behind.
pub fn to_rest(metadata: &HeaderMap, headers: &mut HeaderMap) {
    for (name, value) in metadata {
        if crosses_to_rest(name.as_str()) {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// The reply's metadata as headers of a gRPC answer: all but what belongs to the connection.
pub fn to_grpc(mut metadata: HeaderMap) -> HeaderMap {
    let kept_back = |name: &HeaderName| !crosses_to_grpc(name.as_str());
    let dropped: SmallVec<[HeaderName; 2]> = metadata.keys().filter(|name| kept_back(name)).cloned().collect();
    for name in &dropped {
        metadata.remove(name);
    }
    metadata
}

/// The same, into a gRPC error that has headers already.
pub fn append_grpc(metadata: &HeaderMap, headers: &mut HeaderMap) {
    for (name, value) in metadata {
        if crosses_to_grpc(name.as_str()) && name != header::CONTENT_TYPE && !name.as_str().starts_with("grpc-") {
            headers.append(name.clone(), value.clone());
        }
    }
}

fn crosses_to_grpc(name: &str) -> bool {
    !matches!(
        name,
        "connection"
            | "content-length"
            | "date"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "x-request-id"
    )
}

fn crosses_from_rest(name: &HeaderName) -> bool {
    // `x-request-id` is set by the pipeline, to the client's value if it is valid.
    matches!(name.as_str(), "authorization" | "traceparent" | "tracestate" | "baggage" | "accept-language")
}

fn crosses_to_rest(name: &str) -> bool {
    let kept_back = matches!(
        name,
        "content-type"
            | "content-length"
            | "content-encoding"
            | "transfer-encoding"
            | "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "upgrade"
            | "date"
            | "server"
            | "set-cookie"
            | "location"
            | "strict-transport-security"
            | "x-http-code"
            | "x-request-id"
    ) || name.starts_with("grpc-")
        || name.starts_with("access-control-");
    !kept_back
}

/// Names that no client may send on, in any dialect. `_` counts as `-`: some servers read both as one name.
fn kept_back(name: &str) -> bool {
    let mut buffer = [0_u8; 64];
    let name = match name.contains('_') {
        false => name,
        true => {
            // Longer names are cut: only prefixes matter below.
            let length = name.len().min(buffer.len());
            for (to, from) in buffer.iter_mut().zip(name.bytes()) {
                *to = if from == b'_' { b'-' } else { from };
            }
            std::str::from_utf8(&buffer[..length]).unwrap_or(name)
        }
    };
    match name.as_bytes().first() {
        Some(b'x') => {
            const PREFIXES: [&str; 8] = [
                "x-user-",
                "x-forwarded-",
                "x-real-ip",
                "x-client-cert",
                "x-ssl-",
                "x-tls-client-",
                "x-amzn-mtls-",
                "x-arr-clientcert",
            ];
            PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                || matches!(name, "x-request-id" | "x-request-timeout")
        }
        Some(b'g') => {
            name.starts_with("grpc-")
                && !matches!(
                    name,
                    "grpc-encoding"
                        | "grpc-accept-encoding"
                        | "grpc-previous-rpc-attempts"
                        | "grpc-trace-bin"
                        | "grpc-tags-bin"
                )
        }
        Some(b'c') => {
            matches!(name, "cookie" | "connection" | "content-length" | "content-type")
                || name.starts_with("client-cert")
        }
        Some(b'p') => name.starts_with("proxy-"),
        Some(b's') => name.starts_with("ssl-client-"),
        _ => matches!(
            name,
            "host"
                | "te"
                | "forwarded"
                | "keep-alive"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
                | "http2-settings"
                | "expect"
        ),
    }
}

/// The headers that `Connection` declares to belong to the connection, in lower case.
fn named_by_connection(headers: &HeaderMap) -> SmallVec<[String; 2]> {
    let mut named = SmallVec::new();
    for value in headers.get_all(header::CONNECTION) {
        for token in value.as_bytes().split(|&byte| byte == b',') {
            let token = token.trim_ascii();
            let usual = [&b"keep-alive"[..], b"close", b"upgrade", b"te", b""];
            if !usual.iter().any(|usual| token.eq_ignore_ascii_case(usual)) {
                named.push(String::from_utf8_lossy(token).to_ascii_lowercase());
            }
        }
    }
    named
}

/// The client behind trusted proxies: the rightmost address of `x-forwarded-for` that is none of theirs.
pub fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer;
    if !is_trusted(peer) {
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
    HeaderValue::try_from(list).unwrap_or_else(|_| peer.clone())
}

/// The host that the client means: one `Host` or `:authority`, or several that agree. `None` where there is none, or
/// they differ, or it is no host.
pub fn host(uri: &http::Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let first = hosts.next();
    if hosts.next().is_some() {
        return None;
    }
    let host = match (uri.authority(), first) {
        (None, None) => return None,
        (None, Some(host)) => host.clone(),
        (Some(authority), None) => HeaderValue::from_str(authority.as_str()).ok()?,
        (Some(authority), Some(host)) => {
            host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()).then(|| host.clone())?
        }
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_~:[]%".contains(byte);
    (!host.is_empty() && host.as_bytes().iter().all(plain)).then_some(host)
}
