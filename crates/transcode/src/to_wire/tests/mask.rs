//! PATCH: the mask that the body's fields make.

use serde_json::json;

use super::*;

fn patch<'a>(template: &str, input: Input<'a>) -> Request<'a> {
    Request { plan: plan_of("t.Patch", "PATCH", template, "it").unwrap(), input, limits: Limits::default() }
}

/// The mask of a JSON body.
fn mask(json: &str) -> Value {
    let input = Input { body: json.as_bytes(), ..Input::default() };
    patch("/v1/x", input).value().unwrap()["updateMask"].clone()
}

#[test]
fn a_mask_names_the_fields_of_the_body() {
    assert_eq!(mask(r#"{"text": "a", "doubleValue": 0, "i64": "7"}"#), json!("text,doubleValue,i64"));
    // Either spelling, escapes too: paths have the .proto's names.
    assert_eq!(mask(r#"{"double_value": 1, "@odd name": "x", "\u0074ext": ""}"#), json!("doubleValue,renamed,text"));
}

#[test]
fn a_mask_descends_into_messages() {
    let json = r#"{"inner": {"text": "a", "inner": {"i32": 1, "flag": true}}, "middle": {"s32": 1}, "i32": 3}"#;
    assert_eq!(mask(json), json!("inner.text,inner.inner.i32,inner.inner.flag,middle.s32,i32"));
}

#[test]
fn lists_maps_and_special_messages_are_named_as_a_whole() {
    let json = r#"{"items": [{"i32": 1}], "numbers": [], "labels": {"a": "b"}, "at": "2026-01-31T23:59:59Z",
        "structure": {"a": 1}, "value": {"b": 2}, "any": {"@type": "type.googleapis.com/t.Other"}, "int32Box": 4,
        "empty": {}}"#;
    assert_eq!(mask(json), json!("items,numbers,labels,at,structure,value,any,int32Box,empty"));
}

#[test]
fn an_empty_object_is_named_itself() {
    assert_eq!(mask(r#"{"inner": {}, "middle": { }}"#), json!("inner,middle"));
}

#[test]
fn null_names_the_field_that_it_clears() {
    assert_eq!(mask(r#"{"text": null, "inner": {"i32": null}, "items": null}"#), json!("text,inner.i32,items"));
}

#[test]
fn a_body_without_fields_makes_an_empty_mask() {
    for body in ["{}", "null", ""] {
        let input = Input { body: body.as_bytes(), ..Input::default() };
        // Empty, and there: an absent one may mean "all fields" to a service.
        assert!(patch("/v1/x", input).bytes().unwrap().ends_with(&[0x12, 0]), "{body}");
    }
}

#[test]
fn a_mask_that_the_client_sent_stays() {
    let input = Input { body: b"{\"text\":\"a\",\"i32\":1}", query: "update_mask=text", ..Input::default() };
    assert_eq!(patch("/v1/x", input).value().unwrap()["updateMask"], "text");
    // An empty one too: it was sent.
    let input = Input { query: "updateMask=", ..input };
    assert_eq!(patch("/v1/x", input).value().unwrap()["updateMask"], "");
}

#[test]
fn an_extension_needs_a_mask_of_the_clients() {
    let patch = |json: &'static str, query: &'static str| {
        let input = Input { body: json.as_bytes(), query, ..Input::default() };
        let plan = plan_of("t2.PatchOpen", "PATCH", "/v1/x", "it").unwrap();
        Request { plan, input, limits: Limits::default() }
    };
    const REFUSED: &str = "an extension has no path in a field mask: send the mask yourself";
    for (json, refused) in [
        (r#"{"id": "a", "[t2.mark]": 5}"#, format!("[t2.mark]: {REFUSED} (at byte 12)")),
        (r#"{"\u005bt2.mark]": null}"#, format!("\\u005bt2.mark]: {REFUSED} (at byte 1)")),
        (r#"{"[t2.more]": {"id": "q"}}"#, format!("[t2.more]: {REFUSED} (at byte 1)")),
        (r#"{"inner": {"[t2.mark]": 5}}"#, format!("inner[t2.mark]: {REFUSED} (at byte 11)")),
    ] {
        let told = patch(json, "").bytes().unwrap_err().to_string();
        assert_eq!(told, refused, "{json}");
        assert!(patch(json, "update_mask=id").bytes().is_ok(), "{json}");
    }
    assert_eq!(patch(r#"{"id": "a", "inner": {"id": "b"}}"#, "").value().unwrap()["updateMask"], "id,inner.id");
}

#[test]
fn what_the_path_sets_is_no_change() {
    let with = |json: &'static str| {
        let input = Input { body: json.as_bytes(), captures: &["7"], ..Input::default() };
        patch("/v1/{it.inner.text}", input).value().unwrap()["updateMask"].clone()
    };
    assert_eq!(with(r#"{"i32": 1}"#), "i32");
    assert_eq!(with(r#"{"i32": 1, "inner": {"text": "7", "flag": true}}"#), "i32,inner.flag");
    assert_eq!(with(r#"{"inner": {"text": "7"}}"#), "");
}

#[test]
fn a_form_makes_a_mask_too() {
    let input = Input { body: b"text=a&inner.i32=0&numbers=1&numbers=2", media: Media::Form, ..Input::default() };
    assert_eq!(patch("/v1/x", input).value().unwrap()["updateMask"], "text,inner.i32,numbers");
}

#[test]
fn what_is_read_over_is_not_named() {
    let json = br#"{"nope": {"a": [1]}, "text": "a", "color": "PINK", "inner": {"nope": 1}}"#;
    let input = Input { body: json, ..Input::default() };
    assert_eq!(patch("/v1/x", input).ignoring().value().unwrap()["updateMask"], "text");
}

#[test]
fn only_a_patch_of_a_message_with_one_mask_makes_it() {
    let made = |input: &str, method: &str, body: &str| plan_of(input, method, "/v1/x", body).unwrap().mask.is_some();
    assert!(made("t.Patch", "PATCH", "it"));
    assert!(!made("t.Patch", "PUT", "it") && !made("t.Patch", "PATCH", "*") && !made("t.Patch", "PATCH", "note"));
    assert!(!made("t.Patch", "PATCH", "update_mask") && !made("t.TwoMasks", "PATCH", "it"));
}

#[test]
fn a_mask_of_deep_names_is_bounded() {
    let deep =
        |levels: usize| "{\"inner\":".repeat(levels) + "{\"i32\":1,\"s32\":2,\"flag\":true}" + &"}".repeat(levels);
    let json = deep(90);
    let mut request = patch("/v1/x", Input { body: json.as_bytes(), ..Input::default() });
    assert!(request.bytes().is_ok());
    request.limits.output = 1000;
    assert_eq!(request.bytes().unwrap_err().kind, Kind::TooLarge);
}

/// lowerCamelCase alone does not tell `line1` from `line_1`; what the mask is of does.
#[test]
fn a_mask_knows_the_json_names_of_what_it_masks() {
    for mask in ["updateMask=line1,next.line1", "update_mask=line_1,next.line_1", "updateMask=line1,next.line_1"] {
        let input = Input { body: b"{\"line1\":\"a\"}", query: mask, ..Input::default() };
        let plan = plan_of("t.PatchLine", "PATCH", "/v1/x", "it").unwrap();
        let bytes = Request { plan, input, limits: Limits::default() }.bytes().unwrap();
        assert!(bytes.ends_with(b"\x12\x15\x0a\x06line_1\x0a\x0bnext.line_1"), "{mask}: {bytes:?}");
    }
}
