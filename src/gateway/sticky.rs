//! Sticky: what keeps a client's calls at one endpoint, where its upstream balances so.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;

use http::{HeaderMap, HeaderValue, header};

use super::call::Call;
use crate::config::HashBy;
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
            HashBy::Cookie(name) => match cookie(headers, name) {
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

/// The first cookie of this name.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    values.find(|value| !value.is_empty())
}

/// A value that no other client has. It is no secret: who copies it reaches the same endpoint.
fn fresh() -> String {
    // Every hasher state is seeded afresh: randomness enough.
    let random = || foldhash::quality::RandomState::default().hash_one(0);
    format!("{:016x}{:016x}", random(), random())
}
