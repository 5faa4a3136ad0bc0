//! Tokens, good and forged, at the gate of a method. Keys are made here; nothing is replayed from elsewhere.

mod algorithms;
mod asked;
mod forged;
mod published;
mod requirements;

use std::path::Path;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Method, Uri};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::{Admission, Auth, Gate, Head, Identity, Reason, Refusal, now};
use crate::config::{self, Access, Config, Requirements};
use crate::error::TokenFault;
use crate::store::Store;
use crate::telemetry::Metrics;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The `auth` section of a configuration; variables hold keys.
fn section(auth: &str, variables: &[(&str, &str)]) -> config::Auth {
    let text = format!(
        "schema: {{ descriptor_sets: [a] }}\nupstreams: {{ u: {{ services: [a.B], endpoints: ['h:1'] }} }}\nauth:\n{auth}\n"
    );
    let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let config: Config = config::parse(&text, &lookup).unwrap_or_else(|problems| panic!("{problems} in\n{text}"));
    config.auth.unwrap()
}

fn auth_with(auth: &str, variables: &[(&str, &str)]) -> Arc<Auth> {
    let auth = Auth::compile(&section(auth, variables), Path::new(""), &Metrics::new(), None);
    auth.unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn auth(auth: &str) -> Arc<Auth> {
    auth_with(auth, &[("SECRET", SECRET)])
}

/// What there is without a Redis.
fn alone() -> Arc<Store> {
    let none = config::Redis { url: None, password: None, cluster: false };
    Arc::new(Store::compile(&none))
}

fn required() -> Access {
    Access::Required(Requirements::default())
}

fn head(headers: &HeaderMap) -> Head<'_> {
    static URI: LazyLock<Uri> = LazyLock::new(|| Uri::from_static("/"));
    Head { headers, uri: &URI, method: &Method::POST, websocket: false, cors: None }
}

fn bearer(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap())])
}

/// What the gate says at once.
fn at_once(auth: &Arc<Auth>, token: &str) -> Result<Option<Arc<Identity>>, Refusal> {
    match Gate::compile(Some(auth), "a.B/C", &required()).admit(&head(&bearer(token)))? {
        Admission::Caller(caller) => Ok(Some(caller)),
        Admission::Later(_) => Ok(None),
        Admission::Lapsed(refusal) => Err(refusal),
        Admission::Open | Admission::Once(_) => panic!("another gate"),
    }
}

fn admit(auth: &Arc<Auth>, token: &str) -> Result<Arc<Identity>, Refusal> {
    at_once(auth, token).map(|caller| caller.expect("no waiting"))
}

/// The reason and the cause for which a token is refused.
#[track_caller]
fn refused(auth: &Arc<Auth>, token: &str) -> (Reason, String) {
    let refusal = admit(auth, token).expect_err("a refusal");
    assert!(token.len() < 8 || !refusal.cause.contains(token), "the cause holds the token");
    (refusal.reason, refusal.cause.into_owned())
}

const INVALID: Reason = Reason::Token(TokenFault::Invalid);
const EXPIRED: Reason = Reason::Token(TokenFault::Expired);

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// Signs whatever is given as a header and a payload.
fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// A token by the shared secret.
fn hs256(claims: &Value) -> String {
    signed(&json!({ "alg": "HS256", "typ": "JWT" }), claims, &secret(), Algorithm::HS256)
}

fn secret() -> EncodingKey {
    EncodingKey::from_secret(SECRET.as_bytes())
}

/// Good claims, changed by others; null takes one away.
fn claims(others: &Value) -> Value {
    let mut claims = json!({ "sub": "u1", "exp": now().as_secs() + 600 });
    for (name, value) in others.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

/// A key pair of an algorithm.
struct Pair {
    algorithm: Algorithm,
    private: EncodingKey,
    /// The public key in PEM.
    public: String,
}

impl Pair {
    fn rsa() -> Self {
        let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let private = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", der.as_ref()).as_bytes()).unwrap();
        let public = pair.public_key().as_der().unwrap();
        Self { algorithm: Algorithm::RS256, private, public: pem("PUBLIC KEY", public.as_ref()) }
    }

    fn ec(algorithm: Algorithm) -> Self {
        let of = match algorithm {
            Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
        };
        let document = EcdsaKeyPair::generate_pkcs8(of, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(of, document.as_ref()).unwrap();
        let public = pair.public_key().as_der().unwrap();
        let private = EncodingKey::from_ec_der(document.as_ref());
        Self { algorithm, private, public: pem("PUBLIC KEY", public.as_ref()) }
    }

    fn ed() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let public = pair.public_key().as_der().unwrap();
        let private = EncodingKey::from_ed_der(document.as_ref());
        Self { algorithm: Algorithm::EdDSA, private, public: pem("PUBLIC KEY", public.as_ref()) }
    }

    /// A token of this pair.
    fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        self.token_of(self.algorithm, kid, claims)
    }

    fn token_of(&self, algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
        let mut header = json!({ "alg": format!("{algorithm:?}"), "typ": "JWT" });
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        signed(&header, claims, &self.private, algorithm)
    }

    /// As its issuer publishes it.
    fn jwk(&self, kid: &str, more: &Value) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.private, self.algorithm).unwrap()).unwrap();
        jwk["kid"] = json!(kid);
        for (name, value) in more.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        jwk
    }
}

/// One RSA pair for all tests: making one takes a while.
static RSA: LazyLock<Pair> = LazyLock::new(Pair::rsa);

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
