//! One test for each rule; every canonical form is rewritten once more.

use super::*;
use crate::plan::{BindPlan, OutOptions, OutPlan};
use crate::to_json::tests::schema;
use crate::to_json::tests::wire::{group, int, len, long, varint};
use crate::to_json::to_json;
use crate::to_wire::{Input, to_wire};

const PROTO: &str = r#"
    syntax = "proto3"; package p;
    message M {
        int32 i32 = 1; string text = 2; bytes data = 3; double f64 = 4; optional int32 maybe = 5; sint32 zigzag = 6; bool yes = 7;
        M inner = 11; repeated M many = 12;
        repeated int32 packed = 21; repeated int32 loose = 22 [packed = false]; repeated string texts = 23;
        map<string, int32> counts = 31; map<int32, M> by_id = 32;
        oneof choice { string left = 41; M right = 42; int32 middle = 43; }
    }
"#;

const PROTO2: &str = r#"
    syntax = "proto2"; package p;
    message M {
        optional Closed closed = 1; repeated Closed many = 2 [packed = true]; map<int32, Closed> by_id = 3;
        optional group Part = 4 { optional int32 part = 4; optional Part deeper = 5; }
        optional string text = 6; required int32 must = 7;
        optional Set set = 8;
        extensions 100 to 200;
    }
    message Set { option message_set_wire_format = true; extensions 4 to max; }
    message Part { optional int32 x = 1; }
    extend M { optional int32 extra = 100; }
    extend Set { optional Part item = 5000; optional Part far = 500000000; }
    enum Closed { TWO = 2; ONE = 1; }
"#;

fn rewrite_within(proto: &str, message: &[u8], limits: &Limits) -> Result<Vec<u8>, Invalid> {
    let schema = schema(proto);
    let mut out = b"kept".to_vec();
    let id = schema.message_named("p.M").unwrap();
    let done = canonical(&schema, id, message, limits, &mut Scratch::default(), &mut out);
    let written = out.strip_prefix(b"kept").unwrap().to_vec();
    assert!(done.is_ok() || written.is_empty());
    done.map(|()| written)
}

fn rewrite(proto: &str, message: &[u8]) -> Vec<u8> {
    let written = rewrite_within(proto, message, &Limits::default()).unwrap();
    assert_eq!(rewrite_within(proto, &written, &Limits::default()).unwrap(), written, "it stays as it is");
    written
}

fn refuse(proto: &str, message: &[u8]) -> String {
    rewrite_within(proto, message, &Limits::default()).unwrap_err().to_string()
}

#[test]
fn each_field_is_there_once_in_the_order_of_declaration() {
    let message = [len(2, "a"), int(1, 1), len(2, "b"), int(5, 0), int(1, 7)].concat();
    assert_eq!(rewrite(PROTO, &message), [int(1, 7), len(2, "b"), int(5, 0)].concat());
    assert_eq!(rewrite(PROTO, &[int(1, 1), int(1, 0), long(4, 0.0), len(3, "")].concat()), b"");
    assert_eq!(rewrite(PROTO, &long(4, -0.0)), long(4, -0.0));
    assert_eq!(rewrite(PROTO, b""), b"");
}

#[test]
fn varints_are_as_short_as_they_can_be() {
    assert_eq!(rewrite(PROTO, b"\x88\x00\x81\x80\x00"), int(1, 1));
    assert_eq!(rewrite(PROTO, &int(1, 0xffff_fffb)), int(1, -5_i64 as u64));
    assert_eq!(rewrite(PROTO, &int(6, 1 << 40 | 3)), int(6, 3));
    assert_eq!(rewrite(PROTO, &int(7, 200)), int(7, 1));
}

#[test]
fn submessages_in_parts_are_merged() {
    let message = [len(11, int(1, 1)), int(1, 9), len(11, [len(2, "a"), int(1, 2)].concat())].concat();
    assert_eq!(rewrite(PROTO, &message), [int(1, 9), len(11, [int(1, 2), len(2, "a")].concat())].concat());
    assert_eq!(rewrite(PROTO, &[len(12, int(1, 1)), len(12, "")].concat()), [len(12, int(1, 1)), len(12, "")].concat());
    let part = [group(4, &int(4, 1)), group(4, &len(5, int(1, 2)))].concat();
    assert_eq!(rewrite(PROTO2, &part), group(4, &[int(4, 1), len(5, int(1, 2))].concat()));
}

#[test]
fn the_last_member_of_a_oneof_stays() {
    let message = [len(42, int(1, 1)), len(41, "a"), len(42, int(1, 2)), len(42, len(2, "x"))].concat();
    assert_eq!(rewrite(PROTO, &message), len(42, [int(1, 2), len(2, "x")].concat()));
    assert_eq!(rewrite(PROTO, &[len(41, "a"), int(43, 0)].concat()), int(43, 0));
}

#[test]
fn lists_are_packed_where_the_schema_says_so() {
    let message = [int(21, 1), len(21, [2, 3]), len(22, [1, 2]), int(21, 4), len(21, ""), int(22, 3)].concat();
    assert_eq!(rewrite(PROTO, &message), [len(21, [1, 2, 3, 4]), int(22, 1), int(22, 2), int(22, 3)].concat());
    assert_eq!(rewrite(PROTO, &len(21, "")), b"");
    assert_eq!(rewrite(PROTO, &len(21, vec![1; 300])), len(21, vec![1; 300]));
}

#[test]
fn maps_are_sorted_by_key_and_the_last_of_a_key_counts() {
    let entry = |key: &str, value: u64| [len(1, key), int(2, value)].concat();
    let message = [len(31, entry("b", 1)), len(31, entry("a", 1)), len(31, entry("b", 0)), len(31, "")].concat();
    let sorted = [len(31, entry("", 0)), len(31, entry("a", 1)), len(31, entry("b", 0))].concat();
    assert_eq!(rewrite(PROTO, &message), sorted);
    let parts = [len(2, int(1, 1)), int(1, 7), len(2, len(2, "x"))].concat();
    let whole = [int(1, 7), len(2, [int(1, 1), len(2, "x")].concat())].concat();
    assert_eq!(rewrite(PROTO, &len(32, parts)), len(32, whole));
}

#[test]
fn what_the_schema_does_not_know_stays_as_it_came() {
    let unknown = [len(900, "a"), group(901, &int(1, 1)), int(2, 3), b"\xb8\x38\x80\x00".to_vec()];
    let message = [unknown[0].clone(), int(1, 1), unknown[1].clone(), unknown[2].clone(), unknown[3].clone()].concat();
    assert_eq!(rewrite(PROTO, &message), [int(1, 1), unknown.concat()].concat());
    assert_eq!(rewrite(PROTO, &len(11, &message)), len(11, [int(1, 1), unknown.concat()].concat()));
    assert_eq!(rewrite(PROTO2, &[int(101, 1), int(100, 1)].concat()), [int(100, 1), int(101, 1)].concat());
}

#[test]
fn unknown_values_of_closed_enums_are_unknown_fields() {
    assert_eq!(rewrite(PROTO2, &[int(1, 1), int(1, 3)].concat()), [int(1, 1), int(1, 3)].concat());
    let negative = varint(-1_i64 as u64);
    let packed = len(2, [&[1, 3][..], &negative, &[2]].concat());
    assert_eq!(rewrite(PROTO2, &packed), [len(2, [1, 2]), int(2, 3), int(2, -1_i64 as u64)].concat());
    let entry = |value| len(3, [int(1, 5), int(2, value)].concat());
    assert_eq!(rewrite(PROTO2, &[entry(9), entry(1)].concat()), [entry(1), entry(9)].concat());
}

#[test]
fn strings_are_checked_where_the_schema_says_so() {
    assert!(refuse(PROTO, &len(2, [0xff])).starts_with("text: the string is not UTF-8"));
    assert!(refuse(PROTO, &len(31, len(1, [0xff]))).contains("not UTF-8"));
    assert_eq!(rewrite(PROTO2, &len(6, [0xff])), len(6, [0xff]));
}

#[test]
fn what_is_no_message_is_refused() {
    for message in [&b"\x08"[..], b"\x00\x01", b"\x0a\x05a", b"\x0b", b"\x0c", b"\x0f", b"\x12\xff\xff\xff\xff\x0f"] {
        refuse(PROTO, message);
    }
    assert!(refuse(PROTO, &len(12, b"\x08")).starts_with("many[0]: the message is cut off"));
    refuse(PROTO, &len(31, b"\x12\x05"));
    refuse(PROTO, &len(21, [0x80]));
}

#[test]
fn rewriting_is_bounded() {
    let nested = |depth: usize| (1..depth).fold(vec![], |inner, _| len(11, inner));
    let within = |message: &[u8], limits: Limits| rewrite_within(PROTO, message, &limits).map_err(|why| why.kind);
    assert_eq!(within(&nested(100), Limits::default()), Ok(nested(100)));
    assert_eq!(within(&nested(101), Limits::default()), Err(Refusal::TooDeep));
    let limits = Limits { output: 100, ..Limits::default() };
    assert_eq!(within(&len(2, "x".repeat(98)), limits).map(|message| message.len()), Ok(100));
    assert_eq!(within(&len(2, "x".repeat(99)), limits), Err(Refusal::TooLarge));
    assert_eq!(within(&len(999, "x".repeat(99)), limits), Err(Refusal::TooLarge));
    // An entry without a value grows by the one that it gets.
    assert_eq!(within(&len(32, "").repeat(50), limits).map(|message| message.len()), Ok(7));
}

fn item(number: u64, message: &[u8]) -> Vec<u8> {
    group(1, &[int(2, number), len(3, message)].concat())
}

#[test]
fn items_of_a_message_set_are_extensions() {
    let far = 500_000_000;
    let reversed = group(1, &[len(3, int(1, 5)), int(2, 5000)].concat());
    let set = [item(far, &int(1, 1)), reversed, item(77, b"abc"), group(1, &int(2, 5000)), item(5000, b"")].concat();
    let written = [item(5000, &int(1, 5)), item(far, &int(1, 1)), item(77, b"abc"), group(1, &int(2, 5000))].concat();
    assert_eq!(rewrite(PROTO2, &len(8, set)), len(8, written));
}

#[test]
fn a_message_set_is_json_by_the_names_of_its_extensions() {
    let schema = schema(PROTO2);
    let id = schema.message_named("p.M").unwrap();
    let message = [int(7, 1), len(8, [item(5000, &int(1, 5)), item(500_000_000, b"")].concat())].concat();
    let text = r#"{"must":1,"set":{"[p.item]":{"x":5},"[p.far]":{}}}"#;
    let plan = OutPlan::whole(id, OutOptions::default());
    let (mut scratch, mut json, mut wire) = (Scratch::default(), Vec::new(), Vec::new());
    to_json(&schema, &plan, &message, &Limits::default(), &mut scratch, &mut json).unwrap();
    assert_eq!(String::from_utf8(json).unwrap(), text);
    let input = Input { body: text.as_bytes(), ..Input::default() };
    to_wire(&schema, &BindPlan::whole(id), &input, &Limits::default(), &mut scratch, &mut wire).unwrap();
    assert_eq!(wire, message);
}
