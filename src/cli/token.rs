//! `transom token`: a token for developers, signed by the configuration's own secret.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::policy::auth::sign;

use super::{Refusal, load, output};

/// Prints a token of `sub`; each of `claims` is `NAME=VALUE`.
pub(super) fn token(file: &Path, sub: &str, claims: &[(String, Value)], ttl: Duration) -> Result<(), Refusal> {
    let config = load::snapshot(file)?.config;
    let refused = |why: String| Refusal::new(format!("{}: {why}", file.display()));
    let auth = config.auth.as_ref().ok_or_else(|| refused("has no `auth` section".to_owned()))?;
    let token = sign(auth, sub, claims, ttl).map_err(refused)?;
    output::print(&format!("{token}\n"))
}

/// `NAME=VALUE`; a value that is JSON is that, any other is text.
pub(super) fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("write NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}
