//! What an RPC that clients reach becomes: where it goes, and every policy of its calls.

use std::sync::{Arc, OnceLock};

use http::{HeaderName, Uri};
use transom_transcode::plan::Limits;
use transom_transcode::schema::{Idempotency, Method, Service};

use super::{Compiler, JSON_GROWTH};
use crate::config::{self, Access, Balance, Requirements};
use crate::envelope::metadata;
use crate::gateway::fallback::Fallback;
use crate::gateway::route::Rpc;
use crate::gateway::session::Issues;
use crate::gateway::settings::{Origin, Settings, declared};
use crate::policy::auth::Gate;
use crate::policy::cors::Cors;
use crate::policy::rate::Rates;
use crate::upstream::{Takes, Upstream};

impl Compiler<'_> {
    /// # Errors
    /// All that it is wished to be and cannot.
    pub(super) fn rpc(
        &mut self,
        upstream: &Arc<Upstream>,
        service: &Service,
        method: &Method,
        (path, by_get): (&str, bool),
    ) -> Result<Arc<Rpc>, Vec<Flaw>> {
        let (written, name) = (upstream.config(), &path[1..]);
        let scheme = if upstream.tls().is_some() { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(&**upstream.name()).path_and_query(path).build();
        let depth = Limits::default().depth;
        let mut settings = Settings::compile(self.config, upstream.name(), written, service, method);
        let mut flaws = self.check_options(&settings);
        flaws.extend(check_wishes(&settings, method, name));
        let written_so = settings.idempotent.from != Origin::Default;
        let safe = by_get && !service.reflected;
        settings.idempotent.value |= safe && !written_so;
        let repeats = match settings.idempotent.value {
            false => Idempotency::Unknown,
            true if safe || written_so => Idempotency::NoSideEffects,
            true => declared(service, method),
        };
        let retry = settings.retry.value.as_ref().and_then(|retry| upstream.retry(retry, repeats));
        let streams = method.client_streaming || method.server_streaming;
        let fallback = settings.fallback.value.as_ref().filter(|_| !streams);
        let fallback = fallback.map(|written| Fallback::compile(written, self.schema, method));
        let limits = (&settings.rate_limits.value, &self.config.rate_limits);
        let rates = Rates::compile(limits.0, limits.1, Some((self.schema, method.input)), self.metrics)
            .and_then(|rates| match rates.need_message() && method.client_streaming {
                true => Err("a stream of messages has no one field; limit it by client or user".to_owned()),
                false => Ok(rates),
            })
            .map_err(|why| flaws.push(format!("its rate limits: {why}").into()));
        self.note_unsaid(&settings);
        let paced = settings.messages.value.is_some() && method.client_streaming;
        let bound = self.compile_bound(&settings, method);
        let demands = self.compile_demands(&settings, service, method);
        let session = self.compile_session(name, method);
        let cors = Cors::compile(&settings.cors.merged()).map(Arc::new);
        if session.is_some() && cors.is_some() {
            self.note_cookies(&settings.cors);
        }
        self.note_star(&settings.cors);
        let gate = Gate::compile(self.auth.as_ref(), name, &settings.auth.value);
        let of_sessions = session.is_some() || gate.logs_out();
        let cache = self.compile_cache(&settings, (name, method), (by_get, of_sessions), written);
        let cache = cache.map_err(|why| flaws.push(why.into()));
        let uri = uri.map_err(|error| flaws.push(format!("its path is no URI: {error}").into()));
        let (Ok(rates), Ok(cache), Ok(uri), true) = (rates, cache, uri, flaws.is_empty()) else { return Err(flaws) };
        let canary = self.canaries.get(&**upstream.name());
        // What is kept is for many: those who ask for the canary have its replies, and nobody has them by turns.
        let canary = if cache.is_some() { canary.and_then(|canary| canary.by_header()) } else { canary.cloned() };
        // A canary has endpoints of its own, and may have a breaker for them.
        let judged = written.circuit_breaker.is_some() || written.outlier_ejection.is_some() || canary.is_some();
        let (schema, input, many) = (self.schema.clone(), method.input, method.client_streaming);
        let takes = judged.then(|| Arc::new(Takes { schema, input, many }));
        Ok(Arc::new(Rpc {
            name: name.into(),
            client_streaming: method.client_streaming,
            server_streaming: method.server_streaming,
            no_side_effects: declared(service, method) == Idempotency::NoSideEffects,
            uri,
            upstream: upstream.clone(),
            aims: canary.is_some() || written.subset.is_some() || matches!(written.balance, Balance::Hash(_)),
            canary,
            schema: self.schema.clone(),
            crossing: settings.crossing(),
            opaque: bound.is_none()
                && demands.is_none()
                && cache.is_none()
                && !of_sessions
                && !rates.need_message()
                && !paced,
            gate,
            judge: self.judge.clone(),
            bound,
            demands,
            issues: session.as_ref().and_then(|_| Some(Issues::compile(self.issuer.as_ref()?, method.output))),
            // Who logs out late is logged out all the same.
            renewal: if session.as_ref().is_some_and(crate::policy::session::Session::closes) {
                self.renewing.clone()
            } else {
                self.renewal.clone()
            },
            session,
            cache,
            invalidates: OnceLock::new(),
            cors,
            takes,
            retry,
            fallback,
            send: Limits { depth: settings.depth.value, output: written.limits.send },
            settings,
            places: self.places.clone(),
            max_age: self.config.overload.max_stream_age.filter(|_| streams),
            too_fast: paced.then(|| self.metrics.refusals("rate_limit", "MESSAGES")),
            rates,
            receive: written.limits.receive,
            print: Limits { depth, output: written.limits.receive.saturating_mul(JSON_GROWTH) },
        }))
    }

    /// What the configuration's own keys are checked for where they are read: an option of a `.proto` may want what is not
    /// there. A configuration that has problems is looked at all the same: those keep their places.
    fn check_options(&self, settings: &Settings) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        if self.config.auth.is_none() && settings.auth.value != Access::Public {
            let why = "the configuration has no `auth` section to verify tokens by";
            flaws.push(Flaw::of(&settings.auth.from, why.to_owned()));
        }
        let limits = &settings.rate_limits;
        for name in limits.value.iter().filter(|name| !self.config.rate_limits.contains_key(*name)) {
            flaws.push(Flaw::of(&limits.from, format!("`rate_limits` of the configuration has no `{name}`")));
        }
        type Never = fn(&HeaderName) -> Option<&'static str>;
        let lists: [(_, Never); 2] = [
            (&settings.request_headers, metadata::never_from_rest),
            (&settings.response_headers, metadata::never_to_rest),
        ];
        for (names, never) in lists.into_iter().filter(|(names, _)| matches!(names.from, Origin::Option(_))) {
            for (name, why) in names.value.iter().filter_map(|name| Some((name, never(name)?))) {
                flaws.push(Flaw::of(&names.from, format!("`{name}` never crosses: {why}")));
            }
        }
        flaws
    }
}

/// What a method's own entry wishes for is to be had by it. What an entry for more of them wishes for is left out where it cannot be.
fn check_wishes(settings: &Settings, method: &Method, name: &str) -> Vec<Flaw> {
    let own = config::place(&["methods", name]);
    let mut flaws = Vec::new();
    let mut refuse = |from: &Origin, why: String| flaws.extend(from.is_below(&own).then(|| Flaw::of(from, why)));
    let (name, streams) = (&method.name, method.client_streaming || method.server_streaming);
    if streams && settings.fallback.value.is_some() {
        let why = format!("{name} streams, and only a method that streams nothing has one");
        refuse(&settings.fallback.from, why);
    }
    let connects = matches!(&settings.auth.value, Access::Required(Requirements { connect_token: Some(_), .. }));
    if !streams && connects {
        let why = format!("{name} streams nothing, so that no WebSocket is opened for it with a connect token");
        refuse(&settings.auth.from, why);
    }
    if !method.client_streaming && settings.messages.value.is_some() {
        let why = format!("the client of {name} sends one message; limit its calls by `rate_limits`");
        refuse(&settings.messages.from, why);
    }
    flaws
}

/// Why a method cannot be served as it is wished to be.
pub(super) struct Flaw {
    /// Where the configuration wishes so; none where the method does itself.
    pub(super) place: Option<Box<str>>,
    pub(super) why: String,
}

impl Flaw {
    fn of(origin: &Origin, why: String) -> Self {
        match origin {
            Origin::Written(place) => Self { place: Some(place.clone()), why },
            Origin::Default | Origin::Option(_) => Self { place: None, why: format!("{origin}: {why}") },
        }
    }
}

impl From<String> for Flaw {
    fn from(why: String) -> Self {
        Self { place: None, why }
    }
}
