//! The rules of paths: which request finds which RPC, and what its variables hold.

use serde_json::json;
use transom::gateway::Problem;
use transom::telemetry::Metrics;

use crate::support::gateway::gateway;
use crate::support::protos::compile_text;
use crate::support::rules::{rules, rules_with, seen};

#[tokio::test]
async fn rest_segments_match_zero_or_more_and_more_may_follow() {
    let (service, gateway) = rules().await;
    const DOCUMENTS: &str = "projects/p/databases/d/documents";
    for (path, parent, id) in [
        (format!("{DOCUMENTS}/c/x"), format!("{DOCUMENTS}/c"), "x"),
        (format!("{DOCUMENTS}/c/x/c2/y"), format!("{DOCUMENTS}/c/x/c2"), "y"),
        // The additional binding.
        (format!("{DOCUMENTS}/c"), DOCUMENTS.to_owned(), "c"),
    ] {
        gateway.get(&format!("/v1/{path}")).await.status(200);
        assert_eq!(seen(&service, "Document"), json!({ "parent": parent, "id": id }));
    }
    gateway.get("/v1/files").await.status(200);
    assert_eq!(seen(&service, "File"), json!({}));
    gateway.get("/v1/files/a/b/c").await.status(200);
    assert_eq!(seen(&service, "File"), json!({ "parent": "a/b/c" }));
}

#[tokio::test]
async fn a_verb_is_split_off_only_where_a_binding_has_it() {
    let (service, gateway) = rules().await;
    for (path, method, id) in [
        ("/v1/things/7", "Thing", "7"),
        ("/v1/things/7:inspect", "Inspect", "7"),
        ("/v1/things/7:look:deep", "Deep", "7"),
        ("/v1/things/a:b", "Thing", "a:b"),
        ("/v1/things/a:b:inspect", "Inspect", "a:b"),
        ("/v1/things/7:inspect:x", "Thing", "7:inspect:x"),
    ] {
        gateway.get(path).await.status(200);
        assert_eq!(seen(&service, method), json!({ "id": id }), "{path}");
    }
}

#[tokio::test]
async fn an_encoded_colon_is_never_a_delimiter() {
    let (service, gateway) = rules().await;
    gateway.get("/v1/things/7%3Ainspect").await.status(200);
    assert_eq!(seen(&service, "Thing"), json!({ "id": "7:inspect" }));
    service.saw("Inspect").times(0);
}

#[tokio::test]
async fn one_segment_is_decoded_and_several_keep_their_slashes() {
    let (service, gateway) = rules().await;
    gateway.get("/v1/things/a%2Fb%20%C3%A9+").await.status(200);
    assert_eq!(seen(&service, "Thing"), json!({ "id": "a/b é+" }));
    gateway.get("/v1/files/a%2Fb/c%2fd/%20").await.status(200);
    assert_eq!(seen(&service, "File"), json!({ "parent": "a%2Fb/c%2fd/ " }));
}

#[tokio::test]
async fn bad_percent_escapes_are_refused() {
    let (service, gateway) = rules().await;
    for path in ["/v1/things/%", "/v1/things/a%2", "/v1/things/%zz", "/v1/%zz/7", "/v1/files/a/b/%f"] {
        gateway.get(path).await.status(400).reason("BAD_REQUEST");
    }
    gateway.get("/v1/things/%ff").await.status(400).reason("BAD_REQUEST");
    service.saw("Thing").times(0);
}

#[tokio::test]
async fn literals_are_compared_with_their_encoding_normalised() {
    let (service, gateway) = rules().await;
    for path in ["/v1/spelled/~x", "/v1/sp%65lled/%7Ex", "/%761/spelled/%7ex"] {
        gateway.get(path).await.status(200);
    }
    service.saw("Spelled").times(3);
    gateway.get("/v1/Spelled/~x").await.status(404);
}

#[tokio::test]
async fn a_literal_goes_before_one_segment_and_that_before_the_rest() {
    let (service, gateway) = rules().await;
    for (path, method) in [
        ("/v1/files/readme", "Readme"),
        ("/v1/files/other", "Top"),
        ("/v1/files/readme/x", "File"),
        ("/v1/files/other/x", "File"),
    ] {
        let before = service.saw(method).calls().len();
        gateway.get(path).await.status(200);
        service.saw(method).times(before + 1);
    }
}

#[tokio::test]
async fn precedence_is_per_http_method() {
    let (service, gateway) = rules().await;
    gateway.get("/v1/same/b").await.status(200);
    assert_eq!(seen(&service, "GetSame"), json!({ "id": "b" }));
    gateway.post("/v1/same/b", &json!({})).await.status(200);
    service.saw("PostSame").times(1);
}

#[tokio::test]
async fn custom_kinds_are_methods_and_a_star_is_every_one() {
    let (service, gateway) = rules().await;
    gateway.request("PURGE", "/v1/purge/7").await.status(200);
    gateway.request("OPTIONS", "/v1/purge/7").await.status(200);
    service.saw("Purge").times(1).message(&json!({ "id": "7" }));
    service.saw("Options").times(1);
    for method in ["GET", "DELETE", "REPORT"] {
        gateway.request(method, "/v1/anything/7").await.status(200);
    }
    service.saw("Anything").times(3);
}

#[tokio::test]
async fn head_is_gets_binding_without_a_body() {
    let (service, gateway) = rules().await;
    let head = gateway.request("HEAD", "/v1/things/7").await;
    head.status(200).header("content-length", "10");
    assert!(head.body.is_empty());
    service.saw("Thing").times(1);
    // A rule of its own.
    assert!(gateway.request("HEAD", "/v1/things/7/only").await.status(200).body.is_empty());
    service.saw("Heads").times(1);
    gateway.get("/v1/things/7/only").await.status(405).header("allow", "HEAD");
}

#[tokio::test]
async fn another_method_on_a_known_path_is_405_with_allow() {
    let (_service, gateway) = rules().await;
    let reply = gateway.request("DELETE", "/v1/same/b").await;
    reply.status(405).reason("METHOD_NOT_ALLOWED").header("allow", "GET, HEAD, POST");
    gateway.request("DELETE", "/v1/nowhere").await.status(404).reason("NO_ROUTE");
}

#[tokio::test]
async fn a_trailing_slash_is_a_different_path() {
    let (_service, gateway) = rules().await;
    for path in ["/v1/things/7/", "/v1//things/7", "/v1/things/", "/v1/query/"] {
        gateway.get(path).await.status(404).reason("NO_ROUTE");
    }
}

#[test]
fn a_wrong_template_is_refused_with_file_method_and_column() {
    let wrong = [
        ("/v1/x{id}", "", 6),
        ("/v1//x", "", 5),
        ("/v1/:id", "a variable is written \"{id}\"", 5),
        ("/v1/x/", "", 6),
        ("/v1/{id}/{id}", "twice", 11),
        ("/v1/{nome}", "nome", 6),
        ("/v1/{numbers}", "repeated", 6),
        ("/v1/{labels}", "map", 6),
        ("/v1/{inner}", "text form", 6),
        ("/v1/{left}/{right}", "oneof", 13),
        ("/v1/{a=**}/{b=**}", "", 0),
    ];
    let methods: Vec<_> = wrong
        .iter()
        .enumerate()
        .map(|(at, (template, ..))| {
            format!("rpc M{at}(All) returns (All) {{ option (google.api.http) = {{ get: \"{template}\" }}; }}")
        })
        .collect();
    let set = compile_text(
        "wrong.proto",
        &format!(
            "syntax = \"proto3\"; package wrong.v1; import \"google/api/annotations.proto\"; service Wrong {{ {} }}
             message All {{ string id = 1; repeated int32 numbers = 2; map<string, string> labels = 3; All inner = 4;
               oneof choice {{ string left = 5; string right = 6; }} }}",
            methods.join("\n")
        ),
    );
    let builder = gateway().descriptor_set(set).upstream_at("wrong", "wrong.v1.Wrong", &["127.0.0.1:1".to_owned()], "");
    let problems = builder.compile(&Metrics::new()).err().unwrap();
    let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
    assert_eq!(problems.len(), wrong.len(), "{problems:#?}");
    for (at, (template, why, column)) in wrong.iter().enumerate() {
        let symbol = format!("wrong.v1.Wrong.M{at}");
        let told = problems.iter().find(|told| told.contains(&symbol)).unwrap_or_else(|| panic!("{template}"));
        assert!(told.contains("wrong.proto") && told.contains(why), "{template}: {told}");
        assert!(*column == 0 || told.contains(&format!("column {column}")), "{template}: {told}");
    }
}

const HTTP_RULES: &str = "schema:
  descriptor_sets: [in-memory]
  http_rules:
    - selector: rules.v1.Rules.Thing
      get: /v2/things/{id}
      additional_bindings:
        - { post: /v2/things, body: inner, response_body: inner }
        - { custom: { kind: LOOK, path: '/v2/{parent=a/*}' } }
";

#[tokio::test]
async fn rules_of_configuration_replace_the_annotation() {
    let (service, gateway) = rules_with(HTTP_RULES).await;
    gateway.get("/v2/things/7").await.status(200).json(&json!({ "id": "7" }));
    gateway.post("/v2/things?id=7", &json!({ "id": "8" })).await.status(200).json(&json!({ "id": "8" }));
    assert_eq!(seen(&service, "Thing"), json!({ "id": "7", "inner": { "id": "8" } }));
    gateway.request("LOOK", "/v2/a/b").await.status(200).json(&json!({ "parent": "a/b" }));
    gateway.get("/v1/things/7").await.status(404);
    // Those of other methods stay.
    gateway.get("/v1/things/7:inspect").await.status(200);
    let rows = gateway.state.snapshot.load().routes();
    let row = rows.iter().find(|row| row.path == "/v2/{parent=a/*}").unwrap();
    let rule = row.settings.iter().find(|value| value.key == "http_rule").unwrap();
    assert_eq!((&*rule.value, &*rule.from), ("LOOK /v2/{parent=a/*}", "schema.http_rules[0]"));
    let row = rows.iter().find(|row| row.path == "/v1/things/{id}:inspect").unwrap();
    assert!(!row.settings.iter().any(|value| value.key == "http_rule"));
}

#[tokio::test]
async fn an_rpcs_own_path_goes_before_variables_and_is_no_other_rules() {
    let rules = |rules: &str| format!("schema:\n  descriptor_sets: [in-memory]\n  http_rules: {rules}\n");
    let (service, gateway) = rules_with(&rules(
        "[{ selector: rules.v1.Rules.PostSame, post: '/{parent=**}', body: '*' },
          { selector: rules.v1.Rules.GetSame, get: '/{parent=**}' },
          { selector: rules.v1.Rules.Thing, post: /rules.v1.Rules/Thing, body: inner }]",
    ))
    .await;
    // JSON without a word of Connect; of a rule of its own the RPC says more.
    gateway.post("/rules.v1.Rules/Inspect", &json!({ "id": "7" })).await.status(200);
    assert_eq!(seen(&service, "Inspect"), json!({ "id": "7" }));
    gateway.post("/rules.v1.Rules/Thing", &json!({ "id": "7" })).await.status(200);
    assert_eq!(seen(&service, "Thing"), json!({ "inner": { "id": "7" } }));
    // What nobody calls by that path is a variable's.
    gateway.get("/rules.v1.Rules/Inspect").await.status(200);
    assert_eq!(seen(&service, "GetSame"), json!({ "parent": "rules.v1.Rules/Inspect" }));
    gateway.post("/rules.v1.Rules/Nobody", &json!({})).await.status(200);
    assert_eq!(seen(&service, "PostSame"), json!({ "parent": "rules.v1.Rules/Nobody" }));

    for rule in ["post: /rules.v1.Rules/Inspect", "custom: { kind: '*', path: '/rules.v1.Rules/Ins%70ect' }"] {
        let config = rules(&format!("[{{ selector: rules.v1.Rules.Thing, {rule} }}]"));
        let built = crate::support::gateway::gateway().descriptors("rules").config(&config);
        let built = built.upstream_at("rules", "rules.v1.Rules", &["127.0.0.1:1".to_owned()], "");
        let problems = built.compile(&Metrics::new()).err().unwrap();
        let told = problems[0].to_string();
        assert!(told.contains("schema.http_rules[0]") && told.contains("own path of rules.v1.Rules/Inspect"), "{told}");
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}

#[tokio::test]
async fn a_rule_of_configuration_opens_its_method() {
    let config = "schema:
  descriptor_sets: [in-memory]
  http_rules: [{ selector: library.v1.Library.ImportBooks, post: /v1/books:import, body: '*' }]
";
    let built = gateway().descriptors("library").config(config);
    let built = built.upstream_at("library", "library.v1.Library", &["127.0.0.1:1".to_owned()], "");
    let snapshot = built.compile(&Metrics::new()).unwrap();
    assert!(snapshot.routes().iter().any(|row| row.path == "/v1/books:import"));
}

#[test]
fn wrong_rules_of_configuration_are_told_with_their_line() {
    let config = "schema:
  descriptor_sets: [in-memory]
  http_rules:
    - { selector: library.v1.Library.GetBok, get: /v9/a }
    - { selector: library.v1.Librari.GetBook, get: /v9/b }
    - { selector: library.v1.Internals.GetInternals, get: /v9/c }
    - { selector: library.v1.Library.GetBook, get: '/v9/{nome}' }
    - selector: library.v1.Library.ListBooks
      get: /v9/d
      additional_bindings: [{ get: '/v9/x{parent}' }]
    - { selector: library.v1.Library.Echo, get: /v9/e, body: '*' }
";
    let builder = gateway().descriptors("library").config(config);
    let builder = builder.upstream_at("library", "library.v1.Library", &["127.0.0.1:1".to_owned()], "");
    let problems = builder.compile(&Metrics::new()).err().unwrap();
    let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
    for (line, at, why) in [
        (4, 0, "did you mean `GetBook`?"),
        (5, 1, "did you mean `library.v1.Library`?"),
        (6, 2, "no upstream serves `library.v1.Internals`"),
        (7, 3, "nome"),
        (8, 4, "column 6 of the template"),
        (11, 5, "GET takes no body"),
    ] {
        let place = format!("schema.http_rules[{at}]");
        let told =
            problems.iter().find(|told| told.contains(&place)).unwrap_or_else(|| panic!("{place} {problems:#?}"));
        assert!(told.contains(why) && told.starts_with(&format!("{line}: ")), "{told}");
    }
    assert_eq!(problems.len(), 6, "{problems:#?}");
}
