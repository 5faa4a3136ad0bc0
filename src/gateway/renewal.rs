//! Renewal: a call that comes without an access token, or with a cookie's that has expired, and with a refresh token's cookie
//! is a call like any other: it gets new tokens on the way.

mod sealed;
mod service;
mod trade;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use transom_transcode::frame::PREFIX;

use super::call::Call;
use super::caller::{Asking, Undecided};
use super::route::Rpc;
use super::worker::Worker;
use crate::envelope::Dialect;
use crate::error::{Error, TokenKind};
use crate::policy::auth::{Admission, Auth, Head, Identity, Pair, Refusal, SessionIssuer};
use crate::policy::session::Cookies;
use crate::store::Store;
use crate::upstream::{Outgoing, Unary};
pub(super) use service::Service;
use service::Untraded;
use trade::Asked;

/// How sessions are renewed by the calls themselves.
pub struct Renewal {
    pub(super) auth: Arc<Auth>,
    pub(super) cookies: Arc<Cookies>,
    pub(super) renewer: Renewer,
}

/// Who renews them.
pub(super) enum Renewer {
    /// The gateway, whose own they are.
    Own(Arc<SessionIssuer>),
    /// The service that has issued them.
    Service(Service),
}

/// Why there are no new tokens.
pub(super) enum Unrenewed {
    /// The token is not good, or nobody can say.
    Refused(Refusal),
    /// Its client asks too often.
    Limited(Error),
}

impl Renewal {
    /// The next pair of a client's refresh token.
    pub(super) async fn renew(&self, worker: &Arc<Worker>, token: &str, client: IpAddr) -> Result<Pair, Unrenewed> {
        let renewed = match &self.renewer {
            Renewer::Own(issuer) => issuer.renew(&self.auth, &worker.store, token).await.map_err(Unrenewed::Refused),
            Renewer::Service(service) => service.renew(worker, token, client).await,
        };
        renewed.map_err(|why| match why {
            Unrenewed::Refused(refusal) => Unrenewed::Refused(refusal.of_token(TokenKind::Refresh)),
            limited @ Unrenewed::Limited(_) => limited,
        })
    }

    /// Ends a caller's session.
    pub(super) async fn close(&self, store: &Store, caller: &Identity) -> Result<(), Refusal> {
        match &self.renewer {
            Renewer::Own(issuer) => issuer.close(&self.auth, store, caller).await,
            Renewer::Service(_) => self.auth.revoke_everywhere(store, caller).await,
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
        let asked = Head { headers, uri, method, websocket, cors: asking.cors };
        match asking.renewal.and_then(|renewal| renewal.taken(self.dialect, &asked)) {
            Some(token) => {
                self.undecided = Some(Undecided::Refresh(token));
                Ok(false)
            }
            None => Err(self.shut_out(asking, head, refusal)),
        }
    }

    /// New tokens for a refresh token, and who calls by them. A refresh token that is good no more leaves its browser.
    pub(super) async fn renew(&mut self, asking: &Asking<'_>, token: &str) -> Result<(), Error> {
        let Some(renewal) = asking.renewal else { return Err(Error::Internal) };
        let worker = self.worker.clone();
        let pair = match renewal.renew(&worker, token, self.client).await {
            Ok(pair) => pair,
            Err(Unrenewed::Limited(error)) => return Err(error),
            Err(Unrenewed::Refused(refusal)) => {
                if refusal.is_of_token() {
                    self.cookies.give(renewal.cookies.cleared());
                }
                return Err(self.turned_away(asking.gate, refusal));
            }
        };
        let cookies = renewal.cookies.of(&pair).map_err(|why| {
            self.says(why);
            Error::Internal
        })?;
        self.cookies.give(cookies);
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

    /// Who trades the refresh token of this call's cookie, which its `frame` asks for, where calls do the same on their way:
    /// then both are one question.
    pub(super) fn trades<'r>(&self, rpc: &'r Rpc, frame: &[u8]) -> Option<&'r Service> {
        let token = self.cookies.taken.as_deref()?;
        let (Renewer::Service(service), session) = (&rpc.renewal.as_ref()?.renewer, rpc.session.as_ref()?) else {
            return None;
        };
        session.trades(token, frame.get(PREFIX..)?).then_some(service)
    }

    /// Asks it, or reads what it has just answered to another call.
    pub(super) async fn trade(
        &mut self,
        rpc: &Rpc,
        service: &Service,
        outgoing: &mut Outgoing<'_>,
        frame: Bytes,
    ) -> Result<Unary, Error> {
        let (worker, token) = (self.worker.clone(), self.cookies.taken.clone().unwrap_or_default());
        let asked = Asked { frame, headers: std::mem::take(&mut outgoing.headers), client: None };
        match worker.pool.within(outgoing.deadline, service.trade(&worker, &token, asked)).await {
            None => Err(worker.pool.overdue()),
            Some(Ok(reply)) => Ok(reply),
            Some(Err(Untraded::Failed(failure))) => Err(self.failed(failure)),
            Some(Err(Untraded::Limited(error))) => Err(error),
            Some(Err(Untraded::Refused(refusal))) => {
                if let Some(session) = rpc.session.as_ref().filter(|_| refusal.is_of_token()) {
                    self.cookies.give(session.cleared());
                }
                Err(self.turned_away(&rpc.gate, refusal.of_token(TokenKind::Refresh)))
            }
        }
    }
}
