//! Identity: a caller who was verified, and what of it crosses to the services.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use smallvec::SmallVec;

use super::Now;
use super::claims::{Claim, Claims, moment};
use super::refusal::Refusal;
use super::revoked::Revocation;
use super::token::Token;
use crate::config;
use crate::hex::Hex;

/// Bytes of all claims that cross with a call.
const LARGEST: usize = 8 * 1024;

/// What crosses of every caller, resolved at load.
pub(super) struct Crossing {
    user: Claim,
    claims: Vec<(Claim, HeaderName)>,
    /// As [`Crossing::names`] says.
    names: Box<[Box<str>]>,
    forward: bool,
}

impl Crossing {
    pub(super) fn compile(config: &config::Auth) -> Self {
        let bare = |header: &HeaderName| header.as_str().trim_end_matches("-bin").replace('_', "-").into_boxed_str();
        Self {
            user: Claim::compile(&config.user),
            claims: config.inject.iter().map(|(claim, header)| (Claim::compile(claim), header.clone())).collect(),
            names: config.inject.values().map(bare).collect(),
            forward: config.forward,
        }
    }

    /// The headers' names, `-` for `_` and without `-bin`.
    pub(super) fn names(&self) -> &[Box<str>] {
        &self.names
    }
}

/// A caller who was verified. What crosses of it is written once, when its token is.
#[derive(Debug)]
pub struct Identity {
    claims: Claims,
    user: Option<Box<str>>,
    /// It holds no longer: then its token has expired, or is to be asked about again.
    until: Now,
    /// When the token itself expires, where that is known.
    expires: Option<Now>,
    leeway: Duration,
    headers: SmallVec<[(HeaderName, HeaderValue); 3]>,
    marks: SmallVec<[Box<str>; 3]>,
    /// Where among the issuers.
    pub(super) issuer: usize,
    /// Of the issuer's keys.
    pub(super) epoch: u64,
}

impl Identity {
    /// Who a verified token speaks of.
    pub(super) fn new(
        text: &str,
        token: Token<'_>,
        crossing: &Crossing,
        expires: Now,
        leeway: Duration,
    ) -> Result<Self, Refusal> {
        let marks = marks(token.message, &token.claims);
        let until = expires.saturating_add(leeway);
        let known = Self::of_claims(text, token.claims, crossing, marks)?;
        Ok(Self { until, expires: Some(expires), leeway, ..known })
    }

    /// Who a service says that a token speaks of. The answer holds until `until`, and no longer than the token.
    pub(super) fn judged(
        text: &str,
        claims: Claims,
        crossing: &Crossing,
        (expires, until): (Option<Now>, Now),
    ) -> Result<Self, Refusal> {
        let marks = marks(text, &claims);
        let known = Self::of_claims(text, claims, crossing, marks)?;
        Ok(Self { until: expires.unwrap_or(until).min(until), expires, issuer: usize::MAX, ..known })
    }

    fn of_claims(
        text: &str,
        claims: Claims,
        crossing: &Crossing,
        marks: SmallVec<[Box<str>; 3]>,
    ) -> Result<Self, Refusal> {
        let mut headers: SmallVec<[(HeaderName, HeaderValue); 3]> = SmallVec::new();
        if crossing.forward {
            let value = HeaderValue::try_from(format!("Bearer {text}"));
            headers.push((header::AUTHORIZATION, value.map_err(|_| Refusal::invalid("the token is no text"))?));
        }
        let mut total = 0;
        for (claim, header) in &crossing.claims {
            if claims.has_commas(claim) {
                let claim = claim.name();
                return Err(Refusal::forbidden(format!("an item of the claim `{claim}` has a comma, as a list has")));
            }
            let Some(value) = claims.text(claim) else { continue };
            total += value.len();
            let value = crossing_value(&value, header).filter(|_| total <= LARGEST).ok_or_else(|| {
                let (claim, header) = (claim.name(), header.as_str());
                Refusal::forbidden(format!(
                    "the claim `{claim}` is no text for `{header}`: inject it under a -bin name"
                ))
            })?;
            headers.push((header.clone(), value));
        }
        for (_, value) in &mut headers {
            // What one caller sends stays out of the table that all callers share at an upstream.
            value.set_sensitive(true);
        }
        let user = claims.text(&crossing.user).map(Into::into);
        let (until, expires, leeway) = (Duration::ZERO, None, Duration::ZERO);
        Ok(Self { claims, user, until, expires, leeway, headers, marks, issuer: 0, epoch: 0 })
    }

    /// Whose key it was verified by.
    pub(super) fn of(self, issuer: usize, epoch: u64) -> Self {
        Self { issuer, epoch, ..self }
    }

    /// Whether the token has not expired.
    pub(super) fn holds(&self, now: Now) -> bool {
        now < self.until
    }

    /// The user, where the token names one.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// What the token says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// A claim as text.
    pub fn text(&self, claim: &Claim) -> Option<Cow<'_, str>> {
        self.claims.text(claim)
    }

    /// When the token expires, in time since 1970, where that is known.
    pub fn expires(&self) -> Option<Duration> {
        self.expires
    }

    /// Puts what crosses in place of what the client sent.
    pub fn cross(&self, metadata: &mut HeaderMap) {
        metadata.remove(header::AUTHORIZATION);
        for (name, value) in &self.headers {
            metadata.insert(name, value.clone());
        }
    }

    /// What the token is known by.
    pub(super) fn marks(&self) -> &[Box<str>] {
        &self.marks
    }

    /// What is revoked when this caller logs out; for `unknown` where nobody says how long that could be good.
    pub(super) fn revocations(&self, now: Now, unknown: Duration) -> Vec<Revocation> {
        let issued = self.claims.named("iat").and_then(moment);
        let lives = issued.zip(self.expires).map(|(issued, expires)| expires.saturating_sub(issued));
        let token = self.expires.unwrap_or(now.saturating_add(unknown));
        let session = token.max(now.saturating_add(lives.unwrap_or(unknown)));
        let end = |at: Now| at.saturating_add(self.leeway).as_secs().saturating_add(1);
        let until = |mark: &str| if mark.starts_with(SESSION) { end(session) } else { end(token) };
        self.marks.iter().map(|mark| Revocation { mark: mark.clone(), until: until(mark) }).collect()
    }
}

/// What a token is known by: its id, its session, and what it says as a whole. A signature is no mark: of one message there
/// may be many.
pub(super) fn marks(message: &str, claims: &Claims) -> SmallVec<[Box<str>; 3]> {
    let issuer = claims.named("iss").and_then(Value::as_str).unwrap_or_default();
    let named = |name: &str| {
        let value = claims.named(name)?.as_str().filter(|value| !value.is_empty())?;
        Some(mark(name, issuer, value))
    };
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message.as_bytes());
    let digest = Hex(digest.as_ref()).to_string().into_boxed_str();
    [named("jti"), named(SESSION), Some(digest)].into_iter().flatten().collect()
}

/// What the tokens of an issuer's session are known by.
pub(super) fn session_mark(issuer: &str, session: &str) -> Box<str> {
    mark(SESSION, issuer, session)
}

/// The claim that names a token's session, all of whose tokens end with it. Each lives as long as the others.
const SESSION: &str = "sid";

/// An issuer's ids are its own; its length keeps the two apart.
fn mark(name: &str, issuer: &str, value: &str) -> Box<str> {
    format!("{name}:{}:{issuer}:{value}", issuer.len()).into_boxed_str()
}

/// A claim as metadata: printable ASCII without spaces around it, which no two servers read differently; under a `-bin`
/// name any text, in base64.
fn crossing_value(text: &str, name: &HeaderName) -> Option<HeaderValue> {
    use base64::Engine as _;
    if name.as_str().ends_with("-bin") {
        return HeaderValue::try_from(base64::engine::general_purpose::STANDARD_NO_PAD.encode(text)).ok();
    }
    let plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.trim_matches(' ').len() == text.len();
    HeaderValue::from_str(text).ok().filter(|_| plain)
}
