//! Protobuf wire format → whether it is sound: a message of its type to every runtime of protobuf.
//!
//! Runtimes differ in what they let pass. A known field of another wire type is one that it does not know to the one, and an
//! error to the next; so are strings that are not UTF-8, long lengths, deep nesting, and required fields that are not there.
//! Here the strictest counts. Nothing is unpacked, and each byte is read once.

use crate::schema::{Field, Kind, Message, MessageId, Presence, Schema, Shape, WellKnown};
use crate::to_json::reader::{self, END_GROUP, GROUP, LEN, Tag, cut_off, too_deep};
use crate::to_json::value::Scalar;
use crate::to_json::{Halt, malformed};

/// How deep messages nest. Runtimes stop at a hundred, and each counts in its own way.
const DEPTH: u16 = 90;

/// Bytes of a tag, or of a length.
const SHORT: usize = 5;

/// Every runtime reads these bytes as a message of the type `id`.
pub fn is_sound(schema: &Schema, id: MessageId, message: &[u8]) -> bool {
    i32::try_from(message.len()).is_ok() && content(schema, Some(id), message, (0, None), DEPTH).is_ok()
}

/// Where the content ends that begins at `at`: with its bytes, or behind the end of the group of this number. What is no
/// known message has no known fields.
fn content(
    schema: &Schema,
    id: Option<MessageId>,
    wire: &[u8],
    (mut at, group): (usize, Option<u32>),
    depth: u16,
) -> Result<usize, Halt> {
    let Some(depth) = depth.checked_sub(1) else { return Err(too_deep()) };
    // A set's known fields lie in its items, which runtimes read when they are asked for.
    let message = id.map(|id| schema.message(id)).filter(|message| message.well_known != WellKnown::MessageSet);
    let mut met = Vec::new();
    while at < wire.len() {
        let (tag, value) = reader::tag(wire, at)?;
        short(at, value)?;
        if tag.wire_type() == END_GROUP && group == Some(tag.number()) {
            return whole(message, &met).map(|()| value);
        }
        let known = message.and_then(|message| Some((message.slot(tag.number())?, message)));
        at = match known.map(|(slot, message)| (slot, &message.fields[slot])) {
            None => unknown(schema, wire, tag, value, depth)?,
            Some((slot, field)) => {
                if field.presence == Presence::Required && !met.contains(&slot) {
                    met.push(slot);
                }
                record(schema, field, wire, (tag, value), depth)?
            }
        };
    }
    if group.is_some() { Err(cut_off()) } else { whole(message, &met).map(|()| at) }
}

/// Where the record of a known field ends, whose value begins at `at`.
fn record(schema: &Schema, field: &Field, wire: &[u8], (tag, at): (Tag, usize), depth: u16) -> Result<usize, Halt> {
    let is_list = matches!(field.shape, Shape::Repeated | Shape::Packed);
    match (field.kind, tag.wire_type()) {
        (Kind::Group(id), GROUP) => content(schema, Some(id), wire, (at, Some(tag.number())), depth),
        (Kind::Message(id), LEN) => {
            let (start, end) = delimited(wire, at)?;
            content(schema, Some(id), &wire[..end], (start, None), depth)
        }
        (Kind::String, LEN) => {
            let (start, end) = delimited(wire, at)?;
            match simdutf8::basic::from_utf8(&wire[start..end]) {
                Ok(_) => Ok(end),
                Err(_) => Err(malformed("the string is not UTF-8")),
            }
        }
        (Kind::Bytes, LEN) => Ok(delimited(wire, at)?.1),
        (kind, LEN) if is_list && kind.wire_type() != LEN && kind.wire_type() != GROUP => {
            let (mut at, end) = delimited(wire, at)?;
            while at < end {
                at = Scalar::read(kind, &wire[..end], at)?.1;
            }
            Ok(end)
        }
        (kind, wire_type) if kind.wire_type() == wire_type => Ok(Scalar::read(kind, wire, at)?.1),
        _ => Err(malformed("a field has another wire type than the schema says")),
    }
}

/// Where a record ends that is no known field's.
fn unknown(schema: &Schema, wire: &[u8], tag: Tag, at: usize, depth: u16) -> Result<usize, Halt> {
    match tag.wire_type() {
        LEN => Ok(delimited(wire, at)?.1),
        GROUP => content(schema, None, wire, (at, Some(tag.number())), depth),
        _ => reader::skip(wire, tag, at, depth),
    }
}

/// The length-delimited value at `at`.
fn delimited(wire: &[u8], at: usize) -> Result<(usize, usize), Halt> {
    let (start, end) = reader::delimited(wire, at)?;
    short(at, start).map(|()| (start, end))
}

/// Refuses a tag or a length that is written with more bytes than it can need.
fn short(at: usize, end: usize) -> Result<(), Halt> {
    if end - at > SHORT { Err(malformed("a tag or a length is too long")) } else { Ok(()) }
}

/// Refuses a message that lacks a required field.
fn whole(message: Option<&Message>, met: &[usize]) -> Result<(), Halt> {
    let Some(message) = message.filter(|message| message.has_required) else { return Ok(()) };
    let required = message.fields.iter().filter(|field| field.presence == Presence::Required).count();
    if met.len() < required { Err(malformed("a required field is not there")) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
