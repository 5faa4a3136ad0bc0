//! Aim: which endpoints a call may go to, where that is not a matter of turns alone.

use http::{HeaderMap, HeaderValue};

use super::call::Call;
use super::route::Rpc;
use crate::config::{Balance, Subset};
use crate::upstream::{Aim, key_of};

impl Call {
    /// By its headers and its caller.
    #[inline]
    pub(super) fn aim(&mut self, rpc: &Rpc, headers: &HeaderMap) -> Aim {
        if rpc.aims { self.take_aim(rpc, headers) } else { Aim::default() }
    }

    #[cold]
    fn take_aim(&mut self, rpc: &Rpc, headers: &HeaderMap) -> Aim {
        let upstream = rpc.upstream.config();
        let key = match &upstream.balance {
            Balance::RoundRobin | Balance::LeastRequest => None,
            Balance::Hash(by) => self.key(by, headers),
        };
        let subset = upstream.subset.as_ref().and_then(|subset| asked_for(subset, headers)).map(key_of);
        Aim { key, subset, canary: rpc.canary.as_ref().is_some_and(|canary| canary.takes(headers)) }
    }
}

impl Rpc {
    /// Of calls that are nobody's own: that of a caller who asks for nothing.
    pub(super) fn common_aim(&self) -> Aim {
        let subset = self.upstream.config().subset.as_ref().and_then(|subset| subset.default.as_ref());
        Aim { subset: subset.map(|value| key_of(value.as_bytes())), ..Aim::default() }
    }
}

/// What all calls have in common that wait for the same reply: the subset or the canary that they ask for, and nobody's own place.
pub(super) fn in_common(aim: Aim) -> Aim {
    Aim { key: None, ..aim }
}

fn asked_for<'c>(subset: &'c Subset, headers: &'c HeaderMap) -> Option<&'c [u8]> {
    let named = subset.header.as_ref().and_then(|name| headers.get(name)).map(HeaderValue::as_bytes);
    named.or(subset.default.as_ref().map(String::as_bytes))
}
