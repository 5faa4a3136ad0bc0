//! `Template`: a path template of `google.api.http`.
//!
//! ```text
//! Template  = "/" | "/" Segments [ ":" Verb ] ;
//! Segments  = Segment { "/" Segment } ;
//! Segment   = "*" | "**" | Literal | Variable ;
//! Variable  = "{" FieldPath [ "=" Segments ] "}" ;      no variable inside a variable
//! FieldPath = Ident { "." Ident } ;
//! Verb      = Literal, colons included ;
//! Literal   = the characters of a URI path segment, percent escapes included, without "*" ;
//! ```
//! `{x}` is `{x=*}`. `*` is one segment, `**` zero or more; a template has one `**` at most, and segments or variables may
//! follow it. A literal may hold colons unless it ends the template (there they begin the verb) or is in a variable.

use std::fmt;

use crate::percent::escaped;

/// A parsed path template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    segments: Vec<Segment>,
    variables: Vec<Variable>,
    verb: Option<Box<[u8]>>,
}

/// One segment of a template; those inside variables count like any other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// This text, percent-decoded.
    Literal(Box<[u8]>),
    /// `*`: any one segment that is not empty.
    One,
    /// `**`: any number of segments, none included.
    Rest,
}

/// A variable: what it binds and which segments it spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// `resource.name`
    pub field: Box<str>,
    /// Where `field` begins in the template, counted from 1 in characters.
    pub column: usize,
    /// Its first segment.
    pub start: usize,
    /// The segment after its last.
    pub end: usize,
    /// It may span several segments: `%2F` in its value stays as it is.
    pub multi: bool,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Where, counted from 1 in characters.
    pub column: usize,
    /// What is wrong, and the way out.
    pub message: String,
}

/// Deeper templates are refused: nobody writes them, and matching recurses by segment.
const MAX_SEGMENTS: usize = 100;

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// The first place at which the text leaves the grammar.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parser = Parser { text, at: 0, segments: Vec::new(), variables: Vec::new() };
        parser
            .template()
            .map(|verb| Self { text: text.into(), segments: parser.segments, variables: parser.variables, verb })
            .map_err(|(at, message)| TemplateError { column: column(text, at), message: message.into() })
    }

    /// The template as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its segments, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Its variables, in the order of the captures of a match.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Its verb, percent-decoded, without the colon in front.
    pub fn verb(&self) -> Option<&[u8]> {
        self.verb.as_deref()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for TemplateError {}

/// Percent-decodes into `out`; false if an escape is not `%` and two hex digits.
pub(crate) fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        let Some(byte) = escaped(&rest[at + 1..]) else { return false };
        out.push(byte);
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    true
}

/// The column of a byte offset, counted from 1 in characters.
fn column(text: &str, at: usize) -> usize {
    text.char_indices().take_while(|(start, _)| *start < at).count() + 1
}

/// A byte offset and what is wrong there.
type Fault = (usize, &'static str);

struct Parser<'a> {
    text: &'a str,
    at: usize,
    segments: Vec<Segment>,
    variables: Vec<Variable>,
}

impl Parser<'_> {
    fn template(&mut self) -> Result<Option<Box<[u8]>>, Fault> {
        if self.peek() != Some(b'/') {
            return Err((0, "a path template begins with \"/\""));
        }
        self.at = 1;
        if self.peek().is_none() {
            return Ok(None);
        }
        self.segments(false)?;
        match self.peek() {
            None => Ok(None),
            Some(b':') => {
                self.at += 1;
                self.verb().map(Some)
            }
            Some(b'}') => Err((self.at, "\"}\" closes no variable")),
            Some(_) => Err((self.at, "text beside a variable or wildcard: these are whole segments")),
        }
    }

    fn segments(&mut self, in_variable: bool) -> Result<(), Fault> {
        loop {
            if self.segments.len() == MAX_SEGMENTS {
                return Err((self.at, "more than 100 segments"));
            }
            match self.peek() {
                None if in_variable => return Err((self.at, "the variable is not closed: \"}\" is missing")),
                None => return Err((self.at - 1, "a template cannot end with \"/\"")),
                Some(b':') => return Err((self.at, "an empty segment before \":\"; a variable is written \"{id}\"")),
                Some(b'/' | b'}') => return Err((self.at, "an empty segment")),
                Some(b'*') => self.wildcard()?,
                Some(b'{') if in_variable => return Err((self.at, "a variable inside a variable")),
                Some(b'{') => self.variable()?,
                Some(_) => self.literal(in_variable)?,
            }
            if self.peek() != Some(b'/') {
                return Ok(());
            }
            self.at += 1;
        }
    }

    fn wildcard(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.at += 1;
        if self.peek() != Some(b'*') {
            self.segments.push(Segment::One);
            return Ok(());
        }
        self.at += 1;
        if self.segments.contains(&Segment::Rest) {
            return Err((start, "a second \"**\": a template may have one"));
        }
        self.segments.push(Segment::Rest);
        Ok(())
    }

    fn variable(&mut self) -> Result<(), Fault> {
        let first = self.at + 1;
        loop {
            self.at += 1; // "{" or "."
            let rest = &self.text.as_bytes()[self.at..];
            let len = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
            if len == 0 || rest[0].is_ascii_digit() {
                return Err((self.at, "a field's name is expected here"));
            }
            self.at += len;
            if self.peek() != Some(b'.') {
                break;
            }
        }
        let field = &self.text[first..self.at];
        if self.variables.iter().any(|variable| &*variable.field == field) {
            return Err((first, "this variable is bound twice"));
        }
        let start = self.segments.len();
        if self.peek() == Some(b'=') {
            self.at += 1;
            self.segments(true)?;
        } else {
            self.segments.push(Segment::One);
        }
        match self.peek() {
            Some(b'}') => self.at += 1,
            Some(b':') => return Err((self.at, "a colon inside a variable")),
            Some(b'{') => return Err((self.at, "a variable inside a variable")),
            Some(_) => return Err((self.at, "\"}\" or \"=\" is expected here, or \"/\" between segments")),
            None => return Err((self.at, "the variable is not closed: \"}\" is missing")),
        }
        let end = self.segments.len();
        let multi = end - start > 1 || self.segments[start] == Segment::Rest;
        let column = column(self.text, first);
        self.variables.push(Variable { field: field.into(), column, start, end, multi });
        Ok(())
    }

    fn literal(&mut self, in_variable: bool) -> Result<(), Fault> {
        let start = self.at;
        // A colon in the last segment begins the verb.
        let last = memchr::memchr(b'/', &self.text.as_bytes()[start..]).is_none();
        while let Some(byte) = self.peek() {
            match byte {
                b'/' | b'{' | b'}' | b'*' => break,
                b':' if in_variable || last => break,
                _ => self.literal_byte(byte)?,
            }
        }
        let segment = self.decoded(start)?;
        self.segments.push(Segment::Literal(segment));
        Ok(())
    }

    fn verb(&mut self) -> Result<Box<[u8]>, Fault> {
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b'/' => {
                    return Err((
                        start - 1,
                        "a colon beside a variable or wildcard is a verb, and a verb ends the template",
                    ));
                }
                b'{' | b'}' | b'*' => return Err((self.at, "a verb is plain text")),
                _ => self.literal_byte(byte)?,
            }
        }
        if self.at == start { Err((start, "the verb after \":\" is missing")) } else { self.decoded(start) }
    }

    /// Steps over one byte of a literal: `pchar` of RFC 3986, or not ASCII.
    fn literal_byte(&mut self, byte: u8) -> Result<(), Fault> {
        if byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"-._~%!$&'()+,;=:@".contains(&byte) {
            self.at += 1;
            Ok(())
        } else {
            Err((self.at, "this character cannot be in a path: write it as a percent escape"))
        }
    }

    fn decoded(&self, start: usize) -> Result<Box<[u8]>, Fault> {
        let mut out = Vec::new();
        if decode(&self.text.as_bytes()[start..self.at], &mut out) {
            Ok(out.into())
        } else {
            Err((start, "a percent escape is \"%\" and two hex digits"))
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests;
