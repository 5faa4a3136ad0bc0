//! The protobuf output: tags, varints, and lengths that are known only afterwards.
//!
//! A record of unknown length starts with one reserved byte. Nearly all lengths fit it; the longer ones stay on a list, in
//! order of position, and [`Wire::settle`] makes room for all of them in one backwards pass that moves each byte at most once.

use crate::schema::Tag;
use crate::scratch::Fixup;

/// Output under construction.
#[derive(Debug)]
pub(crate) struct Wire<'a> {
    bytes: Vec<u8>,
    /// Open records, and closed ones whose length needs more than the reserved byte; by position.
    fixups: &'a mut Vec<Fixup>,
    /// How many bytes the lengths on the list will need beyond their reserved ones.
    extra: usize,
}

/// A place to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    bytes: usize,
    fixups: usize,
    extra: usize,
}

impl<'a> Wire<'a> {
    /// Output appended to `bytes`; `fixups` is room for its lengths.
    pub(crate) fn new(bytes: Vec<u8>, fixups: &'a mut Vec<Fixup>) -> Self {
        fixups.clear();
        Self { bytes, fixups, extra: 0 }
    }

    /// The output.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many bytes are written, what was there before included; lengths not settled count one byte.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What is written from an offset on.
    #[inline]
    pub(crate) fn since(&self, at: usize) -> &[u8] {
        self.bytes.get(at..).unwrap_or_default()
    }

    /// What is written between two offsets.
    #[inline]
    pub(crate) fn slice(&self, start: usize, end: usize) -> &[u8] {
        &self.bytes[start..end]
    }

    /// The place after what is written.
    #[inline]
    pub(crate) fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), fixups: self.fixups.len(), extra: self.extra }
    }

    /// Takes back what was written after a mark.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.fixups.truncate(mark.fixups);
        self.extra = mark.extra;
    }

    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    #[inline]
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The first bytes of a word, at most eight. (A copy of fixed size is one store; one of `length` bytes is a call.)
    #[inline]
    fn word(&mut self, word: u64, length: usize) {
        let end = self.bytes.len() + length;
        self.bytes.extend_from_slice(&word.to_le_bytes());
        self.bytes.truncate(end);
    }

    /// A field's tag.
    #[inline]
    pub(crate) fn tag(&mut self, tag: Tag) {
        let (word, length) = tag_word(tag);
        self.word(word, length);
    }

    #[inline]
    pub(crate) fn varint(&mut self, value: u64) {
        if value < 1 << 56 {
            let (word, length) = varint_word(value);
            self.word(word, length);
        } else {
            let (bytes, length) = varint(value);
            self.bytes.extend_from_slice(&bytes[..length]);
        }
    }

    /// A field's tag and a varint.
    #[inline]
    pub(crate) fn tagged_varint(&mut self, tag: Tag, value: u64) {
        let (word, length) = tag_word(tag);
        if value < 1 << 21 {
            let (value, more) = varint_word(value);
            self.word(word | value << (8 * length), length + more);
        } else {
            self.word(word, length);
            self.varint(value);
        }
    }

    /// A string or bytes value: its length, then its bytes.
    #[inline]
    pub(crate) fn text(&mut self, text: &[u8]) {
        self.varint(text.len() as u64);
        self.bytes.extend_from_slice(text);
    }

    /// A field's tag and a string: the first `length` bytes of `text`, which may go on.
    #[inline]
    pub(crate) fn tagged_text(&mut self, tag: Tag, text: &[u8], length: usize) {
        self.tagged_varint(tag, length as u64);
        let end = self.bytes.len() + length;
        // Short ones are copied with what follows them, in pieces of fixed size.
        match (text.first_chunk::<16>(), text.first_chunk::<32>()) {
            (Some(chunk), _) if length <= 16 => self.bytes.extend_from_slice(chunk),
            (_, Some(chunk)) if length <= 32 => self.bytes.extend_from_slice(chunk),
            _ => self.bytes.extend_from_slice(&text[..length]),
        }
        self.bytes.truncate(end);
    }

    /// Starts a record whose length is not known yet.
    #[inline]
    pub(crate) fn open(&mut self) -> usize {
        let index = self.fixups.len();
        self.fixups.push(Fixup { at: self.bytes.len(), value: self.extra });
        self.bytes.push(0);
        index
    }

    /// Ends the record that [`Wire::open`] started; records end in the reverse order of their starts.
    #[inline]
    pub(crate) fn close(&mut self, index: usize) {
        let Fixup { at, value } = self.fixups[index];
        let written = self.bytes.len() - at - 1;
        if written < 0x80 {
            // Nothing inside can be on the list.
            self.bytes[at] = written as u8;
            self.fixups.truncate(index);
        } else {
            let length = written + (self.extra - value);
            self.fixups[index].value = length;
            self.extra += varint_length(length as u64) - 1;
        }
    }

    /// Writes the tag that ends a group.
    pub(crate) fn end_group(&mut self, number: u32) {
        self.varint(u64::from(number) << 3 | 4);
    }

    /// Starts an item of a MessageSet: a group 1 of the extension's number and, as a record that [`Wire::open`] starts, its message.
    pub(crate) fn open_item(&mut self, number: u32) -> usize {
        self.raw(&[1 << 3 | 3, 2 << 3]);
        self.varint(u64::from(number));
        self.byte(3 << 3 | 2);
        self.open()
    }

    /// Ends the item that [`Wire::open_item`] started.
    pub(crate) fn close_item(&mut self, index: usize) {
        self.close(index);
        self.byte(1 << 3 | 4);
    }

    /// Buffer to append a value's bytes to, between [`Wire::open`] and [`Wire::close`].
    #[inline]
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Writes the lengths of all records closed since a mark; none is open.
    pub(crate) fn settle(&mut self, mark: Mark) {
        let mut end = self.bytes.len();
        let mut shift = self.extra - mark.extra;
        if shift == 0 {
            return;
        }
        self.bytes.resize(end + shift, 0);
        for fixup in self.fixups.drain(mark.fixups..).rev() {
            let content = fixup.at + 1;
            self.bytes.copy_within(content..end, content + shift);
            let (bytes, length) = varint(fixup.value as u64);
            shift -= length - 1;
            self.bytes[fixup.at + shift..][..length].copy_from_slice(&bytes[..length]);
            end = fixup.at;
        }
        self.extra = mark.extra;
    }

    /// How many bytes the settled output has.
    #[inline]
    pub(crate) fn settled_len(&self) -> usize {
        self.bytes.len() + self.extra
    }
}

/// How many bytes a varint takes.
#[inline]
pub(crate) fn varint_length(value: u64) -> usize {
    ((70 - (value | 1).leading_zeros()) / 7) as usize
}

/// A tag as the first bytes of a word, and their number.
#[inline]
fn tag_word(tag: Tag) -> (u64, usize) {
    let [a, b, c, d, e] = tag.bytes;
    (u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]), usize::from(tag.len))
}

/// The varint of a value below 2^56 as the first bytes of a word, and their number: groups of seven bits are spread to eight.
#[inline]
fn varint_word(value: u64) -> (u64, usize) {
    if value < 0x80 {
        return (value, 1);
    }
    let word = (value & 0x0fff_ffff) | (value & 0x00ff_ffff_f000_0000) << 4;
    let word = (word & 0x0000_3fff_0000_3fff) | (word & 0x0fff_c000_0fff_c000) << 2;
    let word = (word & 0x007f_007f_007f_007f) | (word & 0x3f80_3f80_3f80_3f80) << 1;
    let length = varint_length(value);
    let more = 0x0080_8080_8080_8080 & ((1 << (8 * (length - 1))) - 1);
    (word | more, length)
}

/// A varint's bytes and their number.
#[inline]
pub(crate) fn varint(mut value: u64) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    for (at, byte) in bytes.iter_mut().enumerate() {
        if value < 0x80 {
            *byte = value as u8;
            return (bytes, at + 1);
        }
        *byte = value as u8 | 0x80;
        value >>= 7;
    }
    (bytes, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records nested `depth` deep around `size` bytes, each followed by one byte.
    fn nested(wire: &mut Wire<'_>, depth: usize, size: usize) {
        wire.byte(0x0a);
        let record = wire.open();
        if depth == 0 {
            wire.raw(&vec![b'x'; size]);
        } else {
            nested(wire, depth - 1, size);
        }
        wire.byte(0x08);
        wire.close(record);
        wire.byte(0x01);
    }

    fn expected(depth: usize, size: usize) -> Vec<u8> {
        let mut inner = if depth == 0 { vec![b'x'; size] } else { expected(depth - 1, size) };
        inner.push(0x08);
        let (bytes, length) = varint(inner.len() as u64);
        [&[0x0a][..], &bytes[..length], &inner, &[0x01]].concat()
    }

    #[test]
    fn lengths_of_every_size_are_settled() {
        for depth in 0..6 {
            for size in [0, 1, 110, 120, 124, 125, 126, 127, 128, 200, 16_370, 16_380, 16_383, 16_384, 70_000] {
                let mut fixups = Vec::new();
                let mut wire = Wire::new(b"prefix".to_vec(), &mut fixups);
                let mark = wire.mark();
                nested(&mut wire, depth, size);
                nested(&mut wire, 0, size);
                let settled = wire.settled_len();
                wire.settle(mark);
                let bytes = wire.into_bytes();
                assert_eq!(settled, bytes.len());
                assert!(
                    bytes == [b"prefix".to_vec(), expected(depth, size), expected(0, size)].concat(),
                    "{depth} {size}"
                );
            }
        }
    }

    #[test]
    fn varints_have_the_length_that_is_said() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                assert_eq!(varint(value).1, varint_length(value), "{value}");
                if value < 1 << 56 {
                    let (word, length) = varint_word(value);
                    let (bytes, expected) = varint(value);
                    assert_eq!((word.to_le_bytes().as_slice(), length), (&bytes[..8], expected), "{value}");
                }
            }
        }
        assert_eq!(varint(300).0[..2], [0xac, 0x02]);
    }

    #[test]
    fn texts_of_every_length_end_where_they_end() {
        let text: Vec<u8> = (0..200).collect();
        for tag in [Tag { bytes: [0x0a, 0, 0, 0, 0], len: 1 }, Tag { bytes: [0xfa, 0xff, 0xff, 0xff, 0x0f], len: 5 }] {
            for length in 0..200 {
                for room in [length, length + 1, 200] {
                    let mut fixups = Vec::new();
                    let mut wire = Wire::new(Vec::new(), &mut fixups);
                    wire.tagged_text(tag, &text[..room.min(200)], length);
                    let (bytes, size) = varint(length as u64);
                    assert!(
                        wire.into_bytes() == [tag.as_bytes(), &bytes[..size], &text[..length]].concat(),
                        "{length}"
                    );
                }
            }
        }
    }
}
