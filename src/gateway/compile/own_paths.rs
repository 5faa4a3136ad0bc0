//! RPCs' own paths, `/pkg.Service/Method`, among the rules'.

use std::sync::Arc;

use transom_transcode::template::Template;

use super::{Compiler, Place};
use crate::gateway::route::{Action, Route};
use crate::gateway::routing::takes_get;
use crate::gateway::settings::Origin;

impl Compiler<'_> {
    /// Enters each, as a literal that is asked by POST: whatever variables a rule has, what is sent to an RPC's own path is that
    /// RPC's. A rule of another that has the very same path is told.
    pub(super) fn own_paths(&mut self) {
        let mut paths: Vec<_> = self.rpcs.iter().map(|(path, route)| (path.clone(), route.clone())).collect();
        paths.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (path, rpc) in paths {
            // Names make no template that is wrong.
            let Ok(template) = Template::parse(&path) else { continue };
            // Connect asks what has no side effects by GET.
            for method in ["POST", "GET", "*"].into_iter().filter(|method| *method != "GET" || takes_get(&rpc)) {
                if let Some(rule) = self.rest.same(method, &template).cloned()
                    && rule.rpc != rpc.rpc
                {
                    self.shadowed(&rule, &rpc);
                }
            }
            // An RPC may have a rule for its own path: then that is how REST asks.
            let _ = self.rest.insert("POST", &template, rpc);
        }
    }

    /// A problem of the rule, or of the RPC where the path is the gateway's own.
    fn shadowed(&mut self, rule: &Route, rpc: &Route) {
        let why = format!(
            "{} {} is the own path of {}, where gRPC, gRPC-Web and Connect ask for it: choose another path",
            rule.method, rule.template, rpc.rpc
        );
        let (written, of) = match (&rule.action, &rpc.action) {
            (Action::Call(binding), _) => (binding.rule.clone(), rule),
            (_, Action::Call(binding)) => (binding.rule.clone(), rpc),
            // Two of the gateway's own never have one path.
            _ => (Origin::Default, rpc),
        };
        let schema = Arc::clone(self.schema);
        let place = of.rpc.split_once('/').and_then(|(service, method)| {
            let service = schema.services.iter().find(|known| *known.name == *service)?;
            Some(Place {
                service,
                method: service.methods.iter().find(|known| *known.name == *method)?,
                rule: &written,
            })
        });
        if let Some(place) = place {
            self.rule_problem(&place, None, why);
        }
    }
}
