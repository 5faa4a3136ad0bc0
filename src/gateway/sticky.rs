//! Sticky: what keeps a client's calls at one endpoint, where its upstream balances so.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;

use http::{HeaderMap, HeaderValue};

use super::call::Call;
use crate::config::HashBy;
use crate::envelope::cookies;
use crate::upstream::key_of;

impl Call {
    /// The call's key; none is like any other. A client without the cookie gets one with its answer.
    pub(super) fn key(&mut self, by: &HashBy, headers: &HeaderMap) -> Option<NonZeroU32> {
        match by {
            HashBy::Client => Some(match self.client {
                IpAddr::V4(address) => key_of(&address.octets()),
                IpAddr::V6(address) => key_of(&address.octets()),
            }),
            HashBy::Header(name) => headers.get(name).map(|value| key_of(value.as_bytes())),
            HashBy::Claim(name) => {
                let claim = self.caller.as_ref()?.claims().named(name)?;
                Some(key_of(claim.to_string().as_bytes()))
            }
            HashBy::Cookie(name) => match cookies::named(headers, name).next() {
                Some(value) => Some(key_of(value)),
                None => {
                    let value = fresh();
                    let secure = if self.tls { "; Secure" } else { "" };
                    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}");
                    self.sticky = HeaderValue::try_from(cookie).ok();
                    Some(key_of(value.as_bytes()))
                }
            },
        }
    }
}

/// A value that no other client has. It is no secret: who copies it reaches the same endpoint.
fn fresh() -> String {
    // Every hasher state is seeded afresh: randomness enough.
    let random = || foldhash::quality::RandomState::default().hash_one(0);
    format!("{:016x}{:016x}", random(), random())
}
