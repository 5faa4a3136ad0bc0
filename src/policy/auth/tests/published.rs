//! Published keys: a real HTTP server that rotates them, and that is gone for a while.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// An issuer's server.
struct Issuer {
    address: SocketAddr,
    /// The set; none is an error.
    set: Arc<Mutex<Option<Value>>>,
    fetches: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(set: Option<Value>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let issuer =
            Self { address: listener.local_addr().unwrap(), set: Arc::new(Mutex::new(set)), fetches: Arc::default() };
        let (set, fetches) = (issuer.set.clone(), issuer.fetches.clone());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                fetches.fetch_add(1, Ordering::Relaxed);
                let _ = socket.read(&mut [0; 4096]).await;
                let answer = match &*set.lock() {
                    Some(set) => format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{set}"),
                    None => "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned(),
                };
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        issuer
    }

    fn publish(&self, keys: &[Value]) {
        *self.set.lock() = Some(json!({ "keys": keys }));
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    /// A gate that trusts it.
    fn auth(&self, more: &str) -> Arc<Auth> {
        let auth = auth(&format!("  jwt: {{ jwks: 'http://{}/keys'{more} }}", self.address));
        auth.keep_fresh(&alone());
        auth
    }
}

/// What the gate says, after waiting where that helps.
async fn judged(auth: &Arc<Auth>, token: &str) -> Result<Arc<Identity>, Refusal> {
    match at_once(auth, token)? {
        Some(caller) => Ok(caller),
        None => {
            let gate = Gate::compile(Some(auth), "a.B/C", &required());
            gate.judge(token, None).await.map(|caller| caller.expect("a closed gate"))
        }
    }
}

#[tokio::test]
async fn a_rotated_key_is_fetched_when_it_is_first_named() {
    let (first, second) = (Pair::ec(Algorithm::ES256), Pair::ed());
    let issuer = Issuer::start(Some(json!({ "keys": [first.jwk("1", &json!({}))] }))).await;
    let auth = issuer.auth(", jwks_cooldown: 100ms");
    let old = first.token(Some("1"), &claims(&json!({})));
    assert!(judged(&auth, &old).await.is_ok());

    issuer.publish(&[first.jwk("1", &json!({})), second.jwk("2", &json!({}))]);
    let new = second.token(Some("2"), &claims(&json!({})));
    tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    assert_eq!(judged(&auth, &new).await.unwrap().user(), Some("u1"));
    assert!(at_once(&auth, &old).unwrap().is_some(), "the old key still serves");

    // Withdrawn, a key verifies nothing, though its token was known.
    issuer.publish(&[second.jwk("2", &json!({}))]);
    tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    let unknown = Pair::ed().token(Some("3"), &claims(&json!({})));
    assert_eq!(judged(&auth, &unknown).await.unwrap_err().reason, INVALID);
    assert_eq!(judged(&auth, &old).await.unwrap_err().reason, INVALID);
    assert!(judged(&auth, &new).await.is_ok());
}

#[tokio::test]
async fn keys_without_names_are_rotated_too() {
    let nameless = |pair: &Pair| pair.jwk("", &json!({ "kid": null }));
    let pairs: Vec<_> = (0..10).map(|_| Pair::ed()).collect();
    let issuer = Issuer::start(Some(json!({ "keys": [nameless(&pairs[0])] }))).await;
    let auth = issuer.auth(", jwks_cooldown: 100ms");
    let token = |pair: &Pair, kid: Option<&str>| pair.token(kid, &claims(&json!({})));
    assert!(judged(&auth, &token(&pairs[0], None)).await.is_ok());
    // However many they are by now; and for tokens that name what no key is called.
    for (last, kid) in [(8, None), (9, Some("new"))] {
        // What was asked for before is fetched before there is something new.
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        issuer.publish(&pairs[1..=last].iter().map(nameless).collect::<Vec<_>>());
        let new = token(&pairs[last], kid);
        let fetched = async {
            while judged(&auth, &new).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), fetched).await.expect("the new keys");
    }
    assert!(issuer.fetches() >= 2);
    // A secret is never among them: such a token is refused at once.
    assert_eq!(at_once(&auth, &hs256(&claims(&json!({})))).unwrap_err().reason, INVALID);
}

#[tokio::test]
async fn unknown_keys_make_one_fetch_in_a_cooldown() {
    let pair = Pair::ed();
    let issuer = Issuer::start(Some(json!({ "keys": [pair.jwk("1", &json!({}))] }))).await;
    let auth = issuer.auth(", jwks_cooldown: 1h");
    let good = pair.token(Some("1"), &claims(&json!({})));
    // Before the first fetch everyone waits for that one.
    let all = (0..50).map(|_| judged(&auth, &good));
    let waited = futures(all).await;
    assert!(waited.iter().all(Result::is_ok));
    assert_eq!(issuer.fetches(), 1);

    let strange = |kid: usize| pair.token(Some(&format!("x{kid}")), &claims(&json!({})));
    for kid in 0..50 {
        assert_eq!(judged(&auth, &strange(kid)).await.unwrap_err().reason, INVALID);
        let nameless = Pair::ed().token(None, &claims(&json!({ "n": kid })));
        assert_eq!(judged(&auth, &nameless).await.unwrap_err().reason, INVALID);
    }
    assert_eq!(issuer.fetches(), 1);
}

/// All of them at once.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in all.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(output) = future.as_mut().poll(cx) {
                *done = Some(output);
            }
        }
        if all.iter().all(|(_, done)| done.is_some()) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    all.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test]
async fn the_keys_serve_on_while_the_issuer_is_gone() {
    let pair = Pair::ec(Algorithm::ES384);
    let issuer = Issuer::start(Some(json!({ "keys": [pair.jwk("1", &json!({}))] }))).await;
    let auth = issuer.auth(", jwks_cooldown: 100ms");
    assert!(judged(&auth, &pair.token(Some("1"), &claims(&json!({})))).await.is_ok());
    *issuer.set.lock() = None;
    tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    let unknown = pair.token(Some("2"), &claims(&json!({})));
    assert_eq!(judged(&auth, &unknown).await.unwrap_err().reason, INVALID);
    assert!(issuer.fetches() >= 2, "it was asked");
    assert!(judged(&auth, &pair.token(Some("1"), &claims(&json!({ "n": 1 })))).await.is_ok());
}

#[tokio::test]
async fn the_keys_live_on_over_reloads() {
    let pair = Pair::ec(Algorithm::ES256);
    let issuer = Issuer::start(Some(json!({ "keys": [pair.jwk("1", &json!({}))] }))).await;
    let auth = issuer.auth(", jwks_cooldown: 100ms");
    let token = pair.token(Some("1"), &claims(&json!({})));
    assert!(judged(&auth, &token).await.is_ok());
    *issuer.set.lock() = None;
    let reload = |jwt: &str, more: &str| {
        let written = section(&format!("  jwt: {{ jwks: 'http://{}/{jwt} }}{more}", issuer.address), &[]);
        let next = Auth::compile(&written, Path::new(""), &Metrics::new(), Some(&auth)).ok().unwrap();
        next.keep_fresh(&alone());
        next
    };
    for (jwt, more) in [
        ("keys'", "\n  inject: { sub: x-user-id }"),
        ("keys', jwks_refresh: 1h, leeway: 1s", ""),
        ("keys', issuer: me", "\n  forward: false"),
    ] {
        let next = reload(jwt, more);
        assert!(!Arc::ptr_eq(&next, &auth));
        // Nobody waits for an issuer that is not there.
        let named = pair.token(Some("1"), &claims(&json!({ "iss": "me" })));
        assert!(at_once(&next, &named).unwrap().is_some(), "{jwt}");
    }
    // Keys of another place, or of other algorithms, are not these.
    for jwt in ["others'", "keys', algorithms: [ES384]"] {
        assert!(at_once(&reload(jwt, ""), &token).unwrap().is_none(), "{jwt}");
    }
    // And they are fetched on.
    let next = reload("keys', jwks_cooldown: 100ms", "\n  inject: { sub: x-user-id }");
    let other = Pair::ed();
    issuer.publish(&[other.jwk("2", &json!({}))]);
    let token = other.token(Some("2"), &claims(&json!({})));
    let fetched = async {
        while judged(&next, &token).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), fetched).await.expect("the new keys");
}

#[tokio::test]
async fn before_the_first_keys_nobody_can_say() {
    let issuer = Issuer::start(None).await;
    let auth = issuer.auth(", jwks_cooldown: 100ms");
    let pair = Pair::ed();
    let token = pair.token(Some("1"), &claims(&json!({})));
    assert_eq!(judged(&auth, &token).await.unwrap_err().reason, Reason::Unavailable);
    issuer.publish(&[pair.jwk("1", &json!({}))]);
    tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    assert!(judged(&auth, &token).await.is_ok(), "recovery needs nobody");
}

#[tokio::test]
async fn keys_that_are_not_for_this_are_not_used() {
    let pair = Pair::ed();
    let token = |kid: &str| pair.token(Some(kid), &claims(&json!({})));
    let secret = URL_SAFE_NO_PAD.encode(SECRET);
    let issuer = Issuer::start(Some(json!({ "keys": [
        pair.jwk("good", &json!({ "use": "sig", "key_ops": ["verify"] })),
        pair.jwk("no alg", &json!({ "alg": null })),
        pair.jwk("encrypts", &json!({ "use": "enc" })),
        pair.jwk("signs", &json!({ "key_ops": ["sign"] })),
        pair.jwk("other alg", &json!({ "alg": "ES256" })),
        pair.jwk("strange alg", &json!({ "alg": "EdDSA2" })),
        { "kty": "oct", "kid": "secret", "k": secret, "alg": "HS256" },
        { "kty": "EC", "crv": "P-521", "kid": "curve", "x": "AA", "y": "AA" },
        { "kty": "odd", "kid": "odd" },
        "no key", 7, null,
    ] })))
    .await;
    let auth = issuer.auth(", jwks_cooldown: 1h");
    for kid in ["good", "no alg"] {
        assert!(judged(&auth, &token(kid)).await.is_ok(), "{kid}");
    }
    for kid in ["encrypts", "signs", "other alg", "strange alg", "curve", "odd"] {
        assert_eq!(judged(&auth, &token(kid)).await.unwrap_err().reason, INVALID, "{kid}");
    }
    let hmac =
        signed(&json!({ "alg": "HS256", "kid": "secret" }), &claims(&json!({})), &super::secret(), Algorithm::HS256);
    assert_eq!(judged(&auth, &hmac).await.unwrap_err().reason, INVALID);
}

#[tokio::test]
async fn an_issuers_key_signs_for_that_issuer_alone() {
    let (ours, theirs) = (Pair::ed(), Pair::ed());
    let first = Issuer::start(Some(json!({ "keys": [ours.jwk("k", &json!({}))] }))).await;
    let second = Issuer::start(Some(json!({ "keys": [theirs.jwk("k", &json!({}))] }))).await;
    let auth = auth(&format!(
        "  jwt:
    - {{ jwks: 'http://{}/a', issuer: one, jwks_cooldown: 1h }}
    - {{ jwks: 'http://{}/b', issuer: two, jwks_cooldown: 1h }}
    - {{ secret: '${{SECRET}}', issuer: three }}",
        first.address, second.address
    ));
    auth.keep_fresh(&alone());
    let of = |pair: &Pair, issuer: &str| pair.token(Some("k"), &claims(&json!({ "iss": issuer })));
    assert!(judged(&auth, &of(&ours, "one")).await.is_ok());
    assert!(judged(&auth, &of(&theirs, "two")).await.is_ok());
    assert!(judged(&auth, &hs256(&claims(&json!({ "iss": "three" })))).await.is_ok());
    for (token, name) in [
        (of(&ours, "two"), "the first issuer's key in the second's name"),
        (of(&theirs, "one"), "the second issuer's key in the first's name"),
        (of(&ours, "three"), "a public key in the name of who has a secret"),
        (hs256(&claims(&json!({ "iss": "one" }))), "a secret in the name of who has a public key"),
        (hs256(&claims(&json!({ "iss": "four" }))), "nobody's name"),
        (hs256(&claims(&json!({}))), "no name"),
    ] {
        assert_eq!(judged(&auth, &token).await.unwrap_err().reason, INVALID, "{name}");
    }
}
