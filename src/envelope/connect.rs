//! Connect: unary calls are plain HTTP with an error's own JSON; streams are envelopes of which the last carries the status.
//!
//! Follows the Connect protocol reference, connectrpc.com/docs/protocol.

mod error;
mod stream;
mod unary;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use transom_transcode::frame::connect::decode;

use super::coding::Coding;
use super::{Codec, Dialect, is_in_utf8};
use crate::error::Error;

pub use error::error;
pub use stream::{Envelopes, stream_error, stream_reply};
pub use unary::{message_of_query, read, reply, unpack};

/// `connect-protocol-version`
pub static PROTOCOL_VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");
/// `connect-timeout-ms`
pub static TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");
/// How a stream's messages are compressed.
static CONTENT_ENCODING: HeaderName = HeaderName::from_static("connect-content-encoding");
/// How the other side's may be.
static ACCEPT_ENCODING: HeaderName = HeaderName::from_static("connect-accept-encoding");

/// The one version that there is.
const VERSION: &[u8] = b"1";

/// The codec that a GET's query names, if it names one. One that is not known is told in JSON: [`message_of_query`] refuses it.
pub fn get_codec(head: &Parts) -> Option<Codec> {
    if head.method != Method::GET {
        return None;
    }
    let encoding = head.uri.query()?.split('&').find_map(|pair| pair.strip_prefix("encoding="))?;
    Some(match decode(encoding).as_deref() {
        Ok(b"proto") => Codec::Proto,
        _ => Codec::Json,
    })
}

/// What a method is, as far as it decides how it may be called.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Either side streams.
    pub streams: bool,
    /// It may be called by GET.
    pub no_side_effects: bool,
}

/// Refuses by the head alone: another version of the protocol, a stream called as unary or the other way round, a GET
/// of what has side effects.
///
/// # Errors
/// Why it is refused.
pub fn admit(dialect: Dialect, headers: &HeaderMap, kind: Kind) -> Result<(), Error> {
    if headers.get(&PROTOCOL_VERSION).is_some_and(|version| version.as_bytes() != VERSION) {
        return Err(Error::bad_request("connect-protocol-version must be 1"));
    }
    let json = match dialect {
        Dialect::Connect(Codec::Json) => Some("application/json"),
        Dialect::ConnectStream(Codec::Json) => Some("application/connect+json"),
        _ => None,
    };
    if let (Some(json), Some(sent)) = (json, super::content_type(headers))
        && !is_in_utf8(sent, json)
    {
        return Err(Error::media("JSON is UTF-8 here, whatever charset is named"));
    }
    match (dialect, kind.streams) {
        (Dialect::ConnectGet(_), _) if !kind.no_side_effects || kind.streams => {
            Err(Error::MethodNotAllowed { allow: HeaderValue::from_static("POST") })
        }
        (Dialect::Connect(_), true) => {
            Err(Error::media("this method streams: send application/connect+json or application/connect+proto"))
        }
        (Dialect::ConnectStream(_), false) => {
            Err(Error::media("this method is unary: send application/json or application/proto"))
        }
        _ => Ok(()),
    }
}

/// How a stream's messages are compressed, and how the answer's may be.
///
/// # Errors
/// They are so in a way that is not supported.
pub fn codings(headers: &HeaderMap) -> Result<(Coding, Coding), Error> {
    let accepted = Coding::for_messages(headers.get_all(&ACCEPT_ENCODING));
    Ok((Coding::of_messages(headers.get(&CONTENT_ENCODING))?, accepted))
}

/// The content type of a message or a stream in this dialect.
fn content_type(dialect: Dialect) -> HeaderValue {
    HeaderValue::from_static(match dialect {
        Dialect::ConnectStream(Codec::Proto) => "application/connect+proto",
        Dialect::ConnectStream(Codec::Json) => "application/connect+json",
        dialect if dialect.codec() == Codec::Proto => "application/proto",
        _ => "application/json",
    })
}

/// Headers by which an error says what would have been taken.
fn tell(error: &Error, headers: &mut HeaderMap) {
    match error {
        Error::UnsupportedMedia { taken, .. } => {
            const TAKEN: &str = "application/json, application/proto, application/connect+json, \
                                 application/connect+proto, application/grpc, application/grpc-web";
            headers.insert("accept-post", HeaderValue::from_static(taken.unwrap_or(TAKEN)));
        }
        Error::MethodNotAllowed { allow } => {
            headers.insert(header::ALLOW, allow.clone());
        }
        _ => {}
    }
}
