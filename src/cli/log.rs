//! The process's own log on stderr: text for a terminal, JSON otherwise; `RUST_LOG` chooses what.
//!
//! Its lines go the way of the calls' lines, through one bounded queue: a stderr that nobody reads costs lines, and nothing
//! ever waits for it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::env::{self, VarError};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Refusal;
use crate::telemetry::{AccessLog, Format};

/// Without `RUST_LOG`.
const DEFAULT: &str = "info";

/// Starts it, once in a process; `lost` counts lines that were dropped.
pub(super) fn start(lost: Arc<AtomicU64>) -> Result<Arc<AccessLog>, Refusal> {
    let written = match env::var("RUST_LOG") {
        Ok(written) if !written.is_empty() => written,
        Ok(_) | Err(VarError::NotPresent) => DEFAULT.to_owned(),
        Err(VarError::NotUnicode(_)) => return Err(Refusal::new("RUST_LOG: is not UTF-8")),
    };
    // By level and target alone: no span here has anything that one could choose by.
    let filter: Targets = written
        .trim_matches(',')
        .parse()
        .map_err(|error| Refusal::new(format!("RUST_LOG: {error}; write `info`, or `info,transom=debug`")))?;
    let all = AccessLog::stderr(lost).map_err(|error| Refusal::new(format!("the log cannot be started: {error}")))?;
    let lines = all.lines();
    let log = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(move || lines.clone());
    // That a log runs already is fine: it is the embedding program's.
    let _ = match all.format() {
        Format::Text => log.with(layer).try_init(),
        Format::Json => log.with(layer.json().flatten_event(true)).try_init(),
    };
    // The usual hook writes to stderr itself, and a worker would wait for whoever does not read it.
    panic::set_hook(Box::new(tell));
    Ok(Arc::new(all))
}

/// A panic, as one line of the log.
fn tell(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("a panic without a message");
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(thread, at, %backtrace, "panic: {message}");
    } else {
        tracing::error!(thread, at, "panic: {message}");
    }
}
