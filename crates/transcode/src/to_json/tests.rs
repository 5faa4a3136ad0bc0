//! One test for each rule. Messages are written byte by byte, as no encoder would.

use super::*;
use crate::plan::OutOptions;
use crate::status::{Code, Detail, Status};

pub(crate) mod wire {
    //! Records of the wire format.
    pub(crate) fn varint(mut value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }
    fn record(number: u64, wire_type: u64, value: &[u8]) -> Vec<u8> {
        [varint(number << 3 | wire_type).as_slice(), value].concat()
    }
    pub(crate) fn int(number: u64, value: u64) -> Vec<u8> {
        record(number, 0, &varint(value))
    }
    pub(crate) fn long(number: u64, value: f64) -> Vec<u8> {
        record(number, 1, &value.to_le_bytes())
    }
    pub(crate) fn short(number: u64, value: f32) -> Vec<u8> {
        record(number, 5, &value.to_le_bytes())
    }
    pub(crate) fn len(number: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
        record(number, 2, &[varint(value.as_ref().len() as u64).as_slice(), value.as_ref()].concat())
    }
    pub(crate) fn group(number: u64, value: &[u8]) -> Vec<u8> {
        [record(number, 3, value), varint(number << 3 | 4)].concat()
    }
}
use wire::{group, int, len, long, short};

const PROTO: &str = r#"
    syntax = "proto3"; package p;
    import "google/protobuf/any.proto"; import "google/protobuf/duration.proto";
    import "google/protobuf/empty.proto"; import "google/protobuf/field_mask.proto";
    import "google/protobuf/struct.proto"; import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto";
    message M {
        double f64 = 1; float f32 = 2; int64 i64 = 3; uint64 u64 = 4; int32 i32 = 5; fixed64 x64 = 6; fixed32 x32 = 7;
        bool yes = 8; string text = 9; bytes data = 12; uint32 u32 = 13; E kind = 14; sfixed32 s32 = 15;
        sfixed64 s64 = 16; sint32 z32 = 17; sint64 z64 = 18;
        repeated int32 ints = 21; repeated string texts = 22; repeated M many = 23; repeated bool flags = 24;
        map<string, int32> counts = 31; map<int64, M> by_id = 32; map<bool, string> by_flag = 33;
        M inner = 41; optional int32 maybe = 42;
        oneof choice { string left = 51; M right = 52; int32 middle = 53; }
        google.protobuf.Any any = 61; google.protobuf.Timestamp at = 62; google.protobuf.Duration took = 63;
        google.protobuf.FieldMask mask = 64; google.protobuf.Struct fields = 65; google.protobuf.Value value = 66;
        google.protobuf.ListValue list = 67; google.protobuf.Int64Value wrapped = 68; google.protobuf.Empty empty = 69;
        google.protobuf.NullValue null = 70; google.protobuf.StringValue name_wrapped = 71;
        string weird_name = 5000 [json_name = "a\"b"];
    }
    enum E { ZERO = 0; ONE = 1; UNO = 1; MINUS = -1; option allow_alias = true; }
"#;

const PROTO2: &str = r#"
    syntax = "proto2"; package q;
    message M {
        optional Closed closed = 1; repeated Closed many = 2 [packed = true]; map<int32, Closed> by_id = 3;
        optional group Part = 4 { optional int32 part = 4; optional Part deeper = 5; }
        repeated group Piece = 6 { optional int32 x = 1; }
        optional int32 preset = 7 [default = -7]; optional string named = 8 [default = "n\"n"];
        oneof choice { Closed left = 9; int32 right = 10; }
        optional Closed first = 11;
        extensions 100 to 200;
    }
    message Part { optional M m = 1; }
    extend M { optional int32 extra = 100; }
    enum Closed { TWO = 2; ONE = 1; }
"#;

pub(crate) fn schema(text: &str) -> Schema {
    struct One(String);
    impl protox::file::FileResolver for One {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            match name {
                "a.proto" => protox::file::File::from_source(name, &self.0),
                _ => protox::file::GoogleFileResolver::new().open_file(name),
            }
        }
    }
    let mut compiler = protox::Compiler::with_file_resolver(One(text.to_owned()));
    compiler.open_file("a.proto").unwrap();
    let mut builder = Schema::builder();
    builder.add(&compiler.encode_file_descriptor_set(), "a.binpb").unwrap();
    builder.build().unwrap()
}

/// One message of the proto, printed with these options.
fn try_print(proto: &str, message: &[u8], field: &str, options: OutOptions, limits: Limits) -> Result<String, Invalid> {
    let schema = schema(proto);
    let name = if proto == PROTO { "p.M" } else { "q.M" };
    let plan = OutPlan::compile(&schema, schema.message_named(name).unwrap(), field, options).unwrap();
    let mut out = b"kept".to_vec();
    let done = to_json(&schema, &plan, message, &limits, &mut Scratch::default(), &mut out);
    let printed = String::from_utf8(out).unwrap().strip_prefix("kept").unwrap().to_owned();
    assert!(done.is_ok() || printed.is_empty());
    if done.is_ok() {
        serde_json::from_str::<serde_json::Value>(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    }
    done.map(|()| printed)
}

fn print(message: &[u8]) -> String {
    try_print(PROTO, message, "", OutOptions::default(), Limits::default()).unwrap()
}

fn refuse(message: &[u8]) -> Invalid {
    try_print(PROTO, message, "", OutOptions::default(), Limits::default()).unwrap_err()
}

fn print2(message: &[u8]) -> String {
    try_print(PROTO2, message, "", OutOptions::default(), Limits::default()).unwrap()
}

#[test]
fn scalars() {
    let message = [
        long(1, 1.5),
        short(2, 0.1),
        int(3, i64::MIN as u64),
        int(4, u64::MAX),
        int(5, -5_i64 as u64),
        int(8, 2),
        len(9, "a\"\u{e9}\n"),
        len(12, [0, 255]),
        int(13, 7),
        int(14, 1),
        int(17, 1),
        int(18, 3),
    ];
    assert_eq!(
        print(&message.concat()),
        "{\"f64\":1.5,\"f32\":0.1,\"i64\":\"-9223372036854775808\",\"u64\":\"18446744073709551615\",\"i32\":-5,\
         \"yes\":true,\"text\":\"a\\\"\u{e9}\\n\",\"data\":\"AP8=\",\"u32\":7,\"kind\":\"ONE\",\"z32\":-1,\"z64\":\"-2\"}"
    );
}

#[test]
fn numbers_that_json_has_not() {
    let message = [long(1, f64::NAN), short(2, f32::NEG_INFINITY)].concat();
    assert_eq!(print(&message), r#"{"f64":"NaN","f32":"-Infinity"}"#);
    assert_eq!(print(&long(1, f64::INFINITY)), r#"{"f64":"Infinity"}"#);
    assert_eq!(print(&[long(1, -0.0), short(2, -0.0)].concat()), r#"{"f64":-0,"f32":-0}"#);
}

#[test]
fn integers_are_cut_to_their_width() {
    let high = 1 << 40;
    assert_eq!(
        print(&[int(5, high | 3), int(13, high | 4), int(14, high | 1)].concat()),
        r#"{"i32":3,"u32":4,"kind":"ONE"}"#
    );
    assert_eq!(print(&int(5, high)), "{}");
}

#[test]
fn enums_by_first_name_and_unknown_ones_by_number() {
    assert_eq!(print(&int(14, -1_i64 as u64)), r#"{"kind":"MINUS"}"#);
    assert_eq!(print(&int(14, 99)), r#"{"kind":99}"#);
}

#[test]
fn defaults_are_left_out_unless_they_have_presence() {
    assert_eq!(print(&[int(5, 0), long(1, 0.0), len(9, ""), int(14, 0)].concat()), "{}");
    assert_eq!(print(&[int(42, 0), len(51, "")].concat()), r#"{"maybe":0,"left":""}"#);
    assert_eq!(print(&len(41, "")), r#"{"inner":{}}"#);
}

#[test]
fn names_are_escaped_in_keys() {
    assert_eq!(print(&len(5000, "x")), r#"{"a\"b":"x"}"#);
}

#[test]
fn lists_packed_and_not() {
    assert_eq!(print(&len(21, [1, 2, 0x96, 1])), r#"{"ints":[1,2,150]}"#);
    assert_eq!(print(&[int(21, 1), len(21, [2, 3]), len(21, []), int(21, 4)].concat()), r#"{"ints":[1,2,3,4]}"#);
    assert_eq!(print(&[len(22, "a"), len(22, "")].concat()), r#"{"texts":["a",""]}"#);
    assert_eq!(print(&[len(23, int(5, 1)), len(23, "")].concat()), r#"{"many":[{"i32":1},{}]}"#);
    assert_eq!(print(&len(21, [])), "{}");
}

#[test]
fn maps() {
    let entry = |key: Vec<u8>, value: Vec<u8>| len(31, [key, value].concat());
    assert_eq!(print(&entry(len(1, "a"), int(2, 1))), r#"{"counts":{"a":1}}"#);
    assert_eq!(print(&entry(vec![], vec![])), r#"{"counts":{"":0}}"#);
    assert_eq!(print(&entry(int(2, 5), len(1, "late"))), r#"{"counts":{"late":5}}"#);
    assert_eq!(print(&len(32, int(1, -3_i64 as u64))), r#"{"byId":{"-3":{}}}"#);
    assert_eq!(print(&len(33, [int(1, 1), len(2, "t")].concat())), r#"{"byFlag":{"true":"t"}}"#);
    let twice = [entry(len(1, "a"), int(2, 1)), entry(len(1, "b"), int(2, 2)), entry(len(1, "a"), int(2, 3))];
    assert_eq!(print(&twice.concat()), r#"{"counts":{"a":3,"b":2}}"#);
}

#[test]
fn in_a_map_entry_the_last_key_counts_and_message_values_merge() {
    let entry = len(32, [int(1, 1), len(2, int(5, 1)), int(1, 2), len(2, len(9, "t"))].concat());
    assert_eq!(print(&entry), r#"{"byId":{"2":{"i32":1,"text":"t"}}}"#);
}

#[test]
fn unknown_fields_are_read_over() {
    let unknown =
        [int(1000, 1), long(1001, 1.0), short(1002, 1.0), len(1003, "x"), group(1004, &group(1005, &int(1, 1)))];
    assert_eq!(print(&[unknown.concat(), int(5, 1)].concat()), r#"{"i32":1}"#);
}

#[test]
fn fields_of_another_wire_type_are_unknown() {
    let wrong = [len(5, "x"), int(9, 1), int(41, 1), long(21, 1.0), group(41, &[]), int(31, 1)];
    assert_eq!(print(&wrong.concat()), "{}");
}

#[test]
fn the_last_singular_value_counts() {
    assert_eq!(print(&[int(5, 1), len(9, "t"), int(5, 2)].concat()), r#"{"i32":2,"text":"t"}"#);
    assert_eq!(print(&[int(5, 1), int(5, 0)].concat()), "{}");
}

#[test]
fn submessages_that_come_twice_are_merged() {
    let a = len(41, [int(5, 1), len(41, int(5, 3)), int(21, 1)].concat());
    let b = len(41, [len(9, "t"), len(41, len(9, "u")), int(21, 2), int(5, 2)].concat());
    assert_eq!(
        print(&[a, int(5, 9), b].concat()),
        r#"{"i32":9,"inner":{"i32":2,"text":"t","ints":[1,2],"inner":{"i32":3,"text":"u"}}}"#
    );
}

#[test]
fn lists_that_are_taken_up_again_go_on() {
    let message = [len(22, "a"), int(5, 1), len(22, "b"), int(5, 0), len(22, "c")].concat();
    assert_eq!(print(&message), r#"{"texts":["a","b","c"]}"#);
}

#[test]
fn of_a_oneof_the_last_member_counts() {
    assert_eq!(print(&[len(51, "a"), int(53, 0)].concat()), r#"{"middle":0}"#);
    let again = [len(52, int(5, 1)), len(51, "a"), len(52, len(9, "t"))];
    assert_eq!(print(&again.concat()), r#"{"right":{"text":"t"}}"#);
    let merged = [len(51, "a"), len(52, int(5, 1)), len(52, len(9, "t"))];
    assert_eq!(print(&merged.concat()), r#"{"right":{"i32":1,"text":"t"}}"#);
}

#[test]
fn unknown_values_of_closed_enums_set_nothing() {
    assert_eq!(print2(&[int(1, 1), int(1, 7)].concat()), r#"{"closed":"ONE"}"#);
    assert_eq!(print2(&int(1, 7)), "{}");
    assert_eq!(print2(&len(2, [1, 7, 2])), r#"{"many":["ONE","TWO"]}"#);
    assert_eq!(print2(&len(2, [7])), "{}");
    assert_eq!(print2(&[int(2, 7), int(2, 1)].concat()), r#"{"many":["ONE"]}"#);
    assert_eq!(print2(&[int(10, 1), int(9, 7)].concat()), r#"{"right":1}"#);
    let entry = |key, value| len(3, [int(1, key), int(2, value)].concat());
    assert_eq!(print2(&[entry(1, 1), entry(1, 7), entry(2, 7)].concat()), r#"{"byId":{"1":"ONE"}}"#);
    assert_eq!(print2(&[entry(3, 7), entry(1, 2)].concat()), r#"{"byId":{"1":"TWO"}}"#);
    assert_eq!(print2(&len(3, int(1, 5))), r#"{"byId":{"5":"TWO"}}"#);
}

#[test]
fn groups() {
    let part = group(4, &[int(4, 1), len(5, "")].concat());
    assert_eq!(print2(&part), r#"{"part":{"part":1,"deeper":{}}}"#);
    assert_eq!(print2(&[group(6, &int(1, 1)), group(6, &[])].concat()), r#"{"piece":[{"x":1},{}]}"#);
    let merged = [group(4, &int(4, 1)), int(10, 1), group(4, &len(5, ""))];
    assert_eq!(print2(&merged.concat()), r#"{"part":{"part":1,"deeper":{}},"right":1}"#);
    assert_eq!(
        print2(&[group(6, &int(1, 1)), int(10, 1), group(6, &[])].concat()),
        r#"{"piece":[{"x":1},{}],"right":1}"#
    );
}

#[test]
fn extensions_print_under_their_full_name() {
    assert_eq!(print2(&int(100, 5)), r#"{"[q.extra]":5}"#);
}

#[test]
fn timestamps_and_durations() {
    let at = |seconds: i64, nanos: i64| len(62, [int(1, seconds as u64), int(2, nanos as u64)].concat());
    assert_eq!(print(&at(1_700_000_000, 120_000_000)), r#"{"at":"2023-11-14T22:13:20.120Z"}"#);
    assert_eq!(print(&len(62, "")), r#"{"at":"1970-01-01T00:00:00Z"}"#);
    assert_eq!(print(&[len(62, int(1, 1)), len(62, int(2, 5))].concat()), r#"{"at":"1970-01-01T00:00:01.000000005Z"}"#);
    assert_eq!(refuse(&at(253_402_300_800, 0)).field, "at");
    let took = |seconds: i64, nanos: i64| len(63, [int(1, seconds as u64), int(2, nanos as u64)].concat());
    assert_eq!(print(&took(-1, -500_000_000)), r#"{"took":"-1.500s"}"#);
    assert_eq!(refuse(&took(-1, 1)).field, "took");
}

#[test]
fn field_masks() {
    let mask = len(64, [len(1, "seat_map.row"), len(1, "name")].concat());
    assert_eq!(print(&mask), r#"{"mask":"seatMap.row,name"}"#);
    assert_eq!(print(&len(64, "")), r#"{"mask":""}"#);
    let keys = len(64, [len(1, "*"), len(1, "labels.`\"k-1\"`")].concat());
    assert_eq!(print(&keys), r#"{"mask":"*,labels.`\"k-1\"`"}"#);
    for path in ["seatMap", "a,b", "a b", "a_1", "a__b", "a_"] {
        assert_eq!(refuse(&len(64, len(1, path))).field, "mask", "{path}");
    }
}

#[test]
fn dynamic_values() {
    let entry = |key: &str, value: Vec<u8>| len(1, [len(1, key), len(2, value)].concat());
    let null = int(1, 0);
    let list = len(6, [len(1, long(2, 2.0)), len(1, len(3, "x"))].concat());
    let fields = [entry("n", null.clone()), entry("l", list), entry("o", len(5, entry("b", int(4, 0))))].concat();
    assert_eq!(print(&len(65, &fields)), r#"{"fields":{"n":null,"l":[2,"x"],"o":{"b":false}}}"#);
    assert_eq!(print(&len(66, len(5, &fields))), r#"{"value":{"n":null,"l":[2,"x"],"o":{"b":false}}}"#);
    assert_eq!(print(&[len(65, ""), len(67, "")].concat()), r#"{"fields":{},"list":[]}"#);
    assert_eq!(print(&len(66, [null.clone(), int(4, 1)].concat())), r#"{"value":true}"#);
    assert_eq!(print(&len(66, null)), r#"{"value":null}"#);
    let again = [entry("a", int(4, 0)), entry("b", int(4, 0)), entry("a", int(4, 1))].concat();
    assert_eq!(print(&len(65, again)), r#"{"fields":{"a":true,"b":false}}"#);
    let split = [len(66, len(5, entry("a", int(4, 0)))), len(66, len(5, entry("b", int(4, 1))))].concat();
    assert_eq!(print(&split), r#"{"value":{"a":false,"b":true}}"#);
}

#[test]
fn what_was_refused_may_be_replaced_or_completed() {
    assert_eq!(print(&[len(66, ""), len(66, int(4, 1))].concat()), r#"{"value":true}"#);
    assert_eq!(print(&[len(62, int(2, 1 << 31)), len(62, int(2, 0))].concat()), r#"{"at":"1970-01-01T00:00:00Z"}"#);
    assert_eq!(print(&[len(51, [0xff]), int(53, 1)].concat()), r#"{"middle":1}"#);
}

#[test]
fn dynamic_values_without_a_json_form_are_refused() {
    assert_eq!(refuse(&len(66, "")).field, "value");
    assert_eq!(refuse(&len(66, long(2, f64::NAN))).field, "value");
    let fields = len(1, [len(1, "k"), len(2, long(2, f64::INFINITY))].concat());
    assert_eq!(refuse(&len(65, fields)).field, r#"fields["k"]"#);
    assert_eq!(refuse(&len(65, len(1, len(1, "k")))).field, r#"fields["k"]"#);
    assert_eq!(refuse(&len(67, [len(1, int(4, 1)), len(1, "")].concat())).field, "list[1]");
}

#[test]
fn wrappers_empty_and_null() {
    assert_eq!(print(&[len(68, int(1, 5)), len(69, int(1, 1))].concat()), r#"{"wrapped":"5","empty":{}}"#);
    assert_eq!(print(&[len(68, ""), len(71, len(1, "x"))].concat()), r#"{"wrapped":"0","nameWrapped":"x"}"#);
    assert_eq!(print(&int(70, 1)), r#"{"null":null}"#);
}

#[test]
fn any_by_the_loaded_schema() {
    let any =
        |name: &str, value: Vec<u8>| len(61, [len(1, format!("type.googleapis.com/{name}")), len(2, value)].concat());
    assert_eq!(print(&any("p.M", int(5, 1))), r#"{"any":{"@type":"type.googleapis.com/p.M","i32":1}}"#);
    assert_eq!(print(&any("p.M", vec![])), r#"{"any":{"@type":"type.googleapis.com/p.M"}}"#);
    assert_eq!(
        print(&any("google.protobuf.Duration", int(1, 3))),
        r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"3s"}}"#
    );
    let disorder = any("p.M", [int(5, 1), int(5, 2)].concat());
    assert_eq!(print(&disorder), r#"{"any":{"@type":"type.googleapis.com/p.M","i32":2}}"#);
    assert_eq!(print(&len(61, "")), r#"{"any":{}}"#);
    assert!(refuse(&any("no.Such", vec![])).message.contains("no.Such"));
    assert_eq!(refuse(&len(61, len(2, "x"))).field, "any");
    assert_eq!(refuse(&len(61, len(1, "p.M"))).field, "any");
}

#[test]
fn options_decide_how_it_is_printed() {
    let with = |message: &[u8], change: fn(&mut OutOptions)| {
        let mut options = OutOptions::default();
        change(&mut options);
        try_print(PROTO, message, "", options, Limits::default())
    };
    let message = [int(3, 7), int(14, 1), len(5000, "x")].concat();
    assert_eq!(with(&message, |o| o.enums_as_numbers = true).unwrap(), r#"{"i64":"7","kind":1,"a\"b":"x"}"#);
    assert_eq!(with(&message, |o| o.proto_names = true).unwrap(), r#"{"i64":"7","kind":"ONE","weird_name":"x"}"#);
    assert_eq!(with(&message, |o| o.int64_as_numbers = true).unwrap(), r#"{"i64":7,"kind":"ONE","a\"b":"x"}"#);
    let limit = (1_u64 << 53).wrapping_neg();
    assert!(with(&int(3, limit), |o| o.int64_as_numbers = true).is_ok());
    let beyond = with(&int(3, limit - 1), |o| o.int64_as_numbers = true).unwrap_err();
    assert_eq!(beyond.field, "i64");
}

#[test]
fn absent_fields_without_presence_are_emitted_on_demand() {
    let options = OutOptions { emit_defaults: true, ..OutOptions::default() };
    let all = r#""f64":0,"f32":0,"i64":"0","u64":"0","i32":0,"x64":"0","x32":0,"yes":false,"text":"","data":"",
        "u32":0,"kind":"ZERO","s32":0,"s64":"0","z32":0,"z64":"0","ints":[],"texts":[],"many":[],"flags":[],
        "counts":{},"byId":{},"byFlag":{},"null":null,"a\"b":"""#;
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let expected = read(&format!("{{{all}}}"));
    for message in [vec![], int(5, 0), [int(5, 1), int(5, 0)].concat(), [len(21, []), int(5, 1), int(5, 0)].concat()] {
        let printed = try_print(PROTO, &message, "", options, Limits::default()).unwrap();
        assert_eq!(read(&printed), expected);
    }
}

#[test]
fn the_response_body_is_one_field() {
    let alone = |message: &[u8], field: &str| {
        try_print(PROTO, message, field, OutOptions::default(), Limits::default()).unwrap()
    };
    let message = [len(9, "t"), len(23, int(5, 1)), len(31, len(1, "k")), len(41, int(5, 2)), int(5, 7)].concat();
    let disorder = [len(23, ""), int(5, 3), len(41, len(9, "u")), message.clone()].concat();
    for (field, expected, in_disorder) in [
        ("text", r#""t""#, r#""t""#),
        ("many", r#"[{"i32":1}]"#, r#"[{},{"i32":1}]"#),
        ("counts", r#"{"k":0}"#, r#"{"k":0}"#),
        ("inner", r#"{"i32":2}"#, r#"{"text":"u","i32":2}"#),
        ("i32", "7", "7"),
        ("yes", "false", "false"),
        ("texts", "[]", "[]"),
        ("by_id", "{}", "{}"),
        ("right", "{}", "{}"),
        ("data", r#""""#, r#""""#),
        ("at", "null", "null"),
        ("list", "[]", "[]"),
    ] {
        assert_eq!(alone(&message, field), expected);
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&alone(&disorder, field)), read(in_disorder));
    }
    // Where absence is another thing than the default, it is told.
    assert_eq!(alone(&[len(51, "a"), int(53, 1)].concat(), "left"), "null");
    assert_eq!(alone(&[], "left"), "null");
    assert_eq!(alone(&len(51, ""), "left"), r#""""#);
    assert_eq!(alone(&[int(53, 1), len(51, "a")].concat(), "left"), r#""a""#);
    assert_eq!(alone(&int(5, 0), "i32"), "0");
    let preset = |field| try_print(PROTO2, &[], field, OutOptions::default(), Limits::default()).unwrap();
    assert_eq!([preset("preset"), preset("named"), preset("first")], ["-7", r#""n\"n""#, "null"]);
    assert_eq!([alone(&[], "maybe"), alone(&int(42, 0), "maybe")], ["null", "0"]);
    let schema = schema(PROTO);
    let id = schema.message_named("p.M").unwrap();
    assert!(OutPlan::compile(&schema, id, "nope", OutOptions::default()).unwrap_err().contains("nope"));
}

#[test]
fn what_is_no_message_is_refused() {
    let bad: [&[u8]; 14] = [
        &[0x28],                                                                   // a value is missing
        &[0x80],                                                                   // half a tag
        &[0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],       // 65 bits
        &[0x28, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], // eleven bytes
        &[0x00, 0x00],                                                             // field 0
        &[0x05],                                                                   // field 0 again
        &[0x2f],                                                                   // wire type 7
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x00],                               // a tag of 33 bits
        &[0x4a, 0x02, b'x'],                                                       // a string cut off
        &[0x4a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],       // a string of 2^64 - 1 bytes
        &[0x09, 0, 0, 0],                                                          // half a double
        &[0x0c],                                                                   // the end of no group
        &[0xf3, 0x3e, 0xfc, 0x3e],                                                 // the end of another group
        &[0xf3, 0x3e],                                                             // a group without end
    ];
    for message in bad {
        for message in [message.to_vec(), [int(5, 1), int(5, 1), message.to_vec()].concat(), len(41, message)] {
            assert_eq!(refuse(&message).kind, Refusal::Malformed, "{message:x?}");
        }
    }
    assert_eq!(refuse(&len(9, [0xff])).field, "text");
    assert_eq!(refuse(&len(23, len(22, [0xc0, 0x80]))).field, "many[0].texts[0]");
    assert_eq!(refuse(&len(32, [int(1, 7), len(2, len(9, [0xff]))].concat())).field, "by_id[7].text");
    let bad = try_print(PROTO2, &[0x23], "", OutOptions::default(), Limits::default()).unwrap_err();
    assert_eq!(bad.kind, Refusal::Malformed);
}

#[test]
fn no_prefix_of_a_message_panics() {
    let message =
        [len(41, [len(23, int(5, 1)), len(66, long(2, 1.0))].concat()), len(31, len(1, "k")), len(21, [1, 2])];
    let message = message.concat();
    let schema = schema(PROTO);
    let id = schema.message_named("p.M").unwrap();
    let plan = OutPlan::compile(&schema, id, "", OutOptions::default()).unwrap();
    let mut scratch = Scratch::default();
    for end in 0..message.len() {
        for twice in [message[..end].to_vec(), [&message[..end], &message[..end]].concat()] {
            let _ = to_json(&schema, &plan, &twice, &Limits::default(), &mut scratch, &mut Vec::new());
        }
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize, wrap: &dyn Fn(Vec<u8>) -> Vec<u8>| (1..depth).fold(vec![], |inner, _| wrap(inner));
    let message = |inner: Vec<u8>| len(41, inner);
    assert!(print(&nested(100, &message)).len() > 500);
    assert_eq!(refuse(&nested(101, &message)).kind, Refusal::TooDeep);
    assert_eq!(refuse(&[int(5, 1), int(5, 1), nested(101, &message)].concat()).kind, Refusal::TooDeep);
    assert_eq!(refuse(&nested(102, &|inner| group(99, &inner))).kind, Refusal::TooDeep);
    let list = |inner: Vec<u8>| len(6, len(1, inner));
    assert_eq!(refuse(&len(66, nested(200, &list))).kind, Refusal::TooDeep);
    let any = |inner: Vec<u8>| [len(1, "x/google.protobuf.Any"), len(2, inner)].concat();
    assert_eq!(refuse(&len(61, nested(200, &any))).kind, Refusal::TooDeep);
}

#[test]
fn an_any_of_an_unknown_type_prints_as_it_came_where_that_is_wanted() {
    let any = |url: &str, value: &[u8]| [len(1, url), len(2, value)].concat();
    let keep = OutOptions { unknown_any: true, ..OutOptions::default() };
    let unknown = any("type.example.com/acme.Unknown", b"\x08\x01");
    for (wire, printed) in [
        (unknown.clone(), r#"{"any":{"@type":"type.example.com/acme.Unknown","value":"CAE="}}"#),
        (len(1, "no slash"), r#"{"any":{"@type":"no slash","value":""}}"#),
        // The same of one that is known, and inside of it.
        (any("x/p.M", &len(9, "a")), r#"{"any":{"@type":"x/p.M","text":"a"}}"#),
        (
            any("x/p.M", &len(61, &unknown)),
            r#"{"any":{"@type":"x/p.M","any":{"@type":"type.example.com/acme.Unknown","value":"CAE="}}}"#,
        ),
        (Vec::new(), r#"{"any":{}}"#),
    ] {
        let one = len(61, &wire);
        assert_eq!(try_print(PROTO, &one, "", keep, Limits::default()).unwrap(), printed);
        // Out of order, so that it is printed with an index.
        let twice = [int(5, 1), one, int(5, 0)].concat();
        assert_eq!(try_print(PROTO, &twice, "", keep, Limits::default()).unwrap(), printed);
    }
    assert!(refuse(&len(61, unknown)).message.contains("acme.Unknown"));
}

#[test]
fn output_is_bounded() {
    let limits = |output| Limits { output, ..Limits::default() };
    let flags = len(24, vec![0; 10_000]);
    let refused = try_print(PROTO, &flags, "", OutOptions::default(), limits(50_000)).unwrap_err();
    assert_eq!(refused.kind, Refusal::TooLarge);
    let flags = r#"{"flags":[true]}"#;
    assert_eq!(try_print(PROTO, &int(24, 1), "", OutOptions::default(), limits(flags.len())).unwrap(), flags);
    let refused = try_print(PROTO, &int(24, 1), "", OutOptions::default(), limits(flags.len() - 1)).unwrap_err();
    assert_eq!(refused.kind, Refusal::TooLarge);
}

#[test]
fn work_is_bounded() {
    let options = OutOptions { emit_defaults: true, ..OutOptions::default() };
    let limits = Limits { output: usize::MAX / 2, ..Limits::default() };
    let fields: String = (2..100).map(|number| format!("int32 f{number} = {number}; ")).collect();
    let wide = format!(r#"syntax = "proto3"; package q; message M {{ repeated M m = 1; {fields} }}"#);
    assert!(try_print(&wide, &len(1, "").repeat(100), "", options, limits).is_ok());
    let refused = try_print(&wide, &len(1, "").repeat(10_000), "", options, limits).map(drop).unwrap_err();
    assert_eq!(refused.kind, Refusal::TooMuchWork);
}

#[test]
fn nested_groups_in_disorder_are_bounded() {
    let limits = Limits { output: usize::MAX / 2, ..Limits::default() };
    let text = len(8, "x".repeat(100_000));
    let part =
        |levels: usize| [int(1, 1), int(1, 1), (0..levels).fold(text.clone(), |inner, _| group(4, &inner))].concat();
    let fields = (0..20).fold("optional string x = 8;".to_owned(), |inner, _| {
        format!("optional int32 a = 1; optional string x = 8; optional group Part = 4 {{ {inner} }}")
    });
    let nested = format!(r#"syntax = "proto2"; package q; message M {{ {fields} }}"#);
    let print = |levels| try_print(&nested, &part(levels), "", OutOptions::default(), limits).map(|text| text.len());
    assert!(print(8).unwrap() > 100_000);
    assert_eq!(print(20).unwrap_err().kind, Refusal::TooMuchWork);
}

#[test]
fn a_status_keeps_details_that_no_schema_knows() {
    let detail = |type_url: &str, value: &[u8]| Detail { type_url: type_url.into(), value: value.to_vec().into() };
    let mut status = Status::new(Code::NotFound, "no \"such\" event");
    let print = |status: &Status| {
        let mut out = Vec::new();
        status_to_json(&schema(PROTO), status, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(print(&status), r#"{"code":5,"message":"no \"such\" event"}"#);
    status.details = vec![
        detail("type.googleapis.com/p.M", &int(5, 1)),
        detail("type.googleapis.com/no.Such", b"\0\xff"),
        detail("type.googleapis.com/p.M", b"\xff"),
    ];
    assert_eq!(
        print(&status),
        r#"{"code":5,"message":"no \"such\" event","details":[{"@type":"type.googleapis.com/p.M","i32":1},{"@type":"type.googleapis.com/no.Such","value":"AP8="},{"@type":"type.googleapis.com/p.M","value":"/w=="}]}"#
    );
}
