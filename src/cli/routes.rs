//! `transom routes`: what is served, by which RPC and upstream, under which policy, and where each value of it is written.

use std::path::Path;

use crate::config::Source;
use crate::gateway::{Row, Value};

use super::{Refusal, load, output};

const HEAD: [&str; 6] = ["METHOD", "PATH", "RPC", "UPSTREAM", "TIMEOUT", "POLICY"];

/// Prints the table.
pub(super) fn routes(file: &Path) -> Result<(), Refusal> {
    let snapshot = load::snapshot(file)?;
    let rows = snapshot.routes();
    let cells: Vec<_> = rows.iter().map(|row| cells(row, file, &snapshot.config.source)).collect();
    output::print(&output::table(&HEAD, &cells))
}

fn cells(row: &Row, file: &Path, source: &Source) -> Vec<String> {
    let timeout = row.settings.iter().find(|value| value.key == "timeout");
    let others: Vec<_> = row
        .settings
        .iter()
        .filter(|value| value.key != "timeout" && value.from != "default")
        .map(|value| format!("{}: {}", value.key, describe(value, file, source)))
        .collect();
    vec![
        if row.method.is_empty() { "gRPC".to_owned() } else { row.method.clone() },
        row.path.clone(),
        row.rpc.clone(),
        row.upstream.clone(),
        timeout.map(|value| describe(value, file, source)).unwrap_or_default(),
        if others.is_empty() { "default".to_owned() } else { others.join(", ") },
    ]
}

/// A value and where it comes from: `5s (transom.yaml:17)`, `5s (booking.proto: …)`, `5s (default)`.
pub(super) fn describe(value: &Value, file: &Path, source: &Source) -> String {
    format!("{} ({})", value.value, origin(&value.from, file, source))
}

/// A key of the configuration as its line there, anything else as it is.
pub(super) fn origin(from: &str, file: &Path, source: &Source) -> String {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    source.line(from).map_or_else(|| from.to_owned(), |line| format!("{name}:{line}"))
}
