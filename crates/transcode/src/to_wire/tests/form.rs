//! Forms: bodies that bind like a query.

use serde_json::json;

use super::*;

fn form(template: &str, body: &str, input: Input<'_>) -> Result<Value, Invalid> {
    Request::rule(template, body, Input { media: Media::Form, ..input }).value()
}

fn whole(text: &str) -> Result<Value, Invalid> {
    form("/v1/x", "*", Input { body: text.as_bytes(), ..Input::default() })
}

#[test]
fn a_form_binds_like_a_query() {
    let text =
        "text=a+b%26c&inner.i32=5&numbers=1&numbers=2&labels[k%5D]=v&color=RED&at=2026-01-31T23:59:59Z&$alt=json";
    assert_eq!(
        whole(text).unwrap(),
        json!({"text": "a b&c", "inner": {"i32": 5}, "numbers": [1, 2], "labels": {"k]": "v"}, "color": "RED",
               "at": "2026-01-31T23:59:59Z"})
    );
    assert_eq!(whole("&&").unwrap(), json!({}));
}

#[test]
fn a_form_sets_the_fields_of_the_bodys_field() {
    let input = Input { body: b"i32=5&inner.text=x", captures: &["a"], query: "flag=true", ..Input::default() };
    let expected = json!({"inner": {"i32": 5, "text": "a", "inner": {"text": "x"}}, "flag": true});
    assert_eq!(form("/v1/{inner.text}", "inner", input).unwrap(), expected);
    assert_eq!(form("/v1/x", "inner", Input::default()).unwrap(), json!({}));
}

#[test]
fn a_form_is_held_to_the_rules_of_a_query() {
    for (text, expected) in [
        ("nope=1", "nope: no such parameter"),
        ("i32=x", "i32: expected an integer from -2147483648 to 2147483647, got \"x\""),
        ("i32=1&i32=2", "i32: given twice, with different values"),
        ("left=a&right=1", "right: another field of the oneof `choice` is set already"),
        ("text=%zz", "text: `%` must be followed by two hexadecimal digits"),
        ("items=1", "items: a repeated message cannot be a parameter: send it in the body"),
    ] {
        assert_eq!(whole(text).unwrap_err().to_string(), expected, "{text}");
    }
    assert_eq!(
        whole("labels[a]=1&labels[a]=2").unwrap_err().to_string(),
        "labels[a]: given twice, with different values"
    );
    let path = Input { body: b"text=b", captures: &["a"], ..Input::default() };
    let refused = form("/v1/{text}", "*", path).unwrap_err().to_string();
    assert_eq!(refused, "text: the path sets this field to another value");
    assert!(whole("text=\u{e9}").is_ok());
    let latin = Input { body: b"text=\xe9", ..Input::default() };
    assert_eq!(form("/v1/x", "*", latin).unwrap_err().message, "the form is not UTF-8");
}

#[test]
fn json_that_says_it_is_a_form_is_told_so() {
    for text in [r#"{"text": "x"}"#, " \n{\"text\":\"x&y=z\"}", "[1]", "%7B%22text%22%3A1%7D", "%5b1%5D"] {
        let refused = whole(text).unwrap_err();
        let told = "the body looks like JSON: send `content-type: application/json` with it";
        assert_eq!(refused.to_string(), told, "{text}");
        // Where unknown names are passed over, it is no empty form.
        let input = Input { body: text.as_bytes(), media: Media::Form, ..Input::default() };
        Request::rule("/v1/x", "*", input).ignoring().value().unwrap_err();
    }
    assert_eq!(whole("%6eope=1").unwrap_err().to_string(), "nope: no such parameter");
}

#[test]
fn what_has_no_fields_takes_no_form() {
    for field in ["numbers", "labels", "text", "at", "structure", "items"] {
        let refused = form("/v1/x", field, Input { body: b"a=1", ..Input::default() }).unwrap_err().to_string();
        assert_eq!(refused, format!("{field}: this field cannot be given as a form: send it as application/json"));
    }
    let none = Input { body: b"a=1", ..Input::default() };
    assert_eq!(form("/v1/x", "", none).unwrap_err().message, "this method takes no body");
}
