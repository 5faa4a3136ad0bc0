//! Descriptors are compiled by protox, or built by hand where protox refuses or does not know them.

use super::*;

/// Compiles one proto file named `a.proto`; imports of google/protobuf resolve.
fn proto(text: &str) -> Schema {
    let mut builder = Schema::builder();
    builder.add(&descriptor_set(text), "a.binpb").unwrap();
    builder.build().unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn descriptor_set(text: &str) -> Vec<u8> {
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
    compiler.encode_file_descriptor_set()
}

fn field<'a>(schema: &'a Schema, message: &str, name: &str) -> &'a Field {
    let message = schema.message(schema.message_named(message).unwrap());
    &message.fields[message.slot_named(name).unwrap()]
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
    assert_eq!(field(&schema, "p.M", "left").oneof, Some(0));
    assert_eq!(&*field(&schema, "p.M", "custom").json_key, br#""a\"b":"#);
    let message = schema.message(schema.message_named("p.M").unwrap());
    assert_eq!(message.oneofs.iter().map(|name| &**name).collect::<Vec<_>>(), ["choice"]);
    assert_eq!(message.slot(200), message.slot_named("inner"));
    assert_eq!([message.slot(5), message.slot(0), message.slot(201), message.slot(u32::MAX)], [None; 4]);
    let Some(Symbol::Enum(id)) = schema.symbol("p.M.E") else { panic!() };
    let e = schema.enumeration(id);
    assert_eq!((e.closed, e.name_of(1), e.number_of("ALSO_ONE")), (false, Some("ONE"), Some(1)));
}
