//! JSON text: the printer.

pub(crate) mod print;
