//! The variables of the booking system that say how often who may come, by which secrets, and where a Redis is: each is set, and
//! what the running system does is another.

use std::time::Instant;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::client::{Call, Reply};
use crate::support::process::{Process, send};
use crate::support::redis::{Redis, redis, redis_with};

const SECRET: &str = "what access tokens are signed with";
const OTHER: &str = "what refresh tokens are signed with";

fn demo(variables: &[(&str, &str)]) -> Process {
    demo_with(&[], variables)
}

fn demo_with(arguments: &[&str], variables: &[(&str, &str)]) -> Process {
    let usual = ["demo", "--port", "0", "--admin-port", "0", "--instances", "1"];
    Process::start(&[&usual, arguments].concat(), variables)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Asks until it is as wanted.
#[expect(clippy::disallowed_methods, reason = "another process is waited for")]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// A method that everyone may call.
fn public(demo: &Process) -> Reply {
    demo.get("/api/v1/categories")
}

/// The tokens of the account that is there from the start.
fn login(demo: &Process) -> Value {
    let account = json!({ "email": "ada@example.com", "password": "opera-seat-42" });
    demo.post("/api/v1/auth/login", &account).status(200).value()
}

/// A payment that nobody made: who may ask is told so.
fn payment(demo: &Process, token: &str) -> Reply {
    let call = Call::new(demo.address, "GET", "/api/v1/payments/none");
    send(call.header("authorization", &format!("Bearer {token}")))
}

fn redis_of(demo: &Process) -> Value {
    demo.get("/health/detailed").value()["dependencies"]["redis"].clone()
}

fn keys(runtime: &tokio::runtime::Runtime, redis: &Redis) -> usize {
    match runtime.block_on(redis.ask(&["KEYS", "*"])) {
        redis::Value::Array(keys) => keys.len(),
        other => panic!("{other:?} are no keys"),
    }
}

#[test]
fn rate_limit_max_requests_is_how_often_a_client_may_come() {
    let demo = demo(&[("RATE_LIMIT_MAX_REQUESTS", "3")]);
    for _ in 0..3 {
        public(&demo).status(200).header("ratelimit-policy", "\"public\";q=3;w=60");
    }
    public(&demo).status(429).reason("RATE_LIMITED");
}

#[test]
fn rate_limit_window_ms_is_when_it_may_come_again() {
    let demo = demo(&[("RATE_LIMIT_MAX_REQUESTS", "1"), ("RATE_LIMIT_WINDOW_MS", "2000")]);
    public(&demo).status(200).header("ratelimit-policy", "\"public\";q=1;w=2");
    let refused = public(&demo);
    let seconds: u64 = refused.status(429).headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&seconds), "{seconds}");
    until("it may come again in two seconds", || public(&demo).status == 200);
}

#[test]
fn jwt_secret_is_what_access_tokens_are_signed_with() {
    let demo = demo(&[("JWT_SECRET", SECRET)]);
    let tokens = login(&demo);
    let token = tokens["accessToken"].as_str().unwrap();
    assert!(is_signed(token, SECRET) && !is_signed(token, OTHER));
    payment(&demo, token).status(404);
    // Whoever has the secret makes tokens that the gateway and the services take.
    let made = |secret: &str| {
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_transom"))
            .args(["token", "--config", "examples/booking/transom.yaml", "--sub", "u1", "--claim", "type=access"])
            .env_clear()
            .env("JWT_SECRET", secret)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output();
        String::from_utf8(command.expect("the command runs").stdout).unwrap().trim().to_owned()
    };
    let answer = payment(&demo, &made(SECRET));
    assert_ne!(answer.status, 401, "{}", answer.text());
    payment(&demo, &made(OTHER)).status(401).reason("TOKEN_INVALID");
}

#[test]
fn jwt_refresh_secret_is_what_refresh_tokens_are_signed_with() {
    let demo = demo(&[("JWT_SECRET", SECRET), ("JWT_REFRESH_SECRET", OTHER)]);
    let tokens = login(&demo);
    let refresh = tokens["refreshToken"].as_str().unwrap();
    assert!(is_signed(refresh, OTHER) && !is_signed(refresh, SECRET));
    let again = demo.post("/api/v1/auth/refresh", &json!({ "refreshToken": refresh })).status(200).value();
    assert!(is_signed(again["refreshToken"].as_str().unwrap(), OTHER));
}

fn is_signed(token: &str, secret: &str) -> bool {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_aud = false;
    decode::<Value>(token, &DecodingKey::from_secret(secret.as_bytes()), &validation).is_ok()
}

#[test]
fn secrets_may_be_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let kept = |name: &str, secret: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("{secret}\n")).unwrap();
        format!("file:{}", file.display())
    };
    let runtime = runtime();
    let redis = runtime.block_on(redis_with(&["--requirepass", "keep-it"]));
    let demo = demo(&[
        ("JWT_SECRET", &kept("access", SECRET)),
        ("JWT_REFRESH_SECRET", &kept("refresh", OTHER)),
        ("REDIS_URL", &redis.url()),
        ("REDIS_PASSWORD", &kept("redis", "keep-it")),
    ]);
    let tokens = login(&demo);
    let token = tokens["accessToken"].as_str().unwrap();
    assert!(is_signed(token, SECRET) && is_signed(tokens["refreshToken"].as_str().unwrap(), OTHER));
    payment(&demo, token).status(404);
    until("it is let in", || redis_of(&demo) == "connected");

    let gone = format!("file:{}", folder.path().join("gone").display());
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(["demo", "--port", "0", "--admin-port", "0"])
        .env_clear()
        .env("JWT_SECRET", gone)
        .output()
        .expect("the command runs");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && told.contains("JWT_SECRET: "), "{told}");
}

#[test]
fn redis_url_is_what_gateways_share() {
    let runtime = runtime();
    let redis = runtime.block_on(redis());
    let limit = ("RATE_LIMIT_MAX_REQUESTS", "4");
    let (one, other) = (demo(&[limit, ("REDIS_URL", &redis.url())]), demo_with(&["--redis", &redis.url()], &[limit]));
    for demo in [&one, &other] {
        until("it is connected", || redis_of(demo) == "connected");
    }
    for demo in [&one, &other, &one, &other] {
        public(demo).status(200);
    }
    for demo in [&one, &other] {
        public(demo).status(429).reason("RATE_LIMITED");
    }
    assert!(keys(&runtime, &redis) > 0);

    // Without one each counts for itself; what is said on the command line counts more than the variable.
    let alone = demo(&[limit]);
    assert_eq!(redis_of(&alone), Value::Null);
    public(&alone).status(200);
    let pointed = demo_with(&["--redis", &redis.url()], &[limit, ("REDIS_URL", "redis://127.0.0.1:1")]);
    until("it is connected", || redis_of(&pointed) == "connected");
    public(&pointed).status(429);
}

#[test]
fn redis_password_lets_the_gateway_in() {
    let runtime = runtime();
    let redis = runtime.block_on(redis_with(&["--requirepass", "keep-it"]));
    let url = redis.url();
    let knows = demo(&[("REDIS_URL", &url), ("REDIS_PASSWORD", "keep-it")]);
    until("it is let in", || redis_of(&knows) == "connected");
    for wrong in ["", "guessed"] {
        let guesses = demo(&[("REDIS_URL", &url), ("REDIS_PASSWORD", wrong)]);
        assert_eq!(redis_of(&guesses), "disconnected");
        // Who is not let in goes on alone.
        public(&guesses).status(200);
    }
}
