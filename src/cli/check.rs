//! `transom check`: everything that `serve` and a reload would refuse, without serving: it loads as they do.

use std::path::Path;

use crate::config;
use crate::gateway::Snapshot;

use super::{Refusal, load, output, serve};

/// Tells every problem of a configuration and of what it names.
pub(super) fn check(file: &Path) -> Result<(), Refusal> {
    let snapshot = load::snapshot(file)?;
    output::print(&format!("{}{}{}: no problems\n", load::notes(&snapshot), keyless(&snapshot)?, file.display()))
}

/// A note for each issuer that gives no keys now: a start goes on without them, a reload to it is refused until it does.
fn keyless(snapshot: &Snapshot) -> Result<String, Refusal> {
    let Some(auth) = &snapshot.auth else { return Ok(String::new()) };
    let runtime = serve::runtime()?;
    let asked = runtime.block_on(auth.fetch_new(None));
    // A name that is being resolved must not keep the process.
    runtime.shutdown_background();
    let note = |(key, why)| {
        format!("note: auth.{key} gives no keys: {why}; until it does, calls that need them are refused (503)\n")
    };
    Ok(asked.err().unwrap_or_default().into_iter().map(note).collect())
}

/// Prints the JSON Schema of configurations.
pub(super) fn schema() -> Result<(), Refusal> {
    output::print(&config::json_schema())
}
