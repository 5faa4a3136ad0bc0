//! From a file's name to what runs, or to every problem of it: the way of `serve` and of every command that looks only.

use std::path::Path;
use std::sync::Arc;

use crate::gateway::Snapshot;
use crate::reload::{Files, Load, Source, lines};
use crate::telemetry::Metrics;

use super::Refusal;

/// What a file says, compiled to be looked at.
pub(super) fn snapshot(file: &Path) -> Result<Snapshot, Refusal> {
    compile(&Source::file(file), &Metrics::new()).map(|(snapshot, _)| snapshot)
}

/// What is no problem and may still surprise, a line each.
pub(super) fn notes(snapshot: &Snapshot) -> String {
    snapshot.notes.iter().map(|note| format!("note: {note}\n")).collect()
}

/// What a source says, compiled, and the files that it was read from.
pub(super) fn compile(source: &Source, metrics: &Arc<Metrics>) -> Result<(Snapshot, Files), Refusal> {
    let Load { files, outcome, .. } = source.load();
    let loaded = outcome.map_err(|lines| Refusal { lines })?;
    match loaded.compile(metrics, None) {
        Ok(snapshot) => Ok((snapshot, files.unwrap_or_default())),
        Err(problems) => Err(Refusal { lines: lines(source.name(), &problems) }),
    }
}
