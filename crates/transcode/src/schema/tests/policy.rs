//! `transom/options.proto`: what is read, and what is refused.

use std::time::Duration;

use super::*;
use crate::status::Code;

const OPTIONS: &str = include_str!("../../../../../proto/transom/options.proto");

fn compiled(options: &str, service: &str, method: &str) -> Result<Schema, Vec<Problem>> {
    struct Files([(&'static str, String); 2]);
    impl protox::file::FileResolver for Files {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            match self.0.iter().find(|(own, _)| *own == name) {
                Some((_, text)) => protox::file::File::from_source(name, text),
                None => protox::file::GoogleFileResolver::new().open_file(name),
            }
        }
    }
    let text = format!(
        "syntax = \"proto3\"; package p; import \"transom/options.proto\"; message M {{}}
         service S {{ {service} rpc Get(M) returns (M) {{ {method} }} }}"
    );
    let files = Files([("a.proto", text), ("transom/options.proto", options.to_owned())]);
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.include_imports(true).open_file("a.proto").unwrap_or_else(|error| panic!("{error:?}"));
    schema(&compiler.encode_file_descriptor_set())
}

#[test]
fn what_services_and_methods_say_is_read() {
    let schema = compiled(
        OPTIONS,
        "option (transom.service) = { upstream: \"u\" methods: { unknown_fields: IGNORE limits: { body: 10 } } };",
        "option (transom.method).timeout = { seconds: 1 nanos: 500000000 };
         option (transom.method).output.emit_defaults = true; option (transom.method).output.proto_names = false;",
    )
    .unwrap();
    let service = &schema.services[0];
    assert_eq!(&*service.policy.upstream, "u");
    let methods = MethodPolicy { unknown_fields: Some(UnknownFields::Ignore), body: Some(10), ..Default::default() };
    assert_eq!(service.policy.methods, methods);
    let method = MethodPolicy {
        timeout: Some(Duration::from_millis(1500)),
        emit_defaults: Some(true),
        proto_names: Some(false),
        ..Default::default()
    };
    assert_eq!(service.methods[0].policy, method);
}

#[test]
fn who_may_call_and_how_often_is_read() {
    let schema = compiled(
        OPTIONS,
        "option (transom.service).methods = { auth: { scopes: \"books\" roles: \"a\" roles: \"b\" } compress: false };",
        "option (transom.method) = { auth: { public: true } rate_limits: [\"login\", \"public\"] retry: { attempts: 4 }
           priority: LOW headers: { request: \"x-tenant\" response: \"location\" } };",
    )
    .unwrap();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let service = &schema.services[0];
    let token = Access::Token { scopes: words(&["books"]), roles: words(&["a", "b"]) };
    assert_eq!((&service.policy.methods.auth, service.policy.methods.compress), (&Some(token), Some(false)));
    let method = MethodPolicy {
        auth: Some(Access::Public),
        rate_limits: Some(words(&["login", "public"])),
        priority: Some(Priority::Low),
        retry: Some(RetryPolicy { attempts: Some(4), ..Default::default() }),
        request_headers: Some(words(&["x-tenant"])),
        response_headers: Some(words(&["location"])),
        ..Default::default()
    };
    assert_eq!(service.methods[0].policy, method);
}

#[test]
fn how_replies_are_kept_and_calls_tried_again_is_read() {
    let schema = compiled(
        OPTIONS,
        "option (transom.service).methods = { cache: { ttl: {} } retry: {} };",
        "option (transom.method) = {
           cache: { ttl: { seconds: 30 } stale_while_revalidate: { nanos: 1000000 } stale_if_error: { seconds: 5 } public: true vary: {}
             invalidated_by: { rpc: \"p.S/Set\" } invalidated_by: { rpc: \"q.r.T/Put\" fields: { key: \"id\" value: \"of.id\" } } shared: false }
           retry: { attempts: 2 on: [ABORTED, UNAVAILABLE] budget: 5 backoff: { seconds: 1 } max_backoff: { seconds: 2 }
             per_try_timeout: { seconds: 3 } hedge: { nanos: 40000000 } } };",
    )
    .unwrap();
    let service = &schema.services[0];
    let none = CachePolicy {
        ttl: Duration::ZERO,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        public: false,
        vary: None,
        invalidated_by: Vec::new(),
        shared: None,
    };
    assert_eq!(service.policy.methods.cache, Some(none));
    assert_eq!(service.policy.methods.retry, Some(RetryPolicy::default()));
    let after = |rpc: &str, fields: &[(&str, &str)]| Invalidation {
        rpc: rpc.to_owned(),
        fields: fields.iter().map(|(own, other)| ((*own).to_owned(), (*other).to_owned())).collect(),
    };
    let cache = CachePolicy {
        ttl: Duration::from_secs(30),
        stale_while_revalidate: Duration::from_millis(1),
        stale_if_error: Duration::from_secs(5),
        public: true,
        vary: Some(Vec::new()),
        invalidated_by: vec![after("p.S/Set", &[]), after("q.r.T/Put", &[("id", "of.id")])],
        shared: Some(false),
    };
    let retry = RetryPolicy {
        attempts: Some(2),
        on: vec![Code::Aborted, Code::Unavailable],
        budget: Some(5),
        backoff: Some(Duration::from_secs(1)),
        max_backoff: Some(Duration::from_secs(2)),
        per_try_timeout: Some(Duration::from_secs(3)),
        hedge: Some(Duration::from_millis(40)),
    };
    let method = &service.methods[0].policy;
    assert_eq!((&method.cache, &method.retry), (&Some(cache), &Some(retry)));
}

#[test]
fn a_value_out_of_bounds_is_a_problem() {
    for (option, wrong) in [
        ("timeout = {}", "timeout is not from 1 ms to 24 h"),
        ("timeout = { seconds: 86401 }", "timeout is not from 1 ms to 24 h"),
        ("timeout = { nanos: -1 }", "timeout is not from 1 ms to 24 h"),
        ("limits.body = 0", "limits.body is not from 1 to"),
        ("retry.attempts = 0", "retry.attempts is not from 1 to 10"),
        ("retry.budget = 101", "retry.budget is not from 0 to 100"),
        ("retry.backoff = {}", "retry.backoff is not from 1 ms to 1 h"),
        ("retry.per_try_timeout = { seconds: 86401 }", "retry.per_try_timeout is not from 1 ms to 24 h"),
        ("retry.hedge = { seconds: 3601 }", "retry.hedge is not from 1 ms to 1 h"),
        ("retry.on = ON_UNSPECIFIED", "retry.on has no value 0"),
        ("cache = { public: true }", "cache has no ttl"),
        ("cache.ttl = { seconds: -1 }", "cache.ttl is not from 0 to 24 h"),
        (
            "cache = { ttl: {} stale_while_revalidate: { seconds: 86401 } }",
            "cache.stale_while_revalidate is not from 0",
        ),
        ("cache = { ttl: {} vary: { headers: \"Accept\" } }", "`Accept` is no header's name in lower case"),
        ("cache = { ttl: {} invalidated_by: { rpc: \"a.B/*\" } }", "`a.B/*` is no method: write pkg.Service/Method"),
        ("auth = { public: true scopes: \"x\" }", "it can be one of the two"),
        ("auth = { scopes: \"x y\" }", "a scope has no space within"),
        ("headers.request = \"X-Tenant\"", "`X-Tenant` is no header's name in lower case"),
    ] {
        let problems = compiled(OPTIONS, "", &format!("option (transom.method).{option};")).unwrap_err();
        assert!(problems[0].message.contains(wrong), "{problems:?}");
        assert_eq!((&*problems[0].file, &*problems[0].symbol), ("a.proto", "p.S.Get"));
    }
}

#[test]
fn an_option_of_a_newer_version_is_a_problem_and_not_ignored() {
    let newer = OPTIONS
        .replace("message Output {", "message Output { bool pretty = 99;")
        .replace("message ServicePolicy {", "message ServicePolicy { string owner = 98;");
    let problems = compiled(&newer, "", "option (transom.method).output.pretty = true;").unwrap_err();
    assert!(problems[0].message.contains("(transom.method) has a field 99"), "{problems:?}");
    let newer = OPTIONS.replace("message Vary {", "message Vary { bool all = 97;");
    let problems =
        compiled(&newer, "", "option (transom.method).cache = { ttl: {} vary: { all: true } };").unwrap_err();
    assert!(problems[0].message.contains("(transom.method) has a field 97"), "{problems:?}");
    let newer = OPTIONS.replace("message ServicePolicy {", "message ServicePolicy { string owner = 98;");
    let problems = compiled(&newer, "option (transom.service).owner = \"x\";", "").unwrap_err();
    assert!(problems[0].message.contains("(transom.service) has a field 98"), "{problems:?}");
}
