//! Opening: what a peer says first, and what it is if that is not HTTP/2: a port of HTTP/1, one that wants TLS, one that knows none.

use std::fmt;
use std::io;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;
use tokio_rustls::rustls::{AlertDescription, Error};

use crate::tls::Socket;

/// Bytes that tell one protocol from another.
const TELLING: usize = 16;

/// The first bytes of a connection, where they come in the clear, and what was agreed upon before them.
#[derive(Default)]
pub(super) struct Opening {
    bytes: [u8; TELLING],
    length: usize,
    secured: bool,
    /// By ALPN.
    agreed: bool,
}

impl Opening {
    pub(super) fn of(socket: &Socket) -> Self {
        let agreed = |stream: &tokio_rustls::TlsStream<_>| stream.get_ref().1.alpn_protocol() == Some(b"h2");
        match socket {
            Socket::Plain(_) => Self::default(),
            Socket::Tls(stream) => Self { secured: true, agreed: agreed(stream), ..Self::default() },
        }
    }

    /// Looks at what has come, before it is read.
    pub(super) fn look(&mut self, socket: &Socket, cx: &mut Context<'_>) {
        let Socket::Plain(tcp) = socket else { return };
        let mut bytes = ReadBuf::new(&mut self.bytes);
        if let Poll::Ready(Ok(length)) = tcp.poll_peek(cx, &mut bytes)
            && length > 0
        {
            self.length = length.min(TELLING);
        }
    }

    /// Why there was no HTTP/2, for who runs the gateway: h2's own word for it is about the size of a frame.
    pub(super) fn explain(&self, upstream: &str, error: &dyn fmt::Display) -> String {
        let bytes = &self.bytes[..self.length];
        match (self.secured, bytes) {
            (true, _) if !self.agreed => {
                format!("{error}; it has TLS, and did not agree to HTTP/2 (ALPN h2): is it a port of HTTP/1.1?")
            }
            (false, []) => format!("{error}; it said nothing: does it want TLS? then write `upstreams.{upstream}.tls`"),
            (false, bytes) if bytes.starts_with(b"HTTP/1") => format!(
                "it answers in HTTP/1, not in HTTP/2, which gRPC needs: is it a plain HTTP port, or one of HTTPS (`upstreams.{upstream}.tls`)?"
            ),
            // TLS records: an alert, of SSL 3 or later.
            (false, [0x15, 3, ..]) => {
                format!("it answers with a TLS alert: it wants TLS; write `upstreams.{upstream}.tls`")
            }
            // What HTTP/2 begins with, SETTINGS of whatever length.
            (false, [_, _, _, 4, ..]) | (true, _) => error.to_string(),
            (false, bytes) => format!("{error}; it begins with \"{}\", which is no HTTP/2", bytes.escape_ascii()),
        }
    }
}

/// Why a handshake of TLS failed.
pub(super) fn unsecured(upstream: &str, error: &io::Error) -> String {
    let why = match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(Error::InvalidMessage(_)) => {
            format!("what it answers is no TLS: if it speaks in the clear, remove `upstreams.{upstream}.tls`")
        }
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            format!("it does not speak HTTP/2 (ALPN h2), which gRPC needs: {error}")
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("it closed: if it speaks in the clear, remove `upstreams.{upstream}.tls`")
        }
        _ => error.to_string(),
    };
    format!("no TLS: {why}")
}

#[cfg(test)]
mod tests {
    use super::{Opening, TELLING};

    #[test]
    fn first_bytes_say_what_a_peer_speaks() {
        let explain = |bytes: &[u8]| {
            let mut opening = Opening { length: bytes.len().min(TELLING), ..Opening::default() };
            opening.bytes[..opening.length].copy_from_slice(&bytes[..opening.length]);
            opening.explain("books", &"invalid frame")
        };
        for (bytes, says) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "it answers in HTTP/1, not in HTTP/2"),
            (b"\x15\x03\x03\x00\x02\x02\x46", "it answers with a TLS alert: it wants TLS; write `upstreams.books.tls`"),
            (b"", "invalid frame; it said nothing: does it want TLS?"),
            (b"SSH-2.0-x\n", "invalid frame; it begins with \"SSH-2.0-x\\n\", which is no HTTP/2"),
        ] {
            let explained = explain(bytes);
            assert!(explained.starts_with(says), "{explained}");
        }
        assert_eq!(explain(b"\0\0\0\x04\0\0\0\0\0\0\0\x01"), "invalid frame", "it began well");
        let secured = Opening { secured: true, ..Opening::default() };
        assert!(secured.explain("books", &"invalid frame").contains("ALPN h2"));
        let agreed = Opening { secured: true, agreed: true, ..Opening::default() };
        assert_eq!(agreed.explain("books", &"invalid frame"), "invalid frame");
    }
}
