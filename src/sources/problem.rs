//! What is wrong with what was written, or with a schema that it names.

use std::fmt;
use std::path::{Path, PathBuf};

use transom_transcode::schema;

use super::{MAX_SET, read};
use crate::config::{self, Config};

/// Why a configuration and its schemas cannot run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// In the configuration.
    Config(config::Problem),
    /// In a schema.
    Schema(schema::Problem),
}

impl Problem {
    /// A problem of a place of the configuration, at the line of the innermost key on the way there.
    pub fn of(config: &Config, path: String, message: String) -> Self {
        let mut key = &*path;
        let line = loop {
            if let Some(line) = config.source.line(key) {
                break line;
            }
            match key.rfind(['.', '[']) {
                Some(end) => key = &key[..end],
                None => break 1,
            }
        };
        Self::Config(config::Problem { line, path, message })
    }

    /// The same problem of a schema, in the file and at the line where a person finds it.
    #[must_use]
    pub fn located(self, config: &Config, folder: &Path) -> Self {
        let Self::Schema(mut problem) = self else { return self };
        let below = |protos: &PathBuf| folder.join(protos).join(&problem.file);
        let file = config.schema.protos.iter().map(below).find(|file| file.is_file());
        if let Some(file) = file.filter(|_| !problem.file.is_empty()) {
            let text = read(&file, MAX_SET, "file").ok().and_then(|bytes| String::from_utf8(bytes).ok());
            problem.file = file.display().to_string();
            if let Some(line) = text.and_then(|text| line_of(&text, &problem.symbol)) {
                problem.file.push_str(&format!(":{line}"));
            }
        }
        Self::Schema(problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problem) => problem.fmt(f),
            Self::Schema(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for Problem {}

/// The line on which a `.proto` file declares a service, or a method of one, by its full name.
fn line_of(text: &str, symbol: &str) -> Option<usize> {
    let mut names = symbol.rsplit('.');
    let (last, before) = (names.next()?, names.next().unwrap_or_default());
    let (mut service, mut keyword) = ("", "");
    for (line, _, word) in words(text) {
        match keyword {
            "service" if word == last => return Some(line),
            "service" => service = word,
            "rpc" if word == last && service == before => return Some(line),
            _ => {}
        }
        keyword = word;
    }
    None
}

/// The words of a `.proto` file outside of comments and strings, each with its line and the byte that it begins at.
pub(super) fn words(text: &str) -> impl Iterator<Item = (usize, usize, &str)> {
    let mut rest = text;
    let mut line = 1;
    std::iter::from_fn(move || {
        loop {
            let length = match rest.as_bytes() {
                [] => return None,
                [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
                [b'/', b'*', ..] => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
                [quote @ (b'"' | b'\''), ..] => 1 + string(&rest.as_bytes()[1..], *quote),
                [byte, ..] if byte.is_ascii_alphanumeric() || *byte == b'_' => {
                    let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_');
                    let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
                    let at = text.len() - rest.len();
                    rest = after;
                    return Some((line, at, word));
                }
                _ => rest.chars().next().map_or(1, char::len_utf8),
            };
            let (passed, after) = rest.split_at(length);
            line += passed.matches('\n').count();
            rest = after;
        }
    })
}

/// The bytes of a string up to its end.
fn string(bytes: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if at + 1 < bytes.len() && bytes[at + 1].is_ascii() => at += 2,
            byte if *byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::line_of;

    #[test]
    fn methods_are_found_outside_of_comments_and_strings() {
        let text = "// service S { rpc Get\nservice T { rpc Get(M) returns (M); }\n/* rpc\n*/\nservice S {\n\
                    option (o) = \"} \\\" service T { rpc Get ä\";\n  rpc\n    Get (M) returns (M);\n}\n";
        for (symbol, line) in [
            ("a.S.Get", Some(8)),
            ("a.T.Get", Some(2)),
            ("S.Get", Some(8)),
            ("a.S", Some(5)),
            ("a.S.Put", None),
            ("", None),
        ] {
            assert_eq!(line_of(text, symbol), line, "{symbol}");
        }
        for cut in 0..text.len() {
            let _ = text.get(..cut).map(|text| line_of(text, "a.S.Put"));
        }
    }
}
