//! Keys that an issuer publishes: who starts without them is not ready, a reload to an issuer that gives none is refused, and how
//! it stands with them can be seen.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use transom::reload::Refused;

use crate::support::gateway::{Builder, Running, gateway};
use crate::support::reply::ok;
use crate::support::tls::{Authority, Shield, server};
use crate::support::tokens::bearer;
use crate::support::until;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

/// Who signs tokens, and publishes with what.
struct Issuer {
    url: String,
    address: SocketAddr,
    key: KeyPair,
    /// It answers.
    open: Arc<Mutex<bool>>,
}

impl Issuer {
    async fn start(open: bool) -> Self {
        let (key, open) = (KeyPair::generate().unwrap(), Arc::new(Mutex::new(open)));
        let point = key.der_bytes();
        let at = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let set = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "1", "x": at(1..33), "y": at(33..65) }] });
        let opened = open.clone();
        let answer = move || {
            let text = if *opened.lock() { Ok(set.to_string()) } else { Err(StatusCode::BAD_GATEWAY) };
            async move { text }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}/keys");
        let router = axum::Router::new().route("/keys", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, address, key, open }
    }

    fn token(&self) -> String {
        let key = EncodingKey::from_ec_der(&self.key.serialize_der());
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("1".to_owned());
        let claims = json!({ "sub": "u1", "iss": "me", "exp": 4_000_000_000_u64 });
        bearer(&jsonwebtoken::encode(&header, &claims, &key).unwrap())
    }
}

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library").unary("GetBook", |asked| ok(json!({ "name": asked["name"] }))).start().await
}

fn front(library: &Upstream, auth: &str) -> Builder {
    gateway().descriptors("library").upstream("library", library).config(&format!("auth: {auth}"))
}

fn keys(issuer: &Issuer, more: &str) -> String {
    format!("{{ jwt: {{ jwks: '{}', issuer: me{more} }} }}", issuer.url)
}

async fn opens(gateway: &Running, issuer: &Issuer) -> u16 {
    gateway.get(BOOK).header("authorization", &issuer.token()).await.status.as_u16()
}

async fn known(gateway: &Running) -> Value {
    gateway.admin("/health/detailed").await.value()["dependencies"]["issuers"].clone()
}

fn told(refused: &Refused) -> Vec<String> {
    assert!(refused.passes, "it is tried again");
    refused.problems.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn who_starts_is_ready_once_it_has_the_keys() {
    let (library, issuer) = (library().await, Issuer::start(false).await);
    let gateway = front(&library, &keys(&issuer, "")).start().await;
    let failed = "transom_jwks_fetches_total{issuer=\"me\",outcome=\"failed\"}";
    until("it was asked", async || gateway.metric(failed) > 0.0).await;
    let unready = json!({ "status": "not ready", "reason": "keys of me are waited for" });
    gateway.admin("/readyz").await.status(503).json(&unready);
    gateway.get("/readyz").await.status(503).json(&unready);
    assert_eq!(known(&gateway).await, json!({ "me": "missing" }));
    assert_eq!(gateway.metric("transom_jwks_keys{issuer=\"me\"}"), 0.0);
    assert_eq!(gateway.metric("transom_jwks_fetched_timestamp_seconds{issuer=\"me\"}"), 0.0);

    *issuer.open.lock() = true;
    until("it is ready", async || gateway.admin("/readyz").await.status == 200).await;
    assert_eq!(opens(&gateway, &issuer).await, 200);
    assert_eq!(known(&gateway).await, json!({ "me": "fetched" }));
    assert_eq!(gateway.metric("transom_jwks_keys{issuer=\"me\"}"), 1.0);
    assert_eq!(gateway.metric("transom_jwks_fetches_total{issuer=\"me\",outcome=\"ok\"}"), 1.0);
    assert!(gateway.metric("transom_jwks_fetched_timestamp_seconds{issuer=\"me\"}") > 1.7e9);
}

#[tokio::test]
async fn keys_that_are_old_keep_nobody_from_being_ready() {
    let (library, issuer) = (library().await, Issuer::start(true).await);
    let gateway = front(&library, &keys(&issuer, ", jwks_refresh: 1s")).start().await;
    until("it is ready", async || gateway.admin("/readyz").await.status == 200).await;
    *issuer.open.lock() = false;
    until("it was asked", async || known(&gateway).await == json!({ "me": "stale" })).await;
    gateway.admin("/readyz").await.status(200);
    assert_eq!(opens(&gateway, &issuer).await, 200);
    assert_eq!(gateway.metric("transom_jwks_keys{issuer=\"me\"}"), 1.0);
}

#[tokio::test]
async fn a_reload_to_an_issuer_without_keys_leaves_those_that_are_good() {
    let (library, issuer, next) = (library().await, Issuer::start(true).await, Issuer::start(false).await);
    let gateway = front(&library, &keys(&issuer, "")).start().await;
    until("the keys", async || opens(&gateway, &issuer).await == 200).await;

    let wrong = format!("{{ jwt: {{ jwks: '{}s', issuer: me }} }}", issuer.url);
    let problems = told(&gateway.reload(&front(&library, &wrong)).await.unwrap_err());
    assert!(
        problems.len() == 1 && problems[0].contains("auth.jwt.jwks: gives no keys: HTTP status 404"),
        "{problems:?}"
    );
    let both =
        format!("{{ jwt: [{{ jwks: '{}', issuer: me }}, {{ jwks: '{}', issuer: you }}] }}", issuer.url, next.url);
    let problems = told(&gateway.reload(&front(&library, &both)).await.unwrap_err());
    assert!(problems.len() == 1 && problems[0].contains("auth.jwt[1].jwks: gives no keys: HTTP"), "{problems:?}");
    assert_eq!(opens(&gateway, &issuer).await, 200);

    // What is known goes on without being asked, and another place that gives keys has given them by then.
    *issuer.open.lock() = false;
    gateway.reload(&front(&library, &keys(&issuer, ", leeway: 1s"))).await.unwrap();
    assert_eq!(opens(&gateway, &issuer).await, 200);
    *next.open.lock() = true;
    gateway.reload(&front(&library, &keys(&next, ""))).await.unwrap();
    assert_eq!(known(&gateway).await, json!({ "me": "fetched" }));
    assert_eq!((opens(&gateway, &next).await, opens(&gateway, &issuer).await), (200, 401));
}

#[tokio::test]
async fn who_never_had_keys_reloads_all_the_same() {
    let (library, issuer) = (library().await, Issuer::start(false).await);
    let gateway = front(&library, &keys(&issuer, "")).start().await;
    gateway.reload(&front(&library, &keys(&issuer, ", leeway: 1s"))).await.unwrap();
    assert_eq!(known(&gateway).await, json!({ "me": "missing" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_notes_an_issuer_that_gives_no_keys() {
    let issuer = Issuer::start(false).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("library.binpb"), crate::support::protos::descriptors("library")).unwrap();
    let file = folder.path().join("transom.yaml");
    let text = format!(
        "schema: {{ descriptor_sets: [library.binpb] }}\nauth: {}\n\
         upstreams: {{ library: {{ services: [library.v1.Library], endpoints: ['127.0.0.1:1'] }} }}\n",
        keys(&issuer, "")
    );
    fs::write(&file, text).unwrap();
    let check = || {
        let output = Command::new(env!("CARGO_BIN_EXE_transom")).arg("check").arg("--config").arg(&file).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let note =
        "note: auth.jwt.jwks gives no keys: HTTP status 502; until it does, calls that need them are refused (503)\n";
    assert!(check().contains(note), "{}", check());
    *issuer.open.lock() = true;
    assert!(!check().contains("gives no keys"), "{}", check());
}

#[tokio::test]
async fn an_issuer_or_a_judge_may_be_of_an_authority_of_ones_own() {
    let (library, mut issuer) = (library().await, Issuer::start(true).await);
    // Both have one name, and different keys.
    let (authority, stranger) = (Authority::new(), Authority::new());
    let shield = Shield::before(issuer.address, server(&authority.issue(&["127.0.0.1"]), None)).await;
    let plain = std::mem::replace(&mut issuer.url, format!("https://{}/keys", shield.address));
    let of = |authority: &Authority| format!(", ca: '{}'", authority.file().display());
    let gateway = front(&library, &keys(&issuer, &of(&authority))).start().await;
    until("it is ready", async || gateway.admin("/readyz").await.status == 200).await;
    assert_eq!(opens(&gateway, &issuer).await, 200);

    let untrusted =
        "its certificate is signed by no authority that is trusted here: `ca` names the file of another one";
    for (url, more, why) in [
        (format!("{}?", issuer.url), String::new(), format!("jwks: gives no keys: {untrusted}")),
        (format!("{}?", issuer.url), of(&stranger), format!("jwks: gives no keys: {untrusted}")),
        (issuer.url.clone(), ", ca: /nowhere/ca.crt".to_owned(), "ca: /nowhere/ca.crt cannot be read".to_owned()),
        (plain, of(&authority), "ca: is of no use".to_owned()),
    ] {
        let next = format!("{{ jwt: {{ jwks: '{url}', issuer: me{more} }} }}");
        let refused = gateway.reload(&front(&library, &next)).await.unwrap_err();
        let told = refused.problems[0].to_string();
        assert!(refused.problems.len() == 1 && told.contains(&format!("auth.jwt.{why}")), "{next}: {told}");
    }

    let judged = |more: &str| format!("{{ verify: {{ url: '{}', by_status: true{more} }} }}", issuer.url);
    gateway.reload(&front(&library, &judged(&of(&stranger)))).await.unwrap();
    assert_eq!(opens(&gateway, &issuer).await, 503);
    gateway.reload(&front(&library, &judged(&of(&authority)))).await.unwrap();
    assert_eq!(opens(&gateway, &issuer).await, 200);
}

#[tokio::test]
async fn authorities_are_read_again() {
    let (library, mut issuer) = (library().await, Issuer::start(true).await);
    let (authority, next) = (Authority::new(), Authority::new());
    let shield = Shield::before(issuer.address, server(&next.issue(&["127.0.0.1"]), None)).await;
    issuer.url = format!("https://{}/keys", shield.address);
    let behind = || front(&library, &keys(&issuer, &format!(", ca: '{}'", authority.file().display())));
    let gateway = behind().start().await;
    let failed = "transom_jwks_fetches_total{issuer=\"me\",outcome=\"failed\"}";
    until("it was asked", async || gateway.metric(failed) > 0.0).await;
    fs::copy(next.file(), authority.file()).unwrap();
    gateway.reload(&behind()).await.unwrap();
    until("the keys", async || known(&gateway).await == json!({ "me": "fetched" })).await;
    assert_eq!(opens(&gateway, &issuer).await, 200);
}
