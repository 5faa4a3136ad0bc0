//! What is wrong with a configuration: every problem at once, each with its place and the way out.

use std::fmt;

/// Problems beyond this many are counted, not kept.
const KEPT: usize = 100;

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line in the file, from 1.
    pub line: usize,
    /// The place in the document, as `upstreams.booking.endpoints[1]`; empty for the document itself.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.line)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// All problems of one file, by line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    kept: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// The problems that are kept, by line.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.kept.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many more there are than [`Problems::iter`] gives.
    pub fn more(&self) -> usize {
        self.more
    }

    pub(super) fn push(&mut self, line: usize, path: String, message: String) {
        if self.kept.len() == KEPT {
            self.more += 1;
        } else {
            self.kept.push(Problem { line, path, message });
        }
    }

    pub(super) fn sorted(mut self) -> Self {
        self.kept.sort_by_key(|problem| problem.line);
        self
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.kept {
            writeln!(f, "{problem}")?;
        }
        if self.more > 0 {
            writeln!(f, "and {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The user's text inside a message: in backquotes, without control characters, not too long.
pub(super) fn quote(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut quoted = String::with_capacity(text.len().min(SHOWN) + 2);
    quoted.push('`');
    for (index, char) in text.chars().enumerate() {
        if index == SHOWN {
            quoted.push('…');
            break;
        }
        if char.is_control() {
            quoted.extend(char.escape_default());
        } else {
            quoted.push(char);
        }
    }
    quoted.push('`');
    quoted
}
