//! The printer's state, and how scalars are read and printed: the ground of both printers.

use super::reader::{self, delimited, fixed32, fixed64, too_deep, varint};
use super::{Halt, malformed};
use crate::invalid::{Invalid, Kind as Refusal};
use crate::json::print::Text;
use crate::plan::{OutOptions, budget};
use crate::schema::{EnumId, Field, Kind, Presence, Schema, Shape};
use crate::scratch::{Json, Span};

/// The largest integer up to which every one is a number that JSON readers keep.
const EXACT: u64 = 1 << 53;

type Done = Result<(), Halt>;

/// One message on its way to JSON.
pub(super) struct Printer<'a> {
    pub(super) schema: &'a Schema,
    /// The whole input; positions count from its start.
    pub(super) wire: &'a [u8],
    pub(super) options: OutOptions,
    pub(super) text: Text,
    pub(super) scratch: &'a mut Json,
    /// Levels that may still be entered.
    pub(super) depth: u16,
    /// Work that may still be done beyond reading the input.
    pub(super) work: usize,
}

/// A scalar that was read: its bits, or where a string or bytes lie.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scalar {
    /// Bits of numbers, cut to the field's width, zigzag still applied; for strings and bytes the first byte's position.
    pub(crate) bits: u64,
    /// For strings and bytes, the position behind the last byte.
    pub(crate) end: usize,
}

impl Scalar {
    /// Reads one value of a scalar kind at `at`, and says where it ends.
    #[inline(always)]
    pub(crate) fn read(kind: Kind, wire: &[u8], at: usize) -> Result<(Self, usize), Halt> {
        let number = |(bits, at): (u64, usize)| (Self { bits, end: 0 }, at);
        Ok(match kind {
            Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Group(_) => {
                let (start, end) = delimited(wire, at)?;
                (Self { bits: start as u64, end }, end)
            }
            Kind::Int64 | Kind::Uint64 | Kind::Sint64 => number(varint(wire, at)?),
            Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Enum(_) => {
                let (bits, at) = varint(wire, at)?;
                number((bits & u64::from(u32::MAX), at))
            }
            Kind::Bool => {
                let (bits, at) = varint(wire, at)?;
                number((u64::from(bits != 0), at))
            }
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => number(fixed64(wire, at)?),
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => {
                let (bits, at) = fixed32(wire, at)?;
                number((u64::from(bits), at))
            }
        })
    }

    /// It is its kind's zero or empty value.
    #[inline]
    pub(crate) fn is_default(self, kind: Kind) -> bool {
        match kind {
            Kind::String | Kind::Bytes => self.start() == self.end,
            _ => self.bits == 0,
        }
    }

    #[inline]
    pub(crate) fn start(self) -> usize {
        self.bits as usize
    }
}

impl<'a> Printer<'a> {
    /// Forgets what was printed, for the second printer.
    pub(super) fn restart(&mut self, depth: u16) {
        self.text.restart();
        self.depth = depth;
        self.work = budget(self.wire.len());
    }

    /// Goes one level down.
    #[inline]
    pub(super) fn enter(&mut self) -> Done {
        match self.depth.checked_sub(1) {
            Some(depth) => {
                self.depth = depth;
                Ok(())
            }
            None => Err(too_deep()),
        }
    }

    /// Goes one level up.
    #[inline]
    pub(super) fn leave(&mut self) {
        self.depth += 1;
    }

    /// Takes work from the budget.
    #[inline]
    pub(super) fn spend(&mut self, work: usize) -> Done {
        spend(&mut self.work, work)
    }

    /// The field's key as the options want it.
    #[inline]
    pub(super) fn key(&self, field: &'a Field) -> &'a [u8] {
        if self.options.proto_names { &field.proto_key } else { &field.json_key }
    }

    /// The value is no value of its closed enum: the record counts as an unknown field.
    #[inline]
    pub(super) fn is_unknown(&self, kind: Kind, scalar: Scalar) -> bool {
        is_unknown(self.schema, kind, scalar)
    }

    /// A singular field's default need not be printed.
    #[inline]
    pub(super) fn omits(&self, field: &Field, key: &[u8]) -> bool {
        field.presence == Presence::Implicit && !self.options.emit_defaults && !key.is_empty()
    }

    /// Prints a scalar and a comma.
    #[inline]
    pub(super) fn scalar(&mut self, kind: Kind, scalar: Scalar) -> Done {
        let wire = self.wire;
        self.scalar_of(wire, kind, scalar)
    }

    /// Prints a scalar that was read from `source`, and a comma.
    #[inline]
    pub(super) fn scalar_of(&mut self, source: &[u8], kind: Kind, scalar: Scalar) -> Done {
        let bits = scalar.bits;
        match kind {
            Kind::String => self.text.string(source, scalar.start(), scalar.end, b',')?,
            Kind::Bytes => self.text.base64(source.get(scalar.start()..scalar.end).unwrap_or_default())?,
            Kind::Int64 | Kind::Sfixed64 => self.signed(bits as i64)?,
            Kind::Sint64 => self.signed(unzigzag(bits))?,
            Kind::Uint64 | Kind::Fixed64 => self.unsigned(bits)?,
            Kind::Int32 | Kind::Sfixed32 => self.text.integer(bits as u32 as i32)?,
            Kind::Sint32 => self.text.integer(unzigzag(bits) as i32)?,
            Kind::Uint32 | Kind::Fixed32 => self.text.integer(bits as u32)?,
            Kind::Bool => self.text.bool(bits != 0)?,
            Kind::Enum(id) => self.enumeration(id, bits as u32 as i32)?,
            Kind::Double => self.text.float(f64::from_bits(bits))?,
            Kind::Float => self.text.float(f32::from_bits(bits as u32))?,
            Kind::Message(_) | Kind::Group(_) => return Err(malformed("a message stands where a scalar must")),
        }
        Ok(())
    }

    /// Prints a map's key and its colon.
    pub(super) fn map_key(&mut self, kind: Kind, key: Scalar) -> Done {
        let bits = key.bits;
        match kind {
            Kind::String => self.text.string(self.wire, key.start(), key.end, b':')?,
            Kind::Int64 | Kind::Sfixed64 => self.text.quoted(bits as i64, b':')?,
            Kind::Sint64 => self.text.quoted(unzigzag(bits), b':')?,
            Kind::Uint64 | Kind::Fixed64 => self.text.quoted(bits, b':')?,
            Kind::Int32 | Kind::Sfixed32 => self.text.quoted(bits as u32 as i32, b':')?,
            Kind::Sint32 => self.text.quoted(unzigzag(bits) as i32, b':')?,
            Kind::Uint32 | Kind::Fixed32 => self.text.quoted(bits as u32, b':')?,
            Kind::Bool => self.text.raw(if bits == 0 { b"\"false\":" } else { b"\"true\":" })?,
            _ => return Err(malformed("the map's key is of a type that no key has")),
        }
        Ok(())
    }

    #[inline]
    fn signed(&mut self, value: i64) -> Done {
        if self.options.int64_as_numbers {
            exact(value.unsigned_abs())?;
            return Ok(self.text.integer(value)?);
        }
        Ok(self.text.quoted(value, b',')?)
    }

    #[inline]
    fn unsigned(&mut self, value: u64) -> Done {
        if self.options.int64_as_numbers {
            exact(value)?;
            return Ok(self.text.integer(value)?);
        }
        Ok(self.text.quoted(value, b',')?)
    }

    fn enumeration(&mut self, id: EnumId, number: i32) -> Done {
        let declared = self.schema.enumeration(id);
        if declared.null_value {
            return Ok(self.text.raw(b"null,")?);
        }
        match declared.name_of(number) {
            Some(name) if !self.options.enums_as_numbers => Ok(self.text.identifier(name)?),
            _ => Ok(self.text.integer(number)?),
        }
    }
}

/// Takes work from a budget.
#[inline]
pub(crate) fn spend(budget: &mut usize, work: usize) -> Done {
    match budget.checked_sub(work) {
        Some(left) => {
            *budget = left;
            Ok(())
        }
        None => Err(Invalid::new("reading it would take too much work").of(Refusal::TooMuchWork).into()),
    }
}

/// The value is no value of its closed enum.
#[inline]
pub(crate) fn is_unknown(schema: &Schema, kind: Kind, scalar: Scalar) -> bool {
    match kind {
        Kind::Enum(id) => {
            let declared = schema.enumeration(id);
            declared.closed && declared.name_of(scalar.bits as u32 as i32).is_none()
        }
        _ => false,
    }
}

/// The fields of a map's entries: key and value.
#[inline]
pub(crate) fn entry_fields<'a>(schema: &'a Schema, map: &Field) -> Option<(&'a Field, &'a Field)> {
    let Kind::Message(entry) = map.kind else { return None };
    match &*schema.message(entry).fields {
        [key, value, ..] => Some((key, value)),
        _ => None,
    }
}

/// The singular values of fields 1 to `N` in a message that is given as parts: the last of each counts.
#[inline(always)]
pub(crate) fn last_of<const N: usize>(
    wire: &[u8],
    spans: &[Span],
    kinds: [Kind; N],
    depth: u16,
) -> Result<[Option<Scalar>; N], Halt> {
    let mut found = [None; N];
    for span in spans {
        let part = wire.get(..span.end()).unwrap_or_default();
        let mut at = span.start();
        while at < part.len() {
            let (tag, value) = reader::tag(part, at)?;
            let index = tag.number() as usize - 1;
            at = match kinds.get(index) {
                Some(kind) if kind.wire_type() == tag.wire_type() => {
                    let (scalar, end) = Scalar::read(*kind, part, value)?;
                    found[index] = Some(scalar);
                    end
                }
                _ => reader::skip(part, tag, value, depth)?,
            };
        }
    }
    Ok(found)
}

/// Records with this wire type belong to the field; others are unknown fields.
#[inline]
pub(crate) fn accepts(field: &Field, wire_type: u8) -> bool {
    let own = field.kind.wire_type();
    own == wire_type || (wire_type == reader::LEN && is_packed(field, wire_type))
}

/// A record of this wire type holds packed elements.
#[inline]
pub(crate) fn is_packed(field: &Field, wire_type: u8) -> bool {
    wire_type == reader::LEN
        && !matches!(field.shape, Shape::Singular)
        && !matches!(field.kind.wire_type(), reader::LEN | reader::GROUP)
}

#[inline]
pub(crate) fn unzigzag(bits: u64) -> i64 {
    (bits >> 1) as i64 ^ -((bits & 1) as i64)
}

fn exact(magnitude: u64) -> Done {
    if magnitude <= EXACT { Ok(()) } else { Err(malformed("the integer is beyond 2^53 and cannot be a JSON number")) }
}
