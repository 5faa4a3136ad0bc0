//! The table of forged tokens, after RFC 8725 (JWT best current practices) and RFC 7515 to 7519.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use jsonwebtoken::Algorithm;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// What the gate of the table expects.
const ISSUERS: &str =
    "  jwt: { secret: '${SECRET}', issuer: https://id, audience: [api, web], leeway: 5s, required_claims: [sub] }
  sources: [bearer, { cookie: at }]";

fn good() -> Value {
    claims(&json!({ "iss": "https://id", "aud": "api" }))
}

/// The good claims with one changed.
fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn header(header: &Value) -> String {
    signed(header, &good(), &secret(), Algorithm::HS256)
}

/// Each row: its name, the token, and what the client gets to know.
fn table() -> Vec<(&'static str, String, Reason)> {
    let soon = now().as_secs();
    let valid = hs256(&good());
    let (message, signature) = valid.rsplit_once('.').unwrap();
    let (head, payload) = message.split_once('.').unwrap();
    let none = part(&json!({ "alg": "none" }));
    let raw = |claims: &str| {
        let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret(), Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    };
    vec![
        // RFC 8725 §2.1, §3.1: the algorithm.
        ("alg none, no signature", format!("{none}.{payload}."), INVALID),
        ("alg none, the signature of another", format!("{none}.{payload}.{signature}"), INVALID),
        ("alg NONE", format!("{}.{payload}.", part(&json!({ "alg": "NONE" }))), INVALID),
        ("alg empty", header(&json!({ "alg": "" })), INVALID),
        ("alg missing", header(&json!({ "typ": "JWT" })), INVALID),
        ("alg in lower case", header(&json!({ "alg": "hs256" })), INVALID),
        ("alg that is a list", header(&json!({ "alg": ["HS256"] })), INVALID),
        (
            "alg twice",
            {
                let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","alg":"none"}"#);
                let signature =
                    jsonwebtoken::crypto::sign(format!("{head}.{payload}").as_bytes(), &secret(), Algorithm::HS256);
                format!("{head}.{payload}.{}", signature.unwrap())
            },
            INVALID,
        ),
        (
            "another HMAC than the key's",
            signed(&json!({ "alg": "HS512" }), &good(), &secret(), Algorithm::HS512),
            INVALID,
        ),
        ("an algorithm of public keys", header(&json!({ "alg": "RS256" })), INVALID),
        // §2.2, §3.2: the signature is checked, and checked whole.
        ("no signature", format!("{message}."), INVALID),
        ("no signature, no dot", message.to_owned(), INVALID),
        (
            "the signature of other claims",
            {
                let other = hs256(&with("sub", json!("admin")));
                format!("{}.{signature}", other.rsplit_once('.').unwrap().0)
            },
            INVALID,
        ),
        ("the signature cut", format!("{message}.{}", &signature[..signature.len() - 2]), INVALID),
        ("the signature longer", format!("{valid}AA"), INVALID),
        ("the signature padded", format!("{valid}="), INVALID),
        (
            "another secret",
            {
                let key = EncodingKey::from_secret(b"another secret, just as long as it");
                signed(&json!({ "alg": "HS256" }), &good(), &key, Algorithm::HS256)
            },
            INVALID,
        ),
        (
            "the empty secret",
            { signed(&json!({ "alg": "HS256" }), &good(), &EncodingKey::from_secret(b""), Algorithm::HS256) },
            INVALID,
        ),
        // §2.4, RFC 7515 §4.1: what would bring a key along is not listened to, and what must be understood is refused.
        ("crit", header(&json!({ "alg": "HS256", "crit": ["exp"] })), INVALID),
        ("crit that is empty", header(&json!({ "alg": "HS256", "crit": [] })), INVALID),
        ("b64 that is false", header(&json!({ "alg": "HS256", "b64": false, "crit": ["b64"] })), INVALID),
        (
            "signed by the key of its own jwk",
            {
                let key = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode("mine") });
                let own = EncodingKey::from_secret(b"mine");
                signed(
                    &json!({ "alg": "HS256", "jwk": key, "jku": "http://127.0.0.1:1/" }),
                    &good(),
                    &own,
                    Algorithm::HS256,
                )
            },
            INVALID,
        ),
        (
            "kid that is a path",
            {
                let head = json!({ "alg": "HS256", "kid": "../../../../dev/null" });
                signed(&head, &good(), &EncodingKey::from_secret(b""), Algorithm::HS256)
            },
            INVALID,
        ),
        // §3.8, §3.9: who issued it and whom it is for.
        ("no issuer", hs256(&with("iss", Value::Null)), INVALID),
        ("another issuer", hs256(&with("iss", json!("https://evil"))), INVALID),
        ("an issuer that begins like ours", hs256(&with("iss", json!("https://id.evil"))), INVALID),
        ("a list of issuers", hs256(&with("iss", json!(["https://id"]))), INVALID),
        ("no audience", hs256(&with("aud", Value::Null)), INVALID),
        ("another audience", hs256(&with("aud", json!("other"))), INVALID),
        ("other audiences", hs256(&with("aud", json!(["other", "apis"]))), INVALID),
        ("an audience of another type", hs256(&with("aud", json!({ "api": true }))), INVALID),
        // §3.11, §3.12: each kind of token in its own place.
        ("typ of a logout token", header(&json!({ "alg": "HS256", "typ": "logout+jwt" })), INVALID),
        ("typ of a proof of possession", header(&json!({ "alg": "HS256", "typ": "dpop+jwt" })), INVALID),
        ("a refresh token", hs256(&with("type", json!("refresh"))), INVALID),
        ("a token that opens a WebSocket", hs256(&with("type", json!("ws-connect"))), INVALID),
        // RFC 7519 §4.1: times.
        ("no exp", hs256(&with("exp", Value::Null)), INVALID),
        ("exp that is a text", hs256(&with("exp", json!(format!("{}", soon + 60)))), INVALID),
        ("exp below zero", hs256(&with("exp", json!(-1))), INVALID),
        ("exp long ago", hs256(&with("exp", json!(1))), EXPIRED),
        ("exp beyond the leeway", hs256(&with("exp", json!(soon - 6))), EXPIRED),
        ("exp with a fraction, long ago", hs256(&with("exp", json!(1.5))), EXPIRED),
        ("nbf in the future", hs256(&with("nbf", json!(soon + 60))), INVALID),
        ("nbf that is a text", hs256(&with("nbf", json!("0"))), INVALID),
        ("a claim that is required is missing", hs256(&with("sub", Value::Null)), INVALID),
        // RFC 7519 §4, §7.2: what is no JWT.
        (
            "a claim twice",
            raw(&format!(r#"{{"sub":"a","sub":"b","iss":"https://id","aud":"api","exp":{}}}"#, soon + 60)),
            INVALID,
        ),
        ("claims that are a list", raw("[1]"), INVALID),
        ("claims that are no JSON", raw("{"), INVALID),
        ("claims nested without end", raw(&"[".repeat(4000)), INVALID),
        (
            "claims that are no UTF-8",
            {
                let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode([b'{', 0xff, b'}']));
                let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret(), Algorithm::HS256).unwrap();
                format!("{message}.{signature}")
            },
            INVALID,
        ),
        ("a header that is no JSON", format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode("{")), INVALID),
        ("base64 with + and /", valid.replace(['-', '_'], "+"), INVALID),
        ("five parts, as of a JWE", format!("{valid}.x.y"), INVALID),
        ("one part", "opaque".to_owned(), INVALID),
        ("dots alone", "..".to_owned(), INVALID),
        ("longer than any token", format!("{message}.{}", "A".repeat(8 * 1024)), INVALID),
    ]
}

#[test]
fn forged_tokens_are_refused() {
    let auth = auth(ISSUERS);
    assert_eq!(admit(&auth, &hs256(&good())).unwrap().user(), Some("u1"));
    for (name, token, reason) in table() {
        // A base64 text without - and _ is as good as before.
        if token == hs256(&good()) {
            continue;
        }
        let (found, cause) = refused(&auth, &token);
        assert_eq!(found, reason, "{name}: {cause}");
        // The log says why in one line, without the token.
        assert!(!cause.is_empty() && cause.len() < 200 && !cause.contains('\n'), "{name}: {cause}");
        let mut parts = token.split('.').filter(|part| part.len() >= 12);
        assert!(!parts.any(|part| cause.contains(part)), "{name}: {cause}");
        // Twice: nothing that was refused is remembered as good.
        assert_eq!(refused(&auth, &token).0, reason, "{name}");
    }
}

#[test]
fn good_tokens_pass() {
    let auth = auth(ISSUERS);
    let soon = now().as_secs();
    for (name, token) in [
        ("the audience among others", hs256(&with("aud", json!(["other", "web"])))),
        ("exp within the leeway", hs256(&with("exp", json!(soon - 2)))),
        ("exp with a fraction", hs256(&with("exp", json!(soon as f64 + 60.5)))),
        ("exp beyond all calendars", hs256(&with("exp", json!(1e300)))),
        ("nbf within the leeway", hs256(&with("nbf", json!(soon + 2)))),
        ("no typ", header(&json!({ "alg": "HS256" }))),
        ("typ of RFC 9068", header(&json!({ "alg": "HS256", "typ": "application/at+jwt" }))),
        ("a kid that a secret has not", header(&json!({ "alg": "HS256", "kid": "1" }))),
        ("type access", hs256(&with("type", json!("access")))),
    ] {
        assert!(admit(&auth, &token).is_ok(), "{name}: {:?}", admit(&auth, &token));
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let rsa = &*RSA;
    // The attack that gave RFC 8725 its §2.1: the public key, which everyone has, as the secret of an HMAC.
    let auth = auth_with("  jwt: { key: '${PEM}' }", &[("PEM", &rsa.public)]);
    assert!(admit(&auth, &rsa.token(None, &claims(&json!({})))).is_ok());
    for text in [rsa.public.as_str(), rsa.public.trim_end()] {
        let key = EncodingKey::from_secret(text.as_bytes());
        let forged = signed(&json!({ "alg": "HS256" }), &claims(&json!({})), &key, Algorithm::HS256);
        assert_eq!(refused(&auth, &forged).0, INVALID);
    }
}

#[test]
fn who_has_no_name_speaks_for_nobody_who_has_one() {
    let partner = &*RSA;
    for both in [
        "{ secret: '${SECRET}', issuer: a }, { key: '${PEM}' }",
        "{ key: '${PEM}' }, { secret: '${SECRET}', issuer: a }",
    ] {
        let auth = auth_with(&format!("  jwt: [{both}]"), &[("SECRET", SECRET), ("PEM", &partner.public)]);
        let of = |issuer: Value| claims(&json!({ "iss": issuer, "sid": "s" }));
        assert!(admit(&auth, &hs256(&of(json!("a")))).is_ok());
        for own in [json!("b"), Value::Null, json!(["a"])] {
            assert!(admit(&auth, &partner.token(None, &of(own.clone()))).is_ok(), "{own}");
        }
        let (reason, cause) = refused(&auth, &partner.token(None, &of(json!("a"))));
        assert_eq!((reason, cause.as_str()), (INVALID, "Rs256 is not the algorithm of the issuer's keys"));
        assert_eq!(refused(&auth, &hs256(&of(json!("b")))).0, INVALID);
    }
}

#[test]
fn an_item_with_a_comma_is_not_two_items() {
    let auth = auth("  jwt: { secret: '${SECRET}' }\n  inject: { roles: x-roles }");
    let roles = |roles: Value| hs256(&claims(&json!({ "roles": roles })));
    assert!(admit(&auth, &roles(json!(["user", "admin"]))).is_ok());
    let (reason, cause) = refused(&auth, &roles(json!(["user,admin"])));
    assert_eq!(
        (reason, cause.as_str()),
        (Reason::Forbidden, "an item of the claim `roles` has a comma, as a list has")
    );
}

#[test]
fn without_an_audience_no_audience_is_ours() {
    let auth = auth("  jwt: { secret: '${SECRET}' }");
    assert!(admit(&auth, &hs256(&claims(&json!({})))).is_ok());
    let (reason, cause) = refused(&auth, &hs256(&claims(&json!({ "aud": "someone" }))));
    assert_eq!((reason, cause.as_str()), (INVALID, "the token is for `someone`, and `auth.jwt.audience` is not set"));
}

#[test]
fn kinds_of_tokens_are_the_configurations() {
    let strict = auth("  jwt: { secret: '${SECRET}' }\n  token_type: { claim: token_use, accepted: [access] }");
    for (kind, passes) in [(json!("access"), true), (json!("id"), false), (json!(7), false), (Value::Null, true)] {
        let token = hs256(&claims(&json!({ "token_use": kind })));
        assert_eq!(admit(&strict, &token).is_ok(), passes, "{kind}");
    }
    // The claim of others says nothing then.
    assert!(admit(&strict, &hs256(&claims(&json!({ "type": "refresh" })))).is_ok());
}

#[test]
fn expiry_counts_at_every_use() {
    let auth = auth("  jwt: { secret: '${SECRET}', leeway: 0s }");
    let token = hs256(&claims(&json!({ "exp": now().as_secs() + 600 })));
    let caller = admit(&auth, &token).unwrap();
    assert!(Arc::ptr_eq(&caller, &admit(&auth, &token).unwrap()), "remembered");
    assert!(caller.holds(caller.expires().unwrap() - std::time::Duration::from_millis(1)));
    assert!(!caller.holds(caller.expires().unwrap()));
    let later = caller.expires().unwrap() + std::time::Duration::from_secs(1);
    assert_eq!(auth.identify(&token, later).unwrap_err().reason, EXPIRED);
}

/// Random headers and cookies at a gate whose secret nobody knows.
#[test]
fn ten_thousand_random_requests_get_nobody_in() {
    let gate = Gate::compile(Some(&auth(ISSUERS)), "a.B/C", &required());
    let valid = hs256(&good());
    let (message, signature) = valid.rsplit_once('.').unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(10_000));
    let bytes =
        prop::collection::vec(prop_oneof![b'!'..=b'~', Just(b' '), Just(b';'), Just(b'='), 0x80_u8..=0xff], 0..80);
    let original = valid.clone();
    let near = (0..valid.len(), any::<u8>()).prop_map(move |(at, byte)| {
        let mut forged = original.clone().into_bytes();
        forged[at] = byte;
        forged
    });
    let value = prop_oneof![bytes.clone(), near];
    let strategy = (value, prop_oneof![Just("Bearer "), Just("bearer"), Just("Basic "), Just("")], any::<bool>());
    let passes = runner.run(&strategy, |(value, scheme, cookie)| {
        let text = [if cookie { "at=" } else { scheme }.as_bytes(), &value].concat();
        let Ok(header) = HeaderValue::from_bytes(&text) else { return Ok(()) };
        let name = if cookie { http::header::COOKIE } else { http::header::AUTHORIZATION };
        let admitted = gate.admit(&head(&HeaderMap::from_iter([(name, header)])));
        match admitted {
            Err(refusal) | Ok(Admission::Lapsed(refusal)) => {
                prop_assert!(!refusal.cause.contains(message) && !refusal.cause.contains(signature));
            }
            // One byte of a good token changed to itself.
            Ok(_) => prop_assert!(String::from_utf8_lossy(&text).contains(signature)),
        }
        Ok(())
    });
    passes.unwrap();
}
