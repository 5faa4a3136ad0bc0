//! Random schemas: one file of messages that refer to each other, with every kind of field that proto2 or proto3 has.

use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::descriptor_proto::ExtensionRange;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FieldOptions,
    FileDescriptorProto, FileDescriptorSet, MessageOptions, OneofDescriptorProto,
};
use transom_transcode::schema::Schema;

use crate::draw::Draw;

const SCALARS: [Type; 15] = [
    Type::Int32,
    Type::String,
    Type::Int64,
    Type::Double,
    Type::Bool,
    Type::Bytes,
    Type::Float,
    Type::Uint32,
    Type::Uint64,
    Type::Sint32,
    Type::Sint64,
    Type::Fixed32,
    Type::Fixed64,
    Type::Sfixed32,
    Type::Sfixed64,
];

const KEYS: [Type; 12] = [
    Type::String,
    Type::Int32,
    Type::Int64,
    Type::Bool,
    Type::Uint32,
    Type::Uint64,
    Type::Sint32,
    Type::Sint64,
    Type::Fixed32,
    Type::Fixed64,
    Type::Sfixed32,
    Type::Sfixed64,
];

const WELL_KNOWN: [&str; 16] = [
    "Timestamp",
    "Duration",
    "FieldMask",
    "Struct",
    "Value",
    "ListValue",
    "Any",
    "Empty",
    "StringValue",
    "Int64Value",
    "UInt64Value",
    "Int32Value",
    "UInt32Value",
    "DoubleValue",
    "BoolValue",
    "BytesValue",
];

const IMPORTS: [&str; 7] = ["any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"];

/// Extensions of `t.M0` have numbers from here on.
const EXTENSIONS: i32 = 100_000;

/// The language of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    Proto2,
    Proto3,
}

/// The same schema for both sides. Its first message is `t.M0`.
pub(crate) struct Both {
    pub(crate) ours: Schema,
    pub(crate) oracle: DescriptorPool,
}

impl Both {
    pub(crate) fn draw(draw: &mut Draw<'_>) -> Self {
        let syntax = if draw.one_in(2) { Syntax::Proto2 } else { Syntax::Proto3 };
        let count = 1 + draw.below(4);
        let mut file = FileDescriptorProto {
            name: Some("t.proto".to_owned()),
            package: Some("t".to_owned()),
            syntax: (syntax == Syntax::Proto3).then(|| "proto3".to_owned()),
            dependency: IMPORTS.iter().map(|name| format!("google/protobuf/{name}.proto")).collect(),
            message_type: (0..count).map(|index| message(draw, syntax, index, count)).collect(),
            enum_type: vec![enumeration(draw, syntax)],
            ..Default::default()
        };
        if syntax == Syntax::Proto2 {
            file.extension = (0..draw.below(4) as i32).map(|index| extension(draw, index, count)).collect();
            let range = ExtensionRange { start: Some(EXTENSIONS), end: Some(EXTENSIONS + 10), options: None };
            file.message_type[0].extension_range.push(range);
        }
        let set = FileDescriptorSet { file: vec![file.clone()] }.encode_to_vec();
        let mut builder = Schema::builder();
        builder.add(&set, "random").unwrap();
        let ours = builder.build().unwrap_or_else(|problems| panic!("{problems:#?}"));
        let mut oracle = DescriptorPool::global();
        oracle.add_file_descriptor_proto(file).unwrap();
        Self { ours, oracle }
    }
}

fn enumeration(draw: &mut Draw<'_>, syntax: Syntax) -> EnumDescriptorProto {
    let mut values = [("NONE", 0), ("ONE", 1), ("TWO", 2), ("LOW", i32::MIN), ("HIGH", i32::MAX), ("FAR", 1000)];
    if syntax == Syntax::Proto2 {
        // Its first value is its default, whatever the number.
        let first = draw.below(values.len());
        values.rotate_left(first);
    }
    EnumDescriptorProto {
        name: Some("E".to_owned()),
        value: values
            .map(|(name, number)| EnumValueDescriptorProto {
                name: Some(name.to_owned()),
                number: Some(number),
                options: None,
            })
            .into(),
        ..Default::default()
    }
}

fn extension(draw: &mut Draw<'_>, index: i32, messages: usize) -> FieldDescriptorProto {
    let mut field = field(draw, &format!("some_extension{index}"), EXTENSIONS + index, messages);
    field.extendee = Some(".t.M0".to_owned());
    if draw.one_in(2) {
        field.label = Some(Label::Repeated.into());
        field.options = is_packable(&field).then(|| packed(draw.one_in(2)));
    }
    field
}

/// What only proto2 has: a default, `required`, a group.
fn make_proto2(draw: &mut Draw<'_>, message: &mut DescriptorProto, field: &mut FieldDescriptorProto) {
    let scalar = !matches!(field.r#type(), Type::Message);
    match draw.below(4) {
        0 => {}
        1 if scalar => field.default_value = Some(default(draw, field.r#type())),
        2 if scalar => field.set_label(Label::Required),
        _ => {
            let name = format!("Group{}", field.number());
            field.name = Some(name.to_lowercase());
            field.set_type(Type::Group);
            field.type_name = Some(format!(".t.{}.{name}", message.name()));
            let number = 1 + draw.below(20) as i32;
            let inner = self::field(draw, "inside", number, 1);
            message.nested_type.push(DescriptorProto { name: Some(name), field: vec![inner], ..Default::default() });
            if draw.one_in(2) {
                field.set_label(Label::Repeated);
            }
        }
    }
}

fn default(draw: &mut Draw<'_>, kind: Type) -> String {
    let texts: &[&str] = match kind {
        Type::Bool => &["true", "false"],
        Type::String => &["", "some \"text\""],
        Type::Bytes => &["", "\\001\\377a"],
        Type::Enum => &["TWO", "LOW"],
        Type::Double | Type::Float => &["1.5", "-0", "1e+20"],
        Type::Uint32 | Type::Uint64 | Type::Fixed32 | Type::Fixed64 => &["0", "4294967295"],
        _ => &["-7", "2147483647"],
    };
    draw.of(texts).to_owned()
}

fn packed(packed: bool) -> FieldOptions {
    FieldOptions { packed: Some(packed), ..Default::default() }
}

fn message(draw: &mut Draw<'_>, syntax: Syntax, index: usize, count: usize) -> DescriptorProto {
    let mut out = DescriptorProto { name: Some(format!("M{index}")), ..Default::default() };
    let mut number = 0;
    for choice in 0..draw.below(3) {
        out.oneof_decl.push(OneofDescriptorProto { name: Some(format!("choice_{choice}")), options: None });
    }
    let oneofs = out.oneof_decl.len();
    let fields = if draw.one_in(20) { 70 } else { 1 + draw.below(14) };
    for at in 0..fields {
        number += 1 + if draw.one_in(8) { draw.below(3000) as i32 } else { draw.below(3) as i32 };
        if (19_000..20_000).contains(&number) {
            number = 20_000; // protobuf's own
        }
        let mut field = field(draw, &format!("some_field{at}"), number, count);
        match draw.below(if oneofs > 0 { 6 } else { 5 }) {
            0 => {}
            1 => field.label = Some(Label::Repeated.into()),
            2 => {
                let name = format!("SomeField{at}Entry");
                let mut value = field.clone();
                (value.name, value.number) = (Some("value".to_owned()), Some(2));
                let mut key = field.clone();
                (key.name, key.number, key.type_name) = (Some("key".to_owned()), Some(1), None);
                key.set_type(draw.of(&KEYS));
                field.label = Some(Label::Repeated.into());
                field.set_type(Type::Message);
                field.type_name = Some(format!(".t.M{index}.{name}"));
                out.nested_type.push(DescriptorProto {
                    name: Some(name),
                    field: vec![key, value],
                    options: Some(MessageOptions { map_entry: Some(true), ..Default::default() }),
                    ..Default::default()
                });
            }
            3 => {
                field.label = Some(Label::Repeated.into());
                field.options = is_packable(&field).then(|| packed(syntax == Syntax::Proto2));
            }
            4 if syntax == Syntax::Proto2 => make_proto2(draw, &mut out, &mut field),
            4 => {
                field.proto3_optional = Some(true);
                field.oneof_index = Some(out.oneof_decl.len() as i32);
                out.oneof_decl.push(OneofDescriptorProto { name: Some(format!("_some_field{at}")), options: None });
            }
            _ => field.oneof_index = Some(draw.below(oneofs) as i32),
        }
        if draw.one_in(10) {
            field.json_name = Some(format!("own {at} \"\u{e9}"));
        }
        out.field.push(field);
    }
    drop_empty_oneofs(&mut out);
    out
}

fn field(draw: &mut Draw<'_>, name: &str, number: i32, messages: usize) -> FieldDescriptorProto {
    let mut field = FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        ..Default::default()
    };
    match draw.below(8) {
        0..=3 => field.set_type(draw.of(&SCALARS)),
        4 => {
            field.set_type(Type::Enum);
            field.type_name = Some(".t.E".to_owned());
        }
        5 => {
            field.set_type(Type::Message);
            field.type_name = Some(format!(".t.M{}", draw.below(messages)));
        }
        _ => {
            field.set_type(Type::Message);
            field.type_name = Some(format!(".google.protobuf.{}", draw.of(&WELL_KNOWN)));
        }
    }
    field
}

fn is_packable(field: &FieldDescriptorProto) -> bool {
    !matches!(field.r#type(), Type::String | Type::Bytes | Type::Message)
}

/// A oneof must have a member, and those of proto3 `optional` come last.
fn drop_empty_oneofs(message: &mut DescriptorProto) {
    let (mut kept, mut synthetic) = (Vec::new(), Vec::new());
    for (index, oneof) in std::mem::take(&mut message.oneof_decl).into_iter().enumerate() {
        let members = |field: &&mut FieldDescriptorProto| field.oneof_index == Some(index as i32);
        let mut members: Vec<_> = message.field.iter_mut().filter(members).collect();
        // A negative index is none yet: the place in its own list, so that later indices cannot be mistaken for it.
        match members.as_mut_slice() {
            [] => {}
            [only] if only.proto3_optional() => {
                only.oneof_index = Some(-1 - synthetic.len() as i32 * 2);
                synthetic.push(oneof);
            }
            members => {
                members.iter_mut().for_each(|member| member.oneof_index = Some(-2 - kept.len() as i32 * 2));
                kept.push(oneof);
            }
        }
    }
    for index in message.field.iter_mut().filter_map(|field| field.oneof_index.as_mut()) {
        let place = -1 - *index;
        *index = if place % 2 == 0 { kept.len() as i32 + place / 2 } else { place / 2 };
    }
    kept.append(&mut synthetic);
    message.oneof_decl = kept;
}
