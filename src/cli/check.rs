//! `transom check`: everything that `serve` and a reload would refuse, without serving: it loads as they do.

use std::path::Path;

use crate::config;

use super::{Refusal, load, output};

/// Tells every problem of a configuration and of what it names.
pub(super) fn check(file: &Path) -> Result<(), Refusal> {
    let snapshot = load::snapshot(file)?;
    output::print(&format!("{}{}: no problems\n", load::notes(&snapshot), file.display()))
}

/// Prints the JSON Schema of configurations.
pub(super) fn schema() -> Result<(), Refusal> {
    output::print(&config::json_schema())
}
