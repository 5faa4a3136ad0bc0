//! What an expression's value is, as far as that shows before it has one.

use crate::schema::{Field, Kind, MessageId, Schema, Shape, WellKnown};

/// A type of CEL.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    /// Shown by the value alone.
    Dyn,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    List(Box<Self>),
    Map(Box<Self>, Box<Self>),
    Message(MessageId),
    Timestamp,
    Duration,
}

impl Type {
    /// The type of a whole field.
    pub(super) fn of_field(schema: &Schema, field: &Field) -> Self {
        match (field.shape, field.kind) {
            (Shape::Map, Kind::Message(entry)) => match &*schema.message(entry).fields {
                [key, value, ..] => {
                    Self::Map(Box::new(Self::of(schema, key.kind)), Box::new(Self::of(schema, value.kind)))
                }
                _ => Self::Dyn,
            },
            (Shape::Repeated | Shape::Packed, kind) => Self::List(Box::new(Self::of(schema, kind))),
            (_, kind) => Self::of(schema, kind),
        }
    }

    /// The type of one value of a kind. A wrapper is what it wraps, or null.
    pub(super) fn of(schema: &Schema, kind: Kind) -> Self {
        match kind {
            Kind::Double | Kind::Float => Self::Double,
            Kind::Int32 | Kind::Int64 | Kind::Sint32 | Kind::Sint64 | Kind::Sfixed32 | Kind::Sfixed64 => Self::Int,
            Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => Self::Uint,
            Kind::Enum(_) => Self::Int,
            Kind::Bool => Self::Bool,
            Kind::String => Self::String,
            Kind::Bytes => Self::Bytes,
            Kind::Message(id) | Kind::Group(id) => match schema.message(id).well_known {
                WellKnown::Timestamp => Self::Timestamp,
                WellKnown::Duration => Self::Duration,
                WellKnown::Wrapper | WellKnown::Struct | WellKnown::Value | WellKnown::ListValue | WellKnown::Any => {
                    Self::Dyn
                }
                _ => Self::Message(id),
            },
        }
    }

    /// What its elements are, when it is gone through; of a map its keys.
    pub(super) fn element(&self) -> Self {
        match self {
            Self::List(element) => (**element).clone(),
            Self::Map(key, _) => (**key).clone(),
            _ => Self::Dyn,
        }
    }
}
