//! From a file's name to what runs, or to every problem of it as `file:line: path: message`.

use std::env;
use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use transom_transcode::schema::Schema;

use crate::config::{self, Config, Lookup, MAX_TEXT};
use crate::gateway::{Problem, Snapshot};
use crate::sources::{self, Reflections};
use crate::telemetry::Metrics;

use super::{Refusal, serve};

/// How long upstreams may take to say their schema before it goes on without.
const PATIENCE: Duration = Duration::from_secs(3);

/// Reads a configuration and everything that it names. Upstreams that are to be asked for their schema are asked once; the
/// notes say who did not answer.
pub(super) fn snapshot(file: &Path, metrics: &Arc<Metrics>, reflections: &Reflections) -> Result<Snapshot, Refusal> {
    let text = read(file)?;
    let mut silent = Vec::new();
    let lookup = |name: &str| env::var(name).ok();
    let mut snapshot = compile(&file.display().to_string(), &text, &lookup, metrics, |config| {
        if !config.schema.reflection.is_empty() {
            let runtime = serve::control().map_err(|refusal| vec![refusal.lines.join("\n")])?;
            silent = runtime.block_on(reflections.ask(config, PATIENCE));
        }
        let loaded = sources::load(config, file.parent().unwrap_or(Path::new("")), reflections);
        loaded.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    })?;
    snapshot.notes.append(&mut silent);
    Ok(snapshot)
}

/// What a configuration's text becomes; `name` stands for it in problems.
pub(super) fn compile<P: Display>(
    name: &str,
    text: &str,
    lookup: Lookup<'_>,
    metrics: &Arc<Metrics>,
    schema: impl FnOnce(&Config) -> Result<Schema, Vec<P>>,
) -> Result<Snapshot, Refusal> {
    let config = config::parse(text, lookup).map_err(|problems| {
        let mut lines: Vec<_> = problems.iter().map(|problem| format!("{name}:{problem}")).collect();
        if problems.more() > 0 {
            lines.push(format!("{name}: and {} more problems", problems.more()));
        }
        Refusal { lines }
    })?;
    let schema = schema(&config).map_err(|problems| Refusal::of(&problems))?;
    Snapshot::compile(&Arc::new(config), schema, metrics, None).map_err(|problems| {
        let line = |problem: &Problem| match problem {
            Problem::Config(problem) => format!("{name}:{problem}"),
            Problem::Schema(problem) => problem.to_string(),
        };
        Refusal { lines: problems.iter().map(line).collect() }
    })
}

/// The file's text, bounded.
fn read(file: &Path) -> Result<String, Refusal> {
    let cannot = |why: &dyn Display| Refusal::new(format!("{}: cannot be read: {why}", file.display()));
    let opened = File::open(file).map_err(|error| cannot(&error))?;
    let mut bytes = Vec::new();
    opened.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    String::from_utf8(bytes).map_err(|_| cannot(&"it is not UTF-8"))
}
