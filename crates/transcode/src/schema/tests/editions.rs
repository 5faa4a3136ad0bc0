//! Editions, which protox does not compile: descriptors by hand.

use prost::Message as _;

use super::super::descriptor::{
    EnumOptions, EnumType, EnumValue, FeatureSet, FieldOptions, FieldType, File, FileOptions, FileSet, MessageOptions,
    MessageType, OneofOptions, OneofType,
};
use super::*;

const EDITION_2023: i32 = 1000;
const EDITION_2024: i32 = 1001;

fn encode(file: &File) -> Vec<u8> {
    FileSet { files: vec![file.encode_to_vec()] }.encode_to_vec()
}

fn features(field_presence: i32) -> FeatureSet {
    FeatureSet { field_presence: Some(field_presence), ..FeatureSet::default() }
}

fn with(name: &str, number: i32, kind: i32, features: Option<FeatureSet>) -> FieldType {
    let options = features.map(|features| FieldOptions { features: Some(features), packed: None }.encode_to_vec());
    FieldType {
        name: name.into(),
        number,
        kind,
        label: 1,
        options: options.into_iter().collect(),
        ..FieldType::default()
    }
}

fn file(edition: i32, features: Option<FeatureSet>, messages: Vec<MessageType>, enums: Vec<EnumType>) -> File {
    let options = vec![FileOptions { features }.encode_to_vec()];
    File { name: "a.proto".into(), syntax: "editions".into(), edition, options, messages, enums, ..File::default() }
}

const INT32: i32 = 5;
const STRING: i32 = 9;
const MESSAGE: i32 = 11;

#[test]
fn defaults_of_2023_and_2024() {
    for edition in [EDITION_2023, EDITION_2024] {
        let mut many = with("many", 2, INT32, None);
        many.label = 3;
        let fields = vec![with("one", 1, INT32, None), many, with("text", 3, STRING, None)];
        let m = MessageType { name: "M".into(), fields, ..MessageType::default() };
        let e = EnumType {
            name: "E".into(),
            values: vec![EnumValue { name: "ZERO".into(), number: 0 }],
            ..EnumType::default()
        };
        let schema = schema(&encode(&file(edition, None, vec![m], vec![e]))).unwrap();
        assert_eq!(field(&schema, "M", "one").presence, Presence::Explicit);
        assert_eq!(field(&schema, "M", "many").shape, Shape::Packed);
        assert!(field(&schema, "M", "text").utf8);
        let Some(Symbol::Enum(id)) = schema.symbol("E") else { panic!() };
        assert!(!schema.enumeration(id).closed);
    }
}

#[test]
fn features_are_inherited_from_file_to_message_to_oneof_to_field() {
    let set = FeatureSet {
        field_presence: Some(2),
        enum_type: Some(2),
        repeated_field_encoding: Some(2),
        utf8_validation: Some(3),
        message_encoding: Some(2),
        json_format: None,
    };
    let mut many = with("many", 3, INT32, None);
    many.label = 3;
    let mut packed =
        with("packed", 4, INT32, Some(FeatureSet { repeated_field_encoding: Some(1), ..FeatureSet::default() }));
    packed.label = 3;
    let mut group = with("group", 5, MESSAGE, None);
    group.type_name = ".M".into();
    let mut plain = with("plain", 6, MESSAGE, Some(FeatureSet { message_encoding: Some(1), ..FeatureSet::default() }));
    plain.type_name = ".M".into();
    let mut member = with("member", 7, STRING, None);
    member.oneof_index = Some(0);
    let mut entries = with("entries", 8, MESSAGE, None);
    (entries.type_name, entries.label) = (".M.EntriesEntry".into(), 3);
    let mut value = with("value", 2, MESSAGE, None);
    value.type_name = ".M".into();
    let entry = MessageType {
        name: "EntriesEntry".into(),
        fields: vec![value, with("key", 1, STRING, None)],
        options: vec![MessageOptions { map_entry: true, ..MessageOptions::default() }.encode_to_vec()],
        ..MessageType::default()
    };
    let oneof = FeatureSet { utf8_validation: Some(2), ..FeatureSet::default() };
    let m = MessageType {
        name: "M".into(),
        fields: vec![
            with("one", 1, STRING, None),
            with("must", 2, INT32, Some(features(3))),
            many,
            packed,
            group,
            plain,
            member,
            entries,
        ],
        messages: vec![entry],
        oneofs: vec![OneofType {
            name: "o".into(),
            options: vec![OneofOptions { features: Some(oneof) }.encode_to_vec()],
        }],
        options: vec![MessageOptions { features: Some(features(1)), ..MessageOptions::default() }.encode_to_vec()],
        ..MessageType::default()
    };
    let values = |number| vec![EnumValue { name: format!("V{number}"), number }];
    let closed = EnumType { name: "Closed".into(), values: values(1), ..EnumType::default() };
    let open = FeatureSet { enum_type: Some(1), ..FeatureSet::default() };
    let open = EnumType {
        name: "Open".into(),
        values: values(0),
        options: vec![EnumOptions { features: Some(open) }.encode_to_vec()],
    };
    let schema = schema(&encode(&file(EDITION_2023, Some(set), vec![m], vec![closed, open]))).unwrap();
    let id = schema.message_named("M").unwrap();
    let of = |name| field(&schema, "M", name);
    assert_eq!([of("one").presence, of("must").presence], [Presence::Explicit, Presence::Required]);
    assert_eq!([of("one").utf8, of("member").utf8], [false, true]);
    assert_eq!([of("many").shape, of("packed").shape], [Shape::Repeated, Shape::Packed]);
    assert_eq!([of("group").kind, of("plain").kind], [Kind::Group(id), Kind::Message(id)]);
    assert_eq!((of("group").tag.as_bytes(), of("plain").tag.as_bytes()), (&[5 << 3 | 3][..], &[6 << 3 | 2][..]));
    // Maps are length-prefixed, and so are their messages.
    let entry = message(&schema, "M.EntriesEntry");
    assert_eq!((of("entries").shape, of("entries").tag.as_bytes()), (Shape::Map, &[8 << 3 | 2][..]));
    assert_eq!((&*entry.fields[0].name, entry.fields[1].kind), ("key", Kind::Message(id)));
    assert!(message(&schema, "M").has_required);
    let closed = |name: &str| match schema.symbol(name) {
        Some(Symbol::Enum(id)) => schema.enumeration(id).closed,
        _ => panic!("{name}"),
    };
    assert_eq!([closed("Closed"), closed("Open")], [true, false]);
}

/// `json_format = LEGACY_BEST_EFFORT`: what protoc warns of is loaded, and what is printed can be read.
#[test]
fn of_fields_with_one_json_name_one_keeps_it() {
    let fields =
        || vec![with("foo_bar", 1, INT32, None), with("fooBar", 2, INT32, None), with("foo__bar", 3, INT32, None)];
    let compiled = |json_format| {
        let m = MessageType { name: "M".into(), fields: fields(), ..MessageType::default() };
        let features = FeatureSet { json_format: Some(json_format), ..FeatureSet::default() };
        schema(&encode(&file(EDITION_2024, Some(features), vec![m], vec![])))
    };
    let problems = compiled(1).unwrap_err();
    assert!(problems[0].message.contains("two fields have the JSON name \"fooBar\""), "{problems:?}");
    let schema = compiled(2).unwrap();
    let m = message(&schema, "M");
    let keys: Vec<&[u8]> = m.fields.iter().map(|field| &*field.json_key).collect();
    assert_eq!(keys, [&b"\"foo_bar\":"[..], b"\"fooBar\":", b"\"foo__bar\":"]);
    assert_eq!(["foo_bar", "fooBar", "foo__bar"].map(|name| m.slot_named(name)), [Some(0), Some(1), Some(2)]);
    // As a message says of itself.
    let options = vec![MessageOptions { legacy_json: true, ..MessageOptions::default() }.encode_to_vec()];
    let m = MessageType { name: "M".into(), fields: fields(), options, ..MessageType::default() };
    assert!(super::schema(&encode(&file(EDITION_2024, None, vec![m], vec![]))).is_ok());
}

#[test]
fn message_sets_have_extensions_only() {
    let extension = |number, kind, label| FieldType {
        extendee: ".Set".into(),
        type_name: if kind == MESSAGE { ".M".into() } else { String::new() },
        label,
        ..with("item", number, kind, None)
    };
    let compiled = |fields, extension| {
        let options = vec![MessageOptions { message_set: true, ..MessageOptions::default() }.encode_to_vec()];
        let set = MessageType { name: "Set".into(), fields, options, ..MessageType::default() };
        let m = MessageType { name: "M".into(), ..MessageType::default() };
        let delimited = FeatureSet { message_encoding: Some(2), ..FeatureSet::default() };
        let mut file = file(EDITION_2024, Some(delimited), vec![set, m], vec![]);
        file.extensions = vec![extension];
        schema(&encode(&file)).map_err(|problems| problems[0].message.clone())
    };
    let schema = compiled(vec![], extension(i32::MAX - 1, MESSAGE, 1)).unwrap();
    let item = &message(&schema, "Set").fields[0];
    assert_eq!((item.number, item.shape), (i32::MAX as u32 - 1, Shape::Item));
    assert!(matches!(item.kind, Kind::Message(_)), "delimited or not, an item is one");
    for (fields, extension, why) in [
        (vec![with("own", 1, INT32, None)], extension(4, MESSAGE, 1), "has no fields, only extensions"),
        (vec![], extension(4, INT32, 1), "must be one message"),
        (vec![], extension(4, MESSAGE, 3), "must be one message"),
        (vec![], extension(i32::MAX, MESSAGE, 1), "use 1 to 2147483646"),
    ] {
        let message = compiled(fields, extension).unwrap_err();
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn unknown_editions_are_problems() {
    for edition in [0, 1, 900, 1002, 99_999, i32::MAX, -1] {
        let problems = schema(&encode(&file(edition, None, vec![], vec![]))).unwrap_err();
        assert!(problems[0].to_string().contains("a.proto: edition number"), "{problems:?}");
    }
}
