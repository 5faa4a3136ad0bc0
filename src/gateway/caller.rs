//! Who calls: the gate asked, and what of the caller goes on with the call.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use http::header;
use http::request::Parts;
use transom_transcode::frame::{PREFIX, seal};
use transom_transcode::overlay::{Overlay, Values};
use transom_transcode::plan::{OutOptions, OutPlan};
use transom_transcode::schema::{MessageId, Schema};
use transom_transcode::status::Code;

use super::call::Call;
use super::renewal::Renewal;
use super::route::Rpc;
use super::session::keeps_cookies;
use super::translate::print;
use super::worker::Worker;
use crate::config;
use crate::envelope::{Dialect, metadata};
use crate::error::Error;
use crate::policy::auth::{self, Admission, Claim, Claims, Gate, Head, Once, Question, Refusal, Verdict};
use crate::policy::cors::Cors;
use crate::policy::session::Cookies;
use crate::upstream::{FailureKind, Metadata, Outgoing};

/// Who is asked about a caller.
pub(super) struct Asking<'a> {
    pub(super) gate: &'a Gate,
    /// The RPC that judges tokens, where one does.
    pub(super) judge: Option<&'a Arc<Judge>>,
    /// How its tokens are renewed on the way, where they are.
    pub(super) renewal: Option<&'a Renewal>,
    /// Which pages may call.
    pub(super) cors: Option<&'a Cors>,
    /// What a browser keeps of a session that is to end: good or not, its tokens go.
    pub(super) leaves: Option<&'a Cookies>,
}

/// A caller who takes a moment.
pub(super) enum Undecided {
    /// Whose token somebody else judges, or verifies by a key that is being fetched.
    Token(Box<str>),
    /// Whose token is good, unless it was used.
    Once(Box<Once>),
    /// Whose tokens are to be renewed by this one.
    Refresh(Box<str>),
}

impl Call {
    /// Asks the gate of a route. False: that takes a moment, [`Call::wait`].
    pub(super) fn ask(&mut self, asking: &Asking<'_>, head: &Parts) -> Result<bool, Error> {
        let (headers, uri, method) = (&head.headers, &head.uri, &head.method);
        let websocket = self.dialect == Dialect::WebSocket;
        match asking.gate.admit(&Head { headers, uri, method, websocket, cors: asking.cors }) {
            Ok(Admission::Open) => return Ok(true),
            Ok(Admission::Caller(caller)) => {
                self.caller = Some(caller);
                return Ok(true);
            }
            Ok(Admission::Later(token)) => self.undecided = Some(Undecided::Token(token)),
            Ok(Admission::Lapsed(refusal)) => return self.lapsed(asking, head, refusal),
            Ok(Admission::Once(once)) => self.undecided = Some(Undecided::Once(once)),
            Err(refusal) => return Err(self.shut_out(asking, head, refusal)),
        }
        Ok(false)
    }

    /// Waits until the token's issuer, its judge or the store has spoken.
    pub(super) async fn wait(&mut self, asking: &Asking<'_>, head: &Parts) -> Result<(), Error> {
        let caller = match self.undecided.take() {
            None => return Ok(()),
            Some(Undecided::Token(token)) => {
                let question = asking.judge.map(|judge| judge.question(&self.worker, &token));
                asking.gate.judge(&token, question).await
            }
            Some(Undecided::Refresh(token)) => return self.renew(asking, &token).await,
            Some(Undecided::Once(once)) => asking.gate.spend(once, &self.worker.store).await.map(Some),
        };
        self.caller = caller.map_err(|refusal| self.shut_out(asking, head, refusal))?;
        Ok(())
    }

    /// Whose token is not good. Who was to be logged out keeps none: the next at this browser is somebody else. A page of
    /// another origin logs nobody out, by a GET neither.
    #[cold]
    pub(super) fn shut_out(&mut self, asking: &Asking<'_>, head: &Parts, refusal: Refusal) -> Error {
        let (headers, uri, method) = (&head.headers, &head.uri, &http::Method::POST);
        let own = || auth::own_page(&Head { headers, uri, method, websocket: false, cors: asking.cors }).is_ok();
        if let Some(cookies) = asking.leaves
            && refusal.is_of_token()
            && keeps_cookies(self.dialect)
            && own()
        {
            self.cookies.give(cookies.cleared());
        }
        self.turned_away(asking.gate, refusal)
    }

    pub(super) fn turned_away(&mut self, gate: &Gate, refusal: Refusal) -> Error {
        let error = gate.turn_away(&refusal);
        self.says(refusal.cause);
        error
    }

    /// What the services are told of the caller, in metadata and in fields of the request: the gateway alone speaks of that.
    pub(super) fn speak_for_caller(&mut self, rpc: &Rpc, head: &Parts, metadata: &mut Metadata) -> Result<(), Error> {
        self.take_cookies(rpc, head)?;
        let Some(auth) = rpc.gate.auth() else { return Ok(()) };
        let metadata = metadata.given_mut();
        metadata::strip(metadata, auth.injected());
        match &self.caller {
            Some(caller) => caller.cross(metadata),
            None if !auth.forwards() => drop(metadata.remove(header::AUTHORIZATION)),
            None => {}
        }
        self.bind_claims(rpc)
    }

    /// What the token says of the request's fields.
    fn bind_claims(&mut self, rpc: &Rpc) -> Result<(), Error> {
        let (Some(bound), Some(caller)) = (&rpc.bound, &self.caller) else { return Ok(()) };
        let mut texts = Vec::with_capacity(bound.claims.len());
        for claim in &bound.claims {
            match caller.text(claim) {
                Some(text) => texts.push(text),
                None => {
                    let refusal = Refusal::lacks(claim);
                    return Err(self.turned_away(&rpc.gate, refusal));
                }
            }
        }
        match bound.overlay.values(&rpc.schema, &texts) {
            Ok(values) => {
                self.values = Some(Arc::new(values));
                Ok(())
            }
            Err(at) => {
                let refusal = bound.claims.get(at).map_or_else(Refusal::misfit, Refusal::unfit);
                Err(self.turned_away(&rpc.gate, refusal))
            }
        }
    }
}

/// Fields of a method's request that the token sets.
pub struct Bound {
    /// Where each goes.
    pub(super) overlay: Overlay,
    /// The claims, in the same order.
    pub(super) claims: Vec<Claim>,
}

impl Bound {
    /// The message with its fields set, in place of `message[start..]`.
    pub(super) fn set(&self, values: &Values, message: &mut Vec<u8>, start: usize) -> Result<(), Error> {
        let mut set = Vec::with_capacity(message.len() + 64);
        set.extend_from_slice(&message[..start]);
        self.apply(values, &message[start..], &mut set)?;
        *message = set;
        Ok(())
    }

    /// The message with its fields set, appended.
    pub(super) fn apply(&self, values: &Values, message: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        // What is set is bounded by the token, and the message was bounded before.
        self.overlay.apply(values, message, out).map_err(|invalid| Error::request(invalid, usize::MAX))
    }
}

/// The RPC that judges tokens.
pub struct Judge {
    rpc: Arc<Rpc>,
    field: Overlay,
    out: OutPlan,
    timeout: std::time::Duration,
}

impl Judge {
    /// Asks `rpc` as it is written.
    pub(super) fn compile(
        rpc: Arc<Rpc>,
        schema: &Schema,
        (input, output): (MessageId, MessageId),
        (written, user): (&config::Verify, &str),
    ) -> Result<Self, String> {
        if rpc.client_streaming || rpc.server_streaming {
            return Err("streams; a token is judged by one message and one answer".to_owned());
        }
        // The usual name may be missing; another one is meant.
        let expires = written.expires.split('.').next().unwrap_or_default();
        let answer = schema.message(output);
        if written.expires != USUAL && answer.slot_declared(expires).is_none() {
            return Err(format!("{} has no field `{expires}` that says when a token expires", answer.name));
        }
        let field = Overlay::compile(schema, input, &[&written.field]).map_err(|(_, why)| why)?;
        field.values(schema, &[Cow::Borrowed("a.b.c")]).map_err(|_| "takes no text in that field".to_owned())?;
        let says = |path: &str| answer.slot_declared(path.split('.').next().unwrap_or_default()).is_some();
        match &written.valid {
            Some(valid) if !says(valid) => return Err(format!("{} has no field `{valid}`", answer.name)),
            None if !written.by_status && !["valid", "active", user].into_iter().any(says) => {
                return Err(format!(
                    "{} has no field `valid`, nor `{user}` that names the user; write `auth.verify.valid`, `auth.user`, or \
                     `by_status: true` where its status alone lets a token in",
                    answer.name
                ));
            }
            _ => {}
        }
        // A `valid` that is false must be seen.
        let options = OutOptions { emit_defaults: true, proto_names: true, ..OutOptions::default() };
        Ok(Self { rpc, field, out: OutPlan::whole(output, options), timeout: written.timeout })
    }

    /// A question about a token; it runs on the worker that asks.
    pub(super) fn question(self: &Arc<Self>, worker: &Arc<Worker>, token: &str) -> Question {
        let (judge, worker, token) = (self.clone(), worker.clone(), token.to_owned());
        Box::pin(async move { judge.ask(&worker, &token).await })
    }

    async fn ask(&self, worker: &Worker, token: &str) -> Verdict {
        let rpc = &*self.rpc;
        let mut message = vec![0; PREFIX];
        let values = self.field.values(&rpc.schema, &[Cow::Borrowed(token)]);
        let Some(Ok(())) = values.ok().map(|values| self.field.apply(&values, &[], &mut message)) else {
            return Verdict::Bad(Cow::Borrowed("the token is no text for who judges tokens"));
        };
        seal(&mut message);
        let deadline = Instant::now() + self.timeout;
        let outgoing = Outgoing { aim: rpc.common_aim(), ..Outgoing::own(&rpc.uri, deadline) };
        let reply = match rpc.upstream.unary(&worker.pool, outgoing, message.into()).await {
            Ok(reply) => reply,
            Err(failure) => {
                let cause = format!("who judges tokens: {}", failure.cause).into();
                return match &failure.kind {
                    FailureKind::Status(answer) if refuses(answer.status.code) => Verdict::Bad(cause),
                    _ => Verdict::Unknown(cause),
                };
            }
        };
        let claims = print(worker, rpc, &self.out, &reply.message).ok().and_then(|json| Claims::parse(&json));
        claims
            .map_or(Verdict::Unknown(Cow::Borrowed("who judges tokens answered what its schema lacks")), Verdict::Good)
    }
}

/// The claim by which tokens expire (RFC 7519 §4.1.4).
const USUAL: &str = "exp";

/// Codes that speak of the token; others speak of the service.
fn refuses(code: Code) -> bool {
    matches!(code, Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument | Code::NotFound)
}
