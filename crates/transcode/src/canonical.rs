//! Protobuf wire format → the same message as one encoder writes it: canonical.
//!
//! Fields stand in the order of their declaration, each once; submessages that came in parts are merged, replaced values
//! are gone, repeated scalars are packed where the schema says so, varints are as short as they can be, maps are sorted by
//! key. What the schema does not know stays as it came, behind the known fields of its message. Reading follows the rules
//! of [`crate::to_json`], with one addition: strings that must be UTF-8 are checked.

use std::ops::Range;

use crate::invalid::{Invalid, Kind as Refusal};
use crate::plan::{Limits, budget};
use crate::schema::{Field, Kind, Message, MessageId, Presence, Schema, Shape, Tag};
use crate::scratch::{Scratch, Span};
use crate::to_json::defaults::zero;
use crate::to_json::reader::{self, VARINT};
use crate::to_json::records::{Collected, Reading};
use crate::to_json::value::{Scalar, entry_fields, is_packed, is_unknown};
use crate::to_json::{Halt, countable, malformed};
use crate::to_wire::scalar::put;
use crate::to_wire::wire::Wire;

type Done = Result<(), Halt>;

/// Appends `message` in canonical form to `out`.
///
/// # Errors
/// The bytes are no message of the type `id`, or exceed `limits`; `out` is then as it was.
pub fn canonical(
    schema: &Schema,
    id: MessageId,
    message: &[u8],
    limits: &Limits,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), Invalid> {
    countable(message)?;
    let start = out.len();
    let (depth, mut work) = (limits.depth.min(Limits::DEEPEST), budget(message.len()));
    let mut writer = Writer {
        reading: Reading { schema, wire: message, scratch: &mut scratch.json, depth, work: &mut work },
        out: Wire::new(std::mem::take(out), &mut scratch.wire.fixups),
        limit: start.saturating_add(limits.output),
    };
    let mark = writer.out.mark();
    writer.reading.begin();
    let done = writer.message(id, 0..1);
    if done.is_ok() {
        writer.out.settle(mark);
    }
    *out = writer.out.into_bytes();
    done.map_err(|halt| {
        out.truncate(start);
        halt.into()
    })
}

/// One message on its way to its canonical form.
struct Writer<'a, 'b> {
    reading: Reading<'a, 'b>,
    out: Wire<'b>,
    /// How long the output may become.
    limit: usize,
}

impl<'a> Writer<'a, '_> {
    /// Writes the content of the message whose parts are the records `parts`.
    fn message(&mut self, id: MessageId, parts: Range<usize>) -> Done {
        let message = self.reading.schema.message(id);
        self.reading.enter()?;
        let Collected { first, unknown } = self.reading.collect(message, parts.clone())?;
        let mut at = first;
        while at < self.reading.scratch.records.len() {
            let ((records, end), field) = self.reading.next_field(message, at);
            at = end;
            self.field(field, records).map_err(|halt| halt.within(&field.name))?;
            self.fits()?;
        }
        self.reading.scratch.records.truncate(first);
        if unknown {
            self.unknown(message, parts)?;
        }
        self.reading.leave();
        Ok(())
    }

    /// Writes one field from all of its records.
    fn field(&mut self, field: &'a Field, records: Range<usize>) -> Done {
        match (field.shape, field.kind) {
            (Shape::Singular | Shape::Item, Kind::Message(_) | Kind::Group(_)) => self.submessage(field, records),
            (Shape::Singular | Shape::Item, kind) => {
                let scalar = self.reading.value_of(kind, records.end - 1)?;
                if field.presence == Presence::Implicit && scalar.is_default(kind) {
                    return Ok(());
                }
                self.out.tag(field.tag);
                self.scalar(field, scalar)
            }
            (Shape::Repeated, Kind::Message(_) | Kind::Group(_)) => {
                for (index, at) in records.enumerate() {
                    self.submessage(field, at..at + 1).map_err(|halt| halt.within_element(index))?;
                }
                Ok(())
            }
            (Shape::Repeated, _) => self.each(field, records, |writer, scalar| {
                writer.out.tag(field.tag);
                writer.scalar(field, scalar)
            }),
            (Shape::Packed, _) => {
                let mark = self.out.mark();
                self.out.tag(field.tag);
                let list = self.out.open();
                let start = self.out.len();
                self.each(field, records, |writer, scalar| writer.scalar(field, scalar))?;
                if self.out.len() == start {
                    self.out.rewind(mark);
                } else {
                    self.out.close(list);
                }
                Ok(())
            }
            (Shape::Map, _) => self.map(field, records),
        }
    }

    /// Writes the record of a submessage.
    fn submessage(&mut self, field: &Field, parts: Range<usize>) -> Done {
        let (Kind::Message(id) | Kind::Group(id)) = field.kind else { return Err(malformed("no message")) };
        match (field.shape, field.kind) {
            (Shape::Item, _) => {
                let item = self.out.open_item(field.number);
                self.message(id, parts)?;
                self.out.close_item(item);
            }
            (_, Kind::Group(_)) => {
                self.out.tag(field.tag);
                self.message(id, parts)?;
                self.out.end_group(field.number);
            }
            _ => {
                self.out.tag(field.tag);
                let record = self.out.open();
                self.message(id, parts)?;
                self.out.close(record);
            }
        }
        Ok(())
    }

    /// Hands out the scalars of a list, whichever way they lie in their records; unknown enum values are left out.
    fn each(&mut self, field: &Field, records: Range<usize>, mut write: impl FnMut(&mut Self, Scalar) -> Done) -> Done {
        let kind = field.kind;
        for at in records {
            let record = self.reading.scratch.records[at];
            if !is_packed(field, record.wire_type) {
                let scalar = self.reading.value_of(kind, at)?;
                write(self, scalar)?;
                continue;
            }
            let wire = &self.reading.wire[..record.span.end()];
            let mut at = record.span.start();
            while at < wire.len() {
                let (scalar, end) = Scalar::read(kind, wire, at)?;
                at = end;
                if !is_unknown(self.reading.schema, kind, scalar) {
                    write(self, scalar)?;
                }
            }
            self.fits()?;
        }
        Ok(())
    }

    /// Writes the entries of a map; the last entry of a key counts.
    fn map(&mut self, map: &'a Field, records: Range<usize>) -> Done {
        let (Some((key_field, value_field)), Kind::Message(entry)) = (entry_fields(self.reading.schema, map), map.kind)
        else {
            return Err(malformed("no map"));
        };
        let entry = self.reading.schema.message(entry);
        let entries = self.reading.entries(map, records)?;
        for at in entries.clone() {
            if self.reading.is_replaced(key_field.kind, at, entries.end) {
                continue;
            }
            let (key, record) = self.reading.entry(at);
            let Collected { first, .. } = self.reading.collect(entry, record..record + 1)?;
            let values = self.reading.value_records(first);
            self.out.tag(map.tag);
            let record = self.out.open();
            self.out.tag(key_field.tag);
            self.scalar(key_field, key)?;
            match value_field.kind {
                Kind::Message(_) | Kind::Group(_) => self.submessage(value_field, values)?,
                kind => {
                    let value = match values.is_empty() {
                        true => zero(self.reading.schema, kind),
                        false => self.reading.value_of(kind, values.end - 1)?,
                    };
                    self.out.tag(value_field.tag);
                    self.scalar(value_field, value)?;
                }
            }
            self.out.close(record);
            self.fits()?;
            self.reading.scratch.records.truncate(first);
        }
        self.reading.scratch.entries.truncate(entries.start);
        Ok(())
    }

    /// Writes a scalar without its tag.
    fn scalar(&mut self, field: &Field, scalar: Scalar) -> Done {
        match field.kind {
            Kind::String | Kind::Bytes => {
                let text = &self.reading.wire[scalar.start()..scalar.end.max(scalar.start())];
                if field.kind == Kind::String && field.utf8 && simdutf8::basic::from_utf8(text).is_err() {
                    return Err(malformed("the string is not UTF-8"));
                }
                self.out.text(text);
            }
            // Negative ones take ten bytes, as if they had 64 bits.
            Kind::Int32 | Kind::Enum(_) => self.out.varint(i64::from(scalar.bits as u32 as i32) as u64),
            kind => put(&mut self.out, kind, scalar.bits),
        }
        Ok(())
    }

    /// Writes what sets nothing in a message, as it came.
    fn unknown(&mut self, message: &Message, parts: Range<usize>) -> Done {
        for part in parts {
            let span = self.reading.scratch.records[part].span;
            let wire = &self.reading.wire[..span.end()];
            let mut at = span.start();
            while at < wire.len() {
                let (tag, value) = reader::tag(wire, at)?;
                let (span, end) = self.reading.span(wire, tag, value)?;
                match self.reading.known(message, tag, span)? {
                    None => self.out.raw(&wire[at..end]),
                    Some((slot, wire_type, span)) => {
                        let field = &message.fields[slot];
                        if matches!(field.kind, Kind::Enum(_)) && is_packed(field, wire_type) {
                            self.unknown_elements(field, span)?;
                        }
                    }
                }
                self.fits()?;
                at = end;
            }
        }
        Ok(())
    }

    /// Writes the values of a packed record that its closed enum does not have, a record each.
    fn unknown_elements(&mut self, field: &Field, span: Span) -> Done {
        let wire = &self.reading.wire[..span.end()];
        let mut at = span.start();
        while at < wire.len() {
            let (scalar, end) = Scalar::read(field.kind, wire, at)?;
            at = end;
            if is_unknown(self.reading.schema, field.kind, scalar) {
                self.out.tag(Tag::new(field.number, VARINT));
                self.scalar(field, scalar)?;
            }
        }
        Ok(())
    }

    /// Refuses an output that has become too long.
    fn fits(&self) -> Done {
        if self.out.settled_len() > self.limit {
            return Err(Invalid::new("the message would exceed its size limit").of(Refusal::TooLarge).into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
