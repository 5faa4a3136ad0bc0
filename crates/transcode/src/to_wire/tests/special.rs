//! The well-known types.

use serde_json::json;

use super::*;

#[test]
fn timestamps_and_durations() {
    for (json, expected) in [
        (json!({"at":"2026-01-31T23:59:59.5Z"}), json!({"at":"2026-01-31T23:59:59.500Z"})),
        (json!({"at":"2026-01-31T23:59:59+01:00"}), json!({"at":"2026-01-31T22:59:59Z"})),
        (json!({"at":"0001-01-01T00:00:00Z"}), json!({"at":"0001-01-01T00:00:00Z"})),
        (json!({"at":"9999-12-31T23:59:59.999999999Z"}), json!({"at":"9999-12-31T23:59:59.999999999Z"})),
        (json!({"lasts":"-1.5s"}), json!({"lasts":"-1.500s"})),
        (json!({"lasts":"0s"}), json!({"lasts":"0s"})),
        (json!({"times":["1970-01-01T00:00:00Z"]}), json!({"times":["1970-01-01T00:00:00Z"]})),
    ] {
        assert_eq!(all(&json.to_string()).unwrap(), expected);
    }
    assert_eq!(
        refused(r#"{"at":"yesterday"}"#),
        "at: expected an RFC 3339 timestamp such as \"2026-01-31T23:59:59.5Z\", got \"yesterday\" (at byte 6)"
    );
    for json in [
        r#"{"at":1}"#,
        r#"{"at":"10000-01-01T00:00:00Z"}"#,
        r#"{"lasts":"1"}"#,
        r#"{"lasts":1}"#,
        r#"{"lasts":"315576000001s"}"#,
    ] {
        refused(json);
    }
}

#[test]
fn field_masks() {
    assert_eq!(all(r#"{"mask":"user.displayName,photo"}"#).unwrap(), json!({"mask":"user.displayName,photo"}));
    assert_eq!(Request::json("t.All", br#"{"mask":"aB"}"#).bytes().unwrap(), [0xa2, 3, 5, 0x0a, 3, b'a', b'_', b'b']);
    assert_eq!(all(r#"{"mask":""}"#).unwrap(), json!({"mask":""}));
    // AIP-134 and AIP-161.
    for mask in ["*", "a.*", "labels.my-key,labels.`f\u{fc}r 1`".replace(' ', "/").as_str()] {
        assert_eq!(all(&json!({ "mask": mask }).to_string()).unwrap()["mask"], mask);
    }
    for json in [r#"{"mask":"a_b"}"#, r#"{"mask":"a,"}"#, r#"{"mask":["a"]}"#, r#"{"mask":"a, b"}"#] {
        refused(json);
    }
}

#[test]
fn structs_values_and_lists() {
    let value = json!({"structure":{"a":null,"b":true,"c":false,"d":1.5,"e":"x","f":{"g":[1.0,[],{}]},"h":-0.0},
        "value":{"a":1.0},"list":[null,"x",{"y":[]}],"manyValues":[1.0,"a",null]});
    assert_eq!(all(&value.to_string()).unwrap(), value);
    for text in ["null", "true", "0.0", "\"\"", "[]", "{}"] {
        let value = json!({"value": serde_json::from_str::<Value>(text).unwrap()});
        assert_eq!(all(&value.to_string()).unwrap(), value);
    }
    let long = json!({"structure":{"k".repeat(200): "v".repeat(200), "list": ["w".repeat(300), "z".repeat(20_000)]}});
    assert_eq!(all(&long.to_string()).unwrap(), long);
    assert_eq!(
        refused(r#"{"value":{"a":[1,1e999]}}"#),
        "value[\"a\"][1]: this number is beyond the largest double (at byte 17)"
    );
    for json in [r#"{"structure":[]}"#, r#"{"list":{}}"#, r#"{"value":NaN}"#, r#"{"value":{"a":1,"a":1}}"#] {
        refused(json);
    }
}

#[test]
fn wrappers_are_their_values() {
    let value = json!({"doubleBox":1.5,"floatBox":-2.5,"int64Box":"-9223372036854775808","uint64Box":"18446744073709551615","int32Box":-1,
        "uint32Box":4294967295_u32,"boolBox":true,"stringBox":"x","bytesBox":"AQ==","boxes":[0,1]});
    assert_eq!(all(&value.to_string()).unwrap(), value);
    let zero = json!({"doubleBox":0.0,"int64Box":"0","boolBox":false,"stringBox":"","bytesBox":""});
    assert_eq!(all(&zero.to_string()).unwrap(), zero);
    assert_eq!(Request::json("t.All", br#"{"int32Box":0}"#).bytes().unwrap(), [0xd2, 4, 0]);
    refused(r#"{"int32Box":{"value":1}}"#);
}

#[test]
fn empty_is_an_object_without_fields() {
    assert_eq!(all(r#"{"empty":{}}"#).unwrap(), json!({"empty":{}}));
    assert_eq!(refused(r#"{"empty":{"a":1}}"#), "empty.a: google.protobuf.Empty has no such field (at byte 10)");
}

#[test]
fn null_is_a_value_of_value_and_null_value() {
    assert_eq!(all(r#"{"value":null,"nothing":null}"#).unwrap(), json!({"value":null,"nothing":null}));
    assert_eq!(all(r#"{"nothing":"NULL_VALUE"}"#).unwrap(), json!({"nothing":null}));
    assert_eq!(all(r#"{"anything":null}"#).unwrap(), json!({"anything":null}));
    assert_eq!(Request::json("t.All", br#"{"null":null}"#).bytes().unwrap(), b"");
}

#[test]
fn any_holds_a_loaded_type() {
    let url = "type.googleapis.com/t.All";
    let expected = json!({"any":{"@type":url,"i32":1,"text":"a".repeat(200)}});
    assert_eq!(all(&expected.to_string()).unwrap(), expected);
    let text = "a".repeat(200);
    for json in [
        format!(r#"{{"any":{{"i32":1,"@type":"{url}","text":"{text}"}}}}"#),
        format!(r#"{{"any":{{"i32":1,"text":"{text}","@type":"{url}"}}}}"#),
        format!(r#"{{"any":{{"text":"{text}","\u0040type":"type.googleapis.com\/t.All","i32":1}}}}"#),
    ] {
        assert_eq!(all(&json).unwrap(), expected);
    }
    assert_eq!(all(r#"{"any":{"@type":"x/t.Other"}}"#).unwrap(), json!({"any":{"@type":"x/t.Other"}}));
    assert_eq!(Request::json("t.All", br#"{"any":{}}"#).bytes().unwrap(), [0xc2, 3, 0]);
}

#[test]
fn any_of_a_well_known_type_has_its_form_in_value() {
    for value in [
        json!({"@type":"type.googleapis.com/google.protobuf.Timestamp","value":"2026-01-31T23:59:59Z"}),
        json!({"@type":"type.googleapis.com/google.protobuf.Int32Value","value":5}),
        json!({"@type":"type.googleapis.com/google.protobuf.Struct","value":{"a":[1.0]}}),
        json!({"@type":"type.googleapis.com/google.protobuf.Value","value":null}),
        json!({"@type":"type.googleapis.com/google.protobuf.Any","value":{"@type":"type.googleapis.com/t.All","i32":1}}),
    ] {
        let value = json!({ "any": value });
        assert_eq!(all(&value.to_string()).unwrap(), value);
    }
    let last = r#"{"any":{"value":"1.5s","@type":"type.googleapis.com/google.protobuf.Duration"}}"#;
    assert_eq!(all(last).unwrap()["any"]["value"], json!("1.500s"));
    for json in
        [r#"{"any":{"@type":"x/google.protobuf.Empty"}}"#, r#"{"any":{"@type":"x/google.protobuf.Empty","value":{}}}"#]
    {
        assert!(all(json).is_ok(), "{json}");
    }
}

#[test]
fn any_without_a_proper_type_is_refused() {
    for (json, expected) in [
        (r#"{"any":{"i32":1}}"#, "any: a google.protobuf.Any needs `@type` (at byte 8)"),
        (
            r#"{"any":{"@type":"t.All"}}"#,
            "any.@type: expected a type URL such as \"type.googleapis.com/pkg.Message\", got \"t.All\" (at byte 16)",
        ),
        (r#"{"any":{"@type":"x/t.Nope"}}"#, "any.@type: no loaded schema has the type, got \"x/t.Nope\" (at byte 16)"),
        (r#"{"any":{"@type":1}}"#, "any: expected a type URL, got 1 (at byte 16)"),
        (r#"{"any":{"@type":"x/t.All","@type":"x/t.All"}}"#, "any: `@type` is there twice (at byte 26)"),
        (
            r#"{"any":{"@type":"x/google.protobuf.Timestamp"}}"#,
            "any: an Any of a well-known type needs its JSON form in `value` (at byte 8)",
        ),
        (
            r#"{"any":{"@type":"x/google.protobuf.Int32Value","value":1,"value":1}}"#,
            "any: `value` is there twice (at byte 57)",
        ),
        (
            r#"{"any":{"@type":"x/google.protobuf.Int32Value","value":1,"i32":1}}"#,
            "any.i32: google.protobuf.Int32Value has no such field (at byte 57)",
        ),
        (r#"{"anys":[{"@type":"x/t.All","nope":1}]}"#, "anys[0].nope: t.All has no such field (at byte 28)"),
    ] {
        assert_eq!(refused(json), expected, "{json}");
    }
    refused(r#"{"any":{"@type":"x/google.protobuf.Timestamp","value":null}}"#);
    refused(r#"{"any":{"a":[1,],"@type":"x/t.All"}}"#);
}
