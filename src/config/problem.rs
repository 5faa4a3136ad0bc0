//! What is wrong with a configuration: every problem at once, each with its place and the way out.

use std::borrow::Cow;
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
            write!(f, "{}: ", shown(&self.path))?;
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

    /// Something is wrong at or within a place.
    pub(super) fn within(&self, place: &str) -> bool {
        let is =
            |path: &str| path.strip_prefix(place).is_some_and(|rest| matches!(rest.as_bytes(), [] | [b'.' | b'[', ..]));
        self.kept.iter().any(|problem| is(&problem.path))
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

/// The user's text inside a message: in backquotes, without control characters, not too long, and without what a URL says of
/// who asks: a password in one that is wrong is a password all the same.
pub(super) fn quote(text: &str) -> String {
    format!("`{}`", brief(text))
}

/// The same, bare.
fn brief(text: &str) -> String {
    const SHOWN: usize = 80;
    let text = &without_userinfo(text);
    let mut brief = String::with_capacity(text.len().min(SHOWN));
    for (index, char) in text.chars().enumerate() {
        if index == SHOWN {
            brief.push('…');
            break;
        }
        if char.is_control() {
            brief.extend(char.escape_default());
        } else {
            brief.push(char);
        }
    }
    brief
}

/// A place as messages show it: what stands in quotes is the user's text.
fn shown(place: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(place.len()), place);
    while let Some((before, quoted)) = rest.split_once("[\"") {
        let mut escaped = false;
        let end = quoted.find(|char| {
            let ends = char == '"' && !escaped;
            escaped = char == '\\' && !escaped;
            ends
        });
        let (key, after) = quoted.split_at(end.unwrap_or(quoted.len()));
        shown.extend([before, "[\"", &brief(key)]);
        rest = after;
    }
    shown + rest
}

/// A URL without what stands before its host, which may be a secret. What is no URL by a slip is cut as if it were one.
pub(super) fn without_userinfo(text: &str) -> Cow<'_, str> {
    let (scheme, rest) = text.find("://").map_or(("", text), |at| text.split_at(at + 3));
    match rest.rsplit_once('@') {
        // Without a scheme `a@b` may be anything; with a colon before it, it looks like a password.
        Some((user, host)) if !scheme.is_empty() || user.contains(':') => Cow::Owned(format!("{scheme}…@{host}")),
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::{Problem, quote};
    use crate::config::place;

    #[test]
    fn what_may_be_a_password_is_not_repeated() {
        for (text, told) in [
            ("redis://user:hunter2@h:6379", "`redis://…@h:6379`"),
            ("redis://:hunter2@h:x", "`redis://…@h:x`"),
            ("http://u:hunt@er/2@h/a?b", "`http://…@h/a?b`"),
            ("user:hunter2@h:6379", "`…@h:6379`"),
            ("http://h/a", "`http://h/a`"),
            ("ada@example.com", "`ada@example.com`"),
            ("a:b", "`a:b`"),
        ] {
            assert_eq!(quote(text), told);
        }
    }

    #[test]
    fn a_place_is_shown_short_and_its_quotes_are_not_left() {
        let long = "a".repeat(90) + ".B/C";
        let cut = "a".repeat(80) + "…";
        for (keys, told) in [
            (&["methods", long.as_str(), "timeout"][..], format!(r#"methods["{cut}"].timeout"#)),
            (&["a", "redis://u:hunter2@h"], r#"a["redis://…@h"]"#.to_owned()),
            (&["\"]", "\\", "b"], r#"["\"]"]["\\"].b"#.to_owned()),
        ] {
            let problem = Problem { line: 1, path: place(keys), message: "wrong".to_owned() };
            assert_eq!(problem.to_string(), format!("1: {told}: wrong"));
        }
        assert_ne!(
            place(&["methods", &long]),
            place(&["methods", &(long.clone() + "D")]),
            "it is not cut where it is told apart"
        );
    }
}
