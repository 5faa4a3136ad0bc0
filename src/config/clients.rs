//! `clients`: what clients may take of connections.

use std::time::Duration;

use super::kind::{Kind as _, count, duration, size};
use super::read::section;
use super::{HOUR, MILLISECOND};

section! {
    /// Bounds of clients' connections.
    pub struct Clients {
        /// Connections of all clients together; one more is closed at once.
        connections: usize = count(1..=1_000_000).or("16384"),
        /// Connections of one client, by its address (IPv6 by /64); one more is closed at once. Addresses of `trusted_proxies` are exempt. Where it is not said it is a quarter of `connections`, and who is on this machine is exempt too.
        connections_per_client: Option<usize> = count(1..=1_000_000).optional(),
        /// How long the head of a request may take, from its first byte; a new connection's TLS and first byte too.
        head_timeout: Duration = duration(100 * MILLISECOND..=HOUR).or("10s"),
        /// Bytes of a request's head: more gets 431. gRPC's clients learn of it from HTTP/2's settings and send no more.
        head_size: usize = size(8192..=1 << 20).or("64KiB"),
        /// Headers of a request, duplicates each; one more gets 431, RESOURCE_EXHAUSTED where gRPC is spoken.
        headers: usize = count(10..=10_000).or("100"),
        /// How long an HTTP/1.1 connection may be without a call, or an answer wait for its client to read on. Proxies in front should let go earlier.
        idle_timeout: Duration = duration(100 * MILLISECOND..=24 * HOUR).or("75s"),
        /// How long an HTTP/2 connection may be without a call, whatever PINGs it sends, or an answer wait for its client to read on.
        idle_timeout_http2: Duration = duration(100 * MILLISECOND..=24 * HOUR).or("5m"),
        /// How long a call over HTTP/1.1 may stand still, its service taking nothing of the request and nothing going of the answer: then its client is taken to have left. HTTP/2 hears its clients meanwhile.
        stall_timeout: Duration = duration(100 * MILLISECOND..=24 * HOUR).or("60s"),
        /// Calls that one HTTP/2 connection may have open together.
        streams: usize = count(1..=100_000).or("1000"),
        /// How old a connection may grow, give or take a tenth: then it takes no new calls, so that clients spread anew. None: as old as it likes.
        max_age: Option<Duration> = duration(100 * MILLISECOND..=24 * HOUR).optional(),
    }
}
