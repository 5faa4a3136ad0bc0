//! Descriptor sets that nobody compiled: too deep, too large, mutated. None panics, and what is accepted is consistent.

use proptest::prelude::*;
use std::sync::LazyLock;

use prost::Message as _;

use super::super::descriptor::{
    FeatureSet, FieldOptions, FieldType, File, FileOptions, FileSet, MessageOptions, MessageType,
};
use super::*;

fn one(message: MessageType) -> Vec<u8> {
    let file = File { name: "a.proto".into(), syntax: "proto3".into(), messages: vec![message], ..File::default() };
    FileSet { files: vec![file.encode_to_vec()] }.encode_to_vec()
}

#[test]
fn too_many_fields_are_a_problem() {
    let fields = |count: i32| {
        let numbers = (1..).filter(|number| !(19_000..20_000).contains(number)).take(count as usize);
        let fields = numbers.map(|number| FieldType {
            name: format!("f{number}"),
            number,
            kind: 5,
            label: 1,
            ..FieldType::default()
        });
        one(MessageType { name: "M".into(), fields: fields.collect(), ..MessageType::default() })
    };
    let schema = schema(&fields(65_534)).unwrap();
    assert_eq!(message(&schema, "M").slot(66_534), Some(65_533));
    let problems = super::schema(&fields(65_535)).unwrap_err();
    assert_eq!(problems[0].message, "a message may have at most 65534 fields");
}

#[test]
fn deep_nesting_and_long_names_are_problems() {
    let mut message = MessageType { name: "M".into(), ..MessageType::default() };
    for _ in 0..200 {
        message = MessageType { name: "M".into(), messages: vec![message], ..MessageType::default() };
    }
    assert!(schema(&one(message)).unwrap_err()[0].message.contains("recursion limit"));
    let inner = MessageType { name: "I".repeat(700), ..MessageType::default() };
    let outer = MessageType { name: "O".repeat(700), messages: vec![inner], ..MessageType::default() };
    assert!(schema(&one(outer)).unwrap_err()[0].message.contains("more than 1024 bytes"));
}

/// A set with some of everything.
static RICH: LazyLock<Vec<u8>> = LazyLock::new(|| {
    descriptor_set(
        r#"syntax = "proto2"; package p; import "google/api/annotations.proto"; import "google/protobuf/struct.proto";
           message M {
             required int32 must = 1; optional string text = 2 [default = "a"]; repeated int32 many = 3 [packed = true];
             optional group Result = 5 { optional bool ok = 1; } map<int32, M> map = 6; optional E e = 7 [default = B];
             oneof choice { bytes left = 8; M right = 9; } optional google.protobuf.Value value = 10; extensions 100 to 200;
           }
           enum E { A = 5; B = 300; } extend M { optional int32 outer = 100; }
           message Set { option message_set_wire_format = true; extensions 4 to max; } extend Set { optional M item = 7; }
           service S { rpc R(M) returns (M) { option (google.api.http) = { get: "/a" additional_bindings { get: "/b" } }; } }"#,
    )
});

/// The same as a file of edition 2024 that has features everywhere.
static EDITIONS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let features = |presence| FeatureSet {
        field_presence: presence,
        enum_type: Some(2),
        repeated_field_encoding: Some(1),
        utf8_validation: Some(3),
        message_encoding: Some(2),
        json_format: Some(2),
    };
    let mut set = FileSet::decode(RICH.as_slice()).unwrap();
    let mut file = File::decode(set.files.pop().unwrap().as_slice()).unwrap();
    (file.syntax, file.edition) = ("editions".to_owned(), 1001);
    file.options.push(FileOptions { features: Some(features(Some(1))) }.encode_to_vec());
    for message in &mut file.messages {
        let options = MessageOptions { features: Some(features(None)), ..MessageOptions::default() };
        message.options.push(options.encode_to_vec());
        for field in &mut message.fields {
            let presence = (field.label == 2).then_some(3);
            let options = FieldOptions { features: Some(features(presence)), packed: None };
            field.options.push(options.encode_to_vec());
        }
    }
    set.files.push(file.encode_to_vec());
    set.encode_to_vec()
});

/// Every index in the tables leads somewhere, and every lookup leads back.
fn check(schema: &Schema) {
    for message in &schema.messages {
        assert!(message.name.len() < 2_000);
        for (slot, field) in message.fields.iter().enumerate() {
            assert_eq!(message.slot(field.number), Some(slot));
            assert!(message.slot_named(&field.name).is_some() && message.slot_named(&field.json_name).is_some());
            assert!(field.oneof.is_none_or(|at| usize::from(at) < message.oneofs.len()));
            match field.kind {
                Kind::Message(id) | Kind::Group(id) => {
                    assert_eq!(schema.message(id).map_entry, field.shape == Shape::Map);
                }
                Kind::Enum(id) => assert!(!schema.enumeration(id).values.is_empty()),
                _ => assert_ne!(field.shape, Shape::Map),
            }
            assert!((1..=5).contains(&field.tag.as_bytes().len()));
        }
    }
    for service in &schema.services {
        for method in &service.methods {
            let _ = (schema.message(method.input), schema.message(method.output));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn mutated_sets_do_not_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..8),
        google in any::<bool>(),
        editions in any::<bool>(),
    ) {
        // Without google's files, whose bytes are most of the set, edits hit the rich one.
        let mut set = FileSet::decode(if editions { EDITIONS.as_slice() } else { RICH.as_slice() }).unwrap();
        if !google {
            set.files.retain(|file| file.windows(7).any(|window| window == b"a.proto"));
        }
        let mut bytes = set.files.pop().unwrap();
        for (at, value, kind) in edits {
            let at = at.index(bytes.len().max(1));
            match kind {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = value,
                1 => bytes[at] ^= 1 << (value % 8),
                2 => { bytes.remove(at); }
                _ => bytes.insert(at, value),
            }
        }
        set.files.push(bytes);
        if let Ok(schema) = schema(&set.encode_to_vec()) {
            check(&schema);
        }
    }

    #[test]
    fn any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(schema) = schema(&bytes) {
            check(&schema);
        }
    }
}

#[test]
fn the_unmutated_sets_are_accepted() {
    check(&schema(&RICH).unwrap());
    check(&schema(&EDITIONS).unwrap());
}
