//! What `auth.connect_tokens` and `sessions.issue` become: routes of the gateway's own.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use transom_transcode::template::Template;

use super::Compiler;
use crate::config::{self, Access, InBody};
use crate::gateway::route::{Action, Route};
use crate::gateway::token_endpoint::{Operation, TokenEndpoint};
use crate::policy::auth::Gate;
use crate::policy::cors::Cors;
use crate::policy::rate::Rates;
use crate::telemetry::Logged;

impl Compiler<'_> {
    /// The token endpoints; they come before the schema's rules, so that a rule which takes their place is told.
    pub(super) fn token_endpoints(&mut self) {
        let Some(auth) = self.auth.clone() else { return };
        self.session_endpoints();
        for (kind, written) in &auth.config().connect_tokens {
            let Some(connect) = auth.connect(kind) else { continue };
            for method in &written.methods {
                let place = config::place(&["auth", "connect_tokens", kind]);
                let (method, limits) = (method.method(), written.rate_limits.as_ref());
                let operation = Operation::Connect(connect.clone());
                self.token_endpoint(&place, (method.as_str(), &written.path), limits, &Access::token(), operation);
            }
        }
    }

    /// Where sessions are renewed and end.
    fn session_endpoints(&mut self) {
        let config = self.config;
        let (Some(sessions), Some(renewal)) = (&config.sessions, self.renewing.clone()) else { return };
        let Some(issue) = &sessions.issue else { return };
        let plain = || json!({ "success": true });
        let said = |place: &config::OwnRoute, usual: Json| place.response.clone().unwrap_or(usual).to_string().into();
        if let Some(place) = &issue.refresh {
            let (access, refresh) = (&sessions.access_token.field, &sessions.refresh_token.field);
            let lasts = sessions.access_token.max_age.as_secs();
            let tokens = json!({ access: config::ACCESS_TOKEN, refresh: config::REFRESH_TOKEN, "expires_in": lasts });
            // Who keeps no cookies has the new tokens from the answer, or not at all.
            let by_hand = match sessions.in_body {
                InBody::Remove => tokens.to_string().into(),
                InBody::Keep => said(place, tokens.clone()),
            };
            let usual = if sessions.in_body == InBody::Keep { tokens } else { plain() };
            let (field, answer) = (refresh.as_str().into(), said(place, usual));
            let operation = Operation::Renew { renewal: renewal.clone(), field, answer, by_hand };
            self.token_endpoint("sessions.issue.refresh", ("POST", &place.path), None, &Access::Public, operation);
        }
        if let Some(place) = &issue.logout {
            let operation = Operation::LogOut { renewal, answer: said(place, plain()) };
            self.token_endpoint("sessions.issue.logout", ("POST", &place.path), None, &Access::token(), operation);
        }
    }

    fn token_endpoint(
        &mut self,
        place: &str,
        (method, path): (&str, &str),
        limits: Option<&Vec<String>>,
        access: &Access,
        operation: Operation,
    ) {
        let usual = match access {
            Access::Public => config::PUBLIC,
            Access::Required(_) => config::USERS,
        };
        let limits = limits.cloned().unwrap_or_else(|| vec![usual.to_owned()]);
        let rates = match Rates::compile(&limits, &self.config.rate_limits, None, self.metrics) {
            Ok(rates) => rates,
            Err(why) => return self.config_problem(format!("{place}.rate_limits"), why),
        };
        let endpoint = TokenEndpoint {
            gate: Gate::compile(self.auth.as_ref(), "", access),
            judge: self.judge.clone(),
            renewal: self.renewal.clone(),
            places: self.places.clone(),
            rates,
            cors: Cors::compile(&self.config.cors).map(Arc::new),
            operation,
        };
        let route = Arc::new(Route {
            method: method.into(),
            template: path.into(),
            rpc: "".into(),
            own_path: false,
            logged: Logged::new(path, ""),
            metrics: self.metrics.route("", "", path),
            action: Action::Token(Box::new(endpoint)),
        });
        let taken = match Template::parse(path) {
            Ok(template) => self.rest.insert(method, &template, route).is_err(),
            Err(error) => return self.config_problem(format!("{place}.path"), error.message),
        };
        if taken {
            let why = format!("{method} {path} is the gateway's own already; choose another path");
            self.config_problem(format!("{place}.path"), why);
        }
    }
}
