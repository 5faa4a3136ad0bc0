//! WebSocket (RFC 6455; over HTTP/2 RFC 8441): one message a frame, text is JSON and binary is protobuf.
//!
//! ```text
//! client → an empty text frame     it has said everything; the answers go on
//! client → a close frame           it leaves: the call is cancelled
//! gateway → close 1000             OK
//! gateway → close 4000 + code      the call's status, its message the reason; in JSON `{"error": Status}` comes before
//! gateway → close 1002, 1007, 1009 the client broke the protocol, sent no UTF-8, or too much
//! gateway → close 1001             the gateway stops, or the client has been silent for too long
//! ```

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use hyper::ext::Protocol;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use transom_transcode::schema::Schema;

use super::{Codec, rest};
use crate::body::Body;
use crate::error::Error;

/// The subprotocols, and how answers are written under each. Without one, answers are as the client's first message was.
const PROTOCOLS: [(&str, Codec); 2] = [("json", Codec::Json), ("proto", Codec::Proto)];

/// The one version that there is.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Bytes that a close frame has for its reason.
const REASON: usize = 123;

/// Whether a request asks for a WebSocket.
pub fn is_asked(head: &Parts) -> bool {
    match head.version {
        Version::HTTP_2 => {
            head.method == Method::CONNECT
                && head.extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
        }
        _ => {
            head.method == Method::GET
                && has_token(&head.headers, &header::UPGRADE, "websocket")
                && has_token(&head.headers, &header::CONNECTION, "upgrade")
        }
    }
}

/// What a client and the gateway have agreed on.
#[derive(Debug)]
pub struct Handshake {
    /// Over HTTP/1.1 the proof that its request was understood.
    accept: Option<HeaderValue>,
    protocol: Option<&'static str>,
    /// How answers are written, if that is agreed.
    pub codec: Option<Codec>,
}

impl Handshake {
    /// Reads a request that [`is_asked`].
    ///
    /// # Errors
    /// It is of another version, its key is none, or it offers only subprotocols that are unknown here.
    pub fn read(head: &Parts) -> Result<Self, Error> {
        let one = |name: &HeaderName| {
            let mut values = head.headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
        };
        if one(&header::SEC_WEBSOCKET_VERSION).map(str::as_bytes) != Some(VERSION.as_bytes()) {
            return Err(Error::bad_request("a WebSocket is of version 13: send Sec-WebSocket-Version: 13"));
        }
        let accept = match head.version {
            Version::HTTP_2 => None,
            _ => {
                let key = one(&header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
                let key = key.ok_or_else(|| Error::bad_request("Sec-WebSocket-Key is 16 bytes in base64"))?;
                HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
            }
        };
        let offered = tokens(&head.headers, &header::SEC_WEBSOCKET_PROTOCOL).collect::<Vec<_>>();
        let chosen = PROTOCOLS.iter().find(|(name, _)| offered.contains(name));
        if chosen.is_none() && !offered.is_empty() {
            return Err(Error::bad_request("the subprotocols are `json` and `proto`; none is needed"));
        }
        Ok(Self { accept, protocol: chosen.map(|(name, _)| *name), codec: chosen.map(|(_, codec)| *codec) })
    }

    /// The answer after which frames are spoken.
    pub fn answer(&self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        if let Some(protocol) = self.protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        if let Some(accept) = &self.accept {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.clone());
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        response
    }
}

/// The answer to a request for a socket that gets none: which version is spoken here is what it may have lacked
/// (RFC 6455 §4.4).
pub fn refusal(error: &Error, schema: Option<&Schema>) -> Response<Body> {
    let mut response = rest::error(error, schema);
    if response.status() == StatusCode::BAD_REQUEST {
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, VERSION);
    }
    response
}

/// How a call's end is told.
pub fn close(end: Result<(), &Error>) -> CloseFrame {
    match end {
        Ok(()) => frame(CloseCode::Normal, ""),
        Err(error @ (Error::TooLarge { .. } | Error::MessageTooLarge { .. })) => {
            frame(CloseCode::Size, &error.message())
        }
        Err(Error::Draining) => frame(CloseCode::Away, &Error::Draining.message()),
        Err(error) => frame(CloseCode::Library(4000 + u16::from(error.code().number())), &error.message()),
    }
}

/// A close frame; its reason is cut at a character's end.
pub fn frame(code: CloseCode, reason: &str) -> CloseFrame {
    CloseFrame { code, reason: reason[..reason.floor_char_boundary(REASON)].into() }
}

/// Sixteen bytes in base64.
fn is_key(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with("==") && key[..22].bytes().all(plain)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use transom_transcode::status::{Code, Status};

    use super::*;

    #[test]
    fn a_reason_fits_its_frame() {
        let status = |message: &str| Error::Upstream(Box::new(Status::new(Code::Aborted, message)));
        let told = close(Err(&status("no")));
        assert_eq!((u16::from(told.code), &*told.reason), (4010, "no"));
        let told = close(Err(&status(&"é".repeat(100))));
        assert_eq!((told.reason.len(), told.reason.chars().all(|c| c == 'é')), (122, true));
    }

    #[test]
    fn a_key_is_sixteen_bytes() {
        for (key, good) in [("dGhlIHNhbXBsZSBub25jZQ==", true), ("", false), ("dGhlIHNhbXBsZSBub25jZQ", false)] {
            assert_eq!(is_key(key), good, "{key}");
        }
        assert!(!is_key("dGhlIHNhbXBsZSBub25j\u{e9}Q=="));
    }
}
