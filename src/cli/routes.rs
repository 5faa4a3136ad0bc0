//! `transom routes`: what is served, by which RPC and upstream, under which policy, and where each value of it is written.
//! What holds of a whole upstream, or of all methods, is told once, below.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::Source;
use crate::gateway::{Row, Value};

use super::{Refusal, load, output};

const HEAD: [&str; 8] = ["METHOD", "PATH", "RPC", "UPSTREAM", "TIMEOUT", "AUTH", "LIMITS", "POLICY"];
const HEAD_BELOW: [&str; 2] = ["ALL OF", "POLICY"];

/// Prints the table.
pub(super) fn routes(file: &Path) -> Result<(), Refusal> {
    let snapshot = load::snapshot(file)?;
    let rows = snapshot.routes();
    if rows.is_empty() {
        return output::print(&format!("{}{}: clients reach no method\n", load::notes(&snapshot), file.display()));
    }
    let cells: Vec<_> = rows.iter().map(|row| cells(row, file, &snapshot.config.source)).collect();
    let below: BTreeSet<_> = rows.iter().flat_map(|row| shared(row, file, &snapshot.config.source)).collect();
    let below: Vec<_> = below.into_iter().collect();
    let below = if below.is_empty() { String::new() } else { format!("\n{}", output::table(&HEAD_BELOW, &below)) };
    output::print(&format!("{}{below}", output::table(&HEAD, &cells)))
}

fn cells(row: &Row, file: &Path, source: &Source) -> Vec<String> {
    let told = |key: &str| row.settings.iter().find(|value| value.key == key);
    let told = |key: &str| told(key).map(|value| describe(value, file, source)).unwrap_or_default();
    let own = |value: &&Value| value.from != "default" && place_of_all(value).is_none();
    let is_limit = |value: &Value| value.key == "rate_limits" || value.key.starts_with("limits.");
    let (limits, others): (Vec<_>, Vec<_>) = row
        .settings
        .iter()
        .filter(|value| !["timeout", "auth"].contains(&value.key))
        .filter(own)
        .partition(|value| is_limit(value));
    let list = |values: Vec<&Value>, none: &str| match values.is_empty() {
        true => none.to_owned(),
        false => values.into_iter().map(|value| named(value, file, source)).collect::<Vec<_>>().join(", "),
    };
    vec![
        if row.method.is_empty() { "gRPC".to_owned() } else { row.method.clone() },
        row.path.clone(),
        row.rpc.clone(),
        row.upstream.clone(),
        told("timeout"),
        told("auth"),
        list(limits, "none"),
        list(others, "default"),
    ]
}

/// What a row shares with others: with those of its upstream, or with all.
fn shared<'a>(row: &'a Row, file: &'a Path, source: &'a Source) -> impl Iterator<Item = Vec<String>> + 'a {
    let values = row.settings.iter().filter(|value| value.key != "timeout");
    values.filter_map(move |value| {
        let all = match place_of_all(value)? {
            "upstreams" => row.upstream.clone(),
            _ => "*".to_owned(),
        };
        Some(vec![all, named(value, file, source)])
    })
}

/// The section that says a value of more than the methods that it names.
fn place_of_all(value: &Value) -> Option<&'static str> {
    let section = value.from.split(['.', '[']).next()?;
    ["upstreams", "cors", "headers"].into_iter().find(|all| *all == section)
}

fn named(value: &Value, file: &Path, source: &Source) -> String {
    format!("{}: {}", value.key, describe(value, file, source))
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
