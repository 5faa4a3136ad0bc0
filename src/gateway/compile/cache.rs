//! `cache`: which methods' replies are kept, and what makes them forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use http::header::COOKIE;
use transom_transcode::schema::{self, Idempotency, Method, Schema};

use super::{Compiler, Problem};
use crate::config::{self, TokenSource};
use crate::gateway::cached::{Cached, Caches, Invalidates};
use crate::gateway::route::{Action, Rpc};
use crate::gateway::settings::{Origin, Settings};
use crate::gateway::snapshot::Snapshot;
use crate::policy::cache::{After, Forgets, Policy, Types};

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
            None => {
                let before = previous.map(|previous| previous.caches.cache.generations.clone());
                Self::new(config.cache.size, before.unwrap_or_default())
            }
        }
    }
}

impl Compiler<'_> {
    /// How the replies of a method are kept; `by_get`: a rule binds it to GET; `of_sessions`: it opens, renews or ends them.
    pub(super) fn compile_cache(
        &mut self,
        settings: &Settings,
        (rpc, method): (&str, &Method),
        (by_get, of_sessions): (bool, bool),
        upstream: &config::Upstream,
    ) -> Result<Option<Cached>, String> {
        let Some(written) = &settings.cache.value else { return Ok(None) };
        let why = if method.client_streaming || method.server_streaming {
            Some("streams, and streams are not kept")
        } else if of_sessions {
            Some("opens, renews or ends sessions: every call of it has to be made")
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
            (None, from) => {
                let schema = self.schema.clone();
                let version = *self.version.get_or_init(|| version(&schema));
                let by_cookie = |source: &TokenSource| matches!(source, TokenSource::Cookie(_));
                let cookies = self.config.auth.iter().flat_map(|auth| &auth.sources).any(by_cookie);
                let mut said = settings.request_headers.value.clone();
                said.extend(cookies.then_some(COOKIE));
                let canary = upstream.canary.as_ref().filter(|canary| canary.header.is_some());
                let headers =
                    [upstream.subset.as_ref().map(|subset| &subset.header), canary.map(|canary| &canary.header)];
                let next = canary.and_then(|canary| self.config.upstreams.get(&canary.upstream));
                let served =
                    [Some(upstream), next].map(|upstream| upstream.map(|served| (&served.endpoints, &served.tls)));
                let types = Types {
                    schema,
                    request: method.input,
                    reply: method.output,
                    largest: upstream.limits.receive,
                    said,
                    chosen_by: headers.into_iter().flatten().flatten().cloned().collect(),
                    version,
                    asks: self.config.auth.is_some() && settings.auth.value != config::Access::Public,
                    served: format!("{served:?}").into(),
                };
                let request = |rpc: &str| Some(self.method(rpc)?.input);
                let policy = Policy::compile(rpc, written, (&self.caches.cache, types), self.metrics, request);
                match (policy, from) {
                    (Ok(policy), _) => Ok(policy.map(|policy| Cached { policy, flights: self.caches.flights.clone() })),
                    (Err(why), Origin::Written(place)) => {
                        self.config_problem(place.to_string(), why);
                        Ok(None)
                    }
                    (Err(why), _) => Err(format!("option cache: {why}")),
                }
            }
        }
    }

    /// Tells RPCs whose replies they make forgotten.
    pub(super) fn link_caches(&mut self) {
        let rpcs = self.rpcs.values().filter_map(|route| match &route.action {
            Action::Call(binding) => Some(binding.rpc.clone()),
            Action::Builtin | Action::Token(_) => None,
        });
        let rpcs: Vec<Arc<Rpc>> = rpcs.collect();
        let mut links: BTreeMap<&str, Vec<Forgets>> = BTreeMap::new();
        let mut problems = Vec::new();
        for rpc in &rpcs {
            let Some(cached) = &rpc.cache else { continue };
            for After { rpc: name, tie } in cached.policy.after() {
                if let Some(by) = rpcs.iter().find(|by| by.name == *name) {
                    links.entry(&by.name).or_default().push(cached.policy.forgets(tie.clone()));
                    continue;
                }
                if self.flawed.contains(&**name) {
                    continue;
                }
                let hint = match config::nearest(name, rpcs.iter().map(|rpc| &*rpc.name)) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => "write one that clients reach".to_owned(),
                };
                problems.push((rpc.clone(), format!("no call of `{name}` comes through here; {hint}")));
            }
        }
        for rpc in &rpcs {
            if let Some(forgets) = links.remove(&*rpc.name) {
                // Once a snapshot.
                let _ = rpc.invalidates.set(Invalidates(forgets.into()));
            }
        }
        for (rpc, message) in problems {
            self.cache_problem(&rpc, message);
        }
    }

    /// A method of the schema, by `pkg.Service/Method`.
    fn method(&self, rpc: &str) -> Option<&Method> {
        let (service, method) = rpc.split_once('/')?;
        let service = self.schema.services.iter().find(|known| *known.name == *service)?;
        service.methods.iter().find(|known| *known.name == *method)
    }

    /// A problem of a method's `cache`, where that is written.
    fn cache_problem(&mut self, rpc: &Rpc, message: String) {
        let from = &rpc.settings.cache.from;
        let (service, method) = rpc.name.split_once('/').unwrap_or_default();
        match (from, self.schema.services.iter().find(|known| *known.name == *service)) {
            (Origin::Option(_), Some(service)) => {
                let symbol = format!("{}.{method}", service.name);
                let problem = schema::Problem::new(&*service.file, symbol, format!("option cache: {message}"));
                self.problems.push(Problem::Schema(problem));
            }
            _ => self.config_problem(from.to_string(), message),
        }
    }
}

/// Another one whenever anything is declared otherwise, in whatever file.
fn version(schema: &Schema) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    for file in &schema.files {
        digest.update(&(file.bytes().len() as u64).to_le_bytes());
        digest.update(file.bytes());
    }
    let mut version = [0; 32];
    version.copy_from_slice(digest.finish().as_ref());
    version
}
