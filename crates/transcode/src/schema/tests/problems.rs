//! What is refused, with its file and symbol; all of it at once.

use prost::Message as _;

use super::super::descriptor::{
    CustomPattern, EnumType, EnumValue, FieldType, File, FileSet, HttpRule, MessageOptions, MessageType, MethodOptions,
    MethodType, OneofType, Pattern, ServiceType,
};
use super::*;

fn encode(files: &[File]) -> Vec<u8> {
    FileSet { files: files.iter().map(prost::Message::encode_to_vec).collect() }.encode_to_vec()
}

fn proto3(name: &str) -> File {
    File { name: name.into(), syntax: "proto3".into(), ..File::default() }
}

fn field(name: &str, number: i32, kind: i32, type_name: &str) -> FieldType {
    FieldType { name: name.into(), number, kind, type_name: type_name.into(), label: 1, ..FieldType::default() }
}

fn message(name: &str, fields: Vec<FieldType>) -> MessageType {
    MessageType { name: name.into(), fields, ..MessageType::default() }
}

/// Exactly these problems, each given as its beginning.
fn refuses(file: File, expected: &[&str]) {
    let problems = schema(&encode(&[file])).unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let same = lines.len() == expected.len() && lines.iter().zip(expected).all(|(line, part)| line.starts_with(part));
    assert!(same, "{lines:#?}");
}

#[test]
fn wrong_fields() {
    let mut repeated_member = field("r", 14, 5, "");
    (repeated_member.label, repeated_member.oneof_index) = (3, Some(0));
    let mut no_oneof = field("n", 15, 5, "");
    no_oneof.oneof_index = Some(7);
    let mut negative = field("m", 16, 5, "");
    negative.oneof_index = Some(-1);
    let mut default = field("d", 17, 5, "");
    default.default_value = Some("1e3".into());
    let mut options = field("o", 18, 5, "");
    options.options = vec![vec![0xff]];
    let fields = vec![
        field("zero", 0, 5, ""),
        field("high", 536_870_912, 5, ""),
        field("reserved", 19_000, 5, ""),
        field("unknown_type", 1, 99, ""),
        field("dangling", 2, 11, ".p.Nowhere"),
        field("relative", 3, 11, "Nowhere"),
        field("not_message", 4, 11, ".E"),
        field("not_enum", 5, 14, ".M"),
        field("service", 6, 11, ".S"),
        field("bad name", 7, 5, ""),
        repeated_member,
        no_oneof,
        negative,
        default,
        options,
        field("fine", 20, 0, "M"),
    ];
    let oneofs = vec![OneofType { name: "choice".into(), options: vec![] }];
    let file = File {
        messages: vec![MessageType { oneofs, ..message("M", fields) }],
        enums: vec![EnumType {
            name: "E".into(),
            values: vec![EnumValue { name: "A".into(), number: 0 }],
            options: vec![],
        }],
        services: vec![ServiceType { name: "S".into(), methods: vec![], options: vec![] }],
        ..proto3("a.proto")
    };
    refuses(
        file,
        &[
            "a.proto: M.zero: 0 is not a field number",
            "a.proto: M.high: 536870912 is not a field number",
            "a.proto: M.reserved: field number 19000 is reserved",
            "a.proto: M.unknown_type: 99 is not a field type",
            "a.proto: M.dangling: \"p.Nowhere\" is declared by no loaded file",
            "a.proto: M.relative: \"Nowhere\" is declared by no loaded file",
            "a.proto: M.not_message: .E is not a message",
            "a.proto: M.not_enum: .M is a message, not an enum",
            "a.proto: M.service: .S is not a message",
            "a.proto: M.bad name: \"bad name\" is not a name",
            "a.proto: M.r: a member of a oneof cannot be repeated",
            "a.proto: M.n: it belongs to oneof 7",
            "a.proto: M.m: it belongs to oneof",
            "a.proto: M.d: \"1e3\" is not a default value",
            "a.proto: M.o: its options cannot be read",
        ],
    );
}

#[test]
fn wrong_messages_and_enums() {
    let entry = |name: &str, fields| MessageType {
        options: vec![MessageOptions { map_entry: true, ..MessageOptions::default() }.encode_to_vec()],
        ..message(name, fields)
    };
    let mut map = field("map", 1, 11, ".BadEntry");
    map.label = 3;
    let values = |list: &[(&str, i32)]| {
        list.iter().map(|(name, number)| EnumValue { name: (*name).into(), number: *number }).collect()
    };
    let enumeration = |name: &str, list| EnumType { name: name.into(), values: values(list), options: vec![] };
    let file = File {
        messages: vec![
            message("Twice", vec![field("a", 1, 5, ""), field("a", 1, 5, "")]),
            message("Json", vec![field("a_b", 1, 5, ""), field("aB", 2, 5, "")]),
            message("Twice", vec![]),
            entry("BadEntry", vec![field("key", 1, 1, ""), field("value", 2, 5, "")]),
            message("HasMap", vec![map]),
            message("Loose", vec![field("entry", 1, 11, ".BadEntry")]),
            message("", vec![]),
        ],
        enums: vec![
            enumeration("Empty", &[]),
            enumeration("Open", &[("A", 1)]),
            enumeration("Same", &[("B", 0), ("B", 1), ("no name", 2)]),
        ],
        ..proto3("a.proto")
    };
    refuses(
        file,
        &[
            "a.proto: Twice: this name is declared twice",
            "a.proto: \"\" is not a name",
            "a.proto: Empty: an enum needs",
            "a.proto: Open: the first value of an open enum must be 0",
            "a.proto: Same: the value B is declared twice",
            "a.proto: Same: \"no name\" is not a name",
            "a.proto: Loose.entry: the entry type of a map is used outside its map",
            "a.proto: Twice: the field a is declared twice",
            "a.proto: Twice: two fields have the JSON name \"a\"",
            "a.proto: Twice: the field number 1 is given twice",
            "a.proto: Json: two fields have the JSON name \"aB\"",
            "a.proto: HasMap: the entry type of the map map is not",
        ],
    );
}

#[test]
fn wrong_services() {
    let method = |name: &str, input: &str, http: Option<HttpRule>| MethodType {
        name: name.into(),
        input: input.into(),
        output: ".M".into(),
        options: vec![MethodOptions { idempotency: 0, policy: None, http }.encode_to_vec()],
        ..MethodType::default()
    };
    let rule = |pattern, additional_bindings| {
        Some(HttpRule { pattern, additional_bindings, body: String::new(), response_body: String::new() })
    };
    let get = || Some(Pattern::Get("/".into()));
    let custom = |kind: &str| Some(Pattern::Custom(CustomPattern { kind: kind.into(), path: "/".into() }));
    let nested = rule(get(), vec![rule(get(), vec![rule(get(), vec![]).unwrap()]).unwrap()]);
    let methods = vec![
        method("Dangling", ".Nowhere", None),
        method("Service", ".p.S", None),
        method("Same", ".M", None),
        method("Same", ".M", None),
        method("NoPattern", ".M", rule(None, vec![])),
        method("BadKind", ".M", rule(custom("G T"), vec![])),
        method("NoKind", ".M", rule(custom(""), vec![])),
        method("LowKind", ".M", rule(custom("get"), vec![])),
        method("Tunnel", ".M", rule(custom("CONNECT"), vec![])),
        method("Nested", ".M", nested),
        method("a-b", ".M", None),
    ];
    let other = File { messages: vec![message("M", vec![])], ..proto3("m.proto") };
    let services = vec![ServiceType { name: "S".into(), methods, options: vec![] }];
    let file = File { package: "p".into(), services, ..proto3("a.proto") };
    let problems = schema(&encode(&[other, file])).unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for (line, part) in lines.iter().zip([
        "a.proto: p.S.Dangling: \"Nowhere\" is declared by no",
        "a.proto: p.S.Service: .p.S is not a message",
        "a.proto: p.S.Same: this name is declared twice",
        "a.proto: p.S.NoPattern: its google.api.http rule has no pattern",
        "a.proto: p.S.BadKind: custom kind \"G T\" is not an HTTP method",
        "a.proto: p.S.NoKind: custom kind \"\" is not an HTTP method",
        "a.proto: p.S.LowKind: custom kind \"get\" is not GET, for methods differ by case: write GET",
        "a.proto: p.S.Tunnel: custom kind \"CONNECT\" asks for a tunnel, which is not served",
        "a.proto: p.S.Nested: additional_bindings may not be nested",
        "a.proto: p.S.a-b: \"a-b\" is not a name",
    ]) {
        assert!(line.starts_with(part), "{lines:#?}");
    }
    assert_eq!(lines.len(), 10, "{lines:#?}");
}

#[test]
fn wrong_files() {
    for (file, part) in [
        (File { syntax: "proto4".into(), ..proto3("a.proto") }, "a.proto: syntax \"proto4\" is not supported"),
        (File { package: "a..b".into(), ..proto3("a.proto") }, "a.proto: \"a..b\" is not a package name"),
        (File { options: vec![vec![0xff]], ..proto3("a.proto") }, "a.proto: its options cannot be read"),
        (proto3(""), "a.binpb: the set holds a file without a name"),
    ] {
        refuses(file, &[part]);
    }
    let mut builder = Schema::builder();
    assert!(
        builder.add(b"\x0a\xff", "cut.binpb").unwrap_err()[0]
            .to_string()
            .starts_with("cut.binpb: not a FileDescriptorSet")
    );
    assert!(
        builder.add(b"\x0a\x01\xff", "bad.binpb").unwrap_err()[0]
            .to_string()
            .starts_with("bad.binpb: file 0 of the set")
    );
    assert!(builder.add(b"", "empty.binpb").unwrap_err()[0].to_string().contains("holds no file"));
}

#[test]
fn the_same_file_twice_must_be_the_same() {
    let one = File { messages: vec![message("M", vec![])], ..proto3("m.proto") };
    let other = File { messages: vec![message("M", vec![field("a", 1, 5, "")])], ..proto3("m.proto") };
    let mut builder = Schema::builder();
    builder.add(&encode(std::slice::from_ref(&one)), "one.binpb").unwrap();
    builder.add(&encode(&[one]), "two.binpb").unwrap();
    let problems = builder.add(&encode(&[other]), "three.binpb").unwrap_err();
    let expected = "m.proto: M: one.binpb and three.binpb both declare this, and not the same";
    assert!(problems[0].to_string().starts_with(expected), "{problems:?}");
    let shared = |syntax: &str| File { syntax: syntax.into(), ..proto3("google/api/http.proto") };
    builder.add(&encode(&[shared("proto3")]), "four.binpb").unwrap();
    builder.add(&encode(&[shared("proto2")]), "five.binpb").unwrap();
    assert!(builder.build().unwrap().message_named("M").is_some());
}

/// A set cannot bring a Timestamp that translators would trip over.
#[test]
fn well_known_types_cannot_be_redefined() {
    let timestamp = || message("Timestamp", vec![field("seconds", 1, 9, "")]);
    let own = File {
        package: "google.protobuf".into(),
        messages: vec![timestamp()],
        ..proto3("google/protobuf/timestamp.proto")
    };
    let schema = schema(&encode(&[own])).unwrap();
    assert_eq!(super::field(&schema, "google.protobuf.Timestamp", "seconds").kind, Kind::Int64);
    let elsewhere = File { package: "google.protobuf".into(), messages: vec![timestamp()], ..proto3("a.proto") };
    let problems = super::schema(&encode(&[elsewhere])).unwrap_err();
    assert!(problems.iter().any(|problem| problem.message == "this name is declared twice"), "{problems:?}");
    let body = File { package: "google.api".into(), messages: vec![message("HttpBody", vec![])], ..proto3("a.proto") };
    refuses(body, &["a.proto: google.api.HttpBody: its fields are not those that protobuf declares"]);
}
