//! Key: one key of an issuer and the algorithms that are its own. The key decides, never the token (RFC 8725 §3.1).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{AlgorithmFamily, DecodingKey};
use serde_json::Value;
use smallvec::{SmallVec, smallvec};

use super::token::{Token, algorithm};
use crate::config::Algorithm;

/// One key.
pub(super) struct Key {
    /// Its `kid`.
    pub(super) id: Option<Box<str>>,
    algorithms: SmallVec<[Algorithm; 1]>,
    decoding: DecodingKey,
}

impl Key {
    /// A shared secret. None is no key, whatever HMAC makes of it: anyone could sign with that.
    pub(super) fn secret(secret: &str, algorithms: &[Algorithm]) -> Option<Self> {
        let algorithms = if algorithms.is_empty() { smallvec![Algorithm::Hs256] } else { algorithms.into() };
        let decoding = DecodingKey::from_secret(secret.as_bytes());
        (!secret.is_empty()).then_some(Self { id: None, algorithms, decoding })
    }

    /// A public key in PEM.
    pub(super) fn pem(text: &str, algorithms: &[Algorithm]) -> Result<Self, String> {
        if text.contains("PRIVATE KEY-----") {
            return Err("is a private key; the gateway needs the public one alone".to_owned());
        }
        if text.contains("BEGIN CERTIFICATE-----") {
            return Err("is a certificate; write its key: `openssl x509 -in FILE -pubkey -noout`".to_owned());
        }
        let bytes = text.as_bytes();
        let decoding = DecodingKey::from_rsa_pem(bytes)
            .or_else(|_| DecodingKey::from_ec_pem(bytes))
            .or_else(|_| DecodingKey::from_ed_pem(bytes))
            .map_err(|_| "is no public key in PEM: RSA, P-256, P-384 or Ed25519".to_owned())?;
        Self::of(None, decoding, algorithms)
    }

    /// A key as its issuer publishes it (RFC 7517).
    pub(super) fn jwk(value: &Value, algorithms: &[Algorithm]) -> Result<Self, String> {
        let jwk: Jwk = serde_json::from_value(value.clone()).map_err(|_| "is no JWK".to_owned())?;
        if matches!(&jwk.common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature) {
            return Err("is not for signatures".to_owned());
        }
        if matches!(&jwk.common.key_operations, Some(all) if !all.contains(&KeyOperations::Verify)) {
            return Err("is not for verifying".to_owned());
        }
        match &jwk.algorithm {
            // What is published is no secret.
            AlgorithmParameters::OctetKey(_) => return Err("is a secret, which does not belong there".to_owned()),
            AlgorithmParameters::EllipticCurve(key)
                if !matches!(key.curve, EllipticCurve::P256 | EllipticCurve::P384) =>
            {
                return Err("is of a curve that is not supported".to_owned());
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve != EllipticCurve::Ed25519 => {
                return Err("is of a curve that is not supported".to_owned());
            }
            _ => {}
        }
        let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| "is of a type that is not supported".to_owned())?;
        let own = match value.get("alg").and_then(Value::as_str) {
            None => algorithms.to_vec(),
            Some(name) => {
                let own = algorithm(name).ok_or_else(|| "is of an algorithm that is not supported".to_owned())?;
                if !algorithms.is_empty() && !algorithms.contains(&own) {
                    return Err("is of an algorithm that `algorithms` does not list".to_owned());
                }
                vec![own]
            }
        };
        Self::of(jwk.common.key_id.map(String::into_boxed_str), decoding, &own)
    }

    /// Of the algorithms that are wished for, those that the key can have; without a wish the usual one of its type.
    fn of(id: Option<Box<str>>, decoding: DecodingKey, wished: &[Algorithm]) -> Result<Self, String> {
        use Algorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let possible: &[Algorithm] = match decoding.family() {
            AlgorithmFamily::Rsa => &[Rs256, Rs384, Rs512, Ps256, Ps384, Ps512],
            // An uncompressed point: two coordinates and a byte.
            AlgorithmFamily::Ec => match decoding.try_get_as_bytes().map_or(0, <[u8]>::len) {
                65 => &[Es256],
                97 => &[Es384],
                _ => return Err("is of a curve that is not supported".to_owned()),
            },
            AlgorithmFamily::Ed => &[EdDsa],
            AlgorithmFamily::Hmac => return Err("is a secret, which does not belong there".to_owned()),
        };
        let algorithms: SmallVec<[Algorithm; 1]> = match wished {
            [] => smallvec![possible[0]],
            wished => wished.iter().copied().filter(|wish| possible.contains(wish)).collect(),
        };
        if algorithms.is_empty() {
            return Err("is of none of the algorithms that are listed".to_owned());
        }
        Ok(Self { id, algorithms, decoding })
    }

    /// Whether tokens of this algorithm may be its own.
    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whether it signed this token.
    pub(super) fn signed(&self, token: &Token<'_>) -> bool {
        let message = token.message.as_bytes();
        self.takes(token.algorithm)
            && jsonwebtoken::crypto::verify(token.signature, message, &self.decoding, library(token.algorithm))
                .unwrap_or(false)
    }
}

/// The algorithm as the library names it.
pub(super) fn library(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Library;
    match algorithm {
        Algorithm::Hs256 => Library::HS256,
        Algorithm::Hs384 => Library::HS384,
        Algorithm::Hs512 => Library::HS512,
        Algorithm::Rs256 => Library::RS256,
        Algorithm::Rs384 => Library::RS384,
        Algorithm::Rs512 => Library::RS512,
        Algorithm::Ps256 => Library::PS256,
        Algorithm::Ps384 => Library::PS384,
        Algorithm::Ps512 => Library::PS512,
        Algorithm::Es256 => Library::ES256,
        Algorithm::Es384 => Library::ES384,
        Algorithm::EdDsa => Library::EdDSA,
    }
}
