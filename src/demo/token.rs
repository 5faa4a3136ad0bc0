//! The tokens of the booking system: JWTs (RFC 7519) signed by HMAC-SHA-256, and who a call says it is from.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::clock::Clock;
use super::refusal::Refusal;
use crate::hex::Hex;
use crate::secrets;

/// `iss` of every token that is issued here.
const ISSUER: &str = "booking-demo";

/// What a person's access token allows.
const SCOPES: &str = "profile tickets booking payment";

/// How long a service's token for one call to another service lives.
const SERVICE_TTL: Duration = Duration::from_secs(60);

/// Longer than any token that is issued here.
const MAX_LENGTH: usize = 4096;

/// The keys that all services of one system share.
#[derive(Clone)]
pub struct Secrets {
    access: String,
    refresh: String,
}

impl Secrets {
    /// The given keys: of access tokens, and of refresh tokens.
    pub fn new(access: impl Into<String>, refresh: impl Into<String>) -> Self {
        Self { access: access.into(), refresh: refresh.into() }
    }

    /// `JWT_SECRET` and `JWT_REFRESH_SECRET`, or what the file holds that one names (`file:PATH`); one that is unset or empty
    /// is made up.
    ///
    /// # Errors
    /// A file cannot be read or is empty, or the machine has no random numbers.
    pub fn from_env() -> Result<Self, String> {
        let key = |name| {
            let value = std::env::var(name).unwrap_or_default();
            match value.strip_prefix("file:") {
                Some(path) => secrets::needed(path.as_ref()).map_err(|why| format!("{name}: {why}")),
                None if value.is_empty() => {
                    let bytes = random::<32>().map_err(|error| format!("no random numbers: {error}"))?;
                    Ok(Hex(&bytes).to_string())
                }
                None => Ok(value),
            }
        };
        Ok(Self { access: key("JWT_SECRET")?, refresh: key("JWT_REFRESH_SECRET")? })
    }

    /// The key of access tokens, which the gateway verifies too.
    pub fn access(&self) -> &str {
        &self.access
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    pub(super) exp: u64,
    #[serde(default)]
    iat: u64,
    #[serde(default)]
    iss: String,
    #[serde(default)]
    pub(super) jti: String,
    /// A token that does not say is an access token: tools for developers issue such.
    #[serde(default, rename = "type")]
    kind: Kind,
    /// The session; access tokens that no login here issued have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sid: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) scope: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Access,
    Refresh,
    Service,
    /// Of a gateway's making: it has opened one WebSocket.
    #[serde(rename = "ws-connect")]
    Connect,
}

/// Issues and judges tokens.
pub(super) struct Tokens {
    clock: Clock,
    access: (EncodingKey, DecodingKey),
    refresh: (EncodingKey, DecodingKey),
    validation: Validation,
    access_ttl: Duration,
    refresh_ttl: Duration,
}

/// Who calls, proven by the token in `authorization`.
pub(super) struct Caller {
    pub(super) user_id: String,
    pub(super) session: Option<String>,
    /// The token as it came, to call other services with.
    pub(super) bearer: String,
}

impl Tokens {
    pub(super) fn new(secrets: &Secrets, clock: Clock, access_ttl: Duration, refresh_ttl: Duration) -> Self {
        let pair = |secret: &[u8]| (EncodingKey::from_secret(secret), DecodingKey::from_secret(secret));
        let mut validation = Validation::new(Algorithm::HS256);
        // Expiry is judged by our clock, and to the second: no leeway between machines that share one clock.
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self {
            clock,
            access: pair(secrets.access.as_bytes()),
            refresh: pair(secrets.refresh.as_bytes()),
            validation,
            access_ttl,
            refresh_ttl,
        }
    }

    /// How long an access token lives.
    pub(super) fn access_ttl(&self) -> Duration {
        self.access_ttl
    }

    /// How long a session lives after its last refresh.
    pub(super) fn refresh_ttl(&self) -> Duration {
        self.refresh_ttl
    }

    /// An access token of a session.
    pub(super) fn access(&self, user_id: &str, session: &str) -> Result<String, Status> {
        self.issue(Kind::Access, user_id, Some(session), id("tok")?, self.access_ttl)
    }

    /// The session's refresh token with the id `jti`.
    pub(super) fn refresh(&self, user_id: &str, session: &str, jti: &str) -> Result<String, Status> {
        self.issue(Kind::Refresh, user_id, Some(session), jti.to_owned(), self.refresh_ttl)
    }

    /// A token by which a service proves to another that it is part of the system.
    pub(super) fn service(&self, name: &str) -> Result<String, Status> {
        self.issue(Kind::Service, name, None, id("tok")?, SERVICE_TTL)
    }

    /// Judges an access token.
    pub(super) fn judge_access(&self, token: &str) -> Result<Claims, Refusal> {
        self.judge(Kind::Access, token)
    }

    /// Judges a refresh token.
    pub(super) fn judge_refresh(&self, token: &str) -> Result<Claims, Refusal> {
        self.judge(Kind::Refresh, token)
    }

    /// The person who calls.
    ///
    /// `x-user-id` is believed only beside a token, and only if it names the token's subject: then it says nothing new.
    pub(super) fn caller(&self, metadata: &MetadataMap) -> Result<Caller, Refusal> {
        self.caller_by(&[Kind::Access], metadata)
    }

    /// The person who watches, who may have come by a WebSocket.
    pub(super) fn watcher(&self, metadata: &MetadataMap) -> Result<Caller, Refusal> {
        self.caller_by(&[Kind::Access, Kind::Connect], metadata)
    }

    fn caller_by(&self, kinds: &[Kind], metadata: &MetadataMap) -> Result<Caller, Refusal> {
        let bearer = bearer(metadata)?;
        let claims = self.judge_any(kinds, &self.access.1, bearer)?;
        if metadata.get_all("x-user-id").iter().any(|id| id.as_bytes() != claims.sub.as_bytes()) {
            return Err(Refusal::new(
                Code::PermissionDenied,
                "USER_MISMATCH",
                "x-user-id names another user than the token",
            ));
        }
        Ok(Caller { user_id: claims.sub, session: claims.sid, bearer: bearer.to_owned() })
    }

    /// Lets only services of the system pass.
    pub(super) fn service_caller(&self, metadata: &MetadataMap) -> Result<(), Refusal> {
        self.judge(Kind::Service, bearer(metadata)?).map(|_| ())
    }

    fn issue(
        &self,
        kind: Kind,
        subject: &str,
        session: Option<&str>,
        jti: String,
        ttl: Duration,
    ) -> Result<String, Status> {
        let now = unix(self.clock.now());
        let claims = Claims {
            sub: subject.to_owned(),
            exp: now + ttl.as_secs(),
            iat: now,
            iss: ISSUER.to_owned(),
            jti,
            kind,
            sid: session.map(str::to_owned),
            scope: if kind == Kind::Access { SCOPES.to_owned() } else { String::new() },
        };
        let key = if kind == Kind::Refresh { &self.refresh.0 } else { &self.access.0 };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, key)
            .map_err(|_| Status::internal("a token could not be signed"))
    }

    fn judge(&self, kind: Kind, token: &str) -> Result<Claims, Refusal> {
        let key = if kind == Kind::Refresh { &self.refresh.1 } else { &self.access.1 };
        self.judge_any(&[kind], key, token)
    }

    fn judge_any(&self, kinds: &[Kind], key: &DecodingKey, token: &str) -> Result<Claims, Refusal> {
        let mut claims = (token.len() <= MAX_LENGTH)
            .then(|| jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok())
            .flatten()
            .map(|token| token.claims)
            .filter(|claims| kinds.contains(&claims.kind) && !claims.sub.is_empty())
            .ok_or_else(|| Refusal::new(Code::Unauthenticated, "TOKEN_INVALID", "the token is not valid"))?;
        if unix(self.clock.now()) >= claims.exp {
            return Err(Refusal::new(Code::Unauthenticated, "TOKEN_EXPIRED", "the token has expired"));
        }
        // Another issuer of the system ends its sessions itself.
        claims.sid = claims.sid.filter(|_| claims.iss == ISSUER);
        Ok(claims)
    }
}

/// The one bearer token of a call (RFC 6750).
fn bearer(metadata: &MetadataMap) -> Result<&str, Refusal> {
    let mut values = metadata.get_all("authorization").iter();
    let invalid = || Refusal::new(Code::Unauthenticated, "TOKEN_INVALID", "authorization must be one Bearer token");
    let Some(value) = values.next() else {
        return Err(Refusal::new(
            Code::Unauthenticated,
            "TOKEN_MISSING",
            "log in, and send the access token as `authorization: Bearer …`",
        ));
    };
    if values.next().is_some() {
        return Err(invalid());
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(invalid)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(invalid()) }
}

/// A new id that nobody guesses: a prefix that says what it is of, and 96 random bits.
pub(super) fn id(prefix: &str) -> Result<String, Status> {
    let bytes = random::<12>().map_err(|_| Status::internal("no random numbers"))?;
    Ok(format!("{prefix}-{}", Hex(&bytes)))
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Whole seconds since 1970.
pub(super) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
