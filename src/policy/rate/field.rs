//! A field of the request message as what calls are counted by, read from the message's bytes.

use std::borrow::Cow;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use transom_transcode::schema::{Kind, MessageId, Schema, Shape};

/// A path to a single value, as field numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct FieldPath {
    numbers: Box<[u32]>,
    kind: Kind,
}

impl FieldPath {
    /// The path to `written`, such as `order.customer_id`, in a message.
    pub(in crate::policy) fn compile(schema: &Schema, mut message: MessageId, written: &str) -> Result<Self, String> {
        let (mut numbers, mut kind) = (Vec::new(), Kind::Bool);
        let mut names = written.split('.').peekable();
        while let Some(name) = names.next() {
            let fields = &schema.message(message).fields;
            let Some(field) = fields.iter().find(|field| *field.name == *name) else {
                let names = fields.iter().map(|field| &*field.name);
                let hint = crate::config::nearest(name, names).map(|name| format!("; did you mean `{name}`?"));
                let (message, hint) = (&schema.message(message).name, hint.unwrap_or_default());
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
            numbers.push(field.number);
            kind = field.kind;
        }
        Ok(Self { numbers: numbers.into(), kind })
    }

    /// What its value is.
    pub(in crate::policy) fn kind(&self) -> Kind {
        self.kind
    }

    /// Its value in a message, in a form that says equal things equally; `None` if it has none, or is broken.
    pub(in crate::policy) fn value<'m>(&self, message: &'m [u8]) -> Option<Cow<'m, [u8]>> {
        find(message, &self.numbers)
    }
}

/// The last value at the path: the one that counts. A message that comes in several parts is all of them, in order.
fn find<'m>(mut message: &'m [u8], path: &[u32]) -> Option<Cow<'m, [u8]>> {
    let (first, inner) = path.split_first()?;
    let mut found = None;
    while !message.is_empty() {
        let (number, wire_type) = decode_key(&mut message).ok()?;
        if number != *first {
            skip_field(wire_type, number, &mut message, DecodeContext::default()).ok()?;
            continue;
        }
        let value = match wire_type {
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
                Cow::Borrowed(message.split_off(..length)?)
            }
            // However long it is written.
            WireType::Varint => Cow::Owned(decode_varint(&mut message).ok()?.to_le_bytes().to_vec()),
            WireType::SixtyFourBit => Cow::Borrowed(message.split_off(..8)?),
            WireType::ThirtyTwoBit => Cow::Borrowed(message.split_off(..4)?),
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        found = match (inner, value) {
            ([], value) => Some(value),
            (_, Cow::Borrowed(part)) => find(part, inner).or(found),
            (_, Cow::Owned(_)) => found,
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::find;

    #[test]
    fn the_last_value_counts_however_it_is_written() {
        let value = |message: &[u8], path: &[u32]| find(message, path).map(Cow::into_owned);
        // 1: "a", 2: 300
        let plain = [10, 1, b'a', 16, 0xac, 2];
        assert_eq!(value(&plain, &[1]), Some(b"a".to_vec()));
        assert_eq!(value(&plain, &[2]), Some(300_u64.to_le_bytes().to_vec()));
        assert_eq!(value(&plain, &[3]), None);
        // A number written with more bytes than it needs is the same number.
        assert_eq!(value(&[16, 0xac, 0x82, 0], &[2]), value(&plain, &[2]));
        assert_eq!(value(&[10, 1, b'a', 10, 1, b'b'], &[1]), Some(b"b".to_vec()));
        // A group that nobody knows hides nothing, nor does an empty part of the message around it.
        assert_eq!(value(&[10, 1, b'a', 0x2b, 8, 1, 0x2c], &[1]), Some(b"a".to_vec()));
        assert_eq!(value(&[34, 3, 10, 1, b'a', 34, 0], &[4, 1]), Some(b"a".to_vec()));
        assert_eq!(value(&[34, 3, 10, 1, b'a', 34, 3, 10, 1, b'b'], &[4, 1]), Some(b"b".to_vec()));
        // Broken ones have none: the upstream will not take them either.
        for broken in [&[10, 2, b'a'][..], &[10], &[16, 0xff], &[0x0b], &[34, 1, 10]] {
            assert_eq!(value(broken, &[1]).or(value(broken, &[4, 1])), None, "{broken:?}");
        }
    }
}
