//! The process's own log on stderr: text for a terminal, JSON otherwise; `RUST_LOG` chooses what.

use std::env::{self, VarError};
use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

use super::Refusal;

/// Without `RUST_LOG`.
const DEFAULT: &str = "info";

/// Starts it, once in a process.
pub(super) fn start() -> Result<(), Refusal> {
    let written = match env::var("RUST_LOG") {
        Ok(written) if !written.is_empty() => written,
        Ok(_) | Err(VarError::NotPresent) => DEFAULT.to_owned(),
        Err(VarError::NotUnicode(_)) => return Err(Refusal::new("RUST_LOG: is not UTF-8")),
    };
    let filter = EnvFilter::try_new(&written)
        .map_err(|error| Refusal::new(format!("RUST_LOG: {error}; write `info`, or `info,transom=debug`")))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // That a log runs already is fine: it is the embedding program's.
    let _ = if stderr().is_terminal() { log.try_init() } else { log.json().flatten_event(true).try_init() };
    Ok(())
}
