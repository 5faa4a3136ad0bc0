//! What one client, and all of them, may take of the server.

use std::net::IpAddr;
use std::time::Duration;

use crate::config;
use crate::gateway::HEARTBEAT;

/// Bounds of connections. The defaults fit a gateway on the open internet.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections of the process; one more is closed at once.
    pub connections: usize,
    /// Of these, those of one client's address; one more is closed at once. None: `Limits::of_client` says.
    pub per_client: Option<usize>,
    /// How long the head of a request may take, from its first byte; and a new connection its first.
    pub head: Duration,
    /// How long an HTTP/1.1 connection may be without a call. Longer than the minute after which usual load balancers
    /// let go, so that it is never the gateway that closes under a request.
    pub idle_http1: Duration,
    /// How long an HTTP/2 connection may be without a call.
    pub idle_http2: Duration,
    /// How long a call over HTTP/1.1 may stand still, its service taking nothing of the request and nothing going of the
    /// answer: a client that leaves behind bytes for which there is no room cannot be noticed otherwise.
    pub stall: Duration,
    /// Bytes of a request's head; more gets 431.
    pub head_bytes: u32,
    /// Headers of a request. The connection lets twice as many through, and the gateway refuses them.
    pub headers: usize,
    /// Streams of one HTTP/2 connection that may be open together.
    pub streams: u32,
    /// Streams that a client has reset before they were looked at; more end the connection (CVE-2023-44487).
    pub pending_resets: usize,
    /// Calls of one HTTP/2 connection that a client may give up within a second and unanswered; more of them, if they are most of its
    /// calls, end the connection.
    pub early_resets: usize,
    /// Bytes that one HTTP/2 stream may send ahead of the upstream.
    pub stream_window: u32,
    /// Bytes that all streams of a connection may send ahead. This times [`Limits::connections`] is the worst case.
    pub connection_window: u32,
    /// How old a connection may grow, give or take a tenth.
    pub max_age: Option<Duration>,
    /// Once draining, how long new connections are still taken: clients and load balancers learn only now.
    pub lame_duck: Duration,
    /// How often a quiet stream says that it lives, where its envelope can.
    pub heartbeat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16 * 1024,
            per_client: None,
            head: Duration::from_secs(10),
            idle_http1: Duration::from_secs(75),
            idle_http2: Duration::from_secs(300),
            stall: Duration::from_secs(60),
            head_bytes: 64 * 1024,
            headers: 100,
            streams: 1000,
            pending_resets: 256,
            early_resets: 256,
            stream_window: 256 * 1024,
            connection_window: 4 * 1024 * 1024,
            max_age: None,
            lame_duck: Duration::from_secs(1),
            heartbeat: HEARTBEAT,
        }
    }
}

impl Limits {
    /// How many connections there may be from that address. What nobody has said does not hold for who is on this machine.
    pub(super) fn of_client(&self, address: IpAddr) -> Option<usize> {
        match self.per_client {
            None if address.to_canonical().is_loopback() => None,
            None => Some((self.connections / 4).max(1)),
            said => said,
        }
    }

    /// What configuration says of them.
    pub fn compile(written: &config::Clients) -> Self {
        let bytes = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            connections: written.connections,
            per_client: written.connections_per_client,
            head: written.head_timeout,
            idle_http1: written.idle_timeout,
            idle_http2: written.idle_timeout_http2,
            stall: written.stall_timeout,
            head_bytes: bytes(written.head_size),
            headers: written.headers,
            streams: bytes(written.streams),
            max_age: written.max_age,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;
    use crate::config;

    #[test]
    fn no_client_can_have_all_connections() {
        let limits = |per_client| Limits { connections: 1000, per_client, ..Limits::default() };
        let of = |per_client, address: &str| limits(per_client).of_client(address.parse().unwrap());
        assert_eq!([of(None, "192.0.2.1"), of(Some(7), "192.0.2.1")], [Some(250), Some(7)]);
        assert_eq!([of(None, "127.0.0.1"), of(None, "::ffff:127.0.0.1"), of(Some(7), "::1")], [None, None, Some(7)]);
        assert_eq!(Limits { connections: 1, ..Limits::default() }.of_client("2001:db8::1".parse().unwrap()), Some(1));
    }

    #[test]
    fn what_is_not_written_is_the_default() {
        let text = "schema: { protos: [p] }\nupstreams: { a: { endpoints: [\"a:1\"] } }";
        let written = config::parse(text, &|_| None).unwrap().clients;
        assert_eq!(format!("{:?}", Limits::compile(&written)), format!("{:?}", Limits::default()));
    }
}
