//! JSON text (RFC 8259): read token by token, written byte by byte; never a tree of values.

pub(crate) mod number;
pub(crate) mod print;
pub(crate) mod scan;
