//! Which messages have a JSON form of their own; their declarations are checked, since translators rely on the slots.

use super::{Kind, Message, Schema, Shape, WellKnown};

/// The kind of a message by its name.
///
/// # Errors
/// The message bears a well-known name, but its fields are not those that protobuf declares.
pub(super) fn kind(schema: &Schema, message: &Message) -> Result<WellKnown, String> {
    use Shape::{Map, Repeated, Singular};
    let (kind, fields): (WellKnown, &[(&str, Shape)]) = match &*message.name {
        "google.protobuf.Any" => (WellKnown::Any, &[("string", Singular), ("bytes", Singular)]),
        "google.protobuf.Timestamp" => (WellKnown::Timestamp, &[("int64", Singular), ("int32", Singular)]),
        "google.protobuf.Duration" => (WellKnown::Duration, &[("int64", Singular), ("int32", Singular)]),
        "google.protobuf.FieldMask" => (WellKnown::FieldMask, &[("string", Repeated)]),
        "google.protobuf.Struct" => (WellKnown::Struct, &[("google.protobuf.Struct.FieldsEntry", Map)]),
        "google.protobuf.Value" => (
            WellKnown::Value,
            &[
                ("google.protobuf.NullValue", Singular),
                ("double", Singular),
                ("string", Singular),
                ("bool", Singular),
                ("google.protobuf.Struct", Singular),
                ("google.protobuf.ListValue", Singular),
            ],
        ),
        "google.protobuf.ListValue" => (WellKnown::ListValue, &[("google.protobuf.Value", Repeated)]),
        "google.protobuf.Empty" => (WellKnown::Empty, &[]),
        "google.protobuf.DoubleValue" => (WellKnown::Wrapper, &[("double", Singular)]),
        "google.protobuf.FloatValue" => (WellKnown::Wrapper, &[("float", Singular)]),
        "google.protobuf.Int64Value" => (WellKnown::Wrapper, &[("int64", Singular)]),
        "google.protobuf.UInt64Value" => (WellKnown::Wrapper, &[("uint64", Singular)]),
        "google.protobuf.Int32Value" => (WellKnown::Wrapper, &[("int32", Singular)]),
        "google.protobuf.UInt32Value" => (WellKnown::Wrapper, &[("uint32", Singular)]),
        "google.protobuf.BoolValue" => (WellKnown::Wrapper, &[("bool", Singular)]),
        "google.protobuf.StringValue" => (WellKnown::Wrapper, &[("string", Singular)]),
        "google.protobuf.BytesValue" => (WellKnown::Wrapper, &[("bytes", Singular)]),
        "google.api.HttpBody" => {
            (WellKnown::HttpBody, &[("string", Singular), ("bytes", Singular), ("google.protobuf.Any", Repeated)])
        }
        _ => return Ok(WellKnown::No),
    };
    let same = message.fields.len() == fields.len()
        && message.fields.iter().zip(fields).zip(1..).all(|((field, &(type_name, shape)), number)| {
            field.number == number && field.shape == shape && name_of(schema, field.kind) == type_name
        });
    if same { Ok(kind) } else { Err("its fields are not those that protobuf declares for this name".to_owned()) }
}

/// The .proto spelling of a field's type.
fn name_of(schema: &Schema, kind: Kind) -> &str {
    match kind {
        Kind::Double => "double",
        Kind::Float => "float",
        Kind::Int64 => "int64",
        Kind::Uint64 => "uint64",
        Kind::Int32 => "int32",
        Kind::Fixed64 => "fixed64",
        Kind::Fixed32 => "fixed32",
        Kind::Bool => "bool",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Uint32 => "uint32",
        Kind::Enum(id) => &schema.enumeration(id).name,
        Kind::Sfixed32 => "sfixed32",
        Kind::Sfixed64 => "sfixed64",
        Kind::Sint32 => "sint32",
        Kind::Sint64 => "sint64",
        Kind::Message(id) | Kind::Group(id) => &schema.message(id).name,
    }
}
