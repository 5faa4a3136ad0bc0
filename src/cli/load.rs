//! From a file's name to what runs, or to every problem of it as `file:line: path: message`.

use std::env;
use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use transom_transcode::schema::Schema;

use crate::config::{self, Config, MAX_TEXT};
use crate::sources;

use super::Refusal;

/// Reads a configuration and the schemas that it names.
pub(super) fn configuration(file: &Path) -> Result<(Config, Schema), Refusal> {
    let text = read(file)?;
    let name = file.display();
    let config = config::parse(&text, &|name| env::var(name).ok()).map_err(|problems| {
        let mut lines: Vec<_> = problems.iter().map(|problem| format!("{name}:{problem}")).collect();
        if problems.more() > 0 {
            lines.push(format!("{name}: and {} more problems", problems.more()));
        }
        Refusal { lines }
    })?;
    let schema = sources::load(&config.schema, file.parent().unwrap_or(Path::new("")));
    Ok((config, schema.map_err(|problems| Refusal::of(&problems))?))
}

/// The file's text, bounded.
fn read(file: &Path) -> Result<String, Refusal> {
    let cannot = |why: &dyn Display| Refusal::new(format!("{}: cannot be read: {why}", file.display()));
    let opened = File::open(file).map_err(|error| cannot(&error))?;
    let mut bytes = Vec::new();
    opened.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    String::from_utf8(bytes).map_err(|_| cannot(&"it is not UTF-8"))
}
