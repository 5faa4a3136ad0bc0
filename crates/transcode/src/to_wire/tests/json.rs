//! The rules of ProtoJSON for ordinary fields.

use serde_json::json;

use super::*;

#[test]
fn integers_from_numbers_and_strings() {
    for text in ["7", "\"7\"", "7.0", "\"7.0\"", "70e-1", "\"0.7e1\"", "7e0", "\"\\u0037\""] {
        for (field, value) in [
            ("i32", json!(7)),
            ("s32", json!(7)),
            ("sf32", json!(7)),
            ("u32", json!(7)),
            ("f32", json!(7)),
            ("i64", json!("7")),
            ("s64", json!("7")),
            ("sf64", json!("7")),
            ("u64", json!("7")),
            ("f64", json!("7")),
        ] {
            assert_eq!(all(&format!("{{\"{field}\":{text}}}")).unwrap(), json!({ field: value }), "{field} {text}");
        }
    }
}

#[test]
fn integers_at_the_ends_of_their_ranges() {
    for field in ["i32", "s32", "sf32"] {
        assert_eq!(all(&format!("{{\"{field}\":-2147483648}}")).unwrap(), json!({ field: i32::MIN }));
        assert_eq!(all(&format!("{{\"{field}\":2147483647}}")).unwrap(), json!({ field: i32::MAX }));
        let message = format!("{field}: expected an integer from -2147483648 to 2147483647, got ");
        assert!(refused(&format!("{{\"{field}\":2147483648}}")).starts_with(&message));
        assert!(refused(&format!("{{\"{field}\":-2147483649}}")).starts_with(&message));
    }
    for field in ["i64", "s64", "sf64"] {
        assert_eq!(
            all(&format!("{{\"{field}\":-9223372036854775808}}")).unwrap(),
            json!({ field: i64::MIN.to_string() })
        );
        assert_eq!(
            all(&format!("{{\"{field}\":\"9223372036854775807\"}}")).unwrap(),
            json!({ field: i64::MAX.to_string() })
        );
        refused(&format!("{{\"{field}\":9223372036854775808}}"));
        refused(&format!("{{\"{field}\":-9223372036854775809}}"));
    }
    for field in ["u32", "f32"] {
        assert_eq!(all(&format!("{{\"{field}\":4294967295}}")).unwrap(), json!({ field: u32::MAX }));
        assert_eq!(all(&format!("{{\"{field}\":-0}}")).unwrap(), json!({}));
        refused(&format!("{{\"{field}\":4294967296}}"));
        refused(&format!("{{\"{field}\":-1}}"));
    }
    for field in ["u64", "f64"] {
        assert_eq!(
            all(&format!("{{\"{field}\":18446744073709551615}}")).unwrap(),
            json!({ field: u64::MAX.to_string() })
        );
        refused(&format!("{{\"{field}\":18446744073709551616}}"));
        refused(&format!("{{\"{field}\":\"-1\"}}"));
    }
}

#[test]
fn integers_beyond_2_to_the_53_are_exact() {
    assert_eq!(all(r#"{"i64":9007199254740993}"#).unwrap(), json!({"i64":"9007199254740993"}));
    assert_eq!(all(r#"{"u64":9007199254740993.0}"#).unwrap(), json!({"u64":"9007199254740993"}));
}

#[test]
fn what_is_no_integer_is_refused() {
    for value in [
        "1.5", "\"1.5\"", "\"\"", "\" 1\"", "\"1 \"", "\"0x1\"", "\"abc\"", "true", "{}", "[]", "\"1e-1\"", "\"NaN\"",
        "\"01\"",
    ] {
        assert!(refused(&format!("{{\"i32\":{value}}}")).starts_with("i32: expected an integer"), "{value}");
    }
    assert_eq!(
        refused(r#"{"inner":{"items":[{},{"i32":"abc"}]}}"#),
        "inner.items[1].i32: expected an integer from -2147483648 to 2147483647, got \"abc\" (at byte 29)"
    );
    refused(r#"{"i32":01}"#);
    refused(r#"{"i32":1e}"#);
    refused(r#"{"i32":NaN}"#);
}

#[test]
fn floats() {
    for (text, value) in [
        ("1.5", json!(1.5)),
        ("\"1.5\"", json!(1.5)),
        ("\"NaN\"", json!("NaN")),
        ("\"Infinity\"", json!("Infinity")),
        ("\"-Infinity\"", json!("-Infinity")),
        ("-1e-3", json!(-1e-3)),
        ("5e-324", json!(5e-324)),
        ("1.7976931348623157e308", json!(f64::MAX)),
        ("0.1", json!(0.1)),
    ] {
        assert_eq!(all(&format!("{{\"doubleValue\":{text}}}")).unwrap(), json!({"doubleValue": value}), "{text}");
    }
    assert_eq!(all(r#"{"floatValue":3.4028235e38}"#).unwrap()["floatValue"].as_f64().unwrap() as f32, f32::MAX);
    for text in
        ["1e309", "-1e309", "\"1e309\"", "NaN", "Infinity", "\"inf\"", "\"nan\"", "\"\"", "\"+1\"", "true", ".5", "1."]
    {
        refused(&format!("{{\"doubleValue\":{text}}}"));
    }
    for text in ["3.5e38", "-3.5e38", "\"3.5e38\""] {
        assert!(refused(&format!("{{\"floatValue\":{text}}}")).starts_with("floatValue: expected a number from -3.4"));
    }
}

#[test]
fn minus_zero_is_kept_in_floats() {
    assert_eq!(
        Request::json("t.All", br#"{"doubleValue":-0}"#).bytes().unwrap(),
        [&[12 << 3 | 1][..], &(-0.0_f64).to_le_bytes()].concat()
    );
    assert_eq!(
        Request::json("t.All", br#"{"floatValue":"-0.0"}"#).bytes().unwrap(),
        [&[11 << 3 | 5][..], &(-0.0_f32).to_le_bytes()].concat()
    );
    assert_eq!(Request::json("t.All", br#"{"i32":-0}"#).bytes().unwrap(), b"");
}

#[test]
fn defaults_without_presence_are_not_written() {
    let json = br#"{"i32":0,"u64":"0","doubleValue":0,"flag":false,"text":"","raw":"","color":"NONE","numbers":[],"labels":{}}"#;
    assert_eq!(Request::json("t.All", json).bytes().unwrap(), b"");
    assert_eq!(
        Request::json("t.All", br#"{"maybe":0,"maybeText":"","left":""}"#).bytes().unwrap(),
        [0x90, 1, 0, 0x9a, 1, 0, 0xc2, 2, 0]
    );
}

#[test]
fn booleans() {
    assert_eq!(all(r#"{"flag":true}"#).unwrap(), json!({"flag": true}));
    for value in ["1", "\"true\"", "\"\"", "True", "truex", "tru"] {
        refused(&format!("{{\"flag\":{value}}}"));
    }
}

#[test]
fn enums_by_name_or_number() {
    assert_eq!(
        all(r#"{"color":"RED","colors":["BLUE","AZURE",1,-1,0,"\u0052ED",1.0]}"#).unwrap(),
        json!({"color":"RED","colors":["BLUE","BLUE","RED","DARK","NONE","RED","RED"]})
    );
    assert_eq!(
        refused(r#"{"color":"red"}"#),
        "color: expected a value of t.Color by name or number, got \"red\" (at byte 9)"
    );
    for value in ["\"1\"", "1.5", "2147483648", "true", "{}"] {
        refused(&format!("{{\"color\":{value}}}"));
    }
}

#[test]
fn unknown_enum_numbers_are_kept() {
    assert_eq!(all(r#"{"color":77}"#).unwrap(), json!({"color": 77}));
    assert_eq!(all(r#"{"colors":[77]}"#).unwrap(), json!({"colors": [77]}));
}

#[test]
fn unknown_enum_names_are_read_over_where_unknown_fields_are() {
    let json = br#"{"color":"PINK","colors":["RED","PINK"],"byFlag":{"true":"PINK","false":"RED"}}"#;
    let value = Request::json("t.All", json).ignoring().value().unwrap();
    assert_eq!(value, json!({"colors":["RED"],"byFlag":{"false":"RED"}}));
    assert_eq!(Request::json("t.All", br#"{"colors":["PINK"]}"#).ignoring().bytes().unwrap(), b"");
}

#[test]
fn strings_with_every_escape() {
    assert_eq!(
        all(r#"{"text":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é😀"}"#).unwrap(),
        json!({"text":"\"\\/\u{8}\u{c}\n\r\té😀é😀"})
    );
    for length in [1, 126, 127, 128, 20_000] {
        let text = "é".repeat(length);
        assert_eq!(all(&format!("{{\"text\":\"{text}\"}}")).unwrap(), json!({"text": text}));
        assert_eq!(all(&format!("{{\"text\":\"\\n{text}\"}}")).unwrap(), json!({"text": format!("\n{text}")}));
    }
    for value in ["1", "true", "{}", r#""\ud800""#, "\"\u{1}\"", r#""\x""#] {
        refused(&format!("{{\"text\":{value}}}"));
    }
}

#[test]
fn invalid_utf8_is_refused_with_its_place() {
    let invalid = Request::json("t.All", b"{\"text\":\"ab\xff\"}").bytes().unwrap_err();
    assert_eq!(invalid.to_string(), "the body is not UTF-8 (at byte 11)");
}

#[test]
fn bytes_in_both_alphabets_with_or_without_padding() {
    for (text, value) in [
        ("", ""),
        ("AQ==", "AQ=="),
        ("AQ", "AQ=="),
        ("-_", "+w=="),
        ("+/8=", "+/8="),
        ("-_8", "+/8="),
        (r"\/\/8=", "//8="),
        ("AQI=", "AQI="),
    ] {
        let expected = if value.is_empty() { json!({}) } else { json!({"raw": value}) };
        assert_eq!(all(&format!("{{\"raw\":\"{text}\"}}")).unwrap(), expected, "{text}");
    }
    assert_eq!(refused(r#"{"raw":"a b"}"#), "raw: expected a base64 string, got \"a b\" (at byte 7)");
    for text in ["A", "AQ=", "AQ===", "A=Q=", "*"] {
        refused(&format!("{{\"raw\":\"{text}\"}}"));
    }
    let long = "QUFB".repeat(5000);
    assert_eq!(all(&format!("{{\"raws\":[\"{long}\"]}}")).unwrap(), json!({"raws": [long]}));
}

#[test]
fn nested_and_repeated_messages() {
    let value = json!({"inner":{"inner":{"text":"x".repeat(300)},"items":[{"i32":1},{},{"text":"y".repeat(200)}]},"names":["a","","c"],
        "numbers":[0,-1,2],"loose":["0","-5"],"doubles":[0.0,1.5]});
    assert_eq!(all(&value.to_string()).unwrap(), value);
    assert_eq!(all(&serde_json::to_string_pretty(&value).unwrap()).unwrap(), value);
    assert_eq!(
        Request::json("t.All", br#"{"numbers":[0,1],"loose":[0]}"#).bytes().unwrap(),
        [0xa2, 1, 2, 0, 1, 0xa8, 1, 0]
    );
    assert_eq!(Request::json("t.All", br#"{"inner":{}}"#).bytes().unwrap(), [0x8a, 1, 0]);
    for json in [
        r#"{"numbers":1}"#,
        r#"{"numbers":{}}"#,
        r#"{"inner":[]}"#,
        r#"{"inner":""}"#,
        r#"{"numbers":[[1]]}"#,
        r#"{"items":[1]}"#,
    ] {
        refused(json);
    }
    assert_eq!(
        refused(r#"{"numbers":[1,"x"]}"#),
        "numbers[1]: expected an integer from -2147483648 to 2147483647, got \"x\" (at byte 14)"
    );
}

#[test]
fn maps_of_all_keys() {
    let value = json!({"labels":{"a":"1","":""},"byNumber":{"-1":{"i32":1},"0":{}},"byBig":{"18446744073709551615":1.5},
        "byFlag":{"true":"RED","false":"NONE"},"values":{"x":null,"y":[1.0]},"bySigned":{"-9223372036854775808":"AQ=="}});
    assert_eq!(all(&value.to_string()).unwrap(), value);
    assert_eq!(Request::json("t.All", br#"{"labels":{"":""}}"#).bytes().unwrap(), [0xf2, 1, 4, 0x0a, 0, 0x12, 0]);
    assert_eq!(
        refused(r#"{"byNumber":{"x":{}}}"#),
        "byNumber[\"x\"]: expected an integer from -2147483648 to 2147483647, got \"x\" (at byte 14)"
    );
    for json in [
        r#"{"byNumber":{"1.5":{}}}"#,
        r#"{"byFlag":{"1":"RED"}}"#,
        r#"{"byBig":{"-1":1}}"#,
        r#"{"labels":[]}"#,
        r#"{"labels":{"a":1}}"#,
    ] {
        refused(json);
    }
}

#[test]
fn equal_map_keys_are_refused() {
    assert_eq!(
        refused(r#"{"labels":{"a":"1","b":"2","a":"1"}}"#),
        "labels[\"a\"]: this key is there twice (at byte 27)"
    );
    refused(r#"{"labels":{"a":"1","\u0061":"2"}}"#);
    refused(r#"{"byNumber":{"1":{},"1.0":{}}}"#);
    refused(r#"{"structure":{"a":1,"a":2}}"#);
    let long = "k".repeat(200);
    refused(&format!(r#"{{"labels":{{"{long}":"","\u006b{}":""}}}}"#, &long[1..]));
    let mut many: Vec<String> = (0..1000).map(|number| format!("\"{}\":\"\"", number * 7919 % 1000)).collect();
    assert!(all(&format!("{{\"labels\":{{{}}}}}", many.join(","))).is_ok());
    many.push("\"500\":\"\"".into());
    assert!(
        refused(&format!("{{\"labels\":{{{}}}}}", many.join(",")))
            .starts_with("labels[\"500\"]: this key is there twice")
    );
}

#[test]
fn null_is_absent() {
    let json = r#"{"i32":null,"text":null,"inner":null,"numbers":null,"labels":null,"maybe":null,"left":null,"right":1,"at":null,"int32Box":null,"color":null}"#;
    assert_eq!(all(json).unwrap(), json!({"right": 1}));
    assert_eq!(Request::json("t.All", b"{\"maybe\": null}").bytes().unwrap(), b"");
    refused(r#"{"i32":nul}"#);
    refused(r#"{"i32":nulls}"#);
}

#[test]
fn null_in_lists_and_maps_is_refused() {
    for json in [
        r#"{"numbers":[null]}"#,
        r#"{"names":["a",null]}"#,
        r#"{"items":[null]}"#,
        r#"{"labels":{"a":null}}"#,
        r#"{"byNumber":{"1":null}}"#,
        r#"{"colors":[null]}"#,
        r#"{"boxes":[null]}"#,
        r#"{"times":[null]}"#,
    ] {
        assert!(refused(json).contains("null"), "{json}");
    }
    let value = json!({"nulls":[null,null],"manyValues":[null,1.0],"values":{"a":null}});
    assert_eq!(all(&value.to_string()).unwrap(), value);
}

#[test]
fn one_member_of_a_oneof() {
    assert_eq!(all(r#"{"left":"a"}"#).unwrap(), json!({"left":"a"}));
    assert_eq!(all(r#"{"middle":{}}"#).unwrap(), json!({"middle":{}}));
    assert_eq!(
        refused(r#"{"left":"a","right":1}"#),
        "right: another field of the oneof `choice` is set already (at byte 20)"
    );
    refused(r#"{"nothing":null,"left":""}"#);
    refused(r#"{"anything":null,"left":""}"#);
}

#[test]
fn both_names_of_a_field() {
    assert_eq!(
        all(r#"{"double_value":1,"maybeText":"a","@odd name":"b"}"#).unwrap(),
        json!({"doubleValue":1.0,"maybeText":"a","@odd name":"b"})
    );
    assert_eq!(
        all(r#"{"renamed":"b","farAway":3,"\u0074ext":"t"}"#).unwrap(),
        json!({"@odd name":"b","farAway":3,"text":"t"})
    );
    assert_eq!(refused(r#"{"double_value":"x"}"#).split(':').next(), Some("double_value"));
}

#[test]
fn a_field_twice_is_refused() {
    for json in [
        r#"{"i32":1,"i32":1}"#,
        r#"{"i32":null,"i32":1}"#,
        r#"{"doubleValue":1,"double_value":1}"#,
        r#"{"names":["a"],"names":["b"]}"#,
        r#"{"inner":{},"inner":{}}"#,
        r#"{"farAway":1,"i32":1,"farAway":1}"#,
        r#"{"i32":1,"\u0069\u00332":2}"#,
    ] {
        assert!(refused(json).contains("this field is there twice"), "{json}");
    }
}

#[test]
fn unknown_fields_are_refused_by_path() {
    assert_eq!(
        refused(r#"{"items":[{"inner":{"nope":1}}]}"#),
        "items[0].inner.nope: t.All has no such field (at byte 20)"
    );
    assert!(refused(&format!("{{\"{}\":1}}", "n".repeat(10_000))).len() < 200);
    refused(r#"{"@type":"x"}"#);
}

#[test]
fn unknown_fields_are_read_over_if_told_so_and_are_json_all_the_same() {
    let ignored = |json: &str| Request::json("t.All", json.as_bytes()).ignoring().value();
    assert_eq!(ignored(r#"{"nope":{"a":[1,"\u00e9",null,true,-1.5e3]},"i32":1,"no":"x"}"#).unwrap(), json!({"i32":1}));
    for json in [
        r#"{"nope":{"a":[1,]}}"#,
        r#"{"nope":"\ud800"}"#,
        r#"{"nope":01}"#,
        "{\"nope\":\"\u{2}\"}",
        r#"{"nope":tru}"#,
        r#"{"nope"}"#,
    ] {
        assert!(ignored(json).is_err(), "{json}");
    }
}

#[test]
fn text_that_is_no_json_object_is_refused() {
    for json in [
        "",
        " ",
        "null",
        "[]",
        "1",
        "{",
        "{}{}",
        "{} x",
        "{\"i32\"}",
        "{\"i32\":}",
        "{\"i32\":1,}",
        "{,}",
        "{'i32':1}",
        "{i32:1}",
        "{\"i32\":1 \"u32\":1}",
        "\u{feff}{}",
    ] {
        if json.is_empty() {
            assert_eq!(all(json).unwrap(), json!({}), "no body is no field");
        } else {
            refused(json);
        }
    }
    assert_eq!(all(" \r\n\t{ \"i32\" : 1 , \"text\" : \"a\" } ").unwrap(), json!({"i32":1,"text":"a"}));
}

#[test]
fn groups_and_required_fields_of_proto2() {
    let two = |json: &str| Request::json("t2.Two", json.as_bytes()).value();
    let value =
        json!({"id":1,"name":"x","part":{"size":3,"inner":{"id":2}},"bit":[{"value":0},{"value":7}],"closed":"B"});
    assert_eq!(two(&value.to_string()).unwrap(), value);
    assert_eq!(two("{}").unwrap_err().to_string(), "id: this field is required (at byte 2)");
    assert_eq!(two(r#"{"id":null}"#).unwrap_err().to_string(), "id: this field is required (at byte 10)");
    assert_eq!(two(r#"{"id":1,"bit":[{}]}"#).unwrap_err().field, "bit[0].value");
    assert_eq!(two(r#"{"id":1,"next":{"name":""}}"#).unwrap_err().field, "next.id");
    assert_eq!(two("").unwrap_err().field, "id");
}

#[test]
fn closed_enums_take_no_unknown_numbers() {
    let json = br#"{"id":1,"closed":3}"#;
    assert!(Request::json("t2.Two", json).bytes().is_err());
    assert_eq!(
        Request::json("t2.Two", br#"{"id":1,"closed":3,"many":[1,3,2]}"#).ignoring().value().unwrap(),
        json!({"id":1,"many":["A","B"]})
    );
}
