//! `transom serve`: the gateway, until SIGTERM or SIGINT; then it drains and exits 0. Another one ends the draining.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::gateway::{Gateway, Snapshot, State};
use crate::reload::{Files, Source};
use crate::server::{self, Limits, Listeners, OpenFiles, Server};
use crate::telemetry::{AccessLog, Metrics};
use crate::{admin, reload};

use super::{Refusal, load, log};

/// Serves a configuration.
pub(super) fn serve(file: &Path) -> Result<(), Refusal> {
    let metrics = Metrics::new();
    let log = log::start(metrics.lost_lines())?;
    let source = Source::file(file);
    let loaded = load::compile(&source, &metrics)?;
    control(run(source, loaded, metrics, log, |_, _| Ok(())))
}

/// A runtime of one thread: its own.
pub(super) fn runtime() -> Result<Runtime, Refusal> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Refusal::new(format!("the runtime cannot be started: {error}")))
}

/// Runs what is no call: signals, health checks, DNS, the admin port, reloads.
pub(super) fn control(work: impl Future<Output = Result<(), Refusal>>) -> Result<(), Refusal> {
    let runtime = runtime()?;
    let done = runtime.block_on(work);
    // A name that is being resolved, on a thread that cannot be told to stop, must not keep the process.
    runtime.shutdown_background();
    done
}

/// Serves what was loaded from a source, and what becomes of it, until the process is told to end; `listening` is called once
/// connections are taken, with where, and where the admin port is.
pub(super) async fn run(
    source: Source,
    (snapshot, files): (Snapshot, Files),
    metrics: Arc<Metrics>,
    log: Arc<AccessLog>,
    listening: impl FnOnce(SocketAddr, SocketAddr) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let config = snapshot.config.clone();
    let open_files = OpenFiles::raise();
    let (limits, fewer) = open_files.bound(Limits::compile(&config.clients));
    for note in snapshot.notes.iter().chain(&fewer) {
        tracing::warn!("{note}");
    }
    // Before the sockets are open: who sees them may send the signal.
    let mut shutdown = Shutdown::watch()?;
    let hangup = watch_signal(SignalKind::hangup())?;
    let listeners = Listeners::bind(&config).map_err(|error| Refusal::new(error.to_string()))?;
    let cannot = |error: std::io::Error| Refusal::new(format!("cannot serve: {error}"));
    let (address, admin_address) = (listeners.address().map_err(cannot)?, listeners.admin_address().map_err(cannot)?);
    let state = State::new(snapshot, metrics);
    let server = Server {
        listeners,
        gateway: Arc::new(Gateway::new(state.clone(), admin::public(state.clone()))),
        admin: admin::router(state.clone()),
        log,
        limits,
        open_files,
        state: state.clone(),
    };
    tracing::info!(%address, admin = %admin_address, "listening");
    listening(address, admin_address)?;
    let reloading = tokio::spawn(reload::run(state, source, files, hangup));
    let served = server::run(server, async || shutdown.told().await).await;
    reloading.abort();
    served.map_err(|error| {
        // By now nobody may read stderr: the log alone gives up on that.
        tracing::error!(%error, "cannot serve");
        Refusal::logged()
    })
}

fn watch_signal(kind: SignalKind) -> Result<Signal, Refusal> {
    signal(kind).map_err(|error| Refusal::new(format!("signals cannot be watched: {error}")))
}

/// SIGTERM and SIGINT.
pub(super) struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// From now on the signals end the process only through [`Shutdown::told`].
    pub(super) fn watch() -> Result<Self, Refusal> {
        Ok(Self {
            terminate: watch_signal(SignalKind::terminate())?,
            interrupt: watch_signal(SignalKind::interrupt())?,
        })
    }

    /// Returns when one has come, or another one.
    pub(super) async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
