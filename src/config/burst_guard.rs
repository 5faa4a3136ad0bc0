//! `burst_guard`: what one client may do at all, before anything is known of its calls.

use super::kind::{Kind as _, count};
use super::rate::{MOST, Rate, rate};
use super::read::section;

section! {
    /// What one client may do at all.
    pub struct BurstGuard {
        /// How many calls in which time: `200/s`.
        rate: Rate = rate().required(),
        /// How many at once, from rest; by default as many as `rate` says.
        burst: Option<usize> = count(1..=MOST).optional(),
    }
}
