//! A service that renews its own tokens, asked by its own RPC or on the way of a call: once for all calls that come with one
//! refresh token, at whichever gateways. What it answers is kept for a moment, sealed by the token that it was asked with:
//! nobody else reads it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::timeout;
use transom_transcode::frame::{PREFIX, seal};

use super::Unrenewed;
use super::sealed::Sealed;
use super::trade::{Asked, Landed, Trade, ask};
use crate::error::Error;
use crate::gateway::flights::Flights;
use crate::gateway::route::Rpc;
use crate::gateway::worker::Worker;
use crate::policy::auth::{Pair, Refusal};
use crate::policy::session::Session;
use crate::upstream::{Failure, FailureKind, Metadata, Unary};

/// How long a call waits for a renewal, its own or another's, which goes on without it.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The RPC that trades a refresh token for new tokens.
pub(in crate::gateway) struct Service {
    rpc: Arc<Rpc>,
    /// The trades of this gateway that are under way, by the names of their flights.
    flights: Arc<Flights<String, Landed>>,
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
        let renews = rpc.session.as_ref().is_some_and(Session::renews);
        renews.then(|| Self { rpc, flights: Arc::default() })
    }

    /// The pair that a refresh token is traded for, by this call or by another. The question is the gateway's own, and the
    /// RPC's limits by client let it in like the client's.
    pub(super) async fn renew(&self, worker: &Arc<Worker>, token: &str, client: IpAddr) -> Result<Pair, Unrenewed> {
        let unfit = || Unrenewed::Refused(Refusal::unavailable("who renews tokens answered what its schema lacks"));
        let session = self.rpc.session.as_ref().ok_or_else(unfit)?;
        let mut message = vec![0; PREFIX];
        session.ask(token, &mut message);
        seal(&mut message);
        let asked = Asked { frame: message.into(), headers: Metadata::default(), client: Some(client) };
        match self.trade(worker, token, asked).await {
            Ok(reply) => session.pair(&reply.message).ok_or_else(unfit),
            Err(Untraded::Limited(error)) => Err(Unrenewed::Limited(error)),
            Err(Untraded::Refused(refusal)) => Err(Unrenewed::Refused(refusal)),
            Err(Untraded::Failed(failure)) => Err(Unrenewed::Refused(self.failed(&failure))),
        }
    }

    /// What the service answers who comes with a refresh token, to this question or to another call's. Who has waited long
    /// enough leaves without an answer; the next who comes with that token gets it, and the service is not asked twice.
    pub(super) async fn trade(&self, worker: &Arc<Worker>, token: &str, asked: Asked) -> Result<Unary, Untraded> {
        let refused = |why| Err(Untraded::Refused(Refusal::unavailable(why)));
        let flight = Arc::new(Sealed::new(token));
        let Ok((landed, first)) = timeout(PATIENCE, self.landed(worker, &flight, &asked)).await else {
            return refused("the renewal takes longer than a call waits for it");
        };
        match landed {
            Some(Landed::Answered(Ok(reply))) if first => Ok(reply),
            Some(Landed::Answered(Err(failure))) if first => Err(Untraded::Failed(failure)),
            Some(Landed::Answered(Ok(Unary { message, .. })) | Landed::Kept(message)) => {
                self.still_good(message).map(again).map_err(Untraded::Refused)
            }
            Some(Landed::Answered(Err(failure))) => Err(Untraded::Refused(self.failed(&failure))),
            Some(Landed::Refused(refusal)) => Err(Untraded::Refused(refusal)),
            Some(Landed::Limited(error)) => Err(Untraded::Limited(error)),
            // Who calls the RPC itself is heard all the same: the service will know.
            Some(Landed::Unheld) if asked.client.is_none() => {
                match ask(&self.rpc, worker, asked, Instant::now() + PATIENCE).await {
                    Ok(answered) => answered.map_err(Untraded::Failed),
                    Err(limited) => Err(Untraded::Limited(limited)),
                }
            }
            Some(Landed::Unheld) => refused("the store does not say who renews the tokens"),
            Some(Landed::Elsewhere) | None => refused("the renewal was broken off"),
        }
    }

    /// What came of the trade under way, and whether it was this call's question. `None`: it was broken off.
    async fn landed(&self, worker: &Arc<Worker>, flight: &Arc<Sealed>, asked: &Asked) -> (Option<Landed>, bool) {
        loop {
            let (mut arrival, first) = self.flights.join(flight.name.clone(), || {
                let (rpc, worker, flight) = (self.rpc.clone(), worker.clone(), flight.clone());
                Trade { rpc, worker, flight, asked: asked.clone() }.run()
            });
            let landed = arrival.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone());
            if !matches!(landed, Some(Landed::Elsewhere)) {
                return (landed, first);
            }
        }
    }

    /// An answer that is kept, unless who got it has logged out since: nobody is to have those tokens any more.
    fn still_good(&self, message: Bytes) -> Result<Bytes, Refusal> {
        let pair = self.rpc.session.as_ref().and_then(|session| session.pair(&message));
        match self.rpc.gate.auth().zip(pair) {
            Some((auth, pair)) if auth.has_ended(&pair.access) => Err(Refusal::invalid("the session has ended")),
            _ => Ok(message),
        }
    }

    /// What a question that has failed says of the token.
    fn failed(&self, failure: &Failure) -> Refusal {
        let cause = format!("who renews tokens: {}", failure.cause);
        if ends(&self.rpc, failure) { Refusal::invalid(cause) } else { Refusal::unavailable(cause) }
    }
}

/// An answer that another call got.
fn again(message: Bytes) -> Unary {
    Unary { endpoint: "".into(), headers: HeaderMap::new(), message, trailers: HeaderMap::new() }
}

/// The refresh token is good no more.
pub(super) fn ends(rpc: &Rpc, failure: &Failure) -> bool {
    let FailureKind::Status(answer) = &failure.kind else { return false };
    rpc.session.as_ref().is_some_and(|session| session.ends(answer.status.code))
}
