//! Attempt: one try at one endpoint, counted.

use std::sync::Arc;

use crate::telemetry::Outcome;

use super::connection::Connection;
use super::failure::{Failure, FailureKind};

/// A stream at an endpoint. Dropped without an outcome, its caller has left.
pub(super) struct Attempt {
    connection: Arc<Connection>,
    outcome: Outcome,
}

impl Attempt {
    pub(super) fn begin(connection: &Arc<Connection>) -> Self {
        connection.slot.endpoint.metrics.in_flight().inc();
        Self { connection: Arc::clone(connection), outcome: Outcome::Cancelled }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Where it goes.
    pub(super) fn endpoint(&self) -> &Arc<str> {
        &self.connection.slot.endpoint.label
    }

    pub(super) fn ended(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// The failure, with the endpoint's name on it.
    pub(super) fn failed(&mut self, failure: Failure) -> Failure {
        self.outcome = outcome(&failure.kind);
        failure.at(self.endpoint())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let endpoint = &self.connection.slot.endpoint;
        endpoint.metrics.in_flight().dec();
        endpoint.metrics.record(self.outcome);
        tracing::debug!(endpoint = %endpoint.label, outcome = self.outcome.name(), "upstream try");
    }
}

/// The failure's column in the metrics.
pub(super) fn outcome(kind: &FailureKind) -> Outcome {
    match kind {
        FailureKind::NoEndpoint | FailureKind::ConnectFailed => Outcome::ConnectFailed,
        FailureKind::Refused | FailureKind::Overloaded => Outcome::Refused,
        FailureKind::Reset => Outcome::Reset,
        FailureKind::Protocol | FailureKind::TooLarge { .. } => Outcome::Protocol,
        FailureKind::Deadline => Outcome::Deadline,
        FailureKind::ClientGone | FailureKind::Malformed => Outcome::Cancelled,
        FailureKind::Status(_) => Outcome::Status,
    }
}
