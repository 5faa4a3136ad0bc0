//! The texts of the well-known types: Timestamp, Duration, FieldMask.

pub(crate) mod parse;
pub(crate) mod print;
