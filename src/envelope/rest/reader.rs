//! A stream of messages as a REST body: a JSON array, a message a line, or the pieces of a raw body.
//!
//! Only what separates messages is looked at here; a message itself is read by the transcoder. Nothing is kept beyond one
//! message and the chunk in which it ended.

use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};

use crate::envelope::stream::Reader;
use crate::error::Error;

/// A raw body crosses in messages of at most this size.
const PIECE: usize = 32 * 1024;

/// How a body is cut into messages.
pub enum Messages {
    /// `[{…}, {…}]`
    Array(Array),
    /// `{…}\n{…}\n`
    Lines(Lines),
    /// Bytes as they come.
    Pieces(Bytes),
    /// Nothing may come: why it is refused if something does, and how much has.
    Nothing(Error, usize),
}

impl Messages {
    /// The elements of a JSON array, each of at most `limit` bytes.
    pub fn array(limit: usize) -> Self {
        Self::Array(Array { buffer: BytesMut::new(), passed: 0, at: 0, state: State::Before, limit })
    }

    /// Lines, each of at most `limit` bytes.
    pub fn lines(limit: usize) -> Self {
        Self::Lines(Lines { buffer: BytesMut::new(), searched: 0, limit, ended: false })
    }

    /// No message; what comes nevertheless is refused.
    pub fn none(refusal: Error) -> Self {
        Self::Nothing(refusal, 0)
    }

    /// The pieces of a raw body.
    pub fn pieces() -> Self {
        Self::Pieces(Bytes::new())
    }
}

impl Messages {
    /// The next whole message; none until more has been pushed.
    ///
    /// # Errors
    /// As [`Reader::poll_next`].
    pub fn message(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Array(array) => array.next(),
            Self::Lines(lines) => lines.next(),
            Self::Pieces(pieces) => {
                let piece = pieces.split_to(pieces.len().min(PIECE));
                Ok(Some(piece).filter(|piece| !piece.is_empty()))
            }
            Self::Nothing(_, 0) => Ok(None),
            Self::Nothing(refusal, _) => Err(refusal.clone()),
        }
    }
}

impl Reader for Messages {
    fn push(&mut self, chunk: Bytes) {
        match self {
            Self::Array(Array { buffer, .. }) | Self::Lines(Lines { buffer, .. }) => buffer.extend_from_slice(&chunk),
            Self::Pieces(piece) => *piece = chunk,
            Self::Nothing(_, come) => *come += chunk.len(),
        }
    }

    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        Poll::Ready(self.message())
    }

    fn held(&self) -> usize {
        match self {
            Self::Array(Array { buffer, .. }) | Self::Lines(Lines { buffer, .. }) => buffer.len(),
            Self::Pieces(piece) => piece.len(),
            Self::Nothing(..) => 0,
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        match self {
            Self::Array(array) => match array.state {
                State::After => Ok(()),
                // No body at all is no message.
                State::Before if array.buffer.is_empty() => Ok(()),
                _ => Err(array.wrong("the array of messages does not end", array.buffer.len())),
            },
            Self::Lines(lines) => {
                lines.ended = true;
                Ok(())
            }
            Self::Pieces(_) | Self::Nothing(..) => Ok(()),
        }
    }
}

/// The elements of an array, found by counting brackets outside of strings.
pub struct Array {
    buffer: BytesMut,
    /// Bytes of the body before those.
    passed: usize,
    /// What of them has been looked at.
    at: usize,
    state: State,
    limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Of the `[`.
    Before,
    /// After the `[`: an element or the `]`.
    First,
    /// After a comma: an element.
    Next,
    /// In an element.
    Element { depth: u32, string: Quote },
    /// After the `]`.
    After,
}

/// Where in a string the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    Outside,
    Inside,
    /// After a backslash.
    Escape,
}

impl Array {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let State::Element { .. } = self.state {
                return self.element();
            }
            // Between elements nothing needs to be kept.
            let space = self.buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.pass(space);
            let Some(&byte) = self.buffer.first() else { return Ok(None) };
            self.state = match (self.state, byte) {
                (State::Before, b'[') => State::First,
                (State::Before, _) => return Err(self.wrong("a stream of messages is a JSON array of them", 0)),
                (State::First, b']') => State::After,
                (State::First | State::Next, b',' | b']') => {
                    return Err(self.wrong("the array of messages has an element without a value", 0));
                }
                (State::First | State::Next, _) => {
                    self.state = State::Element { depth: 0, string: Quote::Outside };
                    continue;
                }
                (State::After, _) => return Err(self.wrong("there is text after the array of messages", 0)),
                (state @ State::Element { .. }, _) => state,
            };
            self.pass(1);
        }
    }

    /// Nothing more is to be said about so many bytes.
    fn pass(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.passed += bytes;
    }

    /// What is wrong with the array so many bytes after what has passed.
    fn wrong(&self, what: &str, at: usize) -> Error {
        Error::bad_request(format!("{what} (at byte {})", self.passed + at))
    }

    /// The element under way, once what ends it has come.
    fn element(&mut self) -> Result<Option<Bytes>, Error> {
        let State::Element { mut depth, mut string } = self.state else { return Ok(None) };
        while let Some(&byte) = self.buffer.get(self.at) {
            match (string, byte) {
                (Quote::Escape, _) => string = Quote::Inside,
                (Quote::Inside, b'\\') => string = Quote::Escape,
                (Quote::Inside, b'"') => string = Quote::Outside,
                (Quote::Inside, _) => {
                    // Most of a text are plain characters.
                    let rest = &self.buffer[self.at..];
                    self.at += memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                    continue;
                }
                (Quote::Outside, b'"') => string = Quote::Inside,
                (Quote::Outside, b'{' | b'[') => depth += 1,
                (Quote::Outside, b',' | b']') if depth == 0 => {
                    let element = self.take()?;
                    self.pass(1);
                    self.state = if byte == b',' { State::Next } else { State::After };
                    return Ok(Some(element));
                }
                (Quote::Outside, b'}' | b']') => depth = depth.saturating_sub(1),
                (Quote::Outside, _) => {}
            }
            self.at += 1;
        }
        self.state = State::Element { depth, string };
        if self.at > self.limit {
            return Err(Error::TooLarge { limit: self.limit });
        }
        Ok(None)
    }

    fn take(&mut self) -> Result<Bytes, Error> {
        let element = self.buffer.split_to(self.at).freeze();
        self.passed += self.at;
        self.at = 0;
        if element.len() > self.limit { Err(Error::TooLarge { limit: self.limit }) } else { Ok(element) }
    }
}

/// Lines; empty ones mean nothing.
pub struct Lines {
    buffer: BytesMut,
    /// What has no end of a line in it.
    searched: usize,
    limit: usize,
    ended: bool,
}

impl Lines {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let end = memchr::memchr(b'\n', &self.buffer[self.searched..]).map(|at| self.searched + at);
            let line = match end {
                Some(end) => {
                    let line = self.buffer.split_to(end);
                    self.buffer.advance(1);
                    self.searched = 0;
                    line
                }
                None if self.ended && !self.buffer.is_empty() => {
                    self.searched = 0;
                    self.buffer.split()
                }
                None => {
                    self.searched = self.buffer.len();
                    if self.searched > self.limit {
                        return Err(Error::TooLarge { limit: self.limit });
                    }
                    return Ok(None);
                }
            };
            if line.len() > self.limit {
                return Err(Error::TooLarge { limit: self.limit });
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(line.freeze()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Messages;
    use crate::envelope::stream::Reader;
    use crate::error::Error;

    /// The messages of a body that comes in chunks of so many bytes.
    fn read(mut reader: Messages, text: &str, chunk: usize) -> Result<Vec<String>, Error> {
        let mut messages = Vec::new();
        let mut take = |reader: &mut Messages| {
            while let Some(message) = reader.message()? {
                messages.push(String::from_utf8(message.to_vec()).unwrap());
            }
            Ok::<_, Error>(())
        };
        for chunk in text.as_bytes().chunks(chunk) {
            reader.push(Bytes::copy_from_slice(chunk));
            take(&mut reader)?;
        }
        reader.end()?;
        take(&mut reader)?;
        Ok(messages)
    }

    #[test]
    fn arrays_are_cut_at_their_commas_however_they_come() {
        let text = " [ {\"a\": [1, {}], \"b\": \"],{\\\"\\\\\"} ,{},\"x,\", 7\n, [[]] ] \n";
        let expected = ["{\"a\": [1, {}], \"b\": \"],{\\\"\\\\\"} ", "{}", "\"x,\"", "7\n", "[[]] "];
        for chunk in 1..text.len() {
            assert_eq!(read(Messages::array(100), text, chunk).unwrap(), expected, "{chunk}");
        }
        assert!(read(Messages::array(100), "", 1).unwrap().is_empty());
        assert!(read(Messages::array(100), " [ ] ", 1).unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_with_an_array_has_its_place() {
        for (text, at) in [(" {}", 1), ("[ {}, {} ", 9), ("[{},\n]", 5), ("[{} ,,", 5), ("[{}, {}] x", 9), ("[\"a]", 4)]
        {
            for chunk in [1, 100] {
                let error = read(Messages::array(100), text, chunk).unwrap_err();
                assert!(error.message().ends_with(&format!(" (at byte {at})")), "{text}: {error:?}");
            }
        }
    }

    #[test]
    fn what_is_no_array_is_refused() {
        for text in ["{}", "[", "[{}", "[{},", "[{},]", "[,{}]", "[{}] {}", "[{}]]", "[\"a]", "[{]", "x"] {
            for chunk in [1, 100] {
                assert!(matches!(read(Messages::array(100), text, chunk), Err(Error::BadRequest { .. })), "{text}");
            }
        }
    }

    #[test]
    fn lines_are_cut_at_their_ends() {
        for chunk in 1..20 {
            let lines = read(Messages::lines(10), "{}\n\r\n {\"a\": 1}\r\n\n7", chunk).unwrap();
            assert_eq!(lines, ["{}", " {\"a\": 1}\r", "7"], "{chunk}");
        }
        assert!(read(Messages::lines(10), "", 1).unwrap().is_empty());
    }

    #[test]
    fn a_message_over_its_limit_is_refused_before_its_end() {
        let long = "x".repeat(11);
        for chunk in [1, 100] {
            for text in [format!("{long}\n"), long.clone()] {
                assert_eq!(read(Messages::lines(10), &text, chunk), Err(Error::TooLarge { limit: 10 }));
            }
            for text in [format!("[{long}]"), format!("[\"{long}"), format!("[1, {long}")] {
                assert_eq!(read(Messages::array(10), &text, chunk), Err(Error::TooLarge { limit: 10 }));
            }
        }
    }

    #[test]
    fn raw_bodies_cross_in_pieces() {
        let text = "x".repeat(70_000);
        let pieces = read(Messages::pieces(), &text, 1_000_000).unwrap();
        assert_eq!(pieces.iter().map(String::len).collect::<Vec<_>>(), [32_768, 32_768, 4_464]);
    }
}
