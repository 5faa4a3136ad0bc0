//! Connect tokens: handed out to who has an access token, good for one WebSocket, once, at whichever gateway.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use transom_transcode::status::Code;

use crate::support::client::{Call, Reply};
use crate::support::gateway::{Builder, Running, gateway};
use crate::support::redis::redis;
use crate::support::reply::{ok, stream};
use crate::support::socket::Socket;
use crate::support::tokens::{SECRET, bearer, claims, token};
use crate::support::until;
use crate::support::upstream::{self, Upstream};

/// `Chat` is opened by connect tokens, `Watch` by an access token in the query; `Thing` logs out.
const METHODS: &str = "methods:
  rules.v1.Rules/Chat: { auth: { connect_token: ws-connect }, bind: { text: sub } }";

async fn rules() -> Upstream {
    upstream::grpc("rules.v1.Rules")
        .bidi("Chat", |message| vec![message.clone()])
        .server_stream("Watch", |asked| stream([asked.clone()]))
        .unary("Thing", |asked| ok(asked.clone()))
        .start()
        .await
}

fn front(rules: &Upstream, connect: &str, more: &str) -> Builder {
    gateway().descriptors("rules").upstream("rules", rules).config(&format!(
        "auth:
  jwt: {{ secret: {SECRET}, issuer: me, audience: us }}
  sources: [bearer, {{ cookie: at }}, {{ query: token }}]
  logout: rules.v1.Rules/Thing
  connect_tokens: {{ ws-connect: {connect} }}
{METHODS}
{more}"
    ))
}

fn access(more: &Value) -> String {
    let mut all = json!({ "iss": "me", "aud": "us", "login": "ada", "sid": "s1" });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    token(&all)
}

/// A connect token by the gateway's own answer.
async fn connect_token(gateway: &Running, path: &str, access: &str) -> String {
    let answer = gateway.get(path).header("authorization", &bearer(access)).await;
    answer.status(200).value()["token"].as_str().expect("a token").to_owned()
}

async fn open(gateway: &Running, token: &str) -> Result<Socket, u16> {
    let path = format!("/rules.v1.Rules/Chat?token={token}");
    Socket::try_open(gateway.address(), &path, &[]).await.map_err(|status| status.as_u16())
}

/// A handshake whose refusal can be read.
fn shake(gateway: &Running, path: &str) -> Call {
    let upgrade = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")];
    let call = gateway.get(path).header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    upgrade.into_iter().fold(call, |call, (name, value)| call.header(name, value))
}

async fn refused(gateway: &Running, query: &str) -> Reply {
    shake(gateway, &format!("/rules.v1.Rules/Chat{query}")).await
}

const PATH: &str = "/api/auth/ws-token";

#[tokio::test]
async fn a_connect_token_opens_one_socket() {
    let rules = rules().await;
    let gateway = front(&rules, &format!("{{ path: {PATH} }}"), "").start().await;
    gateway.get(PATH).await.status(401).reason("TOKEN_MISSING");
    gateway.request("DELETE", PATH).await.status(405);
    let answer = gateway.post(PATH, &json!({})).header("cookie", &format!("at={}", access(&json!({})))).await;
    assert_eq!(answer.header("cache-control", "no-store").value()["success"], true);
    // Nobody else's page gets one by a cookie.
    let evil = gateway.post(PATH, &json!({})).header("cookie", &format!("at={}", access(&json!({}))));
    evil.header("origin", "https://evil.example").await.status(403).reason("CROSS_ORIGIN");

    let token = connect_token(&gateway, PATH, &access(&json!({}))).await;
    let said = claims(&token);
    let (issued, expires) = (said["iat"].as_u64().unwrap(), said["exp"].as_u64().unwrap());
    assert_eq!((expires - issued, &said["type"], &said["aud"]), (10, &json!("ws-connect"), &json!("us")));
    assert_eq!((&said["user_id"], &said["login"], &said["sid"]), (&json!("u1"), &json!("ada"), &json!("s1")));

    let mut socket = open(&gateway, &token).await.unwrap();
    socket.json(&json!({ "id": "7" })).await;
    assert_eq!(
        socket.value().await,
        json!({ "id": "7", "text": "u1" }),
        "the token's user, and no token in the message"
    );
    rules.saw("Chat").header("authorization", &bearer(&token));
    refused(&gateway, &format!("?token={token}")).await.status(401).reason("TOKEN_INVALID");

    drop(socket);
    let lines = gateway.logged(7).await;
    let causes: Vec<_> = lines.iter().filter_map(|line| line["cause"].as_str()).collect();
    assert!(causes.contains(&"the connect token was used before"), "{causes:?}");
    assert!(!format!("{lines:?}").contains(&token) && lines.iter().any(|line| line["path"] == PATH), "{lines:?}");
}

#[tokio::test]
async fn a_full_gateway_hands_out_no_tokens() {
    let rules = rules().await;
    let gateway = front(&rules, &format!("{{ path: {PATH} }}"), "overload: { in_flight: 1 }").start().await;
    let token = connect_token(&gateway, PATH, &access(&json!({}))).await;
    let ask = || gateway.get(PATH).header("authorization", &bearer(&access(&json!({}))));
    until("its place is free", async || ask().await.status == 200).await;
    let mut socket = open(&gateway, &token).await.unwrap();
    socket.json(&json!({ "id": "7" })).await;
    socket.value().await;
    ask().await.status(503).reason("OVERLOADED").header("retry-after", "1");
    drop(socket);
    until("there is a place again", async || ask().await.status == 200).await;
}

#[tokio::test]
async fn claims_cross_to_connect_tokens_as_they_are() {
    let rules = rules().await;
    let auth = format!(
        "auth:
  jwt: {{ secret: {SECRET} }}
  user: user_id
  connect_tokens: {{ ws-connect: {{ path: {PATH}, claims: {{ roles: roles, level: level }} }} }}
{METHODS}"
    );
    let gateway = gateway().descriptors("rules").upstream("rules", &rules).config(&auth).start().await;
    let said = json!({ "user_id": 7, "roles": ["a", "b"], "level": { "of": 2.5 } });
    let connect = connect_token(&gateway, PATH, &token(&said)).await;
    let crossed = claims(&connect);
    for (claim, value) in said.as_object().unwrap() {
        assert_eq!(&crossed[claim], value, "{claim}");
    }
    let by_number = connect_token(&gateway, PATH, &token(&json!({ "user_id": 7, "sub": 7 }))).await;
    assert_eq!((&claims(&by_number)["sub"], &claims(&by_number)["user_id"]), (&json!("7"), &json!(7)));
    let mut socket = open(&gateway, &by_number).await.unwrap();
    socket.json(&json!({ "id": "1" })).await;
    assert_eq!(socket.value().await, json!({ "id": "1", "text": "7" }));
}

#[tokio::test]
async fn each_kind_of_token_has_its_own_place() {
    let rules = rules().await;
    let gateway = front(&rules, &format!("{{ path: {PATH} }}"), "").start().await;
    let connect = connect_token(&gateway, PATH, &access(&json!({}))).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();

    // On the socket: missing, invalid or expired, of another type; each is told apart.
    let missing = refused(&gateway, "").await;
    assert_eq!(missing.status(401).reason("TOKEN_MISSING").value()["message"], "this WebSocket needs a connect token");
    let header = shake(&gateway, "/rules.v1.Rules/Chat").header("authorization", &bearer(&connect)).await;
    header.status(401).reason("TOKEN_MISSING");
    let expired = access(&json!({ "type": "ws-connect", "exp": now - 1 }));
    refused(&gateway, &format!("?token={expired}")).await.status(401).reason("TOKEN_EXPIRED");
    let mut forged = connect.clone();
    forged.replace_range(forged.len() - 4.., "AAAA");
    for query in ["?token=a.b.c".to_owned(), format!("?token={forged}"), format!("?token={connect}&token=x")] {
        let invalid = refused(&gateway, &query).await;
        assert_eq!(invalid.status(401).reason("TOKEN_INVALID").value()["message"], "the connect token is not valid");
    }
    for kind in
        [json!({}), json!({ "type": "access" }), json!({ "type": "refresh" }), json!({ "type": ["ws-connect"] })]
    {
        let query = format!("?token={}", access(&kind));
        refused(&gateway, &query).await.status(401).reason("TOKEN_WRONG_TYPE");
    }

    // Everywhere else it is no access token, not even for another one, nor for this method without a WebSocket.
    let bearer_of = bearer(&connect);
    gateway.get("/v1/things/7").header("authorization", &bearer_of).await.status(401).reason("TOKEN_INVALID");
    gateway.get("/v1/things/7").header("cookie", &format!("at={connect}")).await.status(401).reason("TOKEN_INVALID");
    gateway.get(PATH).header("authorization", &bearer_of).await.status(401).reason("TOKEN_INVALID");
    shake(&gateway, &format!("/v1/things/7:watch?token={connect}")).await.status(401).reason("TOKEN_INVALID");
    let grpc = |token: &str| gateway.grpc("rules.v1.Rules/Chat").header("authorization", &bearer(token));
    grpc(&connect).send(&[json!({})]).await.failed(Code::Unauthenticated);
    assert_eq!(grpc(&access(&json!({}))).send(&[json!({})]).await.code, Code::Ok);
    // A plain request's query opens nothing, and all this has not used it.
    gateway.get(&format!("/v1/chat/7?token={connect}")).await.status(401).reason("TOKEN_MISSING");
    assert!(open(&gateway, &connect).await.is_ok());

    // One that a service signed with the shared secret is as good, once.
    let theirs = access(&json!({ "type": "ws-connect", "exp": now + 10 }));
    assert!(open(&gateway, &theirs).await.is_ok());
    assert_eq!(open(&gateway, &theirs).await.err(), Some(401));
}

#[tokio::test]
async fn two_gateways_at_once_let_one_in() {
    let (rules, mut redis) = (rules().await, redis().await);
    let shared = format!("redis: {{ url: \"{}\" }}", redis.url());
    let connect = format!("{{ path: {PATH}, secret: another-secret-another-secret-xx, parameter: ticket }}");
    let one = front(&rules, &connect, &shared).start().await;
    let other = front(&rules, &connect, &shared).start().await;
    let access = access(&json!({}));
    until("the store answers", async || {
        let token = connect_token(&one, PATH, &access).await;
        shake(&one, &format!("/rules.v1.Rules/Chat?ticket={token}")).await.status == 101
    })
    .await;
    for _ in 0..20 {
        let path = format!("/rules.v1.Rules/Chat?ticket={}", connect_token(&one, PATH, &access).await);
        let open = async |gateway: &Running| Socket::try_open(gateway.address(), &path, &[]).await.is_ok();
        let (a, b, c, d) = tokio::join!(open(&one), open(&other), open(&one), open(&other));
        assert_eq!([a, b, c, d].into_iter().filter(|won| *won).count(), 1);
    }
    // Nothing of it stays.
    let redis::Value::Array(keys) = redis.ask(&["KEYS", "transom:once:*"]).await else { panic!("no list") };
    assert!(keys.len() >= 20);
    let redis::Value::BulkString(key) = &keys[0] else { panic!("no key") };
    let redis::Value::Int(ttl) = redis.ask(&["PTTL", std::str::from_utf8(key).unwrap()]).await else {
        panic!("no number")
    };
    assert!((300_000..=310_000).contains(&ttl), "{ttl}");

    // Who has logged out opens nothing with what was handed out before.
    let left = connect_token(&one, PATH, &access).await;
    one.get("/v1/things/7").header("authorization", &bearer(&access)).await.status(200);
    let gone = shake(&one, &format!("/rules.v1.Rules/Chat?ticket={left}")).await;
    gone.status(401).reason("TOKEN_INVALID");
    // Without an answer nobody knows whether it was used.
    let stays = self::access(&json!({ "sid": "s2" }));
    let token = connect_token(&other, PATH, &stays).await;
    redis.kill();
    let unknown = shake(&other, &format!("/rules.v1.Rules/Chat?ticket={token}")).await;
    unknown.status(503).reason("AUTH_UNAVAILABLE");
    tokio::time::timeout(Duration::from_secs(5), redis.start()).await.unwrap();
}

#[tokio::test]
async fn the_answer_has_the_shape_that_is_configured() {
    let rules = rules().await;
    let connect = "{ path: /api/socials/connect-token, methods: GET, ttl: 1min, claims: { uid: sub },
      response: { data: { connect: \"{token}\" } }, rate_limits: [few] }";
    let more = "rate_limits: { few: { by: user, rate: 2/min } }\ncors: { origins: [https://app.example] }";
    let gateway = front(&rules, connect, more).start().await;
    let get = || gateway.get("/api/socials/connect-token").header("authorization", &bearer(&access(&json!({}))));
    let answer = get().header("origin", "https://app.example").await;
    let token = answer.status(200).value()["data"]["connect"].as_str().expect("a token").to_owned();
    answer.header("access-control-allow-origin", "https://app.example");
    let said = claims(&token);
    assert_eq!((&said["uid"], said.get("login"), said.get("user_id")), (&json!("u1"), None, None));
    assert_eq!(said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap(), 60);
    gateway.request("POST", "/api/socials/connect-token").await.status(405);
    get().await.status(200);
    get().await.status(429).reason("RATE_LIMITED");

    let metrics = transom::telemetry::Metrics::new();
    let taken = front(&rules, "{ path: /v1/query }", "").compile(&metrics).err().expect("a problem");
    assert!(taken[0].to_string().contains("the gateway's own endpoint"), "{taken:?}");
    let unary = "methods: { rules.v1.Rules/Thing: { auth: { connect_token: ws-connect } } }";
    let builder = gateway_of(&rules, unary);
    let told = builder.compile(&metrics).err().expect("a problem")[0].to_string();
    assert!(told.contains("streams nothing"), "{told}");
}

fn gateway_of(rules: &Upstream, methods: &str) -> Builder {
    gateway().descriptors("rules").upstream("rules", rules).config(&format!(
        "auth: {{ jwt: {{ secret: {SECRET} }}, connect_tokens: {{ ws-connect: {{ path: {PATH} }} }} }}\n{methods}"
    ))
}

/// A variable may be empty here and set there: what it leaves without a key is no reason not to start, and lets nobody in.
#[tokio::test]
async fn without_a_key_nobody_gets_one_and_none_is_good() {
    let rules = rules().await;
    let config = format!(
        "auth: {{ jwt: {{ secret: \"${{NOWHERE:-}}\" }}, connect_tokens: {{ ws-connect: {{ path: {PATH} }} }} }}
methods: {{ rules.v1.Rules/Chat: {{ auth: {{ connect_token: ws-connect }} }} }}"
    );
    let builder = gateway().descriptors("rules").upstream("rules", &rules).config(&config);
    let notes = builder.compile(&transom::telemetry::Metrics::new()).expect("no problem").notes.clone();
    assert!(notes.iter().any(|note| note.starts_with("auth.jwt has no key: no token is good")), "{notes:?}");
    let running = builder.start().await;
    running.get(PATH).await.status(401).reason("TOKEN_MISSING");
    let key = jsonwebtoken::EncodingKey::from_secret(b"");
    let said = json!({ "sub": "eve", "type": "ws-connect", "jti": "1", "exp": claims(&access(&json!({})))["exp"] });
    let forged = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &said, &key).unwrap();
    for token in [forged, access(&json!({ "type": "ws-connect" }))] {
        refused(&running, &format!("?token={token}")).await.status(401).reason("TOKEN_INVALID");
        running.get(PATH).header("authorization", &bearer(&token)).await.status(401);
    }
    // Keys that verify and sign nothing are another matter.
    let jwks = config.replace("secret: \"${NOWHERE:-}\"", "jwks: keys.json");
    let text = gateway().descriptors("rules").upstream("rules", &rules).config(&jwks).text();
    let told = transom::config::parse(&text, &|_| None).expect_err("a problem").to_string();
    assert!(told.contains("there is no `auth.jwt.secret` to sign them with"), "{told}");
}

#[tokio::test]
async fn a_connect_token_speaks_of_the_user_by_the_claim_that_names_one() {
    let rules = rules().await;
    let config = format!(
        "auth:
  jwt: {{ secret: {SECRET} }}
  user: account
  inject: {{ account: x-account, sub: x-subject }}
  connect_tokens: {{ ws-connect: {{ path: {PATH} }} }}
rate_limits: {{ few: {{ by: user, rate: 1/h }} }}
methods: {{ rules.v1.Rules/Chat: {{ auth: {{ connect_token: ws-connect }}, rate_limits: [few] }} }}"
    );
    let gateway = gateway().descriptors("rules").upstream("rules", &rules).config(&config).start().await;
    for account in ["ada", "bob"] {
        let access = token(&json!({ "account": account }));
        let token = connect_token(&gateway, PATH, &access).await;
        assert_eq!((&claims(&token)["account"], &claims(&token)["sub"]), (&json!(account), &json!("u1")));
        let mut socket = open(&gateway, &token).await.unwrap();
        socket.json(&json!({ "id": "7" })).await;
        socket.value().await;
        rules.saw("Chat").header("x-account", account).header("x-subject", "u1");
        let again = connect_token(&gateway, PATH, &access).await;
        refused(&gateway, &format!("?token={again}")).await.status(429).reason("RATE_LIMITED");
    }
    // Who has no other name is called by that.
    let nameless = token(&json!({ "account": "eve", "sub": null }));
    let token = connect_token(&gateway, PATH, &nameless).await;
    assert_eq!((&claims(&token)["account"], &claims(&token)["sub"]), (&json!("eve"), &json!("eve")));
}

#[tokio::test]
async fn connect_tokens_that_lack_what_is_asked_for_are_a_note() {
    let rules = rules().await;
    let metrics = transom::telemetry::Metrics::new();
    let chat = "{ connect_token: ws-connect, scopes: [chat], roles: [reader], claims: { tier: [gold] } }";
    let methods =
        |chat: &str| format!("methods: {{ rules.v1.Rules/Chat: {{ auth: {chat}, bind: {{ text: login }} }} }}");
    let built = |claims: &str, chat: &str| {
        let front = front(&rules, &format!("{{ path: {PATH}{claims} }}"), "").text().replace(METHODS, &methods(chat));
        gateway().descriptors("rules").upstream("rules", &rules).config(front.split("upstreams:").next().unwrap())
    };
    let notes = |builder: Builder| {
        let notes = builder.compile(&metrics).unwrap_or_else(|problems| panic!("{problems:?}")).notes.clone();
        notes.into_iter().filter(|note| note.contains("do not say")).collect::<Vec<_>>()
    };
    let told = notes(built("", chat));
    assert_eq!(told.len(), 3, "{told:?}");
    for (note, claim) in told.iter().zip(["tier", "scope", "roles"]) {
        assert!(note.starts_with("methods[\"rules.v1.Rules/Chat\"].auth: "), "{note}");
        assert!(
            note.contains(&format!("write `{claim}: {claim}` beside the others at `auth.connect_tokens.ws-connect")),
            "{note}"
        );
    }
    let copied = ", claims: { scope: scope, roles: roles, tier: tier, login: login }";
    assert_eq!(notes(built(copied, chat)), [""; 0]);
    assert_eq!(notes(built("", "{ connect_token: ws-connect }")), [""; 0]);

    // The refusal names the token that is meant.
    let gateway = built("", "{ connect_token: ws-connect, scopes: [chat] }").start().await;
    let access = access(&json!({ "scope": "chat" }));
    let short = connect_token(&gateway, PATH, &access).await;
    let refused = refused(&gateway, &format!("?token={short}")).await;
    assert_eq!(refused.status(403).value()["message"], "the connect token does not allow this");
}
