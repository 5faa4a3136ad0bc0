//! The records of a message in any order, sorted by field: the ground of the indexed printer and of [`crate::canonical`].
//!
//! A message is given as parts of the input, in the order in which they are read: more than one if a submessage occurred
//! more than once. Its records go on a stack; a submessage's parts are again records on that stack.

use std::ops::Range;

use super::reader::{self, GROUP, LEN, Tag, VARINT, too_deep};
use super::value::{Scalar, accepts, entry_fields, is_packed, is_unknown, last_of, spend};
use super::{Halt, malformed};
use crate::schema::{Field, Kind, Message, Schema, Shape, WellKnown};
use crate::scratch::{Entry, Json, Record, Span};

/// One message being read.
pub(crate) struct Reading<'a, 'b> {
    pub(crate) schema: &'a Schema,
    /// The whole input; positions count from its start.
    pub(crate) wire: &'a [u8],
    pub(crate) scratch: &'b mut Json,
    /// Levels that may still be entered.
    pub(crate) depth: u16,
    /// Work that may still be done beyond reading the input.
    pub(crate) work: &'b mut usize,
}

impl<'a> Reading<'a, '_> {
    /// Begins with the whole input as record 0, the only part of the outermost message.
    pub(crate) fn begin(&mut self) {
        self.scratch.clear();
        let span = Span::new(0, self.wire.len());
        self.scratch.records.push(Record { place: 0, slot: 0, wire_type: 0, span });
    }

    /// Goes one level down.
    pub(crate) fn enter(&mut self) -> Result<(), Halt> {
        self.depth = self.depth.checked_sub(1).ok_or_else(too_deep)?;
        Ok(())
    }

    /// Goes one level up.
    pub(crate) fn leave(&mut self) {
        self.depth += 1;
    }

    /// Pushes the records of a message on the stack, sorted by place, each place's in the order they came.
    ///
    /// Returns where they begin. What is unknown or of another wire type than its field is read over.
    pub(crate) fn collect(&mut self, message: &Message, parts: Range<usize>) -> Result<Collected, Halt> {
        let first = self.scratch.records.len();
        let mut unknown = false;
        for part in parts {
            let span = self.scratch.records[part].span;
            let wire = &self.wire[..span.end()];
            let mut at = span.start();
            while at < wire.len() {
                let (tag, value) = reader::tag(wire, at)?;
                let (span, end) = self.span(wire, tag, value)?;
                at = end;
                let Some((slot, wire_type, span)) = self.known(message, tag, span)? else {
                    unknown = true;
                    continue;
                };
                let field = &message.fields[slot];
                // An unknown value in a packed record is found when its elements are read.
                unknown |= matches!(field.kind, Kind::Enum(_)) && is_packed(field, wire_type);
                let place = field.oneof.map_or(slot, |oneof| message.fields.len() + usize::from(oneof));
                let (place, slot) = (place as u32, slot as u16);
                self.scratch.records.push(Record { place, slot, wire_type, span });
            }
        }
        self.scratch.records[first..].sort_unstable_by_key(|record| (record.place, record.span.start));
        Ok(Collected { first, unknown })
    }

    /// The slot of the field that a record sets, and the wire type and value that it has there; none if it sets nothing.
    #[inline]
    pub(crate) fn known(&self, message: &Message, tag: Tag, span: Span) -> Result<Option<(usize, u8, Span)>, Halt> {
        let (number, wire_type, span) = match message.well_known {
            WellKnown::MessageSet if tag == reader::ITEM => match self.item(span)? {
                Some((number, content)) => (number, LEN, content),
                None => return Ok(None),
            },
            _ => (tag.number(), tag.wire_type(), span),
        };
        let Some(slot) = message.slot(number) else { return Ok(None) };
        let field = &message.fields[slot];
        if !accepts(field, wire_type) || self.sets_nothing(field, wire_type, span)? {
            return Ok(None);
        }
        Ok(Some((slot, wire_type, span)))
    }

    /// The number and the message of a MessageSet's item; none if it lacks one of them.
    fn item(&self, span: Span) -> Result<Option<(u32, Span)>, Halt> {
        const TYPE_ID: (u32, u8) = (2, VARINT);
        const MESSAGE: (u32, u8) = (3, LEN);
        let wire = &self.wire[..span.end()];
        let (mut at, mut number, mut message) = (span.start(), None, None);
        while at < wire.len() {
            let (tag, value) = reader::tag(wire, at)?;
            at = reader::skip(wire, tag, value, self.depth)?;
            match (tag.number(), tag.wire_type()) {
                TYPE_ID if number.is_none() => number = Some(reader::varint(wire, value)?.0),
                MESSAGE if message.is_none() => message = Some(reader::delimited(wire, value)?),
                _ => {}
            }
        }
        let number = number.and_then(|number| u32::try_from(number).ok());
        Ok(number.zip(message).map(|(number, (start, end))| (number, Span::new(start, end))))
    }

    /// The records from `at` on that compete for one place: those that count, where they all end, and their field.
    ///
    /// Of a oneof, the last member counts, and of its records those since another member was set.
    pub(crate) fn next_field(&self, message: &'a Message, at: usize) -> ((Range<usize>, usize), &'a Field) {
        let records = &self.scratch.records;
        let place = records[at].place;
        let len = records[at..].iter().take_while(|record| record.place == place).count();
        let end = at + len;
        let slot = records[end - 1].slot;
        let since = records[at..end].iter().rev().take_while(|record| record.slot == slot).count();
        ((end - since..end, end), &message.fields[usize::from(slot)])
    }

    /// Reads the scalar of a record.
    pub(crate) fn value_of(&self, kind: Kind, record: usize) -> Result<Scalar, Halt> {
        let span = self.scratch.records[record].span;
        match kind {
            Kind::String | Kind::Bytes => Ok(Scalar { bits: span.start() as u64, end: span.end() }),
            _ => Ok(Scalar::read(kind, &self.wire[..span.end()], span.start())?.0),
        }
    }

    /// Pushes the entries of a map's records on their stack, sorted by key, those of one key in the order they came.
    ///
    /// Returns where they are: of one key only the last counts ([`Reading::is_replaced`]).
    pub(crate) fn entries(&mut self, map: &Field, records: Range<usize>) -> Result<Range<usize>, Halt> {
        let Some((key_field, _)) = entry_fields(self.schema, map) else { return Err(malformed("no map")) };
        let first = self.scratch.entries.len();
        for record in records {
            let span = self.scratch.records[record].span;
            let [key] = last_of(self.wire, &[span], [key_field.kind], self.depth)?;
            let key = key.unwrap_or_default();
            self.scratch.entries.push(Entry { key: key.bits, key_end: key.end, record });
        }
        let wire = self.wire;
        let entries = &mut self.scratch.entries[first..];
        let text = |entry: &Entry| wire.get(key_of(*entry).start()..entry.key_end).unwrap_or_default();
        match key_field.kind {
            Kind::String => entries.sort_unstable_by(|a, b| text(a).cmp(text(b)).then(a.record.cmp(&b.record))),
            _ => entries.sort_unstable_by_key(|entry| (entry.key, entry.record)),
        }
        Ok(first..self.scratch.entries.len())
    }

    /// The key of an entry, and its record.
    pub(crate) fn entry(&self, at: usize) -> (Scalar, usize) {
        let entry = self.scratch.entries[at];
        (key_of(entry), entry.record)
    }

    /// The entry at `at`, in front of `end`, has the key of the next one.
    pub(crate) fn is_replaced(&self, kind: Kind, at: usize, end: usize) -> bool {
        if at + 1 >= end {
            return false;
        }
        let (one, other) = (self.entry(at).0, self.entry(at + 1).0);
        match kind {
            Kind::String => self.wire.get(one.start()..one.end) == self.wire.get(other.start()..other.end),
            _ => one.bits == other.bits,
        }
    }

    /// Where among the collected records of an entry those of its value begin.
    pub(crate) fn value_records(&self, first: usize) -> Range<usize> {
        let records = &self.scratch.records;
        let key_records = records[first..].iter().take_while(|record| record.slot == 0).count();
        first + key_records..records.len()
    }

    /// The record's value is no value of its closed enum, or a map entry's is not.
    fn sets_nothing(&self, field: &Field, wire_type: u8, span: Span) -> Result<bool, Halt> {
        match (field.shape, field.kind) {
            (Shape::Map, _) => {
                let Some((_, value)) = entry_fields(self.schema, field) else { return Ok(false) };
                match value.kind {
                    Kind::Enum(id) if self.schema.enumeration(id).closed => {
                        let found = last_of(self.wire, &[span], [Kind::Bool, value.kind], self.depth)?;
                        Ok(found[1].is_some_and(|scalar| is_unknown(self.schema, value.kind, scalar)))
                    }
                    _ => Ok(false),
                }
            }
            (_, Kind::Enum(_)) if !is_packed(field, wire_type) => {
                let (scalar, _) = Scalar::read(field.kind, &self.wire[..span.end()], span.start())?;
                Ok(is_unknown(self.schema, field.kind, scalar))
            }
            _ => Ok(false),
        }
    }

    /// The value of a record, and where the record ends.
    pub(crate) fn span(&mut self, wire: &[u8], tag: Tag, at: usize) -> Result<(Span, usize), Halt> {
        match tag.wire_type() {
            LEN => {
                let (start, end) = reader::delimited(wire, at)?;
                Ok((Span::new(start, end), end))
            }
            GROUP => {
                let (content, end) = reader::group(wire, tag.number(), at, self.depth)?;
                spend(self.work, end - at)?; // each level of nested groups looks for the end again
                Ok((Span::new(at, content), end))
            }
            _ => {
                let end = reader::skip(wire, tag, at, self.depth)?;
                Ok((Span::new(at, end), end))
            }
        }
    }
}

/// What [`Reading::collect`] found.
pub(crate) struct Collected {
    /// Where on the stack the message's records begin; they reach to its end.
    pub(crate) first: usize,
    /// There were records that set nothing.
    pub(crate) unknown: bool,
}

fn key_of(entry: Entry) -> Scalar {
    Scalar { bits: entry.key, end: entry.key_end }
}
