//! Renewal: a call that comes without an access token, or with a cookie's that has expired, and with a refresh token's cookie
//! is a call like any other: it gets new tokens on the way.

mod service;

use std::sync::Arc;

use http::request::Parts;

use super::call::Call;
use super::caller::{Asking, Undecided};
use super::worker::Worker;
use crate::envelope::Dialect;
use crate::error::Error;
use crate::policy::auth::{Admission, Auth, Head, Identity, Mint, Pair, Refusal};
use crate::policy::session::Cookies;
use crate::store::Store;
pub(super) use service::Service;

/// How sessions are renewed by the calls themselves.
pub struct Renewal {
    pub(super) auth: Arc<Auth>,
    pub(super) cookies: Arc<Cookies>,
    pub(super) way: Way,
}

/// Who renews them.
pub(super) enum Way {
    /// The gateway, whose own they are.
    Own(Arc<Mint>),
    /// The service that has issued them.
    Service(Service),
}

impl Renewal {
    /// The next pair of a refresh token.
    pub(super) async fn renew(&self, worker: &Arc<Worker>, token: &str) -> Result<Pair, Refusal> {
        match &self.way {
            Way::Own(mint) => mint.renew(&self.auth, &worker.store, token).await,
            Way::Service(service) => service.renew(worker, token).await,
        }
    }

    /// Ends a caller's session.
    pub(super) async fn close(&self, store: &Store, caller: &Identity) -> Result<(), Refusal> {
        match &self.way {
            Way::Own(mint) => mint.close(&self.auth, store, caller).await,
            Way::Service(_) => {
                self.auth.revoke(caller);
                Ok(())
            }
        }
    }

    /// The refresh token of a call's cookie, where its dialect is one that browsers' pages speak.
    pub(super) fn taken(&self, dialect: Dialect, head: &Head<'_>) -> Option<Box<str>> {
        if matches!(dialect, Dialect::Grpc(_)) {
            return None;
        }
        // A page of another origin renews nothing, not by a GET either: that changes what the browser keeps. That it has no
        // token is answer enough.
        let head = Head { method: &http::Method::POST, ..*head };
        let taken = self.cookies.taken(&head).ok()??;
        Some(taken.into_owned().into())
    }
}

impl Call {
    /// A caller whose access token is missing or has expired: renewed, or refused as it was.
    pub(super) fn lapsed(&mut self, asking: &Asking<'_>, head: &Parts, refusal: Refusal) -> Result<bool, Error> {
        let (headers, uri, method) = (&head.headers, &head.uri, &head.method);
        let websocket = self.dialect == Dialect::WebSocket;
        let head = Head { headers, uri, method, websocket, cors: asking.cors };
        match asking.renewal.and_then(|renewal| renewal.taken(self.dialect, &head)) {
            Some(token) => {
                self.undecided = Some(Undecided::Refresh(token));
                Ok(false)
            }
            None => Err(self.turned_away(asking.gate, refusal)),
        }
    }

    /// New tokens for a refresh token, and who calls by them. A refresh token that is good no more leaves its browser.
    pub(super) async fn renew(&mut self, asking: &Asking<'_>, token: &str) -> Result<(), Error> {
        let Some(renewal) = asking.renewal else { return Err(Error::Internal) };
        let worker = self.worker.clone();
        let pair = match renewal.renew(&worker, token).await {
            Ok(pair) => pair,
            Err(refusal) => {
                if refusal.is_of_token() {
                    self.cookies.set = renewal.cookies.cleared().to_vec();
                }
                return Err(self.turned_away(asking.gate, refusal));
            }
        };
        let cookies = renewal.cookies.of(&pair).map_err(|why| {
            self.says(why);
            Error::Internal
        })?;
        self.cookies.set = cookies;
        let caller = match asking.gate.admit_token(&pair.access) {
            Ok(Admission::Caller(caller)) => Ok(Some(caller)),
            Ok(_) => {
                let question = asking.judge.map(|judge| judge.question(&worker, &pair.access));
                asking.gate.judge(&pair.access, question).await
            }
            Err(refusal) => Err(refusal),
        };
        self.caller = caller.map_err(|refusal| self.turned_away(asking.gate, refusal))?;
        Ok(())
    }
}
