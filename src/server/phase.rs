//! The life of a server: it serves, drains, closes, and lets go.

use tokio::sync::watch;

/// How far the end has come; each phase is later than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// All is well.
    Serving,
    /// The end is announced: HTTP/2 clients get GOAWAY, HTTP/1.1 answers say `connection: close`. New connections are
    /// still taken, since clients and load balancers learn only now.
    Draining,
    /// No new connections. Those without a call are closed, the others after their calls.
    Closing,
    /// The time is over: what is left says so, and is dropped.
    Gone,
}

/// A server's phase, as its parts see it.
pub(super) type Phases = watch::Receiver<Phase>;

/// Waits for a phase; a server whose end has been lost is gone.
pub(super) async fn reached(phases: &mut Phases, phase: Phase) {
    let _ = phases.wait_for(|now| *now >= phase).await;
}
