//! The HTTP rules that configuration writes, by the method that they are for.

use std::collections::HashMap;

use transom_transcode::schema::{HttpRule, Method, Service};

use super::settings::Origin;
use crate::config::{self, Config};

/// `pkg.Service.Method` → its rules, the first and its additional bindings.
pub(super) struct Rules<'a> {
    written: HashMap<&'a str, (usize, Vec<HttpRule>)>,
}

impl<'a> Rules<'a> {
    /// Those of a configuration, as an annotation would have them.
    pub(super) fn of(config: &'a Config) -> Self {
        let written = config.schema.http_rules.iter().enumerate().map(|(at, rule)| {
            let one = |patterns: Vec<(&str, &str)>, body: &Option<String>, response_body: &Option<String>| {
                let (method, template) = patterns.first().copied()?;
                Some(HttpRule {
                    method: method.into(),
                    template: template.into(),
                    body: body.as_deref().unwrap_or_default().into(),
                    response_body: response_body.as_deref().unwrap_or_default().into(),
                })
            };
            let first = one(rule.patterns(), &rule.body, &rule.response_body);
            let more = rule.additional_bindings.iter();
            let more = more.filter_map(|rule| one(rule.patterns(), &rule.body, &rule.response_body));
            (&*rule.selector, (at, first.into_iter().chain(more).collect()))
        });
        Self { written: written.collect() }
    }

    /// The rules of a method, and where they are written: configuration's in the place of the annotation.
    pub(super) fn for_method<'m>(&'m self, service: &Service, method: &'m Method) -> (&'m [HttpRule], Origin) {
        match self.written.get(format!("{}.{}", service.name, method.name).as_str()) {
            Some((at, rules)) => (rules, Origin::Written(place(*at).into())),
            None => (&method.http, Origin::Default),
        }
    }

    /// Every selector, and where it is written.
    pub(super) fn selectors(&self) -> Vec<(&'a str, String)> {
        let mut selectors: Vec<_> = self.written.iter().map(|(selector, (at, _))| (*at, *selector)).collect();
        selectors.sort_unstable();
        selectors.into_iter().map(|(at, selector)| (selector, format!("{}.selector", place(at)))).collect()
    }
}

fn place(at: usize) -> String {
    format!("{}[{at}]", config::place(&["schema", "http_rules"]))
}
