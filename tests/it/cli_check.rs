//! `transom check`, as a user runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the command in the package's folder, without this process's variables.
fn transom(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(arguments)
        .env_clear()
        .env("JWT_SECRET", "the secret of these tests, 32 bytes")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the command runs")
}

fn check(file: &Path) -> (Option<i32>, Vec<String>) {
    let output = transom(&["check", "--config", file.to_str().expect("UTF-8")]);
    let prefix = format!("{}:", file.display());
    let lines = String::from_utf8(output.stderr).expect("UTF-8");
    (output.status.code(), lines.lines().map(|line| line.replacen(&prefix, "FILE:", 1)).collect())
}

#[test]
fn a_right_file_has_no_problems() {
    let output = transom(&["check", "--config", "examples/booking/transom.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"examples/booking/transom.yaml: no problems\n");
    assert!(output.stderr.is_empty());
}

#[test]
fn a_wrong_file_has_a_line_for_every_problem() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("transom.yaml");
    fs::write(&file, "listen: :3000\nschema: { protos: [] }\nupstreams:\n  a: { service: [a.A], endpoints: [h] }\n")
        .expect("written");
    let (code, lines) = check(&file);
    assert_eq!(code, Some(1));
    assert_eq!(
        lines,
        [
            "FILE:1: listen: `:3000` is not an address to listen on; write `0.0.0.0:3000`",
            "FILE:4: upstreams.a.endpoints[0]: `h` is not an endpoint; its port is missing; write `host:port`",
            "FILE:4: upstreams.a.service: unknown key; did you mean `services`?",
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, lines) = check(&folder.path().join("none.yaml"));
    assert_eq!((code, lines.len()), (Some(1), 1));
    assert!(lines[0].starts_with("FILE: cannot be read: "), "{lines:?}");

    let binary = folder.path().join("binary.yaml");
    fs::write(&binary, [0xff, 0xfe, 0x00]).expect("written");
    assert_eq!(check(&binary), (Some(1), vec!["FILE: cannot be read: it is not UTF-8".to_owned()]));

    let endless = Path::new("/dev/zero");
    assert_eq!(check(endless).0, Some(1));
}

#[test]
fn the_exit_code_needs_no_stderr() {
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let status = Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(["check", "--config", "/nowhere/transom.yaml"])
        .stderr(full)
        .status()
        .expect("the command runs");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_secret_that_can_be_guessed_is_a_note() {
    let run = |secret: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_transom"))
            .args(["check", "--config", "examples/booking/transom.yaml"])
            .env_clear()
            .env("JWT_SECRET", secret)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("the command runs");
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let note = "note: auth.jwt.secret is shorter than 32 bytes: it can be guessed from one token (RFC 7518 §3.2)\n";
    assert!(run("short").starts_with(note), "{}", run("short"));
    assert!(!run(&"x".repeat(32)).contains("note"), "{}", run(&"x".repeat(32)));
}

#[test]
fn that_everybody_is_a_proxy_is_a_note() {
    let told = |proxies: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_transom"))
            .args(["check", "--config", "examples/booking/transom.yaml"])
            .env_clear()
            .envs([("JWT_SECRET", "the secret of these tests, 32 bytes"), ("TRUSTED_PROXIES", proxies)])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("the command runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    for wide in ["0.0.0.0/0", "::/0", "0.0.0.0/1"] {
        assert!(told(wide).starts_with(&format!("note: trusted_proxies: who calls from {wide} is believed")), "{wide}");
    }
    for private in ["10.0.0.0/8", "fc00::/7", "127.0.0.1"] {
        assert!(!told(private).contains("note"), "{private}");
    }
}

#[test]
fn what_has_no_effect_is_a_note() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("transom.yaml");
    let notes = |keys: &str| {
        let (keys, overload) = keys.split_once("; ").unwrap_or((keys, ""));
        let upstream =
            format!("{{ services: [], endpoints: [{{ address: 'h:1', labels: {{ version: a }} }}], {keys} }}");
        let written = format!("schema: {{ protos: [] }}\nupstreams: {{ a: {upstream} }}\n{overload}\n");
        fs::write(&file, written).expect("written");
        let output = transom(&["check", "--config", file.to_str().expect("UTF-8")]);
        assert_eq!(output.status.code(), Some(0), "{keys}: {}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8(output.stdout).expect("UTF-8");
        let told = told.lines().filter(|line| line.starts_with("note:") && !line.contains("serves nothing"));
        told.map(str::to_owned).collect::<Vec<_>>()
    };
    for (keys, note) in [
        ("retry: { attempts: 1, hedge: 10ms }", "retry.hedge has no effect: it is one of the `attempts`, which are 1"),
        ("retry: { per_try_timeout: 5s }", "retry.per_try_timeout has no effect on unary calls: their `timeout` is 5s"),
        (
            "retry: { backoff: 1s, max_backoff: 10ms }",
            "retry.backoff has no effect: no pause is longer than `max_backoff`, 10ms",
        ),
        ("connections: 8, max_connections: 2", "max_connections has no effect: 8 `connections` are made in any case"),
        (
            "outlier_ejection: { max_ejected: 0% }",
            "outlier_ejection has no effect: `max_ejected: 0%` lets nobody be ejected",
        ),
        ("subset: { label: v, header: x-v }", "subset.label: no endpoint has a label `v`: write it in its `labels`"),
    ] {
        assert_eq!(notes(keys), [format!("note: upstreams.a.{note}")]);
    }
    assert_eq!(
        notes("connections: 2; overload: { in_flight: 9, in_flight_per_client: 9 }"),
        ["note: overload.in_flight_per_client has no effect: `in_flight` is 9"]
    );
    let right = [
        "connections: 2; overload: { in_flight: 9, in_flight_per_client: 8 }",
        "retry: { hedge: 10ms, per_try_timeout: 4s }, outlier_ejection: {}, subset: { label: version, header: x-v }",
        "connections: 16, retry: { attempts: 1 }",
    ];
    for keys in right {
        assert_eq!(notes(keys), [""; 0], "{keys}");
    }
    let (code, lines) = {
        let written = "schema: { protos: [] }\nupstreams:\n  a: { endpoints: ['h:1'], balance: weighted }\n";
        fs::write(&file, written).expect("written");
        check(&file)
    };
    assert_eq!(code, Some(1));
    let told = "FILE:3: upstreams.a.balance: `weighted` is not known here; write `round_robin`, and `{address, weight}` among the `endpoints`";
    assert_eq!(lines, [told]);
}

#[test]
fn an_environment_is_production_or_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("transom.yaml");
    let told = |environment: &str| {
        let rest = "schema: { protos: [] }\nupstreams: { a: { endpoints: ['h:1'] } }\n";
        fs::write(&file, format!("environment: {environment}\n{rest}")).expect("written");
        check(&file).1
    };
    for wrong in ["prodution", "Production", "PROD", "prd", "product"] {
        let expected =
            format!("FILE:1: environment: `{wrong}` would be development; write `production` if that is meant");
        assert_eq!(told(wrong), [expected]);
    }
    for right in ["production", "development", "test", "staging", "local"] {
        assert_eq!(told(right), [""; 0], "{right}");
    }
}

#[test]
fn the_schema_is_json() {
    let output = transom(&["check", "--schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(schema["properties"]["upstreams"]["additionalProperties"]["required"][0], "endpoints");
}

#[test]
fn a_wrong_command_line_is_usage() {
    for arguments in [&[][..], &["check"], &["chekc"], &["check", "--config"], &["check", "--config", "a", "--schema"]]
    {
        assert_eq!(transom(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// A folder with a configuration and one .proto file; what `check` says of it, paths shortened.
fn check_protos(config: &str, proto: &str) -> (Option<i32>, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("transom.yaml");
    fs::create_dir(folder.path().join("protos")).expect("a folder");
    fs::write(folder.path().join("protos/a.proto"), proto).expect("written");
    fs::write(&file, config).expect("written");
    let (code, lines) = check(&file);
    let folder = format!("{}/", folder.path().display());
    (code, lines.into_iter().map(|line| line.replace(&folder, "")).collect())
}

const UPSTREAM: &str = "schema: { protos: protos }\nupstreams:\n  a: { services: [a.S], endpoints: ['h:1'] }\nmethods: { a.S/Gte: {}, a.T/*: {} }\n";

#[test]
fn what_serve_would_refuse_of_the_schema_is_told() {
    let proto = |options: [&str; 2]| {
        format!(
            "syntax = \"proto3\";\npackage a;\nimport \"google/api/annotations.proto\";\nmessage M {{ string id = 1; }}\n\
             service S {{\n  rpc Get(M) returns (M) {{ option (google.api.http) = {{ {} }}; }}\n\
             rpc Find(M) returns (M) {{ option (google.api.http) = {{ {} }}; }}\n}}\nservice T {{}}\n",
            options[0], options[1]
        )
    };
    let (code, lines) = check_protos(UPSTREAM, &proto(["get: \"/v1/{id}/\"", "get: \"/v1/{nothing}\""]));
    assert_eq!(code, Some(1));
    let has = |start: &str| assert!(lines.iter().any(|line| line.starts_with(start)), "{start} is not in {lines:#?}");
    has("FILE:4: methods[\"a.S/Gte\"]: no loaded schema has the method `Gte`; did you mean `Get`?");
    has("FILE:4: methods[\"a.T/*\"]: no upstream serves `a.T`; add it to the `services` of one, or remove this");
    has("protos/a.proto:6: a.S.Get, column ");
    has("protos/a.proto:7: a.S.Find");
    assert_eq!(lines.len(), 4, "{lines:#?}");

    let (code, lines) = check_protos(UPSTREAM, &proto(["get: \"/v1/{id}\"", "get: \"/v1/{id=*}\""]));
    assert_eq!((code, lines.len()), (Some(1), 3));
    assert!(lines.iter().any(|line| line.contains("a.S") && line.contains("/v1/{id=*}")), "{lines:#?}");

    let (code, lines) = check_protos(UPSTREAM, "syntax = \"proto3\";\nmessage M { Missing m = 1; }\n");
    assert_eq!(code, Some(1));
    assert!(lines[0].starts_with("protos/a.proto:2:13: name 'Missing' is not defined"), "{lines:#?}");
    assert_eq!(lines[1..], ["FILE: more may follow once these are mended"]);
}

#[test]
fn problems_of_the_text_hide_none_of_what_it_names() {
    let proto = "syntax = \"proto3\";\npackage a;\nmessage M {}\nservice S { rpc Get(M) returns (M); }\nservice T {}\n";
    let (code, lines) = check_protos(&format!("lisen: 1\n{UPSTREAM}"), proto);
    assert_eq!(code, Some(1));
    assert_eq!(
        lines,
        [
            "FILE:1: lisen: unknown key; did you mean `listen`?",
            "FILE:5: methods[\"a.S/Gte\"]: no loaded schema has the method `Gte`; did you mean `Get`?",
            "FILE:5: methods[\"a.T/*\"]: no upstream serves `a.T`; add it to the `services` of one, or remove this",
        ]
    );

    // What only follows from a problem is not told; that there may be more is.
    let (_, lines) = check_protos(&UPSTREAM.replace("services", "servces"), proto);
    assert_eq!(
        lines,
        [
            "FILE:3: upstreams.a.servces: unknown key; did you mean `services`?",
            "FILE: more may follow once these are mended",
        ]
    );
    // Nor is what another entry has no say in.
    let config = "schema: { protos: protos }\nupstreams:\n  a: { services: [a.S], endpoints: ['h:1'], timeout: soon }\n\
                  methods:\n  a.S/Get: { timeout: soon, cache: { ttl: 1s } }\n  a.S/Gte: {}\n  a.T/*: {}\n";
    let (_, lines) = check_protos(config, proto);
    let starts = [
        "FILE:3: upstreams.a.timeout: `soon` ",
        "FILE:5: methods[\"a.S/Get\"].timeout: `soon` ",
        "FILE:6: methods[\"a.S/Gte\"]: no loaded schema has the method `Gte`",
        "FILE:7: methods[\"a.T/*\"]: no upstream serves `a.T`",
        "FILE: more may follow once these are mended",
    ];
    assert!(
        lines.len() == starts.len() && lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)),
        "{lines:#?}"
    );
    // Where it has one, it may follow.
    let (_, lines) = check_protos(
        &config.replace("a.S/Gte", "a.S/*").replace("soon, ", "1s, ").replace("{}", "{ timeout: soon }"),
        proto,
    );
    assert!(!lines.iter().any(|line| line.contains(".cache")), "{lines:#?}");

    let (_, lines) = check_protos("schema: { protos: protos }\nupstreams: [\n", proto);
    assert!(lines.len() == 2 && lines[1] == "FILE: more may follow once these are mended", "{lines:#?}");
}

#[test]
fn all_that_is_wrong_with_a_method_is_told_in_one_round() {
    let proto = "syntax = \"proto3\";\npackage a;\nimport \"google/api/annotations.proto\";\n\
                 import \"transom/options.proto\";\nmessage M { string id = 1; int32 n = 2; }\nservice S {\n\
                 rpc Get(M) returns (M) { option (google.api.http) = { post: \"/v1/{x}/{id}/{y}\" body: \"z\" }; }\n\
                 rpc Watch(M) returns (stream M) { option (transom.method) = { auth: { scopes: \"s\" } rate_limits: \"p\" rate_limits: \"q\"\n\
                 headers: { request: \"host\" response: \"date\" } cache: { ttl: { seconds: 1 } } }; }\n\
                 rpc Kept(M) returns (M) { option (google.api.http).get = \"/v1/kept\"; }\n}\n";
    let config = "schema: { protos: protos }\nupstreams:\n  a: { services: [a.S], endpoints: ['h:1'] }\nmethods:\n  \
                  a.S/Get: { sanitize: { x: [trim], n: [trim] } }\n  a.S/Watch: { fallback: { json: {} } }\n  \
                  a.S/Kept: { cache: { ttl: 1s, invalidated_by: [a.S/Watch] } }\n";
    let (code, lines) = check_protos(config, proto);
    assert_eq!(code, Some(1));
    let told = [
        "protos/a.proto:7: a.S.Get, column 6: POST /v1/{x}/{id}/{y}: the path binds `x`",
        "protos/a.proto:7: a.S.Get, column 15: POST /v1/{x}/{id}/{y}: the path binds `y`",
        "protos/a.proto:7: a.S.Get: POST /v1/{x}/{id}/{y}: body is `z`",
        "FILE:5: methods[\"a.S/Get\"].sanitize.x: ",
        "FILE:5: methods[\"a.S/Get\"].sanitize.n: ",
        "protos/a.proto:8: a.S.Watch: a.proto: a.S.Watch: (transom.method).auth: ",
        "protos/a.proto:8: a.S.Watch: a.proto: a.S.Watch: (transom.method).rate_limits: `rate_limits` of the configuration has no `p`",
        "protos/a.proto:8: a.S.Watch: a.proto: a.S.Watch: (transom.method).rate_limits: `rate_limits` of the configuration has no `q`",
        "protos/a.proto:8: a.S.Watch: a.proto: a.S.Watch: (transom.method).headers.request: `host` never crosses",
        "protos/a.proto:8: a.S.Watch: a.proto: a.S.Watch: (transom.method).headers.response: `date` never crosses",
        "FILE:6: methods[\"a.S/Watch\"].fallback: Watch streams",
        "protos/a.proto:8: a.S.Watch: option cache: it streams",
    ];
    for told in told {
        assert_eq!(lines.iter().filter(|line| line.starts_with(told)).count(), 1, "{told}: {lines:#?}");
    }
    assert_eq!(lines.len(), told.len(), "and nothing that follows from it: {lines:#?}");
}

#[test]
fn a_wish_that_cannot_be_is_told_once_and_where_it_is() {
    let proto = "syntax = \"proto3\";\npackage a;\nmessage M {}\nservice S { rpc Get(M) returns (M); }\nservice T {}\n";
    let config = |method: &str| UPSTREAM.replace("methods: { a.S/Gte: {}, a.T/*: {} }", method);
    for (method, told) in [
        ("methods: { a.S/Get: { auth: required } }", "FILE:4: methods[\"a.S/Get\"].auth: "),
        ("methods: { a.S/Get: { rate_limits: [nope] } }", "FILE:4: methods[\"a.S/Get\"].rate_limits[0]: "),
        ("methods: { a.S/*: { rate_limits: [nope] }, a.S/Get: {} }", "FILE:4: methods[\"a.S/*\"].rate_limits[0]: "),
    ] {
        let (code, lines) = check_protos(&config(method), proto);
        assert!(code == Some(1) && lines.len() == 1 && lines[0].starts_with(told), "{method}: {lines:#?}");
    }
}

#[test]
fn what_is_wrong_with_a_method_that_others_are_asked_by_is_told_once() {
    let proto = "syntax = \"proto3\";\npackage a;\nmessage M { string token = 1; string sub = 2; bool valid = 3; }\n\
                 service S { rpc Get(M) returns (M); }\nservice T {}\n";
    let methods =
        "methods: { a.S/Get: { auth: public, sanitize: { nope: [trim] } } }\nauth: { verify: { rpc: a.S/Get } }";
    let config = UPSTREAM.replace("methods: { a.S/Gte: {}, a.T/*: {} }", methods);
    let (code, lines) = check_protos(&config, proto);
    let told = "FILE:4: methods[\"a.S/Get\"].sanitize.nope: ";
    assert!(code == Some(1) && lines.len() == 1 && lines[0].starts_with(told), "{lines:#?}");
}

#[test]
fn names_are_told_apart_however_long_they_are() {
    let package = "acme.platform.hospitality.reservations.management.internal.v1beta1";
    let service = format!("{package}.ReservationManagementService");
    let proto = format!(
        "syntax = \"proto3\";\npackage {package};\nmessage M {{}}\nservice ReservationManagementService {{\n\
         rpc Get(M) returns (M);\nrpc Watch(M) returns (stream M);\n}}\n"
    );
    let config = |methods: &str| {
        format!(
            "schema: {{ protos: protos }}\nupstreams:\n  a: {{ services: [{service}], endpoints: ['h:1'] }}\nmethods:\n{methods}"
        )
    };
    // What is wished of all is left out where it cannot be.
    let of_all = format!("  {service}/*: {{ fallback: {{ json: {{}} }} }}\n");
    assert_eq!(check_protos(&config(&of_all), &proto), (Some(0), Vec::new()));
    let of_both = format!("{of_all}  {service}/Watch: {{}}\n  {service}/Get: {{ timeout: 1 }}\n");
    let (_, lines) = check_protos(&config(&of_both), &proto);
    assert!(lines.len() == 1 && lines[0].starts_with("FILE:7: methods[\"acme.platform."), "{lines:#?}");
    let of_one = format!("  {service}/Get: {{}}\n  {service}/Watch: {{ fallback: {{ json: {{}} }} }}\n");
    let (_, lines) = check_protos(&config(&of_one), &proto);
    assert!(lines.len() == 1 && lines[0].starts_with("FILE:6: ") && lines[0].contains("Watch streams"), "{lines:#?}");
}

/// A file that is broken hides nothing of those beside it, and what they miss of it is no problem of theirs.
#[test]
fn what_compiles_is_checked_beside_what_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken =
        "syntax = \"proto3\";\npackage a;\nmessage N { Missing m = 1; }\nservice T { rpc Put(N) returns (N); }\n";
    let importing = "syntax = \"proto3\";\npackage a;\nimport \"broken.proto\";\nmessage I { N n = 1; }\n";
    let sound = "syntax = \"proto3\";\npackage a;\nimport \"google/api/annotations.proto\";\n\
         import \"buf/validate/validate.proto\";\nimport \"transom/options.proto\";\n\
         message M { string id = 1 [(buf.validate.field).string.pattern = \"[\"]; }\n\
         service S {\n  rpc Get(M) returns (M) { option (google.api.http) = { get: \"/v1/{nothing}\" }; }\n  \
         rpc Find(M) returns (M) {\n    option idempotency_level = NO_SIDE_EFFECTS;\n    \
         option (transom.method) = { cache: { ttl: { seconds: 9 } public: true invalidated_by: [{ rpc: \"a.T/Put\" }] } };\n  }\n}\n";
    fs::create_dir(folder.path().join("protos")).expect("a folder");
    for (name, text) in [("broken", broken), ("importing", importing), ("sound", sound)] {
        fs::write(folder.path().join(format!("protos/{name}.proto")), text).expect("written");
    }
    let file = folder.path().join("transom.yaml");
    let config = "schema: { protos: protos }\nupstreams:\n  a: { services: [a.S, a.T], endpoints: ['h:1'] }\n\
                  methods: { a.T/Put: { timeout: 1s } }\n";
    let shown = format!("{}/", folder.path().display());
    for (config, first) in [(config.to_owned(), 0), (format!("lisen: 1\n{config}"), 1)] {
        fs::write(&file, config).expect("written");
        let lines: Vec<_> = check(&file).1.into_iter().map(|line| line.replace(&shown, "")).collect();
        assert_eq!(lines.len(), first + 4, "{lines:#?}");
        for expected in [
            "protos/broken.proto:3:13: name 'Missing' is not defined",
            "protos/sound.proto: a.M.id: ",
            "protos/sound.proto:8: a.S.Get, column ",
            "FILE: more may follow once these are mended",
        ] {
            assert!(lines.iter().any(|line| line.starts_with(expected)), "{expected}: {lines:#?}");
        }
    }
}

#[test]
fn files_that_are_not_there_are_told_together() {
    let config = "schema: { protos: [protos, empty], descriptor_sets: [nothere.binpb] }\nupstreams:\n  a:\n    endpoints: ['h:1']\n    \
                  tls: { ca: ca.crt }\ntls:\n  cert: no.crt\n  key: no.key\nauth: { jwt: { key: no.pem } }\n";
    let missing = "cannot be read: there is no such";
    for (text, first) in
        [(config.to_owned(), None), (format!("lisen: 1\n{config}"), Some("FILE:1: lisen: unknown key"))]
    {
        let (code, lines) = check_protos(&text, "syntax = \"proto3\";\nmessage M { Missing m = 1; }\n");
        assert_eq!(code, Some(1));
        let at = |line: usize| line + usize::from(first.is_some());
        let expected = [
            format!("FILE:{}: schema.descriptor_sets[0]: nothere.binpb: {missing} file; write the path of one", at(1)),
            format!("FILE:{}: schema.protos[1]: empty: {missing} folder; write one that holds", at(1)),
            "protos/a.proto:2:13: name 'Missing' is not defined".to_owned(),
            format!("FILE:{}: tls.cert: no.crt {missing} file", at(7)),
            format!("FILE:{}: tls.key: no.key {missing} file", at(8)),
            format!("FILE:{}: upstreams.a.tls.ca: ca.crt {missing} file", at(5)),
            format!("FILE:{}: auth.jwt.key: ", at(9)),
        ];
        for expected in expected.iter().map(String::as_str).chain(first) {
            assert_eq!(lines.iter().filter(|line| line.starts_with(expected)).count(), 1, "{expected}: {lines:#?}");
        }
        assert_eq!(lines.len(), 8 + usize::from(first.is_some()), "{lines:#?}");
        assert_eq!(lines.last().map(String::as_str), Some("FILE: more may follow once these are mended"));
    }
}

#[test]
fn a_service_registers_itself_by_its_proto() {
    let config = "schema: { protos: protos }\nupstreams: { a: { endpoints: ['h:1'] }, b: { endpoints: ['h:2'] } }\n";
    let proto = |upstream: &str, method: &str| {
        format!(
            "syntax = \"proto3\";\npackage a;\nimport \"google/api/annotations.proto\";\n\
             import \"transom/options.proto\";\nmessage M {{ string id = 1; }}\nservice S {{\n  \
             option (transom.service).upstream = \"{upstream}\";\n  \
             rpc Get(M) returns (M) {{ option (google.api.http) = {{ get: \"/v1/{{id}}\" }}; {method} }}\n}}\n"
        )
    };
    let written = |proto: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("transom.yaml");
        fs::create_dir(folder.path().join("protos")).expect("a folder");
        fs::write(folder.path().join("protos/a.proto"), proto).expect("written");
        fs::write(&file, config).expect("written");
        (folder, file)
    };
    let run = |command: &str, file: &Path| {
        let output = transom(&[command, "--config", file.to_str().expect("UTF-8")]);
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };

    let (_folder, file) = written(&proto("a", "option (transom.method) = { timeout: { seconds: 2 } };"));
    let (code, out, err) = run("routes", &file);
    assert_eq!(code, Some(0), "{err}");
    let row = out.lines().nth(1).expect("a route").split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        row,
        "GET /v1/{id} a.S/Get a 2s (a.proto: a.S.Get: (transom.method).timeout) public (default) none default"
    );
    let (_, out, _) = run("check", &file);
    assert!(out.starts_with("note: upstreams.b serves nothing"), "{out}");

    let (_folder, file) = written(&proto("", ""));
    let (code, out, _) = run("check", &file);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("note: no upstream serves a.S: name them in an upstream's `services`, or say"), "{out}");

    // Served, and of no use to anybody.
    let bare = "syntax = \"proto3\"; package a; service S { rpc Get(M) returns (M); } message M { string id = 1; }";
    let (folder, file) = written(bare);
    let config = fs::read_to_string(&file).expect("read");
    fs::write(&file, config.replace("{ a: { ", "{ a: { services: [a.S], ")).expect("written");
    let note = "note: clients reach no method of a.S: give them `google.api.http` rules, name them under `methods`, or say \
                `schema.expose: all`";
    for command in ["check", "routes"] {
        let (code, out, err) = run(command, &file);
        assert_eq!(code, Some(0), "{err}");
        assert!(out.lines().any(|line| line == note), "{out}");
    }
    let explained = transom(&["explain", "--config", file.to_str().expect("UTF-8"), "POST", "/a.S/Get"]);
    let why = String::from_utf8(explained.stderr).expect("UTF-8");
    assert!(why.contains("clients do not reach a.S/Get: "), "{why}");
    drop(folder);

    let (_folder, file) = written(&proto("aa", ""));
    let (code, out, _) = run("check", &file);
    assert_eq!(code, Some(0));
    let note =
        "note: a.proto: a.S: (transom.service).upstream names `aa`, which no upstream is called; did you mean `a`?";
    assert!(out.lines().any(|line| line == note), "{out}");

    let (_folder, file) = written(&proto("a", "option (transom.method).timeout = { seconds: -2 };"));
    let (code, _, err) = run("check", &file);
    assert_eq!(code, Some(1));
    assert!(err.contains("a.proto: a.S.Get: option (transom.method).timeout is not from 1 ms to 24 h"), "{err}");
}
