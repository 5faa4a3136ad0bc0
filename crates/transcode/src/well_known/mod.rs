//! The texts of the well-known types: Timestamp, Duration, FieldMask.

pub(crate) mod print;
