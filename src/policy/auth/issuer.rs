//! Issuer: keys, and what the tokens that they sign must say.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use serde_json::Value;

use super::Now;
use super::claims::{Claim, Claims, seconds};
use super::jwks::{KeySet, Match, Remote};
use super::key::Key;
use super::refusal::{Refusal, short};
use super::token::Token;
use crate::config::{self, Algorithm, Jwks};
use crate::fetch::Fetch;
use crate::file;

/// Bytes of a key file.
const LARGEST_FILE: u64 = 512 * 1024;
/// Bytes of a file of authorities.
const LARGEST_CA: u64 = 4 << 20;

/// One entry of `auth.jwt`.
pub(super) struct Issuer {
    names: Vec<String>,
    audience: Vec<String>,
    leeway: Duration,
    required: Vec<Claim>,
    keys: Keys,
}

enum Keys {
    Fixed(KeySet),
    Remote(Arc<Remote>),
}

/// Whether a token is an issuer's.
pub(super) enum Signed {
    /// One of its keys signed it.
    Yes {
        /// Of the keys.
        epoch: u64,
    },
    /// It is not.
    No,
    /// Its key may have been published since.
    Unknown,
}

impl Issuer {
    /// Reads its key files, whose texts go to `files`; a problem names the key. Keys that it publishes are `remote`.
    pub(super) fn compile(
        config: &config::Jwt,
        folder: &Path,
        files: &mut Vec<String>,
        remote: impl FnOnce(&Uri, Fetch) -> Arc<Remote>,
    ) -> Result<Self, (&'static str, String)> {
        let url = match &config.jwks {
            Some(Jwks::Url(url)) => Some(url),
            Some(Jwks::File(_)) | None => None,
        };
        let fetch = client(config.ca.as_deref(), url, folder, files).map_err(|why| ("ca", why))?;
        let mut read = |path: &Path| {
            let text = read(&folder.join(path)).map_err(|why| format!("{}: {why}", path.display()))?;
            files.push(text.clone());
            Ok::<_, String>(text)
        };
        let keys = match (&config.secret, &config.key, &config.jwks) {
            (Some(secret), ..) => {
                Keys::Fixed(Key::secret(secret, &config.algorithms).map(KeySet::one).unwrap_or_default())
            }
            (None, Some(key), _) => {
                let text = if config::is_pem(key) { Ok(key.to_string_lossy().into_owned()) } else { read(key) };
                let key = text.and_then(|text| Key::pem(&text, &config.algorithms));
                Keys::Fixed(KeySet::one(key.map_err(|why| ("key", why))?))
            }
            (None, None, Some(Jwks::File(path))) => {
                let set = read(path).and_then(|text| {
                    let set = KeySet::read(&text.into(), &config.algorithms, |key, why| {
                        tracing::info!(file = %path.display(), key, why, "a key is not used");
                    });
                    set.map_err(|why| format!("{}: {why}", path.display()))
                });
                Keys::Fixed(set.map_err(|why| ("jwks", why))?)
            }
            (None, None, Some(Jwks::Url(uri))) => Keys::Remote(remote(uri, fetch)),
            (None, None, None) => Keys::Fixed(KeySet::default()),
        };
        Ok(Self {
            names: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway: config.leeway,
            required: config.required_claims.iter().map(|name| Claim::compile(name)).collect(),
            keys,
        })
    }

    /// Whether the token says that it is this issuer's.
    pub(super) fn is_named(&self, token: &Token<'_>) -> bool {
        token.issuer().is_some_and(|issuer| self.names.iter().any(|name| name == issuer))
    }

    /// It says nothing of what its tokens call it.
    pub(super) fn is_nameless(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether it signed the token.
    pub(super) fn signed(&self, token: &Token<'_>) -> Signed {
        match &self.keys {
            Keys::Fixed(keys) => match keys.signed(token) {
                Match::Signed => Signed::Yes { epoch: keys.epoch },
                Match::Unsigned | Match::UnknownKey => Signed::No,
            },
            Keys::Remote(remote) => {
                let keys = remote.keys();
                match keys.signed(token) {
                    Match::Signed => Signed::Yes { epoch: keys.epoch },
                    Match::Unsigned => Signed::No,
                    Match::UnknownKey => Signed::Unknown,
                }
            }
        }
    }

    /// Whether a key is of this algorithm.
    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        match &self.keys {
            Keys::Fixed(keys) => keys.takes(algorithm),
            Keys::Remote(remote) => remote.keys().takes(algorithm),
        }
    }

    /// Which set of its keys it has now.
    pub(super) fn epoch(&self) -> u64 {
        match &self.keys {
            Keys::Fixed(keys) => keys.epoch,
            Keys::Remote(remote) => remote.keys().epoch,
        }
    }

    /// Its published keys.
    pub(super) fn remote(&self) -> Option<&Arc<Remote>> {
        match &self.keys {
            Keys::Fixed(_) => None,
            Keys::Remote(remote) => Some(remote),
        }
    }

    /// How far clocks may differ.
    pub(super) fn leeway(&self) -> Duration {
        self.leeway
    }

    /// Checks what a signed token says, and when it expires. Every token expires.
    pub(super) fn check(&self, claims: &Claims, now: Now) -> Result<Now, Refusal> {
        let time = |name: &'static str| match claims.named(name) {
            None => Ok(None),
            Some(value) => match seconds(value) {
                Some(time) => Ok(Some(time)),
                None => Err(Refusal::invalid(format!("`{name}` is no time"))),
            },
        };
        let expires = time("exp")?.ok_or_else(|| Refusal::invalid("the token has no `exp`"))?;
        if expires.saturating_add(self.leeway) <= now {
            let ago = now.saturating_sub(expires).as_secs();
            return Err(Refusal::expired(format!("the token expired {ago} s ago")));
        }
        if let Some(not_before) = time("nbf")?
            && not_before > now.saturating_add(self.leeway)
        {
            return Err(Refusal::invalid("the token is not valid yet (`nbf`)"));
        }
        audience(claims, &self.audience)?;
        match self.required.iter().find(|claim| claims.get(claim).is_none_or(Value::is_null)) {
            Some(missing) => Err(Refusal::invalid(format!("the token has no `{}`", missing.name()))),
            None => Ok(expires),
        }
    }
}

/// `aud` names one of these; where none is expected, it names nobody.
fn audience(claims: &Claims, expected: &[String]) -> Result<(), Refusal> {
    let named: Vec<&str> = match claims.named("aud") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        Some(_) => return Err(Refusal::invalid("`aud` names nobody")),
    };
    let meant = named.iter().any(|name| expected.iter().any(|expected| expected == name));
    if meant || named.is_empty() && expected.is_empty() {
        return Ok(());
    }
    Err(match named.first() {
        Some(name) if expected.is_empty() => {
            Refusal::invalid(format!("the token is for `{}`, and `auth.jwt.audience` is not set", short(name)))
        }
        Some(name) => Refusal::invalid(format!("the token is for `{}`", short(name))),
        None => Refusal::invalid("the token has no `aud`"),
    })
}

/// A client for an address, by the authorities of a file where that is written; its text goes to `files`.
pub(super) fn client(
    ca: Option<&Path>,
    uri: Option<&Uri>,
    folder: &Path,
    files: &mut Vec<String>,
) -> Result<Fetch, String> {
    let Some(ca) = ca.map(|ca| folder.join(ca)) else { return Ok(Fetch::new()) };
    if uri.and_then(Uri::scheme_str) != Some("https") {
        return Err("is of no use: nothing is fetched by https; take it off, or write an address that is".to_owned());
    }
    let fetch = Fetch::trusting(Some(&ca))?;
    // Its lines between certificates may be in any encoding.
    files.push(file::read(&ca, LARGEST_CA).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default());
    Ok(fetch)
}

/// A key file's text.
fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = file::open(path).map_err(|error| error.to_string())?;
    file.take(LARGEST_FILE).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}
