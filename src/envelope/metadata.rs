//! Which headers cross the gateway, in both directions. A list of what is let through for REST, a list of what is
//! kept back for gRPC; what speaks of the client's identity is kept back in every dialect.

mod grammar;
mod kept_back;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use self::grammar::append;
use self::kept_back::{Standing, standing};
use super::coding::Coding;
use super::head::Head;
use crate::error::Error;

/// `x-request-id`
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `x-forwarded-for`
pub static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `x-forwarded-proto`
pub static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `x-forwarded-host`
pub static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `x-forwarded-client-cert`: whose certificate the client showed.
pub static X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
/// `x-http-code`: the upstream's wish for the status of a successful REST answer.
pub static X_HTTP_CODE: HeaderName = HeaderName::from_static("x-http-code");
/// `x-request-timeout`: a client's deadline in seconds.
pub static X_REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// How a side's messages are compressed.
pub static GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// How the other side's may be.
pub static GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// What a method lets through beside the usual, as configuration lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crossing {
    /// Headers of REST requests that become metadata; in all dialects, those that services believe of the proxy in front of them.
    pub request: Box<[HeaderName]>,
    /// Metadata of replies that becomes headers of REST answers although it speaks to browsers.
    pub response: Box<[HeaderName]>,
    /// [`X_HTTP_CODE`] may be 300 to 399, and `location` crosses.
    pub redirects: bool,
}

/// Why no client's header of this name crosses, whatever configuration lists.
pub fn never_from_rest(name: &HeaderName) -> Option<&'static str> {
    match name.as_str() {
        "content-encoding" | "content-length" | "content-type" | "connection" | "host" | "te" | "trailer"
        | "transfer-encoding" | "upgrade" | "keep-alive" => Some("it belongs to the connection, not to the call"),
        _ if !grammar::is_name(name) => Some("gRPC's metadata has no such name"),
        name if standing(name) == Standing::Never => {
            Some("it says who the client is, or is the gateway's own: no client may set it")
        }
        _ => None,
    }
}

/// Why no reply's metadata of this name becomes a header, whatever configuration lists.
pub fn never_to_rest(name: &HeaderName) -> Option<&'static str> {
    frames(name.as_str()).then_some("it frames the answer, or is the gateway's own")
}

/// The metadata of a REST request: what the list lets through, and what configuration adds to it.
///
/// # Errors
/// What no service could read.
pub fn from_rest(head: &Head<'_>, crossing: &Crossing) -> Result<HeaderMap, Error> {
    let named = head.named_by_connection();
    // Most requests have none that crosses.
    let mut metadata = HeaderMap::new();
    for (name, value) in &head.headers {
        let listed = || crossing.request.contains(name);
        if (crosses_from_rest(name) || listed()) && !named.iter().any(|dropped| dropped == name.as_str()) {
            append(&mut metadata, name, sent_on(name, value))?;
        }
    }
    Ok(metadata)
}

/// The metadata of an RPC's own envelopes: all but what is kept back. `te` and `content-type` are what makes it gRPC; how
/// messages are compressed crosses where their frames do, in gRPC alone. What [`Head::user_agent`] has is left to who says the rest.
///
/// # Errors
/// What no service could read.
pub fn from_rpc(head: &Head<'_>, crossing: &Crossing, frames: bool) -> Result<HeaderMap, Error> {
    let named = head.named_by_connection();
    let apart = head.user_agent().is_some();
    // Most have nothing else that crosses.
    let mut metadata = HeaderMap::new();
    for (name, value) in &head.headers {
        if apart && name == header::USER_AGENT {
            continue;
        }
        if crosses_from_rpc(name, crossing) && !named.iter().any(|dropped| dropped == name.as_str()) {
            append(&mut metadata, name, sent_on(name, value))?;
        }
    }
    if !frames {
        remove_codings(&mut metadata);
    }
    Ok(metadata)
}

/// Takes out how messages are compressed: what was read goes on as one message as it is, and one comes back.
pub fn remove_codings(metadata: &mut HeaderMap) {
    metadata.remove(&GRPC_ENCODING);
    metadata.remove(&GRPC_ACCEPT_ENCODING);
}

/// How messages are compressed that go to the upstream unread, and how its answer's may be.
pub fn insert_codings(asked: Coding, accepted: Coding, metadata: &mut HeaderMap) {
    for (name, coding) in [(&GRPC_ENCODING, asked), (&GRPC_ACCEPT_ENCODING, accepted)] {
        if coding != Coding::Identity {
            metadata.insert(name, coding.name());
        }
    }
}

/// Takes out what a client sent under these names: in any case, with `_` for `-`, with `-bin` behind, however often.
pub fn strip(metadata: &mut HeaderMap, names: &[Box<str>]) {
    let is = |sent: &str, name: &str| {
        let bare = sent.strip_suffix("-bin").or_else(|| sent.strip_suffix("_bin")).unwrap_or(sent);
        bare.len() == name.len()
            && bare.bytes().zip(name.bytes()).all(|(sent, name)| sent == name || sent == b'_' && name == b'-')
    };
    let stripped = |sent: &&HeaderName| names.iter().any(|name| is(sent.as_str(), name));
    let found: SmallVec<[HeaderName; 2]> = metadata.keys().filter(stripped).cloned().collect();
    for name in &found {
        metadata.remove(name);
    }
}

/// A client's value as HPACK sends it on: as it is, but for names with few values.
fn sent_on(name: &HeaderName, value: &HeaderValue) -> HeaderValue {
    match *name {
        header::USER_AGENT | header::ACCEPT_LANGUAGE => value.clone(),
        _ => unindexed(value),
    }
}

/// A value that HPACK sends as it is. What clients send stays out of the table that they all share at an upstream
/// (RFC 7541 §7.1: one could probe for another's), and an id that never comes twice would only push out what does: h2
/// compares a new value with every one that the table has under its name.
pub fn unindexed(value: &HeaderValue) -> HeaderValue {
    let mut value = value.clone();
    value.set_sensitive(true);
    value
}

/// The reply's metadata as headers of a REST answer: names that frame the answer stay behind, and those that speak to
/// browsers unless they are listed. What comes back is the status that the upstream wishes by [`X_HTTP_CODE`]: 200 to 299,
/// or a redirection where those are allowed.
pub fn to_rest(metadata: &HeaderMap, headers: &mut HeaderMap, crossing: &Crossing) -> Option<StatusCode> {
    let mut status = None;
    for (name, value) in metadata {
        if name == X_HTTP_CODE {
            status = crossing.status(value);
        } else if crossing.lets_back(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    status
}

/// The same in the map that the reply came with, which costs a small call less than another one. Its content type stays for the
/// answer's own to take the place of.
pub fn keep_rest(metadata: &mut HeaderMap, crossing: &Crossing) -> Option<StatusCode> {
    let mut status = None;
    let mut dropped = SmallVec::<[HeaderName; 2]>::new();
    for (name, value) in &*metadata {
        if name == X_HTTP_CODE {
            status = crossing.status(value);
        }
        if name != header::CONTENT_TYPE && !crossing.lets_back(name) {
            dropped.push(name.clone());
        }
    }
    for name in &dropped {
        metadata.remove(name);
    }
    status
}

impl Crossing {
    /// The status that the upstream wishes, where that is allowed.
    fn status(&self, wished: &HeaderValue) -> Option<StatusCode> {
        let allowed = |status: &StatusCode| status.is_success() || (self.redirects && status.is_redirection());
        StatusCode::from_bytes(wished.as_bytes()).ok().filter(allowed)
    }

    /// Whether a name of the reply's metadata becomes a header of the answer.
    fn lets_back(&self, name: &HeaderName) -> bool {
        let listed = || self.response.contains(name) || (self.redirects && name == header::LOCATION);
        !frames(name.as_str()) && (!speaks_to_browsers(name.as_str()) || listed())
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

/// The reply's metadata as headers of an RPC's answer that a page in a browser may read, with `prefix` before each name:
/// what frames the answer or speaks to the browser itself stays behind.
pub fn to_web(metadata: &HeaderMap, prefix: &str, headers: &mut HeaderMap) {
    for (name, value) in metadata.iter().filter(|(name, _)| crosses_to_web(name)) {
        let name = match prefix {
            "" => name.clone(),
            // Two names make a name.
            prefix => match HeaderName::try_from(format!("{prefix}{name}")) {
                Ok(name) => name,
                Err(_) => continue,
            },
        };
        headers.append(name, value.clone());
    }
}

/// Whether a name of the reply's metadata crosses to gRPC-Web and Connect.
pub fn crosses_to_web(name: &HeaderName) -> bool {
    let name = name.as_str();
    !frames(name)
        && !speaks_to_browsers(name)
        && !matches!(name, "accept-encoding" | "vary")
        && !name.starts_with("connect-")
        && !name.starts_with("trailer-")
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

/// Those that most calls have are told by their number.
fn crosses_from_rpc(name: &HeaderName, crossing: &Crossing) -> bool {
    match *name {
        header::TE | header::CONTENT_TYPE | header::CONTENT_LENGTH | header::HOST => false,
        header::USER_AGENT | header::AUTHORIZATION => true,
        _ => match standing(name.as_str()) {
            Standing::Free => true,
            Standing::OfProxies => crossing.request.contains(name),
            Standing::Never => false,
        },
    }
}

fn crosses_from_rest(name: &HeaderName) -> bool {
    // `x-request-id` is set by the pipeline, to the client's value if it is valid.
    matches!(name.as_str(), "authorization" | "traceparent" | "tracestate" | "baggage" | "accept-language")
}

/// Metadata that never becomes a header of a REST answer: it would frame the answer, or is the gateway's to say.
fn frames(name: &str) -> bool {
    matches!(
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
            | "x-http-code"
            | "x-request-id"
    )
}

/// Metadata that becomes a header only where it is listed: a browser acts on it, or it is gRPC's own.
fn speaks_to_browsers(name: &str) -> bool {
    matches!(
        name,
        "set-cookie"
            | "set-cookie2"
            | "location"
            | "refresh"
            | "clear-site-data"
            | "alt-svc"
            | "strict-transport-security"
    ) || name.starts_with("grpc-")
        || name.starts_with("access-control-")
}
