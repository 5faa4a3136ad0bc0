//! Sign: tokens for developers, by the configuration's own secret.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::key::library;
use super::now;
use crate::config::{self, Algorithm};

/// A token that the configuration's first secret signs: `sub`, `iat`, `exp`, `jti`, `iss` and `aud` as it expects them, and
/// `claims`, which win.
///
/// # Errors
/// There is no secret: a public key signs nothing.
pub fn sign(auth: &config::Auth, sub: &str, claims: &[(String, Value)], ttl: Duration) -> Result<String, String> {
    let with_secret = auth.jwt.iter().find_map(|jwt| Some((jwt, jwt.secret.as_ref()?)));
    let (jwt, secret) = with_secret.ok_or("there is no `auth.jwt.secret`: only a secret can sign here")?;
    let now = now().as_secs();
    let mut all = Map::new();
    let mut id = [0; 12];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| "the system has no random numbers")?;
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    all.insert("sub".to_owned(), json!(sub));
    all.insert("iat".to_owned(), json!(now));
    all.insert("exp".to_owned(), json!(now.saturating_add(ttl.as_secs())));
    all.insert("jti".to_owned(), json!(format!("dev-{id}")));
    if let Some(issuer) = jwt.issuer.first() {
        all.insert("iss".to_owned(), json!(issuer));
    }
    if let Some(audience) = jwt.audience.first() {
        all.insert("aud".to_owned(), json!(audience));
    }
    all.extend(claims.iter().cloned());
    let algorithm = jwt.algorithms.first().copied().unwrap_or(Algorithm::Hs256);
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(library(algorithm)), &all, &key).map_err(|error| error.to_string())
}
