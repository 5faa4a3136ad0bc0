//! What a schema says of its messages by `buf.validate`, and strings that are cleaned first: in every dialect, before the call
//! is sent.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use transom::telemetry::Metrics;
use transom_transcode::status::Code;

use crate::support::gateway::{Builder, Running, gateway};
use crate::support::library::library;
use crate::support::protos::compile_text;
use crate::support::socket::Socket;
use crate::support::speak::Speech;
use crate::support::tokens::{SECRET, bearer, token};
use crate::support::upstream::Upstream;

const GOOD: &str = "shelves/1/books/7";
const BAD: &str = "shelves/1/books/1234567890";

/// What REST's client stream needs: the library's own has no path.
const PATHS: &str = "schema: { descriptor_sets: [in-memory], expose: all, http_rules: [
  { selector: library.v1.Library.ImportBooks, post: \"/v1/books:import\", body: \"*\" }] }";

/// The library, with rules.
fn ruled() -> Vec<u8> {
    ruled_by("message GetBookRequest {\n  string name = 1 [(buf.validate.field).string.max_len = 20];")
}

fn ruled_by(request: &str) -> Vec<u8> {
    let text = include_str!("protos/library.proto");
    let import = "import \"google/api/annotations.proto\";";
    let text = text
        .replace(import, &format!("{import}\nimport \"buf/validate/validate.proto\";"))
        .replace("message GetBookRequest {\n  string name = 1;", request)
        .replace("  string title = 2;", "  string title = 2 [(buf.validate.field).string.min_len = 1];")
        .replace("  string text = 1;", "  string text = 1 [(buf.validate.field).string = {min_len: 1 max_len: 3}];");
    assert_eq!(text.matches("buf.validate.field").count(), 3);
    compile_text("library.proto", &text)
}

fn behind(library: &Upstream, config: &str) -> Builder {
    gateway().descriptor_set(ruled()).config(PATHS).upstream("library", library).config(config)
}

async fn start(library: &Upstream, config: &str) -> Running {
    behind(library, config).start().await
}

#[tokio::test]
async fn unary_calls_that_break_a_rule_are_refused_unsent() {
    let library = library().await;
    let gateway = start(&library, "").await;
    let mut good = 0;
    for speech in Speech::UNARY {
        println!("{speech:?}");
        let version = speech.versions()[0];

        let refused = speech.call(version, "GetBook").send(&gateway, &[json!({ "name": BAD })]).await;

        refused.failed(Code::InvalidArgument);
        assert_eq!(refused.message, "name: must be at most 20 characters long");
        assert_eq!(refused.details, ["google.rpc.ErrorInfo", "google.rpc.BadRequest"]);
        library.saw("GetBook").times(good);
        speech.call(version, "GetBook").send(&gateway, &[json!({ "name": GOOD })]).await.failed(Code::Ok);
        good += 1;
        library.saw("GetBook").times(good);
    }
    assert_eq!(gateway.metric("transom_refusals_total{gate=\"validate\",reason=\"rules\"}"), good as f64);
}

#[tokio::test]
async fn each_message_of_a_stream_is_held_to_its_rules() {
    let library = library().await;
    let gateway = start(&library, "").await;
    for speech in Speech::CLIENT_STREAM {
        println!("{speech:?}");
        let version = speech.versions()[0];
        let books = [json!({ "title": "A" }), json!({ "pages": 7 })];

        let refused = speech.call(version, "ImportBooks").send(&gateway, &books).await;

        refused.failed(Code::InvalidArgument);
        assert_eq!(refused.message, "[1].title: must be at least 1 characters long");
        let imported = speech.call(version, "ImportBooks").send(&gateway, &books[..1]).await;
        imported.ok(&[json!({ "imported": 1 })]);
    }
}

#[tokio::test]
async fn each_message_of_a_web_socket_is_held_to_its_rules() {
    let library = library().await;
    let gateway = start(&library, "").await;
    let path = "/library.v1.Library/Discuss";
    let mut socket = Socket::open(gateway.address(), path, &[]).await;
    socket.json(&json!({ "text": "one" })).await;
    assert_eq!(socket.value().await, json!({ "text": "one" }));
    assert_eq!(socket.value().await, json!({ "text": "one" }));
    socket.json(&json!({ "text": "three" })).await;
    let error = socket.value().await;
    let violation =
        json!({ "field": "[1].text", "description": "must be at most 3 characters long", "reason": "string.max_len" });
    assert_eq!(error["error"]["details"][1]["fieldViolations"], json!([violation]), "{error}");
    assert_eq!(socket.closed().await, (4003, "[1].text: must be at most 3 characters long".to_owned()));

    let mut socket = Socket::open(gateway.address(), path, &[]).await;
    socket.send(Message::binary(b"\x0a\x05three".to_vec())).await;
    assert_eq!(socket.closed().await, (4003, "[0].text: must be at most 3 characters long".to_owned()));
}

#[tokio::test]
async fn every_violation_has_its_json_path_and_rule() {
    let library = library().await;
    let gateway = start(&library, "").await;
    let body = json!({ "title": "", "place": { "room": "r" } });
    let reply = gateway.post("/v1/echo", &body).await;
    let body = reply.status(400).value();
    let violation =
        json!({ "field": "title", "description": "must be at least 1 characters long", "reason": "string.min_len" });
    assert_eq!(body["code"], 3);
    assert_eq!(body["details"][1]["fieldViolations"], json!([violation]), "{body}");
    // The book is inside of the request's message here.
    let reply = gateway.post("/v1/shelves/1/books", &json!({ "pages": "7" })).await;
    assert_eq!(reply.status(400).value()["details"][1]["fieldViolations"][0]["field"], "book.title");
}

#[tokio::test]
async fn strings_are_cleaned_before_rules_look_at_them() {
    let library = library().await;
    let methods = r#"
methods:
  "library.v1.Library/GetBook": { sanitize: { name: [trim, control] } }
  "library.v1.Library/Echo": { sanitize: { "*": [strip_html, trim], "labels": [nfc], "place.room": [] } }"#;
    let gateway = start(&library, methods).await;
    for speech in Speech::UNARY.into_iter().filter(|speech| speech.is_rpc()) {
        println!("{speech:?}");
        let call = speech.call(speech.versions()[0], "GetBook");
        let padded = format!("          {GOOD}\u{7}  ");
        call.send(&gateway, &[json!({ "name": padded })]).await.failed(Code::Ok);
        library.saw("GetBook").message(&json!({ "name": GOOD }));
    }
    let body = json!({ "title": " <b>Dune</b>\n", "labels": { " k ": "e\u{301} " }, "place": { "room": " <i> " } });
    gateway.post("/v1/echo", &body).await.status(200);
    let clean = json!({ "title": "Dune", "labels": { " k ": "é " }, "place": { "room": " <i> " } });
    library.saw("Echo").message(&clean);
    // What is left of it breaks a rule.
    gateway.post("/v1/echo", &json!({ "title": "<b></b> " })).await.status(400);
}

#[tokio::test]
async fn what_a_token_says_is_not_cleaned() {
    let library = library().await;
    let config = format!(
        "auth: {{ jwt: {{ secret: {SECRET} }} }}\nmethods:\n  \"library.v1.Library/Echo\":\n    \
         {{ bind: {{ title: sub }}, sanitize: {{ \"*\": [strip_html, trim] }} }}"
    );
    let gateway = start(&library, &config).await;
    let body = json!({ "authors": ["<i>x</i>"], "place": { "room": "1" } });
    let token = token(&json!({ "sub": "<b>ada</b> " }));
    gateway.post("/v1/echo", &body).header("authorization", &bearer(&token)).await.status(200);
    library.saw("Echo").message(&json!({ "title": "<b>ada</b> ", "authors": ["x"], "place": { "room": "1" } }));
}

#[tokio::test]
async fn rules_can_be_left_to_the_service() {
    let library = library().await;
    let gateway = start(&library, "methods: { \"library.v1.Library/*\": { validate: off } }").await;
    gateway.get(&format!("/v1/{BAD}")).await.status(200);
    library.saw("GetBook").message(&json!({ "name": BAD }));
}

#[test]
fn what_cannot_be_held_is_a_problem() {
    let problems = |set: &[u8], config: &str| -> Vec<String> {
        let builder = gateway().descriptor_set(set.to_vec()).config(config).expose_all();
        let builder = builder.upstream_at("library", "library.v1.Library", &["127.0.0.1:1".to_owned()], "");
        let problems = builder.compile(&Metrics::new()).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect()
    };
    let cel = "message GetBookRequest {\n  string name = 1 [(buf.validate.field).cel = {id: \"odd\" expression: \"this.odd()\"}];";
    let cel = ruled_by(cel);
    let told = problems(&cel, "");
    // GetBook and DeleteBook take it.
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        told[0],
        "library.proto: library.v1.Library.GetBook: library.proto: library.v1.GetBookRequest.name: the rule `odd` (`this.odd()`): \
         there is no method `odd` with 0 arguments; write `validate: standard` for library.v1.Library/GetBook to leave it to the \
         service"
    );
    let standard = "methods: { \"library.v1.Library/*\": { validate: standard } }";
    assert_eq!(problems(&cel, standard), Vec::<String>::new());
    let wrong = ruled_by("message GetBookRequest {\n  string name = 1 [(buf.validate.field).int32.gt = 0];");
    assert_eq!(
        problems(&wrong, ""),
        ["library.proto: library.v1.GetBookRequest.name: int32 rules do not fit its type: write string"]
    );
    let both = "{ bind: { name: sub }, sanitize: { name: [trim] } }";
    let both =
        format!("auth: {{ jwt: {{ secret: {SECRET} }} }}\nmethods: {{ \"library.v1.Library/GetBook\": {both} }}");
    let told = problems(&ruled(), &both);
    assert!(told.len() == 1 && told[0].contains("sanitize.name: GetBook: `bind` sets it from the token"), "{told:?}");
    let told = problems(&ruled(), "methods: { \"library.v1.Library/GetBook\": { sanitize: { title: [trim] } } }");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("GetBook\"].sanitize.title: GetBook: library.v1.GetBookRequest has no field `title`"),
        "{told:?}"
    );
}
