//! The text that a configuration was read from: without its secrets, and with the line of every key.

use std::collections::BTreeMap;
use std::ops::Range;

use super::vars::is_reference;

/// The text of a configuration and where its keys stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    text: String,
    lines: BTreeMap<String, usize>,
    elsewhere: Vec<String>,
}

impl Source {
    /// The text with `${VAR}` unexpanded and `***` in place of secrets; a secret that is only `${VAR}`, or says where it
    /// is kept, stays: it tells nothing.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line of a key such as `upstreams.booking.timeout` (see [`place`](super::place)), when the text has it.
    pub fn line(&self, path: &str) -> Option<usize> {
        self.lines.get(path).copied()
    }

    /// The secrets that are kept elsewhere: `file:PATH`, `vault:MOUNT/PATH#KEY`.
    pub fn elsewhere(&self) -> impl Iterator<Item = &str> {
        self.elsewhere.iter().map(String::as_str)
    }

    pub(super) fn new(
        text: &str,
        secrets: &[Range<usize>],
        lines: BTreeMap<String, usize>,
        elsewhere: Vec<String>,
    ) -> Self {
        let mut secrets: Vec<_> = secrets.to_vec();
        secrets.sort_by_key(|secret| secret.start);
        let mut masked = String::with_capacity(text.len());
        let mut copied = 0;
        for secret in secrets {
            let Some(written) = text.get(secret.clone()).filter(|_| secret.start >= copied) else { continue };
            if is_reference(written) {
                continue;
            }
            masked.push_str(&text[copied..secret.start]);
            masked.push_str("\"***\"");
            masked.push_str(&written[written.trim_end().len()..]);
            copied = secret.end;
        }
        masked.push_str(&text[copied..]);
        Self { text: masked, lines, elsewhere }
    }
}
