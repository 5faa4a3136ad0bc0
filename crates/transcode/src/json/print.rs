//! The JSON printer: values appended to a buffer, each with the comma behind it, never beyond a limit.
//!
//! The buffer is kept zeroed ahead of the cursor, so that short pieces are written as whole blocks of sixteen bytes and
//! the cursor moves by what counted. Every value ends in a comma; what closes an object or an array takes the place of the last one.
//! That spares the question "is this the first?" at every field.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// How many bytes past the cursor a short write may touch.
const AHEAD: usize = 64;

/// A JSON text being appended to a buffer.
#[derive(Debug)]
pub(crate) struct Text {
    out: Vec<u8>,
    /// Where the text begins in `out`.
    start: usize,
    /// Where the next byte goes; `out` is longer.
    at: usize,
    /// Where the text must have ended.
    limit: usize,
}

/// Why a value was not printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The text would be longer than its limit.
    Full,
    /// A string is not UTF-8.
    NotUtf8,
}

type Done = Result<(), Refused>;

impl Text {
    /// A text of about `expected` and at most `limit` bytes, behind what `out` holds. It keeps `out` until [`Text::finish`].
    pub(crate) fn new(mut out: Vec<u8>, expected: usize, limit: usize) -> Self {
        let start = out.len();
        let room = expected.min(limit).saturating_add(AHEAD);
        out.resize(start.saturating_add(room), 0);
        Self { out, start, at: start, limit: start.saturating_add(limit) }
    }

    /// Ends the text and gives the buffer back: the comma behind the last value goes, and the whole text unless it is to be
    /// kept and fits.
    pub(crate) fn finish(mut self, keep: bool) -> (Vec<u8>, Done) {
        self.at -= usize::from(self.at > self.start && self.last() == b',');
        let fits = if self.at <= self.limit { Ok(()) } else { Err(Refused::Full) };
        self.out.truncate(if keep && fits.is_ok() { self.at } else { self.start });
        (self.out, fits)
    }

    /// Where the text is now; [`Text::back_to`] forgets what was printed since.
    pub(crate) fn mark(&self) -> usize {
        self.at
    }

    /// Forgets what was printed since the mark.
    pub(crate) fn back_to(&mut self, mark: usize) {
        self.at = mark;
    }

    /// What was printed last.
    #[inline]
    pub(crate) fn ends_in(&self, byte: u8) -> bool {
        self.last() == byte
    }

    /// Forgets everything.
    pub(crate) fn restart(&mut self) {
        self.at = self.start;
    }

    /// `{` or `[`.
    #[inline]
    pub(crate) fn open(&mut self, bracket: u8) -> Done {
        self.room(0)?;
        self.out[self.at] = bracket;
        self.at += 1;
        Ok(())
    }

    /// `}` or `]` in place of the last value's comma, and a comma.
    #[inline]
    pub(crate) fn close(&mut self, bracket: u8) -> Done {
        self.room(0)?;
        self.at -= usize::from(self.last() == b',');
        self.out[self.at..][..2].copy_from_slice(&[bracket, b',']);
        self.at += 2;
        Ok(())
    }

    /// Text that is JSON already: keys with their colon, literals with their comma.
    #[inline]
    pub(crate) fn raw(&mut self, text: &[u8]) -> Done {
        self.room(text.len())?;
        self.at = put(&mut self.out, self.at, text);
        Ok(())
    }

    /// `true,` or `false,`.
    #[inline]
    pub(crate) fn bool(&mut self, value: bool) -> Done {
        self.raw(if value { b"true," } else { b"false," })
    }

    /// An integer and a comma.
    #[inline]
    pub(crate) fn integer(&mut self, value: impl itoa::Integer) -> Done {
        self.room(0)?;
        self.at = put(&mut self.out, self.at, itoa::Buffer::new().format(value).as_bytes());
        self.comma();
        Ok(())
    }

    /// An integer as a string, and `after`: a comma, or the colon behind a map's key.
    #[inline]
    pub(crate) fn quoted(&mut self, value: impl itoa::Integer, after: u8) -> Done {
        self.room(0)?;
        self.out[self.at] = b'"';
        let end = put(&mut self.out, self.at + 1, itoa::Buffer::new().format(value).as_bytes());
        self.out[end..][..2].copy_from_slice(&[b'"', after]);
        self.at = end + 2;
        Ok(())
    }

    /// The shortest number that reads back as the same `double` (or `float`); what JSON has no number for, as its name.
    #[inline]
    pub(crate) fn float<F: zmij::Float + Into<f64> + Copy>(&mut self, value: F) -> Done {
        let wide: f64 = value.into();
        if wide.is_finite() {
            let mut buffer = zmij::Buffer::new();
            let text = buffer.format_finite(value);
            self.room(0)?;
            self.at = put(&mut self.out, self.at, text.strip_suffix(".0").unwrap_or(text).as_bytes());
            self.comma();
            Ok(())
        } else if wide.is_nan() {
            self.raw(b"\"NaN\",")
        } else if wide > 0.0 {
            self.raw(b"\"Infinity\",")
        } else {
            self.raw(b"\"-Infinity\",")
        }
    }

    /// A name of letters, digits and `_` as a string, and a comma.
    #[inline]
    pub(crate) fn identifier(&mut self, name: &str) -> Done {
        self.room(name.len())?;
        self.out[self.at] = b'"';
        let end = put(&mut self.out, self.at + 1, name.as_bytes());
        self.out[end..][..2].copy_from_slice(b"\",");
        self.at = end + 2;
        Ok(())
    }

    /// Bytes as base64, and a comma.
    pub(crate) fn base64(&mut self, bytes: &[u8]) -> Done {
        let len = bytes.len().div_ceil(3).saturating_mul(4);
        self.room_within_limit(len)?;
        self.out[self.at] = b'"';
        let end = self.at + 1 + len;
        // The slice has exactly the length that padded base64 takes.
        let _ = BASE64.encode_slice(bytes, &mut self.out[self.at + 1..end]);
        self.out[end..][..2].copy_from_slice(b"\",");
        self.at = end + 2;
        Ok(())
    }

    /// `source[start..end]` as a string, and `after`: a comma, or the colon behind a map's key.
    ///
    /// It is given as a part of its source because whole blocks are read: what lies behind the string is looked at and ignored.
    #[inline]
    pub(crate) fn string(&mut self, source: &[u8], start: usize, end: usize, after: u8) -> Done {
        self.room_within_limit(end - start)?;
        self.put_string(source, start, end, after)
    }

    /// A member of an object: its key with the colon, and a string.
    #[inline]
    pub(crate) fn member(&mut self, key: &[u8], source: &[u8], start: usize, end: usize) -> Done {
        self.room_within_limit(key.len() + (end - start))?;
        self.at = put(&mut self.out, self.at, key);
        self.put_string(source, start, end, b',')
    }

    /// [`Text::string`] where there is room.
    #[inline(always)]
    fn put_string(&mut self, source: &[u8], start: usize, end: usize, after: u8) -> Done {
        let out = self.out.as_mut_slice();
        out[self.at] = b'"';
        let (mut from, mut at) = (start, self.at + 1);
        while let Some(block) = source.get(from..).and_then(<[u8]>::first_chunk::<BLOCK>) {
            out[at..at + BLOCK].copy_from_slice(block);
            let clean = ordinary(block);
            let left = end - from;
            if clean >= left {
                out[at + left..at + left + 2].copy_from_slice(&[b'"', after]);
                self.at = at + left + 2;
                return Ok(());
            }
            (from, at) = (from + clean, at + clean);
            if clean < BLOCK {
                break;
            }
        }
        self.at = at;
        self.string_rest(&source[from..end], after)
    }

    /// The rest of a string from its first byte that is not plain ASCII, or from its source's last block.
    #[inline(never)]
    fn string_rest(&mut self, mut rest: &[u8], after: u8) -> Done {
        if simdutf8::basic::from_utf8(rest).is_err() {
            return Err(Refused::NotUtf8);
        }
        while !rest.is_empty() {
            self.room_within_limit(rest.len())?;
            let clean = unescaped(rest);
            let (plain, tail) = rest.split_at(clean);
            self.at = put(&mut self.out, self.at, plain);
            rest = tail;
            if let [byte, tail @ ..] = rest {
                self.escape(*byte)?;
                rest = tail;
            }
        }
        self.room(0)?;
        self.out[self.at..][..2].copy_from_slice(&[b'"', after]);
        self.at += 2;
        Ok(())
    }

    fn escape(&mut self, byte: u8) -> Done {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            0x09 => b't',
            0x0a => b'n',
            0x0c => b'f',
            0x0d => b'r',
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                return self.raw(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        };
        self.raw(&[b'\\', short])
    }

    #[inline]
    fn comma(&mut self) {
        self.out[self.at] = b',';
        self.at += 1;
    }

    #[inline]
    fn last(&self) -> u8 {
        self.out[self.at - 1]
    }

    /// Makes sure that `len` bytes and a block can be written.
    #[inline]
    fn room(&mut self, len: usize) -> Done {
        if self.out.len() - self.at < len + AHEAD { self.grow(len) } else { Ok(()) }
    }

    /// The same for values whose length the input decides: no memory is taken for what cannot fit.
    #[inline]
    fn room_within_limit(&mut self, len: usize) -> Done {
        if self.out.len() - self.at < len + AHEAD {
            if len > self.limit.saturating_sub(self.at) {
                return Err(Refused::Full);
            }
            return self.grow(len);
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, len: usize) -> Done {
        if self.at > self.limit {
            return Err(Refused::Full);
        }
        // By this text's own length: of a stream's small messages, many are printed behind each other, and zeroing as much again as
        // they all have would cost each of them more than its printing.
        let doubled = self.out.len().saturating_add(self.out.len() - self.start).min(self.limit.saturating_add(AHEAD));
        let needed = self.at.saturating_add(len).saturating_add(AHEAD);
        self.out.resize(doubled.max(needed), 0);
        Ok(())
    }
}

/// Copies `text` to `out[at..]`: up to 32 bytes by two blocks that may overlap, without a call.
#[inline]
fn put(out: &mut [u8], at: usize, text: &[u8]) -> usize {
    let len = text.len();
    let to = &mut out[at..at + len];
    let blocks = len <= 32 && (ends::<16>(to, text) || ends::<8>(to, text) || ends::<4>(to, text));
    if !blocks {
        to.copy_from_slice(text);
    }
    at + len
}

/// Copies the first and the last `N` bytes, if there are so many.
#[inline(always)]
fn ends<const N: usize>(to: &mut [u8], text: &[u8]) -> bool {
    let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) else { return false };
    if let Some(to) = to.first_chunk_mut() {
        *to = *first;
    }
    if let Some(to) = to.last_chunk_mut() {
        *to = *last;
    }
    true
}

const BLOCK: usize = 16;
const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

/// How many bytes of a block come before the first that is not ASCII or needs an escape.
#[inline(always)]
fn ordinary(block: &[u8; BLOCK]) -> usize {
    let (low, high) = halves(block);
    let (low, high) = ((marks(low) | low) & HIGH, (marks(high) | high) & HIGH);
    if low != 0 { first(low) } else { 8 + first(high) }
}

/// How many bytes come before the first that needs an escape.
fn unescaped(bytes: &[u8]) -> usize {
    let needs = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let (blocks, tail) = bytes.as_chunks::<BLOCK>();
    for (index, block) in blocks.iter().enumerate() {
        let (low, high) = halves(block);
        if (marks_ascii(low) | marks_ascii(high)) & HIGH != 0
            && let Some(at) = block.iter().position(needs)
        {
            return index * BLOCK + at;
        }
    }
    blocks.len() * BLOCK + tail.iter().position(needs).unwrap_or(tail.len())
}

#[inline(always)]
fn halves(block: &[u8; BLOCK]) -> (u64, u64) {
    let [b0, b1, b2, b3, b4, b5, b6, b7, c0, c1, c2, c3, c4, c5, c6, c7] = *block;
    (u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]), u64::from_le_bytes([c0, c1, c2, c3, c4, c5, c6, c7]))
}

/// The high bit of each byte below 0x20, of `"` and of `\`. A borrow can also mark bytes behind the first marked one, and bytes from 0x80 on.
#[inline(always)]
fn marks(word: u64) -> u64 {
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    word.wrapping_sub(ONES * 0x20) | quote.wrapping_sub(ONES) | backslash.wrapping_sub(ONES)
}

/// [`marks`] without the bytes from 0x80 on; rarely, a byte behind one of those is marked for nothing.
#[inline(always)]
fn marks_ascii(word: u64) -> u64 {
    let beyond = word & HIGH;
    marks((word & !HIGH) | (beyond >> 1)) & !beyond
}

/// Index of the first byte with its high bit set; 8 for none.
#[inline(always)]
fn first(word: u64) -> usize {
    (word.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests;
