//! Gate: what a method asks of its callers.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;

use super::claims::Claim;
use super::connect::{Connect, Once};
use super::identity::Identity;
use super::refusal::{Reason, Refusal};
use super::{Auth, now, source};
use crate::config::{self, Access};
use crate::error::{Error, TokenFault, TokenKind};
use crate::policy::cors::Cors;
use crate::store::Store;

/// The gate of one method.
#[derive(Clone)]
pub struct Gate {
    auth: Option<Arc<Auth>>,
    requirements: Option<Requirements>,
    /// What opens its WebSockets in place of access tokens.
    connect: Option<Arc<Connect>>,
    logs_out: bool,
}

/// What a token must have.
#[derive(Debug, Clone)]
struct Requirements {
    scope: Claim,
    scopes: Vec<String>,
    role: Claim,
    roles: Vec<String>,
    claims: Vec<(Claim, Vec<String>)>,
    issuer: Vec<String>,
    audience: Vec<String>,
}

/// What a gate reads of a request.
#[derive(Clone, Copy)]
pub struct Head<'h> {
    /// Its headers.
    pub headers: &'h HeaderMap,
    /// Where it goes.
    pub uri: &'h Uri,
    /// Its method.
    pub method: &'h Method,
    /// It asks for a WebSocket, and gets one.
    pub websocket: bool,
    /// Which pages of other origins may call.
    pub cors: Option<&'h Cors>,
}

/// What a gate says of a request.
pub enum Admission {
    /// Everyone may pass.
    Open,
    /// This caller may.
    Caller(Arc<Identity>),
    /// That takes a moment: ask [`Gate::judge`].
    Later(Box<str>),
    /// Nobody may: there is no token, or a cookie's that has expired. Who can renew it may ask again, by [`Gate::admit_token`].
    Lapsed(Refusal),
    /// This caller may, if nobody has come by the same token: ask [`Gate::spend`].
    Once(Box<Once>),
}

impl Gate {
    /// What `rpc` asks; without `auth` nothing.
    pub fn compile(auth: Option<&Arc<Auth>>, rpc: &str, access: &Access) -> Self {
        let requirements = auth.and_then(|auth| match access {
            Access::Public => None,
            Access::Required(written) => Some(Requirements::compile(auth.config(), written)),
        });
        let connect = match access {
            Access::Required(config::Requirements { connect_token: Some(kind), .. }) => {
                auth.and_then(|auth| auth.connect(kind)).cloned()
            }
            Access::Required(_) | Access::Public => None,
        };
        let logs_out = auth.is_some_and(|auth| auth.config().logout.as_deref() == Some(rpc));
        Self { auth: auth.cloned(), requirements, connect, logs_out }
    }

    /// Who may be asked about tokens at all.
    pub fn auth(&self) -> Option<&Arc<Auth>> {
        self.auth.as_ref()
    }

    /// The method ends its caller's session.
    pub fn logs_out(&self) -> bool {
        self.logs_out
    }

    /// Decides by a request's head, as far as that needs no waiting. A hit of a token that is known costs no signature, and
    /// whatever may have changed since is checked: that it has not expired nor been revoked, and what this method asks.
    ///
    /// # Errors
    /// Nobody, or nobody who may.
    pub fn admit(&self, head: &Head<'_>) -> Result<Admission, Refusal> {
        let (Some(auth), Some(requirements)) = (&self.auth, &self.requirements) else { return Ok(Admission::Open) };
        if let Some(connect) = self.connect.as_ref().filter(|_| head.websocket) {
            let once = connect.find(auth, head, now()).map_err(|refusal| refusal.of_token(TokenKind::Connect))?;
            let fits = requirements.check(&once.identity).map_err(|refusal| refusal.of_token(TokenKind::Connect));
            return fits.map(|()| Admission::Once(Box::new(once)));
        }
        let (token, by_cookie) = match auth.find(head) {
            Ok(found) => found,
            Err(refusal) if refusal.reason == Reason::Token(TokenFault::Missing) => {
                return Ok(Admission::Lapsed(refusal));
            }
            Err(refusal) => return Err(refusal),
        };
        match auth.identify(&token, now()) {
            Ok(Some(identity)) => requirements.check(&identity).map(|()| Admission::Caller(identity)),
            Ok(None) => Ok(Admission::Later(token.into_owned().into())),
            Err(refusal) if by_cookie && refusal.reason == Reason::Token(TokenFault::Expired) => {
                Ok(Admission::Lapsed(refusal))
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// The same by a token that is no request's.
    ///
    /// # Errors
    /// As [`Gate::admit`].
    pub fn admit_token(&self, token: &str) -> Result<Admission, Refusal> {
        let (Some(auth), Some(requirements)) = (&self.auth, &self.requirements) else { return Ok(Admission::Open) };
        match auth.identify(token, now())? {
            Some(identity) => requirements.check(&identity).map(|()| Admission::Caller(identity)),
            None => Ok(Admission::Later(token.into())),
        }
    }

    /// Waits for what a token's verification needs: its issuer's keys, or the service that judges tokens; `question` asks
    /// that one, where it is an RPC.
    ///
    /// # Errors
    /// As [`Gate::admit`].
    pub async fn judge(
        &self,
        token: &str,
        question: Option<super::Question>,
    ) -> Result<Option<Arc<Identity>>, Refusal> {
        let (Some(auth), Some(requirements)) = (&self.auth, &self.requirements) else { return Ok(None) };
        let identity = auth.judge_later(token, question).await?;
        requirements.check(&identity).map(|()| Some(identity))
    }

    /// Uses a token that is good for once.
    ///
    /// # Errors
    /// It was used, or nobody can say.
    pub async fn spend(&self, once: Box<Once>, store: &Store) -> Result<Arc<Identity>, Refusal> {
        once.spend(store).await.map_err(|refusal| refusal.of_token(TokenKind::Connect))
    }

    /// A WebSocket's query without the tokens in it, which are nobody's but the gateway's.
    pub fn without_token<'q>(&self, query: &'q str) -> Cow<'q, str> {
        let Some(auth) = &self.auth else { return Cow::Borrowed(query) };
        let own = self.connect.as_ref().map(|connect| connect.source());
        let sources: Vec<_> = auth.config().sources.iter().chain(own).collect();
        source::without(&sources, query)
    }

    /// A refusal, counted, as the error that the client gets.
    pub fn turn_away(&self, refusal: &Refusal) -> Error {
        let Some(auth) = &self.auth else { return refusal.error(StatusCode::UNAUTHORIZED) };
        auth.count(refusal.reason);
        refusal.error(auth.config().invalid_status.status())
    }
}

impl Requirements {
    fn compile(auth: &config::Auth, written: &config::Requirements) -> Self {
        Self {
            scope: Claim::compile(&auth.scopes),
            scopes: written.scopes.clone(),
            role: Claim::compile(&auth.roles),
            roles: written.roles.clone(),
            claims: written.claims.iter().map(|(claim, values)| (Claim::compile(claim), values.clone())).collect(),
            issuer: written.issuer.clone(),
            audience: written.audience.clone(),
        }
    }

    fn check(&self, caller: &Identity) -> Result<(), Refusal> {
        let claims = caller.claims();
        let is = |listed: &[String], value: Option<&Value>| match value {
            Some(Value::String(one)) => listed.contains(one),
            Some(Value::Array(items)) => {
                items.iter().filter_map(Value::as_str).any(|item| listed.iter().any(|one| one == item))
            }
            _ => false,
        };
        if !self.issuer.is_empty() && !is(&self.issuer, claims.named("iss")) {
            return Err(Refusal::invalid("the token's issuer is not one for this method"));
        }
        if !self.audience.is_empty() && !is(&self.audience, claims.named("aud")) {
            return Err(Refusal::invalid("the token's audience is not one for this method"));
        }
        if let Some(scope) = self.scopes.iter().find(|scope| !claims.lists(&self.scope, scope)) {
            return Err(Refusal::forbidden(format!("the token lacks the scope `{scope}`")));
        }
        if !self.roles.is_empty() && !self.roles.iter().any(|role| claims.lists(&self.role, role)) {
            return Err(Refusal::forbidden(format!("the token has no role of {}", self.roles.join(", "))));
        }
        match self.claims.iter().find(|(claim, values)| !values.iter().any(|value| claims.has(claim, value))) {
            Some((claim, _)) => Err(Refusal::forbidden(format!("the token's `{}` is another", claim.name()))),
            None => Ok(()),
        }
    }
}
