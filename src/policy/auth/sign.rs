//! Sign: tokens of the gateway's own, and those for developers.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::key::{Key, library};
use super::now;
use super::refusal::Refusal;
use super::token::Token;
use crate::config::{self, Algorithm, Secret};
use crate::hex::Hex;

/// Signs tokens, and knows its own. Who shares the secret can verify them too.
pub(super) struct Signer {
    header: Header,
    encoding: EncodingKey,
    /// What has signed its tokens: the key that does, and those that did before it.
    keys: Box<[Key]>,
    issuer: Option<String>,
    audience: Option<String>,
    /// The claim that says of which type a token is.
    kind: Box<str>,
}

impl Signer {
    /// By a secret of its own, or as the first issuer with a secret would. Tokens outlive the secret that signed them: what `auth.jwt` lists of the same
    /// issuer is read too.
    pub(super) fn compile(auth: &config::Auth, own: Option<&Secret>) -> Option<Self> {
        let shared = auth.jwt.iter().find_map(|jwt| Some((jwt, jwt.secret.as_ref()?)));
        let (jwt, secret) = match own {
            Some(own) => (None, own),
            None => shared.map(|(jwt, secret)| (Some(jwt), secret))?,
        };
        let issuer = jwt.and_then(|jwt| jwt.issuer.first().cloned());
        let same = |other: &config::Jwt| match &issuer {
            Some(name) => other.issuer.contains(name),
            None => other.issuer.is_empty(),
        };
        // The one that signs first: without it there is none.
        let mut keys = vec![Key::secret(secret, &[algorithm(jwt)])?];
        if own.is_none() {
            let others = auth.jwt.iter().filter(|other| same(other)).filter(|other| Some(*other) != jwt);
            keys.extend(others.filter_map(|other| Key::secret(other.secret.as_ref()?, &[algorithm(Some(other))])));
        }
        Some(Self {
            header: Header::new(library(algorithm(jwt))),
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            keys: keys.into(),
            issuer,
            audience: jwt.and_then(|jwt| jwt.audience.first().cloned()),
            kind: auth.token_type.claim.as_str().into(),
        })
    }

    /// A token that says this, of this type and until `expires`, in seconds since 1970.
    pub(super) fn sign(
        &self,
        mut claims: Map<String, Value>,
        kind: &str,
        (issued, expires): (u64, u64),
    ) -> Option<String> {
        claims.insert("iat".to_owned(), json!(issued));
        claims.insert("exp".to_owned(), json!(expires));
        claims.insert(self.kind.clone().into_string(), json!(kind));
        if let Some(issuer) = &self.issuer {
            claims.entry("iss").or_insert_with(|| json!(issuer));
        }
        if let Some(audience) = &self.audience {
            claims.insert("aud".to_owned(), json!(audience));
        }
        jsonwebtoken::encode(&self.header, &claims, &self.encoding).ok()
    }

    /// Takes a token apart that it has signed itself, or who shares its secret.
    pub(super) fn read<'t>(&self, text: &'t str) -> Result<Token<'t>, Refusal> {
        let token = Token::read(text)?;
        match self.keys.iter().any(|key| key.signed(&token)) {
            true => Ok(token),
            false => Err(Refusal::invalid("the signature is not the gateway's own")),
        }
    }
}

/// What an issuer with a secret signs by.
fn algorithm(jwt: Option<&config::Jwt>) -> Algorithm {
    jwt.and_then(|jwt| jwt.algorithms.first().copied()).unwrap_or(Algorithm::Hs256)
}

/// So many random bytes, in hex.
pub(super) fn random<const N: usize>() -> Option<String> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(Hex(&bytes).to_string())
}

/// A token that the configuration's first secret signs: `sub`, `iat`, `exp`, `jti`, `iss` and `aud` as it expects them, and
/// `claims`, which win.
///
/// # Errors
/// There is no secret: a public key signs nothing.
pub fn sign(auth: &config::Auth, sub: &str, claims: &[(String, Value)], ttl: Duration) -> Result<String, String> {
    let signer = Signer::compile(auth, None).ok_or("there is no `auth.jwt.secret`: only a secret can sign here")?;
    let now = now().as_secs();
    let id = random::<12>().ok_or("the system has no random numbers")?;
    let mut all = Map::new();
    all.insert("sub".to_owned(), json!(sub));
    all.insert("iat".to_owned(), json!(now));
    all.insert("exp".to_owned(), json!(now.saturating_add(ttl.as_secs())));
    all.insert("jti".to_owned(), json!(format!("dev-{id}")));
    if let Some(issuer) = &signer.issuer {
        all.insert("iss".to_owned(), json!(issuer));
    }
    if let Some(audience) = &signer.audience {
        all.insert("aud".to_owned(), json!(audience));
    }
    all.extend(claims.iter().cloned());
    jsonwebtoken::encode(&signer.header, &all, &signer.encoding).map_err(|error| error.to_string())
}
