//! What the strictest of runtimes read, and what some of them do not.

use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DynamicMessage};

use super::{DEPTH, is_sound};
use crate::schema::Schema;
use crate::to_json::tests::schema;
use crate::to_json::tests::wire::{group, int, len, long, short};

const PROTO: &str = r#"
    syntax = "proto3"; package p;
    message M {
        int32 i32 = 1; string text = 2; bytes data = 3; double f64 = 4; float f32 = 5; bool yes = 7;
        M inner = 11; repeated M many = 12;
        repeated int32 packed = 21; repeated int32 loose = 22 [packed = false]; repeated string texts = 23; repeated fixed32 x32 = 24;
        map<string, int32> counts = 31; map<int32, M> by_id = 32;
    }
"#;

const PROTO2: &str = r#"
    syntax = "proto2"; package p;
    message M {
        optional group Part = 4 { optional int32 part = 4; optional Part deeper = 5; }
        optional string text = 6; optional Needy needy = 7; optional Set set = 8;
    }
    message Needy { required int32 one = 1; required string two = 2; optional int32 three = 3; }
    message Set { option message_set_wire_format = true; extensions 4 to max; }
    message Item { optional int32 x = 1; }
    extend Set { optional Item item = 5000; }
"#;

fn sound(schema: &Schema, message: impl AsRef<[u8]>) -> bool {
    is_sound(schema, schema.message_named("p.M").unwrap(), message.as_ref())
}

#[test]
fn what_every_runtime_writes_and_reads_is_sound() {
    let of_three = schema(PROTO);
    let all = [
        [int(1, u64::MAX), len(2, "ä"), len(3, b"\xff"), long(4, 0.5), short(5, 0.5), int(7, 1)].concat(),
        [len(11, len(12, int(1, 1))), len(12, ""), len(11, "")].concat(),
        [len(21, [1, 0x80, 1]), int(21, 1), len(22, [1, 2]), int(22, 3), len(23, "a"), len(24, [0; 8])].concat(),
        [len(31, [len(1, "k"), int(2, 1)].concat()), len(31, ""), len(32, [int(1, 1), len(2, int(1, 1))].concat())]
            .concat(),
        [int(900, 1), len(901, b"\xff"), group(902, &group(903, &int(1, 1))), long(904, 0.5), short(905, 0.5)].concat(),
        vec![],
    ];
    for message in all {
        assert!(sound(&of_three, &message), "{message:x?}");
    }
    let of_two = schema(PROTO2);
    let item = group(1, &[int(2, 5000), len(3, int(1, 1))].concat());
    let all = [
        group(4, &[int(4, 1), len(5, int(4, 1))].concat()),
        group(4, &[int(4, 1), group(5, &int(4, 1))].concat()),
        len(7, [len(2, ""), int(1, 0), int(1, 1)].concat()),
        len(8, item),
    ];
    // `deeper` is a message in the one proto, not a group: only one of both is right.
    assert_eq!(all.map(|message| sound(&of_two, &message)), [true, false, true, true]);
}

#[test]
fn what_some_runtime_refuses_is_not() {
    let of_three = schema(PROTO);
    let all = [
        // Cut off, too long, or of no kind.
        b"\xff\xff\xff\xff\xff".to_vec(),
        b"\x00\x00".to_vec(),
        b"\x0a\x05a".to_vec(),
        b"\x08".to_vec(),
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02".to_vec(),
        b"\x0e\x00".to_vec(),
        b"\x88\x80\x80\x80\x80\x00\x01".to_vec(),
        b"\x12\x81\x80\x80\x80\x80\x00a".to_vec(),
        b"\x0c".to_vec(),
        b"\x0b\x14".to_vec(),
        b"\x0b".to_vec(),
        // Another type than the schema says.
        len(1, "a"),
        int(2, 1),
        int(4, 1),
        int(11, 1),
        group(11, &[]),
        short(7, 1.0),
        len(11, len(1, "a")),
        len(31, int(1, 1)),
        // Lists that end within an element.
        len(21, [0x80]),
        len(24, [0; 7]),
        len(23, b"\xff"),
        // No UTF-8.
        len(2, b"\xff\xfe"),
        len(12, len(2, b"\xff")),
        len(31, len(1, b"\xff")),
    ];
    for message in all {
        assert!(!sound(&of_three, &message), "{message:x?}");
        assert!(!sound(&of_three, [int(1, 1), message.clone()].concat()), "{message:x?}");
    }
    let of_two = schema(PROTO2);
    for message in [len(7, ""), len(7, int(1, 1)), len(7, [int(1, 1), int(1, 2), int(3, 1)].concat()), len(6, b"\xff")]
    {
        assert!(!sound(&of_two, &message), "{message:x?}");
    }
}

#[test]
fn what_nests_deeply_is_not() {
    let schema = schema(PROTO);
    let inner = |levels: u16| (1..levels).fold(Vec::new(), |message, _| len(11, message));
    let unknown = |levels: u16| (1..levels).fold(Vec::new(), |message, _| group(900, &message));
    for nested in [&inner as &dyn Fn(u16) -> Vec<u8>, &unknown] {
        assert!(sound(&schema, nested(DEPTH)));
        assert!(!sound(&schema, nested(DEPTH + 1)));
    }
    assert!(!sound(&schema, b"\x0b".repeat(1 << 20)));
}

/// A message of some fields of any wire type, most of which the schema has.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let number = || prop_oneof![1..13_u64, 21..25_u64, 31..33_u64, 900..902_u64];
    let record = (number(), any::<u64>()).prop_map(|(number, value)| int(number, value));
    let text = (number(), proptest::collection::vec(any::<u8>(), 0..6)).prop_map(|(number, text)| len(number, text));
    let float = (number(), any::<f32>()).prop_map(|(number, value)| short(number, value));
    let leaf = prop_oneof![record, text, float].boxed();
    let nested = leaf.prop_recursive(3, 12, 3, move |inner| {
        let fields = proptest::collection::vec(inner, 0..3).prop_map(|fields| fields.concat());
        prop_oneof![
            (number(), fields.clone()).prop_map(|(number, content)| len(number, content)),
            (number(), fields.clone()).prop_map(|(number, content)| group(number, &content)),
            fields,
        ]
    });
    (nested, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(mut message, cut, cuts)| {
        if cuts && !message.is_empty() {
            message.truncate(cut.index(message.len()));
        }
        message
    })
}

proptest! {
    /// One of the strict runtimes reads what is sound.
    #[test]
    fn what_is_sound_is_read(message in messages()) {
        thread_local! {
            static OURS: Schema = schema(PROTO);
            static THEIRS: DescriptorPool = pool();
        }
        if OURS.with(|schema| sound(schema, &message)) {
            let descriptor = THEIRS.with(|pool| pool.get_message_by_name("p.M").unwrap());
            prop_assert!(DynamicMessage::decode(descriptor, &*message).is_ok());
        }
    }
}

fn pool() -> DescriptorPool {
    let file = protox::file::File::from_source("a.proto", PROTO).unwrap();
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_proto(file.file_descriptor_proto().clone()).unwrap();
    pool
}
