//! What translations need for a moment and keep for the next one: no allocation on the hot path once it is warm.

mod seen;
mod wire;

pub(crate) use seen::Seen;
pub(crate) use wire::{Fixup, Key, Node, Piece, Wire};

/// One worker's scratch: borrowed by a translation, never across an await.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) wire: Wire,
    pub(crate) json: Json,
}

/// What `to_json` needs.
#[derive(Debug, Default)]
pub(crate) struct Json {
    /// Stack of the bits from 64 on of the open messages.
    pub(crate) bits: Vec<u64>,
    /// Stack of the hashes of the open maps' keys.
    pub(crate) hashes: Vec<u64>,
    pub(crate) hasher: foldhash::fast::FixedState,
    /// Stack of the records of the open messages, when they come in disorder.
    pub(crate) records: Vec<Record>,
    /// Stack of the entries of the open maps, likewise.
    pub(crate) entries: Vec<Entry>,
    /// The parts of one well-known message.
    pub(crate) spans: Vec<Span>,
    /// The paths of a FieldMask, joined.
    pub(crate) paths: Vec<u8>,
}

impl Scratch {
    /// Bytes that are kept for the next translation: more than messages of some KiB need.
    pub const KEPT: usize = 256 << 10;

    /// Lets go of it all if a large translation has left it large: it would stay so for as long as the worker lives.
    #[inline]
    pub fn trim(&mut self) {
        if self.held() > Self::KEPT {
            *self = Self::default();
        }
    }

    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        self.wire.held() + self.json.held()
    }
}

/// Bytes that a stack holds, filled or not.
fn held<T>(stack: &Vec<T>) -> usize {
    stack.capacity() * size_of::<T>()
}

/// A record of a known field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    /// What it competes for: the field's slot, or for all members of a oneof the number of fields plus the oneof's index.
    pub(crate) place: u32,
    pub(crate) slot: u16,
    pub(crate) wire_type: u8,
    /// Its value: without the length, without the end tag.
    pub(crate) span: Span,
}

/// An entry of a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// The key's bits; of a string its first byte's position.
    pub(crate) key: u64,
    /// Of a string the position behind its last byte.
    pub(crate) key_end: usize,
    /// The index of its record.
    pub(crate) record: usize,
}

/// A part of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// The input is at most `u32::MAX` bytes long: `to_json` sees to it.
    #[inline]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    #[inline]
    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    #[inline]
    pub(crate) fn end(self) -> usize {
        self.end as usize
    }
}

impl Json {
    fn held(&self) -> usize {
        let Self { bits, hashes, hasher: _, records, entries, spans, paths } = self;
        held(bits) + held(hashes) + held(records) + held(entries) + held(spans) + held(paths)
    }

    /// Forgets what a translation that stopped half-way left.
    pub(crate) fn clear(&mut self) {
        self.bits.clear();
        self.hashes.clear();
        self.records.clear();
        self.entries.clear();
    }
}
