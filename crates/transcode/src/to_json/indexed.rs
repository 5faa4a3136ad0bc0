//! The indexed printer: messages whose records come in any order, split, repeated or replaced.
//!
//! Each message's records are sorted by field before they are printed: see [`super::records`].

use std::ops::Range;

use super::records::{Collected, Reading};
use super::value::{Printer, is_packed};
use super::{Halt, defaults, malformed};
use crate::plan::OutPlan;
use crate::schema::{Field, Kind, Message, MessageId, Shape, WellKnown};
use crate::scratch::{Record, Span};

type Done = Result<(), Halt>;

impl<'a> Printer<'a> {
    /// Prints the whole input by the plan.
    pub(super) fn indexed(&mut self, plan: &OutPlan) -> Done {
        self.reading().begin();
        match plan.field {
            None => self.indexed_message(plan.output, 0..1),
            Some(slot) => self.indexed_field_alone(plan.output, usize::from(slot)),
        }
    }

    /// Its input, to be read record by record.
    fn reading(&mut self) -> Reading<'a, '_> {
        Reading { schema: self.schema, wire: self.wire, scratch: self.scratch, depth: self.depth, work: &mut self.work }
    }

    /// Pushes the records of a message on the stack; returns where they begin.
    fn collect(&mut self, message: &Message, parts: Range<usize>) -> Result<usize, Halt> {
        let Collected { first, .. } = self.reading().collect(message, parts)?;
        Ok(first)
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
            let (records, field) = self.reading().next_field(message, at);
            at = records.1;
            if field.number == wanted.number {
                self.indexed_field(field, b"", records.0).map_err(|halt| halt.within(&field.name))?;
            }
        }
        self.leave();
        if self.text.mark() == mark { self.absent_alone(wanted) } else { Ok(()) }
    }

    /// Prints the message whose parts are the records `parts`.
    fn indexed_message(&mut self, id: MessageId, parts: Range<usize>) -> Done {
        let message = self.schema.message(id);
        match message.well_known {
            WellKnown::No | WellKnown::Empty | WellKnown::HttpBody | WellKnown::MessageSet => {
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
            let ((records, end), field) = self.reading().next_field(message, at);
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

    /// Prints one field from all of its records.
    fn indexed_field(&mut self, field: &'a Field, key: &[u8], records: Range<usize>) -> Done {
        match (field.shape, field.kind) {
            (Shape::Singular | Shape::Item, Kind::Message(id) | Kind::Group(id)) => {
                self.text.raw(key)?;
                self.indexed_message(id, records)
            }
            (Shape::Singular | Shape::Item, kind) => {
                let scalar = self.reading().value_of(kind, records.end - 1)?;
                if scalar.is_default(kind) && self.omits(field, key) {
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
                kind => self.reading().value_of(kind, at).and_then(|scalar| self.scalar(kind, scalar)),
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
        let entries = self.reading().entries(map, records)?;
        self.text.open(b'{')?;
        for at in entries.clone() {
            if self.reading().is_replaced(key_field.kind, at, entries.end) {
                continue;
            }
            let (key, record) = self.reading().entry(at);
            let base = self.collect(entry, record..record + 1)?;
            self.map_key(key_field.kind, key)?;
            let value = self.indexed_entry_value(value_field, base);
            value.map_err(|halt| halt.within(&self.key_path(key_field.kind, key)))?;
            self.scratch.records.truncate(base);
        }
        self.scratch.entries.truncate(entries.start);
        self.text.close(b'}')?;
        Ok(!entries.is_empty())
    }

    /// Prints the value of the entry whose records lie from `first` on.
    fn indexed_entry_value(&mut self, field: &Field, first: usize) -> Done {
        let records = self.reading().value_records(first);
        match field.kind {
            Kind::Message(id) | Kind::Group(id) => self.indexed_message(id, records),
            kind if records.is_empty() => self.scalar(kind, defaults::zero(self.schema, kind)),
            kind => {
                let scalar = self.reading().value_of(kind, records.end - 1)?;
                self.scalar(kind, scalar)
            }
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
                let ((records, end), field) = self.reading().next_field(message, first);
                let span = self.scratch.records[end - 1].span;
                self.check_finite(field, &self.wire[..span.end()], span.start())?;
                match field.kind {
                    Kind::Message(id) | Kind::Group(id) => self.indexed_message(id, records)?,
                    kind => {
                        let scalar = self.reading().value_of(kind, end - 1)?;
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
        let Some((inner, value)) = opened else { return Ok(()) };
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
}
