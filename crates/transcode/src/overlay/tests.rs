//! Overlays on real messages: each field where it belongs, once.

use std::borrow::Cow;
use std::sync::LazyLock;

use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};

use super::{Overlay, Values};
use crate::schema::{MessageId, Schema};

const PROTO: &str = r#"
syntax = "proto3";
package o;
message Call {
  string user_id = 1;
  int64 account = 2;
  bool admin = 3;
  Color color = 4;
  sint32 zig = 5;
  fixed64 fixed = 6;
  Owner owner = 7;
  oneof who { string name = 8; string mail = 9; }
  repeated string many = 10;
  bytes raw = 11;
  map<string, string> labels = 12;
  Call inner = 13;
}
message Owner { string id = 1; string tenant = 2; Owner parent = 3; }
enum Color { NONE = 0; RED = 1; BACK = -1; }
"#;

struct World {
    schema: Schema,
    pool: DescriptorPool,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let file = protox_parse();
    let set = prost_types::FileDescriptorSet { file: vec![file] };
    let bytes = prost::Message::encode_to_vec(&set);
    let mut builder = Schema::builder();
    builder.add(&bytes, "tests").unwrap();
    World { schema: builder.build().unwrap(), pool: DescriptorPool::decode(&*bytes).unwrap() }
});

fn protox_parse() -> prost_types::FileDescriptorProto {
    struct One;
    impl protox::file::FileResolver for One {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            protox::file::File::from_source(name, PROTO)
        }
    }
    let mut compiler = protox::Compiler::with_file_resolver(One);
    compiler.open_files(["o.proto"]).unwrap();
    compiler.file_descriptor_set().file.remove(0)
}

fn call() -> MessageId {
    WORLD.schema.message_named("o.Call").unwrap()
}

fn overlay(sets: &[(&str, &'static str)]) -> (Overlay, Values) {
    let names: Vec<_> = sets.iter().map(|(name, _)| *name).collect();
    let overlay = Overlay::compile(&WORLD.schema, call(), &names).unwrap();
    let texts: Vec<_> = sets.iter().map(|(_, text)| Cow::Borrowed(*text)).collect();
    let values = overlay.values(&WORLD.schema, &texts).unwrap();
    (overlay, values)
}

fn wire(message: &Value) -> Vec<u8> {
    let descriptor = WORLD.pool.get_message_by_name("o.Call").unwrap();
    let message = DynamicMessage::deserialize(descriptor, message).unwrap();
    prost::Message::encode_to_vec(&message)
}

fn read(wire: &[u8]) -> Value {
    let descriptor = WORLD.pool.get_message_by_name("o.Call").unwrap();
    serde_json::to_value(DynamicMessage::decode(descriptor, wire).unwrap()).unwrap()
}

/// What becomes of a message, or the field and the problem.
fn apply(sets: &[(&str, &'static str)], message: &[u8]) -> Result<Value, String> {
    let (overlay, values) = overlay(sets);
    let mut out = b"before".to_vec();
    match overlay.apply(&values, message, &mut out) {
        Ok(()) => Ok(read(&out[6..])),
        Err(invalid) => {
            assert_eq!(out, b"before");
            Err(invalid.to_string())
        }
    }
}

const OTHER: &str = "is set from the token, to another value: leave it out";

#[test]
fn a_field_left_out_is_set_and_the_rest_stays() {
    let message = json!({ "account": "7", "many": ["a", "b"], "labels": { "k": "v" } });
    let mut expected = message.clone();
    expected["userId"] = json!("u1");
    assert_eq!(apply(&[("user_id", "u1")], &wire(&message)), Ok(expected));
    assert_eq!(apply(&[("user_id", "u1")], b""), Ok(json!({ "userId": "u1" })));
}

#[test]
fn the_same_value_passes_and_another_does_not() {
    assert_eq!(apply(&[("user_id", "u1")], &wire(&json!({ "userId": "u1" }))), Ok(json!({ "userId": "u1" })));
    let other = apply(&[("user_id", "u1")], &wire(&json!({ "userId": "u2" })));
    assert_eq!(other, Err(format!("userId: {OTHER}")));
    // First the true one, then another: readers take the last.
    let twice = [wire(&json!({ "userId": "u1" })), wire(&json!({ "userId": "u2" }))].concat();
    assert_eq!(apply(&[("user_id", "u1")], &twice), Err(format!("userId: {OTHER}")));
    // As a field of another wire type, which some reader may take for it.
    assert_eq!(apply(&[("user_id", "u1")], b"\x08\x01"), Err(format!("userId: {OTHER}")));
}

#[test]
fn every_kind_of_value_is_written_and_compared() {
    let sets = [("account", "-5"), ("admin", "true"), ("color", "BACK"), ("zig", "-3"), ("fixed", "9")];
    let set = json!({ "account": "-5", "admin": true, "color": "BACK", "zig": -3, "fixed": "9" });
    assert_eq!(apply(&sets, b""), Ok(set.clone()));
    assert_eq!(apply(&sets, &wire(&set)), Ok(set));
    // The same number in more bytes than it needs.
    assert_eq!(apply(&[("admin", "true")], b"\x18\x81\x00"), Ok(json!({ "admin": true })));
    for other in [json!({ "account": "5" }), json!({ "zig": 3 }), json!({ "fixed": "1" }), json!({ "color": "RED" })] {
        assert!(apply(&sets, &wire(&other)).is_err(), "{other}");
    }
    let overlay = Overlay::compile(&WORLD.schema, call(), &["account"]).unwrap();
    for text in ["", "x", "1.5", "9223372036854775808"] {
        assert_eq!(overlay.values(&WORLD.schema, &[Cow::Borrowed(text)]), Err(0), "{text}");
    }
}

#[test]
fn fields_inside_messages_are_set_in_every_occurrence() {
    let sets = [("owner.id", "o1"), ("owner.parent.tenant", "t"), ("user_id", "u")];
    let set = json!({ "owner": { "id": "o1", "parent": { "tenant": "t" } }, "userId": "u" });
    assert_eq!(apply(&sets, b""), Ok(set.clone()));
    let twice = [wire(&json!({ "owner": { "id": "o1" } })), wire(&json!({ "owner": { "tenant": "x" } }))].concat();
    let mut expected = set;
    expected["owner"]["tenant"] = json!("x");
    assert_eq!(apply(&sets, &twice), Ok(expected));
    let other = wire(&json!({ "owner": { "parent": { "tenant": "y" } } }));
    assert_eq!(apply(&sets, &other), Err(format!("owner.parent.tenant: {OTHER}")));
    assert!(apply(&sets, b"\x38\x01").is_err(), "owner as a number");
}

#[test]
fn a_oneof_is_not_unset_by_its_other_members() {
    assert_eq!(apply(&[("name", "n")], b""), Ok(json!({ "name": "n" })));
    let rival = apply(&[("name", "n")], &wire(&json!({ "mail": "m" })));
    assert_eq!(rival, Err("name: another field of its oneof is set".to_owned()));
}

#[test]
fn what_cannot_be_set_is_told_at_load() {
    for (names, index, why) in [
        (&["nobody"][..], 0, "o.Call has no field `nobody`"),
        (&["user_id", "many"], 1, "`many` is repeated; only a single value can be set"),
        (&["labels"], 0, "`labels` is repeated; only a single value can be set"),
        (&["raw"], 0, "`raw` is no text, whole number, bool or enum"),
        (&["owner"], 0, "`owner` is no text, whole number, bool or enum"),
        (&["user_id.x"], 0, "`user_id` has no fields that can be set"),
        (&["name", "mail"], 1, "`mail` is in one oneof with another field that is set"),
        (&["user_id", "user_id"], 1, "`user_id` is set twice"),
    ] {
        assert_eq!(Overlay::compile(&WORLD.schema, call(), names), Err((index, why.to_owned())), "{names:?}");
    }
}

proptest! {
    /// No bytes get another user through: what comes out reads as ours, or nothing comes out.
    #[test]
    fn no_bytes_set_the_field_to_another_value(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let (overlay, values) = overlay(&[("user_id", "u1"), ("owner.id", "o1")]);
        let mut out = Vec::new();
        if overlay.apply(&values, &bytes, &mut out).is_ok() {
            let descriptor = WORLD.pool.get_message_by_name("o.Call").unwrap();
            if let Ok(message) = DynamicMessage::decode(descriptor, &*out) {
                let message = serde_json::to_value(message).unwrap();
                prop_assert_eq!(&message["userId"], &json!("u1"));
                prop_assert_eq!(&message["owner"]["id"], &json!("o1"));
            }
        }
    }
}
