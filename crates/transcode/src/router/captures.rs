//! A path cut into segments, and what the variables of its template captured: ranges into the raw path.

use std::ops::Range;

use crate::template::Template;

/// The work space of [`super::Router::find`], and its result: reuse it, and nothing is allocated.
#[derive(Debug, Default)]
pub struct Captures {
    pub(super) segments: Segments,
    /// Verbs that the path may end with, each with where the path ends without it.
    pub(super) splits: Vec<(u32, u32)>,
    /// The last literal that had to be decoded.
    pub(super) decoded: Vec<u8>,
    /// Methods of bindings that match the path.
    pub(super) others: Vec<u32>,
    values: Vec<(u32, u32)>,
}

/// The segments of a path.
#[derive(Debug, Default)]
pub(super) struct Segments {
    starts: Vec<u32>,
    /// Where the last one ends.
    pub(super) end: u32,
    /// The path has percent escapes, all of them well-formed.
    pub(super) escaped: bool,
}

/// A `%` without two hex digits.
#[derive(Debug)]
pub(super) struct BadEscape;

/// The segments of a variable, whatever `**` has matched.
#[derive(Debug)]
pub(super) struct Span {
    start: Place,
    end: Place,
}

/// A segment, counted from the front or, behind a `**`, from the back.
#[derive(Debug)]
enum Place {
    Front(usize),
    Back(usize),
}

impl Captures {
    /// The raw value of each variable of the found binding's template, in the template's order; `path` is the one
    /// that was searched for. Values are still percent-encoded.
    pub fn iter<'p>(&self, path: &'p str) -> impl ExactSizeIterator<Item = &'p str> {
        self.values.iter().map(|&(start, end)| path.get(start as usize..end as usize).unwrap_or_default())
    }

    /// Forgets what was found last.
    pub fn clear(&mut self) {
        self.values.clear();
    }

    pub(super) fn fill(&mut self, spans: &[Span]) {
        self.values.clear();
        for span in spans {
            let range = self.segments.range(self.segments.place(&span.start), self.segments.place(&span.end));
            self.values.push((range.start as u32, range.end as u32));
        }
    }
}

impl Segments {
    /// Cuts a path; false if it is none (`*`, or absurdly long).
    pub(super) fn split(&mut self, path: &str) -> Result<bool, BadEscape> {
        let bytes = path.as_bytes();
        self.starts.clear();
        let Ok(end) = u32::try_from(bytes.len()) else { return Ok(false) };
        if bytes.first() != Some(&b'/') {
            return Ok(false);
        }
        self.end = end;
        self.escaped = false;
        for at in memchr::memchr_iter(b'%', bytes) {
            self.escaped = true;
            let [high, low, ..] = bytes[at + 1..] else { return Err(BadEscape) };
            if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
                return Err(BadEscape);
            }
        }
        if bytes.len() > 1 {
            // Segments are short: to look at each byte costs a third of a search for the next slash.
            let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            self.starts.extend(slashes.map(|(at, _)| at as u32 + 1));
        }
        Ok(true)
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Where the last segment starts.
    pub(super) fn last_start(&self) -> usize {
        self.starts.last().map_or(self.end as usize, |start| *start as usize)
    }

    /// The bytes of segments `first` until before `end`; the slashes between them are included.
    pub(super) fn range(&self, first: usize, end: usize) -> Range<usize> {
        if first >= end {
            return 0..0;
        }
        let until = if end == self.starts.len() { self.end } else { self.starts[end] - 1 };
        self.starts[first] as usize..until as usize
    }

    fn place(&self, place: &Place) -> usize {
        match *place {
            Place::Front(at) => at,
            Place::Back(at) => self.starts.len().saturating_sub(at),
        }
    }
}

impl Span {
    /// The spans of a template's variables.
    pub(super) fn of(template: &Template, rest: Option<usize>) -> Box<[Self]> {
        let total = template.segments().len();
        let place = |at: usize| match rest {
            Some(rest) if at > rest => Place::Back(total - at),
            _ => Place::Front(at),
        };
        let spans = template.variables().iter();
        spans.map(|variable| Self { start: place(variable.start), end: place(variable.end) }).collect()
    }
}
