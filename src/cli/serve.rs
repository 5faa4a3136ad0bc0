//! `transom serve`: the gateway, until SIGTERM or SIGINT; then it drains and exits 0.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin;
use crate::gateway::{Gateway, Reason, Snapshot, State};
use crate::server::{self, Limits, Listeners, Server};
use crate::sources::Reflections;
use crate::telemetry::{AccessLog, Metrics};

use super::{Refusal, load, log};

/// Serves a configuration.
pub(super) fn serve(file: &Path) -> Result<(), Refusal> {
    let metrics = Metrics::new();
    let log = log::start(metrics.lost_lines())?;
    let reflections = Arc::default();
    let snapshot = load::snapshot(file, &metrics, &reflections)?;
    control()?.block_on(run(snapshot, reflections, metrics, log, |_| Ok(())))
}

/// The runtime of everything that is no call: signals, health checks, DNS, the admin port.
pub(super) fn control() -> Result<Runtime, Refusal> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Refusal::new(format!("the runtime cannot be started: {error}")))
}

/// Serves a snapshot until the process is told to end; `listening` is called once connections are taken.
pub(super) async fn run(
    snapshot: Snapshot,
    reflections: Arc<Reflections>,
    metrics: Arc<Metrics>,
    log: Arc<AccessLog>,
    listening: impl FnOnce(SocketAddr) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let config = snapshot.config.clone();
    for note in &snapshot.notes {
        tracing::warn!("{note}");
    }
    // Before the sockets are open: who sees them may send the signal.
    let shutdown = Shutdown::watch()?;
    let listeners = Listeners::bind(&config).map_err(|error| Refusal::new(error.to_string()))?;
    let cannot = |error: std::io::Error| Refusal::new(format!("cannot serve: {error}"));
    let (address, admin_address) = (listeners.address().map_err(cannot)?, listeners.admin_address().map_err(cannot)?);
    let state = State::new(snapshot, metrics);
    let builtin = admin::public(state.clone(), &config.public_endpoints);
    let server = Server {
        listeners,
        gateway: Arc::new(Gateway::new(state.clone(), builtin)),
        admin: admin::router(state.clone(), &config.admin),
        log,
        limits: Limits::default(),
        state: state.clone(),
    };
    reflections.follow(&config, move |upstream| state.reloads.trigger(Reason::Reflection(upstream.into())));
    tracing::info!(%address, admin = %admin_address, "listening");
    listening(address)?;
    server::run(server, shutdown.told()).await.map_err(|error| {
        // By now nobody may read stderr: the log alone gives up on that.
        tracing::error!(%error, "cannot serve");
        Refusal::logged()
    })
}

/// SIGTERM and SIGINT.
pub(super) struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// From now on the signals end the process only through [`Shutdown::told`].
    pub(super) fn watch() -> Result<Self, Refusal> {
        let watch = |kind| signal(kind).map_err(|error| Refusal::new(format!("signals cannot be watched: {error}")));
        Ok(Self { terminate: watch(SignalKind::terminate())?, interrupt: watch(SignalKind::interrupt())? })
    }

    /// Returns when one has come.
    pub(super) async fn told(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
