//! Overlay: fields of a message that someone else than its sender sets. A sender may leave them out or send the same value;
//! another one is refused.
//!
//! It works on the wire format, so that it is one and the same for every codec: records of other fields are copied as they
//! are, and what is set stands last. Of a submessage that occurs several times each occurrence is set: readers that merge them
//! and readers that take the last one read the same.

use std::borrow::Cow;

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};

use crate::invalid::{Invalid, Kind as Refusal};
use crate::plan::is_open;
use crate::schema::{Kind, MessageId, Schema, Shape};

/// Which fields are set, resolved at load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    root: Level,
}

/// What is set inside one message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Level {
    fields: Vec<Set>,
}

/// A field that is set, or has fields that are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Set {
    number: u32,
    name: Box<str>,
    /// The numbers of the fields that would unset it: those of its oneof.
    rivals: Vec<u32>,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// It takes the value of this index.
    Value { index: usize, kind: Kind },
    /// It is a message.
    Inside(Level),
}

/// The values of one call, as records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    records: Vec<Vec<u8>>,
}

impl Overlay {
    /// Resolves the names of fields, each `name` or `message.name`; values come in the same order.
    ///
    /// # Errors
    /// The index of a name that cannot be set, and why.
    pub fn compile(schema: &Schema, input: MessageId, names: &[&str]) -> Result<Self, (usize, String)> {
        let mut root = Level::default();
        for (index, name) in names.iter().enumerate() {
            root.add(schema, input, name, index).map_err(|why| (index, why))?;
        }
        Ok(Self { root })
    }

    /// Writes the values of one call, each given as text.
    ///
    /// # Errors
    /// The index of a text that its field cannot have.
    pub fn values(&self, schema: &Schema, texts: &[Cow<'_, str>]) -> Result<Values, usize> {
        let mut records = vec![Vec::new(); texts.len()];
        self.root.write(schema, texts, &mut records)?;
        Ok(Values { records })
    }

    /// Appends the message with its fields set.
    ///
    /// # Errors
    /// The message sets one of them to another value, or is none; then `out` is as it was.
    pub fn apply(&self, values: &Values, message: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
        let start = out.len();
        self.root.apply(values, message, DEPTH, out).inspect_err(|_| out.truncate(start))
    }
}

/// Submessages that lead to a field. The plan bounds them; this bounds groups in the message.
const DEPTH: u32 = 100;

impl Level {
    /// Adds the field of a path to what is set.
    fn add(&mut self, schema: &Schema, message: MessageId, path: &str, index: usize) -> Result<(), String> {
        let message = schema.message(message);
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let slot = message.slot_declared(name).ok_or_else(|| format!("{} has no field `{name}`", message.name))?;
        let field = &message.fields[slot];
        if field.shape != Shape::Singular {
            return Err(format!("`{name}` is repeated; only a single value can be set"));
        }
        let rivals = message.fields.iter().filter(|other| field.oneof.is_some() && other.oneof == field.oneof);
        let rivals: Vec<u32> = rivals.map(|other| other.number).filter(|number| *number != field.number).collect();
        if self.fields.iter().any(|set| rivals.contains(&set.number)) {
            return Err(format!("`{name}` is in one oneof with another field that is set"));
        }
        let at = self.fields.iter().position(|set| set.number == field.number);
        let what = match (field.kind, rest) {
            (Kind::Message(id), Some(rest)) if is_open(schema.message(id)) => {
                let mut inside = match at.map(|at| self.fields.swap_remove(at).what) {
                    Some(What::Inside(inside)) => inside,
                    _ => Self::default(),
                };
                inside.add(schema, id, rest, index)?;
                What::Inside(inside)
            }
            (_, Some(_)) => return Err(format!("`{name}` has no fields that can be set")),
            (Kind::Message(_) | Kind::Group(_) | Kind::Bytes | Kind::Float | Kind::Double, None) => {
                return Err(format!("`{name}` is no text, whole number, bool or enum"));
            }
            (_, None) if at.is_some() => return Err(format!("`{name}` is set twice")),
            (kind, None) => What::Value { index, kind },
        };
        self.fields.push(Set { number: field.number, name: field.json_name.clone(), rivals, what });
        Ok(())
    }

    fn write(&self, schema: &Schema, texts: &[Cow<'_, str>], records: &mut [Vec<u8>]) -> Result<(), usize> {
        for set in &self.fields {
            match &set.what {
                What::Inside(inside) => inside.write(schema, texts, records)?,
                What::Value { index, kind } => {
                    let text = texts.get(*index).ok_or(*index)?;
                    records[*index] = record(schema, set.number, *kind, text).ok_or(*index)?;
                }
            }
        }
        Ok(())
    }

    fn apply(&self, values: &Values, message: &[u8], depth: u32, out: &mut Vec<u8>) -> Result<(), Invalid> {
        let mut rest = message;
        let mut met = [0_u64; 2];
        while rest.has_remaining() {
            let start = rest;
            let (number, wire_type) = decode_key(&mut rest).map_err(broken)?;
            let value = rest;
            skip_field(wire_type, number, &mut rest, DecodeContext::default()).map_err(broken)?;
            let record = &start[..start.len() - rest.len()];
            if let Some(rival) = self.fields.iter().find(|set| set.rivals.contains(&number)) {
                return Err(Invalid::new("another field of its oneof is set").within(&rival.name));
            }
            let Some((at, set)) = self.fields.iter().enumerate().find(|(_, set)| set.number == number) else {
                out.extend_from_slice(record);
                continue;
            };
            match &set.what {
                What::Value { index, .. } => {
                    if !same(record, &values.records[*index]) {
                        return Err(Invalid::new(OTHER).within(&set.name));
                    }
                }
                What::Inside(inside) => {
                    let Some(depth) = depth.checked_sub(1) else {
                        return Err(Invalid::new("the message is nested too deeply").of(Refusal::TooDeep));
                    };
                    if wire_type != WireType::LengthDelimited {
                        return Err(Invalid::new("is no message").within(&set.name));
                    }
                    let mut value = value;
                    // It was skipped just now, so its length is there.
                    let length = decode_varint(&mut value).map_err(broken)?;
                    let value = usize::try_from(length).ok().and_then(|length| value.get(..length));
                    let value = value.ok_or_else(|| Invalid::new("the message is cut off"))?;
                    inside.put(set.number, values, value, depth, out).map_err(|invalid| invalid.within(&set.name))?;
                    if let Some(word) = met.get_mut(at / 64) {
                        *word |= 1 << (at % 64);
                    }
                }
            }
        }
        for (at, set) in self.fields.iter().enumerate() {
            match &set.what {
                What::Value { index, .. } => out.extend_from_slice(&values.records[*index]),
                What::Inside(_) if met.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1) => {}
                What::Inside(inside) => inside.put(set.number, values, &[], depth.saturating_sub(1), out)?,
            }
        }
        Ok(())
    }

    /// Appends a submessage with its fields set.
    fn put(&self, number: u32, values: &Values, message: &[u8], depth: u32, out: &mut Vec<u8>) -> Result<(), Invalid> {
        let mut inner = Vec::with_capacity(message.len() + 32);
        self.apply(values, message, depth, &mut inner)?;
        encode_key(number, WireType::LengthDelimited, out);
        encode_varint(inner.len() as u64, out);
        out.append(&mut inner);
        Ok(())
    }
}

const OTHER: &str = "is set from the token, to another value: leave it out";

#[cold]
fn broken<E>(_: E) -> Invalid {
    Invalid::new("the message is no protobuf")
}

/// Whether a record says the same as ours, in however many bytes it writes its numbers. One of another wire type does not.
fn same(theirs: &[u8], ours: &[u8]) -> bool {
    fn parts(mut record: &[u8]) -> Option<(u32, WireType, u64, &[u8])> {
        let (number, wire_type) = decode_key(&mut record).ok()?;
        let (word, rest) = match wire_type {
            WireType::Varint | WireType::LengthDelimited => (decode_varint(&mut record).ok()?, record),
            _ => (0, record),
        };
        Some((number, wire_type, word, rest))
    }
    theirs == ours || parts(theirs).is_some_and(|theirs| Some(theirs) == parts(ours))
}

/// The record of a value, given as text.
fn record(schema: &Schema, number: u32, kind: Kind, text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 8);
    let varint = |value: u64| (WireType::Varint, Ok(value));
    let signed = |value: i64| varint(value.cast_unsigned());
    let zigzag = |value: i64| varint(((value << 1) ^ (value >> 63)).cast_unsigned());
    let (wire_type, value): (_, Result<u64, Vec<u8>>) = match kind {
        Kind::String => (WireType::LengthDelimited, Err(text.as_bytes().to_vec())),
        Kind::Bool => varint(u64::from(text.parse::<bool>().ok()?)),
        Kind::Int32 => signed(i64::from(text.parse::<i32>().ok()?)),
        Kind::Int64 => signed(text.parse().ok()?),
        Kind::Uint32 => varint(u64::from(text.parse::<u32>().ok()?)),
        Kind::Uint64 => varint(text.parse().ok()?),
        Kind::Sint32 => zigzag(i64::from(text.parse::<i32>().ok()?)),
        Kind::Sint64 => zigzag(text.parse().ok()?),
        Kind::Fixed32 => (WireType::ThirtyTwoBit, Err(text.parse::<u32>().ok()?.to_le_bytes().to_vec())),
        Kind::Sfixed32 => (WireType::ThirtyTwoBit, Err(text.parse::<i32>().ok()?.to_le_bytes().to_vec())),
        Kind::Fixed64 => (WireType::SixtyFourBit, Err(text.parse::<u64>().ok()?.to_le_bytes().to_vec())),
        Kind::Sfixed64 => (WireType::SixtyFourBit, Err(text.parse::<i64>().ok()?.to_le_bytes().to_vec())),
        Kind::Enum(id) => {
            let names = schema.enumeration(id);
            signed(i64::from(names.number_of(text).or_else(|| text.parse().ok())?))
        }
        Kind::Bytes | Kind::Float | Kind::Double | Kind::Message(_) | Kind::Group(_) => return None,
    };
    encode_key(number, wire_type, &mut out);
    match value {
        Ok(value) => encode_varint(value, &mut out),
        Err(bytes) => {
            if wire_type == WireType::LengthDelimited {
                encode_varint(bytes.len() as u64, &mut out);
            }
            out.extend_from_slice(&bytes);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
