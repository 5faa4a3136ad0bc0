//! A field of the request message as what calls are counted by, read from the message's bytes.

use std::borrow::Cow;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use transom_transcode::schema::{Field, Kind, Message, MessageId, Schema, Shape};

/// A path to a single value, as field numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct FieldPath {
    steps: Box<[Step]>,
    kind: Kind,
}

/// One field of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    record: Record,
    /// The other members of its oneof: one of them takes its place.
    rivals: Box<[Record]>,
}

/// How a field is written; a record of the same number and another wire type is an unknown field to who decodes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    number: u32,
    wire_type: WireType,
}

/// The bytes are no message: who decodes it refuses it, or reads it as nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct Broken;

impl FieldPath {
    /// The path to `written`, such as `order.customer_id`, in a message.
    pub(in crate::policy) fn compile(schema: &Schema, mut message: MessageId, written: &str) -> Result<Self, String> {
        let (mut steps, mut kind) = (Vec::new(), Kind::Bool);
        let mut names = written.split('.').peekable();
        while let Some(name) = names.next() {
            let declared = schema.message(message);
            let fields = &declared.fields;
            let Some(field) = fields.iter().find(|field| *field.name == *name) else {
                let names = fields.iter().map(|field| &*field.name);
                let hint = crate::config::nearest(name, names).map(|name| format!("; did you mean `{name}`?"));
                let (message, hint) = (&declared.name, hint.unwrap_or_default());
                return Err(format!("{message} has no field `{name}`{hint}"));
            };
            let single = matches!(field.shape, Shape::Singular);
            match (field.kind, names.peek()) {
                (Kind::Message(inner), Some(_)) if single => message = inner,
                (Kind::Message(_) | Kind::Group(_), _) | (_, Some(_)) => {
                    return Err(format!(
                        "`{name}` in `{written}` is not what the path takes it for; end at a text or a number"
                    ));
                }
                (_, None) if single => {}
                (_, None) => return Err(format!("`{written}` holds several values; name a single one")),
            }
            steps.push(Step::of(field, declared));
            kind = field.kind;
        }
        Ok(Self { steps: steps.into(), kind })
    }

    /// What its value is.
    pub(in crate::policy) fn kind(&self) -> Kind {
        self.kind
    }

    /// Its value in a message, in a form that says equal things equally; `None` if it has none.
    ///
    /// # Errors
    /// The message is none.
    pub(in crate::policy) fn value<'m>(&self, message: &'m [u8]) -> Result<Option<Cow<'m, [u8]>>, Broken> {
        let mut found = None;
        find(message, &self.steps, self.kind, &mut found)?;
        Ok(found)
    }
}

impl Step {
    fn of(field: &Field, message: &Message) -> Self {
        let is_rival = |other: &&Field| field.oneof.is_some() && other.oneof == field.oneof;
        let rivals = message.fields.iter().filter(is_rival).filter(|other| other.number != field.number);
        Self { record: Record::of(field), rivals: rivals.map(Record::of).collect() }
    }
}

impl Record {
    fn of(field: &Field) -> Self {
        let wire_type = match field.kind.wire_type() {
            0 => WireType::Varint,
            1 => WireType::SixtyFourBit,
            3 => WireType::StartGroup,
            5 => WireType::ThirtyTwoBit,
            _ => WireType::LengthDelimited,
        };
        Self { number: field.number, wire_type }
    }
}

/// The last value at the path: the one that counts. A message that comes in several parts is all of them, in order.
fn find<'m>(mut message: &'m [u8], path: &[Step], kind: Kind, found: &mut Option<Cow<'m, [u8]>>) -> Result<(), Broken> {
    let Some((step, inner)) = path.split_first() else { return Ok(()) };
    while !message.is_empty() {
        let (number, wire_type) = decode_key(&mut message).map_err(|_| Broken)?;
        let record = Record { number, wire_type };
        if record != step.record {
            skip_field(wire_type, number, &mut message, DecodeContext::default()).map_err(|_| Broken)?;
            if step.rivals.contains(&record) {
                *found = None;
            }
            continue;
        }
        let value = match wire_type {
            WireType::LengthDelimited => {
                let length = decode_varint(&mut message).ok().and_then(|length| usize::try_from(length).ok());
                Cow::Borrowed(length.and_then(|length| message.split_off(..length)).ok_or(Broken)?)
            }
            // However long it is written, and whatever of it its type has no room for.
            WireType::Varint => {
                let bits = decode_varint(&mut message).map_err(|_| Broken)?;
                Cow::Owned(narrowed(bits, kind).to_le_bytes().to_vec())
            }
            WireType::SixtyFourBit => Cow::Borrowed(message.split_off(..8).ok_or(Broken)?),
            WireType::ThirtyTwoBit => Cow::Borrowed(message.split_off(..4).ok_or(Broken)?),
            WireType::StartGroup | WireType::EndGroup => return Err(Broken),
        };
        match (inner, value) {
            ([], value) => *found = Some(value),
            (_, Cow::Borrowed(part)) => find(part, inner, kind, found)?,
            (_, Cow::Owned(_)) => {}
        }
    }
    Ok(())
}

/// What decoders make of a varint: 32 bits of it, or whether it is any but zero.
fn narrowed(bits: u64, kind: Kind) -> u64 {
    match kind {
        Kind::Bool => u64::from(bits != 0),
        Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Enum(_) => bits & u64::from(u32::MAX),
        _ => bits,
    }
}

#[cfg(test)]
mod tests {
    use prost::encoding::WireType;
    use transom_transcode::schema::Kind;

    use super::{Broken, FieldPath, Record, Step};

    const TEXT: WireType = WireType::LengthDelimited;
    const NUMBER: WireType = WireType::Varint;

    /// The value at a path of fields, each with its wire type; the last one has a rival in its oneof, a text of number 9.
    fn value(message: &[u8], path: &[(u32, WireType)], kind: Kind) -> Result<Option<Vec<u8>>, Broken> {
        let record = |&(number, wire_type): &(u32, WireType)| Record { number, wire_type };
        let mut steps: Vec<_> = path.iter().map(|step| Step { record: record(step), rivals: [].into() }).collect();
        steps.last_mut().unwrap().rivals = [record(&(9, TEXT))].into();
        let found = FieldPath { steps: steps.into(), kind }.value(message)?;
        Ok(found.map(std::borrow::Cow::into_owned))
    }

    fn text(message: &[u8], path: &[u32]) -> Result<Option<Vec<u8>>, Broken> {
        let path: Vec<_> = path.iter().map(|&number| (number, TEXT)).collect();
        value(message, &path, Kind::String)
    }

    fn number(message: &[u8], kind: Kind) -> Result<Option<Vec<u8>>, Broken> {
        value(message, &[(2, NUMBER)], kind)
    }

    #[test]
    fn the_last_value_counts_however_it_is_written() {
        // 1: "a", 2: 300
        let plain = [10, 1, b'a', 16, 0xac, 2];
        let a = Ok(Some(b"a".to_vec()));
        assert_eq!(text(&plain, &[1]), a);
        assert_eq!(number(&plain, Kind::Int64), Ok(Some(300_u64.to_le_bytes().to_vec())));
        assert_eq!(text(&plain, &[3]), Ok(None));
        // A number written with more bytes than it needs is the same number.
        assert_eq!(number(&[16, 0xac, 0x82, 0], Kind::Int64), number(&plain, Kind::Int64));
        assert_eq!(text(&[10, 1, b'a', 10, 1, b'b'], &[1]), Ok(Some(b"b".to_vec())));
        // A group that nobody knows hides nothing, nor does an empty part of the message around it.
        assert_eq!(text(&[10, 1, b'a', 0x2b, 8, 1, 0x2c], &[1]), a);
        assert_eq!(text(&[34, 3, 10, 1, b'a', 34, 0], &[4, 1]), a);
        assert_eq!(text(&[34, 3, 10, 1, b'a', 34, 3, 10, 1, b'b'], &[4, 1]), Ok(Some(b"b".to_vec())));
        for broken in [&[10, 2, b'a'][..], &[10], &[0x0b], &[34, 1, 10], &[10, 1, b'a', 0]] {
            assert_eq!(text(broken, &[1]).and(text(broken, &[4, 1])), Err(Broken), "{broken:?}");
        }
        assert_eq!(number(&[16, 0xff], Kind::Int64), Err(Broken));
    }

    #[test]
    fn nobody_takes_another_value_for_it_than_who_decodes_it() {
        // 1: "a", then field 1 as what it is not: a varint, eight bytes, four, a group.
        let a = Ok(Some(b"a".to_vec()));
        for other in [&[8, 7][..], &[9, 1, 2, 3, 4, 5, 6, 7, 8], &[13, 1, 2, 3, 4], &[11, 8, 1, 12]] {
            let message = [&[10, 1, b'a'], other].concat();
            assert_eq!(text(&message, &[1]), a, "{other:?}");
            let around = [&[34, 3, 10, 1, b'a', 34, u8::try_from(other.len()).unwrap()], other].concat();
            assert_eq!(text(&around, &[4, 1]), a, "{other:?}");
            assert_eq!(text(other, &[1]), Ok(None), "{other:?}");
        }
        // The message around it, as a number.
        assert_eq!(text(&[34, 3, 10, 1, b'a', 32, 1], &[4, 1]), a);
        // Another member of its oneof takes its place, unless it is no such record itself.
        assert_eq!(text(&[10, 1, b'a', 74, 0], &[1]), Ok(None));
        assert_eq!(text(&[74, 0, 10, 1, b'a', 72, 1], &[1]), a);
        // What a type has no room for says nothing.
        let (one, more) = ([16, 1], [16, 0x81, 0x80, 0x80, 0x80, 0x10]);
        assert_eq!(number(&one, Kind::Int32), number(&more, Kind::Int32));
        assert_ne!(number(&one, Kind::Int64), number(&more, Kind::Int64));
        assert_eq!(number(&[16, 7], Kind::Bool), number(&one, Kind::Bool));
    }
}
