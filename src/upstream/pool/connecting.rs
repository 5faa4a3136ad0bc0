//! Connecting: a connection to an endpoint while it is made, and what becomes of it for those that wait.

use std::sync::Arc;

use super::Slot;
use crate::upstream::connection::Connection;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::failure::{Failure, FailureKind, Seen};

/// A connection in the making: dropped without an outcome, it has failed.
pub(in crate::upstream) struct Connecting {
    slot: Arc<Slot>,
    settled: bool,
}

impl Connecting {
    pub(super) fn of(slot: &Arc<Slot>) -> Self {
        Self { slot: Arc::clone(slot), settled: false }
    }

    pub(in crate::upstream) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.slot.endpoint
    }

    /// `make` gets the slot that the connection belongs to.
    pub(in crate::upstream) fn succeed(mut self, make: impl FnOnce(Arc<Slot>) -> Arc<Connection>) -> Arc<Connection> {
        self.settled = true;
        let connection = make(Arc::clone(&self.slot));
        self.slot.enter(Arc::clone(&connection));
        connection
    }

    pub(in crate::upstream) fn fail(mut self, failure: &Failure) {
        self.settled = true;
        self.slot.connect_failed(failure);
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if !self.settled {
            let failure = Failure::new(Seen::NotSeen, FailureKind::Draining, "the worker stops");
            self.slot.connect_failed(&failure);
        }
    }
}
