//! Connect: tokens that open one WebSocket each. A page cannot send headers with one, and what stands in a URL is logged
//! and kept: so the token that stands there lives for seconds, is good for nothing else, and for this once.
//!
//! ```text
//! access token ──▶ a route of the gateway's own ──▶ connect token ──▶ ?token=… of one WebSocket
//! ```
//!
//! Which tokens were used is known to the store, and so to all gateways. Without an answer of it no WebSocket opens: once
//! would be twice.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::claims::Claim;
use super::gate::Head;
use super::identity::Identity;
use super::refusal::{Refusal, short};
use super::sign::{Signer, random};
use super::source::{self, Found};
use super::{Auth, LONGEST, Now, now};
use crate::config::{self, Secret, TokenSource};
use crate::store::Store;

/// How long the store may take to say whether a token was used.
const PATIENCE: Duration = Duration::from_millis(500);

/// One type of connect tokens.
pub struct Connect {
    kind: Box<str>,
    claim: Claim,
    signer: Signer,
    ttl: u64,
    /// Its claims and the access token's.
    claims: Box<[(Box<str>, Claim)]>,
    /// The claim that names the user.
    user: Claim,
    source: TokenSource,
    around: (String, String),
}

/// A WebSocket's token that is good, unless it was used.
pub struct Once {
    /// Who it speaks of.
    pub(super) identity: Arc<Identity>,
    /// What it is known by.
    mark: Box<str>,
    /// How long it would be good for.
    lasts: Duration,
}

impl Connect {
    /// The type of this name. `None`: nothing can sign it.
    pub(super) fn compile(auth: &config::Auth, kind: &str, written: &config::ConnectToken) -> Option<Self> {
        let signer = Signer::compile(auth, written.secret.as_ref()).or_else(|| {
            // Where no issuer has a key nobody comes to ask for one, and nobody is to guess this.
            let unknown = Secret::from(random::<32>()?);
            Signer::compile(auth, Some(&unknown))
        })?;
        Some(Self {
            kind: kind.into(),
            claim: Claim::compile(&auth.token_type.claim),
            signer,
            ttl: written.ttl.as_secs(),
            claims: written.claims().iter().map(|(own, from)| (own.as_str().into(), Claim::compile(from))).collect(),
            user: Claim::compile(&auth.user),
            source: TokenSource::Query(written.parameter.clone()),
            around: written.parts()?,
        })
    }

    /// Its name.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// Where a WebSocket carries it.
    pub(super) fn source(&self) -> &TokenSource {
        &self.source
    }

    /// An answer with a new token for a caller.
    ///
    /// # Errors
    /// None could be made.
    pub fn hand_out(&self, caller: &Identity) -> Result<String, Refusal> {
        let failed = || Refusal::unavailable("no connect token could be made");
        let mut claims = Map::new();
        for (own, from) in &self.claims {
            if let Some(value) = caller.claims().get(from) {
                claims.insert(own.clone().into_string(), value.clone());
            }
        }
        // It speaks of the same, by the same value; `sub` alone is a text (RFC 7519 §4.1.2).
        if let Some(user) = caller.claims().get(&self.user).filter(|value| !value.is_null()) {
            claims.insert(self.user.name().to_owned(), user.clone());
        }
        let subject = caller.claims().text(&Claim::compile("sub"));
        if let Some(subject) = subject.as_deref().or(caller.user()) {
            claims.insert("sub".to_owned(), json!(subject));
        }
        // It ends with its session, which is one of its issuer's.
        for name in ["iss", "sid"] {
            if let Some(value) = caller.claims().named(name).filter(|value| !value.is_null()) {
                claims.insert(name.to_owned(), value.clone());
            }
        }
        claims.insert("jti".to_owned(), Value::String(random::<16>().ok_or_else(failed)?));
        let now = now().as_secs();
        let token = self.signer.sign(claims, &self.kind, (now, now + self.ttl)).ok_or_else(failed)?;
        Ok(format!("{}{token}{}", self.around.0, self.around.1))
    }

    /// The token of a WebSocket, by all that can be known of it here.
    pub(super) fn find(&self, auth: &Auth, head: &Head<'_>, now: Now) -> Result<Once, Refusal> {
        let text = match source::find(&self.source, head.headers, head.uri, head.websocket) {
            Found::Nothing => return Err(Refusal::missing()),
            Found::Flawed(why) => return Err(Refusal::invalid(why)),
            Found::Token(text) if text.len() > LONGEST => {
                return Err(Refusal::invalid("the token is longer than 8 KiB"));
            }
            Found::Token(text) => text,
        };
        let token = self.signer.read(&text)?;
        let expires = token.claims.named("exp").and_then(Value::as_f64);
        let expires = expires.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let expires = expires.ok_or_else(|| Refusal::invalid("the token has no `exp`"))?;
        if expires <= now {
            let ago = now.saturating_sub(expires).as_secs();
            return Err(Refusal::expired(format!("the connect token expired {ago} s ago")));
        }
        let kind = token.claims.get(&self.claim).and_then(Value::as_str).unwrap_or_default();
        if kind != &*self.kind {
            let kind = short(kind);
            return Err(Refusal::misplaced(format!("a token of type `{kind}` opens no WebSocket here")));
        }
        let identity = Identity::new(&text, token, &auth.crossing, expires, Duration::ZERO)?;
        auth.not_revoked(&identity, now)?;
        let mark = identity.marks().last().cloned().unwrap_or_default();
        Ok(Once { identity: Arc::new(identity), mark, lasts: expires.saturating_sub(now) })
    }
}

impl Once {
    /// Uses it.
    pub(super) async fn spend(self: Box<Self>, store: &Store) -> Result<Arc<Identity>, Refusal> {
        match store.once(&self.mark, self.lasts, PATIENCE).await {
            Ok(true) => Ok(self.identity),
            Ok(false) => Err(Refusal::invalid("the connect token was used before")),
            Err(_) => Err(Refusal::unavailable("redis does not say whether the connect token was used")),
        }
    }
}
