//! What parses, and what is made of it.

mod problems;
mod published;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::read::{Key, Reader, Section};
use super::{
    Balance, Config, Endpoint, Expose, Network, Problems, PublicEndpoint, UnknownFields, Workers, json_schema, kind,
    parse, reference,
};

const MINIMAL: &str = "\
schema: { descriptor_sets: [a.binpb] }
upstreams:
  books:
    services: [library.Books]
    endpoints: [localhost:50051]
";

const FULL: &str = r#"
listen: 0.0.0.0:${PORT:-3000}
workers: 4
admin: { listen: "[::1]:9091", token: "${ADMIN_TOKEN:-}" }
public_endpoints: [health, health_detailed, metrics, reflection]
trusted_proxies: [10.0.0.0/8, "fd00::/8", 127.0.0.1]
drain_timeout: 1m30s
schema:
  protos: [proto]
  descriptor_sets: [descriptors/a.binpb, /absolute/b.binpb]
  reflection: [books]
  reflection_interval: 5s
  expose: all
upstreams:
  books:
    services: [library.Books, library.Loans]
    endpoints: [books-1:50051, { address: "[::1]:50052" }, "${MORE:-10.0.0.1:1, 10.0.0.2:2}", http://books-3:50053/]
    health_name: books-service
    balance: round_robin
    health_check: { interval: 30000ms, timeout: 2s, service: library.Books }
    timeout: ${TIMEOUT:-2500}ms
    connections: 4
    limits: { in_flight: 50, receive: "${RECEIVE:-1048576}", send: 2MiB }
    required: true
methods:
  "library.Books/*": { timeout: 10s, unknown_fields: ignore }
  "library.Books/GetBook":
    output: { emit_defaults: true, enums_as_numbers: false, proto_names: true, int64_as_numbers: true }
    limits: { body: 64KiB }
"#;

fn read(text: &str) -> Result<Config, Problems> {
    parse(text, &|_| None)
}

fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    parse(text, &|name| variables.get(name).map(|value| (*value).to_owned()))
}

/// The problems, a line each.
fn problems(text: &str) -> Vec<String> {
    let problems = read(text).expect_err("a wrong configuration");
    problems.iter().map(ToString::to_string).collect()
}

fn endpoint(host: &str, port: u16) -> Endpoint {
    Endpoint::at(host, port)
}

#[test]
fn a_minimal_file_has_the_documented_defaults() {
    let config = read(MINIMAL).expect("valid");

    assert_eq!(config.listen, "0.0.0.0:3000".parse().expect("address"));
    assert_eq!(config.workers, Workers::Cores);
    assert_eq!(config.admin.listen, "127.0.0.1:9090".parse().expect("address"));
    assert_eq!(config.admin.token, None);
    assert_eq!(config.public_endpoints, [PublicEndpoint::Health]);
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.schema.expose, Expose::Annotated);
    let books = &config.upstreams["books"];
    assert_eq!(books.endpoints, [endpoint("localhost", 50051)]);
    assert_eq!(
        (books.timeout, books.connections, books.balance.clone()),
        (Duration::from_secs(5), 2, Balance::RoundRobin)
    );
    assert_eq!((books.limits.in_flight, books.limits.receive, books.limits.send), (1000, 4 << 20, 4 << 20));
    assert_eq!(books.health_check, None);
    assert!(!books.required);
}

#[test]
fn every_key_has_its_effect() {
    let config = read(FULL).expect("valid");

    assert_eq!(config.workers, Workers::Count(4));
    assert_eq!(config.admin.listen, "[::1]:9091".parse().expect("address"));
    assert_eq!(
        config.public_endpoints,
        [PublicEndpoint::Health, PublicEndpoint::HealthDetailed, PublicEndpoint::Metrics, PublicEndpoint::Reflection]
    );
    let network = |address: &str, prefix| Network { address: address.parse().expect("address"), prefix };
    assert_eq!(config.trusted_proxies, [network("10.0.0.0", 8), network("fd00::", 8), network("127.0.0.1", 32)]);
    assert_eq!(config.drain_timeout, Duration::from_secs(90));
    assert_eq!(config.schema.expose, Expose::All);
    assert_eq!(
        (&*config.schema.reflection, config.schema.reflection_interval),
        (&["books".to_owned()][..], Duration::from_secs(5))
    );
    let books = &config.upstreams["books"];
    assert_eq!(books.services, ["library.Books", "library.Loans"]);
    assert_eq!(
        books.endpoints,
        [
            endpoint("books-1", 50051),
            endpoint("::1", 50052),
            endpoint("10.0.0.1", 1),
            endpoint("10.0.0.2", 2),
            endpoint("books-3", 50053),
        ]
    );
    assert_eq!(books.health_name.as_deref(), Some("books-service"));
    let check = books.health_check.as_ref().expect("a health check");
    assert_eq!((check.interval, check.timeout), (Duration::from_secs(30), Duration::from_secs(2)));
    assert_eq!((check.service.as_str(), check.unhealthy_after), ("library.Books", 2));
    assert_eq!((books.timeout, books.connections), (Duration::from_millis(2500), 4));
    assert_eq!((books.limits.in_flight, books.limits.receive, books.limits.send), (50, 1 << 20, 2 << 20));
    assert!(books.required);
    let all = &config.methods["library.Books/*"];
    assert_eq!((all.timeout, all.unknown_fields), (Some(Duration::from_secs(10)), Some(UnknownFields::Ignore)));
    let one = &config.methods["library.Books/GetBook"];
    assert_eq!(one.timeout, None);
    assert_eq!((one.output.emit_defaults, one.output.enums_as_numbers), (Some(true), Some(false)));
    assert_eq!((one.output.proto_names, one.output.int64_as_numbers), (Some(true), Some(true)));
    assert_eq!(one.limits.body, Some(64 << 10));
}

#[test]
fn variables_are_values_and_never_structure() {
    let variables = [("PORT", "8080"), ("MORE", "a:1"), ("ADMIN_TOKEN", "x, y: {z}"), ("TIMEOUT", "7")];
    let config = read_with(FULL, &variables).expect("valid");

    assert_eq!(config.listen.port(), 8080);
    assert_eq!(config.upstreams["books"].endpoints[2], endpoint("a", 1));
    assert_eq!(config.admin.token.as_deref(), Some("x, y: {z}"));
    assert_eq!(config.upstreams["books"].timeout, Duration::from_millis(7));
}

#[test]
fn a_value_that_is_empty_after_expansion_is_absent() {
    let text = format!(
        "{MINIMAL}listen: ${{LISTEN:-}}\nadmin: {{ token: \"${{TOKEN:-}}\" }}\nworkers: ~\ndrain_timeout: ''\n"
    );
    let config = read(&text).expect("valid");

    assert_eq!(config.listen.port(), 3000);
    assert_eq!(config.admin.token, None);
    assert_eq!(config.workers, Workers::Cores);
}

#[test]
fn aliases_and_merges_share_keys() {
    let config = read(
        "\
schema: { protos: proto }
upstreams:
  a: &base
    services: [a.A]
    endpoints: &hosts [h:1, h:2]
    timeout: 1s
  b:
    timeout: 2s
    <<: *base
    services: [b.B]
  c: { services: [c.C], endpoints: *hosts }
",
    )
    .expect("valid");

    assert_eq!(config.upstreams["b"].endpoints, config.upstreams["a"].endpoints);
    assert_eq!(config.upstreams["b"].timeout, Duration::from_secs(2));
    assert_eq!(config.upstreams["b"].services, ["b.B"]);
    assert_eq!(config.upstreams["c"].endpoints.len(), 2);
    assert_eq!(config.schema.protos, [PathBuf::from("proto")]);
}

#[test]
fn the_source_has_lines_and_no_secrets() {
    let secret = |written: &str| format!("{MINIMAL}admin:\n  token: {written} # comment\n");
    let config = read(&secret("hunter2")).expect("valid");
    assert_eq!(config.source.text(), secret("\"***\""));
    assert_eq!(config.source.line("upstreams.books.endpoints"), Some(5));
    assert_eq!(config.source.line("admin.token"), Some(7));
    assert_eq!(config.source.line("listen"), None);

    let shown = |text: &str| read_with(text, &[("T", "hunter2")]).expect("valid").source.text().to_owned();
    assert_eq!(shown(&secret("'hunter2'")), secret("\"***\""));
    assert_eq!(shown(&secret("${U:-hunter2}")), secret("\"***\""));
    assert_eq!(shown(&secret("\"${T}\"")), secret("\"${T}\""));
    let anchored = format!("x: &x hunter2\n{}", secret("*x"));
    assert!(read(&anchored).is_err(), "unknown key x");
}

#[test]
fn networks_hold_their_addresses() {
    let network = |text: &str, prefix| Network { address: text.parse().expect("address"), prefix };
    let holds = |network: Network, address: &str| network.contains(address.parse().expect("address"));
    assert!(holds(network("10.0.0.0", 8), "10.255.0.1"));
    assert!(holds(network("10.0.0.0", 8), "::ffff:10.1.1.1"));
    assert!(!holds(network("10.0.0.0", 8), "11.0.0.1"));
    assert!(!holds(network("10.0.0.0", 8), "fd00::1"));
    assert!(holds(network("0.0.0.0", 0), "8.8.8.8"));
    assert!(holds(network("fd00::", 8), "fdff::1"));
    assert!(!holds(network("::1", 128), "::2"));
}

/// Every section that a document can have.
fn sections(keys: Vec<Key>, found: &mut Vec<Vec<Key>>) {
    fn below(shape: &kind::Shape, found: &mut Vec<Vec<Key>>) {
        match shape {
            kind::Shape::Section(keys) => sections(keys(), found),
            kind::Shape::Map(_, value) | kind::Shape::List(value) | kind::Shape::Several(value) => below(value, found),
            kind::Shape::Either(first, second) => {
                below(first, found);
                below(second, found);
            }
            _ => {}
        }
    }
    for key in &keys {
        below(&key.shape, found);
    }
    found.push(keys);
}

#[test]
fn every_key_is_documented_and_published() {
    let mut found = Vec::new();
    sections(Config::keys(), &mut found);
    assert!(found.len() > 20, "the walk reaches the sections below the first");
    let (reference, schema) = (reference(), json_schema());
    for key in found.iter().flatten() {
        assert!(key.doc.iter().any(|line| line.trim().ends_with(['.', '`'])), "`{}` has no doc comment", key.name);
        assert!(reference.contains(&format!("| `{}` |", key.name)), "{}", key.name);
        assert!(schema.contains(&format!("\"{}\": {{", key.name)), "{}", key.name);
    }
    serde_json::from_str::<serde_json::Value>(&schema).expect("JSON");
}

#[test]
fn the_examples_are_as_the_schema_says() {
    let schema: Json = serde_json::from_str(&json_schema()).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for example in ["booking/transom.yaml", "booking/bench.yaml", "sessions/transom.yaml"] {
        let text = std::fs::read_to_string(root.join(example)).unwrap();
        assert_eq!(published::wrong(&schema, &published::yaml(&text)), None, "{example}");
    }
    let config = |more: &str| published::yaml(&format!("upstreams: {{ a: {{ endpoints: ['h:1'] }} }}\n{more}"));
    // The pages' own, whole or in parts.
    for page in ["README.md", "docs/OPERATIONS.md"] {
        let text = std::fs::read_to_string(root.with_file_name(page)).unwrap();
        let blocks: Vec<_> = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!blocks.is_empty(), "{page}");
        for block in blocks {
            let whole = if block.contains("\nupstreams:") { published::yaml(block) } else { config(block) };
            assert_eq!(published::wrong(&schema, &whole), None, "{page}: {block}");
        }
    }
    for right in ["headers:", "hosts:", "auth: { invalid_status: 498 }", "auth: { invalid_status: '498' }"] {
        assert_eq!(published::wrong(&schema, &config(right)), None, "{right}");
    }
    for wrong in ["listn: x", "workers: [1]", "auth: { invalid_status: 499 }", "drain_timeout: {}"] {
        assert!(published::wrong(&schema, &config(wrong)).is_some(), "{wrong}");
    }
}

#[test]
fn every_section_reads_its_defaults() {
    fn hold<S: Section>() {
        let mut reader = Reader::default();
        let _: S = reader.section(1, &[]);
        assert!(reader.problems.iter().all(|problem| problem.message.starts_with("is missing")));
        let keys: HashSet<_> = S::keys().iter().map(|key| key.name).collect();
        assert!(S::ABSENT.iter().all(|absent| !keys.contains(absent)), "a key that is told not to be supported");
    }
    hold::<Config>();
    hold::<super::Admin>();
    hold::<super::Auth>();
    hold::<super::Jwt>();
    hold::<super::Verify>();
    hold::<super::TokenType>();
    hold::<super::auth::SourceKeys>();
    hold::<super::Requirements>();
    hold::<super::Schema>();
    hold::<super::Upstream>();
    hold::<super::Tls>();
    hold::<super::Clients>();
    hold::<super::Keepalive>();
    hold::<super::UpstreamTls>();
    hold::<super::endpoint::EndpointKeys>();
    hold::<super::Dns>();
    hold::<super::Subset>();
    hold::<super::Canary>();
    hold::<super::Cluster>();
    hold::<super::HealthCheck>();
    hold::<super::UpstreamLimits>();
    hold::<super::Method>();
    hold::<super::Output>();
    hold::<super::MethodLimits>();
    hold::<super::Headers>();
    hold::<super::HttpRule>();
    hold::<super::AdditionalBinding>();
    hold::<super::CustomPattern>();
    hold::<super::RateLimit>();
    hold::<super::rate::ByKeys>();
    hold::<super::Penalty>();
    hold::<super::Redis>();
    hold::<super::Sessions>();
    hold::<super::AccessCookie>();
    hold::<super::RefreshCookie>();
    hold::<super::Cors>();
    hold::<super::CircuitBreaker>();
}

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIG.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, reference()).expect("docs/CONFIG.md written");
    }
    let written = std::fs::read_to_string(&path).expect("docs/CONFIG.md");
    assert!(written == reference(), "docs/CONFIG.md is old; UPDATE_DOCS=1 cargo test reference_is_current writes it");
}

proptest! {
    #[test]
    fn no_text_panics(text in "[ -~\n]{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_mutation_panics(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[-{}\\[\\]:,&*!|>'\"#%@`$a0 \n\t\u{e9}]{0,6}"), 1..8)
    ) {
        let mut text: Vec<char> = FULL.chars().collect();
        for (at, removed, inserted) in edits {
            let start = at.index(text.len().max(1)).min(text.len());
            let end = (start + removed).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = read(&text) {
            let lines = text.lines().count() + 1;
            for problem in problems.iter() {
                prop_assert!((1..=lines).contains(&problem.line), "{problem} of {lines} lines");
                prop_assert!(!problem.message.is_empty());
            }
        }
    }
}

#[test]
fn each_upstream_is_known_for_its_health_by_a_name_of_its_own() {
    let with = |first: &str, second: &str| {
        let keys = |name: &str| if name.is_empty() { String::new() } else { format!(", health_name: {name}") };
        let (first, second) = (keys(first), keys(second));
        format!(
            "schema: {{ descriptor_sets: [a] }}\nupstreams:\n  a: {{ endpoints: [a:1]{first} }}\n  b: {{ endpoints: [b:1]{second} }}\n"
        )
    };
    for (first, second) in [("", ""), ("x", "y"), ("a", "b"), ("x", "")] {
        assert!(read(&with(first, second)).is_ok(), "{first} {second}");
    }
    for (first, second, problem) in [
        ("x", "x", "4: upstreams.b.health_name: `x` is the name of `upstreams.a` already; choose another"),
        ("b", "", "3: upstreams.a.health_name: `b` is the upstream `upstreams.b` itself; choose another"),
        ("b", "x", "3: upstreams.a.health_name: `b` is the upstream `upstreams.b` itself; choose another"),
    ] {
        assert_eq!(problems(&with(first, second)), [problem], "{first} {second}");
    }
}

#[test]
fn a_slow_start_is_for_turns_and_not_for_places() {
    let with = |balance: &str| format!("{MINIMAL}    slow_start: {{}}\n    balance: {balance}\n");
    assert!(read(&with("least_request")).is_ok());
    let told = problems(&with("{ hash: { client: true } }"));
    assert!(told.len() == 1 && told[0].contains("upstreams.books.slow_start: is of no use"), "{told:#?}");
}

#[test]
fn http_rules_are_those_of_a_service_configuration() {
    let rules = |list: &str| MINIMAL.replace("a.binpb]", &format!("a.binpb], http_rules: [{list}]"));
    let config =
        read(&rules("{ selector: a.B.C, custom: { kind: LOOK, path: '/v1/{x=a/*}' }, body: '*' }")).expect("valid");
    assert_eq!(config.schema.http_rules[0].patterns(), [("LOOK", "/v1/{x=a/*}")]);
    for (list, problem) in [
        ("{ selector: a.B/C, get: /x }", "has a slash; write `a.B.C`"),
        ("{ selector: a.B.*, get: /x }", "is a pattern, but a path leads to one method"),
        ("{ selector: a, get: /x }", "is not a method"),
        ("{ selector: a.B.C }", "has 0 patterns"),
        ("{ selector: a.B.C, get: /x, put: /y }", "has 2 patterns"),
        ("{ selector: a.B.C, get: /x, additional_bindings: [{ body: x }] }", "additional_bindings[0]: has 0 patterns"),
        ("{ selector: a.B.C, get: /x }, { selector: a.B.C, get: /y }", "`schema.http_rules[0]` is for this method too"),
        ("{ selector: a.B.C, custom: { kind: 'a b', path: /x } }", "is not an HTTP method"),
        ("{ selector: a.B.C, custom: { kind: Get, path: /x } }", "is not GET, for methods differ by case"),
        ("{ selector: a.B.C, custom: { kind: CONNECT, path: /x } }", "asks for a tunnel"),
        ("{ get: /x }", "selector: is missing"),
    ] {
        let told = problems(&rules(list));
        assert!(told.len() == 1 && told[0].contains(problem), "{list}: {told:#?}");
    }
}
