//! Asked: tokens that a service judges. Each is asked about once at a time, whoever waits for the answer; the answer holds for
//! a moment, good or bad. Without an answer nobody passes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::claims::{Claim, Claims, moment};
use super::identity::Identity;
use super::refusal::{Reason, Refusal};
use super::verified::Verified;
use super::{Auth, Now, now};
use crate::config::{self, VerifyMethod};
use crate::fetch::Fetch;

/// Questions that may be open at once.
const MOST: usize = 10_000;
/// The member that says in every introspection's answer whether a token is good (RFC 7662 §2.2).
const ACTIVE: &str = "active";
/// Bytes of the largest answer.
const LARGEST: usize = 64 * 1024;

/// What a service says of a token.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is good, and says this.
    Good(Claims),
    /// It is not; why is for the log.
    Bad(Cow<'static, str>),
    /// There is no answer; why is for the log.
    Unknown(Cow<'static, str>),
}

/// A question about one token, on its way once it is polled.
pub type Question = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// Open questions, and tokens that were refused a moment ago.
#[derive(Default)]
pub(super) struct Asked {
    open: Mutex<HashMap<Box<str>, watch::Receiver<Option<Answer>>, foldhash::quality::RandomState>>,
    refused: Verified<(Refusal, Now)>,
}

type Answer = Result<Arc<Identity>, Refusal>;

impl Asked {
    /// A token that was refused a moment ago.
    pub(super) fn refused(&self, token: &str, now: Now) -> Option<Refusal> {
        self.refused.get(token, |(_, until)| now < *until).map(|(refusal, _)| refusal)
    }
}

impl Auth {
    /// Waits for the issuer's keys or for the service's answer.
    pub(super) async fn judge_later(self: &Arc<Self>, token: &str, question: Option<Question>) -> Answer {
        match &self.config.verify {
            None => self.verify_later(token).await,
            Some(verify) => self.ask(verify, token, question).await,
        }
    }

    async fn ask(self: &Arc<Self>, verify: &config::Verify, token: &str, question: Option<Question>) -> Answer {
        let mut answer = {
            let mut open = self.asked.open.lock();
            match open.get(token) {
                Some(answer) => answer.clone(),
                None if open.len() >= MOST => {
                    return Err(Refusal::unavailable("too many tokens are asked about at once"));
                }
                None => {
                    let (told, answer) = watch::channel(None);
                    open.insert(token.into(), answer.clone());
                    let question = question.or_else(|| self.endpoint(verify, token));
                    // A task of its own: who asked first may leave, and others wait for the same answer.
                    tokio::spawn(self.clone().question(token.into(), question, told));
                    answer
                }
            }
        };
        let answered = answer.wait_for(Option::is_some).await;
        let answered = answered.ok().and_then(|answer| answer.clone());
        answered.unwrap_or_else(|| Err(Refusal::unavailable("the question was broken off")))
    }

    async fn question(
        self: Arc<Self>,
        token: Box<str>,
        question: Option<Question>,
        told: watch::Sender<Option<Answer>>,
    ) {
        // However this ends, the question is not open any more.
        let _closed = Closing { auth: &self, token: &token };
        let Some(verify) = &self.config.verify else { return };
        let verdict = match question {
            Some(question) => timeout(verify.timeout, question).await,
            None => Ok(Verdict::Unknown(Cow::Borrowed("nobody is there to ask"))),
        };
        let now = now();
        let answer = match verdict {
            Ok(Verdict::Good(claims)) => self.good(verify, &token, claims, now),
            Ok(Verdict::Bad(why)) => Err(Refusal::invalid(why)),
            Ok(Verdict::Unknown(why)) => Err(Refusal::unavailable(why)),
            Err(_) => Err(Refusal::unavailable("who judges tokens did not answer in time")),
        };
        match &answer {
            Ok(identity) => self.verified.insert(&token, identity.clone(), |known| known.holds(now)),
            Err(refusal) if refusal.reason == Reason::Unavailable => {}
            Err(refusal) => {
                let until = now.saturating_add(verify.cache_refusals);
                self.asked.refused.insert(&token, (refusal.clone(), until), |(_, until)| now < *until);
            }
        }
        let _ = told.send(Some(answer));
    }

    /// A good answer, looked at more closely.
    fn good(&self, verify: &config::Verify, token: &str, claims: Claims, now: Now) -> Answer {
        let said = said(verify, &claims)?;
        self.token_type.check(&claims)?;
        // An answer may hold for no time at all, but it holds for who asked.
        let expires = expiry(verify, &claims)?;
        if expires.is_some_and(|expires| expires <= now) {
            return Err(Refusal::expired("the token has expired"));
        }
        let identity = Identity::judged(token, claims, &self.crossing, (expires, now.saturating_add(verify.cache)))?;
        if !said && !verify.by_status && identity.user().is_none_or(str::is_empty) {
            return Err(Refusal::invalid(
                "who judges tokens says neither that it is good (`auth.verify.valid`, or `by_status` where 200 says it) nor whose it is (`auth.user`)",
            ));
        }
        self.not_revoked(&identity, now)?;
        Ok(Arc::new(identity))
    }

    /// The question to the HTTP endpoint.
    fn endpoint(&self, verify: &config::Verify, token: &str) -> Option<Question> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = verify.url.clone()?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if verify.method == VerifyMethod::Post {
            *request.method_mut() = Method::POST;
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = json!({ &verify.field: token }).to_string().into();
        }
        let (fetch, time) = (self.fetch.clone(), verify.timeout);
        Some(Box::pin(async move { fetched(&fetch, request, time).await }))
    }
}

/// Whether the answer says that the token is good; that it is not is a refusal.
fn said(verify: &config::Verify, claims: &Claims) -> Result<bool, Refusal> {
    let not = Err(Refusal::invalid("who judges tokens says that it is not valid"));
    let names: &[&str] = match &verify.valid {
        Some(name) if claims.named(name).is_none() => {
            return Err(Refusal::invalid(format!("who judges tokens does not say `{name}`")));
        }
        // No good token is inactive, whatever else its judge says of it (RFC 7662 §2.2).
        Some(_) if claims.named(ACTIVE) == Some(&Value::Bool(false)) => return not,
        Some(name) => &[name],
        None => &["valid", ACTIVE],
    };
    let mut values = names.iter().filter_map(|name| claims.named(name)).peekable();
    let said = values.peek().is_some();
    if values.all(|value| *value == Value::Bool(true)) { Ok(said) } else { not }
}

/// When a token expires, if its judge says so. A field that was never set says zero, or nothing.
fn expiry(verify: &config::Verify, claims: &Claims) -> Result<Option<Now>, Refusal> {
    let said = match claims.get(&Claim::compile(&verify.expires)) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(said) => said,
    };
    match moment(said) {
        Some(expires) => Ok(Some(expires).filter(|expires| !expires.is_zero())),
        None => Err(Refusal::invalid(format!("who judges tokens says in `{}` what is no time", verify.expires))),
    }
}

/// The endpoint's answer.
async fn fetched(fetch: &Fetch, request: Request<Bytes>, time: Duration) -> Verdict {
    let answer = match fetch.send(request, time, LARGEST).await {
        Ok(answer) => answer,
        Err(failure) => return Verdict::Unknown(format!("who judges tokens: {failure}").into()),
    };
    let status = answer.status();
    if status.is_success() {
        let claims = if answer.body().is_empty() { Some(Claims::default()) } else { Claims::parse(answer.body()) };
        return match claims {
            Some(claims) => Verdict::Good(claims),
            None => Verdict::Unknown(Cow::Borrowed("who judges tokens answered what is no JSON object")),
        };
    }
    let said = format!("who judges tokens said HTTP status {}", status.as_u16()).into();
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            Verdict::Bad(said)
        }
        other if other.as_u16() == 498 => Verdict::Bad(said),
        _ => Verdict::Unknown(said),
    }
}

/// A question under way.
struct Closing<'a> {
    auth: &'a Auth,
    token: &'a str,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.auth.asked.open.lock().remove(self.token);
    }
}
