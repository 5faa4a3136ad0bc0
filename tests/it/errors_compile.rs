//! What a configuration and a schema have against each other is told all at once, each with its place.

use transom::gateway::Problem;
use transom::telemetry::Metrics;

use crate::support::gateway::{Builder, gateway};
use crate::support::protos::compile_text;

fn problems(builder: &Builder) -> Vec<String> {
    let problems = builder.compile(&Metrics::new()).err().unwrap_or_default();
    problems.iter().map(Problem::to_string).collect()
}

fn here() -> [String; 1] {
    ["127.0.0.1:1".to_owned()]
}

#[test]
fn names_that_no_schema_has_get_a_suggestion() {
    let builder = gateway()
        .descriptors("library")
        .upstream_at("library", "library.v1.Library", &here(), "")
        .upstream_at("other", "library.v1.Libary", &here(), "")
        .config("methods: { library.v1.Library/GetBok: {}, nothing.like.It/*: {} }");
    let problems = problems(&builder);
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(problems[0].contains("upstreams.other.services[0]"), "{problems:#?}");
    assert!(problems[0].contains("did you mean `library.v1.Library`?"), "{problems:#?}");
    assert!(problems[1].contains("did you mean `GetBook`?"), "{problems:#?}");
    assert!(problems[2].contains("nothing.like.It"), "{problems:#?}");
}

#[test]
fn what_no_token_sets_is_not_left_to_callers() {
    let told = |of_echo: &str| {
        let config = format!(
            "auth: {{ jwt: {{ secret: {} }} }}\nmethods:\n  library.v1.Library/*: {{ bind: {{ title: sub }} }}\n  \
             library.v1.Library/Echo: {{ {of_echo} }}",
            "s".repeat(32)
        );
        let builder = gateway().descriptors("library").upstream_at("library", "library.v1.Library", &here(), "");
        let all = problems(&builder.config(&config));
        all.into_iter().filter(|problem| problem.contains("Echo is public and has no claims")).collect::<Vec<_>>()
    };
    let problems = told("auth: public");
    assert!(problems.len() == 1 && problems[0].contains("methods[\"library.v1.Library/*\"].bind"), "{problems:#?}");
    assert_eq!(told("auth: public, bind: {}"), Vec::<String>::new());
    assert_eq!(told("auth: public, bind: { title: sub }").len(), 1);
    assert_eq!(told(""), Vec::<String>::new());
}

#[test]
fn a_rule_that_is_wrong_is_told_with_its_place() {
    let set = compile_text(
        "wrong.proto",
        r#"
        syntax = "proto3";
        package wrong.v1;
        import "google/api/annotations.proto";
        service Wrong {
          rpc Template(Message) returns (Message) { option (google.api.http) = { get: "/v1/{name}x" }; }
          rpc Variable(Message) returns (Message) { option (google.api.http) = { get: "/v1/{nome}" }; }
          rpc Body(Message) returns (Message) { option (google.api.http) = { post: "/v1/body" body: "boddy" }; }
          rpc Reply(Message) returns (Message) { option (google.api.http) = { get: "/v1/reply" response_body: "none" }; }
          rpc One(Message) returns (Message) { option (google.api.http) = { get: "/v1/same/{name}" }; }
          rpc Two(Message) returns (Message) { option (google.api.http) = { get: "/v1/same/{other}" }; }
          rpc Health(Message) returns (Message) { option (google.api.http) = { get: "/health" }; }
        }
        message Message { string name = 1; string other = 2; }
        "#,
    );
    let builder = gateway().descriptor_set(set).upstream_at("wrong", "wrong.v1.Wrong", &here(), "");
    let problems = problems(&builder);
    let of = |method: &str| {
        let symbol = format!("wrong.v1.Wrong.{method}");
        problems.iter().find(|problem| problem.contains(&symbol)).unwrap_or_else(|| panic!("{method}: {problems:#?}"))
    };
    assert!(of("Template").contains("wrong.proto") && of("Template").contains("column"), "{}", of("Template"));
    assert!(of("Variable").contains("column 6") && of("Variable").contains("nome"), "{}", of("Variable"));
    assert!(of("Body").contains("boddy"), "{}", of("Body"));
    assert!(of("Reply").contains("none"), "{}", of("Reply"));
    assert!(of("Two").contains("wrong.v1.Wrong/One"), "{}", of("Two"));
    assert!(of("Health").contains("gateway's own"), "{}", of("Health"));
    assert_eq!(problems.len(), 6, "{problems:#?}");
}

#[test]
fn rows_say_what_runs_and_where_each_value_comes_from() {
    let snapshot = gateway()
        .descriptors("library")
        .upstream_at("library", "library.v1.Library", &here(), "timeout: 3s")
        .config("methods: { library.v1.Library/Echo: { timeout: 1s }, library.v1.Library/Discuss: {} }")
        .compile(&Metrics::new())
        .unwrap();
    let rows = snapshot.routes();
    let row = |path: &str| rows.iter().find(|row| row.path == path).unwrap_or_else(|| panic!("{path} in {rows:#?}"));
    let echo = row("/v1/echo");
    assert_eq!((echo.method.as_str(), echo.rpc.as_str()), ("POST", "library.v1.Library/Echo"));
    assert_eq!((echo.kind, echo.upstream.as_str()), ("unary", "library"));
    let timeout = |path: &str| {
        let value = row(path).settings.iter().find(|value| value.key == "timeout").unwrap();
        (value.value.clone(), value.from.clone())
    };
    assert_eq!(timeout("/v1/echo"), ("1s".to_owned(), r#"methods["library.v1.Library/Echo"].timeout"#.to_owned()));
    assert_eq!(timeout("/v1/{name=shelves/*/books/*}"), ("3s".to_owned(), "upstreams.library.timeout".to_owned()));
    // Named by configuration, without a rule: gRPC alone.
    let discuss = row("/library.v1.Library/Discuss");
    assert_eq!((discuss.method.as_str(), discuss.kind), ("", "bidi_stream"));
    assert!(!rows.iter().any(|row| row.rpc.ends_with("GetInternals")));
}
