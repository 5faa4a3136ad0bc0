//! Random wire format by our own tables: records in any order, shape and number, values at the edges.

use prost::encoding::{WireType, encode_key, encode_varint};
use transom_transcode::schema::{Field, Kind, MessageId, Presence, Schema, Shape};

use crate::draw::Draw;

/// A varint record.
pub(crate) fn int(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(number, WireType::Varint, &mut out);
    encode_varint(value, &mut out);
    out
}

/// A length-delimited record.
pub(crate) fn len(number: u32, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut out);
    encode_varint(value.as_ref().len() as u64, &mut out);
    out.extend_from_slice(value.as_ref());
    out
}

/// A message, nested at most `depth` levels deeper. What is required is there.
pub(crate) fn message(draw: &mut Draw<'_>, schema: &Schema, id: MessageId, depth: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for field in &schema.message(id).fields {
        let required = field.presence == Presence::Required;
        if !required && (draw.one_in(3) || depth == 0 && is_message(field)) {
            continue;
        }
        let times = match field.shape {
            Shape::Singular | Shape::Item => 1 + usize::from(draw.one_in(8)),
            Shape::Repeated | Shape::Packed | Shape::Map => draw.below(4),
        };
        let at = if draw.one_in(4) { draw.below(records.len() + 1) } else { records.len() };
        let made: Vec<Vec<u8>> = (0..times).map(|_| record(draw, schema, field, depth)).collect();
        records.splice(at..at, made);
    }
    records.concat()
}

fn is_message(field: &Field) -> bool {
    matches!(field.kind, Kind::Message(_) | Kind::Group(_))
}

/// Absent from an entry it would be a message that lacks something, or an enum's first value, which is 0 to the oracle.
fn must_stand_in_entries(schema: &Schema, field: &Field) -> bool {
    match field.kind {
        Kind::Message(id) | Kind::Group(id) => schema.message(id).has_required,
        Kind::Enum(id) => schema.enumeration(id).closed,
        _ => false,
    }
}

fn record(draw: &mut Draw<'_>, schema: &Schema, field: &Field, depth: usize) -> Vec<u8> {
    let number = field.number;
    match field.kind {
        Kind::Message(id) if field.shape == Shape::Map => {
            let mut entry = Vec::new();
            for part in &schema.message(id).fields {
                if !draw.one_in(8) || must_stand_in_entries(schema, part) {
                    entry.extend(record(draw, schema, part, depth));
                }
            }
            len(number, entry)
        }
        Kind::Message(id) => len(number, message(draw, schema, id, depth - 1)),
        Kind::Group(id) => {
            let mut out = Vec::new();
            encode_key(number, WireType::StartGroup, &mut out);
            out.extend(message(draw, schema, id, depth - 1));
            encode_key(number, WireType::EndGroup, &mut out);
            out
        }
        Kind::String => len(number, draw.text()),
        Kind::Bytes => len(number, (0..draw.below(20)).map(|_| draw.byte()).collect::<Vec<u8>>()),
        kind => {
            let mut elements = Vec::new();
            if matches!(field.shape, Shape::Repeated | Shape::Packed) && draw.one_in(2) {
                for _ in 0..draw.below(4) {
                    scalar(draw, schema, field, &mut elements);
                }
                return len(number, elements);
            }
            let wire_type = match kind.wire_type() {
                0 => WireType::Varint,
                1 => WireType::SixtyFourBit,
                _ => WireType::ThirtyTwoBit,
            };
            encode_key(number, wire_type, &mut elements);
            scalar(draw, schema, field, &mut elements);
            elements
        }
    }
}

fn scalar(draw: &mut Draw<'_>, schema: &Schema, field: &Field, out: &mut Vec<u8>) {
    match field.kind {
        Kind::Enum(id) => {
            let values = &schema.enumeration(id).values;
            let number = match draw.below(4) {
                0 if field.presence != Presence::Required => 7,
                _ => values[draw.below(values.len())].1,
            };
            encode_varint(i64::from(number) as u64, out);
        }
        Kind::Double => out.extend((draw.number() as i64 as f64 / 4.0).to_le_bytes()),
        Kind::Float => out.extend((draw.number() as i16 as f32 / 4.0).to_le_bytes()),
        Kind::Bool => encode_varint(u64::from(draw.one_in(2)), out),
        Kind::Int32 => encode_varint(draw.number() as i32 as u64, out),
        Kind::Uint32 | Kind::Sint32 => encode_varint(u64::from(draw.number() as u32), out),
        kind => match kind.wire_type() {
            0 => encode_varint(draw.number(), out),
            1 => out.extend(draw.number().to_le_bytes()),
            _ => out.extend((draw.number() as u32).to_le_bytes()),
        },
    }
}
