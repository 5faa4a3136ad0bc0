//! The stream printer: one pass in wire order, for messages as encoders write them.

use std::hash::BuildHasher as _;

use super::reader::{self, END_GROUP, LEN, Tag, cut_off, delimited};
use super::value::{Printer, Scalar, accepts, is_packed};
use super::{Halt, defaults, malformed};
use crate::plan::OutPlan;
use crate::schema::{Field, Kind, Message, MessageId, Shape, WellKnown};
use crate::scratch::{Seen, Span};

type Done = Result<(), Halt>;

impl<'a> Printer<'a> {
    /// Prints the whole input by the plan.
    pub(super) fn stream(&mut self, plan: &OutPlan) -> Done {
        self.scratch.clear();
        let wire = self.wire;
        match plan.field {
            None => self.stream_message(plan.output, wire, 0, 0).map(drop),
            Some(slot) => self.stream_field_alone(plan.output, usize::from(slot)),
        }
    }

    /// Prints the one field of the top message that `response_body` names, without its key.
    fn stream_field_alone(&mut self, id: MessageId, slot: usize) -> Done {
        let (wire, message) = (self.wire, self.schema.message(id));
        let Some(wanted) = message.fields.get(slot) else { return Err(malformed("the response body's field is gone")) };
        if wanted.shape == Shape::Item {
            return Err(Halt::Disorder);
        }
        self.enter()?;
        let (mut at, mut printed) = (0, false);
        while at < wire.len() {
            let (tag, value) = reader::tag(wire, at)?;
            let known = message.slot(tag.number()).map(|slot| &message.fields[slot]);
            at = match known {
                Some(field) if field.number == wanted.number && accepts(field, tag.wire_type()) => {
                    if printed {
                        return Err(Halt::Disorder);
                    }
                    printed = true;
                    let end = match field.shape {
                        Shape::Singular => self.stream_one(field, b"", wire, tag, value),
                        _ => self.stream_many(field, b"", wire, tag, value),
                    };
                    end.map_err(|halt| halt.within(&field.name))?
                }
                Some(field) if field.oneof.is_some() && field.oneof == wanted.oneof => return Err(Halt::Disorder),
                _ => reader::skip(wire, tag, value, self.depth)?,
            };
        }
        self.leave();
        if printed { Ok(()) } else { self.absent_alone(wanted) }
    }

    /// Prints the message at `at`: it reaches to the end of `wire`, or to the end tag of `group` if that is not 0.
    pub(super) fn stream_message(&mut self, id: MessageId, wire: &[u8], at: usize, group: u32) -> Result<usize, Halt> {
        let message = self.schema.message(id);
        match message.well_known {
            WellKnown::No | WellKnown::Empty | WellKnown::HttpBody => {
                self.text.open(b'{')?;
                let end = self.stream_fields(message, wire, at, group)?;
                self.text.close(b'}')?;
                Ok(end)
            }
            _ => self.stream_well_known(message, wire, at, group),
        }
    }

    /// Prints the fields of an ordinary message, each with its key.
    fn stream_fields(&mut self, message: &'a Message, wire: &[u8], mut at: usize, group: u32) -> Result<usize, Halt> {
        self.enter()?;
        let mut seen = self.open_seen(message)?;
        let end = loop {
            if at >= wire.len() {
                if group != 0 {
                    return Err(cut_off());
                }
                break at;
            }
            let (tag, value) = reader::tag(wire, at)?;
            let slot = match message.slot(tag.number()) {
                Some(slot) if accepts(&message.fields[slot], tag.wire_type()) => slot,
                _ if group != 0 && tag.wire_type() == END_GROUP && tag.number() == group => break value,
                _ => {
                    at = reader::skip(wire, tag, value, self.depth)?;
                    continue;
                }
            };
            let field = &message.fields[slot];
            let bit = match field.oneof {
                None => slot,
                Some(oneof) => message.fields.len() + usize::from(oneof),
            };
            let printed = match field.shape {
                _ if seen.mark(&mut self.scratch.bits, bit) => return Err(Halt::Disorder),
                Shape::Singular => self.stream_one(field, self.key(field), wire, tag, value),
                _ => self.stream_many(field, self.key(field), wire, tag, value),
            };
            at = match printed {
                Ok(end) => end,
                Err(halt) => return Err(halt.within(&field.name)),
            };
        };
        if self.options.emit_defaults {
            for (slot, field) in message.fields.iter().enumerate() {
                if defaults::is_emitted(field) && !seen.has(&self.scratch.bits, slot) {
                    self.absent_field(field)?;
                }
            }
        }
        seen.close(&mut self.scratch.bits);
        self.leave();
        Ok(end)
    }

    /// Prints a singular field.
    #[inline(always)]
    fn stream_one(&mut self, field: &'a Field, key: &[u8], wire: &[u8], tag: Tag, at: usize) -> Result<usize, Halt> {
        match field.kind {
            Kind::String => {
                let (start, end) = delimited(wire, at)?;
                if start != end || !self.omits(field, key) {
                    self.text.member(key, self.wire, start, end)?;
                }
                Ok(end)
            }
            Kind::Message(id) => {
                let (start, end) = delimited(wire, at)?;
                self.text.raw(key)?;
                self.stream_message(id, &wire[..end], start, 0)
            }
            Kind::Group(id) => {
                self.text.raw(key)?;
                self.stream_message(id, wire, at, tag.number())
            }
            kind => {
                let (scalar, end) = Scalar::read(kind, wire, at)?;
                if scalar.is_default(kind) && self.omits(field, key) {
                    return Ok(end);
                }
                if self.is_unknown(kind, scalar) {
                    return Err(Halt::Disorder); // the record sets nothing: the field may come yet
                }
                self.text.raw(key)?;
                self.scalar(kind, scalar)?;
                Ok(end)
            }
        }
    }

    /// Prints a list or map from its first record on, with all records that follow at once.
    fn stream_many(&mut self, field: &'a Field, key: &[u8], wire: &[u8], tag: Tag, at: usize) -> Result<usize, Halt> {
        let mark = self.text.mark();
        let end = match field.shape {
            Shape::Map => self.stream_map(field, key, wire, at)?,
            _ => self.stream_list(field, key, wire, tag, at)?,
        };
        // Records of which nothing was printed set nothing: the field may come yet.
        if self.text.mark() == mark { Err(Halt::Disorder) } else { Ok(end) }
    }

    fn stream_list(&mut self, field: &'a Field, key: &[u8], wire: &[u8], tag: Tag, at: usize) -> Result<usize, Halt> {
        let mark = self.text.mark();
        self.text.raw(key)?;
        self.text.open(b'[')?;
        let opened = self.text.mark();
        let (mut tag, mut at, mut index) = (tag, at, 0);
        let end = loop {
            let element = self.stream_element(field, wire, tag, at);
            let end = element.map_err(|halt| halt.within_element(index))?;
            match self.next_of(field, wire, end)? {
                Some((next, value)) => (tag, at, index) = (next, value, index + 1),
                None => break end,
            }
        };
        if self.text.mark() == opened {
            self.text.back_to(mark); // nothing but empty packed records and unknown enum values
            return Ok(end);
        }
        self.text.close(b']')?;
        Ok(end)
    }

    /// Prints one record of a list.
    #[inline]
    fn stream_element(&mut self, field: &Field, wire: &[u8], tag: Tag, at: usize) -> Result<usize, Halt> {
        match field.kind {
            Kind::Message(id) => {
                let (start, end) = delimited(wire, at)?;
                self.stream_message(id, &wire[..end], start, 0)
            }
            Kind::Group(id) => self.stream_message(id, wire, at, tag.number()),
            kind if is_packed(field, tag.wire_type()) => {
                let (start, end) = delimited(wire, at)?;
                self.packed(kind, &wire[..end], start)?;
                Ok(end)
            }
            kind => self.element(kind, wire, at),
        }
    }

    /// Prints packed elements to the end of `wire`.
    pub(super) fn packed(&mut self, kind: Kind, wire: &[u8], mut at: usize) -> Done {
        while at < wire.len() {
            at = self.element(kind, wire, at)?;
        }
        Ok(())
    }

    /// Prints one scalar element.
    #[inline]
    pub(super) fn element(&mut self, kind: Kind, wire: &[u8], at: usize) -> Result<usize, Halt> {
        let (scalar, end) = Scalar::read(kind, wire, at)?;
        if !self.is_unknown(kind, scalar) {
            self.scalar(kind, scalar)?;
        }
        Ok(end)
    }

    /// The next record, if it belongs to the same field.
    #[inline]
    fn next_of(&self, field: &Field, wire: &[u8], at: usize) -> Result<Option<(Tag, usize)>, Halt> {
        if at >= wire.len() {
            return Ok(None);
        }
        let (tag, value) = reader::tag(wire, at)?;
        Ok((tag.number() == field.number && accepts(field, tag.wire_type())).then_some((tag, value)))
    }

    fn stream_map(&mut self, field: &'a Field, key: &[u8], wire: &[u8], at: usize) -> Result<usize, Halt> {
        let mark = self.text.mark();
        let first = self.scratch.hashes.len();
        self.text.raw(key)?;
        self.text.open(b'{')?;
        let mut at = at;
        let end = loop {
            let (start, end) = delimited(wire, at)?;
            self.stream_entry(field, &wire[..end], start)?;
            match self.next_of(field, wire, end)? {
                Some((_, value)) => at = value,
                None => break end,
            }
        };
        if self.scratch.hashes.len() == first {
            self.text.back_to(mark);
            return Ok(end);
        }
        self.close_map(first)?;
        Ok(end)
    }

    /// Closes a map whose keys' hashes are in the scratch from `first` on; no key may have come twice.
    fn close_map(&mut self, first: usize) -> Done {
        let hashes = &mut self.scratch.hashes[first..];
        if hashes.len() > 1 {
            hashes.sort_unstable();
            if hashes.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(Halt::Disorder);
            }
        }
        self.scratch.hashes.truncate(first);
        Ok(self.text.close(b'}')?)
    }

    /// Prints one entry of a map: a key and a value, each once, in this order, or absent.
    fn stream_entry(&mut self, map: &'a Field, wire: &[u8], at: usize) -> Done {
        let Some((key_field, value_field)) = self.entry_fields(map) else { return Err(malformed("no map")) };
        let mark = self.text.mark();
        let (key, at) = match self.next_of(key_field, wire, at)? {
            Some((_, value)) => Scalar::read(key_field.kind, wire, value)?,
            None => (Scalar::default(), at),
        };
        self.map_key(key_field.kind, key)?;
        let value = self.stream_entry_value(value_field, wire, at);
        let end = value.map_err(|halt| halt.within(&self.key_path(key_field.kind, key)))?;
        if end != wire.len() {
            return Err(Halt::Disorder);
        }
        if self.text.ends_in(b':') {
            self.text.back_to(mark); // an unknown value of a closed enum: the entry is an unknown field
            return Ok(());
        }
        let hash = match key_field.kind {
            Kind::String => self.scratch.hasher.hash_one(&self.wire[key.start()..key.end]),
            _ => key.bits,
        };
        self.scratch.hashes.push(hash);
        Ok(())
    }

    fn stream_entry_value(&mut self, field: &'a Field, wire: &[u8], at: usize) -> Result<usize, Halt> {
        match (self.next_of(field, wire, at)?, field.kind) {
            (Some((tag, value)), _) => self.stream_element(field, wire, tag, value),
            (None, Kind::Message(id) | Kind::Group(id)) => self.stream_message(id, &[], 0, 0).map(|_| at),
            (None, kind) => {
                let zero = defaults::zero(self.schema, kind);
                self.scalar(kind, zero)?;
                Ok(at)
            }
        }
    }

    /// Prints a message with a JSON form of its own.
    fn stream_well_known(&mut self, message: &'a Message, wire: &[u8], at: usize, group: u32) -> Result<usize, Halt> {
        let (end, after) = match group {
            0 => (wire.len(), wire.len()),
            _ => reader::group(wire, group, at, self.depth)?,
        };
        let wire = &wire[..end];
        match message.well_known {
            WellKnown::MessageSet => return Err(Halt::Disorder), // its items are looked into by the indexed printer
            WellKnown::Struct => self.stream_struct(message, wire, at)?,
            WellKnown::ListValue => self.stream_list_value(message, wire, at)?,
            WellKnown::Value => self.stream_dynamic(message, wire, at)?,
            WellKnown::Any => match self.open_any(&[Span::new(at, end)])? {
                Some((inner, _)) if inner.message.well_known == WellKnown::MessageSet => return Err(Halt::Disorder),
                Some((inner, value)) => {
                    let part = &self.wire[..value.end];
                    if inner.is_inline() {
                        self.stream_fields(inner.message, part, value.start(), 0)?;
                    } else {
                        self.stream_message(inner.id, part, value.start(), 0)?;
                    }
                    self.close_any()?;
                }
                None => {}
            },
            _ => self.leaf(message, &[Span::new(at, end)])?,
        }
        Ok(after)
    }

    /// Prints a `google.protobuf.Struct`.
    fn stream_struct(&mut self, message: &'a Message, wire: &[u8], mut at: usize) -> Done {
        let Some(fields) = message.fields.first() else { return Err(malformed("no Struct")) };
        self.enter()?;
        self.text.open(b'{')?;
        let first = self.scratch.hashes.len();
        while at < wire.len() {
            let (tag, value) = reader::tag(wire, at)?;
            at = if tag.number() == fields.number && tag.wire_type() == LEN {
                let (start, end) = delimited(wire, value)?;
                self.stream_entry(fields, &wire[..end], start)?;
                end
            } else {
                reader::skip(wire, tag, value, self.depth)?
            };
        }
        self.leave();
        self.close_map(first)
    }

    /// Prints a `google.protobuf.ListValue`.
    fn stream_list_value(&mut self, message: &'a Message, wire: &[u8], mut at: usize) -> Done {
        let Some(values) = message.fields.first() else { return Err(malformed("no ListValue")) };
        self.enter()?;
        self.text.open(b'[')?;
        let mut index = 0;
        while at < wire.len() {
            let (tag, value) = reader::tag(wire, at)?;
            at = if accepts(values, tag.wire_type()) && tag.number() == values.number {
                let end = self.stream_element(values, wire, tag, value);
                index += 1;
                end.map_err(|halt| halt.within_element(index - 1))?
            } else {
                reader::skip(wire, tag, value, self.depth)?
            };
        }
        self.leave();
        Ok(self.text.close(b']')?)
    }

    /// Prints a `google.protobuf.Value`: the one member that is set.
    fn stream_dynamic(&mut self, message: &'a Message, wire: &[u8], mut at: usize) -> Done {
        let mark = self.text.mark();
        while at < wire.len() {
            let (tag, value) = reader::tag(wire, at)?;
            at = match message.slot(tag.number()).map(|slot| &message.fields[slot]) {
                Some(field) if accepts(field, tag.wire_type()) => {
                    if self.text.mark() > mark {
                        return Err(Halt::Disorder);
                    }
                    self.check_finite(field, wire, value)?;
                    self.stream_element(field, wire, tag, value)?
                }
                _ => reader::skip(wire, tag, value, self.depth)?,
            };
        }
        if self.text.mark() == mark { Err(malformed("a google.protobuf.Value has no value")) } else { Ok(()) }
    }

    /// No field of a message printed yet.
    fn open_seen(&mut self, message: &Message) -> Result<Seen, Halt> {
        let bits = message.fields.len() + message.oneofs.len();
        if bits > 64 {
            self.spend(Seen::words(bits))?;
        }
        Ok(Seen::open(bits, &mut self.scratch.bits))
    }
}
