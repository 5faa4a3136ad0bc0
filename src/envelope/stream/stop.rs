//! Stop: what an answer's side knows of its request's.

use std::sync::{Arc, OnceLock};

use crate::error::Error;

/// Why a request was broken off here, shared by both sides of its call. The upstream only sees it end.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<OnceLock<Error>>);

impl Stop {
    /// Notes the client's fault. The first one counts.
    pub fn with(&self, error: Error) {
        // A second fault is a consequence of the first.
        let _ = self.0.set(error);
    }

    /// The error to answer with: the client's own fault where there is one.
    pub fn or(&self, error: Error) -> Error {
        self.0.get().cloned().unwrap_or(error)
    }
}
