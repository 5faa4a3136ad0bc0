//! What `auth` and a method's `bind` become, and what they name that is not there.

use std::sync::Arc;

use transom_transcode::overlay::Overlay;
use transom_transcode::schema::Method;

use super::Compiler;
use super::rpc::Flaw;
use crate::config::{self, AllowedOrigin, InBody};
use crate::gateway::caller::{Bound, Judge};
use crate::gateway::renewal::{Renewal, Renewer, Service};
use crate::gateway::settings::{Cors, Origin, Settings};
use crate::gateway::snapshot::Snapshot;
use crate::policy::auth::{Auth, Claim, SessionIssuer};
use crate::policy::session::{Cookies, Session};

/// Bytes of a secret under which it can be guessed.
const WEAK: usize = 32;

impl Compiler<'_> {
    /// The gate of all methods; what ran before goes on if nothing of it has changed.
    pub(super) fn compile_auth(&mut self, previous: Option<&Snapshot>) {
        let Some(written) = &self.config.auth else { return };
        let previous = previous.and_then(|previous| previous.auth.as_ref());
        match Auth::compile(written, &self.config.folder, self.metrics, previous) {
            Ok(auth) => self.auth = Some(auth),
            Err(problems) => {
                for (key, message) in problems {
                    self.config_problem(format!("auth.{key}"), message);
                }
            }
        }
        if written.jwt.iter().any(|jwt| jwt.secret.is_none() && jwt.key.is_none() && jwt.jwks.is_none()) {
            self.notes.push("auth.jwt has no key: no token is good; set its `secret`, `key` or `jwks`".to_owned());
        }
        let weak = |jwt: &config::Jwt| jwt.secret.as_ref().is_some_and(|secret| secret.len() < WEAK);
        for index in written.jwt.iter().enumerate().filter(|(_, jwt)| weak(jwt)).map(|(index, _)| index) {
            let place = if written.jwt.len() == 1 { "auth.jwt".to_owned() } else { format!("auth.jwt[{index}]") };
            let why = format!("is shorter than {WEAK} bytes: it can be guessed from one token (RFC 7518 §3.2)");
            self.notes.push(format!("{place}.secret {why}"));
        }
        if let Some(sessions) = &self.config.sessions {
            let named = sessions.login.iter().map(|name| ("sessions.login", name));
            for (place, name) in named.chain(sessions.refresh.as_ref().map(|name| ("sessions.refresh", name))) {
                self.find_served(place, name);
            }
        }
        if let (Some(auth), Some(sessions)) = (self.auth.clone(), &self.config.sessions)
            && let Some(issuer) =
                sessions.issue.as_ref().and_then(|issue| SessionIssuer::compile(written, sessions, issue))
        {
            let cookies = Arc::new(Cookies::compile(sessions, &self.config.environment));
            let renewal = Arc::new(Renewal { auth, cookies, renewer: Renewer::Own(issuer.clone()) });
            self.renewal = sessions.automatic.then(|| renewal.clone());
            (self.issuer, self.renewing) = (Some(issuer), Some(renewal));
        }
        if let Some(logout) = &written.logout {
            match self.find_served("auth.logout", logout) {
                None => self.auth = None,
                Some((at, method)) => {
                    let method = &self.schema.services[at].methods[method];
                    // Where there are `sessions`, those say so.
                    if self.config.sessions.is_none() && (method.client_streaming || method.server_streaming) {
                        let why = format!("{logout} streams; who logs out is told so by one message");
                        self.config_problem("auth.logout".to_owned(), why);
                    }
                }
            }
        }
        if self.renewing.is_none()
            && let Some(sessions) = &self.config.sessions
            && (sessions.automatic || written.logout.is_some())
        {
            self.renewing = self.compile_service_renewal(sessions);
            self.renewal = self.renewing.clone().filter(|_| sessions.automatic);
        }
        let rpc = written.verify.as_ref().and_then(|verify| Some((verify, verify.rpc.as_ref()?)));
        if let Some((verify, name)) = rpc {
            self.judge = self.compile_judge((verify, &written.user), name);
        }
    }

    /// How a service's own tokens are renewed on the way of calls.
    fn compile_service_renewal(&mut self, sessions: &config::Sessions) -> Option<Arc<Renewal>> {
        let auth = self.auth.clone()?;
        let name = sessions.refresh.as_ref()?;
        let (at, method) = self.find_served("sessions.refresh", name)?;
        let service = &self.schema.services[at];
        let upstream = self.upstreams.get(&*self.serving.get(&service.name)?.upstream)?;
        let rpc = self.rpc(upstream, service, &service.methods[method], (&format!("/{name}"), false));
        let rpc = rpc.map_err(|flaws| self.flawed("sessions.refresh", name, flaws)).ok()?;
        let cookies = Arc::new(Cookies::compile(sessions, &self.config.environment));
        Some(Arc::new(Renewal { auth, cookies, renewer: Renewer::Service(Service::new(rpc)?) }))
    }

    fn compile_judge(&mut self, written: (&config::Verify, &str), name: &str) -> Option<Arc<Judge>> {
        const PLACE: &str = "auth.verify.rpc";
        let (at, method) = self.find_served(PLACE, name)?;
        let service = &self.schema.services[at];
        let method = &service.methods[method];
        let upstream = self.upstreams.get(&*self.serving.get(&service.name)?.upstream)?;
        let path = format!("/{name}");
        let schema = self.schema.clone();
        let rpc = self.rpc(upstream, service, method, (&path, false));
        let rpc = rpc.map_err(|flaws| self.flawed(PLACE, name, flaws)).ok()?;
        let judge = Judge::compile(rpc, &schema, (method.input, method.output), written);
        judge.map(Arc::new).map_err(|why| self.config_problem(PLACE.to_owned(), format!("{name}: {why}"))).ok()
    }

    /// What is wrong with a method that `place` names: where it is written, and of what the method says itself, there.
    fn flawed(&mut self, place: &str, name: &str, flaws: Vec<Flaw>) {
        for Flaw { place: written, why } in flaws {
            match written {
                Some(written) => self.config_problem(written.into(), why),
                None => self.config_problem(place.to_owned(), format!("{name}: {why}")),
            }
        }
    }

    /// Where in the schema a method is that the configuration names and an upstream serves.
    fn find_served(&mut self, place: &str, name: &str) -> Option<(usize, usize)> {
        let (service, method) = name.split_once('/')?;
        let schema = self.schema.clone();
        let Some(at) = schema.services.iter().position(|known| *known.name == *service) else {
            self.unknown(place.to_owned(), "service", service, schema.services.iter().map(|known| &*known.name));
            return None;
        };
        if !self.serving.contains_key(service) {
            self.config_problem(place.to_owned(), format!("no upstream serves `{service}`"));
            return None;
        }
        let methods = &schema.services[at].methods;
        let found = methods.iter().position(|known| *known.name == *method);
        if found.is_none() {
            self.unknown(place.to_owned(), "method", method, methods.iter().map(|known| &*known.name));
        }
        Some((at, found?))
    }

    /// What a method does to its clients' sessions.
    pub(super) fn compile_session(&mut self, rpc: &str, method: &Method) -> Option<Session> {
        Session::compile(self.config, self.schema, rpc, method).unwrap_or_else(|(place, why)| {
            self.config_problem(place.to_owned(), why);
            None
        })
    }

    /// Pages of other origins log in, and keep no session by it.
    pub(super) fn note_cookies(&mut self, cors: &Cors) {
        let Some(sessions) = self.config.sessions.as_ref().filter(|_| cors.credentials.value != Some(true)) else {
            return;
        };
        let without = match sessions.in_body {
            InBody::Keep => "no cookies of `sessions`, and hold the answers' tokens themselves",
            InBody::Remove => {
                "neither cookies of `sessions` nor, by `in_body: remove`, tokens: logging in is refused (403)"
            }
        };
        self.note(format!(
            "{} lets pages call without cookies: those of other origins get {without}; where they are the sessions' own \
             pages, write `credentials: true` beside it",
            cors.origins.from
        ));
    }

    /// Browsers keep an answer for anybody from a page that sent its cookies (Fetch §4.9), and pages that may send them do so.
    pub(super) fn note_star(&mut self, cors: &Cors) {
        let star = cors.origins.value.as_ref().is_some_and(|origins| origins.contains(&AllowedOrigin::Any));
        if star && self.config.cors.credentials == Some(true) && self.config.cors.origins != cors.origins.value {
            self.note(format!(
                "{} holds `*`: pages of `cors.origins` that send cookies cannot read these answers; name the origins instead",
                cors.origins.from
            ));
        }
    }

    /// What a method asks of its callers, and the connect tokens that open its WebSockets do not say.
    pub(super) fn note_unsaid(&mut self, settings: &Settings) {
        let config::Access::Required(required) = &settings.auth.value else { return };
        let Some((kind, auth)) = required.connect_token.as_ref().zip(self.config.auth.as_ref()) else { return };
        let Some(written) = auth.connect_tokens.get(kind) else { return };
        let own = written.claims();
        let usual = ["sub", "sid", "iss", "jti", "exp", "iat", "nbf", &auth.user, &auth.token_type.claim];
        let says = |claim: &str| {
            let outer = claim.split('.').next().unwrap_or_default();
            [claim, outer].into_iter().any(|name| usual.contains(&name) || own.contains_key(name))
        };
        let mut asked: Vec<&str> =
            required.claims.keys().chain(settings.bind.value.values()).map(String::as_str).collect();
        asked.extend((!required.scopes.is_empty()).then_some(&*auth.scopes));
        asked.extend((!required.roles.is_empty()).then_some(&*auth.roles));
        asked.retain(|claim| !says(claim));
        for claim in asked {
            let copied = claim.split('.').next().unwrap_or_default();
            self.note(format!(
                "{}: the gateway's tokens of type `{kind}` do not say `{claim}`, which is asked for, so that they open no WebSocket; \
                 write `{copied}: {copied}` beside the others at `auth.connect_tokens.{kind}.claims`",
                settings.auth.from
            ));
        }
    }

    /// Who is believed to be a proxy says for whom it calls.
    pub(super) fn note_proxies(&mut self) {
        // Private networks are not wider: 10.0.0.0/8, fc00::/7.
        let widest = |network: &config::Network| if network.address.is_ipv4() { 8 } else { 7 };
        for wide in self.config.trusted_proxies.iter().filter(|network| network.prefix < widest(network)) {
            self.note(format!(
                "trusted_proxies: who calls from {}/{} is believed about its address, so that clients there choose it, and \
                 with it their limits; write the proxies' own networks",
                wide.address, wide.prefix
            ));
        }
    }

    /// The fields of a method's request that the token sets.
    pub(super) fn compile_bound(&mut self, settings: &Settings, method: &Method) -> Option<Bound> {
        let bind = &settings.bind.value;
        if bind.is_empty() {
            return None;
        }
        // Whoever calls would say what a token is to say.
        if settings.auth.value == config::Access::Public {
            if let Origin::Written(place) = &settings.bind.from {
                let why = format!(
                    "{} is public and has no claims; write `bind: {{}}` for it, or another `auth`",
                    method.name
                );
                self.config_problem(place.to_string(), why);
            }
            return None;
        }
        let names: Vec<&str> = bind.keys().map(String::as_str).collect();
        match Overlay::compile(self.schema, method.input, &names) {
            Ok(overlay) => Some(Bound { overlay, claims: bind.values().map(|claim| Claim::compile(claim)).collect() }),
            Err((_, why)) => {
                if let Origin::Written(place) = &settings.bind.from {
                    let why = format!("{}: {why}", method.name);
                    self.config_problem(place.to_string(), why);
                }
                None
            }
        }
    }
}
