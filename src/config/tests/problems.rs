//! What does not parse, and what is said of it.

use super::super::{MAX_TEXT, parse};
use super::{problems, read};

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    let text = r#"
listen: :3000
workers: 0
adminn: {}
public_endpoints: [health, metric]
trusted_proxies: [10.0.0.1/8, 1.2.3]
drain_timeout: 30
schema: { expose: everything }
auth: { jwt: { secret: s, algorithms: [RS256] }, sources: cooky, inject: { sub: te } }
upstreams:
  booking:
    services: [.booking.BookingService, "booking/BookingService"]
    endpoints: [booking-1:50053, "booking-2", {address: "h:0", labels: {}}, https://h:1, "::1:50051"]
    timeout: 0s
    timeot: 1s
    limits: { recieve: 4MiB, send: 4MBytes }
    # Nothing is wrong here.
    required: yes
  other:
    services: [a.A, a.A]
    endpoints: ${OTHER}
  third:
    services: a.A
    endpoints: []
  "bad name":
    endpoints: h:1
methods:
  booking.BookingService: {}
  /booking.BookingService/Get: {}
  "booking.BookingService/Get": { unknown_fields: refused, timeout: [1s], timeout: 2s }
"#;
    assert_eq!(
        problems(text),
        [
            "2: listen: `:3000` is not an address to listen on; write `0.0.0.0:3000`",
            "3: workers: `0` is not `cores`, or a number from 1 to 256",
            "4: adminn: unknown key; did you mean `admin`?",
            "5: public_endpoints[1]: `metric` is not known here; did you mean `metrics`?",
            "6: trusted_proxies[0]: `10.0.0.1/8` has bits after its first 8; write `10.0.0.0/8`",
            "6: trusted_proxies[1]: `1.2.3` is not a network; write `10.0.0.0/8`, `fd00::/8` or one address",
            "7: drain_timeout: `30` has no unit; write `30ms` or `30s`",
            "8: schema.expose: `everything` is not known here; write `annotated` or `all`",
            "8: schema: names no source; write `descriptor_sets: [api.binpb]` or `protos: [proto]`",
            "9: auth.sources[0]: `cooky` is not a source; write `bearer`, `{cookie: NAME}` or `{query: NAME}`",
            "9: auth.inject.sub: `te` has a meaning of its own; choose another header",
            "9: auth.jwt: a secret is of HS256, HS384 or HS512; write the others for a `key` or `jwks`",
            "12: upstreams.booking.services[0]: `.booking.BookingService` starts with a dot; write `booking.BookingService`",
            "12: upstreams.booking.services[1]: `booking/BookingService` is not a service's full name; write `pkg.Service`",
            "13: upstreams.booking.endpoints[1]: `booking-2` is not an endpoint; its port is missing; write `host:port`",
            "13: upstreams.booking.endpoints[2].address: `h:0` is not an endpoint; its port is not a number from 1 to 65535",
            "13: upstreams.booking.endpoints[3]: `https://h:1` is not an endpoint; write `host:port`, and `tls` for the upstream",
            "13: upstreams.booking.endpoints[4]: `::1:50051` is not an endpoint; write an IPv6 address as `[::1]:50051`",
            "14: upstreams.booking.timeout: `0s` is not between `1ms` and `24h`",
            "15: upstreams.booking.timeot: unknown key; did you mean `timeout`?",
            "16: upstreams.booking.limits.send: `4MBytes` is not a size; write bytes, or a number and a unit: `4194304`, \
             `4MiB`, `64KiB`",
            "16: upstreams.booking.limits.recieve: unknown key; did you mean `receive`?",
            "18: upstreams.booking.required: `yes` is neither `true` nor `false`",
            "20: upstreams.other.services[1]: `a.A` is written twice; keep one",
            "21: upstreams.other.endpoints: the environment variable `OTHER` is not set; set it, or write `${OTHER:-default}`",
            "23: upstreams.third.services[0]: `a.A` is served by the upstream `other` already; keep one",
            "24: upstreams.third.endpoints: is empty; write a list, each item `host:port`, or a map",
            "25: upstreams[\"bad name\"]: is not a name; write 1 to 64 letters, digits, `-`, `_` or `.`",
            "28: methods[\"booking.BookingService\"]: names no method; write `booking.BookingService/*` for a service or \
             `booking/BookingService` for a method",
            "29: methods[\"/booking.BookingService/Get\"]: starts with a slash; write `booking.BookingService/Get`",
            "30: methods[\"booking.BookingService/Get\"].timeout: this key is already on line 30; keep one",
            "30: methods[\"booking.BookingService/Get\"].timeout: is a list; write a duration such as `5s`",
            "30: methods[\"booking.BookingService/Get\"].unknown_fields: `refused` is not known here; did you mean `refuse`?",
        ]
    );
}

/// What is wrong is told once, and not again by what would be wrong without it.
#[test]
fn a_problem_has_no_sequels() {
    let text = "
schema: { descriptor_sets: x, http_rules: [{ selector: a.S.B, get: '${NOPE}' }] }
upstreams: { a: { services: [a.S], endpoints: 'h:1', canary: { upstream: b, share: 10 } }, b: { endpoints: 'h:2' } }
auth: { jwt: { secret: '${NONE}' } }
sessions: { login: [a.S/B], issue: {} }
";
    let found = problems(text);
    let of = |place: &str| found.iter().filter(|problem| problem.contains(place)).count();
    assert_eq!((of("schema.http_rules[0]"), of("canary"), of("NONE"), of("to sign")), (1, 1, 1, 0), "{found:#?}");
}

#[test]
fn a_name_with_a_dot_has_its_lines() {
    let text = "
schema: { protos: [] }
upstreams:
  a.b:
    endpoints: ['h:1']
    services: [x.Y]
    balance: { hash: { client: true } }
    slow_start: {}
    tls: { cert: c.pem }
  c.d:
    endpoints: ['h:1']
    services: [x.Y]
";
    assert_eq!(
        problems(text),
        [
            "8: upstreams[\"a.b\"].slow_start: is of no use with `balance: hash`, where calls have their places; remove it",
            "9: upstreams[\"a.b\"].tls.cert: is of no use alone; write its `key` too",
            "12: upstreams[\"c.d\"].services[0]: `x.Y` is served by the upstream `a.b` already; keep one",
        ]
    );
}

#[test]
fn documents_that_are_none() {
    for (text, expected) in [
        ("", "1: upstreams: is missing; write a map, each key a name"),
        ("[]", "1: is a list; write a map with keys of listen, workers, tls, hosts, admin, public_endpoints"),
        ("a: [", "1: a[0]: this is not YAML: "),
        ("a: *x", "1: a: this is not YAML: while parsing node, found unknown anchor; put a text that begins with `*`"),
        ("port: 3000", "1: port: unknown key; did you mean `listen`?"),
        ("a: &x [*x]", "1: a[0]: an alias inside the value that it stands for"),
        ("listen: 1\n---\na: 1", "2: a second document starts here; write one"),
        ("%YAML 1.1\n---\na: 1", "1: this is not YAML: "),
        ("? [a]\n: b", "1: a key is a list or a map; write a text"),
        ("listen: !!str x", "1: listen: tags (`!…`) mean nothing here; remove the tag"),
        ("<<: 3", "1: `<<` takes an alias of a map, or a list of them"),
        ("\"a\\e[31m\": 1", "1: [\"a\\u{1b}[31m\"]: unknown key"),
        ("listen: x\0y", "1: "),
    ] {
        let problems = problems(text);
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{text:?}: {problems:#?}");
    }
}

#[test]
fn hostile_documents_end_early() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(","));
    }
    let deep = "[".repeat(100_000);
    let many = "a:\n".repeat(200_000);
    let long = " ".repeat(MAX_TEXT + 1);
    let values = format!("a: \"{}\"", "${BIG}".repeat(1000));
    let key = format!("methods: {{ {}: {{}} }}", "k".repeat(2000));
    let told = problems(&key).join("\n");
    assert!(told.contains("a key is longer than 1024 bytes"), "{told}");
    for text in [bomb, deep, many, long, values, key] {
        let problems = parse(&text, &|_| Some("x".repeat(100_000))).expect_err("too much");
        assert!(problems.iter().count() <= 100, "{} problems", problems.iter().count());
    }
    let many_problems: String = (0..1000).map(|n| format!("k{n}: 1\n")).collect();
    let problems = read(&many_problems).expect_err("unknown keys");
    assert_eq!((problems.iter().count(), problems.more()), (100, 902));
}

#[test]
fn what_is_told_is_true_and_leads_on() {
    let rest = "schema: { protos: [] }\nupstreams:\n  a: { endpoints: ['h:1']";
    let of_upstream = |keys: &str| problems(&format!("{rest}, {keys} }}"));
    for long in ["1000000h", "99999999999999h", "99999999999999999999s"] {
        let told = format!("3: upstreams.a.circuit_breaker.open_for: `{long}` is not between `1ms` and `1h`");
        assert_eq!(of_upstream(&format!("circuit_breaker: {{ open_for: {long} }}")), [told]);
    }
    let told = of_upstream("limits: { send: 99999999999GiB }");
    assert!(told[0].starts_with("3: upstreams.a.limits.send: `99999999999GiB` is not between "), "{told:?}");
    let beside = |key: &str| problems(&format!("{rest} }}\n{key}"));
    let told =
        "4: methods.nonsense: names no method; write `pkg.Service/Method`, or `pkg.Service/*` for all of a service";
    assert_eq!(beside("methods: { nonsense: {} }"), [told]);
    for (host, meant) in [
        ("5", "api.example.com"),
        ("a.5", "api.example.com"),
        ("300.1.1.1:80", "api.example.com"),
        ("https://a/b", "a"),
        ("https://A.example:8443?x", "a.example:8443"),
        ("https://5/", "api.example.com"),
    ] {
        let told = format!("4: hosts[0]: `{host}` is not a host; write its name alone: `{meant}`");
        assert_eq!(beside(&format!("hosts: ['{host}']")), [told]);
    }
    let right = read(&format!("{rest} }}\nhosts: [a5, 127.0.0.1, '127.0.0.1:8443', 5a.example.com]"));
    assert_eq!(right.expect("hosts").hosts.len(), 4);
}

#[test]
fn scopes_in_one_text_are_several() {
    let text = "upstreams: {}\nmethods:\n  a.B/*: { auth: { scopes: 'read write' } }\n";
    let problem =
        r#"3: methods["a.B/*"].auth.scopes[0]: `read write` are several scopes; write a list: `[read, write]`"#;
    assert!(problems(text).contains(&problem.to_owned()), "{:?}", problems(text));
}
