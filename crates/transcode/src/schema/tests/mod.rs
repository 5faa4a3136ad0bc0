//! Descriptors are compiled by protox, or built by hand where protox refuses or does not know them.

mod editions;
mod hostile;
mod policy;
mod problems;
mod sources;

use super::*;

/// The schema of one proto file named `a.proto`; imports of google/protobuf and of google/api resolve.
fn proto(text: &str) -> Schema {
    schema(&descriptor_set(text)).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn schema(set: &[u8]) -> Result<Schema, Vec<Problem>> {
    let mut builder = Schema::builder();
    builder.add(set, "a.binpb")?;
    builder.build()
}

fn descriptor_set(text: &str) -> Vec<u8> {
    struct Files(String);
    impl protox::file::FileResolver for Files {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            match name {
                "a.proto" => protox::file::File::from_source(name, &self.0),
                "google/api/annotations.proto" => protox::file::File::from_source(name, ANNOTATIONS),
                _ => protox::file::GoogleFileResolver::new().open_file(name),
            }
        }
    }
    let mut compiler = protox::Compiler::with_file_resolver(Files(text.to_owned()));
    compiler.include_imports(true).open_file("a.proto").unwrap_or_else(|error| panic!("{error:?}"));
    compiler.encode_file_descriptor_set()
}

/// The part of google.api that is read.
const ANNOTATIONS: &str = r#"
    syntax = "proto3"; package google.api; import "google/protobuf/descriptor.proto";
    extend google.protobuf.MethodOptions { HttpRule http = 72295728; string other = 50000; }
    message HttpRule {
      string selector = 1;
      oneof pattern { string get = 2; string put = 3; string post = 4; string delete = 5; string patch = 6; Custom custom = 8; }
      string body = 7; string response_body = 12; repeated HttpRule additional_bindings = 11;
    }
    message Custom { string kind = 1; string path = 2; }"#;

fn message<'a>(schema: &'a Schema, name: &str) -> &'a Message {
    schema.message(schema.message_named(name).unwrap_or_else(|| panic!("no message {name}")))
}

fn field<'a>(schema: &'a Schema, of: &str, name: &str) -> &'a Field {
    let message = message(schema, of);
    &message.fields[message.slot_named(name).unwrap_or_else(|| panic!("no field {name}"))]
}

#[test]
fn proto3_fields() {
    let schema = proto(
        r#"syntax = "proto3"; package p;
           message M {
             int32 plain_number = 1; optional string maybe = 2; repeated sint64 many = 3;
             repeated sint64 loose = 4 [packed = false]; map<string, Inner> inners = 16; Inner inner = 200;
             oneof choice { string left = 7; Inner right = 8; } bytes custom = 9 [json_name = "a\"b"];
             message Inner { E e = 1; } enum E { ZERO = 0; ONE = 1; ALSO_ONE = 1; option allow_alias = true; }
           }"#,
    );
    let plain = field(&schema, "p.M", "plainNumber");
    assert_eq!((plain.kind, plain.shape, plain.presence), (Kind::Int32, Shape::Singular, Presence::Implicit));
    assert_eq!((plain.tag.as_bytes(), &*plain.json_key), (&[8][..], &b"\"plainNumber\":"[..]));
    assert_eq!(&*plain.proto_key, b"\"plain_number\":");
    let maybe = field(&schema, "p.M", "maybe");
    assert_eq!((maybe.presence, maybe.oneof, maybe.utf8), (Presence::Explicit, None, true));
    let many = field(&schema, "p.M", "many");
    assert_eq!((many.shape, many.tag.as_bytes()), (Shape::Packed, &[3 << 3 | 2][..]));
    assert_eq!(field(&schema, "p.M", "loose").shape, Shape::Repeated);
    let inners = field(&schema, "p.M", "inners");
    assert_eq!((inners.shape, inners.tag.as_bytes()), (Shape::Map, &[0x82, 0x01][..]));
    assert!(message(&schema, "p.M.InnersEntry").map_entry);
    assert_eq!(field(&schema, "p.M", "left").oneof, Some(0));
    assert_eq!(&*field(&schema, "p.M", "custom").json_key, br#""a\"b":"#);
    let m = message(&schema, "p.M");
    assert_eq!(m.oneofs.iter().map(|name| &**name).collect::<Vec<_>>(), ["choice"]);
    assert_eq!(m.slot(200), m.slot_named("inner"));
    assert_eq!([m.slot(5), m.slot(0), m.slot(201), m.slot(u32::MAX)], [None; 4]);
    let Some(Symbol::Enum(id)) = schema.symbol("p.M.E") else { panic!() };
    let e = schema.enumeration(id);
    assert_eq!((e.closed, e.name_of(1), e.name_of(2), e.number_of("ALSO_ONE")), (false, Some("ONE"), None, Some(1)));
}

#[test]
fn proto2_fields() {
    let schema = proto(
        r#"syntax = "proto2"; package p;
           message M {
             required int32 must = 1; optional string text = 2 [default = "a\nb"]; repeated int32 many = 3;
             repeated int32 tight = 4 [packed = true]; optional group Result = 5 { optional bool ok = 1; }
             optional E e = 6 [default = B]; optional bytes raw = 7 [default = "\001\x7f\"\\"];
             optional double real = 8 [default = -inf]; optional sint32 zig = 9 [default = -2];
             optional int64 big = 10 [default = -1]; optional bool yes = 11 [default = true];
             optional fixed32 fixed = 12 [default = 258]; extensions 100 to max;
           }
           enum E { A = 5; B = 300; }
           extend M { optional int32 outer = 100; repeated int32 numbers = 101; }
           message Scope { extend M { optional Scope inner = 102; } }"#,
    );
    let shapes = |name| (field(&schema, "p.M", name).presence, field(&schema, "p.M", name).shape);
    assert_eq!(shapes("must"), (Presence::Required, Shape::Singular));
    assert!(message(&schema, "p.M").has_required && !message(&schema, "p.Scope").has_required);
    assert_eq!(shapes("text"), (Presence::Explicit, Shape::Singular));
    assert_eq!([shapes("many").1, shapes("tight").1], [Shape::Repeated, Shape::Packed]);
    assert!(!field(&schema, "p.M", "text").utf8);
    let result = field(&schema, "p.M", "result");
    assert_eq!(
        (result.kind, result.tag.as_bytes()),
        (Kind::Group(schema.message_named("p.M.Result").unwrap()), &[5 << 3 | 3][..])
    );
    for (name, default) in [
        ("must", &b""[..]),
        ("text", b"\x03a\nb"),
        ("e", &[0xac, 0x02]),
        ("raw", b"\x04\x01\x7f\"\\"),
        ("real", &f64::NEG_INFINITY.to_le_bytes()),
        ("zig", &[3]),
        ("big", &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ("yes", &[1]),
        ("fixed", &[2, 1, 0, 0]),
    ] {
        assert_eq!(&*field(&schema, "p.M", name).default, default, "{name}");
    }
    let Some(Symbol::Enum(id)) = schema.symbol("p.E") else { panic!() };
    assert!(schema.enumeration(id).closed);
    let inner = field(&schema, "p.M", "[p.Scope.inner]");
    assert_eq!(
        (inner.number, &*inner.json_key, inner.presence),
        (102, &b"\"[p.Scope.inner]\":"[..], Presence::Explicit)
    );
    assert_eq!(field(&schema, "p.M", "[p.numbers]").shape, Shape::Repeated);
}

#[test]
fn well_known_types_are_always_there() {
    let schema = Schema::builder().build().unwrap();
    for (name, kind) in [
        ("Any", WellKnown::Any),
        ("Timestamp", WellKnown::Timestamp),
        ("Duration", WellKnown::Duration),
        ("FieldMask", WellKnown::FieldMask),
        ("Struct", WellKnown::Struct),
        ("Value", WellKnown::Value),
        ("ListValue", WellKnown::ListValue),
        ("Empty", WellKnown::Empty),
        ("BytesValue", WellKnown::Wrapper),
        ("UInt64Value", WellKnown::Wrapper),
        ("Struct.FieldsEntry", WellKnown::No),
        ("FileDescriptorProto", WellKnown::No),
        ("Method", WellKnown::No),
    ] {
        assert_eq!(message(&schema, &format!("google.protobuf.{name}")).well_known, kind, "{name}");
    }
    let Some(Symbol::Enum(id)) = schema.symbol("google.protobuf.NullValue") else { panic!() };
    assert!(schema.enumeration(id).null_value);
}

#[test]
fn http_rules_are_flattened_and_options_kept() {
    let schema = proto(
        r#"syntax = "proto3"; package p; import "google/api/annotations.proto";
           message M {}
           service S {
             rpc Plain(M) returns (stream M);
             rpc Bound(stream M) returns (M) {
               option idempotency_level = NO_SIDE_EFFECTS;
               option (google.api.other) = "kept";
               option (google.api.http) = {
                 get: "/a" response_body: "x"
                 additional_bindings { post: "/b" body: "*" }
                 additional_bindings { custom { kind: "*" path: "/c" } }
               };
             }
           }"#,
    );
    let [service] = &*schema.services else { panic!() };
    assert_eq!((&*service.name, &*service.file), ("p.S", "a.proto"));
    let [plain, bound] = &*service.methods else { panic!() };
    assert_eq!((plain.client_streaming, plain.server_streaming, plain.http.len()), (false, true, 0));
    assert_eq!((bound.client_streaming, bound.server_streaming), (true, false));
    assert_eq!((plain.idempotency, bound.idempotency), (Idempotency::Unknown, Idempotency::NoSideEffects));
    let rule = |method: &str, template: &str, body: &str, response_body: &str| HttpRule {
        method: method.into(),
        template: template.into(),
        body: body.into(),
        response_body: response_body.into(),
    };
    assert_eq!(bound.http, [rule("GET", "/a", "", "x"), rule("POST", "/b", "*", ""), rule("*", "/c", "", "")]);
    assert!(bound.options.windows(4).any(|window| window == b"kept"));
}

#[test]
fn large_and_small_field_numbers_are_found() {
    let numbers: Vec<u32> = (1..=300).chain([5_000, 18_999, 20_000, 536_870_911]).collect();
    let fields: String = numbers.iter().rev().map(|number| format!("int32 f{number} = {number};")).collect();
    let schema = proto(&format!("syntax = \"proto3\"; message M {{ {fields} }}"));
    let m = message(&schema, "M");
    for number in &numbers {
        assert_eq!(m.fields[m.slot(*number).unwrap()].number, *number);
    }
    assert!(m.dense.len() <= 641, "{}", m.dense.len());
    assert_eq!([m.slot(301), m.slot(600), m.slot(5_001)], [None; 3]);
}

#[test]
fn json_names_are_found_before_proto_names() {
    let schema = proto(
        r#"syntax = "proto2"; message M { optional int32 a = 1 [json_name = "b"]; optional int32 b = 2 [json_name = "c"]; }"#,
    );
    let m = message(&schema, "M");
    assert_eq!(["a", "b", "c"].map(|name| m.slot_named(name)), [Some(0), Some(0), Some(1)]);
    assert_eq!(["a", "b", "c"].map(|name| m.slot_declared(name)), [Some(0), Some(1), None]);
}
