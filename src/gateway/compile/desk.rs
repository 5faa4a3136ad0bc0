//! What `auth.connect_tokens` becomes: routes of the gateway's own.

use std::sync::Arc;

use transom_transcode::template::Template;

use super::Compiler;
use crate::config::{self, Access};
use crate::gateway::desk::{Desk, Errand};
use crate::gateway::route::{Action, Route};
use crate::policy::auth::Gate;
use crate::policy::cors::Cors;
use crate::policy::rate::Rates;
use crate::telemetry::Logged;

impl Compiler<'_> {
    /// The desks; they come before the schema's rules, so that a rule which takes their place is told.
    pub(super) fn desks(&mut self) {
        let Some(auth) = self.auth.clone() else { return };
        for (kind, written) in &auth.config().connect_tokens {
            let Some(connect) = auth.connect(kind) else { continue };
            for method in &written.methods {
                let place = config::place(&["auth", "connect_tokens", kind]);
                let (method, limits) = (method.method(), written.rate_limits.as_ref());
                let errand = Errand::Connect(connect.clone());
                self.desk(&place, (method.as_str(), &written.path), limits, &Access::token(), errand);
            }
        }
    }

    fn desk(
        &mut self,
        place: &str,
        (method, path): (&str, &str),
        limits: Option<&Vec<String>>,
        access: &Access,
        errand: Errand,
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
        let desk = Desk {
            gate: Gate::compile(self.auth.as_ref(), "", access),
            judge: self.judge.clone(),
            rates,
            cors: Cors::compile(&self.config.cors).map(Arc::new),
            errand,
        };
        let route = Arc::new(Route {
            method: method.into(),
            template: path.into(),
            rpc: "".into(),
            logged: Logged::new(path, ""),
            metrics: self.metrics.route("", "", path),
            action: Action::Desk(Box::new(desk)),
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
