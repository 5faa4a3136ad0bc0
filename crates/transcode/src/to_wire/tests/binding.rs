//! Path variables and bodies.

use serde_json::json;

use super::*;

fn bound(template: &str, body: &str, captures: &[&str], json: &str) -> Result<Value, Invalid> {
    Request::rule(template, body, Input { body: json.as_bytes(), captures, ..Input::default() }).value()
}

#[test]
fn a_path_sets_fields_of_every_text_form() {
    for (field, text, value) in [
        ("text", "a%20b%2Fc", json!("a b/c")),
        ("i32", "-5", json!(-5)),
        ("u64", "18446744073709551615", json!("18446744073709551615")),
        ("double_value", "1.5", json!(1.5)),
        ("flag", "true", json!(true)),
        ("color", "RED", json!("RED")),
        ("color", "77", json!(77)),
        ("raw", "-_8", json!("+/8=")),
        ("at", "2026-01-31T23:59:59Z", json!("2026-01-31T23:59:59Z")),
        ("lasts", "1.5s", json!("1.500s")),
        ("mask", "aB,c", json!("aB,c")),
        ("int64_box", "7", json!("7")),
        ("string_box", "x", json!("x")),
        ("maybe", "0", json!(0)),
        ("left", "x", json!("x")),
    ] {
        let name = WORLD
            .schema
            .message(id("t.All"))
            .slot_named(field)
            .map(|slot| &*WORLD.schema.message(id("t.All")).fields[slot].json_name);
        let expected = json!({ name.unwrap(): value });
        assert_eq!(bound(&format!("/v1/{{{field}}}"), "", &[text], "").unwrap(), expected, "{field}");
        let nested = bound(&format!("/v1/{{inner.inner.{field}}}"), "*", &[text], "{\"i32\":9}").unwrap();
        assert_eq!(nested, json!({"i32":9,"inner":{"inner":expected}}), "{field}");
    }
}

#[test]
fn a_captured_default_is_no_value_without_presence() {
    let bytes = |template| Request::rule(template, "", Input { captures: &["0"], ..Input::default() }).bytes().unwrap();
    assert_eq!(bytes("/v1/{i32}"), b"");
    assert_eq!(bytes("/v1/{maybe}"), [0x90, 1, 0]);
}

#[test]
fn bad_captures_are_refused_by_field() {
    for (template, capture, expected) in [
        ("/v1/{i32}", "abc", "i32: expected an integer from -2147483648 to 2147483647, got \"abc\""),
        ("/v1/{inner.text}", "a%2", "inner.text: `%` must be followed by two hexadecimal digits"),
        ("/v1/{text}", "%ff", "text: the percent-decoded text is not UTF-8"),
        ("/v1/{color}", "PINK", "color: expected a value of t.Color by name or number, got \"PINK\""),
        ("/v1/{at}", "now", "at: expected an RFC 3339 timestamp such as \"2026-01-31T23:59:59.5Z\", got \"now\""),
    ] {
        assert_eq!(bound(template, "", &[capture], "").unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_variable_of_several_segments_keeps_its_encoded_slashes() {
    assert_eq!(
        bound("/v1/{text=shelves/*}", "", &["shelves/a%2Fb%20c"], "").unwrap(),
        json!({"text":"shelves/a%2Fb c"})
    );
    assert_eq!(bound("/v1/{text}", "", &["a%2Fb+c"], "").unwrap(), json!({"text":"a/b+c"}));
}

#[test]
fn the_body_may_repeat_what_the_path_says() {
    for json in [
        r#"{"i32":7,"u32":1}"#,
        r#"{"u32":1,"i32":"7"}"#,
        r#"{"i32":7.0,"u32":1}"#,
        r#"{"i32":null,"u32":1}"#,
        r#"{"u32":1}"#,
    ] {
        let request =
            Request::rule("/v1/{i32}", "*", Input { body: json.as_bytes(), captures: &["7"], ..Input::default() });
        assert_eq!(request.value().unwrap(), json!({"i32":7,"u32":1}), "{json}");
        assert_eq!(request.bytes().unwrap().len(), 4, "the field is there once: {json}");
    }
    assert_eq!(
        bound("/v1/{at}", "*", &["1970-01-01T00:00:01Z"], r#"{"at":"1970-01-01T01:00:01+01:00"}"#).unwrap(),
        json!({"at":"1970-01-01T00:00:01Z"})
    );
    assert_eq!(bound("/v1/{i32}", "*", &["0"], r#"{"i32":0}"#).unwrap(), json!({}));
    let long = "x".repeat(300);
    assert_eq!(
        bound("/v1/{string_box}", "*", &[&long], &format!(r#"{{"stringBox":"{long}","text":"y"}}"#)).unwrap(),
        json!({"stringBox":long,"text":"y"})
    );
}

#[test]
fn the_body_cannot_change_what_the_path_says() {
    let refusal = |captures, json| bound("/v1/{i32}", "*", captures, json).unwrap_err().to_string();
    assert_eq!(refusal(&["7"], r#"{"i32":8}"#), "i32: the path sets this field to another value (at byte 7)");
    assert_eq!(refusal(&["7"], r#"{"i32":0}"#), "i32: the path sets this field to another value (at byte 7)");
    assert_eq!(refusal(&["0"], r#"{"i32":8}"#), "i32: the path sets this field to another value (at byte 7)");
    assert_eq!(refusal(&["7"], r#"{"i32":7,"i32":7}"#), "i32: this field is there twice (at byte 15)");
}

#[test]
fn bindings_are_written_into_the_messages_of_the_body() {
    for (json, expected) in [
        (r#"{"inner":{"text":"a"}}"#, json!({"inner":{"text":"a","i32":7}})),
        (r#"{"inner":{}}"#, json!({"inner":{"i32":7}})),
        (r#"{"inner":null}"#, json!({"inner":{"i32":7}})),
        ("{}", json!({"inner":{"i32":7}})),
        ("", json!({"inner":{"i32":7}})),
        (r#"{"inner":{"i32":7,"inner":{"i32":8}}}"#, json!({"inner":{"i32":7,"inner":{"i32":8}}})),
    ] {
        let request = Request::rule(
            "/v1/{inner.i32}",
            "*",
            Input { body: json.as_bytes(), captures: &["7"], ..Input::default() },
        );
        assert_eq!(request.value().unwrap(), expected, "{json}");
        let tags = request.bytes().unwrap().windows(2).filter(|pair| *pair == [0x8a, 1]).count();
        assert_eq!(tags, json.matches("inner").count().max(1), "each submessage is there once: {json}");
    }
    assert_eq!(bound("/v1/{inner.i32}", "*", &["7"], r#"{"inner":{"i32":8}}"#).unwrap_err().field, "inner.i32");
    let long = "y".repeat(500);
    let json = format!(r#"{{"inner":{{"inner":{{"text":"{long}"}}}}}}"#);
    assert_eq!(
        bound("/v1/{inner.inner.left}/{inner.i32}", "*", &[&long, "7"], &json).unwrap(),
        json!({"inner":{"i32":7,"inner":{"text":long,"left":long}}})
    );
}

#[test]
fn a_body_field_takes_that_fields_json() {
    for (field, body, expected) in [
        ("inner", r#"{"text":"a"}"#, json!({"i32":7,"inner":{"text":"a"}})),
        ("text", "\"a\"", json!({"i32":7,"text":"a"})),
        ("names", r#"["a","b"]"#, json!({"i32":7,"names":["a","b"]})),
        ("items", r#"[{"i32":1}]"#, json!({"i32":7,"items":[{"i32":1}]})),
        ("labels", r#"{"a":"b"}"#, json!({"i32":7,"labels":{"a":"b"}})),
        ("structure", r#"{"a":1}"#, json!({"i32":7,"structure":{"a":1.0}})),
        ("value", "null", json!({"i32":7,"value":null})),
        ("inner", "null", json!({"i32":7})),
        ("inner", "", json!({"i32":7})),
    ] {
        assert_eq!(bound("/v1/{i32}", field, &["7"], body).unwrap(), expected, "{field} {body}");
    }
    assert_eq!(bound("/v1/{i32}", "inner", &["7"], r#"{"nope":1}"#).unwrap_err().field, "inner.nope");
    assert_eq!(
        bound("/v1/{inner.i32}", "inner", &["7"], r#"{"text":"a"}"#).unwrap(),
        json!({"inner":{"text":"a","i32":7}})
    );
    assert_eq!(bound("/v1/{inner.i32}", "inner", &["7"], "").unwrap(), json!({"inner":{"i32":7}}));
    assert!(bound("/v1/{i32}", "inner", &["7"], "{} {}").is_err());
}

#[test]
fn a_body_where_the_rule_has_none_is_refused() {
    assert_eq!(bound("/v1/{i32}", "", &["7"], "{}").unwrap_err().to_string(), "this method takes no body (at byte 0)");
    assert_eq!(bound("/v1/{i32}", "", &["7"], "").unwrap(), json!({"i32":7}));
}

#[test]
fn one_member_of_a_oneof_over_path_and_body() {
    let refusal = |json| bound("/v1/{left}", "*", &["a"], json).unwrap_err().to_string();
    assert_eq!(refusal(r#"{"right":1}"#), "right: another field of the oneof `choice` is set already (at byte 9)");
    assert_eq!(refusal(r#"{"middle":{}}"#), "middle: another field of the oneof `choice` is set already (at byte 10)");
    assert_eq!(bound("/v1/{left}", "*", &["a"], r#"{"right":null,"left":"a"}"#).unwrap(), json!({"left":"a"}));
    assert_eq!(bound("/v1/{middle.i32}", "*", &["7"], r#"{"left":"a"}"#).unwrap_err().field, "left");
    assert_eq!(
        bound("/v1/{middle.i32}", "*", &["7"], r#"{"middle":{"text":"a"}}"#).unwrap(),
        json!({"middle":{"i32":7,"text":"a"}})
    );
    assert!(bound("/v1/{left}", "right", &["a"], "1").is_err());
}

#[test]
fn required_fields_may_be_bound() {
    let two = |template: &str, json: &str| {
        let plan = plan("t2.Two", template, "*").unwrap();
        Request {
            plan,
            input: Input { body: json.as_bytes(), captures: &["7"], ..Input::default() },
            limits: Limits::default(),
        }
        .value()
    };
    assert_eq!(two("/v1/{id}", "{}").unwrap(), json!({"id":7}));
    assert_eq!(two("/v1/{id}", "").unwrap(), json!({"id":7}));
    assert_eq!(two("/v1/{next.id}", r#"{"id":1}"#).unwrap(), json!({"id":1,"next":{"id":7}}));
    assert_eq!(two("/v1/{next.name}", r#"{"id":1}"#).unwrap_err().field, "next.id");
    assert_eq!(two("/v1/{part.size}", r#"{"id":1}"#).unwrap(), json!({"id":1,"part":{"size":7}}));
}

#[test]
fn a_rule_that_cannot_be_bound_says_why() {
    for (template, body, expected) in [
        ("/v1/{nope}", "", "the path binds `nope`, but t.All has no field `nope`"),
        ("/v1/{inner.nope}", "", "the path binds `inner.nope`, but t.All has no field `nope`"),
        ("/v1/{names}", "", "the path binds `names`, but `names` is repeated"),
        ("/v1/{numbers}", "", "the path binds `numbers`, but `numbers` is repeated"),
        ("/v1/{items.i32}", "", "the path binds `items.i32`, but `items` is repeated"),
        ("/v1/{labels}", "", "the path binds `labels`, but `labels` is a map"),
        ("/v1/{inner}", "", "the path binds `inner`, but a t.All has no text form"),
        ("/v1/{value}", "", "the path binds `value`, but a google.protobuf.Value has no text form"),
        ("/v1/{at.seconds}", "", "the path binds `at.seconds`, but a google.protobuf.Timestamp is bound as a whole"),
        ("/v1/{i32.x}", "", "the path binds `i32.x`, but `i32` is no message"),
        ("/v1/{left}/{right}", "", "the path binds `left` and `right`, which are in one oneof"),
        (
            "/v1/{inner.left}/{inner.middle.i32}",
            "",
            "the path binds `inner.left` and `inner.middle.i32`, which are in one oneof",
        ),
        ("/v1/{i32}", "nope", "body is `nope`: there is no such field in t.All"),
        ("/v1/{i32}", "inner.text", "body is `inner.text`: it must name a field of the request itself in t.All"),
        ("/v1/{text}", "text", "body is `text`, which the path binds"),
        // All of it at once, and nothing that only follows.
        (
            "/v1/{nope}/{left}/{names}/{right}",
            "text.x",
            "the path binds `nope`, but t.All has no field `nope`; the path binds `names`, but `names` is repeated; \
             body is `text.x`: it must name a field of the request itself in t.All",
        ),
    ] {
        assert_eq!(plan("t.All", template, body).unwrap_err(), expected);
    }
    let plan = plan("t.All", "/v1/{inner.text=a/*}", "inner").unwrap();
    assert_eq!((plan.body, plan.query, plan.captures[0].multi), (Body::Field(16), true, true));
    assert_eq!(*plan.captures[0].path, [16, 13]);
}

#[test]
fn get_and_head_take_no_body() {
    for method in ["GET", "HEAD"] {
        for body in ["*", "inner"] {
            let refused = plan_of("t.All", method, "/v1/x", body).unwrap_err();
            assert!(refused.starts_with(&format!("{method} takes no body")), "{refused}");
        }
    }
    assert!(plan_of("t.All", "DELETE", "/v1/x", "*").is_ok());
}
