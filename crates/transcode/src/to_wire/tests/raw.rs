//! `google.api.HttpBody`: the body's bytes as they are.

use serde_json::json;

use super::*;

fn raw<'a>(input: &str, template: &str, body: &str, input_: Input<'a>) -> Request<'a> {
    Request { plan: plan(input, template, body).unwrap(), input: input_, limits: Limits::default() }
}

#[test]
fn the_whole_request_is_the_body() {
    let input = Input { body: b"\xff{", media: Media::Raw("image/png"), ..Input::default() };
    let request = raw("google.api.HttpBody", "/v1/x", "*", input);
    assert!(request.plan.raw);
    assert_eq!(request.value().unwrap(), json!({"contentType": "image/png", "data": "/3s="}));
    let empty = raw("google.api.HttpBody", "/v1/x", "*", Input { media: Media::Raw(""), ..Input::default() });
    assert_eq!(empty.bytes().unwrap(), b"");
}

#[test]
fn a_field_is_the_body_and_the_rest_is_bound() {
    let data = vec![7; 300];
    let input = Input { body: &data, media: Media::Raw("a/b; c=d"), captures: &["n"], query: "files=1", later: false };
    let refused = raw("t.Upload", "/v1/{name}", "file", input).value().unwrap_err();
    assert_eq!(refused.field, "files");
    let request = raw("t.Upload", "/v1/{name}", "file", Input { query: "", ..input });
    let value = request.value().unwrap();
    assert_eq!((&value["name"], &value["file"]["contentType"]), (&json!("n"), &json!("a/b; c=d")));
    assert_eq!(value["file"]["data"].as_str().unwrap().len(), 400);
}

#[test]
fn nothing_sent_is_nothing_there_but_an_empty_file_is_one() {
    let with = |media| raw("t.Upload", "/v1/x", "file", Input { media, ..Input::default() }).value().unwrap();
    assert_eq!(with(Media::Raw("")), json!({}));
    assert_eq!(with(Media::Raw("text/plain")), json!({"file": {"contentType": "text/plain"}}));
}

#[test]
fn only_one_http_body_is_raw() {
    assert!(!plan("t.Upload", "/v1/x", "files").unwrap().raw);
    assert!(!plan("t.Upload", "/v1/x", "*").unwrap().raw);
    assert!(!BindPlan::whole(id("google.api.HttpBody")).raw, "the RPC dialects have it as JSON");
}

#[test]
fn the_path_cannot_change_the_data_or_its_type() {
    let input = Input { body: b"x", media: Media::Raw("a/b"), captures: &["c"], ..Input::default() };
    let refused = raw("t.Upload", "/v1/{file.content_type}", "file", input).value().unwrap_err();
    assert_eq!(refused.message, "the path sets this field to another value");
    let input = Input { captures: &["eA"], ..input };
    let refused = raw("t.Upload", "/v1/{file.data}", "file", input).value().unwrap_err();
    assert_eq!(refused.message, "the path sets this field, which is the body");
}

#[test]
fn data_over_the_limit_is_refused() {
    let data = vec![0; 2000];
    let mut request =
        raw("t.Upload", "/v1/x", "file", Input { body: &data, media: Media::Raw(""), ..Input::default() });
    request.limits.output = 1000;
    assert_eq!(request.bytes().unwrap_err().kind, Kind::TooLarge);
}
