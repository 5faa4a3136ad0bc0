//! Messages with a JSON form of their own, given as parts of the input: what both printers share.

use super::value::{Printer, Scalar, entry_fields, last_of};
use super::{Halt, malformed};
use crate::invalid::Invalid;
use crate::schema::{Field, Kind, Message, MessageId, WellKnown};
use crate::scratch::Span;
use crate::well_known::print;

type Done = Result<(), Halt>;

/// The message inside an `Any`.
pub(super) struct Inner<'a> {
    pub(super) id: MessageId,
    pub(super) message: &'a Message,
}

impl Inner<'_> {
    /// Its fields stand beside `@type`; messages with a JSON form of their own stand under `value`.
    pub(super) fn is_inline(&self) -> bool {
        matches!(self.message.well_known, WellKnown::No | WellKnown::HttpBody | WellKnown::MessageSet)
    }
}

impl<'a> Printer<'a> {
    /// Prints a well-known message that holds no other message, and a comma.
    pub(super) fn leaf(&mut self, message: &Message, spans: &[Span]) -> Done {
        match message.well_known {
            WellKnown::Timestamp => {
                let (seconds, nanos) = self.seconds_and_nanos(spans)?;
                let mut buffer = [0; print::TIMESTAMP];
                let text = print::timestamp(seconds, nanos, &mut buffer).map_err(malformed)?;
                self.text.raw(text)?;
            }
            WellKnown::Duration => {
                let (seconds, nanos) = self.seconds_and_nanos(spans)?;
                let mut buffer = [0; print::DURATION];
                let text = print::duration(seconds, nanos, &mut buffer).map_err(malformed)?;
                self.text.raw(text)?;
            }
            WellKnown::FieldMask => self.field_mask(spans)?,
            WellKnown::Wrapper => {
                let Some(field) = message.fields.first() else { return Err(malformed("no wrapper")) };
                let [value] = last_of(self.wire, spans, [field.kind], self.depth)?;
                self.scalar(field.kind, value.unwrap_or_default())?;
            }
            _ => return Err(malformed("the message has no such JSON form")),
        }
        Ok(())
    }

    fn seconds_and_nanos(&self, spans: &[Span]) -> Result<(i64, i32), Halt> {
        let [seconds, nanos] = last_of(self.wire, spans, [Kind::Int64, Kind::Int32], self.depth)?;
        let bits = |value: Option<Scalar>| value.map_or(0, |value| value.bits);
        Ok((bits(seconds) as i64, bits(nanos) as u32 as i32))
    }

    fn field_mask(&mut self, spans: &[Span]) -> Done {
        let mut paths = std::mem::take(&mut self.scratch.paths);
        paths.clear();
        let collected = self.collect_paths(spans, &mut paths);
        let printed = collected.and_then(|()| Ok(self.text.string(&paths, 0, paths.len(), b',')?));
        self.scratch.paths = paths;
        printed
    }

    fn collect_paths(&self, spans: &[Span], paths: &mut Vec<u8>) -> Done {
        use super::reader::{LEN, delimited, skip, tag};
        for span in spans {
            let part = self.wire.get(..span.end()).unwrap_or_default();
            let mut at = span.start();
            while at < part.len() {
                let (tag, value) = tag(part, at)?;
                if tag.number() != 1 || tag.wire_type() != LEN {
                    at = skip(part, tag, value, self.depth)?;
                    continue;
                }
                let (start, end) = delimited(part, value)?;
                if !paths.is_empty() {
                    paths.push(b',');
                }
                print::path(&part[start..end], paths).map_err(malformed)?;
                at = end;
            }
        }
        Ok(())
    }

    /// Prints an `Any` up to where its message's fields or value go; none if all of it is printed: it is empty, or of a type
    /// that nobody knows.
    pub(super) fn open_any(&mut self, spans: &[Span]) -> Result<Option<(Inner<'a>, Scalar)>, Halt> {
        let found = last_of(self.wire, spans, [Kind::String, Kind::Bytes], self.depth)?;
        let [url, value] = found.map(Option::unwrap_or_default);
        if url.is_default(Kind::String) {
            if value.is_default(Kind::Bytes) {
                self.text.raw(b"{},")?;
                return Ok(None);
            }
            return Err(malformed("a google.protobuf.Any has a value but no type"));
        }
        self.enter()?;
        self.text.raw(b"{\"@type\":")?;
        self.text.string(self.wire, url.start(), url.end, b',')?;
        let Some(inner) = self.inner(&self.wire[url.start()..url.end])? else {
            self.text.raw(b"\"value\":")?;
            self.text.base64(&self.wire[value.start()..value.end])?;
            return self.close_any().map(|()| None);
        };
        if !inner.is_inline() {
            self.text.raw(b"\"value\":")?;
        }
        Ok(Some((inner, value)))
    }

    /// Closes what [`Printer::open_any`] opened.
    pub(super) fn close_any(&mut self) -> Done {
        self.leave();
        Ok(self.text.close(b'}')?)
    }

    /// The type of an `Any`, if it is known; where it has to be, that it is not.
    fn inner(&self, url: &[u8]) -> Result<Option<Inner<'a>>, Halt> {
        let url = String::from_utf8_lossy(url);
        let name = url.rsplit_once('/').map(|(_, name)| name);
        match name.and_then(|name| self.schema.message_named(name)) {
            Some(id) => Ok(Some(Inner { id, message: self.schema.message(id) })),
            None if self.options.unknown_any => Ok(None),
            None => Err(Invalid::new(format!("no loaded schema knows the type {url:?}")).into()),
        }
    }

    /// A number in a `google.protobuf.Value` must be one that JSON has.
    pub(super) fn check_finite(&self, field: &Field, wire: &[u8], at: usize) -> Done {
        if field.kind != Kind::Double {
            return Ok(());
        }
        let (scalar, _) = Scalar::read(field.kind, wire, at)?;
        if f64::from_bits(scalar.bits).is_finite() {
            Ok(())
        } else {
            Err(malformed("a google.protobuf.Value holds a number that JSON does not have"))
        }
    }

    /// The fields of a map's entries.
    #[inline]
    pub(super) fn entry_fields(&self, map: &Field) -> Option<(&'a Field, &'a Field)> {
        entry_fields(self.schema, map)
    }

    /// A map's key in the path of a refusal: `["a"]`, `[7]`.
    #[cold]
    pub(super) fn key_path(&self, kind: Kind, key: Scalar) -> String {
        let wire = self.wire.get(key.start()..key.end).unwrap_or_default();
        match kind {
            Kind::String => return format!("[{:?}]", String::from_utf8_lossy(wire)),
            Kind::Bool => return format!("[{}]", key.bits != 0),
            _ => {}
        }
        let text = crate::json::print::Text::new(Vec::new(), 32, 64);
        let mut printer = Printer { text, scratch: &mut Default::default(), ..*self };
        let _ = printer.scalar(kind, key);
        let (out, _) = printer.text.finish(true);
        format!("[{}]", String::from_utf8_lossy(&out).trim_matches('"'))
    }
}
