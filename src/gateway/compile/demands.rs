//! What `validate`, `sanitize` and the schema's own rules become, and which of them cannot be held.

use std::sync::Arc;

use transom_transcode::sanitize::{Sanitizer, Step};
use transom_transcode::schema::{self, Method, Service};
use transom_transcode::validate::Rules;

use super::{Compiler, Problem};
use crate::config::{self, Sanitize, Validate};
use crate::gateway::settings::{Origin, Settings};
use crate::policy::demands::Demands;

impl Compiler<'_> {
    /// What a method asks of its requests' messages.
    pub(super) fn compile_demands(
        &mut self,
        settings: &Settings,
        service: &Service,
        method: &Method,
    ) -> Option<Demands> {
        let sanitizer = self.compile_sanitizer(settings, method);
        let wish = settings.validate.value;
        let rules = match wish {
            Validate::Off => None,
            Validate::All => Some(self.validation.clone()),
            Validate::Standard => {
                Some(self.standard.get_or_insert_with(|| Arc::new(Rules::standard(self.schema))).clone())
            }
        };
        if let Some(rules) = &rules {
            self.check_rules(rules, (wish, &settings.validate.from), service, method);
        }
        Demands::compile(method.input, sanitizer, rules.as_ref(), self.metrics)
    }

    fn compile_sanitizer(&mut self, settings: &Settings, method: &Method) -> Option<Sanitizer> {
        let written = &settings.sanitize.value;
        if written.is_empty() {
            return None;
        }
        let step = |step: &Sanitize| match step {
            Sanitize::Trim => Step::Trim,
            Sanitize::Control => Step::Control,
            Sanitize::Nfc => Step::Nfc,
            Sanitize::StripHtml => Step::StripHtml,
        };
        let fields: Vec<(&str, Vec<Step>)> =
            written.iter().map(|(path, steps)| (path.as_str(), steps.iter().map(step).collect())).collect();
        let fields = fields.iter().map(|(path, steps)| (*path, steps.as_slice()));
        let bound = settings.bind.value.keys();
        if let Some(path) = bound.clone().find(|path| written.contains_key(*path)) {
            let why = "`bind` sets it from the token: cleaned, it would name somebody else".to_owned();
            self.sanitizer_problem(settings, method, path, &why);
        }
        match Sanitizer::compile(self.schema, method.input, fields) {
            Ok(mut sanitizer) => {
                for path in bound {
                    // One that holds no string is never cleaned.
                    let _ = sanitizer.spare(self.schema, path);
                }
                Some(sanitizer)
            }
            Err(wrong) => {
                for (path, why) in wrong {
                    self.sanitizer_problem(settings, method, path, &why);
                }
                None
            }
        }
    }

    fn sanitizer_problem(&mut self, settings: &Settings, method: &Method, path: &str, why: &str) {
        if let Origin::Written(place) = &settings.sanitize.from {
            let key = config::place(&[path]);
            let dot = if key.starts_with('[') { "" } else { "." };
            self.config_problem(format!("{place}{dot}{key}"), format!("{}: {why}", method.name));
        }
    }

    /// Tells the rules that cannot be held, each once: that a rule goes by unheld is for the user to decide.
    fn check_rules(&mut self, rules: &Rules, (wish, from): (Validate, &Origin), service: &Service, method: &Method) {
        for problem in rules.problems(self.schema, method.input) {
            self.problem(Problem::Schema(problem.clone()));
        }
        for rule in rules.custom(self.schema, method.input) {
            let name = format!("{}/{}", service.name, method.name);
            if wish == Validate::Standard {
                self.note(format!("{from}: {name} is not held to {rule}"));
                continue;
            }
            let why = format!("{rule}; write `validate: standard` for {name} to leave it to the service");
            let symbol = format!("{}.{}", service.name, method.name);
            self.problem(Problem::Schema(schema::Problem::new(&*service.file, symbol, why)));
        }
    }
}
