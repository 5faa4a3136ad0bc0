//! The call's end: what its client was told, one line of the log, the counters.

use std::borrow::Cow;
use std::time::Instant;

use transom_transcode::status::Code;

use super::{Call, UNBOUNDED};
use crate::body::{End, Guard};
use crate::envelope::stream::Stop;
use crate::error::Error;
use crate::telemetry::Entry;

/// What the client was told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) code: Code,
    pub(super) reason: Option<&'static str>,
    /// To the last byte.
    pub(super) whole: bool,
}

impl Guard for Call {
    fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    fn until(&self) -> Option<Instant> {
        Some(self.over().0).filter(|until| *until < self.started + UNBOUNDED)
    }

    fn ended(&mut self, end: Option<End>) {
        if let Some(outcome) = &mut self.outcome {
            outcome.whole = true;
            if let Some(end) = end {
                (outcome.code, outcome.reason) = (end.code, end.reason);
                self.cause = end.cause.map(Cow::Owned).or(self.cause.take());
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // A fault of a later message, whether its client has heard of it or not.
        if let Some(stop) = self.stop.clone()
            && let Some(fault) = stop.fault()
        {
            self.blame(fault);
        }
        let ended = Instant::now();
        let outcome = self.outcome.filter(|outcome| outcome.whole).unwrap_or_else(|| {
            let (until, why) = self.over();
            match self.outcome {
                Some(told) if ended >= until => Outcome { code: why.code(), reason: why.reason(), ..told },
                _ => {
                    let left = Error::ClientGone;
                    Outcome { status: left.http().as_u16(), code: left.code(), reason: left.reason(), whole: false }
                }
            }
        });
        // Of a client that has left nobody knows whether its call has changed something.
        if let Some(invalidates) = self.rpc().and_then(|rpc| rpc.invalidates.get()).filter(|_| self.asked) {
            invalidates.called(outcome.code, &self.touched);
        }
        let elapsed = ended.saturating_duration_since(self.started);
        let (logged, metrics) = match &self.route {
            Some(route) => (&route.logged, &route.metrics),
            None => (&self.worker.nowhere, &self.worker.unrouted),
        };
        if let Some((gated, place)) = self.gated().zip(self.place) {
            gated.places().0.leave(place);
        }
        self.worker.metrics.in_flight().dec();
        metrics.record(self.dialect.name(), outcome.code, elapsed);
        self.worker.log.write(&Entry {
            request_id: self.id.as_str(),
            client: self.client,
            method: self.method.as_str(),
            path: self.uri.path(),
            route: logged,
            dialect: self.dialect.name(),
            status: outcome.status,
            code: outcome.code,
            ended,
            elapsed,
            bytes_in: self.stop.as_ref().map_or(self.bytes_in, Stop::bytes),
            bytes_out: self.bytes_out,
            endpoint: self.endpoint.as_deref(),
            reason: outcome.reason,
            cause: self.cause.as_deref(),
        });
    }
}
