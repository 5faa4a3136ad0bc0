//! What `to_wire` needs.

use super::held;

/// What JSON → wire keeps.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// Records whose length is open or longer than one byte.
    pub(crate) fixups: Vec<Fixup>,
    /// The same, while bound values are encoded.
    pub(crate) bound_fixups: Vec<Fixup>,
    /// One bit a field and oneof of every open object.
    pub(crate) seen: Vec<u64>,
    /// The keys of every open map.
    pub(crate) keys: Vec<Key>,
    /// A string whose escapes were read, a decoded parameter.
    pub(crate) text: Vec<u8>,
    /// A query parameter's decoded name; the path of a mask.
    pub(crate) name: Vec<u8>,
    /// Bound values, encoded.
    pub(crate) bound: Vec<u8>,
    /// The messages and fields that bindings reach.
    pub(crate) nodes: Vec<Node>,
    /// The values of bound fields.
    pub(crate) pieces: Vec<Piece>,
    /// The entries of one bound map, sorted.
    pub(crate) entries: Vec<Piece>,
}

impl Wire {
    pub(super) fn held(&self) -> usize {
        let Self { fixups, bound_fixups, seen, keys, text, name, bound, nodes, pieces, entries } = self;
        let stacks =
            held(fixups) + held(bound_fixups) + held(seen) + held(keys) + held(nodes) + held(pieces) + held(entries);
        stacks + held(text) + held(name) + held(bound)
    }
}

/// A record that starts at `at` with one reserved byte. `value` is its length, or, while it is open, how many bytes
/// lengths before it need beyond their reserved ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixup {
    pub(crate) at: usize,
    pub(crate) value: usize,
}

/// A map key: where its canonical bytes lie in the output, and the offset of its text in the JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) at: usize,
}

/// A field that a binding sets or leads through. Nodes of one message are chained.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) slot: u16,
    /// The path set it: the body and the query may repeat the value, not change it.
    pub(crate) by_path: bool,
    /// It is in the output already.
    pub(crate) written: bool,
    /// The first field bound inside this message; 0 for none.
    pub(crate) child: u32,
    /// The next field bound in the same message; 0 for none.
    pub(crate) next: u32,
    /// First and last value; 0 for none, which is a message on the way to others.
    pub(crate) first: u32,
    pub(crate) last: u32,
}

/// One value of a bound field, encoded in [`Wire::bound`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Of a map entry: the end of its key record.
    pub(crate) key: usize,
    /// Of a map entry: the parameter that gave it, counted from 0.
    pub(crate) parameter: u32,
    /// The field's next value; 0 for none.
    pub(crate) next: u32,
}
