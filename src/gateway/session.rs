//! Sessions at work for a call: cookies in, cookies out; tokens of the gateway's own for whom an answer names.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderValue, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, Response};
use transom_transcode::frame::{PREFIX, seal};
use transom_transcode::plan::{OutOptions, OutPlan};
use transom_transcode::schema::MessageId;
use transom_transcode::status::Code;

use super::answer::Answer;
use super::call::Call;
use super::route::{Binding, Rpc};
use super::translate::print;
use crate::body::Body;
use crate::envelope::coding::Coding;
use crate::envelope::{Dialect, metadata};
use crate::error::Error;
use crate::policy::auth::{Claims, Head, Refusal, SessionIssuer};
use crate::policy::session::{Session, Taken};
use crate::upstream::Outgoing;

/// What a call has to do with its client's session.
#[derive(Default)]
pub(super) struct Cookies {
    /// The refresh token of its cookie, for its message.
    pub(super) taken: Option<Box<str>>,
    /// It neither brings nor gets any.
    none: bool,
    /// What its answer sets, or clears.
    set: Vec<HeaderValue>,
}

impl Cookies {
    /// Its answer sets, or clears, these. Who says so last has the word: a service's answer after a renewal on the way, a logout
    /// after both.
    pub(super) fn give(&mut self, cookies: impl Into<Vec<HeaderValue>>) {
        self.set = cookies.into();
    }

    /// Its answer does neither.
    pub(super) fn gives_none(&self) -> bool {
        self.set.is_empty()
    }
}

/// How an RPC's answer becomes tokens of the gateway's own.
pub struct Issues {
    pub(super) issuer: Arc<SessionIssuer>,
    /// The answer, as the claims' fields are named.
    out: OutPlan,
}

impl Issues {
    /// Reads an answer of this type.
    pub(super) fn compile(issuer: &Arc<SessionIssuer>, answer: MessageId) -> Self {
        let options = OutOptions { proto_names: true, ..OutOptions::default() };
        Self { issuer: issuer.clone(), out: OutPlan::whole(answer, options) }
    }
}

/// An answer's message: shaped, or on its way. Few calls wait for that, and none holds room for it.
pub(super) enum Shaping<'a> {
    Done(Option<Result<Bytes, Error>>),
    Asked(Pin<Box<dyn Future<Output = Result<Bytes, Error>> + Send + 'a>>),
}

impl Future for Shaping<'_> {
    type Output = Result<Bytes, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Done(shaped) => Poll::Ready(shaped.take().unwrap_or(Err(Error::Internal))),
            Self::Asked(asked) => asked.as_mut().poll(cx),
        }
    }
}

impl Call {
    /// Takes what the request's cookies have for its message.
    pub(super) fn take_cookies(&mut self, rpc: &Rpc, head: &Parts) -> Result<(), Error> {
        let Some(session) = rpc.session.as_ref().filter(|_| keeps_cookies(self.dialect)) else { return Ok(()) };
        let (headers, uri, method, cors) = (&head.headers, &head.uri, &head.method, rpc.cors.as_deref());
        let taken = session.take(&Head { headers, uri, method, websocket: false, cors });
        match taken.map_err(|refusal| self.turned_away(&rpc.gate, refusal))? {
            Taken::Cookie(token) => self.cookies.taken = token,
            Taken::Nowhere => self.cookies.none = true,
        }
        Ok(())
    }

    /// Puts it where the service expects it, in the message behind `start`.
    pub(super) fn put_cookies(&self, rpc: &Rpc, message: &mut Vec<u8>, start: usize) {
        if let (Some(session), Some(taken)) = (&rpc.session, &self.cookies.taken) {
            session.put(taken, message, start);
        }
    }

    /// The reply as its client gets it: tokens are in cookies, where that is configured.
    pub(super) fn shape<'a>(&'a mut self, rpc: &'a Rpc, message: Bytes) -> Shaping<'a> {
        match (&rpc.session, &rpc.issues) {
            _ if rpc.gate.logs_out() && self.caller.is_some() => Shaping::Asked(Box::pin(self.log_out(rpc, message))),
            (None, _) => Shaping::Done(Some(Ok(message))),
            (Some(session), Some(issues)) if session.issues() => {
                Shaping::Asked(Box::pin(self.issue(rpc, session, issues, message)))
            }
            (Some(session), _) if self.keeps_cookies() => {
                let shaped = session.shape(message).map_err(Error::protocol);
                Shaping::Done(Some(shaped.map(|shaped| {
                    self.cookies.give(shaped.cookies);
                    shaped.message
                })))
            }
            (Some(_), _) => Shaping::Done(Some(Ok(message))),
        }
    }

    /// The tokens of who has logged in.
    async fn issue(&mut self, rpc: &Rpc, session: &Session, issues: &Issues, message: Bytes) -> Result<Bytes, Error> {
        let json = print(&self.worker, rpc, &issues.out, &message)?;
        let answer = Claims::parse(&json).unwrap_or_default();
        let worker = self.worker.clone();
        let pair = issues.issuer.open(&worker.store, &answer).await.map_err(|refusal| self.unissued(refusal))?;
        let Some(pair) = pair else { return Ok(message) };
        match session.give(message, &pair, self.keeps_cookies()) {
            Ok(shaped) => {
                self.cookies.give(shaped.cookies);
                Ok(shaped.message)
            }
            Err(why) => Err(Error::protocol(why)),
        }
    }

    /// Who has logged out, by the service's word: no gateway takes the tokens any more, or the answer says that some may.
    async fn log_out(&mut self, rpc: &Rpc, message: Bytes) -> Result<Bytes, Error> {
        // Whatever the store says: who has logged out keeps no tokens.
        if let Some(session) = rpc.session.as_ref().filter(|_| self.keeps_cookies()) {
            self.cookies.give(session.cleared());
        }
        let (worker, caller) = (self.worker.clone(), self.caller.clone());
        if let Some((auth, caller)) = rpc.gate.auth().zip(caller) {
            let ended = match &rpc.issues {
                Some(issues) => issues.issuer.close(auth, &worker.store, &caller).await,
                None => auth.revoke_everywhere(&worker.store, &caller).await,
            };
            ended.map_err(|refusal| self.turned_away(&rpc.gate, refusal))?;
        }
        Ok(message)
    }

    /// Its answer's tokens become cookies.
    fn keeps_cookies(&self) -> bool {
        keeps_cookies(self.dialect) && !self.cookies.none
    }

    fn unissued(&mut self, refusal: Refusal) -> Error {
        self.says(refusal.cause);
        Error::AuthUnavailable
    }

    /// A service that takes a cookie's token no more has ended the session; who asks it to end one, and is not known, has none.
    pub(super) fn end_session(&mut self, error: &Error) {
        let ended = match (error, &self.cookies.taken, self.rpc().and_then(|rpc| rpc.session.as_ref())) {
            (Error::Upstream(status), Some(_), Some(session)) if session.ends(status.code) => session.cleared(),
            (Error::Upstream(status), _, Some(session))
                if session.closes() && status.code == Code::Unauthenticated && keeps_cookies(self.dialect) =>
            {
                session.cleared()
            }
            _ => return,
        };
        self.cookies.give(ended);
    }

    /// Tells the browser; an answer with tokens is for nobody's cache.
    pub(super) fn set_cookies(&mut self, response: &mut Response<Body>) {
        if self.cookies.gives_none() {
            return;
        }
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for cookie in std::mem::take(&mut self.cookies.set) {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

/// A unary call in gRPC's own envelopes that opens, renews or ends a session: its messages are read, both ways.
pub(super) async fn answer(
    call: &mut Call,
    binding: &Binding,
    outgoing: &mut Outgoing<'_>,
    (frame, coding): (Bytes, Coding),
) -> Result<Response<Body>, Error> {
    let rpc = &*binding.rpc;
    if frame.len() < PREFIX {
        return Err(Error::bad_request("this method takes one message"));
    }
    let mut message = frame.to_vec();
    call.put_cookies(rpc, &mut message, PREFIX);
    seal(&mut message);
    metadata::remove_codings(outgoing.headers.whole());
    let reply = call.send(rpc, outgoing, message.into()).await?;
    let metadata = [&reply.headers, &reply.trailers];
    Answer::new(call, (binding, &binding.out), &reply.message, metadata, coding)?.whole()
}

/// A dialect in which one message answers one, so that cookies can be set by it; browsers' pages speak it.
pub(super) fn keeps_cookies(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Rest | Dialect::Connect(_) | Dialect::GrpcWeb { .. })
}
