//! Desk: a route of the gateway's own that hands tokens out. Who comes passes the gates that an RPC has.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Response};

use super::call::Call;
use super::caller::{Asking, Judge};
use crate::body::Body;
use crate::error::Error;
use crate::policy::auth::{Connect, Gate};
use crate::policy::cors::Cors;
use crate::policy::rate::{Rates, Stage};

/// A route of the gateway's own.
pub struct Desk {
    /// Who may come.
    pub(super) gate: Gate,
    /// The RPC that judges tokens, where one does.
    pub(super) judge: Option<Arc<Judge>>,
    /// How often.
    pub(super) rates: Rates,
    /// Which pages may.
    pub(super) cors: Option<Arc<Cors>>,
    /// What for.
    pub(super) errand: Errand,
}

/// What somebody comes for.
pub(super) enum Errand {
    /// A token that opens a WebSocket.
    Connect(Arc<Connect>),
}

impl Desk {
    /// One call, from its gates to its answer.
    pub(super) async fn answer(&self, call: &mut Call, head: &Parts) -> Result<Response<Body>, Error> {
        let headers = &head.headers;
        call.limited(&self.rates, Stage::Head, headers, &[]).await?;
        let asking = Asking { gate: &self.gate, judge: self.judge.as_ref(), cors: self.cors.as_deref() };
        if !call.ask(&asking, head)? {
            call.wait(&asking).await?;
        }
        call.limited(&self.rates, Stage::Caller, headers, &[]).await?;
        match &self.errand {
            Errand::Connect(connect) => {
                let caller = call.caller.clone().ok_or(Error::Internal)?;
                let body = connect.hand_out(&caller).map_err(|refusal| call.turned_away(&self.gate, refusal))?;
                Ok(json(body))
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
