//! Double tokens of the gateway's own: issued for whom a login's answer names, renewed once each, ended by theft and by
//! logging out, at every gateway of a real Redis and in one without.

mod logout;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use transom_transcode::status::Code;

use crate::support::client::{Call, Reply};
use crate::support::gateway::{Builder, Running, gateway};
use crate::support::grpc::frame;
use crate::support::network::{Network, Weather};
use crate::support::redis::{Redis, redis};
use crate::support::reply::ok;
use crate::support::tokens::{SECRET, bearer, claims, token};
use crate::support::until;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";
const REFRESH: &str = "/api/auth/refresh";
const LOGOUT: &str = "/api/auth/logout";

/// `CreateBook` logs in: a book's room is its user; its title and its name are where tokens would be. `DeleteBook` logs out.
async fn library() -> Upstream {
    upstream::grpc("library.v1.Library")
        .unary("CreateBook", |asked| match asked["book"]["title"].as_str() {
            Some("second factor") => ok(json!({ "authors": ["who?"] })),
            _ => ok(json!({ "title": "the service's own", "authors": ["reader", "x"], "place": { "room": "u7" } })),
        })
        .unary("GetBook", |asked| ok(json!({ "name": asked["name"] })))
        .unary("Echo", |book| ok(book.clone()))
        .unary("DeleteBook", |_| ok(json!({})))
        .start()
        .await
}

struct Wish<'a> {
    redis: Option<&'a Redis>,
    sessions: &'a str,
    issue: &'a str,
}

const PLAIN: Wish<'static> = Wish { redis: None, sessions: "", issue: "" };

fn front(library: &Upstream, wish: &Wish<'_>) -> Builder {
    gateway().descriptors("library").upstream("library", library).config(&front_config(wish))
}

fn front_config(wish: &Wish<'_>) -> String {
    let redis = wish.redis.map(|redis| format!("redis: {{ url: \"{}\" }}", redis.url())).unwrap_or_default();
    let (sessions, issue) = (wish.sessions, wish.issue);
    format!(
        "{redis}
auth:
  jwt: {{ secret: {SECRET}, issuer: me, audience: us, required_claims: [sid] }}
  sources: [bearer, {{ cookie: at }}]
  roles: roles
  inject: {{ sub: x-user-id }}
  logout: library.v1.Library/DeleteBook
sessions:
  login: library.v1.Library/CreateBook
  access_token: {{ field: title, cookie: at }}
  refresh_token: {{ field: name, cookie: rt }}
  issue:
    claims: {{ sub: place.room, roles: authors }}
    refresh: {{ path: {REFRESH} }}
    logout: {{ path: {LOGOUT} }}
    {issue}
  {sessions}
methods:
  library.v1.Library/CreateBook: {{ auth: public }}
  library.v1.Library/Echo: {{ auth: {{ roles: [reader] }} }}"
    )
}

/// What a browser keeps of an answer: the access and the refresh token, with what follows them.
fn kept(answer: &Reply) -> [(String, String); 2] {
    let set = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let set: Vec<_> = set
        .map(|cookie| {
            let (pair, attributes) = cookie.split_once("; ").unwrap();
            (pair.split_once('=').unwrap().1.to_owned(), attributes.to_owned())
        })
        .collect();
    set.try_into().unwrap_or_else(|set| panic!("{set:?} of {answer:?}"))
}

fn tokens(answer: &Reply) -> (String, String) {
    let [(access, _), (refresh, _)] = kept(answer);
    (access, refresh)
}

async fn log_in(gateway: &Running) -> (String, String) {
    tokens(gateway.post("/v1/shelves/1/books", &json!({})).await.status(200))
}

fn renew(gateway: &Running, refresh: &str) -> Call {
    gateway.post(REFRESH, &json!({})).header("cookie", &format!("rt={refresh}"))
}

async fn opens(gateway: &Running, access: &str) -> u16 {
    gateway.get(BOOK).header("cookie", &format!("at={access}")).await.status.as_u16()
}

#[track_caller]
fn cleared(answer: &Reply) {
    let attributes = "Max-Age=0; Path=/; HttpOnly; SameSite=Lax".to_owned();
    assert_eq!(kept(answer), [(String::new(), attributes.clone()), (String::new(), attributes)]);
}

#[tokio::test]
async fn who_logs_in_gets_a_pair_that_the_gateway_signs() {
    let library = library().await;
    let gateway = front(&library, &PLAIN).start().await;
    let answer = gateway.post("/v1/shelves/1/books", &json!({})).await;
    assert_eq!(answer.status(200).value(), json!({ "authors": ["reader", "x"], "place": { "room": "u7" } }));
    answer.header("cache-control", "no-store");
    let [(access, attributes), (refresh, others)] = kept(&answer);
    assert_eq!(attributes, "Max-Age=900; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(others, "Max-Age=604800; Path=/; HttpOnly; SameSite=Lax");
    let (said, renews) = (claims(&access), claims(&refresh));
    assert_eq!(
        (&said["sub"], &said["type"], &said["roles"]),
        (&json!("u7"), &json!("access"), &json!(["reader", "x"]))
    );
    assert_eq!((&said["iss"], &said["aud"], &renews["type"]), (&json!("me"), &json!("us"), &json!("refresh")));
    assert_eq!(said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap(), 900);
    assert_eq!((&said["sid"], renews.get("roles")), (&renews["sid"], None));
    assert_ne!(said["jti"], renews["jti"]);

    let echoed = gateway.post("/v1/echo", &json!({})).header("cookie", &format!("at={access}")).await;
    echoed.status(200);
    library.saw("Echo").header("authorization", &bearer(&access)).header("x-user-id", "u7");
    // Each has its own place.
    let wrong = gateway.get(BOOK).header("authorization", &bearer(&refresh)).await;
    wrong.status(401).reason("TOKEN_INVALID");
    let wrong = renew(&gateway, &access).await;
    wrong.status(401).reason("TOKEN_WRONG_TYPE");
    cleared(&wrong);
    assert_eq!(opens(&gateway, &access).await, 200, "and nothing has ended");

    // An answer that names nobody opens nothing.
    let more = gateway.post("/v1/shelves/1/books", &json!({ "title": "second factor" })).await;
    assert!(!more.headers.contains_key("set-cookie") && more.value() == json!({ "authors": ["who?"] }), "{more:?}");
    let lines = format!("{:?}", gateway.logged(6).await);
    assert!(lines.contains("a token of type `access` renews nothing"), "{lines}");
    assert!(![&access, &refresh].iter().any(|token| lines.contains(*token)), "{lines}");
}

#[tokio::test]
async fn every_dialect_logs_in() {
    let library = library().await;
    let gateway = front(&library, &PLAIN).start().await;
    // Connect and gRPC-Web are what pages speak: the tokens are in cookies alone.
    let path = "/library.v1.Library/CreateBook";
    let connect = gateway.post(path, &json!({})).header("connect-protocol-version", "1").await;
    assert_eq!(connect.status(200).value()["title"], Value::Null);
    assert_eq!(opens(&gateway, &tokens(&connect).0).await, 200);
    for content_type in ["application/grpc-web+proto", "application/grpc-web+json"] {
        let message = if content_type.ends_with("json") { &b"{}"[..] } else { b"" };
        let web = gateway.request("POST", path).header("content-type", content_type).body(frame(message)).await;
        web.status(200);
        assert!(web.text().contains("grpc-status:0") || web.text().contains("grpc-status: 0"), "{web:?}");
        let (access, refresh) = tokens(&web);
        assert!(
            !web.text().contains("service's own") && !web.text().contains(&access) && !web.text().contains(&refresh)
        );
        assert_eq!(opens(&gateway, &access).await, 200);
    }
    // gRPC's clients keep no cookies: they read them.
    let native = gateway.grpc("library.v1.Library/CreateBook").send(&[json!({})]).await;
    assert_eq!((native.code, native.headers.contains_key("set-cookie")), (Code::Ok, false));
    let (access, refresh) =
        (native.messages[0]["title"].as_str().unwrap(), native.messages[0]["name"].as_str().unwrap());
    let call = gateway.grpc("library.v1.Library/GetBook").header("authorization", &bearer(access));
    assert_eq!(call.send(&[json!({ "name": "n" })]).await.code, Code::Ok);
    // They renew by hand, and get the new tokens as they brought the old one: they have no cookies to keep them.
    let renewed = gateway.post(REFRESH, &json!({ "name": refresh })).await;
    let value = renewed.status(200).value();
    assert!(!renewed.headers.contains_key("set-cookie"));
    assert_eq!(opens(&gateway, value["title"].as_str().unwrap()).await, 200);
    let again = gateway.post(REFRESH, &json!({ "name": value["name"] })).await;
    again.status(200);
}

#[tokio::test]
async fn tokens_that_stay_are_in_the_answer_too() {
    let library = library().await;
    let wish = Wish { sessions: "in_body: keep", ..PLAIN };
    let gateway = front(&library, &wish).start().await;
    let answer = gateway.post("/v1/shelves/1/books", &json!({})).await;
    let (access, refresh) = tokens(&answer);
    assert_eq!((&answer.value()["title"], &answer.value()["name"]), (&json!(access), &json!(refresh)));
    let renewed = renew(&gateway, &refresh).await;
    let (access, refresh) = tokens(&renewed);
    assert_eq!(renewed.value(), json!({ "title": access, "name": refresh, "expires_in": 900 }));
    let by_hand = gateway.post(REFRESH, &json!({ "name": refresh })).await;
    assert!(by_hand.status(200).value()["name"].is_string());
    assert!(
        gateway.post(REFRESH, &json!({})).await.status(401).reason("TOKEN_MISSING").headers.get("set-cookie").is_none()
    );
    // Nobody else's page renews.
    let evil = renew(&gateway, &refresh).header("sec-fetch-site", "cross-site").await;
    evil.status(403).reason("CROSS_ORIGIN");
}

#[tokio::test]
async fn one_refresh_token_renews_once_wherever_it_comes() {
    let (library, redis) = (library().await, redis().await);
    let wish = Wish { redis: Some(&redis), issue: "grace: 1min", ..PLAIN };
    let (one, other) = (front(&library, &wish).start().await, front(&library, &wish).start().await);
    let (first, mut refresh) = log_in(&one).await;
    let sid = claims(&first)["sid"].as_str().unwrap().to_owned();
    let key = format!("transom:session:{{{sid}}}");
    let mut before = Vec::new();
    for _ in 0..5 {
        // All who come at once get the same pair, at both.
        let calls = (0..16).map(|at| renew(if at % 2 == 0 { &one } else { &other }, &refresh).into_future());
        let answers = futures_util::future::join_all(calls).await;
        let pairs: Vec<_> = answers.iter().map(|answer| tokens(answer.status(200))).collect();
        assert!(pairs.iter().all(|pair| *pair == pairs[0]), "{pairs:?}");
        assert_ne!(pairs[0].1, refresh);
        assert_eq!((opens(&one, &pairs[0].0).await, opens(&other, &pairs[0].0).await), (200, 200));
        before.push(std::mem::replace(&mut refresh, pairs[0].1.clone()));
    }
    // Within the moment whichever of the last ones gets it, however often it has turned since.
    for late in &before[1..] {
        assert_eq!(tokens(renew(&other, late).await.status(200)).1, refresh);
    }
    // When its user logged in stays what it was.
    let login = claims(&first)["auth_time"].clone();
    assert_eq!(login, claims(&first)["iat"]);
    redis.ask(&["HSET", &key, "created", "1000000"]).await;
    let (renewed, _) = tokens(renew(&one, &refresh).await.status(200));
    assert_eq!(claims(&renewed)["auth_time"], 1000);
    // The record says whose it is, and ends by itself.
    let asked = redis.ask(&["HMGET", &key, "user", "data"]).await;
    assert_eq!(format!("{asked:?}").matches("u7").count(), 1, "{asked:?}");
    let redis::Value::Int(lasts) = redis.ask(&["TTL", &key]).await else { panic!("no number") };
    assert!((604_000..=604_800).contains(&lasts), "{lasts}");
}

#[tokio::test]
async fn a_stolen_refresh_token_ends_the_family_everywhere() {
    let (library, redis) = (library().await, redis().await);
    let wish = Wish { redis: Some(&redis), issue: "grace: 0s", ..PLAIN };
    let (one, other) = (front(&library, &wish).start().await, front(&library, &wish).start().await);
    let bystander = log_in(&other).await;
    let (first, stolen) = log_in(&one).await;
    let (second, good) = tokens(renew(&other, &stolen).await.status(200));
    for access in [&first, &second, &bystander.0] {
        assert_eq!((opens(&one, access).await, opens(&other, access).await), (200, 200));
    }
    tokio::time::sleep(Duration::from_millis(5)).await;

    let thief = renew(&one, &stolen).await;
    let since = Instant::now();
    thief.status(401).reason("TOKEN_INVALID");
    cleared(&thief);
    for access in [&first, &second] {
        assert_eq!(opens(&one, access).await, 401);
        until("the other refuses it", async || opens(&other, access).await == 401).await;
    }
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    for gateway in [&one, &other] {
        renew(gateway, &good).await.status(401).reason("TOKEN_INVALID");
        assert_eq!(opens(gateway, &bystander.0).await, 200);
    }
    let lines = format!("{:?}", one.logged(8).await);
    assert!(
        lines.contains("the refresh token was used before: its session ends") && !lines.contains(&stolen),
        "{lines}"
    );
}

#[tokio::test]
async fn who_renews_is_told_of_the_refresh_token() {
    let library = library().await;
    let gateway = front(&library, &Wish { sessions: "automatic: true", ..PLAIN }).start().await;
    let (access, refresh) = log_in(&gateway).await;
    let expired = token(&json!({ "iss": "me", "aud": "us", "sid": "s", "type": "refresh", "exp": 1 }));
    let forged = &format!("{}AAAA", &refresh[..refresh.len() - 4]);
    let twice = &format!("{refresh}; rt={forged}");
    for (token, reason, told) in [
        (forged, "TOKEN_INVALID", "the refresh token is not valid"),
        (twice, "TOKEN_INVALID", "the refresh token is not valid"),
        (&expired, "TOKEN_EXPIRED", "the refresh token has expired"),
        (&access, "TOKEN_WRONG_TYPE", "the token is of another type than is asked for"),
    ] {
        let on_the_way = gateway.get(BOOK).header("cookie", &format!("rt={token}")).await;
        let refused = renew(&gateway, token).await;
        // Two that differ are no token to renew with on the way.
        let answers = if token == twice { vec![refused] } else { vec![refused, on_the_way] };
        for answer in answers {
            assert_eq!(answer.status(401).reason(reason).value()["message"], told);
            let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{told}\"");
            answer.header("www-authenticate", &challenge);
        }
    }
    let nothing = gateway.post(REFRESH, &json!({})).await;
    assert_eq!(nothing.status(401).reason("TOKEN_MISSING").value()["message"], "this method needs a refresh token");
    let nobody = gateway.get(BOOK).await;
    assert_eq!(nobody.status(401).value()["message"], "this method needs an access token");
}

#[tokio::test]
async fn a_store_that_fell_back_makes_nobody_a_thief() {
    let (library, redis) = (library().await, redis().await);
    let wish = Wish { redis: Some(&redis), issue: "grace: 0s", ..PLAIN };
    let gateway = front(&library, &wish).start().await;
    let apart = || tokio::time::sleep(Duration::from_millis(5));
    for stolen in [false, true] {
        let (_, first) = log_in(&gateway).await;
        let key = format!("transom:session:{{{}}}", claims(&first)["sid"].as_str().unwrap());
        let (_, second) = tokens(renew(&gateway, &first).await.status(200));
        redis.ask(&["COPY", &key, "kept", "REPLACE"]).await;
        let (_, third) = tokens(renew(&gateway, &second).await.status(200));
        let (access, last) = tokens(renew(&gateway, &third).await.status(200));
        // As it was two writes ago.
        redis.ask(&["COPY", "kept", &key, "REPLACE"]).await;
        apart().await;
        if stolen {
            // Whoever comes with one that was turned: at the latest the client's own ends it for both.
            renew(&gateway, &third).await.status(200);
            renew(&gateway, &last).await.status(401).reason("TOKEN_INVALID");
            assert_eq!(opens(&gateway, &access).await, 401);
            continue;
        }
        let (access, next) = tokens(renew(&gateway, &last).await.status(200));
        let (_, next) = tokens(renew(&gateway, &next).await.status(200));
        assert_eq!(opens(&gateway, &access).await, 200);
        // Older ones are as stolen as ever.
        apart().await;
        renew(&gateway, &second).await.status(401).reason("TOKEN_INVALID");
        renew(&gateway, &next).await.status(401);
    }
}

#[tokio::test]
async fn a_second_page_is_no_thief_where_a_store_fell_back() {
    let (library, redis) = (library().await, redis().await);
    let wish = Wish { redis: Some(&redis), issue: "grace: 1min", ..PLAIN };
    let gateway = front(&library, &wish).start().await;
    let turned = async |refresh: &str| tokens(renew(&gateway, refresh).await.status(200)).1;
    // What was lost, one write or two; and who comes first after that: who has the newest token, or the page that has the one before.
    for (lost, newest_first) in [(1, true), (2, true), (1, false)] {
        let (_, first) = log_in(&gateway).await;
        let key = format!("transom:session:{{{}}}", claims(&first)["sid"].as_str().unwrap());
        let mut all = vec![first];
        for turn in 0..3 {
            if turn == 3 - lost {
                redis.ask(&["COPY", &key, "kept", "REPLACE"]).await;
            }
            all.push(turned(all.last().unwrap()).await);
        }
        redis.ask(&["COPY", "kept", &key, "REPLACE"]).await;
        let (before, newest) = (&all[2], &all[3]);
        let (one, other) = if newest_first { (newest, before) } else { (before, newest) };
        let next = turned(one).await;
        assert_eq!(turned(other).await, next, "{lost} lost");
        turned(&turned(&next).await).await;
    }
}

#[tokio::test]
async fn a_new_secret_logs_nobody_out_while_the_old_one_is_listed() {
    let library = library().await;
    let front = |old: Option<&str>, issuer: &str| {
        let one = |secret: &str, issuer: &str| format!("{{ secret: {secret}, issuer: {issuer}, audience: us }}");
        let new = "f".repeat(32);
        let jwt = match old {
            None => one(SECRET, "me"),
            Some(_) => format!("[{}, {}]", one(&new, "me"), one(SECRET, issuer)),
        };
        let written = format!("{{ secret: {SECRET}, issuer: me, audience: us, required_claims: [sid] }}");
        let text = front_config(&PLAIN).replace(&written, &jwt);
        gateway().descriptors("library").upstream("library", &library).config(&text)
    };
    let gateway = front(None, "me").start().await;
    let (access, refresh) = log_in(&gateway).await;
    gateway.reload(&front(Some(SECRET), "me")).await.unwrap();
    assert_eq!(opens(&gateway, &access).await, 200);
    let (_, next) = tokens(renew(&gateway, &refresh).await.status(200));
    // The new one signs, and reads what it has signed.
    let by = |refresh: &str| jsonwebtoken::DecodingKey::from_secret(refresh.as_bytes());
    let check = |token: &str, secret: &str| {
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
        validation.validate_aud = false;
        jsonwebtoken::decode::<Value>(token, &by(secret), &validation).is_ok()
    };
    assert!(check(&refresh, SECRET) && check(&next, &"f".repeat(32)));
    let (_, last) = tokens(renew(&gateway, &next).await.status(200));
    // Another issuer's secret makes no refresh token.
    gateway.reload(&front(Some(SECRET), "them")).await.unwrap();
    let (_, refresh) = tokens(renew(&gateway, &last).await.status(200));
    let mut said = claims(&refresh);
    said["iss"] = json!("them");
    renew(&gateway, &token(&said)).await.status(401).reason("TOKEN_INVALID");
    renew(&gateway, &refresh).await.status(200);
}

#[tokio::test]
async fn replayed_at_two_gateways_at_once_one_goes_on_at_most() {
    let (library, redis) = (library().await, redis().await);
    let wish = Wish { redis: Some(&redis), issue: "grace: 0s", ..PLAIN };
    let (one, other) = (front(&library, &wish).start().await, front(&library, &wish).start().await);
    for _ in 0..10 {
        let (_, refresh) = log_in(&one).await;
        let calls = (0..12).map(|at| renew(if at % 2 == 0 { &one } else { &other }, &refresh).into_future());
        let answers = futures_util::future::join_all(calls).await;
        let good: Vec<_> = answers.iter().filter(|answer| answer.status == 200).map(tokens).collect();
        // Those of one and the same millisecond are one call.
        assert!(!good.is_empty() && good.iter().all(|pair| *pair == good[0]), "{good:?}");
        if good.len() < answers.len() {
            renew(&other, &good[0].1).await.status(401);
        }
    }
}

#[tokio::test]
async fn a_store_that_is_too_slow_for_limits_is_none_for_sessions() {
    let (library, redis) = (library().await, redis().await);
    let network = Network::before(redis.address()).await;
    let wish = Wish { redis: Some(&redis), ..PLAIN };
    let config = front_config(&wish).replace(&redis.url(), &format!("redis://{}", network.address()));
    let config = format!("{config}\nrate_limits: {{ public: {{ by: client, rate: 1000/min }} }}");
    let gateway = gateway().descriptors("library").upstream("library", &library).config(&config).start().await;
    let (access, refresh) = log_in(&gateway).await;
    let (_, refresh) = tokens(renew(&gateway, &refresh).await.status(200));
    gateway.post(LOGOUT, &json!({})).header("cookie", &format!("at={access}; rt={refresh}")).await.status(200);

    // Far away: no answer comes within the fifty milliseconds that a limit may take, each does within what a session may.
    network.becomes(Weather::Late(Duration::from_millis(35)));
    for _ in 0..4 {
        let (access, refresh) = log_in(&gateway).await;
        let (_, refresh) = tokens(renew(&gateway, &refresh).await.status(200));
        gateway.post(LOGOUT, &json!({})).header("cookie", &format!("at={access}; rt={refresh}")).await.status(200);
    }
}

#[tokio::test]
async fn a_call_renews_its_tokens_on_the_way() {
    let (library, redis) = (library().await, redis().await);
    let wish = Wish { redis: Some(&redis), sessions: "automatic: true", ..PLAIN };
    let (one, other) = (front(&library, &wish).start().await, front(&library, &wish).start().await);
    let expired = token(&json!({ "iss": "me", "aud": "us", "sid": "s", "type": "access", "exp": 1 }));
    let (_, mut refresh) = log_in(&one).await;
    // The browser has dropped the access token, or sends one that has expired.
    for cookie in ["", &format!("at={expired}; ")] {
        let calls = (0..16).map(|at| {
            let gateway = if at % 2 == 0 { &one } else { &other };
            gateway.get(BOOK).header("cookie", &format!("{cookie}rt={refresh}")).into_future()
        });
        let answers = futures_util::future::join_all(calls).await;
        let pairs: Vec<_> = answers.iter().map(|answer| tokens(answer.status(200))).collect();
        assert!(pairs.iter().all(|pair| *pair == pairs[0]), "{pairs:?}");
        answers[0].header("cache-control", "no-store");
        assert_eq!(library.saw("GetBook").last().headers["authorization"], bearer(&pairs[0].0));
        refresh.clone_from(&pairs[0].1);
    }
    let cookie = format!("rt={refresh}");
    // Who sends tokens by hand renews by hand; so does a gRPC client, and another origin's page.
    let by_hand = one.get(BOOK).header("authorization", &bearer(&expired)).header("cookie", &cookie).await;
    by_hand.status(401).reason("TOKEN_EXPIRED");
    let native = one.grpc("library.v1.Library/GetBook").header("cookie", &cookie).send(&[json!({})]).await;
    native.failed(Code::Unauthenticated);
    let evil = one.post("/v1/echo", &json!({})).header("cookie", &cookie).header("sec-fetch-site", "cross-site").await;
    evil.status(401).reason("TOKEN_MISSING");
    assert!(!evil.headers.contains_key("set-cookie"));
    let evil = one.get(BOOK).header("cookie", &cookie).header("sec-fetch-site", "cross-site").await;
    evil.status(401).reason("TOKEN_MISSING");
    assert!(!evil.headers.contains_key("set-cookie"));
    // Pages' other dialects do.
    let connect = one.post("/library.v1.Library/Echo", &json!({})).header("connect-protocol-version", "1");
    let (access, renewed) = tokens(connect.header("cookie", &cookie).await.status(200));
    assert_eq!(claims(&access)["roles"], json!(["reader", "x"]));
    let web = one.request("POST", "/library.v1.Library/Echo").header("content-type", "application/grpc-web+proto");
    let (_, refresh) = tokens(web.header("cookie", &format!("rt={renewed}")).body(frame(&[])).await.status(200));

    // A token that is good no more leaves the browser, with the attributes that it came with.
    one.post(LOGOUT, &json!({})).header("cookie", &format!("rt={refresh}")).await.status(200);
    for gateway in [&one, &other] {
        let refused = gateway.get(BOOK).header("cookie", &format!("rt={refresh}")).await;
        refused.status(401).reason("TOKEN_INVALID");
        cleared(&refused);
    }
    let forged = one.get(BOOK).header("cookie", &format!("at={expired}; rt={expired}")).await;
    cleared(forged.status(401).reason("TOKEN_WRONG_TYPE"));
}

#[test]
fn own_tokens_that_cannot_work_are_told() {
    let told = |auth: &str, sessions: &str| {
        let text = format!(
            "schema: {{ protos: [p] }}\nupstreams: {{ a: {{ services: [a.B], endpoints: [\"a:1\"] }} }}\n\
             auth: {{ sources: [{{ cookie: accessToken }}], {auth} }}\nsessions: {{ {sessions} }}"
        );
        transom::config::parse(&text, &|_| None).expect_err(sessions).to_string()
    };
    let jwt = format!("jwt: {{ secret: {SECRET} }}");
    let issue = "login: a.B/C, issue: { claims: { sub: id } }";
    for (auth, sessions, problem) in [
        (&*jwt, "login: a.B/C, issue: {}", "claims"),
        (&jwt, "login: a.B/C, issue: { claims: { name: n } }", "say not whose"),
        (&jwt, "login: a.B/C, issue: { claims: { sub: n, exp: m } }", "written by the gateway"),
        (&jwt, "login: a.B/C, issue: { claims: { sub: n, type: m } }", "of which type"),
        (&jwt, "issue: { claims: { sub: id } }", "names no RPC"),
        (&jwt, &format!("{issue}, refresh: a.B/D"), "keep this or `issue`"),
        (&jwt, "login: a.B/C, automatic: true", "says not who renews"),
        (&jwt, &format!("{issue}, automatic: true, refresh_token: {{ path: /x }}"), "`automatic` needs `/`"),
        (
            &jwt,
            "login: a.B/C, issue: { claims: { sub: id }, refresh: { path: /r, response: \"{access_token}\" } }",
            "is not JSON",
        ),
        (
            &jwt,
            "login: a.B/C, issue: { claims: { sub: id }, refresh: { path: /r, response: { t: \"{access_token}\" } } }",
            "`in_body: remove` takes out",
        ),
        (&jwt, "login: a.B/C, issue: { claims: { sub: n, auth_time: m } }", "written by the gateway"),
        (&jwt, "login: a.B/C, issue: { claims: { sub: id }, idle: 10m }", "issue.idle: a session would end before"),
        (&jwt, "login: a.B/C, issue: { claims: { sub: id }, absolute: 15m }", "issue.absolute: a session would end"),
        ("jwt: { jwks: keys.json }", issue, "no `auth.jwt.secret`"),
        (&format!("{jwt}, token_type: {{ refused: [access] }}"), issue, "is refused"),
        (&format!("{jwt}, connect_tokens: {{ access: {{ path: /w }} }}"), issue, "the gateway's own tokens; choose"),
        (&format!("{jwt}, connect_tokens: {{ refresh: {{ path: /w }} }}"), issue, "the gateway's own tokens; choose"),
        (&format!("jwt: {{ secret: {SECRET}, required_claims: [tenant] }}"), issue, "asks for `tenant`"),
    ] {
        let found = told(auth, sessions);
        assert!(found.contains(problem), "{found}");
    }
}
