//! Stop: what the rest of a call knows of its request's stream: how much of it came, and why it was stopped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::Error;

/// What both sides of a call share of its request: its bytes, and why it was broken off here. The upstream only sees it end.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicU64,
    fault: OnceLock<Box<Error>>,
}

impl Stop {
    /// Notes the client's fault. The first one counts.
    pub fn with(&self, error: Error) {
        // A second fault is a consequence of the first.
        let _ = self.0.fault.set(Box::new(error));
    }

    /// The client's fault, if it has made one.
    pub fn fault(&self) -> Option<&Error> {
        self.0.fault.get().map(|fault| &**fault)
    }

    /// So many bytes more have come.
    pub fn came(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The bytes that have come.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// The error to answer with: the client's own fault where there is one.
    pub fn or(&self, error: Error) -> Error {
        self.fault().cloned().unwrap_or(error)
    }
}
