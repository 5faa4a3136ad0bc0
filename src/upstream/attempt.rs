//! Attempt: one try at one endpoint, counted, and judged by what it says of that endpoint.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use transom_transcode::status::Code;

use crate::telemetry::Outcome;

use super::breaker::Pass;
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::failure::{Failure, FailureKind};
use super::{Outgoing, Upstream};

/// A client that gives up in less asks for what hardly anybody keeps.
const LONG: Duration = Duration::from_millis(100);

/// A stream at an endpoint. Dropped without an outcome, its caller has left.
pub(super) struct Attempt {
    connection: Arc<Connection>,
    outcome: Outcome,
    /// That its deadline passes is the endpoint's fault: the deadline is not of the client's making.
    patient: bool,
    /// Whose deadline passes is behind with its own part.
    excused: bool,
    probe: Option<Probe>,
    began: Instant,
    /// It may go on for as long as its client likes.
    lasts: bool,
    /// The endpoint was judged by it.
    judged: bool,
    /// What the log says of it, where it does.
    told: Option<Box<Told>>,
}

/// Whose try it is.
struct Told {
    request_id: Option<HeaderValue>,
    rpc: Box<str>,
    upstream: Arc<str>,
    /// The how manieth of its call.
    attempt: u16,
    code: Option<Code>,
}

/// The right to one of the few calls that an endpoint gets to prove itself; dropped unused, another call has it. In a box, since
/// every call has room for one and hardly any has one.
pub(super) struct Probe(Box<Given>);

struct Given {
    endpoint: Arc<Endpoint>,
    pass: Pass,
    used: bool,
}

impl Probe {
    /// If the endpoint's breaker gives one now, to a call whose answer is `due` or to a stream.
    pub(super) fn of(endpoint: &Arc<Endpoint>, due: bool, now: Instant) -> Option<Self> {
        let pass = endpoint.breaker.probe(now, due)?;
        Some(Self(Box::new(Given { endpoint: Arc::clone(endpoint), pass, used: false })))
    }

    /// Its client has said nothing yet: others need not wait for what it shows.
    fn quiet(&mut self) {
        if self.0.pass.due {
            self.0.pass = self.0.endpoint.breaker.quiet(self.0.pass, Instant::now());
        }
    }

    fn used(mut self) -> Pass {
        self.0.used = true;
        self.0.pass
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if !self.0.used {
            self.0.endpoint.breaker.released(self.0.pass);
        }
    }
}

impl Attempt {
    pub(super) fn begin(
        connection: &Arc<Connection>,
        probe: Option<Probe>,
        (patient, lasts): (bool, bool),
        began: Instant,
    ) -> Self {
        connection.slot.endpoint.enter();
        Self {
            connection: Arc::clone(connection),
            outcome: Outcome::Cancelled,
            patient,
            excused: false,
            probe,
            began,
            lasts,
            judged: false,
            told: None,
        }
    }

    /// The log is to say whose try it is, if it says that much.
    #[inline]
    pub(super) fn is_of(&mut self, upstream: &Upstream, outgoing: &Outgoing<'_>, attempt: u16) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            self.told = Some(Box::new(Told {
                request_id: outgoing.headers.request_id().cloned(),
                rpc: outgoing.uri.path().trim_start_matches('/').into(),
                upstream: Arc::clone(upstream.name()),
                attempt,
                code: None,
            }));
        }
    }

    /// The service has said so.
    fn said(&mut self, code: Option<Code>) {
        if let Some(told) = &mut self.told {
            told.code = code;
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Where it goes.
    pub(super) fn endpoint(&self) -> &Arc<str> {
        &self.connection.slot.endpoint.label
    }

    /// It has the call's time from now on, and no try's; `patient` says whether that is the client's making.
    pub(super) fn lasts(&mut self, patient: bool) {
        self.patient = patient;
    }

    /// The client is behind with its part: a deadline that passes now is not the endpoint's fault.
    pub(super) fn excuse(&mut self) {
        (self.patient, self.excused) = (false, true);
    }

    /// Its client is to speak first, and has not.
    pub(super) fn waits(&mut self) {
        if let Some(probe) = &mut self.probe {
            probe.quiet();
        }
    }

    /// A message of a stream came. That one came says little of those that follow: what it comes to is seen at its end, or once
    /// it has lasted. As a probe it serves.
    #[inline]
    pub(super) fn goes_on(&mut self) {
        if !self.judged && !self.connection.slot.endpoint.breaker.is_calm() {
            self.lasted();
        }
    }

    #[cold]
    fn lasted(&mut self) {
        if self.probe.is_some() || self.connection.slot.endpoint.breaker.forgets(self.began.elapsed()) {
            self.served();
        }
    }

    /// It serves.
    #[inline]
    pub(super) fn served(&mut self) {
        if !self.judged {
            self.judge(Ok(()));
        }
    }

    /// A unary call was answered.
    #[inline]
    pub(super) fn answered(&mut self) {
        self.ended(Some(Code::Ok));
        self.spoke(None);
    }

    /// The answer to a unary call has come, or the first of it: so long it has taken, `since` its service had all of the request
    /// where that was not at once.
    #[inline]
    pub(super) fn spoke(&self, since: Option<Instant>) {
        self.connection.slot.endpoint.counts.served(since.unwrap_or(self.began));
    }

    /// The head of a stream came. Its messages may take their time, and other calls are refused as long as nobody knows.
    pub(super) fn opened(&mut self) {
        if self.probe.is_some() {
            self.served();
        }
    }

    /// Another try was answered before: this one would have taken at least as long as it has by now. A probe has failed then,
    /// and so has the first of those that were under way together: an endpoint that is slow now and then serves in between, and what
    /// counts is what fails in a row. `unheard`: it had not answered at all.
    pub(super) fn overtaken(&mut self, unheard: bool) {
        let endpoint = &self.connection.slot.endpoint;
        endpoint.counts.served(self.began);
        if unheard {
            endpoint.counts.overtaken();
        }
        if self.probe.is_some() || endpoint.lags(self.began) {
            let probe = self.probe.take().map(Probe::used);
            let slot = &self.connection.slot;
            if let Some(circuit) = slot.endpoint.breaker.failed(probe, Instant::now()) {
                slot.turned(circuit);
            }
        }
    }

    /// It ended with this status; none is an answer that breaks the protocol.
    pub(super) fn ended(&mut self, code: Option<Code>) {
        self.said(code);
        self.outcome = match code {
            Some(Code::Ok) => Outcome::Ok,
            Some(_) => Outcome::Status,
            None => Outcome::Protocol,
        };
        match code.is_some_and(|code| self.is_well(code)) {
            true => self.served(),
            false => {
                let cause = code.map_or("the answer broke the protocol", Code::name);
                self.fails(&cause);
            }
        }
    }

    /// It ended with a status that its request has brought about: that says nothing.
    pub(super) fn provoked(&mut self) {
        self.said(Some(Code::Internal));
        self.outcome = Outcome::Status;
    }

    /// The failure, with the endpoint's name on it.
    pub(super) fn failed(&mut self, failure: Failure) -> Failure {
        self.outcome = outcome(&failure.kind);
        self.said(failure.code());
        match &failure.kind {
            FailureKind::Status(answer) if answer.provoked => {}
            FailureKind::Cancelled { provoked: true } => {}
            FailureKind::Status(answer) if answer.http.is_some() && !answer.is_foreign() => self.served(),
            FailureKind::Status(answer) if !answer.is_foreign() && self.is_well(answer.status.code) => self.served(),
            FailureKind::Reset | FailureKind::Cancelled { .. } if self.connection.was_wearied() => {}
            // However many calls a connection carried: it breaks once, though each of them has failed. So it does where h2 ends it for what
            // one of them was answered.
            FailureKind::Reset | FailureKind::Protocol if self.connection.drains() && !self.connection.breaks() => {
                self.connection.slot.endpoint.counts.failed();
            }
            FailureKind::Status(_) | FailureKind::Protocol => self.fails(&failure),
            FailureKind::Reset | FailureKind::Cancelled { .. } => self.judge(Err(&failure)),
            FailureKind::Deadline if self.patient => self.judge(Err(&failure)),
            // A client's own deadline may be too short for anybody: its peers say whether it was.
            FailureKind::Deadline if !self.excused && self.began.elapsed() >= LONG => {
                self.connection.slot.endpoint.counts.failed();
            }
            FailureKind::TooLarge { .. } => self.served(),
            FailureKind::NoEndpoint
            | FailureKind::CircuitOpen { .. }
            | FailureKind::ConnectFailed
            | FailureKind::Refused
            | FailureKind::Expelled
            | FailureKind::Deadline
            | FailureKind::Aged
            | FailureKind::Draining
            | FailureKind::Overloaded
            | FailureKind::ClientGone
            | FailureKind::HeadTooLarge { .. }
            | FailureKind::Malformed => {}
        }
        failure.at(self.endpoint())
    }

    /// A status that an endpoint in good order may answer.
    fn is_well(&self, code: Code) -> bool {
        match code {
            Code::Unavailable | Code::Internal => false,
            Code::DeadlineExceeded => !self.patient,
            _ => true,
        }
    }

    /// It has failed by what the endpoint says. Of streams those that were under way together have failed once: an age of connections,
    /// or a rolling update, ends all of them at an instant, and none of them says more than the first.
    fn fails(&mut self, cause: &dyn fmt::Display) {
        let is_news = !self.lasts || self.probe.is_some() || self.connection.slot.endpoint.cuts(self.began);
        if is_news && !self.connection.was_wearied() {
            self.judge(Err(cause));
        }
    }

    fn judge(&mut self, outcome: Result<(), &dyn fmt::Display>) {
        self.judged = true;
        let probe = self.probe.take().map(Probe::used);
        let slot = &self.connection.slot;
        let news = match outcome {
            Ok(()) => slot.endpoint.breaker.served(probe),
            Err(cause) => {
                slot.endpoint.counts.failed();
                let news = slot.endpoint.breaker.failed(probe, Instant::now());
                if news.is_some() {
                    slot.endpoint.note(cause);
                }
                news
            }
        };
        if let Some(circuit) = news {
            slot.turned(circuit);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let endpoint = &self.connection.slot.endpoint;
        endpoint.leave();
        endpoint.metrics.record(self.outcome);
        if let Some(Told { request_id, rpc, upstream, attempt, code }) = self.told.as_deref() {
            tracing::debug!(
                request_id = request_id.as_ref().and_then(|id| id.to_str().ok()),
                rpc,
                upstream = &**upstream,
                attempt,
                endpoint = %endpoint.label,
                outcome = self.outcome.name(),
                code = code.map(Code::name),
                duration_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
                "upstream try"
            );
        }
    }
}

/// The failure's column in the metrics.
pub(super) fn outcome(kind: &FailureKind) -> Outcome {
    match kind {
        FailureKind::NoEndpoint | FailureKind::CircuitOpen { .. } | FailureKind::ConnectFailed => {
            Outcome::ConnectFailed
        }
        FailureKind::Refused | FailureKind::Expelled | FailureKind::Overloaded => Outcome::Refused,
        FailureKind::Reset | FailureKind::Cancelled { .. } => Outcome::Reset,
        FailureKind::Protocol | FailureKind::TooLarge { .. } => Outcome::Protocol,
        FailureKind::Deadline => Outcome::Deadline,
        FailureKind::Aged
        | FailureKind::Draining
        | FailureKind::ClientGone
        | FailureKind::HeadTooLarge { .. }
        | FailureKind::Malformed => Outcome::Cancelled,
        FailureKind::Status(_) => Outcome::Status,
    }
}
