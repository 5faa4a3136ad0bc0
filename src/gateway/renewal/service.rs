//! A service that renews its own tokens, asked by its own RPC or on the way of a call: once for all calls that come with one
//! refresh token, at whichever gateways. What it answers is kept for a moment, sealed by the token that it was asked with:
//! nobody else reads it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::sleep;
use transom_transcode::frame::{self, PREFIX};

use super::Unrenewed;
use super::sealed::Sealed;
use crate::config::Priority;
use crate::error::Error;
use crate::gateway::route::Rpc;
use crate::gateway::worker::Worker;
use crate::policy::auth::{Pair, Refusal};
use crate::policy::rate::{Known, Rated, Stage};
use crate::policy::session::Session;
use crate::store::Flight;
use crate::upstream::{Aim, Failure, FailureKind, Metadata, Outgoing, Unary};

/// How long a renewal may take, for who does it and for who waits.
const LONGEST: Duration = Duration::from_secs(5);
/// How long nobody else does it: until its answer has been brought as well.
const HELD: Duration = Duration::from_secs(6);
/// How long its answer is kept for those who set out at the same time.
const STAYS: Duration = Duration::from_secs(10);
/// The same of a refusal: whatever is in a cookie may make one.
const REFUSED: Duration = Duration::from_secs(1);
/// How often who waits asks.
const PAUSE: Duration = Duration::from_millis(20);

/// The RPC that trades a refresh token for new tokens.
pub(in crate::gateway) struct Service(Arc<Rpc>);

/// What it is asked.
pub(super) struct Asked {
    /// In its frame.
    pub(super) frame: Bytes,
    pub(super) headers: Metadata,
    /// Whose call does so on its way: none of the RPC's own limits has let it in.
    pub(super) client: Option<IpAddr>,
}

/// Why there is no answer with tokens.
pub(super) enum Untraded {
    /// This very question has failed.
    Failed(Failure),
    /// Another call's was refused, or nobody can say.
    Refused(Refusal),
    /// The client asks too often.
    Limited(Error),
}

impl Service {
    /// `None`: the RPC does something else.
    pub(in crate::gateway) fn new(rpc: Arc<Rpc>) -> Option<Self> {
        rpc.session.as_ref().is_some_and(Session::renews).then_some(Self(rpc))
    }

    /// The pair that a refresh token is traded for, by this call or by another. The question is the gateway's own, and the
    /// RPC's limits by client let it in like the client's.
    pub(super) async fn renew(&self, worker: &Arc<Worker>, token: &str, client: IpAddr) -> Result<Pair, Unrenewed> {
        let unfit = || Unrenewed::Refused(Refusal::unavailable("who renews tokens answered what its schema lacks"));
        let session = self.0.session.as_ref().ok_or_else(unfit)?;
        let mut message = vec![0; PREFIX];
        session.ask(token, &mut message);
        let prefix = frame::prefix(message.len() - PREFIX);
        message[..PREFIX].copy_from_slice(&prefix);
        let asked = Asked { frame: message.into(), headers: Metadata::default(), client: Some(client) };
        match self.trade(worker, token, asked).await {
            Ok(reply) => session.pair(&reply.message).ok_or_else(unfit),
            Err(Untraded::Limited(error)) => Err(Unrenewed::Limited(error)),
            Err(Untraded::Refused(refusal)) => Err(Unrenewed::Refused(refusal)),
            Err(Untraded::Failed(failure)) => {
                let cause = format!("who renews tokens: {}", failure.cause);
                let ends = ends(&self.0, &failure);
                Err(Unrenewed::Refused(if ends { Refusal::invalid(cause) } else { Refusal::unavailable(cause) }))
            }
        }
    }

    /// An answer that is kept, unless who got it has logged out since: nobody is to have those tokens any more.
    fn still_good(&self, message: Bytes) -> Result<Bytes, Refusal> {
        let pair = self.0.session.as_ref().and_then(|session| session.pair(&message));
        match self.0.gate.auth().zip(pair) {
            Some((auth, pair)) if auth.has_ended(&pair.access) => Err(Refusal::invalid("the session has ended")),
            _ => Ok(message),
        }
    }

    /// What the service answers who comes with a refresh token, to this question or to another call's.
    pub(super) async fn trade(&self, worker: &Arc<Worker>, token: &str, asked: Asked) -> Result<Unary, Untraded> {
        let flight = Sealed::new(token);
        let late = Instant::now() + LONGEST;
        let refused = |why| Err(Untraded::Refused(Refusal::unavailable(why)));
        let deadline = loop {
            // Counted from before it is held: it ends before others may do it.
            let deadline = Instant::now() + LONGEST;
            match worker.store.flight(&flight.name, HELD).await {
                Ok(Flight::Mine) => break deadline,
                Ok(Flight::Done(answer)) => {
                    let kept = flight.open(answer).and_then(|message| self.still_good(message));
                    return kept.map(again).map_err(Untraded::Refused);
                }
                Ok(Flight::UnderWay) if Instant::now() < late => sleep(PAUSE).await,
                Ok(Flight::UnderWay) => return refused("another call's renewal takes too long"),
                // Who calls the RPC itself is heard all the same: the service will know.
                Err(_) if asked.client.is_none() => return ask(&self.0, worker, asked, deadline).await,
                Err(_) => return refused("the store does not say who renews the tokens"),
            }
        };
        // A task of its own: who asked first may leave, and others wait for the same answer.
        let (rpc, worker) = (self.0.clone(), worker.clone());
        let traded = tokio::spawn(async move {
            let traded = ask(&rpc, &worker, asked, deadline).await;
            let kept = match &traded {
                Ok(reply) => has_tokens(&rpc, &reply.message).then(|| (reply.message.to_vec(), STAYS)),
                Err(Untraded::Failed(failure)) => ends(&rpc, failure).then(|| (Vec::new(), REFUSED)),
                Err(Untraded::Refused(_) | Untraded::Limited(_)) => None,
            };
            match kept.and_then(|(kept, stays)| Some((flight.seal(kept)?, stays))) {
                Some((answer, stays)) => drop(worker.store.bring(&flight.name, &answer, stays).await),
                None => worker.store.give_up(&flight.name).await,
            }
            traded
        });
        traded.await.unwrap_or_else(|_| refused("the renewal was broken off"))
    }
}

async fn ask(rpc: &Rpc, worker: &Worker, asked: Asked, deadline: Instant) -> Result<Unary, Untraded> {
    if let Some(client) = asked.client {
        let known = Known { client, headers: &HeaderMap::new(), caller: None, message: &[] };
        let let_in = rpc.rates.take(Stage::Head, known, &worker.store, &mut Rated::default()).await;
        let_in.map_err(Untraded::Limited)?;
    }
    let outgoing = Outgoing {
        uri: &rpc.uri,
        headers: asked.headers,
        deadline,
        max_age: None,
        patient: true,
        single: true,
        // Whatever is in a cookie makes such a question: it goes before nobody's.
        priority: if asked.client.is_some() { Priority::Normal } else { rpc.settings.priority.value },
        aim: Aim::default(),
        retry: None,
    };
    rpc.upstream.unary(&worker.pool, outgoing, asked.frame).await.map_err(Untraded::Failed)
}

/// An answer that another call got.
fn again(message: Bytes) -> Unary {
    Unary { endpoint: "".into(), headers: HeaderMap::new(), message, trailers: HeaderMap::new() }
}

fn has_tokens(rpc: &Rpc, message: &[u8]) -> bool {
    rpc.session.as_ref().is_some_and(|session| session.pair(message).is_some())
}

/// The refresh token is good no more.
fn ends(rpc: &Rpc, failure: &Failure) -> bool {
    let FailureKind::Status(answer) = &failure.kind else { return false };
    rpc.session.as_ref().is_some_and(|session| session.ends(answer.status.code))
}
