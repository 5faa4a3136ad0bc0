//! A message, as expressions look into it: its fields are read when the first one is asked for.

use std::cell::OnceCell;
use std::ops::Range;
use std::rc::Rc;

use super::value::Value;
use super::{Fault, Work};
use crate::invalid::{Invalid, Kind as Refusal};
use crate::schema::{Field, Kind, MessageId, Schema, Shape, WellKnown};
use crate::scratch::{Json, Record, Span};
use crate::to_json::records::Reading;
use crate::to_json::value::{Scalar, entry_fields, is_packed, is_unknown, last_of};
use crate::to_json::{Halt, malformed};
use crate::validate::compile::has_presence;
use crate::validate::number::{nanoseconds, place};

/// The parts of one message in the bytes that hold it.
#[derive(Debug)]
pub(in crate::validate) struct Message<'a> {
    pub(super) id: MessageId,
    source: Source<'a>,
    parts: Box<[Span]>,
    /// Those that are set, ascending by slot. What is zero without being told apart from unset is not.
    fields: OnceCell<Vec<(u16, Value<'a>)>>,
}

/// Where values lie.
#[derive(Debug, Clone, Copy)]
pub(in crate::validate) struct Source<'a> {
    pub(in crate::validate) schema: &'a Schema,
    pub(in crate::validate) wire: &'a [u8],
    /// Levels that may still be entered.
    pub(in crate::validate) depth: u16,
}

impl<'a> Message<'a> {
    /// Its type's full name.
    pub(super) fn name(&self) -> &'a str {
        &self.source.schema.message(self.id).name
    }

    /// The fields that are set.
    pub(super) fn fields(&self, work: &mut Work<'_>) -> Result<&[(u16, Value<'a>)], Fault> {
        if let Some(fields) = self.fields.get() {
            return Ok(fields);
        }
        let size: usize = self.parts.iter().map(|part| part.end() - part.start()).sum();
        work.spend(1 + size / 8)?;
        let fields = self.source.fields(self.id, &self.parts, work)?;
        Ok(self.fields.get_or_init(|| fields))
    }

    /// The value of a field that is set.
    fn set(&self, slot: u16, work: &mut Work<'_>) -> Result<Option<&Value<'a>>, Fault> {
        let fields = self.fields(work)?;
        Ok(fields.binary_search_by_key(&slot, |field| field.0).ok().map(|at| &fields[at].1))
    }

    /// The field is set.
    pub(super) fn has(&self, slot: u16, work: &mut Work<'_>) -> Result<bool, Fault> {
        Ok(self.set(slot, work)?.is_some())
    }

    /// The value of a field, or its default.
    pub(super) fn get(&self, slot: u16, work: &mut Work<'_>) -> Result<Value<'a>, Fault> {
        match self.set(slot, work)? {
            Some(value) => Ok(value.clone()),
            None => self.source.default(&self.source.schema.message(self.id).fields[usize::from(slot)], work),
        }
    }

    /// The slot of a field's name.
    pub(super) fn slot(&self, name: &str) -> Result<u16, Fault> {
        let slot = self.source.schema.message(self.id).slot_declared(name);
        slot.map(|slot| slot as u16).ok_or_else(|| Fault::error("the message has no such field"))
    }
}

impl<'a> Source<'a> {
    /// The message that is these parts, as a value: some have a form of their own.
    pub(in crate::validate) fn message(
        self,
        id: MessageId,
        parts: &[Span],
        work: &mut Work<'_>,
    ) -> Result<Value<'a>, Fault> {
        let declared = self.schema.message(id);
        let depth = self.depth.checked_sub(1);
        let depth =
            depth.ok_or_else(|| Halt::from(Invalid::new("the message is nested too deeply").of(Refusal::TooDeep)))?;
        let inside = Self { depth, ..self };
        let lone = |work: &mut Work<'_>| -> Result<Value<'a>, Fault> {
            let message = inside.opaque(id, parts);
            // A Value is its one member; a Struct its map, a ListValue its list.
            let set = message.fields(work)?.first().map(|field| field.1.clone());
            Ok(match (declared.well_known, set) {
                (_, Some(value)) => value,
                (WellKnown::Struct, None) => Value::Map(Rc::default()),
                (WellKnown::ListValue, None) => Value::List(Rc::default()),
                (_, None) => Value::Null,
            })
        };
        match declared.well_known {
            WellKnown::Timestamp | WellKnown::Duration => {
                let [seconds, nanos] = last_of(self.wire, parts, [Kind::Int64, Kind::Int32], depth)?;
                let bits = |scalar: Option<Scalar>| scalar.unwrap_or_default().bits;
                let at = nanoseconds(bits(seconds) as i64, bits(nanos) as u32 as i32);
                Ok(match declared.well_known {
                    WellKnown::Timestamp => Value::Timestamp(at),
                    _ => Value::Duration(at),
                })
            }
            WellKnown::Wrapper => match declared.fields.first() {
                Some(field) => {
                    let [scalar] = last_of(self.wire, parts, [field.kind], depth)?;
                    self.scalar(field.kind, true, scalar.unwrap_or_default())
                }
                None => Ok(Value::Null),
            },
            WellKnown::Struct | WellKnown::Value | WellKnown::ListValue => lone(work),
            _ => Ok(Value::Message(Rc::new(inside.opaque(id, parts)))),
        }
    }

    fn opaque(self, id: MessageId, parts: &[Span]) -> Message<'a> {
        Message { id, source: self, parts: parts.into(), fields: OnceCell::new() }
    }

    /// A scalar as a value.
    pub(in crate::validate) fn scalar(self, kind: Kind, utf8: bool, scalar: Scalar) -> Result<Value<'a>, Fault> {
        let bits = scalar.bits;
        let bytes = || self.wire.get(scalar.start()..scalar.end).unwrap_or_default();
        Ok(match kind {
            Kind::Double => Value::Double(f64::from_bits(bits)),
            Kind::Float => Value::Double(f32::from_bits(bits as u32).into()),
            Kind::Bool => Value::Bool(bits != 0),
            Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => Value::Uint(bits),
            Kind::Enum(id) if self.schema.enumeration(id).null_value => Value::Null,
            Kind::String => match simdutf8::basic::from_utf8(bytes()) {
                Ok(text) => Value::text(text),
                Err(_) if !utf8 => Value::text(String::from_utf8_lossy(bytes())),
                Err(_) => return Err(malformed("the string is not UTF-8").into()),
            },
            Kind::Bytes => Value::Bytes(bytes().into()),
            // Every other integer has a place, and fits.
            kind => Value::Int(place(kind, bits).unwrap_or_default() as i64),
        })
    }

    /// What is read of a field that is not set.
    pub(in crate::validate) fn default(self, field: &Field, work: &mut Work<'_>) -> Result<Value<'a>, Fault> {
        match (field.shape, field.kind) {
            (Shape::Map, _) => Ok(Value::Map(Rc::default())),
            (Shape::Repeated | Shape::Packed, _) => Ok(Value::List(Rc::default())),
            (_, Kind::Message(id) | Kind::Group(id)) => match self.schema.message(id).well_known {
                WellKnown::Wrapper | WellKnown::Value => Ok(Value::Null),
                _ => self.message(id, &[], work),
            },
            (_, kind) if !field.default.is_empty() => {
                let declared = &field.default;
                let (scalar, _) = Scalar::read(kind, declared, 0)?;
                // It lies in the schema, which outlives the call; its text is short.
                let own = Source { schema: self.schema, wire: declared, depth: self.depth };
                Ok(owned(own.scalar(kind, field.utf8, scalar)?))
            }
            (_, Kind::Enum(id)) => {
                Ok(Value::Int(self.schema.enumeration(id).values.first().map_or(0, |value| value.1.into())))
            }
            (_, kind) => Source { wire: &[], ..self }.scalar(kind, field.utf8, Scalar::default()),
        }
    }

    /// The fields that are set in a message.
    fn fields(self, id: MessageId, parts: &[Span], work: &mut Work<'_>) -> Result<Vec<(u16, Value<'a>)>, Fault> {
        let message = self.schema.message(id);
        let mut scratch = Json::default();
        let records = parts.iter().map(|&span| Record { place: 0, slot: 0, wire_type: 0, span });
        scratch.records.extend(records);
        let mut reading = Reading {
            schema: self.schema,
            wire: self.wire,
            scratch: &mut scratch,
            depth: self.depth,
            work: work.budget(),
        };
        let first = reading.collect(message, 0..parts.len())?.first;
        let mut counting = Vec::new();
        let mut at = first;
        while at < reading.scratch.records.len() {
            let ((records, end), _) = reading.next_field(message, at);
            counting.push((reading.scratch.records[end - 1].slot, records));
            at = end;
        }
        let mut fields = Vec::with_capacity(counting.len());
        for (slot, records) in counting {
            let field = &message.fields[usize::from(slot)];
            if let Some(value) = self.field(field, records, &mut scratch, work)? {
                fields.push((slot, value));
            }
        }
        fields.sort_unstable_by_key(|field| field.0);
        Ok(fields)
    }

    /// The value of a whole field whose records are these; none if that is no value.
    pub(in crate::validate) fn field(
        self,
        field: &Field,
        records: Range<usize>,
        scratch: &mut Json,
        work: &mut Work<'_>,
    ) -> Result<Option<Value<'a>>, Fault> {
        work.spend(records.len())?;
        match field.shape {
            Shape::Map => self.map(field, records, scratch, work).map(Some),
            Shape::Repeated | Shape::Packed => {
                let list = self.list(field, records, scratch, work)?;
                Ok(Some(list).filter(|list| !list.is_empty()).map(|list| Value::List(Rc::new(list))))
            }
            Shape::Singular | Shape::Item => match field.kind {
                Kind::Message(id) | Kind::Group(id) => {
                    let parts: Vec<Span> = scratch.records[records].iter().map(|record| record.span).collect();
                    self.message(id, &parts, work).map(Some)
                }
                kind => {
                    let span = scratch.records[records.end - 1].span;
                    let scalar = self.scalar_at(kind, span)?;
                    let unset = !has_presence(field) && scalar.is_default(kind);
                    if unset { Ok(None) } else { self.scalar(kind, field.utf8, scalar).map(Some) }
                }
            },
        }
    }

    fn scalar_at(self, kind: Kind, span: Span) -> Result<Scalar, Halt> {
        match kind {
            Kind::String | Kind::Bytes => Ok(Scalar { bits: span.start() as u64, end: span.end() }),
            _ => Ok(Scalar::read(kind, &self.wire[..span.end()], span.start())?.0),
        }
    }

    fn list(
        self,
        field: &Field,
        records: Range<usize>,
        scratch: &Json,
        work: &mut Work<'_>,
    ) -> Result<Vec<Value<'a>>, Fault> {
        let mut list = Vec::with_capacity(records.len());
        for record in &scratch.records[records] {
            if let Kind::Message(id) | Kind::Group(id) = field.kind {
                list.push(self.message(id, &[record.span], work)?);
            } else if is_packed(field, record.wire_type) {
                let wire = &self.wire[..record.span.end()];
                let mut at = record.span.start();
                while at < wire.len() {
                    work.spend(1)?;
                    let (scalar, end) = Scalar::read(field.kind, wire, at)?;
                    at = end;
                    if !is_unknown(self.schema, field.kind, scalar) {
                        list.push(self.scalar(field.kind, field.utf8, scalar)?);
                    }
                }
            } else {
                list.push(self.scalar(field.kind, field.utf8, self.scalar_at(field.kind, record.span)?)?);
            }
        }
        Ok(list)
    }

    fn map(
        self,
        field: &Field,
        records: Range<usize>,
        scratch: &mut Json,
        work: &mut Work<'_>,
    ) -> Result<Value<'a>, Fault> {
        let (Some((key_field, value_field)), Kind::Message(entry)) = (entry_fields(self.schema, field), field.kind)
        else {
            return Err(malformed("no map").into());
        };
        let mut reading =
            Reading { schema: self.schema, wire: self.wire, scratch, depth: self.depth, work: work.budget() };
        let entries = reading.entries(field, records)?;
        let mut kept = Vec::new();
        for at in entries.clone() {
            if !reading.is_replaced(key_field.kind, at, entries.end) {
                kept.push(reading.entry(at));
            }
        }
        scratch.entries.truncate(entries.start);
        let mut map = Vec::with_capacity(kept.len());
        for (key, record) in kept {
            let key = self.scalar(key_field.kind, key_field.utf8, key)?;
            let mut reading =
                Reading { schema: self.schema, wire: self.wire, scratch, depth: self.depth, work: work.budget() };
            let first = reading.collect(self.schema.message(entry), record..record + 1)?.first;
            let records = reading.value_records(first);
            let value = match records.is_empty() {
                true => None,
                false => self.field(value_field, records, scratch, work)?,
            };
            scratch.records.truncate(first);
            let value = match value {
                Some(value) => value,
                None => self.default(value_field, work)?,
            };
            map.push((key, value));
        }
        Ok(Value::Map(Rc::new(map)))
    }
}

/// The same, lying nowhere else.
fn owned<'a>(value: Value<'_>) -> Value<'a> {
    match value {
        Value::Bool(value) => Value::Bool(value),
        Value::Int(value) => Value::Int(value),
        Value::Uint(value) => Value::Uint(value),
        Value::Double(value) => Value::Double(value),
        Value::String(text) => Value::String(text.into_owned().into()),
        Value::Bytes(bytes) => Value::Bytes(bytes.into_owned().into()),
        // No other is declared as a default.
        _ => Value::Null,
    }
}
