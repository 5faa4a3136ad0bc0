//! Permit: one of the calls that an upstream may have in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::concurrency::Adaptive;
use super::failure::{Failure, FailureKind, Seen};
use super::{Outgoing, Upstream};
use crate::policy::overload::{Wish, share};

/// A call in flight; dropped, it is none any more.
pub(super) struct Permit {
    in_flight: Arc<AtomicUsize>,
    /// Who wants to know how long it takes.
    measured: Option<Box<Measured>>,
}

struct Measured {
    adaptive: Arc<Adaptive>,
    since: Instant,
    /// Its deadline is not of the client's making.
    patient: bool,
    /// It is a stream: however long it takes, that says nothing.
    stream: bool,
}

impl Drop for Measured {
    fn drop(&mut self) {
        if self.stream {
            self.adaptive.closed();
        }
    }
}

impl Upstream {
    /// A place for what crosses unread: a stream's, unless it is one message there and one back.
    pub(super) fn permit_unread(&self, outgoing: &Outgoing<'_>) -> Result<Permit, Failure> {
        let permit = self.permit(outgoing)?;
        Ok(if outgoing.single { permit } else { permit.of_stream() })
    }

    /// A place for the call, if its priority leaves it one.
    pub(super) fn permit(&self, outgoing: &Outgoing<'_>) -> Result<Permit, Failure> {
        let most = self.adaptive.as_ref().map_or(self.config.limits.in_flight, |adaptive| adaptive.limit());
        let before = self.group.in_flight.fetch_add(1, Ordering::Relaxed);
        let in_flight = Arc::clone(&self.group.in_flight);
        let mut permit = Permit { in_flight, measured: None };
        if before < share(most, Wish { priority: outgoing.priority, streams: !outgoing.single }) {
            permit.measured = self.adaptive.clone().map(|adaptive| {
                Box::new(Measured { adaptive, since: Instant::now(), patient: outgoing.patient, stream: false })
            });
            return Ok(permit);
        }
        self.group.refused.count();
        Err(Failure::new(Seen::Local, FailureKind::Overloaded, "limits.in_flight is reached"))
    }
}

impl Permit {
    /// The same, of a stream.
    pub(super) fn of_stream(mut self) -> Self {
        self.streams(true);
        self
    }

    /// From now on it is a stream's, or a call's.
    #[inline]
    pub(super) fn streams(&mut self, stream: bool) {
        if let Some(measured) = self.measured.as_mut().filter(|measured| measured.stream != stream) {
            measured.stream = stream;
            if stream { measured.adaptive.opened() } else { measured.adaptive.closed() }
        }
    }

    /// It was served, by one try: that is how long calls take.
    #[inline]
    pub(super) fn served(&self) {
        if let Some(measured) = self.measured.as_ref().filter(|measured| !measured.stream) {
            measured.adaptive.took(measured.since.elapsed(), self.in_flight.load(Ordering::Relaxed));
        }
    }

    /// Its service has begun to answer, `since` it had all of the request where that was not at once; `alone`: by the only try. What
    /// is left is up to who reads it, and goes on as a stream does.
    pub(super) fn spoke(mut self, since: Option<Instant>, alone: bool) -> Self {
        if let (Some(measured), Some(since)) = (&mut self.measured, since) {
            measured.since = since;
        }
        if alone {
            self.served();
        }
        self.of_stream()
    }

    /// It was not. Only of one that was given time enough that says how long calls take: longer.
    pub(super) fn failed(&self, failure: Failure) -> Failure {
        if matches!(failure.kind, FailureKind::Deadline)
            && self.measured.as_ref().is_some_and(|measured| measured.patient)
        {
            self.served();
        }
        failure
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
