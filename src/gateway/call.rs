//! One request in flight. Dropped, it is logged and counted: at its answer's last byte, or when the client has left.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, Uri, header};
use transom_transcode::frame::PREFIX;
use transom_transcode::overlay::Values;
use transom_transcode::status::Code;

use super::cached::Touched;
use super::caller::Undecided;
use super::route::{Action, Route, Rpc};
use super::session::Cookies;
use super::socket::Tunnel;
use super::worker::{Peer, Worker};
use crate::body::{Body, End, Guard};
use crate::envelope::head::Known;
use crate::envelope::stream::Stop;
use crate::envelope::{Dialect, coding, connect, grpc, grpc_web, metadata, rest};
use crate::error::Error;
use crate::memory::SMALL;
use crate::policy::auth::Identity;
use crate::policy::cors::Cors;
use crate::policy::rate::{self, Rated, Rates, Stage, Taking};
use crate::telemetry::{Entry, RequestId};
use crate::upstream::{Failure, FailureKind};

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
    touched: Touched,
    /// Its service may have heard of it.
    asked: bool,
    /// What it has to do with its client's session.
    pub(super) cookies: Cookies,
    /// Where it goes, once that is known.
    pub route: Option<Arc<Route>>,
    /// How its client wants an answer's body compressed, where it may be.
    pub(super) accepts: Option<HeaderValue>,
    /// The cookie that its answer gives it, so that it comes back to the same endpoint.
    pub(super) sticky: Option<HeaderValue>,
    /// It came over TLS.
    pub(super) tls: bool,
    /// Which pages may read its answer; those of anyone's own need nobody's leave.
    pub(super) cors: Option<Arc<Cors>>,
    /// The origin of the page that calls, where that matters.
    pub(super) page: Option<HeaderValue>,
    /// It has a place among those in flight.
    entered: bool,
    /// What its limits have said so far.
    rated: Rated,
    method: Method,
    uri: Uri,
    bytes_in: u64,
    bytes_out: u64,
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

/// What the client was told.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    status: u16,
    code: Code,
    reason: Option<&'static str>,
    /// To the last byte.
    whole: bool,
}

impl Call {
    /// Bytes of one, beside what it points to.
    pub const SIZE: usize = size_of::<Self>();

    /// A call that has just come.
    pub(super) fn begin(worker: &Arc<Worker>, peer: &Peer, head: &Parts, known: &Known<'_>) -> Box<Self> {
        worker.metrics.in_flight().inc();
        let started = Instant::now();
        Box::new(Self {
            worker: worker.clone(),
            dialect: Dialect::detect(head, known),
            id: worker.ids.or_next(known.request_id()),
            first: peer.meet(),
            client: peer.ip(),
            started,
            deadline: started + UNBOUNDED,
            caller: None,
            undecided: None,
            values: None,
            touched: Touched::new(),
            asked: false,
            cookies: Cookies::default(),
            route: None,
            accepts: None,
            sticky: None,
            tls: peer.tls,
            cors: None,
            page: None,
            entered: false,
            rated: Rated::default(),
            method: head.method.clone(),
            uri: head.uri.clone(),
            bytes_in: 0,
            bytes_out: 0,
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

    /// An endpoint has answered; one without a name stands for an answer that another call got.
    pub(super) fn answered(&mut self, endpoint: Arc<str>) {
        self.asked = true;
        self.endpoint = Some(endpoint).filter(|endpoint| !endpoint.is_empty());
    }

    /// Its service is asked: it may hear of the call, whether that ends or not.
    pub(super) fn asks(&mut self) {
        self.asked = true;
    }

    /// Takes a place among the calls in flight, and keeps it to the end.
    pub(super) fn enter(&mut self, rpc: &Rpc) -> Result<(), Error> {
        rpc.room.enter(rpc.settings.priority.value)?;
        self.entered = true;
        Ok(())
    }

    /// Asks the gates that a head passes, in their order: limits by client, who calls, limits by caller.
    pub(super) fn gates<'a>(&'a mut self, rpc: &'a Rpc, head: &'a Parts) -> Taking<'a> {
        let headers = &head.headers;
        if self.worker.store.redis().is_some() && !rpc.rates.is_empty() {
            return Taking::Asked(Box::pin(async move {
                self.limit(rpc, Stage::Head, headers, &[]).await?;
                if !self.ask(&rpc.asking(), head)? {
                    self.wait(&rpc.asking()).await?;
                }
                self.limit(rpc, Stage::Caller, headers, &[]).await
            }));
        }
        // Decided here, all of them: one limit waits only where the others do, and a token that is known not at all.
        if let Taking::Decided(Err(refused)) = self.limit(rpc, Stage::Head, headers, &[]) {
            return Taking::Decided(Err(refused));
        }
        match self.ask(&rpc.asking(), head) {
            Ok(true) => self.limit(rpc, Stage::Caller, headers, &[]),
            Ok(false) => Taking::Asked(Box::pin(async move {
                self.wait(&rpc.asking()).await?;
                self.limit(rpc, Stage::Caller, headers, &[]).await
            })),
            Err(refused) => Taking::Decided(Err(Box::new(refused))),
        }
    }

    /// Asks the limits of a stage; `message` is what the upstream will be sent, once it is known.
    pub(super) fn limit<'a>(
        &'a mut self,
        rpc: &'a Rpc,
        stage: Stage,
        headers: &'a HeaderMap,
        message: &'a [u8],
    ) -> Taking<'a> {
        self.limited(&rpc.rates, stage, headers, message)
    }

    /// The same, of a route that is no RPC's.
    pub(super) fn limited<'a>(
        &'a mut self,
        rates: &'a Rates,
        stage: Stage,
        headers: &'a HeaderMap,
        message: &'a [u8],
    ) -> Taking<'a> {
        let caller = self.caller.as_deref().map(|caller| caller as &dyn rate::Caller);
        let known = rate::Known { client: self.client, headers, caller, message };
        rates.take(stage, known, &self.worker.store, &mut self.rated)
    }

    /// Its service is asked with this message, in its frame: which kept replies that makes forgotten may depend on what it says.
    pub(super) fn note(&mut self, rpc: &Rpc, frame: &[u8]) {
        self.asks();
        if let Some(invalidates) = rpc.invalidates.get() {
            self.touched = invalidates.touched(frame.get(PREFIX..).unwrap_or_default());
        }
    }

    /// A call to the upstream failed: what is for the log stays here, the error is for the client.
    pub(super) fn failed(&mut self, mut failure: Failure) -> Error {
        self.endpoint = failure.endpoint.take();
        // Nobody has tried to call where there is no endpoint.
        self.asked = self.endpoint.is_some();
        self.cause = Some(std::mem::take(&mut failure.cause)).filter(|cause| !cause.is_empty());
        if let FailureKind::Status(answer) = &mut failure.kind {
            self.beside(std::mem::take(&mut answer.headers), std::mem::take(&mut answer.trailers));
        }
        failure.into()
    }

    /// Why it went wrong: for the log alone.
    pub(super) fn says(&mut self, cause: Cow<'static, str>) {
        self.cause = Some(cause);
    }

    /// The upstream's metadata beside an error of its own.
    pub(super) fn beside(&mut self, headers: HeaderMap, trailers: HeaderMap) {
        self.beside = Some(Box::new((headers, trailers)));
    }

    /// The answer to a call that went wrong before its head was sent, in its client's dialect.
    pub(super) fn refuse(&mut self, error: &Error) -> Response<Body> {
        self.end_session(error);
        if let Some(response) = self.fall_back(error) {
            return response;
        }
        let beside = self.beside.take().unwrap_or_default();
        let (metadata, rpc) = ([&beside.0, &beside.1], self.rpc());
        let schema = rpc.map(|rpc| &*rpc.schema);
        let response = match self.dialect {
            Dialect::Grpc(codec) => grpc::error(error, codec, metadata),
            Dialect::GrpcWeb { codec, text } => grpc_web::error(error, codec, text, metadata),
            Dialect::Connect(_) | Dialect::ConnectGet(_) => connect::error(error, schema, metadata),
            Dialect::ConnectStream(_) => connect::stream_error(error, self.dialect, schema, metadata),
            Dialect::Rest | Dialect::WebSocket | Dialect::Http => {
                let mut response = rest::error(error, schema);
                for metadata in metadata {
                    // An error has its status by the table, whatever the upstream wishes.
                    rpc.map(|rpc| metadata::to_rest(metadata, response.headers_mut(), &rpc.crossing));
                }
                response
            }
        };
        self.outcome = Some(Outcome {
            status: response.status().as_u16(),
            code: error.code_in(self.dialect.name()),
            reason: error.reason(),
            whole: false,
        });
        response
    }

    /// The method's answer to a call whose service cannot be asked. For the log and the counters it has failed all the same.
    fn fall_back(&mut self, error: &Error) -> Option<Response<Body>> {
        let fallback = self.rpc()?.fallback.as_ref().filter(|_| error.is_of_absent_service())?;
        let mut response = fallback.answer(self.dialect)?;
        if !response.status().is_success() {
            rest::tell_retry_after(error, response.headers_mut());
        }
        let status = response.status().as_u16();
        self.outcome = Some(Outcome { status, code: error.code(), reason: error.reason(), whole: false });
        Some(response)
    }

    /// Compresses the answers that are plain HTTP's: single messages have a compression of their own.
    fn pack(&self, response: Response<Body>) -> Response<Body> {
        let may = self.route.is_some() && self.rpc().is_none_or(|rpc| rpc.settings.compress.value);
        match self.dialect {
            Dialect::Rest | Dialect::Connect(_) | Dialect::ConnectGet(_) | Dialect::Http if may => {
                coding::pack(response, self.accepts.as_ref())
            }
            _ => response,
        }
    }

    /// The answer after which the call goes on, to an end of its own.
    pub(super) fn tunnel(mut self: Box<Self>, mut response: Response<Body>, tunnel: Tunnel) -> Response<Body> {
        self.set_cookies(&mut response);
        response.headers_mut().insert(&metadata::X_REQUEST_ID, self.id.header().clone());
        if let Some(cookie) = self.sticky.take() {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        let status = response.status().as_u16();
        self.outcome = Some(Outcome { status, code: Code::Ok, reason: None, whole: false });
        tokio::spawn(tunnel.run(self));
        response
    }

    pub(super) fn rpc(&self) -> Option<&Rpc> {
        match &self.route.as_ref()?.action {
            Action::Call(binding) => Some(&binding.rpc),
            Action::Builtin | Action::Desk(_) => None,
        }
    }

    /// The limits that it is under.
    fn rates(&self) -> Option<&Rates> {
        match &self.route.as_ref()?.action {
            Action::Call(binding) => Some(&binding.rpc.rates),
            Action::Desk(desk) => Some(&desk.rates),
            Action::Builtin => None,
        }
    }

    /// The answer as it goes out: named, without a body where the client wants none, and followed to its last byte.
    pub(super) fn finish(mut self: Box<Self>, mut response: Response<Body>) -> Response<Body> {
        self.set_cookies(&mut response);
        let response = self.pack(response);
        let mut response = if self.method == Method::HEAD { rest::without_body(response) } else { response };
        let mut id = self.id.header().clone();
        // From the first answer of a connection HPACK learns the name, which is never sent again.
        id.set_sensitive(!self.first);
        response.headers_mut().insert(&metadata::X_REQUEST_ID, id);
        if let Some(cookie) = self.sticky.take() {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        if let Some(told) = self.rates().and_then(|rates| rates.told(&self.rated)) {
            told.tell(response.headers_mut());
        }
        if let Some(cors) = &self.cors {
            cors.share(self.page.as_ref(), response.headers_mut());
        }
        if self.outcome.is_none() {
            let status = response.status().as_u16();
            self.outcome = Some(Outcome { status, code: Code::Ok, reason: None, whole: false });
        }
        response.map(|body| self.counted(body).guarded(self))
    }
}

impl Call {
    /// The answer; what is large of it is counted for as long as anybody holds it.
    fn counted(&self, body: Body) -> Body {
        if http_body::Body::size_hint(&body).lower() <= SMALL as u64 {
            return body;
        }
        let memory = self.worker.pool.memory();
        body.map(|bytes| memory.hold(bytes), |streamed| streamed)
    }

    /// A method that logs out has succeeded: its caller is refused from here on, before the answer is out.
    fn log_out(&mut self) {
        if self.outcome.is_some_and(|outcome| outcome.code == Code::Ok)
            && self.rpc().is_some_and(|rpc| rpc.gate.logs_out())
            && let Some(caller) = self.caller.take()
            && let Some(auth) = self.rpc().and_then(|rpc| rpc.gate.auth())
        {
            auth.revoke(&caller);
        }
    }
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
        self.log_out();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Who has left before the answer's end has logged out as well.
        self.log_out();
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
        if let Some(rpc) = self.rpc().filter(|_| self.entered) {
            rpc.room.leave();
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
