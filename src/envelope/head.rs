//! Head of a request: its parts, and what every call asks of its headers, found in one pass.

use std::ops::Deref;
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use smallvec::SmallVec;
use transom_transcode::frame;

use super::coding::Coding;
use super::connect::TIMEOUT;
use super::metadata::{X_REQUEST_ID, X_REQUEST_TIMEOUT};
use crate::error::Error;

static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Longer than any connection lives: what a larger number means.
const LONGEST: f64 = 1e9;

/// Whether a byte may stand in a host and its port.
static OF_HOST: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0);
    while byte < table.len() {
        let plain = matches!(byte as u8, b'.' | b'-' | b'_' | b'~' | b':' | b'[' | b']' | b'%');
        table[byte] = plain || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    table
};

/// A request's parts, and those of its headers that the pipeline knows by name.
#[derive(Debug, Clone, Copy)]
pub struct Head<'h> {
    parts: &'h Parts,
    host: Sent<'h>,
    request_id: Sent<'h>,
    user_agent: Sent<'h>,
    transfer: Sent<'h>,
    /// There is a `Connection`.
    connection: bool,
    /// There is a `Content-Encoding`.
    encoded: bool,
    content_type: Option<&'h HeaderValue>,
    grpc_timeout: Option<&'h HeaderValue>,
    request_timeout: Option<&'h HeaderValue>,
    connect_timeout: Option<&'h HeaderValue>,
    accept_encoding: Sent<'h>,
}

/// Whether a value is a host, with its port or without.
pub(super) fn is_host(value: &HeaderValue) -> bool {
    !value.is_empty() && value.as_bytes().iter().all(|byte| OF_HOST[usize::from(*byte)])
}

/// How often a header was sent that is to come once.
#[derive(Debug, Clone, Copy)]
enum Sent<'h> {
    Never,
    Once(&'h HeaderValue),
    Often,
}

impl<'h> Sent<'h> {
    fn again(&mut self, value: &'h HeaderValue) {
        *self = if matches!(self, Self::Never) { Self::Once(value) } else { Self::Often };
    }
}

impl Deref for Head<'_> {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        self.parts
    }
}

impl<'h> Head<'h> {
    /// That of a request of these parts.
    pub fn of(parts: &'h Parts) -> Self {
        let mut head = Self {
            parts,
            host: Sent::Never,
            request_id: Sent::Never,
            user_agent: Sent::Never,
            transfer: Sent::Never,
            connection: false,
            encoded: false,
            content_type: None,
            grpc_timeout: None,
            request_timeout: None,
            connect_timeout: None,
            accept_encoding: Sent::Never,
        };
        for (name, value) in &parts.headers {
            if name == header::HOST {
                head.host.again(value);
            } else if name == header::CONTENT_TYPE {
                head.content_type.get_or_insert(value);
            } else if name == header::USER_AGENT {
                head.user_agent.again(value);
            } else if name == header::ACCEPT_ENCODING {
                head.accept_encoding.again(value);
            } else if name == header::CONNECTION {
                head.connection = true;
            } else if name == header::CONTENT_ENCODING {
                head.encoded = true;
            } else if name == header::TRANSFER_ENCODING {
                head.transfer.again(value);
            } else if name == X_REQUEST_ID {
                head.request_id.again(value);
            } else if name == GRPC_TIMEOUT {
                head.grpc_timeout.get_or_insert(value);
            } else if name == X_REQUEST_TIMEOUT {
                head.request_timeout.get_or_insert(value);
            } else if name == TIMEOUT {
                head.connect_timeout.get_or_insert(value);
            }
        }
        head
    }

    /// The content type as it was sent.
    pub fn content_type(&self) -> Option<&'h str> {
        self.content_type?.to_str().ok()
    }

    /// How the body is compressed.
    ///
    /// # Errors
    /// In a way that is not supported, or in several.
    pub(super) fn coding(&self) -> Result<Coding, Error> {
        if self.encoded { Coding::of_body(&self.parts.headers) } else { Ok(Coding::Identity) }
    }

    /// How the answer may be compressed.
    pub fn accept_encoding(&self) -> Option<HeaderValue> {
        match self.accept_encoding {
            Sent::Never => None,
            Sent::Once(list) => Some(list.clone()),
            Sent::Often => list(&self.parts.headers, &header::ACCEPT_ENCODING),
        }
    }

    /// The client's name for the call, where it sent exactly one.
    pub fn request_id(&self) -> Option<&'h HeaderValue> {
        match self.request_id {
            Sent::Once(id) => Some(id),
            Sent::Never | Sent::Often => None,
        }
    }

    /// What the client says that it is, where it says so once and of the call, not of the connection.
    pub fn user_agent(&self) -> Option<&'h HeaderValue> {
        match self.user_agent {
            Sent::Once(agent) if !self.connection => Some(agent),
            _ => None,
        }
    }

    /// A body that is chunked is nothing beside: what it is compressed in on its way would stay in it.
    ///
    /// # Errors
    /// `Transfer-Encoding` says another thing than `chunked`.
    pub fn is_framed_plainly(&self) -> Result<(), Error> {
        match self.transfer {
            Sent::Never => Ok(()),
            Sent::Once(coding) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
            Sent::Once(_) | Sent::Often => Err(Error::bad_request(
                "Transfer-Encoding is `chunked` alone here; say by Content-Encoding how it is compressed",
            )),
        }
    }

    /// The one host that the client means: `Host` or `:authority`, or both where they agree. None: HTTP/1.0 need not name one.
    ///
    /// # Errors
    /// There is none, there are several, they differ, or it is no host.
    pub fn host(&self) -> Result<Option<HeaderValue>, Error> {
        let host = match (self.parts.uri.authority(), self.host) {
            (None, Sent::Never) if self.parts.version == Version::HTTP_10 => return Ok(None),
            (_, Sent::Often) | (None, Sent::Never) => None,
            (None, Sent::Once(host)) => Some(host.clone()),
            (Some(authority), Sent::Never) => HeaderValue::from_str(authority.as_str()).ok(),
            (Some(authority), Sent::Once(host)) => {
                let equal = host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
                equal.then(|| host.clone())
            }
        };
        host.filter(is_host).map(Some).ok_or_else(no_host)
    }

    /// How long the client wants to wait: the shortest of `grpc-timeout`, `connect-timeout-ms` and
    /// `x-request-timeout` (seconds, with a fraction).
    ///
    /// # Errors
    /// One of them is no time.
    pub fn timeout(&self) -> Result<Option<Duration>, Error> {
        let parse = |value: Option<&HeaderValue>, parse: fn(&str) -> Option<Duration>, message| match value {
            None => Ok(None),
            Some(value) => match value.to_str().ok().and_then(parse) {
                None => Err(Error::bad_request(message)),
                timeout => Ok(timeout),
            },
        };
        let message = "grpc-timeout is at most 8 digits and one of H, M, S, m, u, n";
        let grpc = parse(self.grpc_timeout, frame::timeout::parse, message)?;
        let message = "x-request-timeout is a number of seconds, such as 2 or 0.5";
        let request = parse(self.request_timeout, seconds, message)?;
        let message = "connect-timeout-ms is at most 10 digits";
        let connect = parse(self.connect_timeout, frame::connect::timeout, message)?;
        Ok(grpc.into_iter().chain(request).chain(connect).min())
    }

    /// The headers that `Connection` declares to belong to the connection, in lower case.
    pub(super) fn named_by_connection(&self) -> SmallVec<[String; 1]> {
        if !self.connection {
            return SmallVec::new();
        }
        let values = self.parts.headers.get_all(header::CONNECTION).iter();
        let tokens = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
        let usual = [&b"keep-alive"[..], b"close", b"upgrade", b"te", b""];
        tokens
            .map(<[u8]>::trim_ascii)
            .filter(|token| !usual.iter().any(|usual| token.eq_ignore_ascii_case(usual)))
            .map(|token| String::from_utf8_lossy(token).to_ascii_lowercase())
            .collect()
    }
}

/// Nobody knows whom a request is for.
pub fn no_host() -> Error {
    Error::bad_request("send one Host header, the same as in the request line or in :authority")
}

/// A list in one value, in however many headers it was sent (RFC 9110 §5.3).
pub fn list(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut sent = headers.get_all(name).iter();
    let first = sent.next()?;
    let mut rest = sent.peekable();
    if rest.peek().is_none() {
        return Some(first.clone());
    }
    let mut list = first.as_bytes().to_vec();
    for part in rest {
        list.extend_from_slice(b", ");
        list.extend_from_slice(part.as_bytes());
    }
    HeaderValue::from_maybe_shared(Bytes::from(list)).ok()
}

/// An item of a list such as `Accept`, `gzip;q=0.5`: its name, and how well it is liked, in thousandths (RFC 9110 §12.4.2).
pub(super) fn liked(item: &str) -> (&str, u16) {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| match part.split_once('=') {
        Some((name, quality)) if name.eq_ignore_ascii_case("q") => Some(thousandths(quality)),
        _ => None,
    });
    (name, quality.unwrap_or(1000))
}

/// What is none counts as 1.
fn thousandths(quality: &str) -> u16 {
    let quality = quality.parse::<f32>().unwrap_or(1.0);
    if (0.0..=1.0).contains(&quality) { (quality * 1000.0) as u16 } else { 1000 }
}

fn seconds(text: &str) -> Option<Duration> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = text.parse::<f64>().ok().filter(|_| plain)?;
    Duration::try_from_secs_f64(seconds.min(LONGEST)).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderValue, Request};

    use super::Head;

    fn timeout(sent: &[(&'static str, &'static str)]) -> Option<Option<Duration>> {
        let pair =
            |(name, value): &(&'static str, &'static str)| (name.parse().unwrap(), HeaderValue::from_static(value));
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.headers = sent.iter().map(pair).collect();
        Head::of(&parts).timeout().ok()
    }

    #[test]
    fn two_ids_are_none() {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.headers.append("x-request-id", HeaderValue::from_static("one"));
        assert_eq!(Head::of(&parts).request_id().unwrap(), "one");
        parts.headers.append("x-request-id", HeaderValue::from_static("two"));
        assert_eq!(Head::of(&parts).request_id(), None);
    }

    #[test]
    fn the_shorter_timeout_wins_and_nonsense_is_refused() {
        assert_eq!(timeout(&[]), Some(None));
        assert_eq!(timeout(&[("grpc-timeout", "250m")]), Some(Some(Duration::from_millis(250))));
        assert_eq!(timeout(&[("x-request-timeout", "1.5")]), Some(Some(Duration::from_millis(1500))));
        let both = [("x-request-timeout", "1"), ("grpc-timeout", "2S")];
        assert_eq!(timeout(&both), Some(Some(Duration::from_secs(1))));
        for wrong in ["", "-1", "inf", "NaN", "1e3", "1s", "0x10"] {
            assert_eq!(timeout(&[("x-request-timeout", wrong)]), None, "{wrong}");
        }
        assert_eq!(timeout(&[("grpc-timeout", "1")]), None);
        assert!(timeout(&[("x-request-timeout", "99999999999999999999999999")]).flatten().is_some());
    }
}
