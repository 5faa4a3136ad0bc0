//! What the configuration names has to be there.

use super::Compiler;
use crate::config;
use crate::envelope::metadata;
use crate::gateway::rules::Rules;

impl Compiler<'_> {
    /// Every key of `methods` names what exists.
    pub(super) fn check_method_keys(&mut self) {
        for key in self.config.methods.keys() {
            let Some((service, method)) = key.split_once('/') else { continue };
            self.check_method(service, method, &|| config::place(&["methods", key]));
        }
    }

    /// Every selector of `schema.http_rules` does.
    pub(super) fn check_selectors(&mut self, rules: &Rules<'_>) {
        for (selector, path) in rules.selectors() {
            let Some((service, method)) = selector.rsplit_once('.') else { continue };
            self.check_method(service, method, &|| path.clone());
        }
    }

    /// What is listed under `headers` may cross.
    pub(super) fn check_headers(&mut self) {
        let config = self.config;
        let top = (config::place(&["headers"]), &config.headers);
        let methods = config.methods.iter();
        let methods = methods.map(|(key, method)| (config::place(&["methods", key, "headers"]), &method.headers));
        for (place, headers) in std::iter::once(top).chain(methods) {
            let request = headers.request.iter().flatten().map(metadata::never_from_rest);
            let response = headers.response.iter().flatten().map(metadata::never_to_rest);
            let request = request.enumerate().map(|(at, why)| (format!("{place}.request[{at}]"), why));
            let response = response.enumerate().map(|(at, why)| (format!("{place}.response[{at}]"), why));
            for (path, why) in request.chain(response) {
                if let Some(why) = why {
                    self.config_problem(path, format!("this header never crosses: {why}; remove it"));
                }
            }
        }
    }

    fn check_method(&mut self, service: &str, method: &str, path: &dyn Fn() -> String) {
        match self.schema.services.iter().find(|known| *known.name == *service) {
            // Its upstream has not reflected it yet.
            None if self.serving.contains_key(service) => {}
            None => {
                let names = self.schema.services.iter().map(|known| &*known.name);
                self.unknown(path(), "service", service, names);
            }
            Some(_) if !self.serving.contains_key(service) => {
                let message =
                    format!("no upstream serves `{service}`; add it to the `services` of one, or remove this");
                self.config_problem(path(), message);
            }
            Some(_) if method == "*" => {}
            Some(known) => {
                if !known.methods.iter().any(|known| *known.name == *method) {
                    let names = known.methods.iter().map(|known| &*known.name);
                    self.unknown(path(), "method", method, names);
                }
            }
        }
    }
}
