//! A cursor over JSON text: it hands out tokens as slices of the text, checked, and remembers nothing.
//!
//! The text was checked to be UTF-8 as a whole before. A caller peeks at the first byte of a value and asks for the token
//! that it expects; [`Scanner::expected`] makes the refusal when something else is there.

use std::borrow::Cow;

use crate::invalid::{Fail, Invalid, Kind};
use crate::json::number;

/// A cursor over one JSON text.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

/// A string token, without its quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quoted<'a> {
    /// The bytes between the quotes, escapes as they are.
    pub(crate) raw: &'a [u8],
    /// There are escapes: [`unescape`] reads them.
    pub(crate) escaped: bool,
    /// Offset of `raw` in the text.
    pub(crate) at: usize,
}

/// How much of a client's text a refusal repeats, in bytes.
const ECHO: usize = 48;

impl<'a> Scanner<'a> {
    /// A cursor at the start of a text that is UTF-8.
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// There is no text at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The offset of the next byte.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The text from the next byte on.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The text from an offset seen before on.
    #[inline]
    pub(crate) fn from(&self, at: usize) -> &'a [u8] {
        self.text.get(at..).unwrap_or_default()
    }

    /// Moves over bytes that the caller has read in [`Scanner::rest`].
    #[inline]
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Goes back to an offset seen before.
    pub(crate) fn rewind(&mut self, at: usize) {
        self.at = at;
    }

    /// The first byte that is not white space, left unread; 0 at the end of the text.
    #[inline]
    pub(crate) fn peek(&mut self) -> u8 {
        match self.text.get(self.at) {
            Some(&byte) if byte > b' ' => byte,
            _ => self.peek_behind_space(),
        }
    }

    #[inline(never)]
    fn peek_behind_space(&mut self) -> u8 {
        while let Some(&byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    /// Reads these bytes if they come next.
    #[inline]
    pub(crate) fn eat(&mut self, bytes: &[u8]) -> bool {
        match self.rest().get(..bytes.len()) {
            Some(next) if equal(next, bytes) => {
                self.at += bytes.len();
                true
            }
            _ => false,
        }
    }

    /// Reads the `{` or `[` that opens a value; `true` if a member follows, `false` if it is empty (and closed).
    #[inline]
    pub(crate) fn open(&mut self, open: u8, close: u8, what: &str) -> Result<bool, Fail> {
        if self.peek() != open {
            return Err(self.expected(what));
        }
        self.at += 1;
        if self.peek() == close {
            self.at += 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// Reads what follows a member: `true` at a comma, `false` at the end of the value.
    #[inline]
    pub(crate) fn more(&mut self, close: u8) -> Result<bool, Fail> {
        let next = self.peek();
        if next == b',' {
            self.at += 1;
            Ok(true)
        } else if next == close {
            self.at += 1;
            Ok(false)
        } else {
            Err(self.expected(if close == b'}' { "`,` or `}`" } else { "`,` or `]`" }))
        }
    }

    /// Reads the name of a member and its colon.
    #[inline]
    pub(crate) fn name(&mut self) -> Result<Quoted<'a>, Fail> {
        if self.peek() != b'"' {
            return Err(self.expected("a field name in double quotes"));
        }
        let name = self.string()?;
        if self.peek() != b':' {
            return Err(self.expected("`:`"));
        }
        self.at += 1;
        Ok(name)
    }

    /// Reads a string token; the caller has seen its quote.
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Result<Quoted<'a>, Fail> {
        let start = self.at + 1;
        let end = special(self.text, start);
        if self.text.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Quoted { raw: &self.text[start..end], escaped: false, at: start });
        }
        self.escaped_string(start, end)
    }

    /// The same, from the first byte on that is neither plain nor the closing quote.
    #[inline(never)]
    fn escaped_string(&mut self, start: usize, mut end: usize) -> Result<Quoted<'a>, Fail> {
        loop {
            match self.text.get(end) {
                Some(b'"') => {
                    self.at = end + 1;
                    return Ok(Quoted { raw: &self.text[start..end], escaped: true, at: start });
                }
                Some(b'\\') => end = special(self.text, end + 2),
                Some(_) => return Err(fail(end, "a control character in a string must be written as an escape")),
                None => return Err(fail(self.text.len(), "the text ends inside a string")),
            }
        }
    }

    /// Reads a number token; the caller has seen its first byte.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<&'a [u8], Fail> {
        let rest = self.rest();
        match number::length(rest) {
            Some(length) => {
                self.at += length;
                Ok(&rest[..length])
            }
            None => Err(self.expected("a JSON number")),
        }
    }

    /// Reads a `null` if one comes next (after white space).
    #[inline]
    pub(crate) fn null(&mut self) -> Result<bool, Fail> {
        if self.peek() != b'n' {
            return Ok(false);
        }
        self.word(b"null")?;
        Ok(true)
    }

    /// Reads `true`, `false` or `null`.
    pub(crate) fn word(&mut self, word: &[u8]) -> Result<(), Fail> {
        match self.rest().strip_prefix(word) {
            Some(rest) if !rest.first().is_some_and(|&byte| is_word(byte)) => {
                self.at += word.len();
                Ok(())
            }
            _ => Err(self.value()),
        }
    }

    /// Reads over any value, checking all of it; `room` is how many more levels it may nest.
    pub(crate) fn skip(&mut self, room: u16) -> Result<(), Fail> {
        match self.peek() {
            b'"' => self.skip_string(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            b'-' | b'0'..=b'9' => self.number().map(|_| ()),
            b'{' => {
                let room = self.deeper(room)?;
                let mut more = self.open(b'{', b'}', "an object")?;
                while more {
                    let name = self.name()?;
                    if name.escaped {
                        check_escapes(name)?;
                    }
                    self.skip(room)?;
                    more = self.more(b'}')?;
                }
                Ok(())
            }
            b'[' => {
                let room = self.deeper(room)?;
                let mut more = self.open(b'[', b']', "an array")?;
                while more {
                    self.skip(room)?;
                    more = self.more(b']')?;
                }
                Ok(())
            }
            _ => Err(self.value()),
        }
    }

    fn skip_string(&mut self) -> Result<(), Fail> {
        let string = self.string()?;
        if string.escaped { check_escapes(string) } else { Ok(()) }
    }

    /// One level less, or the refusal of one too many.
    #[inline]
    pub(crate) fn deeper(&self, room: u16) -> Result<u16, Fail> {
        room.checked_sub(1).ok_or_else(|| too_deep(self.at))
    }

    /// Reads the end of the text.
    pub(crate) fn end(&mut self) -> Result<(), Fail> {
        self.peek();
        if self.at < self.text.len() { Err(self.expected("the end of the text")) } else { Ok(()) }
    }

    /// The refusal of what comes next, where any JSON value may stand.
    #[cold]
    pub(crate) fn value(&mut self) -> Fail {
        self.expected("a JSON value")
    }

    /// The refusal of what comes next.
    #[cold]
    #[inline(never)]
    pub(crate) fn expected(&mut self, what: &str) -> Fail {
        self.peek();
        Invalid::new(format!("expected {what}, got {}", self.seen())).at(self.at).into()
    }

    /// What comes next, in words and cut short.
    fn seen(&self) -> Cow<'a, str> {
        let rest = self.rest();
        match rest.first() {
            None => "the end of the text".into(),
            Some(b'{') => "an object".into(),
            Some(b'[') => "an array".into(),
            Some(b'"') => match self.clone().string() {
                Ok(string) => format!("\"{}\"", echo(string.raw)).into(),
                Err(_) => "an unfinished string".into(),
            },
            Some(&byte) if is_word(byte) => {
                let length = rest.iter().take_while(|&&byte| is_word(byte)).count();
                echo(&rest[..length])
            }
            Some(_) => {
                let character = String::from_utf8_lossy(&rest[..rest.len().min(4)]).chars().next().unwrap_or_default();
                format!("{character:?}").into()
            }
        }
    }
}

/// Whether two texts of the same length are equal: those of usual names by four loads instead of a call.
#[inline]
fn equal(one: &[u8], other: &[u8]) -> bool {
    fn ends<const N: usize>(text: &[u8]) -> Option<(&[u8; N], &[u8; N])> {
        Some((text.first_chunk()?, text.last_chunk()?))
    }
    match one.len() {
        8..=16 => ends::<8>(one) == ends::<8>(other),
        17..=32 => ends::<16>(one) == ends::<16>(other),
        _ => one == other,
    }
}

/// The bytes that words and numbers are made of.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_')
}

/// A client's text as a refusal repeats it: cut short.
pub(crate) fn echo(text: &[u8]) -> Cow<'_, str> {
    if text.len() <= ECHO {
        return String::from_utf8_lossy(text);
    }
    let mut end = ECHO;
    while end > 0 && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    format!("{}…", String::from_utf8_lossy(&text[..end])).into()
}

/// A refusal at a byte of the text.
#[cold]
#[inline(never)]
pub(crate) fn fail(at: usize, message: &'static str) -> Fail {
    Invalid::new(message).at(at).into()
}

/// The refusal of one level too many.
#[cold]
#[inline(never)]
pub(crate) fn too_deep(at: usize) -> Fail {
    Invalid::new("nested too deep").of(Kind::TooDeep).at(at).into()
}

/// Where the first quote, backslash or control character stands at or after `at`; the text's length for none.
#[inline]
fn special(text: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        // With bit 1 flipped, the quote (0x22) is 0x20: it and the control characters are the bytes below 0x21.
        let low = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
        let slash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
        // A borrow only spoils the bytes above the first hit, and only the first hit is used.
        let hits = (low | slash) & !word & (ONES * 0x80);
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = text.get(at..).unwrap_or_default();
    at + tail.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\').unwrap_or(tail.len())
}

/// Appends a string token's text, its escapes read.
pub(crate) fn unescape(string: Quoted<'_>, out: &mut Vec<u8>) -> Result<(), Fail> {
    let mut buffer = [0; 4];
    each_piece(string, |piece| match piece {
        Piece::Plain(bytes) => out.extend_from_slice(bytes),
        Piece::Escape(character) => out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes()),
    })
}

/// Checks a string token's escapes.
fn check_escapes(string: Quoted<'_>) -> Result<(), Fail> {
    each_piece(string, |_| ())
}

enum Piece<'a> {
    Plain(&'a [u8]),
    Escape(char),
}

fn each_piece(string: Quoted<'_>, mut take: impl FnMut(Piece<'_>)) -> Result<(), Fail> {
    let raw = string.raw;
    let mut at = 0;
    while let Some(plain) = memchr::memchr(b'\\', &raw[at..]) {
        take(Piece::Plain(&raw[at..at + plain]));
        at += plain;
        let (character, length) = escape(&raw[at..]).map_err(|message| fail(string.at + at, message))?;
        take(Piece::Escape(character));
        at += length;
    }
    take(Piece::Plain(&raw[at..]));
    Ok(())
}

/// The character of the escape that a text begins with, and the escape's length.
fn escape(text: &[u8]) -> Result<(char, usize), &'static str> {
    let character = match text.get(1) {
        Some(&byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(text),
        _ => return Err("no such escape; JSON has \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX"),
    };
    Ok((character, 2))
}

fn unicode_escape(text: &[u8]) -> Result<(char, usize), &'static str> {
    const LONE: &str = "half of a surrogate pair";
    let high = hex(text, 2).ok_or("\\u needs four hexadecimal digits")?;
    if !(0xd800..0xe000).contains(&high) {
        return char::from_u32(high).map(|character| (character, 6)).ok_or(LONE);
    }
    if high >= 0xdc00 || text.get(6..8) != Some(b"\\u") {
        return Err(LONE);
    }
    let low = hex(text, 8).filter(|low| (0xdc00..0xe000).contains(low)).ok_or(LONE)?;
    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).map(|character| (character, 12)).ok_or(LONE)
}

fn hex(text: &[u8], at: usize) -> Option<u32> {
    text.get(at..at + 4)?.iter().try_fold(0, |value, &byte| Some(value << 4 | char::from(byte).to_digit(16)?))
}

#[cfg(test)]
mod tests;
