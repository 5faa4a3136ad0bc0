//! Token endpoint: a route of the gateway's own that hands tokens out, renews them or takes them back. Who asks passes the gates
//! that an RPC has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response};
use serde_json::Value;

use super::call::{Call, Gated};
use super::caller::{Asking, Judge};
use super::renewal::{Renewal, Unrenewed};
use crate::body::{Body, Incoming};
use crate::config::{ACCESS_TOKEN, Priority, REFRESH_TOKEN};
use crate::envelope::head::Head;
use crate::envelope::whole;
use crate::error::{Error, TokenKind};
use crate::policy::auth::{self, Connect, Gate, Pair, Refusal};
use crate::policy::cors::Cors;
use crate::policy::overload::{Places, Wish};
use crate::policy::rate::Rates;

/// Bytes of a request's body.
const MOST: usize = 16 * 1024;
/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A route of the gateway's own.
pub struct TokenEndpoint {
    /// Who may ask.
    pub(super) gate: Gate,
    /// The RPC that judges tokens, where one does.
    pub(super) judge: Option<Arc<Judge>>,
    /// How a caller's tokens are renewed on the way.
    pub(super) renewal: Option<Arc<Renewal>>,
    /// The places of calls in flight.
    pub(super) places: Arc<Places>,
    /// How often.
    pub(super) rates: Rates,
    /// Which pages may.
    pub(super) cors: Option<Arc<Cors>>,
    /// What for.
    pub(super) operation: Operation,
}

/// What is asked for.
pub(super) enum Operation {
    /// A token that opens a WebSocket.
    Connect(Arc<Connect>),
    /// New tokens for a refresh token, which comes in its cookie or in this member of a JSON object.
    /// `by_hand` answers who brought the token in the body, and has no cookies to keep the new ones.
    Renew { renewal: Arc<Renewal>, field: Box<str>, answer: Box<str>, by_hand: Box<str> },
    /// The end of a session.
    LogOut { renewal: Arc<Renewal>, answer: Box<str> },
}

impl Gated for TokenEndpoint {
    fn places(&self) -> (&Places, Wish) {
        (&self.places, Wish { priority: Priority::Normal, streams: false })
    }

    fn rates(&self) -> &Rates {
        &self.rates
    }

    fn asking(&self) -> Asking<'_> {
        let (renewal, leaves) = match &self.operation {
            // Whose access token has expired is logged out like everybody.
            Operation::LogOut { renewal, .. } => (Some(&**renewal), Some(&*renewal.cookies)),
            Operation::Connect(_) | Operation::Renew { .. } => (self.renewal.as_deref(), None),
        };
        Asking { gate: &self.gate, judge: self.judge.as_ref(), renewal, cors: self.cors.as_deref(), leaves }
    }

    fn deadline(&self, call: &mut Call, _: &Head<'_>) -> Result<Instant, Error> {
        Ok(call.started + PATIENCE)
    }
}

impl TokenEndpoint {
    /// One call, from its gates to its answer, in its time.
    pub(super) async fn answer<B: Incoming>(
        &self,
        call: &mut Call,
        head: &Head<'_>,
        body: B,
    ) -> Result<Response<Body>, Error> {
        let (worker, deadline) = (call.worker.clone(), call.started + PATIENCE);
        let answered = worker.pool.within(deadline, self.operate(call, head, body)).await;
        answered.unwrap_or_else(|| Err(worker.pool.overdue()))
    }

    async fn operate<B: Incoming>(&self, call: &mut Call, head: &Head<'_>, body: B) -> Result<Response<Body>, Error> {
        call.gates(self, head).await?;
        match &self.operation {
            Operation::Connect(connect) => {
                let caller = call.caller.clone().ok_or(Error::Internal)?;
                let body = connect.hand_out(&caller).map_err(|refusal| call.turned_away(&self.gate, refusal))?;
                Ok(json(body))
            }
            Operation::Renew { renewal, field, answer, by_hand } => {
                let pair = self.renew(call, head, body, (renewal, field)).await?;
                let answer = if call.cookies.gives_none() { by_hand } else { answer };
                let answer = answer.replace(ACCESS_TOKEN, &pair.access).replace(REFRESH_TOKEN, &pair.refresh);
                Ok(json(answer))
            }
            Operation::LogOut { renewal, answer } => {
                let (caller, worker) = (call.caller.clone().ok_or(Error::Internal)?, call.worker.clone());
                // Whatever the store says, if it does: who has logged out keeps no tokens.
                call.cookies.give(renewal.cookies.cleared());
                let closed = renewal.close(&worker.store, &caller).await;
                closed.map_err(|refusal| call.turned_away(&self.gate, refusal))?;
                Ok(json(answer.to_string()))
            }
        }
    }

    /// The next pair of a refresh token. One in a cookie is answered in cookies.
    async fn renew<B: Incoming>(
        &self,
        call: &mut Call,
        head: &Head<'_>,
        body: B,
        (renewal, field): (&Renewal, &str),
    ) -> Result<Pair, Error> {
        let (headers, uri, method, cors) = (&head.headers, &head.uri, &head.method, self.cors.as_deref());
        let taken = renewal.cookies.taken(&auth::Head { headers, uri, method, websocket: false, cors });
        let taken = taken.map_err(|refusal| call.turned_away(&self.gate, refusal))?;
        let by_cookie = taken.is_some();
        let token = match taken {
            Some(token) => token.into_owned(),
            None => {
                let pool = &call.worker.pool;
                let said = pool.within(call.started + PATIENCE, whole::read(body, MOST, pool.memory())).await;
                let said = said.unwrap_or_else(|| Err(pool.unread()))?;
                call.read(said.len());
                let said: Value = serde_json::from_slice(&said).unwrap_or_default();
                let token = said.get(field).and_then(Value::as_str).filter(|token| !token.is_empty());
                token
                    .map(str::to_owned)
                    .ok_or_else(|| call.turned_away(&self.gate, Refusal::missing().of_token(TokenKind::Refresh)))?
            }
        };
        let worker = call.worker.clone();
        match renewal.renew(&worker, &token, call.client).await {
            Ok(pair) => {
                // Who brings a token by hand has no cookies to keep.
                if by_cookie {
                    let cookies = renewal.cookies.of(&pair).map_err(|why| {
                        call.says(why);
                        Error::Internal
                    })?;
                    call.cookies.give(cookies);
                }
                Ok(pair)
            }
            Err(Unrenewed::Limited(error)) => Err(error),
            Err(Unrenewed::Refused(refusal)) => {
                if by_cookie && refusal.is_of_token() {
                    call.cookies.give(renewal.cookies.cleared());
                }
                Err(call.turned_away(&self.gate, refusal))
            }
        }
    }
}

/// An answer with a token: for nobody's cache.
fn json(body: String) -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::from(body)));
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
