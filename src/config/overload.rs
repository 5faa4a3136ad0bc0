//! `overload`: what all calls together may take, and `priority`: whose are refused first.

use super::kind::{Kind as _, count};
use super::read::{choice, section};

section! {
    /// What all calls together may take.
    pub struct Overload {
        /// Calls in flight over all upstreams, streams and WebSockets included; health and the other built-in endpoints do not count. One more gets 503 or UNAVAILABLE, by `priority` before that. See `upstreams.*.limits.in_flight` for the calls of one upstream.
        in_flight: usize = count(1..=1_000_000).or("16384"),
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
