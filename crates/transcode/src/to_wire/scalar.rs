//! Numbers, booleans and enums: from a JSON token or from text (map keys, parameters) to their bits on the wire.

use std::borrow::Cow;

use crate::invalid::{Fail, Invalid};
use crate::json::number::{self, Integer};
use crate::json::scan::{self, echo};
use crate::plan::Unknown;
use crate::schema::{EnumId, Field, Kind, Schema};
use crate::to_wire::Translation;
use crate::to_wire::wire::Wire;

impl Translation<'_> {
    /// Reads one scalar other than strings and bytes; `None` is an unknown enum value that is read over.
    #[inline]
    pub(super) fn bits(&mut self, kind: Kind) -> Result<Option<u64>, Fail> {
        match kind {
            Kind::Enum(id) => self.enumeration(id),
            Kind::Bool => self.boolean().map(Some),
            Kind::Double | Kind::Float => self.float(kind).map(Some),
            _ => self.integer(kind).map(Some),
        }
    }

    #[inline]
    fn boolean(&mut self) -> Result<u64, Fail> {
        match self.scan.peek() {
            b't' => self.scan.word(b"true").map(|()| 1),
            b'f' => self.scan.word(b"false").map(|()| 0),
            _ => Err(self.scan.expected("true or false")),
        }
    }

    #[inline]
    fn integer(&mut self, kind: Kind) -> Result<u64, Fail> {
        let quoted = self.scan.peek() == b'"';
        let text = &self.scan.rest()[usize::from(quoted)..];
        if let Some((integer, length)) = number::plain_integer(text)
            && let Some(bits) = integer_bits(kind, integer)
            && (!quoted || text.get(length) == Some(&b'"'))
        {
            self.scan.advance(length + 2 * usize::from(quoted));
            return Ok(bits);
        }
        self.odd_integer(kind)
    }

    /// An integer in any other form: `1.0`, `"1e5"`, twenty digits, escapes; or none.
    #[inline(never)]
    fn odd_integer(&mut self, kind: Kind) -> Result<u64, Fail> {
        let start = self.scan.at();
        let integer = match self.scan.peek() {
            b'"' => self.with_string(|_, text| Ok(number::integer(text)))?,
            b'-' | b'0'..=b'9' => number::integer(self.scan.number()?),
            _ => Err(number::NotInteger::Syntax),
        };
        integer.ok().and_then(|integer| integer_bits(kind, integer)).ok_or_else(|| {
            self.scan.rewind(start);
            self.scan.expected(range(kind))
        })
    }

    fn float(&mut self, kind: Kind) -> Result<u64, Fail> {
        let start = self.scan.at();
        let bits = match self.scan.peek() {
            b'-' | b'0'..=b'9' => float_bits(kind, self.scan.number()?),
            b'"' => self.with_string(|_, text| Ok(text_float_bits(kind, text)))?,
            _ => None,
        };
        bits.ok_or_else(|| {
            self.scan.rewind(start);
            self.scan.expected(range(kind))
        })
    }

    /// An enum by name or number. `null` is the one value of `google.protobuf.NullValue`.
    fn enumeration(&mut self, id: EnumId) -> Result<Option<u64>, Fail> {
        let enumeration = self.schema.enumeration(id);
        let start = self.scan.at();
        let number = match self.scan.peek() {
            b'"' => {
                let name = self.scan.string()?;
                if name.escaped {
                    self.scan.rewind(start);
                    self.with_string(|_, text| Ok(enumeration.number_of_bytes(text)))?
                } else {
                    enumeration.number_of_bytes(name.raw)
                }
            }
            b'n' if enumeration.null_value => {
                self.scan.word(b"null")?;
                Some(0)
            }
            b'-' | b'0'..=b'9' => {
                let number = self.integer(Kind::Int32)? as i32;
                // A closed enum has no room for numbers that it does not name.
                (!enumeration.closed || enumeration.name_of(number).is_some()).then_some(number)
            }
            _ => {
                let name = &enumeration.name;
                return Err(self.scan.expected(&format!("a value of {name} by name or number")));
            }
        };
        match number {
            Some(number) => Ok(Some(i64::from(number) as u64)),
            None if self.unknown == Unknown::Ignore => Ok(None),
            None => {
                self.scan.rewind(start);
                let name = &enumeration.name;
                Err(self.scan.expected(&format!("a value of {name} by name or number")))
            }
        }
    }
}

/// The bits of a scalar that is written as text: a map key, a path variable, a query parameter.
pub(super) fn text_bits(schema: &Schema, kind: Kind, text: &[u8]) -> Result<u64, Fail> {
    let bits = match kind {
        Kind::Bool => match text {
            b"true" => Some(1),
            b"false" => Some(0),
            _ => None,
        },
        Kind::Double | Kind::Float => text_float_bits(kind, text),
        Kind::Enum(id) => {
            let enumeration = schema.enumeration(id);
            let named = enumeration.number_of_bytes(text);
            let number = named.or_else(|| {
                let number = integer_bits(Kind::Int32, number::integer(text).ok()?)? as i32;
                (!enumeration.closed || enumeration.name_of(number).is_some()).then_some(number)
            });
            number.map(|number| i64::from(number) as u64)
        }
        _ => number::integer(text).ok().and_then(|integer| integer_bits(kind, integer)),
    };
    bits.ok_or_else(|| {
        let what: Cow<'_, str> = match kind {
            Kind::Enum(id) => format!("a value of {} by name or number", schema.enumeration(id).name).into(),
            Kind::Bool => "true or false".into(),
            _ => range(kind).into(),
        };
        Invalid::new(format!("expected {what}, got \"{}\"", echo(text))).into()
    })
}

/// Writes a scalar's bits in the form of its kind.
#[inline]
pub(crate) fn put(wire: &mut Wire<'_>, kind: Kind, bits: u64) {
    match kind.wire_type() {
        1 => wire.raw(&bits.to_le_bytes()),
        5 => wire.raw(&(bits as u32).to_le_bytes()),
        _ => wire.varint(bits),
    }
}

/// Writes a field's tag and a scalar's bits.
#[inline]
pub(super) fn put_tagged(wire: &mut Wire<'_>, field: &Field, bits: u64) {
    match field.kind.wire_type() {
        0 => wire.tagged_varint(field.tag, bits),
        _ => {
            wire.tag(field.tag);
            put(wire, field.kind, bits);
        }
    }
}

/// An integer's bits, if the kind can hold it.
#[inline]
fn integer_bits(kind: Kind, (negative, magnitude): Integer) -> Option<u64> {
    let unsigned = |max: u64| (magnitude <= max && !(negative && magnitude > 0)).then_some(magnitude);
    let signed = |max: u64| {
        let bits = if negative { magnitude.wrapping_neg() } else { magnitude };
        (magnitude <= max + u64::from(negative)).then_some(bits)
    };
    let zigzag = |bits: u64| (bits << 1) ^ (((bits as i64) >> 63) as u64);
    match kind {
        Kind::Int32 | Kind::Sfixed32 => signed(i32::MAX as u64),
        Kind::Sint32 => signed(i32::MAX as u64).map(zigzag),
        Kind::Int64 | Kind::Sfixed64 => signed(i64::MAX as u64),
        Kind::Sint64 => signed(i64::MAX as u64).map(zigzag),
        Kind::Uint32 | Kind::Fixed32 => unsigned(u64::from(u32::MAX)),
        _ => unsigned(u64::MAX),
    }
}

fn float_bits(kind: Kind, text: &[u8]) -> Option<u64> {
    match kind {
        Kind::Float => number::float(text).map(|value| u64::from(value.to_bits())),
        _ => number::double(text).map(f64::to_bits),
    }
}

fn text_float_bits(kind: Kind, text: &[u8]) -> Option<u64> {
    let special = match text {
        b"NaN" => f64::NAN,
        b"Infinity" => f64::INFINITY,
        b"-Infinity" => f64::NEG_INFINITY,
        _ if number::length(text) == Some(text.len()) => return float_bits(kind, text),
        _ => return None,
    };
    Some(match kind {
        Kind::Float => u64::from((special as f32).to_bits()),
        _ => special.to_bits(),
    })
}

/// What a number must be, in words.
fn range(kind: Kind) -> &'static str {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "an integer from -2147483648 to 2147483647",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "an integer from -9223372036854775808 to 9223372036854775807",
        Kind::Uint32 | Kind::Fixed32 => "an integer from 0 to 4294967295",
        Kind::Uint64 | Kind::Fixed64 => "an integer from 0 to 18446744073709551615",
        Kind::Float => "a number from -3.4028235e38 to 3.4028235e38, \"NaN\", \"Infinity\" or \"-Infinity\"",
        _ => "a number from -1.7976931348623157e308 to 1.7976931348623157e308, \"NaN\", \"Infinity\" or \"-Infinity\"",
    }
}

impl Translation<'_> {
    /// Hands a string's text, escapes read, to `take`; the caller has seen its quote.
    #[inline]
    pub(super) fn with_string<T>(&mut self, take: impl FnOnce(&mut Self, &[u8]) -> Result<T, Fail>) -> Result<T, Fail> {
        let string = self.scan.string()?;
        if !string.escaped {
            return take(self, string.raw);
        }
        let mut text = std::mem::take(self.text);
        text.clear();
        let taken = scan::unescape(string, &mut text).and_then(|()| take(self, &text));
        *self.text = text;
        taken
    }
}
