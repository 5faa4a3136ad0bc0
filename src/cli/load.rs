//! From a file's name to what it says, or to every problem of it as `file:line: path: message`.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::config::{self, Config, MAX_TEXT};

use super::Refusal;

/// Reads a configuration.
pub(super) fn configuration(file: &Path) -> Result<Config, Refusal> {
    let text = read(file)?;
    match config::parse(&text, &|name| env::var(name).ok()) {
        Ok(config) => Ok(config),
        Err(problems) => {
            let mut lines: Vec<_> = problems.iter().map(|problem| format!("{}:{problem}", file.display())).collect();
            if problems.more() > 0 {
                lines.push(format!("{}: and {} more problems", file.display(), problems.more()));
            }
            Err(Refusal { lines })
        }
    }
}

/// The file's text, bounded.
fn read(file: &Path) -> Result<String, Refusal> {
    let cannot = |why: &dyn std::fmt::Display| Refusal::new(format!("{}: cannot be read: {why}", file.display()));
    let opened = File::open(file).map_err(|error| cannot(&error))?;
    let mut bytes = Vec::new();
    opened.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    String::from_utf8(bytes).map_err(|_| cannot(&"it is not UTF-8"))
}
