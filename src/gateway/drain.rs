//! Drain: the process is about to stop, told to who asks and to who waits.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How far the end has come, as calls and built-in endpoints see it.
#[derive(Debug, Default)]
pub struct Drain {
    /// Asked by each answer over HTTP/1.1, so no lock.
    has_begun: AtomicBool,
    begun: CancellationToken,
    closed: CancellationToken,
}

impl Drain {
    /// From now on the process is not ready.
    pub fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
        self.begun.cancel();
    }

    /// From now on nobody connects any more, and what would go on for ever has to end.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// The process is about to stop.
    pub fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }

    /// Waits until it is.
    pub fn begun(&self) -> WaitForCancellationFutureOwned {
        self.begun.clone().cancelled_owned()
    }

    /// Waits until nobody connects any more.
    pub fn closed(&self) -> WaitForCancellationFutureOwned {
        self.closed.clone().cancelled_owned()
    }
}
