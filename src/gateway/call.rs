//! One request in flight. Dropped, it is logged and counted: at its answer's last byte, or when the client has left.
//!
//! ```text
//! gates      what its head passes
//! send       the call to the upstream
//! refuse     what it is answered when it went wrong
//! finish     the answer as it goes out, with the call in its body
//! log        what its client was told: one line, the counters
//! ```

mod finish;
mod gates;
mod log;
mod refuse;
mod send;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, Uri};
use transom_transcode::overlay::Values;

use super::cached::Touched;
use super::caller::Undecided;
use super::route::{Action, Route, Rpc};
use super::session::Cookies;
use super::socket::Tunnel;
use super::worker::{Peer, Worker};
use crate::envelope::Dialect;
use crate::envelope::head::Head;
use crate::envelope::stream::Stop;
use crate::error::Error;
use crate::policy::auth::Identity;
use crate::policy::cors::Cors;
use crate::policy::overload::Place;
use crate::policy::rate::Rated;
use crate::telemetry::RequestId;
pub(super) use gates::Gated;
use log::Outcome;

/// For a stream without an end of its own: longer than any connection lives.
pub(super) const UNBOUNDED: Duration = Duration::from_secs(30 * 24 * 3600);

/// A stream that is read says itself that its time is over; so much later it is cut off.
const UNREAD: Duration = Duration::from_secs(1);

/// One request in flight; its answer's body carries it to the end.
pub struct Call {
    /// Where it runs.
    pub worker: Arc<Worker>,
    /// What its client speaks.
    pub dialect: Dialect,
    /// Its name in logs, at the upstream and in the answer.
    pub id: RequestId,
    /// It is the first of its connection.
    first: bool,
    /// Its client, as far as `trusted_proxies` lets it be known.
    pub client: IpAddr,
    /// Its peer is a trusted proxy.
    pub(super) proxied: bool,
    /// When it came.
    pub started: Instant,
    /// When it is given up.
    deadline: Instant,
    /// Who calls, once that is verified.
    pub caller: Option<Arc<Identity>>,
    /// A caller who takes a moment.
    pub(super) undecided: Option<Undecided>,
    /// What the token sets of the request's fields.
    pub(super) values: Option<Arc<Values>>,
    /// The kept replies that it makes forgotten.
    pub(super) touched: Touched,
    /// Its service may have heard of it.
    asked: bool,
    /// All gates have let it pass.
    pub(super) let_in: bool,
    /// What it has to do with its client's session.
    pub(super) cookies: Cookies,
    /// Where it goes, once that is known.
    pub route: Option<Arc<Route>>,
    /// How its client wants an answer's body compressed, where it may be.
    pub(super) accepts: Option<HeaderValue>,
    /// The cookie that its answer gives it, so that it comes back to the same endpoint.
    pub(super) sticky: Option<HeaderValue>,
    /// It came over TLS, as far as `trusted_proxies` lets that be known.
    pub(super) tls: bool,
    /// Which pages may read its answer; those of anyone's own need nobody's leave.
    pub(super) cors: Option<Arc<Cors>>,
    /// The origin of the page that calls, where that matters.
    pub(super) page: Option<HeaderValue>,
    /// What it has among those in flight.
    place: Option<Place>,
    /// What its limits have said so far.
    rated: Rated,
    method: Method,
    uri: Uri,
    bytes_in: u64,
    bytes_out: u64,
    /// Its request's fault is counted.
    blamed: bool,
    /// What is known of its request where that is a stream.
    stop: Option<Stop>,
    outcome: Option<Outcome>,
    /// Where it was answered, or tried last: for the log alone, like the cause of a failure.
    endpoint: Option<Arc<str>>,
    cause: Option<Cow<'static, str>>,
    /// What goes on after the answer's head.
    pub(super) tunnel: Option<Box<Tunnel>>,
    /// The upstream's metadata beside an error of its own.
    beside: Option<Box<(HeaderMap, HeaderMap)>>,
}

impl Call {
    /// Bytes of one, beside what it points to.
    pub const SIZE: usize = size_of::<Self>();

    /// A call that has just come.
    pub(super) fn begin(worker: &Arc<Worker>, peer: &Peer, head: &Head<'_>) -> Box<Self> {
        worker.metrics.in_flight().inc();
        let started = Instant::now();
        Box::new(Self {
            worker: worker.clone(),
            dialect: Dialect::detect(head),
            id: worker.ids.or_next(head.request_id()),
            first: peer.meet(),
            client: peer.ip(),
            proxied: false,
            started,
            deadline: started + UNBOUNDED,
            caller: None,
            undecided: None,
            values: None,
            touched: Touched::new(),
            asked: false,
            let_in: false,
            cookies: Cookies::default(),
            route: None,
            accepts: None,
            sticky: None,
            tls: peer.tls,
            cors: None,
            page: None,
            place: None,
            rated: Rated::default(),
            method: head.method.clone(),
            uri: head.uri.clone(),
            bytes_in: 0,
            bytes_out: 0,
            blamed: false,
            stop: None,
            outcome: None,
            endpoint: None,
            cause: None,
            tunnel: None,
            beside: None,
        })
    }

    /// When the call is given up: after the method's timeout, or the client's if that is shorter.
    pub(super) fn deadline(&mut self, method: Option<Duration>, client: Option<Duration>) -> Instant {
        self.deadline = self.started + method.unwrap_or(UNBOUNDED).min(client.unwrap_or(UNBOUNDED));
        self.deadline
    }

    /// When its stream has had its time though nobody reads it, and what that means.
    pub(super) fn over(&self) -> (Instant, Error) {
        // The oldest of an age that is given or take a tenth.
        let aged = self.rpc().and_then(|rpc| rpc.max_age).map(|age| self.started + age + age / 10);
        match aged.filter(|aged| *aged < self.deadline) {
            Some(aged) => (aged + UNREAD, Error::StreamAge),
            None => (self.deadline + UNREAD, Error::Deadline),
        }
    }

    /// So many bytes of the request's body were read.
    pub(super) fn read(&mut self, bytes: usize) {
        self.bytes_in += bytes as u64;
    }

    /// What the call's parts will know of its request's stream.
    pub(super) fn stop(&mut self) -> Stop {
        self.stop.get_or_insert_default().clone()
    }

    /// Why it went wrong: for the log alone.
    pub(super) fn says(&mut self, cause: Cow<'static, str>) {
        self.cause = Some(cause);
    }

    /// The upstream's metadata beside an error of its own.
    pub(super) fn beside(&mut self, headers: HeaderMap, trailers: HeaderMap) {
        self.beside = Some(Box::new((headers, trailers)));
    }

    pub(super) fn rpc(&self) -> Option<&Rpc> {
        match &self.route.as_ref()?.action {
            Action::Call(binding) => Some(&binding.rpc),
            Action::Builtin | Action::Token(_) => None,
        }
    }

    /// What is behind its gates.
    fn gated(&self) -> Option<&dyn Gated> {
        match &self.route.as_ref()?.action {
            Action::Call(binding) => Some(&*binding.rpc),
            Action::Token(endpoint) => Some(&**endpoint),
            Action::Builtin => None,
        }
    }
}
