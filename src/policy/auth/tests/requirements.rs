//! What a method asks beside a token, what crosses, and what is revoked.

use serde_json::json;

use super::*;

const AUTH: &str = "  jwt: { secret: '${SECRET}', audience: [a, b], issuer: [i, j] }
  roles: realm_access.roles
  inject: { sub: x-user-id, realm_access.roles: x-roles, name: x-name-bin, n: x-n }";

fn may(access: &str, others: &Value) -> Option<Reason> {
    let text = format!(
        "schema: {{ descriptor_sets: [a] }}\nupstreams: {{ u: {{ services: [a.B], endpoints: ['h:1'] }} }}\nauth:\n{AUTH}\nmethods: {{ a.B/C: {{ auth: {access} }} }}\n"
    );
    let config = config::parse(&text, &|_| Some(SECRET.to_owned())).unwrap_or_else(|problems| panic!("{problems}"));
    let auth = Auth::compile(config.auth.as_ref().unwrap(), Path::new(""), &Metrics::new(), None).ok().unwrap();
    let gate = Gate::compile(Some(&auth), "a.B/C", config.methods["a.B/C"].auth.as_ref().unwrap());
    let mut all = claims(&json!({ "aud": "a", "iss": "i" }));
    for (name, value) in others.as_object().unwrap() {
        all[name] = value.clone();
    }
    let admitted = || gate.admit(&head(&bearer(&hs256(&all))));
    let first = admitted().err().map(|refusal| refusal.reason);
    // The second time the token is known: what the method asks is checked all the same.
    assert_eq!(admitted().err().map(|refusal| refusal.reason), first);
    first
}

#[test]
fn a_method_may_ask_for_more_than_a_token() {
    let forbidden = Some(Reason::Forbidden);
    for (access, claims, refused) in [
        ("required", json!({}), None),
        ("{ scopes: [read] }", json!({ "scope": "write read" }), None),
        ("{ scopes: [read, write] }", json!({ "scope": ["write", "read"] }), None),
        ("{ scopes: [read, write] }", json!({ "scope": "read" }), forbidden),
        ("{ scopes: [read] }", json!({ "scope": "readonly" }), forbidden),
        ("{ scopes: [read] }", json!({}), forbidden),
        ("{ roles: [admin, owner] }", json!({ "realm_access": { "roles": ["owner"] } }), None),
        ("{ roles: [admin] }", json!({ "realm_access": { "roles": ["owner"] } }), forbidden),
        ("{ roles: [admin] }", json!({ "roles": ["admin"] }), forbidden),
        (
            "{ claims: { tenant: [t1, t2], email_verified: true } }",
            json!({ "tenant": "t2", "email_verified": true }),
            None,
        ),
        ("{ claims: { tenant: t1 } }", json!({ "tenant": "t2" }), forbidden),
        ("{ audience: b }", json!({ "aud": ["a", "b"] }), None),
        ("{ audience: b }", json!({ "aud": "a" }), Some(INVALID)),
        ("{ issuer: j }", json!({ "iss": "j" }), None),
        ("{ issuer: j }", json!({ "iss": "i" }), Some(INVALID)),
    ] {
        assert_eq!(may(access, &claims), refused, "{access} {claims}");
    }
}

#[test]
fn a_public_method_asks_nothing() {
    let gate = Gate::compile(Some(&auth(AUTH)), "a.B/C", &Access::Public);
    let admitted = gate.admit(&head(&bearer("forged")));
    assert!(matches!(admitted, Ok(Admission::Open)));
}

#[test]
fn claims_cross_as_they_were_named() {
    let auth = auth(AUTH);
    let others = json!({ "aud": "a", "iss": "i", "realm_access": { "roles": ["x", "y"] }, "name": "Zoë", "n": 5 });
    let token = hs256(&claims(&others));
    let caller = admit(&auth, &token).unwrap();
    let mut metadata = bearer("of the client");
    metadata.insert("x-roles", HeaderValue::from_static("admin"));
    caller.cross(&mut metadata);
    let value = |name: &str| metadata[name].to_str().unwrap().to_owned();
    assert_eq!(value("authorization"), format!("Bearer {token}"));
    assert_eq!((value("x-user-id"), value("x-roles"), value("x-n")), ("u1".into(), "x,y".into(), "5".into()));
    assert_eq!(value("x-name-bin"), STANDARD.encode("Zoë").trim_end_matches('='));
    assert!(metadata.values().all(HeaderValue::is_sensitive));
    assert_eq!(*auth.injected(), ["x-n", "x-name", "x-roles", "x-user-id"].map(Box::<str>::from));
}

#[test]
fn a_claim_that_is_no_header_is_not_bent_into_one() {
    let auth = auth("  jwt: { secret: '${SECRET}' }\n  inject: { sub: x-user-id }");
    for sub in ["Zoë", "a\r\nx-admin: 1", " a", "a ", "a\u{7f}", "\t"] {
        assert_eq!(refused(&auth, &hs256(&claims(&json!({ "sub": sub })))).0, Reason::Forbidden, "{sub:?}");
    }
    let long = "a".repeat(6200);
    assert!(admit(&auth, &hs256(&claims(&json!({ "sub": long })))).is_err(), "longer than a token, once it is encoded");
    // What is no text is not there.
    for sub in [json!({}), json!([[]]), json!(true)] {
        let caller = admit(&auth, &hs256(&claims(&json!({ "sub": sub })))).unwrap();
        let mut metadata = HeaderMap::new();
        caller.cross(&mut metadata);
        assert_eq!(metadata.contains_key("x-user-id"), sub == json!(true), "{sub}");
    }
}

#[test]
fn nothing_crosses_where_nothing_is_forwarded() {
    let auth = auth("  jwt: { secret: '${SECRET}' }\n  forward: false");
    let mut metadata = bearer("of the client");
    admit(&auth, &hs256(&claims(&json!({})))).unwrap().cross(&mut metadata);
    assert!(metadata.is_empty(), "{metadata:?}");
}

#[test]
fn an_issuer_ends_its_own_sessions_alone() {
    let auth = auth("  jwt: { secret: '${SECRET}' }");
    let token = |issuer: &str| hs256(&claims(&json!({ "iss": issuer, "jti": "1", "sid": "s" })));
    let caller = admit(&auth, &token("a")).unwrap();
    auth.revoke(&caller);
    assert_eq!(refused(&auth, &token("a")).0, INVALID);
    assert!(admit(&auth, &token("b")).is_ok());
}

#[test]
fn who_logs_out_is_refused_and_so_is_the_session() {
    let auth = auth("  jwt: { secret: '${SECRET}' }");
    let token = |jti: &str, sid: &str| {
        let named = |value: &str| if value.is_empty() { Value::Null } else { json!(value) };
        hs256(&claims(&json!({ "jti": named(jti), "sid": named(sid), "iat": now().as_secs() })))
    };
    let (one, sibling, other) = (token("1", "s"), token("2", "s"), token("3", "t"));
    let bare = hs256(&claims(&json!({ "n": 1 })));
    let callers = [&one, &sibling, &other, &bare].map(|token| admit(&auth, token).unwrap());

    auth.revoked.share();
    auth.revoke(&callers[0]);
    let revoked = auth.revoked.untold();
    assert_eq!(refused(&auth, &one), (INVALID, "the session has ended".to_owned()));
    assert_eq!(refused(&auth, &sibling).0, INVALID);
    assert!(admit(&auth, &other).is_ok() && admit(&auth, &bare).is_ok());
    auth.revoke(&callers[3]);
    assert_eq!(refused(&auth, &bare).0, INVALID, "known by what it says as a whole");

    // Another gateway hears of it.
    let second = self::auth("  jwt: { secret: '${SECRET}' }");
    assert!(admit(&second, &one).is_ok());
    revoked.iter().for_each(|revocation| second.revoked.add(revocation, now()));
    assert_eq!((refused(&second, &one).0, refused(&second, &sibling).0), (INVALID, INVALID));
    // One that it has never seen, too.
    assert_eq!(refused(&second, &token("4", "s")).0, INVALID);

    // Another configuration makes it good no more than the same one.
    let config = section("  jwt: { secret: '${SECRET}' }\n  user: name", &[("SECRET", SECRET)]);
    let next = Auth::compile(&config, Path::new(""), &Metrics::new(), Some(&second)).ok().unwrap();
    assert_eq!(refused(&next, &one).0, INVALID);
}
