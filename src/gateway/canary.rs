//! Canary: which calls of an upstream go to another one, as long as that takes any.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName};

use crate::config::{self, Config};

/// What one upstream's calls go by, on all workers.
pub struct Canary {
    /// Of a hundred.
    share: u64,
    /// Calls that a share was taken of so far.
    turn: AtomicU64,
    header: Option<(HeaderName, Option<Box<[u8]>>)>,
}

impl Canary {
    /// Those of a configuration, by the name of the upstream whose calls they get.
    pub(super) fn of(config: &Config) -> BTreeMap<&str, Arc<Self>> {
        let written =
            |upstream: &'_ config::Upstream| upstream.canary.as_ref().map(|canary| Arc::new(Self::compile(canary)));
        config.upstreams.iter().filter_map(|(name, upstream)| Some((&**name, written(upstream)?))).collect()
    }

    fn compile(written: &config::Canary) -> Self {
        let value = written.value.as_ref().map(|value| value.as_bytes().into());
        Self {
            share: u64::from(written.share.0),
            turn: AtomicU64::new(0),
            header: written.header.clone().map(|name| (name, value)),
        }
    }

    /// What calls ask for it themselves; none: it takes a share alone, and asks nobody.
    pub(super) fn by_header(&self) -> Option<Arc<Self>> {
        let header = self.header.clone()?;
        Some(Arc::new(Self { share: 0, turn: AtomicU64::new(0), header: Some(header) }))
    }

    /// Whether it gets this call.
    pub(super) fn takes(&self, headers: &HeaderMap) -> bool {
        self.is_named(headers) || self.has_turn()
    }

    fn is_named(&self, headers: &HeaderMap) -> bool {
        let Some((name, value)) = &self.header else { return false };
        let mut given = headers.get_all(name).iter();
        given.any(|given| value.as_ref().is_none_or(|value| given.as_bytes() == &**value))
    }

    /// Spread evenly: whenever its part of the calls so far has become one more.
    fn has_turn(&self) -> bool {
        if self.share == 0 {
            return false;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % 100;
        (turn + 1) * self.share / 100 > turn * self.share / 100
    }
}
