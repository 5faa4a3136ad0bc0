//! The indexed printer: messages whose records come in any order, split, repeated or replaced.
//!
//! A message is given as parts of the input, in the order in which they are read: more than one if a submessage occurred
//! more than once. Its records go on a stack, sorted by field; a submessage's parts are again records on that stack.

use std::ops::Range;

use super::reader::{self, GROUP, Tag};
use super::value::{Printer, Scalar, accepts, is_packed, last_of};
use super::{Halt, defaults, malformed};
use crate::plan::OutPlan;
use crate::schema::{Field, Kind, Message, MessageId, Shape, WellKnown};
use crate::scratch::{Entry, Record, Span};

type Done = Result<(), Halt>;

impl<'a> Printer<'a> {
    /// Prints the whole input by the plan.
    pub(super) fn indexed(&mut self, plan: &OutPlan) -> Done {
        self.scratch.clear();
        let whole = Record { place: 0, slot: 0, wire_type: 0, span: Span::new(0, self.wire.len()) };
        self.scratch.records.push(whole);
        match plan.field {
            None => self.indexed_message(plan.output, 0..1),
            Some(slot) => self.indexed_field_alone(plan.output, usize::from(slot)),
        }
    }

    /// Prints the one field of the top message that `response_body` names, without its key.
    fn indexed_field_alone(&mut self, id: MessageId, slot: usize) -> Done {
        let message = self.schema.message(id);
        let Some(wanted) = message.fields.get(slot) else { return Err(malformed("the response body's field is gone")) };
        self.enter()?;
        let first = self.collect(message, 0..1)?;
        let mark = self.text.mark();
        let mut at = first;
        while at < self.scratch.records.len() {
            let (records, field) = self.next_field(message, at);
            at = records.1;
            if field.number == wanted.number {
                self.indexed_field(field, b"", records.0).map_err(|halt| halt.within(&field.name))?;
            }
        }
        self.leave();
        if self.text.mark() == mark { self.absent(wanted) } else { Ok(()) }
    }

    /// Prints the message whose parts are the records `parts`.
    fn indexed_message(&mut self, id: MessageId, parts: Range<usize>) -> Done {
        let message = self.schema.message(id);
        match message.well_known {
            WellKnown::No | WellKnown::Empty | WellKnown::HttpBody => {
                self.text.open(b'{')?;
                self.indexed_fields(message, parts)?;
                Ok(self.text.close(b'}')?)
            }
            _ => self.indexed_well_known(message, parts),
        }
    }

    /// Prints the fields of an ordinary message, each with its key.
    fn indexed_fields(&mut self, message: &'a Message, parts: Range<usize>) -> Done {
        self.enter()?;
        let first = self.collect(message, parts)?;
        let (mut at, mut next_slot) = (first, 0);
        while at < self.scratch.records.len() {
            let place = self.scratch.records[at].place as usize;
            let ((records, end), field) = self.next_field(message, at);
            at = end;
            self.absent_fields(message, next_slot..place)?;
            let mark = self.text.mark();
            let key = self.key(field);
            self.indexed_field(field, key, records).map_err(|halt| halt.within(&field.name))?;
            next_slot = if self.text.mark() == mark { place } else { place + 1 };
        }
        self.absent_fields(message, next_slot..message.fields.len())?;
        self.scratch.records.truncate(first);
        self.leave();
        Ok(())
    }

    /// With `emit_defaults`, prints the fields of these slots, which are absent.
    fn absent_fields(&mut self, message: &'a Message, slots: Range<usize>) -> Done {
        if !self.options.emit_defaults {
            return Ok(());
        }
        for field in message.fields.iter().take(slots.end).skip(slots.start) {
            if defaults::is_emitted(field) {
                self.absent_field(field)?;
            }
        }
        Ok(())
    }

    /// The records from `at` on that compete for one place: those that count, where they all end, and their field.
    ///
    /// Of a oneof, the last member counts, and of its records those since another member was set.
    fn next_field(&self, message: &'a Message, at: usize) -> ((Range<usize>, usize), &'a Field) {
        let records = &self.scratch.records;
        let place = records[at].place;
        let len = records[at..].iter().take_while(|record| record.place == place).count();
        let end = at + len;
        let slot = records[end - 1].slot;
        let since = records[at..end].iter().rev().take_while(|record| record.slot == slot).count();
        ((end - since..end, end), &message.fields[usize::from(slot)])
    }

    /// Prints one field from all of its records.
    fn indexed_field(&mut self, field: &'a Field, key: &[u8], records: Range<usize>) -> Done {
        match (field.shape, field.kind) {
            (Shape::Singular, Kind::Message(id) | Kind::Group(id)) => {
                self.text.raw(key)?;
                self.indexed_message(id, records)
            }
            (Shape::Singular, kind) => {
                let scalar = self.value_of(kind, records.end - 1)?;
                if self.is_left_out(field, scalar) && !self.options.emit_defaults && !key.is_empty() {
                    return Ok(());
                }
                self.text.raw(key)?;
                self.scalar(kind, scalar)
            }
            (Shape::Repeated | Shape::Packed, _) => {
                let mark = self.text.mark();
                self.text.raw(key)?;
                self.text.open(b'[')?;
                let opened = self.text.mark();
                self.indexed_elements(field, records)?;
                if self.text.mark() == opened {
                    self.text.back_to(mark);
                    return Ok(());
                }
                Ok(self.text.close(b']')?)
            }
            (Shape::Map, _) => {
                let mark = self.text.mark();
                self.text.raw(key)?;
                if !self.indexed_map(field, records)? {
                    self.text.back_to(mark);
                }
                Ok(())
            }
        }
    }

    /// Prints the elements of a list.
    fn indexed_elements(&mut self, field: &Field, records: Range<usize>) -> Done {
        for (index, at) in records.enumerate() {
            let Record { span, wire_type, .. } = self.scratch.records[at];
            let element = match field.kind {
                Kind::Message(id) | Kind::Group(id) => self.indexed_message(id, at..at + 1),
                kind if is_packed(field, wire_type) => self.packed(kind, &self.wire[..span.end()], span.start()),
                kind => self.value_of(kind, at).and_then(|scalar| self.scalar(kind, scalar)),
            };
            element.map_err(|halt| halt.within_element(index))?;
        }
        Ok(())
    }

    /// Prints a map from the records of its entries; the last entry of a key counts. False if there was none.
    fn indexed_map(&mut self, map: &Field, records: Range<usize>) -> Result<bool, Halt> {
        let Some((key_field, value_field)) = self.entry_fields(map) else { return Err(malformed("no map")) };
        let Kind::Message(entry) = map.kind else { return Err(malformed("no map")) };
        let entry = self.schema.message(entry);
        let first = self.scratch.entries.len();
        for record in records {
            let span = self.scratch.records[record].span;
            let [key] = last_of(self.wire, &[span], [key_field.kind], self.depth)?;
            let key = key.unwrap_or_default();
            self.scratch.entries.push(Entry { key: key.bits, key_end: key.end, record });
        }
        self.sort_entries(first, key_field.kind);
        self.text.open(b'{')?;
        let last = self.scratch.entries.len();
        for at in first..last {
            let record = self.scratch.entries[at].record;
            let key = key_of(self.scratch.entries[at]);
            if at + 1 < last && self.same_key(key_field.kind, key, key_of(self.scratch.entries[at + 1])) {
                continue;
            }
            let base = self.collect(entry, record..record + 1)?;
            self.map_key(key_field.kind, key)?;
            let value = self.indexed_entry_value(value_field, base);
            value.map_err(|halt| halt.within(&self.key_path(key_field.kind, key)))?;
            self.scratch.records.truncate(base);
        }
        self.scratch.entries.truncate(first);
        self.text.close(b'}')?;
        Ok(last > first)
    }

    /// Prints the value of the entry whose records lie from `first` on.
    fn indexed_entry_value(&mut self, field: &Field, first: usize) -> Done {
        let records = &self.scratch.records;
        let start = records[first..].iter().position(|record| record.slot == 1).map_or(records.len(), |at| first + at);
        match field.kind {
            Kind::Message(id) | Kind::Group(id) => self.indexed_message(id, start..records.len()),
            kind if start == records.len() => self.scalar(kind, defaults::zero(self.schema, kind)),
            kind => {
                let scalar = self.value_of(kind, records.len() - 1)?;
                self.scalar(kind, scalar)
            }
        }
    }

    /// Sorts entries by key, those of one key in the order they came.
    fn sort_entries(&mut self, first: usize, kind: Kind) {
        let wire = self.wire;
        let entries = &mut self.scratch.entries[first..];
        let text = |entry: &Entry| wire.get(key_of(*entry).start()..entry.key_end).unwrap_or_default();
        match kind {
            Kind::String => entries.sort_unstable_by(|a, b| text(a).cmp(text(b)).then(a.record.cmp(&b.record))),
            _ => entries.sort_unstable_by_key(|entry| (entry.key, entry.record)),
        }
    }

    fn same_key(&self, kind: Kind, a: Scalar, b: Scalar) -> bool {
        match kind {
            Kind::String => self.wire.get(a.start()..a.end) == self.wire.get(b.start()..b.end),
            _ => a.bits == b.bits,
        }
    }

    /// Prints a message with a JSON form of its own.
    fn indexed_well_known(&mut self, message: &'a Message, parts: Range<usize>) -> Done {
        match message.well_known {
            WellKnown::Struct | WellKnown::ListValue => {
                self.enter()?;
                let first = self.collect(message, parts)?;
                let records = first..self.scratch.records.len();
                let Some(field) = message.fields.first() else { return Err(malformed("no fields")) };
                match message.well_known {
                    WellKnown::Struct => drop(self.indexed_map(field, records)?),
                    _ => {
                        self.text.open(b'[')?;
                        self.indexed_elements(field, records)?;
                        self.text.close(b']')?;
                    }
                }
                self.scratch.records.truncate(first);
                self.leave();
                Ok(())
            }
            WellKnown::Value => {
                let first = self.collect(message, parts)?;
                if first == self.scratch.records.len() {
                    return Err(malformed("a google.protobuf.Value has no value"));
                }
                let ((records, end), field) = self.next_field(message, first);
                let span = self.scratch.records[end - 1].span;
                self.check_finite(field, &self.wire[..span.end()], span.start())?;
                match field.kind {
                    Kind::Message(id) | Kind::Group(id) => self.indexed_message(id, records)?,
                    kind => {
                        let scalar = self.value_of(kind, end - 1)?;
                        self.scalar(kind, scalar)?;
                    }
                }
                self.scratch.records.truncate(first);
                Ok(())
            }
            WellKnown::Any => self.indexed_any(parts),
            _ => self.with_spans(parts, |printer, spans| printer.leaf(message, spans)),
        }
    }

    /// Hands out the spans of records.
    fn with_spans<T>(&mut self, parts: Range<usize>, then: impl FnOnce(&mut Self, &[Span]) -> T) -> T {
        let mut spans = std::mem::take(&mut self.scratch.spans);
        spans.clear();
        spans.extend(self.scratch.records[parts].iter().map(|record| record.span));
        let done = then(self, &spans);
        self.scratch.spans = spans;
        done
    }

    fn indexed_any(&mut self, parts: Range<usize>) -> Done {
        let opened = self.with_spans(parts, Self::open_any)?;
        let Some((inner, value)) = opened else { return Ok(self.text.raw(b"{},")?) };
        let at = self.scratch.records.len();
        let span = Span::new(value.start(), value.end);
        self.scratch.records.push(Record { place: 0, slot: 0, wire_type: 0, span });
        if inner.is_inline() {
            self.indexed_fields(inner.message, at..at + 1)?;
        } else {
            self.indexed_message(inner.id, at..at + 1)?;
        }
        self.scratch.records.truncate(at);
        self.close_any()
    }

    /// Reads the scalar of a record.
    fn value_of(&self, kind: Kind, record: usize) -> Result<Scalar, Halt> {
        let span = self.scratch.records[record].span;
        match kind {
            Kind::String | Kind::Bytes => Ok(Scalar { bits: span.start() as u64, end: span.end() }),
            _ => Ok(Scalar::read(kind, &self.wire[..span.end()], span.start())?.0),
        }
    }

    /// Pushes the records of a message on the stack, sorted by place, each place's in the order they came.
    ///
    /// Returns where they begin.
    fn collect(&mut self, message: &Message, parts: Range<usize>) -> Result<usize, Halt> {
        let first = self.scratch.records.len();
        for part in parts {
            let span = self.scratch.records[part].span;
            let wire = &self.wire[..span.end()];
            let mut at = span.start();
            while at < wire.len() {
                let (tag, value) = reader::tag(wire, at)?;
                let (span, end) = self.span(wire, tag, value)?;
                at = end;
                let Some(slot) = message.slot(tag.number()) else { continue };
                let field = &message.fields[slot];
                if !accepts(field, tag.wire_type()) || self.sets_nothing(field, tag, span)? {
                    continue;
                }
                let place = field.oneof.map_or(slot, |oneof| message.fields.len() + usize::from(oneof));
                let (place, slot) = (place as u32, slot as u16);
                self.scratch.records.push(Record { place, slot, wire_type: tag.wire_type(), span });
            }
        }
        self.scratch.records[first..].sort_unstable_by_key(|record| (record.place, record.span.start));
        Ok(first)
    }

    /// The record's value is no value of its closed enum, or a map entry's is not.
    fn sets_nothing(&self, field: &Field, tag: Tag, span: Span) -> Result<bool, Halt> {
        match (field.shape, field.kind) {
            (Shape::Map, _) => {
                let Some((_, value)) = self.entry_fields(field) else { return Ok(false) };
                match value.kind {
                    Kind::Enum(id) if self.schema.enumeration(id).closed => {
                        let found = last_of(self.wire, &[span], [Kind::Bool, value.kind], self.depth)?;
                        Ok(found[1].is_some_and(|scalar| self.is_unknown(value.kind, scalar)))
                    }
                    _ => Ok(false),
                }
            }
            (_, Kind::Enum(_)) if !is_packed(field, tag.wire_type()) => {
                let (scalar, _) = Scalar::read(field.kind, &self.wire[..span.end()], span.start())?;
                Ok(self.is_unknown(field.kind, scalar))
            }
            _ => Ok(false),
        }
    }

    /// The value of a record, and where the record ends.
    fn span(&mut self, wire: &[u8], tag: Tag, at: usize) -> Result<(Span, usize), Halt> {
        match tag.wire_type() {
            reader::LEN => {
                let (start, end) = reader::delimited(wire, at)?;
                Ok((Span::new(start, end), end))
            }
            GROUP => {
                let (content, end) = reader::group(wire, tag.number(), at, self.depth)?;
                self.spend(end - at)?; // each level of nested groups looks for the end again
                Ok((Span::new(at, content), end))
            }
            _ => {
                let end = reader::skip(wire, tag, at, self.depth)?;
                Ok((Span::new(at, end), end))
            }
        }
    }
}

fn key_of(entry: Entry) -> Scalar {
    Scalar { bits: entry.key, end: entry.key_end }
}
