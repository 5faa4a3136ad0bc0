//! What a person may wonder at: services that nobody serves, or of which clients reach nothing.

use transom_transcode::schema::Service;

use super::{Compiler, UPSTREAM};

/// Names that are told; the rest are counted.
const SHOWN: usize = 3;

impl Compiler<'_> {
    /// Notes the services with HTTP rules of their own that no upstream serves.
    pub(super) fn note_unserved(&mut self) {
        let has_rules = |service: &Service| service.methods.iter().any(|method| !method.http.is_empty());
        let unserved = self.some(|service| {
            service.policy.upstream.is_empty()
                && !service.reflected
                && !self.serving.contains_key(&service.name)
                && has_rules(service)
        });
        self.notes.extend(unserved.map(|names| {
            format!(
                "no upstream serves {names}: name them in an upstream's `services`, or say `option {UPSTREAM}` in theirs"
            )
        }));
    }

    /// Notes the services that an upstream serves and of which clients reach no method.
    pub(super) fn note_unexposed(&mut self) {
        let auth = self.config.auth.as_ref().and_then(|auth| auth.verify.as_ref()?.rpc.as_deref());
        let refresh = self.config.sessions.as_ref().and_then(|sessions| sessions.refresh.as_deref());
        // The gateway itself asks these.
        let asked = [auth, refresh].map(|rpc| rpc.and_then(|rpc| rpc.split_once('/')).map(|(service, _)| service));
        let unexposed = self.some(|service| {
            let reached = |method: &str| self.rpcs.contains_key(format!("/{}/{method}", service.name).as_str());
            self.serving.contains_key(&service.name)
                && !service.methods.is_empty()
                && !service.methods.iter().any(|method| reached(&method.name))
                && !asked.contains(&Some(&service.name))
        });
        self.notes.extend(unexposed.map(|names| {
            format!(
                "clients reach no method of {names}: give them `google.api.http` rules, name them under `methods`, or say \
                 `schema.expose: all`"
            )
        }));
    }

    /// The names of such services, if there are any.
    fn some(&self, is_so: impl Fn(&Service) -> bool) -> Option<String> {
        let names: Vec<_> =
            self.schema.services.iter().filter(|service| is_so(service)).map(|service| &*service.name).collect();
        let (shown, others) = names.split_at(names.len().min(SHOWN));
        let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        (!shown.is_empty()).then(|| shown.join(", ") + &more)
    }
}
