//! Query parameters.

use serde_json::json;

use super::*;

fn query(query: &str) -> Result<Value, Invalid> {
    Request::rule("/v1/x", "", Input { query, ..Input::default() }).value()
}

#[track_caller]
fn refusal(text: &str) -> String {
    query(text).unwrap_err().to_string()
}

#[test]
fn parameters_by_either_name_and_dotted_path() {
    assert_eq!(
        query("double_value=1.5&maybeText=a+b%2B&inner.inner.u64=7&inner.text=x&&flag=true").unwrap(),
        json!({"doubleValue":1.5,"maybeText":"a b+","inner":{"text":"x","inner":{"u64":"7"}},"flag":true})
    );
    assert_eq!(query("").unwrap(), json!({}));
    assert_eq!(query("text").unwrap(), json!({}));
    assert_eq!(query("%74ext=%C3%A9").unwrap(), json!({"text":"é"}));
}

#[test]
fn repeated_scalars_by_repeated_names() {
    assert_eq!(
        query("numbers=1&names=a&numbers=0&names=&colors=RED&colors=2&loose=-1&raws=AQ&numbers=-3").unwrap(),
        json!({"numbers":[1,0,-3],"names":["a",""],"colors":["RED","BLUE"],"loose":["-1"],"raws":["AQ=="]})
    );
    let request = Request::rule("/v1/x", "", Input { query: "numbers=1&text=a&numbers=2", ..Input::default() });
    assert_eq!(request.bytes().unwrap(), [0xa2, 1, 2, 1, 2, 14 << 3 | 2, 1, b'a']);
}

#[test]
fn maps_by_key() {
    assert_eq!(query("labels[a]=1&labels[b.c]=2&labels[]=3&byNumber[5]=x").unwrap_err().field, "byNumber[5]");
    assert_eq!(
        query("labels[a]=1&labels%5Bb.c%5D=2&labels[]=&by_flag[true]=RED&byBig[7]=1.5&inner.labels[x]=y").unwrap(),
        json!({"labels":{"a":"1","b.c":"2","":""},"byFlag":{"true":"RED"},"byBig":{"7":1.5},"inner":{"labels":{"x":"y"}}})
    );
    assert_eq!(query("labels[a]=1&labels[a]=1").unwrap(), json!({"labels":{"a":"1"}}));
    assert_eq!(
        refusal("$x=1&labels[a]=1&labels[b]=1&labels%5Ba%5D=2&i32=1"),
        "labels[a]: given twice, with different values"
    );
    assert_eq!(refusal("labels=1"), "labels: this is a map: write name[key]=value");
    assert_eq!(refusal("labels[a=1"), "labels[a: `[` without a `]` at the end");
    assert_eq!(refusal("text[a]=1"), "text[a]: only maps take a [key]");
    let long = "v".repeat(300);
    assert_eq!(query(&format!("labels[a]={long}")).unwrap(), json!({"labels":{"a":long}}));
}

#[test]
fn well_known_types_in_their_string_form() {
    assert_eq!(query("at=2026-01-31T23:59:59Z&lasts=1.5s&mask=aB,c&int32Box=0&stringBox=x&boolBox=false&inner.at=1970-01-01T00:00:00Z").unwrap(),
        json!({"at":"2026-01-31T23:59:59Z","lasts":"1.500s","mask":"aB,c","int32Box":0,"stringBox":"x","boolBox":false,"inner":{"at":"1970-01-01T00:00:00Z"}}));
    assert_eq!(refusal("lasts=x"), "lasts: expected a duration in seconds such as \"1.5s\", got \"x\"");
}

#[test]
fn messages_are_no_parameters() {
    assert_eq!(refusal("items=x"), "items: a repeated message cannot be a parameter: send it in the body");
    assert_eq!(refusal("items.i32=1"), "items.i32: nothing in `items` can be a parameter: send it in the body");
    assert_eq!(
        refusal("times=1970-01-01T00:00:00Z"),
        "times: a repeated message cannot be a parameter: send it in the body"
    );
    assert_eq!(refusal("inner=x"), "inner: a message cannot be a parameter: set its fields one by one");
    assert_eq!(refusal("at.seconds=1"), "at.seconds: `at` is one value: write at=value");
    for whole in ["structure", "value", "any", "empty"] {
        assert_eq!(refusal(&format!("{whole}=x")), format!("{whole}: this cannot be a parameter: send it in the body"));
    }
    assert_eq!(refusal("labels.a=b"), "labels.a: `labels` is a map: write labels[key]=value");
    let entry = "only a whole entry of a map can be a parameter: send this in the body";
    assert_eq!(refusal("labels[a].b=c"), format!("labels[a].b: {entry}"));
    assert_eq!(refusal("labels[a=c"), "labels[a: `[` without a `]` at the end");
    assert_eq!(refusal("i32.x=1"), "i32.x: `i32` has no fields that a parameter could set");
    let nothing = "nothing in `structure` can be a parameter: send it in the body";
    assert_eq!(refusal("structure.a=1"), format!("structure.a: {nothing}"));
}

#[test]
fn a_singular_parameter_twice_must_say_the_same() {
    assert_eq!(query("i32=1&i32=1&i32=1.0").unwrap(), json!({"i32":1}));
    assert_eq!(refusal("i32=1&i32=2"), "i32: given twice, with different values");
    assert_eq!(refusal("doubleValue=1&double_value=2"), "double_value: given twice, with different values");
    assert_eq!(refusal("i32=0&i32=2"), "i32: given twice, with different values");
}

#[test]
fn unknown_parameters_are_refused_or_read_over() {
    assert_eq!(refusal("nope=1"), "nope: no such parameter");
    assert_eq!(refusal("inner.nope=1"), "inner.nope: no such parameter");
    assert_eq!(refusal("=1"), ": no such parameter".trim_start_matches(": "));
    assert_eq!(refusal("inner..text=1"), "inner..text: no such parameter");
    let ignoring =
        Request::rule("/v1/x", "", Input { query: "nope=1&inner.nope=1&i32=2", ..Input::default() }).ignoring();
    assert_eq!(ignoring.value().unwrap(), json!({"i32":2}));
}

#[test]
fn bad_parameters_are_refused_by_name() {
    assert_eq!(refusal("text=%2"), "text: `%` must be followed by two hexadecimal digits");
    assert_eq!(refusal("te%xx=1"), "te%xx: `%` must be followed by two hexadecimal digits");
    assert_eq!(refusal("text=%ff"), "text: the percent-decoded text is not UTF-8");
    assert_eq!(refusal("i32="), "i32: expected an integer from -2147483648 to 2147483647, got \"\"");
    assert_eq!(refusal("flag=1"), "flag: expected true or false, got \"1\"");
    assert!(refusal(&format!("i32={}", "9".repeat(9999))).len() < 200);
}

#[test]
fn optional_set_to_its_default_counts_as_set() {
    assert_eq!(query("maybe=0&maybeText=&left=").unwrap(), json!({"maybe":0,"maybeText":"","left":""}));
    assert_eq!(query("i32=0").unwrap(), json!({}));
}

#[test]
fn one_member_of_a_oneof_over_all_sources() {
    assert_eq!(refusal("left=a&right=1"), "right: another field of the oneof `choice` is set already");
    assert_eq!(refusal("middle.i32=1&left=a"), "left: another field of the oneof `choice` is set already");
    let request = Request::rule("/v1/{left}", "", Input { query: "right=1", captures: &["a"], ..Input::default() });
    assert_eq!(request.value().unwrap_err().field, "right");
    let request = Request::rule("/v1/x", "middle", Input { query: "right=1", body: b"{}", ..Input::default() });
    assert_eq!(request.value().unwrap_err().field, "middle");
}

#[test]
fn the_query_cannot_change_what_the_path_says() {
    let with =
        |query| Request::rule("/v1/{inner.i32}", "", Input { query, captures: &["7"], ..Input::default() }).value();
    assert_eq!(with("inner.i32=7&inner.u32=1").unwrap(), json!({"inner":{"i32":7,"u32":1}}));
    assert_eq!(with("inner.i32=8").unwrap_err().to_string(), "inner.i32: the path sets this field to another value");
}

#[test]
fn the_body_field_is_no_parameter() {
    let with =
        |query| Request::rule("/v1/x", "inner", Input { query, body: b"{\"i32\":1}", ..Input::default() }).value();
    assert_eq!(with("inner.text=a").unwrap_err().to_string(), "inner.text: this field is the request's body");
    assert_eq!(with("inner=a").unwrap_err().to_string(), "inner: this field is the request's body");
    assert_eq!(with("text=a").unwrap(), json!({"inner":{"i32":1},"text":"a"}));
}

#[test]
fn a_whole_body_leaves_nothing_to_the_query() {
    let with = |query| Request::rule("/v1/x", "*", Input { query, body: b"{}", ..Input::default() });
    assert_eq!(
        with("i32=2").bytes().unwrap_err().to_string(),
        "i32: the body is the whole request: it leaves no field to the query"
    );
    assert_eq!(with("$alt=json&&%24x=1").value().unwrap(), json!({}));
    assert_eq!(with("i32=2&nope=1").ignoring().value().unwrap(), json!({}));
}

#[test]
fn system_parameters_are_no_fields() {
    assert_eq!(query("$alt=json;enum-encoding=int&%24prettyPrint=true&$x&i32=1").unwrap(), json!({"i32":1}));
    for (query, expected) in [
        ("$alt=json;enum-encoding=int", true),
        ("a=b&%24alt=json%3Benum-encoding%3Dint", true),
        ("$alt=json", false),
        ("$alt=media;enum-encoding=int", false),
        ("alt=json;enum-encoding=int", false),
        ("", false),
    ] {
        assert_eq!(SystemParameters::of(query).enums_as_numbers, expected, "{query}");
    }
}

/// Paths as the .proto names its fields, or as JSON does; the one text that ProtoJSON has, or the mask's own field.
#[test]
fn a_mask_takes_both_spellings_and_its_paths() {
    let paths = |text: &str| {
        let bytes = query(text).unwrap();
        bytes["mask"].clone()
    };
    for text in ["mask=a_b,c", "mask=aB,c", "mask.paths=a_b&mask.paths=c", "mask=a_b,c&mask=aB,c"] {
        assert_eq!(paths(text), "aB,c", "{text}");
    }
    assert_eq!(paths("mask=*,inner.text"), "*,inner.text");
    for text in ["mask=a&mask.paths=b", "mask.paths=b&mask=a"] {
        assert!(query(text).unwrap_err().to_string().contains("given twice"), "{text}");
    }
    for text in ["mask=a_b,", "mask=a_b%20", "mask.paths.x=a", "mask.other=a", "mask=a_b,c&mask=ab,c"] {
        assert!(query(text).is_err(), "{text}");
    }
    assert_eq!(query("inner.text=a&inner.at=1970-01-01T00:00:00Z&inner.text=a").unwrap()["inner"]["text"], "a");
}
