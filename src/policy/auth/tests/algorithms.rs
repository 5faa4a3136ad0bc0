//! Every algorithm, by every kind of key.

use serde_json::json;

use super::*;

#[test]
fn every_hmac_by_a_secret() {
    for (name, algorithm) in [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)] {
        let auth = auth(&format!("  jwt: {{ secret: '${{SECRET}}', algorithms: [{name}] }}"));
        let token = signed(&json!({ "alg": name }), &claims(&json!({})), &secret(), algorithm);
        assert!(admit(&auth, &token).is_ok(), "{name}");
        let other =
            if algorithm == Algorithm::HS256 { ("HS384", Algorithm::HS384) } else { ("HS256", Algorithm::HS256) };
        let token = signed(&json!({ "alg": other.0 }), &claims(&json!({})), &secret(), other.1);
        assert_eq!(refused(&auth, &token).0, INVALID, "{name}");
    }
}

#[test]
fn every_algorithm_of_rsa() {
    let all =
        [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
    for algorithm in all {
        let auth =
            auth_with(&format!("  jwt: {{ key: '${{PEM}}', algorithms: [{algorithm:?}] }}"), &[("PEM", &RSA.public)]);
        for other in all {
            let token = RSA.token_of(other, None, &claims(&json!({})));
            assert_eq!(admit(&auth, &token).is_ok(), other == algorithm, "{other:?} where {algorithm:?} is due");
        }
    }
}

#[test]
fn elliptic_keys_have_one_algorithm_each() {
    let pairs = [Pair::ec(Algorithm::ES256), Pair::ec(Algorithm::ES384), Pair::ed()];
    for pair in &pairs {
        let auth = auth_with("  jwt: { key: '${PEM}' }", &[("PEM", &pair.public)]);
        for other in &pairs {
            let passes = admit(&auth, &other.token(None, &claims(&json!({})))).is_ok();
            assert_eq!(passes, other.algorithm == pair.algorithm, "{:?} by {:?}", other.algorithm, pair.algorithm);
        }
    }
    let other = Pair::ec(Algorithm::ES256);
    let auth = auth_with("  jwt: { key: '${PEM}' }", &[("PEM", &other.public)]);
    assert_eq!(refused(&auth, &pairs[0].token(None, &claims(&json!({})))).0, INVALID);
}

#[test]
fn a_key_file_is_read_where_the_configuration_stands() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("id.pem"), &RSA.public).unwrap();
    let written = section("  jwt: { key: id.pem }", &[]);
    let auth = Auth::compile(&written, folder.path(), &Metrics::new(), None).ok().unwrap();
    assert!(admit(&auth, &RSA.token(None, &claims(&json!({})))).is_ok());

    let again = Auth::compile(&written, folder.path(), &Metrics::new(), Some(&auth)).ok().unwrap();
    assert!(Arc::ptr_eq(&auth, &again), "kept, with all that it has verified");
    std::fs::write(folder.path().join("id.pem"), &Pair::ed().public).unwrap();
    let renewed = Auth::compile(&written, folder.path(), &Metrics::new(), Some(&auth)).ok().unwrap();
    assert_eq!(refused(&renewed, &RSA.token(None, &claims(&json!({})))).0, INVALID);
}

#[test]
fn keys_that_are_none_are_told() {
    let pkcs8 = pem("PRIVATE KEY", &[0; 48]);
    let certificate = pem("CERTIFICATE", &[0; 48]);
    for (key, problem) in [
        (pkcs8.as_str(), "is a private key; the gateway needs the public one alone"),
        (certificate.as_str(), "is a certificate; write its key: `openssl x509 -in FILE -pubkey -noout`"),
        (
            "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----",
            "is no public key in PEM: RSA, P-256, P-384 or Ed25519",
        ),
    ] {
        let written = section("  jwt: { key: '${PEM}' }", &[("PEM", key)]);
        let problems = Auth::compile(&written, Path::new(""), &Metrics::new(), None).err().unwrap();
        assert_eq!(problems, [("jwt.key".to_owned(), problem.to_owned())]);
    }
    let written = section("  jwt: [{ secret: s }, { key: nowhere.pem }, { jwks: nowhere.json }]", &[]);
    let places: Vec<_> = Auth::compile(&written, Path::new(""), &Metrics::new(), None)
        .err()
        .unwrap()
        .into_iter()
        .map(|(place, _)| place)
        .collect();
    assert_eq!(places, ["jwt[1].key", "jwt[2].jwks"]);
}

#[test]
fn what_is_empty_is_no_key() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["", "\n"] {
        std::fs::write(folder.path().join("empty"), text).unwrap();
        let written = section("  jwt: [{ key: empty }, { jwks: empty }]", &[]);
        let problems = Auth::compile(&written, folder.path(), &Metrics::new(), None).err().unwrap();
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
    // A variable's default that is empty is as if nothing were written: nobody passes.
    let auth = auth_with("  jwt: { secret: '${SECRET:-}' }", &[]);
    let forged =
        signed(&json!({ "alg": "HS256" }), &claims(&json!({})), &EncodingKey::from_secret(b""), Algorithm::HS256);
    assert_eq!(refused(&auth, &forged).0, INVALID);
    assert!(super::super::key::Key::secret("", &[]).is_none());
}

#[test]
fn a_developers_token_passes() {
    let written = section(
        "  jwt: { secret: '${SECRET}', algorithms: [HS512], issuer: i, audience: [a, b] }",
        &[("SECRET", SECRET)],
    );
    let auth = Auth::compile(&written, Path::new(""), &Metrics::new(), None).ok().unwrap();
    let more = [("roles".to_owned(), json!(["admin"])), ("n".to_owned(), json!(7))];
    let token = super::super::sign(&written, "u7", &more, std::time::Duration::from_secs(60)).unwrap();
    let caller = admit(&auth, &token).unwrap();
    assert_eq!((caller.user(), caller.claims().named("n")), (Some("u7"), Some(&json!(7))));
    let public = section("  jwt: { jwks: 'https://id/keys' }", &[]);
    assert!(super::super::sign(&public, "u7", &[], std::time::Duration::from_secs(60)).is_err());
}
