//! Auth: who calls. A token is found, verified once, and remembered until it expires; what the configuration names of its
//! claims crosses to the services.
//!
//! ```text
//! source          where a request carries a token
//! site            whether a page that may sent it
//! token           a JWT taken apart, nothing of it believed
//! key             one key and the algorithms that are its own
//! jwks            an issuer's published keys, kept fresh
//! issuer          keys, and what the tokens that they sign must say
//! verified        tokens that were verified, until they expire
//! asked           tokens that a service judges: one question at a time for each
//! revoked         tokens that were good and are no more
//! hearsay         the same at every gateway
//! claims          what a token says
//! identity        a caller who was verified, and what crosses of it
//! connect         tokens that open one WebSocket each
//! session_issuer  pairs of tokens of the gateway's own
//! gate            what a method asks of its callers
//! refusal         why one is turned away
//! sign            tokens of the gateway's own, and those for developers
//! ```
//!
//! Written after RFC 8725: a key fixes its algorithms, each kind of token has its own place, and everything about a token is
//! checked at every use but its signature.

mod asked;
mod claims;
mod connect;
mod gate;
mod hearsay;
mod identity;
mod issuer;
mod jwks;
mod key;
mod refusal;
mod revoked;
mod session_issuer;
mod sign;
mod site;
mod source;
mod token;
mod verified;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use http::StatusCode;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{self, OnDeaf};
use crate::fetch::Fetch;
use crate::store::Store;
use crate::telemetry::{Metrics, Refusals};

pub use asked::{Question, Verdict};
pub use claims::{Claim, Claims};
pub use connect::{Connect, Once};
pub use gate::{Admission, Gate, Head};
pub use identity::Identity;
pub use jwks::Freshness;
pub use refusal::{Reason, Refusal};
pub use session_issuer::{Pair, SessionIssuer};
pub use sign::sign;

use asked::Asked;
use identity::Crossing;
use issuer::{Issuer, Signed};
use jwks::{KeySet, Remote};
use revoked::Revoked;
use source::Found;
use token::Token;
use verified::Verified;

/// One `auth` section, running. Kept over reloads that do not change it, with its keys and all that it has verified.
pub struct Auth {
    config: config::Auth,
    /// How the text of key files reads; a reload that finds another text makes a new one.
    files: Vec<String>,
    issuers: Vec<Issuer>,
    crossing: Crossing,
    token_type: TokenType,
    verified: Verified<Arc<Identity>>,
    revoked: Arc<Revoked>,
    /// Keeps it the same at every gateway.
    follower: Arc<hearsay::Follower>,
    connect: Vec<Arc<Connect>>,
    asked: Asked,
    fetch: Arc<Fetch>,
    /// Where refusals are counted, by reason.
    refusals: [Refusals; Reason::ALL.len()],
    /// Ends what keeps the keys fresh when nobody runs on them any more.
    kept: std::sync::OnceLock<DropGuard>,
}

/// Which tokens are access tokens.
struct TokenType {
    claim: Claim,
    refused: Vec<String>,
    accepted: Vec<String>,
}

/// Seconds since 1970, with what is left of the last one.
type Now = Duration;

impl Auth {
    /// Reads the key files, which stand in `folder` where their paths are relative. `previous` is kept if nothing has
    /// changed.
    ///
    /// # Errors
    /// Keys that cannot be read: the place below `auth`, and what is wrong.
    pub fn compile(
        config: &config::Auth,
        folder: &Path,
        metrics: &Metrics,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, Vec<(String, String)>> {
        let (mut issuers, mut files, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for (index, jwt) in config.jwt.iter().enumerate() {
            let remote = |uri: &_, fetch| {
                let known = previous.and_then(|previous| previous.published(jwt));
                Remote::new(uri, jwt, known, (metrics.issuer_keys(&issuer_name(config, index)), fetch))
            };
            match Issuer::compile(jwt, folder, &mut files, remote) {
                Ok(issuer) => issuers.push(issuer),
                Err((key, message)) => problems.push((format!("{}.{key}", place(config, index)), message)),
            }
        }
        let verify = config.verify.as_ref();
        let judge = verify.map(|verify| issuer::client(verify.ca.as_deref(), verify.url.as_ref(), folder, &mut files));
        let fetch = match judge.unwrap_or_else(|| Ok(Fetch::new())) {
            Ok(fetch) if problems.is_empty() => Arc::new(fetch),
            Ok(_) => return Err(problems),
            Err(why) => {
                problems.push(("verify.ca".to_owned(), why));
                return Err(problems);
            }
        };
        if let Some(previous) = previous.filter(|previous| previous.config == *config && previous.files == files) {
            return Ok(previous.clone());
        }
        let connect = &config.connect_tokens;
        let connect: Vec<_> =
            connect.iter().filter_map(|(kind, written)| Connect::compile(config, kind, written)).collect();
        let own = connect.iter().map(|connect| connect.kind().to_owned()).chain([session_issuer::REFRESH.to_owned()]);
        let refused = config.token_type.refused.iter().cloned().chain(own).collect();
        Ok(Arc::new(Self {
            config: config.clone(),
            files,
            issuers,
            crossing: Crossing::compile(config),
            token_type: TokenType {
                claim: Claim::compile(&config.token_type.claim),
                refused,
                accepted: config.token_type.accepted.clone(),
            },
            verified: Verified::default(),
            // Another configuration makes no revoked token good again.
            revoked: previous.map(|previous| previous.revoked.clone()).unwrap_or_default(),
            follower: previous.map(|previous| previous.follower.clone()).unwrap_or_default(),
            connect: connect.into_iter().map(Arc::new).collect(),
            asked: Asked::default(),
            fetch,
            refusals: Reason::ALL.map(|reason| {
                let error = Refusal::of(reason).error(StatusCode::UNAUTHORIZED);
                metrics.refusals("auth", error.reason().unwrap_or_default())
            }),
            kept: std::sync::OnceLock::new(),
        }))
    }

    /// The keys that an issuer has published, and that go on serving over a reload: it may not be there at that moment.
    fn published(&self, jwt: &config::Jwt) -> Option<Arc<KeySet>> {
        self.issuers.iter().filter_map(Issuer::remote).find_map(|remote| remote.published(jwt))
    }

    /// What is there of the keys that issuers publish, by the names of those.
    pub fn published_keys(&self) -> impl Iterator<Item = (&str, Freshness)> {
        self.issuers.iter().filter_map(Issuer::remote).map(|remote| (remote.issuer(), remote.freshness()))
    }

    /// Fetches the keys of each issuer that `previous` did not ask for its keys, once.
    ///
    /// # Errors
    /// Some give none: the place below `auth`, and why.
    pub async fn fetch_new(&self, previous: Option<&Self>) -> Result<(), Vec<(String, String)>> {
        let is_new = |jwt: &config::Jwt| previous.is_none_or(|previous| previous.published(jwt).is_none());
        let entries = self.issuers.iter().zip(&self.config.jwt).enumerate().filter(|(_, (_, jwt))| is_new(jwt));
        let asked = entries.map(|(index, (issuer, _))| async move {
            let why = issuer.remote()?.fetch_once().await.err()?;
            Some((format!("{}.jwks", place(&self.config, index)), why))
        });
        let missing: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// What was written.
    pub fn config(&self) -> &config::Auth {
        &self.config
    }

    /// Keeps the published keys fresh, and what is revoked the same at every gateway, on the runtime that this is called on,
    /// until nobody runs on them any more. Only the first call does anything.
    pub fn keep_fresh(&self, store: &Arc<Store>) {
        if self.kept.get().is_some() {
            return;
        }
        let cancel = CancellationToken::new();
        for remote in self.issuers.iter().filter_map(Issuer::remote) {
            let (remote, cancel) = (remote.clone(), cancel.clone());
            tokio::spawn(async move { cancel.run_until_cancelled(remote.keep()).await });
        }
        if store.redis().is_some() {
            self.follower.begin(&self.revoked, store);
        }
        // Whoever comes second lets go of its guard, and its tasks end.
        let _ = self.kept.set(cancel.drop_guard());
    }

    /// Headers that carry claims: what clients send under these names stays behind.
    pub fn injected(&self) -> &[Box<str>] {
        self.crossing.names()
    }

    /// Whether a token crosses to the services.
    pub fn forwards(&self) -> bool {
        self.config.forward
    }

    /// The type of connect tokens of this name.
    pub fn connect(&self, kind: &str) -> Option<&Arc<Connect>> {
        self.connect.iter().find(|connect| connect.kind() == kind)
    }

    fn count(&self, reason: Reason) {
        self.refusals[reason.index()].count();
    }

    /// The token of a request, and whether it is in a cookie.
    fn find<'h>(&self, head: &Head<'h>) -> Result<(Cow<'h, str>, bool), Refusal> {
        for source in &self.config.sources {
            match source::find(source, head.headers, head.uri, head.websocket) {
                Found::Nothing => {}
                Found::Token(token) if token.len() <= LONGEST => {
                    // A browser sends cookies whoever's page calls.
                    let by_cookie = matches!(source, config::TokenSource::Cookie(_));
                    if by_cookie {
                        site::check(head)?;
                    }
                    return Ok((token, by_cookie));
                }
                Found::Token(_) => return Err(Refusal::invalid("the token is longer than 8 KiB")),
                Found::Flawed(why) => return Err(Refusal::invalid(why)),
            }
        }
        Err(Refusal::missing())
    }

    /// Who sent the token, or that this takes a moment.
    fn identify(&self, token: &str, now: Now) -> Result<Option<Arc<Identity>>, Refusal> {
        if let Some(identity) = self.verified.get(token, |known| known.holds(now) && self.is_current(known)) {
            self.not_revoked(&identity, now)?;
            return Ok(Some(identity));
        }
        if self.config.verify.is_some() {
            return match self.asked.refused(token, now) {
                Some(refusal) => Err(refusal),
                None => Ok(None),
            };
        }
        self.verify(token, now)
    }

    /// Verifies a token here; `None` if its key may be one that was not fetched yet.
    fn verify(&self, text: &str, now: Now) -> Result<Option<Arc<Identity>>, Refusal> {
        let token = Token::read(text)?;
        let mut found = None;
        let mut unknown = false;
        for (index, issuer) in self.candidates(&token) {
            match issuer.signed(&token) {
                Signed::Yes { epoch } => {
                    found = Some((index, epoch));
                    break;
                }
                Signed::No => {}
                Signed::Unknown => unknown = true,
            }
        }
        let Some((index, epoch)) = found else {
            return if unknown { Ok(None) } else { Err(self.unsigned(&token)) };
        };
        let issuer = &self.issuers[index];
        let expires = issuer.check(&token.claims, now)?;
        self.token_type.check(&token.claims)?;
        let identity = Identity::new(text, token, &self.crossing, expires, issuer.leeway())?.of(index, epoch);
        self.not_revoked(&identity, now)?;
        let identity = Arc::new(identity);
        self.verified.insert(text, identity.clone(), |known| known.holds(now));
        Ok(Some(identity))
    }

    /// Who may have issued a token, with their places: whoever has the name that it says. Who has none speaks for nobody
    /// else: the others may be asked for by name.
    fn candidates<'a>(&'a self, token: &'a Token<'_>) -> impl Iterator<Item = (usize, &'a Issuer)> {
        let named = self.issuers.iter().any(|issuer| issuer.is_named(token));
        let may = move |issuer: &Issuer| if named { issuer.is_named(token) } else { issuer.is_nameless() };
        self.issuers.iter().enumerate().filter(move |(_, issuer)| may(issuer))
    }

    /// Why no key is this token's.
    fn unsigned(&self, token: &Token<'_>) -> Refusal {
        if self.candidates(token).next().is_none() {
            return Refusal::invalid(format!("no issuer is `{}`", refusal::short(token.issuer().unwrap_or_default())));
        }
        if self.candidates(token).any(|(_, issuer)| issuer.takes(token.algorithm)) {
            return Refusal::invalid("the signature is none of the issuer's keys");
        }
        Refusal::invalid(format!("{:?} is not the algorithm of the issuer's keys", token.algorithm))
    }

    /// Waits for what a token's key may come with, and verifies it again.
    async fn verify_later(&self, text: &str) -> Result<Arc<Identity>, Refusal> {
        let mut fetched = false;
        let mut missing = false;
        {
            let token = Token::read(text)?;
            for (_, issuer) in self.candidates(&token) {
                if let (Some(remote), Signed::Unknown) = (issuer.remote(), issuer.signed(&token)) {
                    fetched |= remote.renewed().await;
                    missing |= remote.is_empty();
                }
            }
        }
        match self.verify(text, now())? {
            Some(identity) => Ok(identity),
            None if missing => Err(Refusal::unavailable("the issuer's keys could not be fetched yet")),
            None if fetched => Err(Refusal::invalid("the issuer has no such key")),
            None => Err(Refusal::invalid("the issuer has no such key, and was asked a moment ago")),
        }
    }

    /// A key that its issuer has withdrawn verifies nothing any more.
    fn is_current(&self, identity: &Identity) -> bool {
        self.issuers.get(identity.issuer).is_none_or(|issuer| issuer.epoch() == identity.epoch)
    }

    fn not_revoked(&self, identity: &Identity, now: Now) -> Result<(), Refusal> {
        if self.revoked.any(identity.marks(), now) {
            return Err(Refusal::invalid("the session has ended"));
        }
        if self.is_deaf() && self.config.on_store_failure == OnDeaf::Deny {
            return Err(Refusal::unavailable("redis does not say which tokens are revoked"));
        }
        Ok(())
    }

    /// Other gateways may have revoked what is not known here.
    pub fn is_deaf(&self) -> bool {
        self.revoked.is_deaf()
    }

    /// Whether a token is one that somebody has logged out with, or of that session, whoever has signed it.
    pub fn has_ended(&self, text: &str) -> bool {
        let now = now();
        let ended = |message: &str, claims: &Claims| self.revoked.any(&identity::marks(message, claims), now);
        Token::read(text).is_ok_and(|token| ended(token.message, &token.claims)) || ended(text, &Claims::default())
    }

    /// Refuses a caller's token from now on, and every token of its session; other gateways are told.
    fn revoke(&self, identity: &Identity) {
        let now = now();
        for revocation in identity.revocations(now, self.config.logout_lasts) {
            self.revoked.announce(revocation, now);
        }
    }

    /// The same, and waits until the store has taken it.
    ///
    /// # Errors
    /// It does not, or is full; here they are refused all the same, and other gateways hear of it as soon as it does.
    pub async fn revoke_everywhere(&self, store: &Store, identity: &Identity) -> Result<(), Refusal> {
        self.revoke(identity);
        let revoked = identity.revocations(now(), self.config.logout_lasts);
        let marks: Vec<_> = revoked.into_iter().map(|revocation| (revocation.mark, revocation.until)).collect();
        let told = store.mark(&marks).await;
        told.map_err(|_| Refusal::untold("the store does not take that the session's tokens are good no more"))
    }
}

/// Where an entry of `jwt` is, below `auth`.
fn place(config: &config::Auth, index: usize) -> String {
    if config.jwt.len() == 1 { "jwt".to_owned() } else { format!("jwt[{index}]") }
}

/// What an entry's issuer is called: by its tokens, where they call no other one so.
fn issuer_name(config: &config::Auth, index: usize) -> String {
    let name = config.jwt[index].issuer.first();
    let alone = name.filter(|_| config.jwt.iter().filter(|other| other.issuer.first() == name).count() == 1);
    alone.cloned().unwrap_or_else(|| format!("auth.{}", place(config, index)))
}

/// Whether a page that may has sent a request whose answer sets cookies, if a page has.
///
/// # Errors
/// It is another origin's.
pub fn own_page(head: &Head<'_>) -> Result<(), Refusal> {
    site::check(head)
}

/// A token that a browser keeps in a cookie of this name.
///
/// # Errors
/// It is none, or the page that sends it may not.
pub fn cookie<'h>(head: &Head<'h>, name: &str) -> Result<Option<Cow<'h, str>>, Refusal> {
    match source::cookie(head.headers, name) {
        Found::Nothing => Ok(None),
        Found::Token(token) if token.len() <= LONGEST => site::check(head).map(|()| Some(token)),
        Found::Token(_) => Err(Refusal::invalid("the token is longer than 8 KiB")),
        Found::Flawed(why) => Err(Refusal::invalid(why)),
    }
}

/// Bytes of the longest token.
const LONGEST: usize = 8 * 1024;

impl TokenType {
    /// Refuses tokens that another place is meant for.
    fn check(&self, claims: &Claims) -> Result<(), Refusal> {
        let Some(value) = claims.get(&self.claim) else { return Ok(()) };
        let kind = value.as_str().unwrap_or_default();
        let listed = |list: &[String]| list.iter().any(|word| word == kind);
        if listed(&self.refused) || !self.accepted.is_empty() && !listed(&self.accepted) {
            let kind = refusal::short(kind);
            return Err(Refusal::invalid(format!("a token of type `{kind}` is no access token")));
        }
        Ok(())
    }
}

/// The machine's time.
fn now() -> Now {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
