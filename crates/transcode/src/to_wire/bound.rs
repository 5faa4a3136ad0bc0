//! Bound values: what path variables and query parameters set, as a tree over the request message.
//!
//! Each value is encoded first, as the canonical record that the body would give. Where the body sets a bound field too, its
//! record must be equal; at an object's end the bound fields that the body lacked are written. They are written *into* the
//! message, never behind it: a singular field occurs once.

use crate::invalid::{Fail, Invalid};
use crate::schema::{Field, Kind, Message, MessageId, Presence, Schema, Shape};
use crate::scratch::{Fixup, Node, Piece};
use crate::to_wire::object::within_field;
use crate::to_wire::wire::Wire;
use crate::to_wire::{Translation, field};

/// No node: nothing is bound here.
pub(super) const UNBOUND: u32 = 0;
/// The node of the request message itself; no field's child or neighbour.
pub(super) const ROOT: u32 = 1;

/// The tree of bound fields.
#[derive(Debug)]
pub(super) struct Bound<'a> {
    schema: &'a Schema,
    nodes: &'a mut Vec<Node>,
    pieces: &'a mut Vec<Piece>,
    bytes: &'a mut Vec<u8>,
    fixups: &'a mut Vec<Fixup>,
}

const NOTHING: Node = Node { slot: 0, by_path: false, written: false, child: 0, next: 0, first: 0, last: 0 };

const NO_PIECE: Piece = Piece { start: 0, end: 0, key: 0, parameter: 0, next: 0 };

/// Where a bound value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Path,
    Query,
}

impl<'a> Bound<'a> {
    /// An empty tree in the room of the last.
    pub(super) fn new(
        schema: &'a Schema,
        nodes: &'a mut Vec<Node>,
        pieces: &'a mut Vec<Piece>,
        bytes: &'a mut Vec<u8>,
        fixups: &'a mut Vec<Fixup>,
    ) -> Self {
        nodes.clear();
        // Index 0 stands for none, 1 for the request message.
        nodes.extend([NOTHING, NOTHING]);
        pieces.clear();
        pieces.push(NO_PIECE);
        bytes.clear();
        Self { schema, nodes, pieces, bytes, fixups }
    }

    /// How many bytes the bound values take.
    pub(super) fn encoded(&self) -> usize {
        self.bytes.len()
    }

    /// The root, if anything is bound.
    pub(super) fn root(&self) -> u32 {
        if self.nodes[ROOT as usize].child == UNBOUND { UNBOUND } else { ROOT }
    }

    pub(super) fn first_child(&self, node: u32) -> u32 {
        self.nodes[node as usize].child
    }

    pub(super) fn next(&self, node: u32) -> u32 {
        self.nodes[node as usize].next
    }

    pub(super) fn slot(&self, node: u32) -> usize {
        usize::from(self.nodes[node as usize].slot)
    }

    /// A node holds values; else it is a message on the way to some.
    pub(super) fn is_value(&self, node: u32) -> bool {
        self.nodes[node as usize].first != 0
    }

    /// The path set a node's value.
    pub(super) fn is_by_path(&self, node: u32) -> bool {
        self.nodes[node as usize].by_path
    }

    /// A node's values are in the output.
    pub(super) fn set_written(&mut self, node: u32) {
        self.nodes[node as usize].written = true;
    }

    /// The node of a field inside a node's message.
    pub(super) fn child(&self, node: u32, slot: usize) -> u32 {
        let mut child = self.first_child(node);
        while child != UNBOUND && self.slot(child) != slot {
            child = self.next(child);
        }
        child
    }

    /// The node of a field, made if there is none.
    pub(super) fn enter(&mut self, node: u32, message: &Message, slot: usize) -> Result<u32, Fail> {
        let oneof = message.fields[slot].oneof;
        let mut last = UNBOUND;
        let mut child = self.first_child(node);
        while child != UNBOUND {
            if self.slot(child) == slot {
                return Ok(child);
            }
            if let Some(oneof) = oneof
                && message.fields[self.slot(child)].oneof == Some(oneof)
            {
                let name = &message.oneofs[usize::from(oneof)];
                return Err(Invalid::new(format!("another field of the oneof `{name}` is set already")).into());
            }
            last = child;
            child = self.next(child);
        }
        let made = index(self.nodes.len())?;
        self.nodes.push(Node { slot: slot as u16, ..NOTHING });
        match last {
            UNBOUND => self.nodes[node as usize].child = made,
            last => self.nodes[last as usize].next = made,
        }
        Ok(made)
    }

    /// Adds a value, given as text, to the field of a path of slots.
    pub(super) fn add_at(&mut self, input: MessageId, path: &[u16], text: &[u8], source: Source) -> Result<(), Fail> {
        let schema = self.schema;
        let mut node = ROOT;
        let mut message = schema.message(input);
        let mut steps = path.iter().map(|&slot| usize::from(slot)).peekable();
        while let Some(slot) = steps.next() {
            let field = &message.fields[slot];
            node = self.enter(node, message, slot)?;
            match field.kind {
                Kind::Message(id) | Kind::Group(id) if steps.peek().is_some() => message = schema.message(id),
                _ => return self.add(node, field, text, None, source),
            }
        }
        Ok(())
    }

    /// Adds a value, given as text, to a field's node; a mask may be of the fields of the message that is `masked`.
    pub(super) fn add(
        &mut self,
        node: u32,
        field: &Field,
        text: &[u8],
        masked: Option<&Message>,
        source: Source,
    ) -> Result<(), Fail> {
        let start = self.bytes.len();
        let always = field.shape != Shape::Singular || field.presence != Presence::Implicit;
        let mut wire = Wire::new(std::mem::take(self.bytes), self.fixups);
        let mark = wire.mark();
        let written = field::write_text(&mut wire, self.schema, field, always, text, masked);
        if written.is_ok() {
            wire.settle(mark);
        }
        *self.bytes = wire.into_bytes();
        written?;
        self.keep(node, field, Piece { start, end: self.bytes.len(), key: start, ..NO_PIECE }, source)
    }

    /// Adds an entry, given as two texts, to a map field's node; `parameter` is the place of what gave it among its like.
    pub(super) fn add_entry(
        &mut self,
        node: u32,
        field: &Field,
        entry: MessageId,
        (key, text): (&[u8], &[u8]),
        parameter: u32,
    ) -> Result<(), Fail> {
        let [key_field, value_field] = &*self.schema.message(entry).fields else {
            return Err(Invalid::new("a map without key and value").into());
        };
        let start = self.bytes.len();
        let mut wire = Wire::new(std::mem::take(self.bytes), self.fixups);
        let mark = wire.mark();
        let key_written = field::write_text(&mut wire, self.schema, key_field, true, key, None);
        let key = wire.len();
        let written =
            key_written.and_then(|()| field::write_text(&mut wire, self.schema, value_field, true, text, None));
        if written.is_ok() {
            wire.settle(mark);
        }
        *self.bytes = wire.into_bytes();
        written?;
        self.keep(node, field, Piece { start, end: self.bytes.len(), key, parameter, ..NO_PIECE }, Source::Query)
    }

    /// Keeps an encoded value. A singular field may be given twice, not changed.
    fn keep(&mut self, node: u32, field: &Field, piece: Piece, source: Source) -> Result<(), Fail> {
        let made = index(self.pieces.len())?;
        let bound = &mut self.nodes[node as usize];
        if bound.first == 0 {
            (bound.first, bound.last) = (made, made);
            bound.by_path = source == Source::Path;
            self.pieces.push(piece);
            return Ok(());
        }
        if field.shape != Shape::Singular {
            self.pieces[bound.last as usize].next = made;
            bound.last = made;
            self.pieces.push(piece);
            return Ok(());
        }
        let first = self.pieces[bound.first as usize];
        let by_path = bound.by_path;
        let equal = self.bytes[first.start..first.end] == self.bytes[piece.start..piece.end];
        self.bytes.truncate(piece.start);
        if equal { Ok(()) } else { Err(changed(by_path)) }
    }

    /// Looks for a map key with two values among the entries added so far, and tells which parameter gave the later one;
    /// `entries` is empty room.
    pub(super) fn changed_entry(&self, entries: &mut Vec<Piece>) -> Option<u32> {
        for node in &*self.nodes {
            let first = self.pieces[node.first as usize];
            // Only entries have keys.
            if first.next == 0 || first.key == first.start {
                continue;
            }
            entries.clear();
            let mut at = node.first;
            while at != 0 {
                entries.push(self.pieces[at as usize]);
                at = self.pieces[at as usize].next;
            }
            let key = |entry: &Piece| &self.bytes[entry.start..entry.key];
            let whole = |entry: &Piece| &self.bytes[entry.start..entry.end];
            entries.sort_unstable_by(|one, other| key(one).cmp(key(other)).then_with(|| whole(one).cmp(whole(other))));
            let changed = |pair: &&[Piece]| key(&pair[0]) == key(&pair[1]) && whole(&pair[0]) != whole(&pair[1]);
            if let Some(pair) = entries.windows(2).find(changed) {
                return pair.iter().max_by_key(|entry| entry.start).map(|later| later.parameter);
            }
        }
        None
    }

    /// Appends the records of a field's values.
    fn write_leaf(&self, wire: &mut Wire<'_>, node: u32, field: &Field) {
        let first = self.nodes[node as usize].first;
        match field.shape {
            Shape::Singular | Shape::Item | Shape::Repeated => self.each(first, |bytes| wire.raw(bytes)),
            Shape::Packed => {
                let mut total = 0;
                self.each(first, |bytes| total += bytes.len());
                wire.tag(field.tag);
                wire.varint(total as u64);
                self.each(first, |bytes| wire.raw(bytes));
            }
            Shape::Map => self.each(first, |bytes| {
                wire.tag(field.tag);
                wire.text(bytes);
            }),
        }
    }

    fn each(&self, mut at: u32, mut take: impl FnMut(&[u8])) {
        while at != 0 {
            let piece = self.pieces[at as usize];
            take(&self.bytes[piece.start..piece.end]);
            at = piece.next;
        }
    }
}

impl Translation<'_> {
    /// Reads the value of a member that is bound too: the value itself or, of a message, fields inside it.
    #[cold]
    #[inline(never)]
    pub(super) fn bound_field(&mut self, field: &Field, node: u32) -> Result<(), Fail> {
        let Node { first, by_path, .. } = self.bound.nodes[node as usize];
        self.bound.nodes[node as usize].written = true;
        if first == 0 {
            return self.field(field, node);
        }
        let at = self.scan.at();
        let (mark, start) = (self.wire.mark(), self.wire.len());
        self.field(field, UNBOUND)?;
        self.wire.settle(mark);
        let Piece { start: from, end, .. } = self.bound.pieces[first as usize];
        if self.wire.since(start) == &self.bound.bytes[from..end] {
            return Ok(());
        }
        Err(field::located(changed(by_path), at))
    }

    /// Writes what is bound inside a node's message and not written yet, messages on the way made.
    #[cold]
    #[inline(never)]
    pub(super) fn write_bound(&mut self, message: &Message, node: u32) -> Result<(), Fail> {
        let mut child = self.bound.first_child(node);
        while child != UNBOUND {
            let Node { slot, written, first, next, .. } = self.bound.nodes[child as usize];
            let field = &message.fields[usize::from(slot)];
            if !written && first != 0 {
                self.bound.write_leaf(&mut self.wire, child, field);
            } else if !written && let Kind::Message(id) | Kind::Group(id) = field.kind {
                self.wire.tag(field.tag);
                let record = matches!(field.kind, Kind::Message(_)).then(|| self.wire.open());
                let inner = self.schema.message(id);
                self.write_bound(inner, child)?;
                self.check_required(inner, child).map_err(|fail| within_field(fail, &field.json_name))?;
                match record {
                    Some(record) => self.wire.close(record),
                    None => self.wire.end_group(field.number),
                }
            }
            self.fits()?;
            child = next;
        }
        Ok(())
    }
}

/// Why a second, different value is refused.
pub(super) const GIVEN_TWICE: &str = "given twice, with different values";

/// The refusal of a second, different value.
#[cold]
fn changed(by_path: bool) -> Fail {
    Invalid::new(if by_path { "the path sets this field to another value" } else { GIVEN_TWICE }).into()
}

/// The index of the next node or value.
fn index(length: usize) -> Result<u32, Fail> {
    u32::try_from(length).map_err(|_| Invalid::new("too many parameters").into())
}
