//! What absent fields print as.

use super::Halt;
use super::value::{Printer, Scalar};
use crate::schema::{Field, Kind, Presence, Schema, Shape, WellKnown};

/// With `emit_defaults`, the field prints although it is absent: it has no presence, and the message itself declares it.
pub(super) fn is_emitted(field: &Field) -> bool {
    match field.shape {
        Shape::Singular => {
            field.presence == Presence::Implicit
                && field.oneof.is_none()
                && !matches!(field.kind, Kind::Message(_) | Kind::Group(_))
        }
        Shape::Item => false,
        Shape::Repeated | Shape::Packed | Shape::Map => !field.is_extension(),
    }
}

impl<'a> Printer<'a> {
    /// Prints an absent field: its key and its default.
    pub(super) fn absent_field(&mut self, field: &'a Field) -> Result<(), Halt> {
        self.spend(1)?;
        self.text.raw(self.key(field))?;
        self.absent(field)
    }

    /// Prints an absent field that stands alone: `null` for a scalar whose default is another thing than its absence, unless
    /// the schema says what that stands for.
    pub(super) fn absent_alone(&mut self, field: &Field) -> Result<(), Halt> {
        let scalar = field.shape == Shape::Singular && !matches!(field.kind, Kind::Message(_) | Kind::Group(_));
        if scalar && field.presence != Presence::Implicit && field.default.is_empty() {
            return Ok(self.text.raw(b"null,")?);
        }
        self.absent(field)
    }

    /// Prints an absent field's default: the declared one, or its type's.
    fn absent(&mut self, field: &Field) -> Result<(), Halt> {
        match (field.shape, field.kind) {
            (Shape::Repeated | Shape::Packed, _) => self.text.raw(b"[],")?,
            (Shape::Map, _) => self.text.raw(b"{},")?,
            (Shape::Singular | Shape::Item, Kind::Message(id) | Kind::Group(id)) => {
                self.text.raw(match self.schema.message(id).well_known {
                    WellKnown::No | WellKnown::Empty | WellKnown::HttpBody | WellKnown::MessageSet => b"{},",
                    WellKnown::Any | WellKnown::Struct => b"{},",
                    WellKnown::ListValue => b"[],",
                    _ => b"null,",
                })?;
            }
            (Shape::Singular | Shape::Item, kind) if !field.default.is_empty() => {
                let (scalar, _) = Scalar::read(kind, &field.default, 0)?;
                self.scalar_of(&field.default, kind, scalar)?;
            }
            (Shape::Singular | Shape::Item, kind) => self.scalar(kind, zero(self.schema, kind))?,
        }
        Ok(())
    }
}

/// The default of a scalar that declares none; an enum's is its first value.
pub(crate) fn zero(schema: &Schema, kind: Kind) -> Scalar {
    let bits = match kind {
        Kind::Enum(id) => schema.enumeration(id).values.first().map_or(0, |value| u64::from(value.1 as u32)),
        _ => 0,
    };
    Scalar { bits, end: 0 }
}
