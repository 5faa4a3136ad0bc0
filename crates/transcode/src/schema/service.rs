//! Services, their methods, and the `google.api.http` bindings of those.

use std::collections::HashSet;

use super::descriptor::{self, MethodOptions, MethodType, Pattern, ServiceType, decode};
use super::names::{Names, is_identifier, join};
use super::policy;
use super::{HttpRule, Idempotency, Method, Problem, Schema, Symbol};

/// The methods of a service, and everything that is wrong with them.
pub(super) fn compile(schema: &Schema, name: &str, file: &str, proto: &ServiceType) -> (Vec<Method>, Vec<Problem>) {
    let mut methods = Vec::with_capacity(proto.methods.len());
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for method in &proto.methods {
        let mut problem = |why| problems.push(Problem::new(file, join(name, &method.name), why));
        if !is_identifier(&method.name) {
            problem(format!("{:?} is not a name", method.name));
        }
        if !seen.insert(method.name.as_str()) {
            problem("this name is declared twice".to_owned());
        }
        match compile_method(&Names { schema, scope: name }, method) {
            Ok(method) => methods.push(method),
            Err(why) => problem(why),
        }
    }
    (methods, problems)
}

fn compile_method(names: &Names<'_>, proto: &MethodType) -> Result<Method, String> {
    let message = |name: &str| match names.resolve(name)? {
        Symbol::Message(id) => Ok(id),
        Symbol::Enum(_) | Symbol::Service(_) => Err(format!("{name} is not a message")),
    };
    let options: MethodOptions = decode(&proto.options)?;
    Ok(Method {
        name: proto.name.as_str().into(),
        input: message(&proto.input)?,
        output: message(&proto.output)?,
        client_streaming: proto.client_streaming,
        server_streaming: proto.server_streaming,
        idempotency: match options.idempotency {
            1 => Idempotency::NoSideEffects,
            2 => Idempotency::Idempotent,
            _ => Idempotency::Unknown,
        },
        http: options.http.as_ref().map_or(Ok(Vec::new()), http_rules)?,
        policy: policy::of_method(&proto.options, &options)?,
        options: proto.options.concat().into(),
    })
}

/// A rule and its `additional_bindings`, in order.
fn http_rules(rule: &descriptor::HttpRule) -> Result<Vec<HttpRule>, String> {
    let mut rules = vec![http_rule(rule)?];
    for additional in &rule.additional_bindings {
        if !additional.additional_bindings.is_empty() {
            return Err("additional_bindings may not be nested: list them all under the first rule".to_owned());
        }
        rules.push(http_rule(additional)?);
    }
    Ok(rules)
}

fn http_rule(rule: &descriptor::HttpRule) -> Result<HttpRule, String> {
    let (method, template) = match &rule.pattern {
        None => {
            return Err(
                "its google.api.http rule has no pattern: say get, put, post, delete, patch or custom".to_owned()
            );
        }
        Some(Pattern::Get(path)) => ("GET", path),
        Some(Pattern::Put(path)) => ("PUT", path),
        Some(Pattern::Post(path)) => ("POST", path),
        Some(Pattern::Delete(path)) => ("DELETE", path),
        Some(Pattern::Patch(path)) => ("PATCH", path),
        Some(Pattern::Custom(custom)) => (custom.kind.as_str(), &custom.path),
    };
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err(format!(
            "custom kind {method:?} is not an HTTP method: write a name such as HEAD, or \"*\" for all"
        ));
    }
    if let Some(why) = unreached(method) {
        return Err(format!("custom kind {method:?} {why}"));
    }
    Ok(HttpRule {
        method: method.into(),
        template: template.as_str().into(),
        body: rule.body.as_str().into(),
        response_body: rule.response_body.as_str().into(),
    })
}

/// Why no request would reach a rule for an HTTP method; none: some may.
pub fn unreached(method: &str) -> Option<String> {
    const STANDARD: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    if method.eq_ignore_ascii_case("CONNECT") {
        return Some("asks for a tunnel, which is not served: write another method".to_owned());
    }
    let meant = STANDARD.iter().find(|known| known.eq_ignore_ascii_case(method) && **known != method)?;
    Some(format!("is not {meant}, for methods differ by case: write {meant}"))
}

/// RFC 9110's `tchar`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
