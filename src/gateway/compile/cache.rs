//! `cache`: which methods' replies are kept, and what makes them forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use transom_transcode::schema::{Idempotency, Method};

use super::Compiler;
use crate::config;
use crate::gateway::cached::{Cached, Caches, Invalidates};
use crate::gateway::route::{Action, Rpc};
use crate::gateway::settings::{Origin, Settings};
use crate::gateway::snapshot::Snapshot;
use crate::policy::cache::Policy;

impl Caches {
    /// Those of `previous`, where nothing has changed that replies may depend on.
    pub(super) fn of(config: &config::Config, previous: Option<&Snapshot>) -> Self {
        let same = |before: &&Snapshot| {
            let before = &before.config;
            before.cache == config.cache
                && before.methods == config.methods
                && before.upstreams == config.upstreams
                && before.auth == config.auth
        };
        match previous.filter(same) {
            Some(before) => before.caches.clone(),
            None => Self::new(config.cache.size),
        }
    }
}

impl Compiler<'_> {
    /// How the replies of a method are kept; `by_get`: a rule binds it to GET.
    pub(super) fn compile_cache(
        &mut self,
        settings: &Settings,
        (rpc, method): (&str, &Method),
        by_get: bool,
    ) -> Result<Option<Cached>, String> {
        let Some(written) = &settings.cache.value else { return Ok(None) };
        let why = if method.client_streaming || method.server_streaming {
            Some("streams, and streams are not kept")
        } else if !by_get && method.idempotency != Idempotency::NoSideEffects {
            Some("is neither bound to GET nor NO_SIDE_EFFECTS: every call of it has to be made")
        } else {
            None
        };
        match (why, &settings.cache.from) {
            (Some(why), Origin::Written(place)) => {
                self.config_problem(place.to_string(), format!("`{rpc}` {why}; remove this, or name other methods"));
                Ok(None)
            }
            (Some(why), _) => Err(format!("option cache: it {why}; remove that")),
            (None, _) => {
                let policy = Policy::compile(rpc, written, &self.caches.cache, self.metrics);
                Ok(policy.map(|policy| Cached { policy, flights: self.caches.flights.clone() }))
            }
        }
    }

    /// Tells RPCs whose replies they make forgotten.
    pub(super) fn link_caches(&mut self) {
        let rpcs = self.rpcs.values().filter_map(|route| match &route.action {
            Action::Call(binding) => Some(binding.rpc.clone()),
            Action::Builtin | Action::Desk(_) => None,
        });
        let rpcs: Vec<Arc<Rpc>> = rpcs.collect();
        let mut links: BTreeMap<&str, Vec<Box<str>>> = BTreeMap::new();
        let mut problems = Vec::new();
        for rpc in &rpcs {
            let Some(cached) = &rpc.cache else { continue };
            for name in cached.policy.invalidated_by() {
                if let Some(by) = rpcs.iter().find(|by| *by.name == **name) {
                    links.entry(&by.name).or_default().push(rpc.name.clone());
                    continue;
                }
                let hint = match config::nearest(name, rpcs.iter().map(|rpc| &*rpc.name)) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => "write one that clients reach".to_owned(),
                };
                problems
                    .push((rpc.settings.cache.from.clone(), format!("no call of `{name}` comes through here; {hint}")));
            }
        }
        for rpc in &rpcs {
            if let Some(forgotten) = links.get(&*rpc.name) {
                let invalidates = Invalidates { cache: self.caches.cache.clone(), rpcs: forgotten.clone().into() };
                // Once a snapshot.
                let _ = rpc.invalidates.set(invalidates);
            }
        }
        for (from, message) in problems {
            self.config_problem(from.to_string(), message);
        }
    }
}
