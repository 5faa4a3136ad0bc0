//! What parses, what does not, and what is said of it.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{
    Balance, Config, Endpoint, Expose, Problems, PublicEndpoint, UnknownFields, Workers, json_schema, parse, reference,
};

const MINIMAL: &str = "\
schema: { descriptor_sets: [a.binpb] }
upstreams:
  books:
    services: [library.Books]
    endpoints: [localhost:50051]
";

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
    assert_eq!(books.endpoints, [Endpoint { host: "localhost".into(), port: 50051 }]);
    assert_eq!((books.timeout, books.connections, books.balance), (Duration::from_secs(5), 2, Balance::RoundRobin));
    assert_eq!((books.limits.in_flight, books.limits.receive, books.limits.send), (1000, 4 << 20, 4 << 20));
    assert_eq!(books.health_check, None);
    assert!(!books.required);
}
