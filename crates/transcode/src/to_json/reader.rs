//! The wire reader: tags, varints, records. Whatever is cut off, too long or unmatched is refused; nothing here panics.

use super::{Halt, malformed};
use crate::invalid::{Invalid, Kind as Refusal};

/// Wire types.
pub(crate) const VARINT: u8 = 0;
pub(crate) const FIXED64: u8 = 1;
pub(crate) const LEN: u8 = 2;
pub(crate) const GROUP: u8 = 3;
pub(crate) const END_GROUP: u8 = 4;
pub(crate) const FIXED32: u8 = 5;

/// The tag of an item of a MessageSet.
pub(crate) const ITEM: Tag = Tag(1 << 3 | GROUP as u32);

/// A record's tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) u32);

impl Tag {
    #[inline]
    pub(crate) fn number(self) -> u32 {
        self.0 >> 3
    }

    #[inline]
    pub(crate) fn wire_type(self) -> u8 {
        (self.0 & 7) as u8
    }
}

/// The tag at `at`, and where its value begins.
#[inline(always)]
pub(crate) fn tag(wire: &[u8], at: usize) -> Result<(Tag, usize), Halt> {
    match wire.get(at) {
        Some(&byte) if (8..0x80).contains(&byte) => Ok((Tag(u32::from(byte)), at + 1)),
        _ => long_tag(wire, at),
    }
}

#[inline(never)]
fn long_tag(wire: &[u8], at: usize) -> Result<(Tag, usize), Halt> {
    let (value, next) = varint(wire, at)?;
    match u32::try_from(value) {
        Ok(tag) if tag >= 8 => Ok((Tag(tag), next)),
        _ => Err(malformed("the message has a tag that is no field's")),
    }
}

/// The varint at `at`, and where it ends.
#[inline(always)]
pub(crate) fn varint(wire: &[u8], at: usize) -> Result<(u64, usize), Halt> {
    match wire.get(at) {
        Some(&byte) if byte < 0x80 => Ok((u64::from(byte), at + 1)),
        _ => long_varint(wire, at),
    }
}

/// A varint of two bytes or more.
#[inline(never)]
fn long_varint(wire: &[u8], at: usize) -> Result<(u64, usize), Halt> {
    let bytes = wire.get(at..).unwrap_or_default();
    let mut value = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok((value, at + index + 1));
        }
        if index == 8 {
            // The tenth byte holds the 64th bit, and ends it.
            return match bytes.get(9) {
                Some(&last) if last < 2 => Ok((value | u64::from(last) << 63, at + 10)),
                Some(_) => Err(malformed("the message has a varint of more than 64 bits")),
                None => Err(cut_off()),
            };
        }
    }
    Err(cut_off())
}

/// The length-delimited value at `at`.
#[inline(always)]
pub(crate) fn delimited(wire: &[u8], at: usize) -> Result<(usize, usize), Halt> {
    let (len, start) = varint(wire, at)?;
    if len > (wire.len() - start) as u64 {
        return Err(cut_off());
    }
    Ok((start, start + len as usize))
}

/// Eight little-endian bytes at `at`.
#[inline]
pub(crate) fn fixed64(wire: &[u8], at: usize) -> Result<(u64, usize), Halt> {
    match wire.get(at..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => Ok((u64::from_le_bytes(*bytes), at + 8)),
        None => Err(cut_off()),
    }
}

/// Four little-endian bytes at `at`.
#[inline]
pub(crate) fn fixed32(wire: &[u8], at: usize) -> Result<(u32, usize), Halt> {
    match wire.get(at..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => Ok((u32::from_le_bytes(*bytes), at + 4)),
        None => Err(cut_off()),
    }
}

/// Where the value at `at` ends: a group's end tag is part of it. Groups may nest `depth` deep.
pub(crate) fn skip(wire: &[u8], tag: Tag, at: usize, depth: u16) -> Result<usize, Halt> {
    match tag.wire_type() {
        VARINT => Ok(varint(wire, at)?.1),
        FIXED64 => Ok(fixed64(wire, at)?.1),
        LEN => Ok(delimited(wire, at)?.1),
        FIXED32 => Ok(fixed32(wire, at)?.1),
        GROUP => Ok(group(wire, tag.number(), at, depth)?.1),
        END_GROUP => Err(malformed("the message ends a group that it did not begin")),
        _ => Err(malformed("the message has a wire type that does not exist")),
    }
}

/// Where the contents of the group end that begin at `at`, and where its end tag does.
pub(crate) fn group(wire: &[u8], number: u32, mut at: usize, depth: u16) -> Result<(usize, usize), Halt> {
    let Some(depth) = depth.checked_sub(1) else { return Err(too_deep()) };
    while at < wire.len() {
        let (tag, value) = tag(wire, at)?;
        if tag.wire_type() == END_GROUP && tag.number() == number {
            return Ok((at, value));
        }
        at = skip(wire, tag, value, depth)?;
    }
    Err(cut_off())
}

#[cold]
pub(crate) fn cut_off() -> Halt {
    malformed("the message is cut off")
}

#[cold]
pub(crate) fn too_deep() -> Halt {
    Invalid::new("the message is nested too deeply").of(Refusal::TooDeep).into()
}
