//! Random messages of a schema.

use prost::Message as _;
use prost_reflect::{Cardinality, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Syntax, Value};

use crate::draw::Draw;

/// A message, nested at most `depth` levels deeper.
pub(crate) fn message(draw: &mut Draw<'_>, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut out = DynamicMessage::new(descriptor.clone());
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => {
            let seconds = (draw.word() % 315_537_897_600) as i64 - 62_135_596_800;
            set(&mut out, "seconds", Value::I64(seconds));
            set(&mut out, "nanos", Value::I32(nanos(draw)));
        }
        "google.protobuf.Duration" => {
            let sign = if draw.one_in(2) { -1 } else { 1 };
            set(&mut out, "seconds", Value::I64(i64::from(sign) * (draw.word() % 315_576_000_001) as i64));
            let nanos = if draw.one_in(2) { nanos(draw) } else { 0 };
            set(&mut out, "nanos", Value::I32(sign * nanos));
        }
        "google.protobuf.FieldMask" => {
            let paths = (0..draw.below(4))
                .map(|_| Value::String(draw.of(&["a", "seat_map", "seat_map.row_count", "b1.c"]).to_owned()));
            set(&mut out, "paths", Value::List(paths.collect()));
        }
        "google.protobuf.Value" => dynamic(draw, &mut out, depth),
        "google.protobuf.Any" => {
            let pool = descriptor.parent_pool();
            let inner = match draw.below(3) {
                0 => pool.get_message_by_name("t.M0"),
                1 => pool.get_message_by_name("google.protobuf.Duration"),
                _ => pool.get_message_by_name("google.protobuf.Struct"),
            };
            let inner = message(draw, &inner.unwrap(), depth.saturating_sub(1));
            set(&mut out, "type_url", Value::String(format!("type.googleapis.com/{}", inner.descriptor_name())));
            set(&mut out, "value", Value::Bytes(inner.encode_to_vec().into()));
        }
        "google.protobuf.DoubleValue" => set(&mut out, "value", Value::F64(finite(draw))),
        _ => {
            for field in descriptor.fields() {
                if field.cardinality() == Cardinality::Required || draw.below(3) > 0 {
                    fill(draw, &mut out, &field, depth);
                }
            }
            for extension in descriptor.extensions() {
                if draw.below(3) > 0 && depth > 0 {
                    let value = if extension.is_list() {
                        Value::List((0..draw.below(5)).map(|_| one(draw, &extension.kind(), depth - 1)).collect())
                    } else {
                        one(draw, &extension.kind(), depth - 1)
                    };
                    out.set_extension(&extension, value);
                }
            }
        }
    }
    out
}

trait Named {
    fn descriptor_name(&self) -> String;
}

impl Named for DynamicMessage {
    fn descriptor_name(&self) -> String {
        prost_reflect::ReflectMessage::descriptor(self).full_name().to_owned()
    }
}

fn fill(draw: &mut Draw<'_>, out: &mut DynamicMessage, field: &FieldDescriptor, depth: usize) {
    let deeper = matches!(field.kind(), Kind::Message(_));
    if deeper && depth == 0 {
        return;
    }
    let depth = depth.saturating_sub(1);
    let value = if field.is_map() {
        let Kind::Message(entry) = field.kind() else { unreachable!() };
        let entries = (0..draw.below(5)).map(|_| {
            let key = key(draw, &entry.map_entry_key_field().kind());
            (key, one(draw, &entry.map_entry_value_field().kind(), depth))
        });
        Value::Map(entries.collect())
    } else if field.is_list() {
        Value::List((0..draw.below(5)).map(|_| one(draw, &field.kind(), depth)).collect())
    } else {
        one(draw, &field.kind(), depth)
    };
    out.set_field(field, value);
}

fn one(draw: &mut Draw<'_>, kind: &Kind, depth: usize) -> Value {
    match kind {
        Kind::Double => Value::F64(double(draw)),
        Kind::Float => Value::F32(float(draw)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(draw.number() as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(draw.number() as i64),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(draw.number() as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(draw.number()),
        Kind::Bool => Value::Bool(draw.one_in(2)),
        Kind::String => Value::String(draw.text()),
        Kind::Bytes => Value::Bytes((0..draw.below(40)).map(|_| draw.byte()).collect::<Vec<_>>().into()),
        // The last two are no values of the enum.
        Kind::Enum(of) => {
            let closed = of.parent_file().syntax() == Syntax::Proto2;
            Value::EnumNumber(draw.of(&[0, 1, 2, i32::MIN, i32::MAX, 1000, 7, -1][..if closed { 6 } else { 8 }]))
        }
        Kind::Message(inner) => Value::Message(message(draw, inner, depth)),
    }
}

fn key(draw: &mut Draw<'_>, kind: &Kind) -> MapKey {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => MapKey::I32(draw.number() as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => MapKey::I64(draw.number() as i64),
        Kind::Uint32 | Kind::Fixed32 => MapKey::U32(draw.number() as u32),
        Kind::Uint64 | Kind::Fixed64 => MapKey::U64(draw.number()),
        Kind::Bool => MapKey::Bool(draw.one_in(2)),
        _ => MapKey::String(draw.text()),
    }
}

/// A `google.protobuf.Value` with one member set.
fn dynamic(draw: &mut Draw<'_>, out: &mut DynamicMessage, depth: usize) {
    let descriptor = prost_reflect::ReflectMessage::descriptor(out);
    let inner = |name: &str| descriptor.parent_pool().get_message_by_name(name).unwrap();
    match draw.below(if depth > 0 { 6 } else { 4 }) {
        0 => set(out, "null_value", Value::EnumNumber(0)),
        1 => {
            set(out, "number_value", Value::F64(finite(draw)));
        }
        2 => set(out, "string_value", Value::String(draw.text())),
        3 => set(out, "bool_value", Value::Bool(draw.one_in(2))),
        4 => set(out, "struct_value", Value::Message(message(draw, &inner("google.protobuf.Struct"), depth - 1))),
        _ => set(out, "list_value", Value::Message(message(draw, &inner("google.protobuf.ListValue"), depth - 1))),
    }
}

fn double(draw: &mut Draw<'_>) -> f64 {
    match draw.below(4) {
        0 => draw.of(&[0.0, -0.0, 1.0, -1.5, 0.1, 1e15, 1e16, 1e21, 1e300, 5e-324, f64::MAX, f64::MIN_POSITIVE]),
        1 => draw.of(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        2 => (draw.number() as i64) as f64,
        _ => f64::from_bits(draw.word()),
    }
}

fn finite(draw: &mut Draw<'_>) -> f64 {
    Some(double(draw)).filter(|number| number.is_finite()).unwrap_or(0.5)
}

fn float(draw: &mut Draw<'_>) -> f32 {
    match draw.below(4) {
        0 => draw.of(&[0.0, -0.0, 1.0, -1.5, 0.1, 16_777_216.0, 1e20, 1e-45, f32::MAX, f32::MIN_POSITIVE]),
        1 => draw.of(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
        2 => (draw.number() as i32) as f32,
        _ => f32::from_bits(draw.word() as u32),
    }
}

fn nanos(draw: &mut Draw<'_>) -> i32 {
    let unit = draw.of(&[0, 1_000_000, 1_000, 1]);
    ((draw.word() % 1_000_000_000) as i32 / unit.max(1)) * unit
}

fn set(message: &mut DynamicMessage, field: &str, value: Value) {
    message.set_field_by_name(field, value);
}
