//! Token: a JWT (RFC 7519, compact JWS of RFC 7515) taken apart. Nothing of it is believed yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::claims::Claims;
use super::refusal::{Refusal, short};
use crate::config::Algorithm;

/// A JWT as its sender wrote it.
pub(super) struct Token<'t> {
    /// `header.payload`, which is signed.
    pub(super) message: &'t str,
    /// The signature, in base64url.
    pub(super) signature: &'t str,
    /// What it says to be signed with. The key decides what that may be.
    pub(super) algorithm: Algorithm,
    /// Which key it says to be signed with.
    pub(super) key: Option<Box<str>>,
    /// What it says.
    pub(super) claims: Claims,
}

/// The header, as far as it matters. What would bring a key along (`jwk`, `jku`, `x5c`, `x5u`) is never read.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

impl<'t> Token<'t> {
    /// Takes a token apart.
    pub(super) fn read(text: &'t str) -> Result<Self, Refusal> {
        let malformed = || Refusal::invalid("the token is no JWT");
        let (message, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = message.split_once('.').ok_or_else(malformed)?;
        if payload.contains('.') {
            return Err(malformed());
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed())?;
        // Extensions that must be understood: none is (RFC 7515 §4.1.11).
        if header.crit.is_some() {
            return Err(Refusal::invalid("the token's header has `crit`"));
        }
        let algorithm = algorithm(&header.alg)
            .ok_or_else(|| Refusal::invalid(format!("`{}` is not an algorithm here", short(&header.alg))))?;
        if let Some(typ) = &header.typ
            && !is_access(typ)
        {
            return Err(Refusal::invalid(format!("a token of `typ` `{}` is no access token", short(typ))));
        }
        let claims = Claims::parse(&decode(payload)?).ok_or_else(malformed)?;
        Ok(Self { message, signature, algorithm, key: header.kid.map(String::into_boxed_str), claims })
    }

    /// `iss`
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.named("iss")?.as_str()
    }
}

/// `JWT`, and access tokens of RFC 9068; other types have places of their own (RFC 8725 §3.11).
fn is_access(typ: &str) -> bool {
    let short = match typ.get(.."application/".len()) {
        Some(prefix) if prefix.eq_ignore_ascii_case("application/") => &typ[prefix.len()..],
        _ => typ,
    };
    ["JWT", "at+jwt"].iter().any(|known| known.eq_ignore_ascii_case(short))
}

/// An algorithm by its name, which is case-sensitive. `none` is no algorithm.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "HS256" => Algorithm::Hs256,
        "HS384" => Algorithm::Hs384,
        "HS512" => Algorithm::Hs512,
        "RS256" => Algorithm::Rs256,
        "RS384" => Algorithm::Rs384,
        "RS512" => Algorithm::Rs512,
        "PS256" => Algorithm::Ps256,
        "PS384" => Algorithm::Ps384,
        "PS512" => Algorithm::Ps512,
        "ES256" => Algorithm::Es256,
        "ES384" => Algorithm::Es384,
        "EdDSA" => Algorithm::EdDsa,
        _ => return None,
    })
}
