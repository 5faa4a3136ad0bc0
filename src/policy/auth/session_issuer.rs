//! Session issuer: pairs of tokens of the gateway's own. Who has logged in gets an access token of minutes and a refresh token of days,
//! of one session; to renew them ends the ones before.
//!
//! ```text
//! login's answer ──▶ a session in the store ──▶ access + refresh token
//! refresh token ──▶ the session's next pair; whoever comes with it in the same moment gets that one too
//! refresh token that was renewed before ──▶ theft: the session ends, and every gateway refuses its access tokens
//! ```
//!
//! A pair is a function of its session's record: its signature is made anew, never kept, and the same everywhere.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::claims::Claim;
use super::identity::{Identity, marks, session_mark};
use super::refusal::{Refusal, short};
use super::revoked::Revocation;
use super::sign::{Signer, random};
use super::{Auth, Claims, LONGEST, now};
use crate::config::{self, Issue};
use crate::hex::Hex;
use crate::store::{Opening, Session, Spans, Store, Turn, Turned};

/// Bytes of what a session's tokens say of its user: they go in cookies.
const MOST: usize = 2048;

/// What signs the gateway's own tokens, and knows how a session goes on.
pub struct SessionIssuer {
    signer: Signer,
    kind: Claim,
    access: String,
    access_lasts: u64,
    refresh_lasts: u64,
    /// What access tokens say: the claim, and where login's answer has it.
    claims: Box<[(String, Claim)]>,
    absolute: Duration,
    spans: Spans,
}

/// What a client gets.
pub struct Pair {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
}

/// What refresh tokens say of themselves.
pub(super) const REFRESH: &str = "refresh";

/// How many refresh tokens of their session came before them.
const TURNS: &str = "turns";

impl SessionIssuer {
    /// `None`: there is no secret to sign with.
    pub fn compile(auth: &config::Auth, sessions: &config::Sessions, issue: &Issue) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            signer: Signer::compile(auth, None)?,
            kind: Claim::compile(&auth.token_type.claim),
            access: auth.token_type.own().to_owned(),
            access_lasts: sessions.access_token.max_age.as_secs(),
            refresh_lasts: sessions.refresh_token.max_age.as_secs(),
            claims: issue.claims.iter().map(|(claim, path)| (claim.clone(), Claim::compile(path))).collect(),
            absolute: issue.absolute,
            spans: Spans { idle: issue.idle, grace: issue.grace },
        }))
    }

    /// Begins a session for whom login's answer names. `None`: it names nobody, as one does that asks for more.
    ///
    /// # Errors
    /// The store does not answer, or what the tokens are to say is too much.
    pub async fn open(&self, store: &Store, answer: &Claims) -> Result<Option<Pair>, Refusal> {
        let mut data = Map::new();
        for (claim, path) in &self.claims {
            if let Some(value) = answer.get(path).filter(|value| !value.is_null()) {
                data.insert(claim.clone(), value.clone());
            }
        }
        let user = match data.remove("sub") {
            Some(Value::String(user)) if !user.is_empty() => user,
            Some(number @ Value::Number(_)) => number.to_string(),
            _ => return Ok(None),
        };
        let data = Value::Object(data).to_string();
        if data.len() + user.len() > MOST {
            return Err(Refusal::unavailable("login's answer has more than 2 KiB for the tokens to say"));
        }
        let (id, token) = random::<16>().zip(random::<16>()).ok_or_else(no_random)?;
        let Spans { idle, .. } = self.spans;
        let opening = Opening { id: &id, user: &user, data: &data, token: &token, idle, absolute: self.absolute };
        let session =
            store.open_session(&opening).await.map_err(|_| Refusal::unavailable("the store keeps no session"))?;
        self.pair(&id, &session).map(Some)
    }

    /// The next pair of a refresh token's session.
    ///
    /// # Errors
    /// The token is none, has expired or was renewed before; then its session ends, here and everywhere.
    pub async fn renew(&self, auth: &Auth, store: &Store, text: &str) -> Result<Pair, Refusal> {
        if text.len() > LONGEST {
            return Err(Refusal::invalid("the token is longer than 8 KiB"));
        }
        let (id, token, turns, issued, issuer) = {
            let token = self.signer.read(text)?;
            let kind = token.claims.get(&self.kind).and_then(Value::as_str).unwrap_or_default();
            if kind != REFRESH {
                return Err(Refusal::misplaced(format!("a token of type `{}` renews nothing", short(kind))));
            }
            let expires = token.claims.named("exp").and_then(Value::as_f64).unwrap_or_default();
            if expires <= now().as_secs_f64() {
                return Err(Refusal::expired("the refresh token has expired"));
            }
            if auth.revoked.any(&marks(token.message, &token.claims), now()) {
                return Err(Refusal::invalid("the session has ended"));
            }
            let text = |name| token.claims.named(name).and_then(Value::as_str).map(str::to_owned);
            let (id, token_id) = text("sid").zip(text("jti")).ok_or_else(|| Refusal::invalid("it is of no session"))?;
            let turns = token.claims.named(TURNS).and_then(Value::as_u64).unwrap_or_default();
            let issued = token.claims.named("iat").and_then(Value::as_u64).unwrap_or_default().saturating_mul(1000);
            (id, token_id, turns, issued, text("iss"))
        };
        let next = random::<16>().ok_or_else(no_random)?;
        match store.turn_session(&id, Turned { token: &token, turns, issued }, &next, self.spans).await {
            Ok(Turn::Good(session)) => self.pair(&id, &session),
            Ok(Turn::Gone) => Err(Refusal::invalid("the session has ended")),
            Ok(Turn::Reused) => {
                // Its refresh tokens are good no more; access tokens are, for a while.
                self.end(auth, &id, issuer.as_deref(), self.access_lasts);
                Err(Refusal::invalid("the refresh token was used before: its session ends"))
            }
            Err(_) => Err(Refusal::unavailable("the store does not say whether the refresh token is good")),
        }
    }

    /// Ends a caller's session: its refresh token is good no more, and what it has of access tokens is refused.
    ///
    /// # Errors
    /// The store does not take it, one that is full among them; here it has ended all the same.
    pub async fn close(&self, auth: &Auth, store: &Store, caller: &Identity) -> Result<(), Refusal> {
        let told = auth.revoke_everywhere(store, caller).await;
        let text = |name| caller.claims().named(name).and_then(Value::as_str);
        if let Some(id) = text("sid")
            && store.close_session(id).await.is_err()
        {
            // For the store its refresh token is as good as ever.
            self.end(auth, id, text("iss"), self.access_lasts.max(self.refresh_lasts));
            return Err(Refusal::untold("the store does not forget the session"));
        }
        told
    }

    /// No gateway takes a token of the session any more that lasts so many seconds from now at most.
    fn end(&self, auth: &Auth, id: &str, issuer: Option<&str>, lasts: u64) {
        // By whichever clock.
        const SKEW: u64 = 300;
        let (now, mark) = (now(), session_mark(issuer.unwrap_or_default(), id));
        let until = now.as_secs().saturating_add(lasts).saturating_add(SKEW);
        auth.revoked.announce(Revocation { mark, until }, now);
    }

    /// The tokens of a session as it is.
    fn pair(&self, id: &str, session: &Session) -> Result<Pair, Refusal> {
        let failed = || Refusal::unavailable("no tokens could be made");
        let mut claims: Map<String, Value> = serde_json::from_str(&session.data).map_err(|_| failed())?;
        claims.insert("sub".to_owned(), json!(session.user));
        claims.insert("sid".to_owned(), json!(id));
        // Since when the user is known; renewals change nothing of it (OpenID Connect Core §2).
        claims.insert("auth_time".to_owned(), json!(session.created / 1000));
        let (issued, ends) = (session.seen / 1000, session.ends / 1000);
        let until = |lasts: u64| issued.saturating_add(lasts).min(ends);
        let mut refresh = Map::new();
        for (name, value) in [
            ("sub", json!(session.user)),
            ("sid", json!(id)),
            ("jti", json!(session.token)),
            (TURNS, json!(session.turns)),
        ] {
            refresh.insert(name.to_owned(), value);
        }
        // Of who sees the one token no more can be told of the other.
        claims.insert("jti".to_owned(), json!(digest(&session.token)));
        let access = self.signer.sign(claims, &self.access, (issued, until(self.access_lasts)));
        let refresh = self.signer.sign(refresh, REFRESH, (issued, until(self.refresh_lasts)));
        let (access, refresh) = access.zip(refresh).ok_or_else(failed)?;
        Ok(Pair { access, refresh })
    }
}

fn no_random() -> Refusal {
    Refusal::unavailable("the system has no random numbers")
}

/// Half a digest, in hex.
fn digest(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    Hex(&digest.as_ref()[..16]).to_string()
}
