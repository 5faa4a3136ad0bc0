//! The same messages as no encoder writes them: records shuffled, split, doubled, unknown ones between them.

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::draw::Draw;

/// A record: its number, its wire type and its value, of LEN records without the length.
struct Record<'a> {
    number: u32,
    wire_type: WireType,
    value: &'a [u8],
}

/// Writes the records of a message in another order and shape. The result is a valid message of the same type, not the same message.
pub(crate) fn stir(draw: &mut Draw<'_>, descriptor: &MessageDescriptor, wire: &[u8], out: &mut Vec<u8>) {
    let mut records = records(wire);
    for at in 0..records.len() {
        if draw.one_in(3) {
            let other = draw.below(records.len());
            records.swap(at, other);
        }
    }
    for record in &records {
        for _ in 0..if draw.one_in(8) { 2 } else { 1 } {
            if draw.one_in(12) {
                unknown(draw, descriptor, out);
            }
            write(draw, descriptor, record, out);
        }
    }
}

fn records(mut wire: &[u8]) -> Vec<Record<'_>> {
    let mut out = Vec::new();
    while !wire.is_empty() {
        let (number, wire_type) = decode_key(&mut wire).unwrap();
        let len = match wire_type {
            WireType::LengthDelimited => decode_varint(&mut wire).unwrap() as usize,
            _ => {
                let mut rest = wire;
                skip_field(wire_type, number, &mut rest, Default::default()).unwrap();
                wire.len() - rest.len()
            }
        };
        let (value, rest) = wire.split_at(len);
        out.push(Record { number, wire_type, value });
        wire = rest;
    }
    out
}

fn write(draw: &mut Draw<'_>, descriptor: &MessageDescriptor, record: &Record<'_>, out: &mut Vec<u8>) {
    let field = descriptor.get_field(record.number);
    if record.wire_type != WireType::LengthDelimited {
        encode_key(record.number, record.wire_type, out);
        out.extend_from_slice(record.value);
        return;
    }
    match field.as_ref().map(FieldDescriptor::kind) {
        Some(Kind::Message(inner)) => {
            let mut value = Vec::new();
            stir(draw, &inner, record.value, &mut value);
            let may_split = !field.is_some_and(|field| field.is_list() || field.is_map()) && draw.one_in(3);
            let records = records(&value);
            // In front of the middle record, or not at all: parts of a list or map would be elements of their own.
            let middle = records.get(records.len() / 2).filter(|_| may_split);
            let at = middle.map_or(0, |middle| position(&value, middle));
            let (first, second) = value.split_at(at);
            if may_split {
                len(record.number, first, out);
            }
            len(record.number, second, out);
        }
        Some(kind) if field.is_some_and(|field| field.is_list()) && !matches!(kind, Kind::String | Kind::Bytes) => {
            unpack(draw, record, kind.wire_type(), out);
        }
        _ => len(record.number, record.value, out),
    }
}

/// Packed elements: some one by one, some packed again.
fn unpack(draw: &mut Draw<'_>, record: &Record<'_>, wire_type: WireType, out: &mut Vec<u8>) {
    let mut rest = record.value;
    while !rest.is_empty() {
        let mut behind = rest;
        skip_field(wire_type, 1, &mut behind, Default::default()).unwrap();
        let (element, tail) = rest.split_at(rest.len() - behind.len());
        match draw.below(4) {
            0 => return len(record.number, rest, out),
            1 => len(record.number, element, out),
            2 => {
                len(record.number, &[], out);
                len(record.number, element, out);
            }
            _ => {
                encode_key(record.number, wire_type, out);
                out.extend_from_slice(element);
            }
        }
        rest = tail;
    }
}

/// Where in `value` the record begins; its value is a part of it.
fn position(value: &[u8], record: &Record<'_>) -> usize {
    let end = record.value.as_ptr() as usize - value.as_ptr() as usize;
    let mut head = Vec::new();
    encode_key(record.number, record.wire_type, &mut head);
    if record.wire_type == WireType::LengthDelimited {
        encode_varint(record.value.len() as u64, &mut head);
    }
    end - head.len()
}

fn len(number: u32, value: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn unknown(draw: &mut Draw<'_>, descriptor: &MessageDescriptor, out: &mut Vec<u8>) {
    let number = 200_000 + u32::from(draw.byte());
    if descriptor.get_field(number).is_some() {
        return;
    }
    match draw.below(4) {
        0 => len(number, &[0xff; 3], out),
        1 => {
            encode_key(number, WireType::Varint, out);
            encode_varint(draw.word(), out);
        }
        2 => {
            encode_key(number, WireType::SixtyFourBit, out);
            out.extend_from_slice(&draw.word().to_le_bytes());
        }
        _ => {
            encode_key(number, WireType::StartGroup, out);
            len(7, b"x", out);
            encode_key(number, WireType::EndGroup, out);
        }
    }
}
