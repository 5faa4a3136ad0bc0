//! `overload`: what all calls together may take, and `priority`: whose are refused first.

use std::time::Duration;

use super::kind::{Kind as _, count, duration, size};
use super::read::{choice, section};
use super::{HOUR, MILLISECOND};

section! {
    /// What all calls together may take.
    pub struct Overload {
        /// Calls in flight over all upstreams, streams, WebSockets and token endpoints included, which have seven eighths of them at most; health and the other built-in endpoints do not count. One more gets 503 or UNAVAILABLE, by `priority` before that. See `upstreams.*.limits.in_flight` for the calls of one upstream.
        in_flight: usize = count(1..=1_000_000).or("16384"),
        /// Those of one client, by its address (IPv6 by /64) as far as `trusted_proxies` lets it be known, streams and WebSockets included; one more gets 429 or RESOURCE_EXHAUSTED. Addresses of `trusted_proxies` are exempt. Where it is not said it is a quarter of `in_flight`, and who is on this machine is exempt too.
        in_flight_per_client: Option<usize> = count(1..=1_000_000).optional(),
        /// Bytes of bodies and messages, those of replies too, that all calls hold together, for as long as anybody holds them: a slow client as well, and a stream or WebSocket whose message is half there. Those of up to 64 KiB are not counted. Who brings more gets 503 or UNAVAILABLE; a stream ends with it.
        memory: usize = size(1 << 20..=1 << 40).or("1GiB"),
        /// How old a stream or WebSocket may grow, give or take a tenth: then it ends with UNAVAILABLE and reason `STREAM_AGE`, and is opened again. None: as old as its method's `timeout` lets it.
        max_stream_age: Option<Duration> = duration(100 * MILLISECOND..=24 * HOUR).optional(),
    }
}

choice! {
    /// Whose calls are refused first where a limit of calls in flight comes near.
    pub enum Priority {
        /// Refused while a quarter of the places is free: what can be asked again later.
        Low = "low",
        /// Refused while a tenth of the places is free.
        Normal = "normal",
        /// Refused when every place is taken.
        High = "high",
    }
}
