//! Declared defaults: from the text of `FieldDescriptorProto.default_value` to the bytes of the wire.

use prost::encoding::encode_varint;

use super::{Kind, Schema};

/// The canonical wire value without a tag (strings and bytes with their length); none if the text is no such value.
pub(super) fn encode(schema: &Schema, kind: Kind, text: &str) -> Option<Box<[u8]>> {
    let varint = |value: u64| {
        let mut out = Vec::new();
        encode_varint(value, &mut out);
        out
    };
    let delimited = |bytes: &[u8]| [varint(bytes.len() as u64).as_slice(), bytes].concat();
    let signed = || text.parse::<i64>().ok();
    let small = || text.parse::<i32>().ok();
    let out = match kind {
        Kind::Double => text.parse::<f64>().ok()?.to_le_bytes().to_vec(),
        Kind::Float => text.parse::<f32>().ok()?.to_le_bytes().to_vec(),
        Kind::Int64 => varint(signed()? as u64),
        Kind::Int32 => varint(i64::from(small()?) as u64),
        Kind::Uint64 => varint(text.parse().ok()?),
        Kind::Uint32 => varint(u64::from(text.parse::<u32>().ok()?)),
        Kind::Sint64 => signed().map(|value| varint((value << 1 ^ value >> 63) as u64))?,
        Kind::Sint32 => small().map(|value| varint(u64::from((value << 1 ^ value >> 31) as u32)))?,
        Kind::Fixed64 => text.parse::<u64>().ok()?.to_le_bytes().to_vec(),
        Kind::Sfixed64 => signed()?.to_le_bytes().to_vec(),
        Kind::Fixed32 => text.parse::<u32>().ok()?.to_le_bytes().to_vec(),
        Kind::Sfixed32 => small()?.to_le_bytes().to_vec(),
        Kind::Bool => vec![u8::from(text.parse::<bool>().ok()?)],
        Kind::Enum(id) => varint(i64::from(schema.enumeration(id).number_of(text)?) as u64),
        Kind::String => delimited(text.as_bytes()),
        Kind::Bytes => delimited(&unescape(text)?),
        Kind::Message(_) | Kind::Group(_) => return None,
    };
    Some(out.into())
}

/// Undoes the C escapes that protoc writes in the defaults of bytes fields.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut rest = text.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let [kind, tail @ ..] = rest else { return None };
        let (radix, digits) = match kind {
            b'x' | b'X' => (16, tail),
            b'0'..=b'7' => (8, rest),
            _ => {
                rest = tail;
                out.push(match kind {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    b'f' => 12,
                    b'v' => 11,
                    b'\\' | b'\'' | b'"' | b'?' => *kind,
                    _ => return None,
                });
                continue;
            }
        };
        let most = if radix == 16 { 2 } else { 3 };
        let len = digits.iter().take(most).take_while(|digit| char::from(**digit).is_digit(radix)).count();
        let digits_text = std::str::from_utf8(&digits[..len]).ok()?;
        out.push(u8::from_str_radix(digits_text, radix).ok()?);
        rest = &digits[len..];
    }
    Some(out)
}
