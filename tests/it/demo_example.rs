//! The booking example as `transom demo` runs it: what each of its policies does to a client.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::client::{Call, Reply};
use crate::support::process::{Process, send};
use crate::support::socket::Socket;
use crate::support::tokens::{bearer, claims};

const SECRET: &str = "the secret of these tests, 32 bytes";
const WATCH: &str = "/api/v1/events/evt-001:watch";

fn demo(variables: &[(&str, &str)]) -> Process {
    let usual = [("JWT_SECRET", SECRET)];
    Process::start(&["demo", "--port", "0", "--admin-port", "0", "--instances", "1"], &[&usual, variables].concat())
}

/// The access token of the account that is there from the start.
fn login(demo: &Process) -> String {
    let account = json!({ "email": "ada@example.com", "password": "opera-seat-42" });
    demo.post("/api/v1/auth/login", &account).status(200).value()["accessToken"].as_str().unwrap().to_owned()
}

fn get(demo: &Process, path: &str, token: &str) -> Reply {
    send(Call::new(demo.address, "GET", path).header("authorization", &bearer(token)))
}

/// A token with these claims in place of another's.
fn altered(token: &str, change: &[(&str, Value)]) -> String {
    let mut said = claims(token);
    for (name, value) in change {
        match value {
            Value::Null => drop(said.as_object_mut().unwrap().remove(*name)),
            value => said[*name] = value.clone(),
        }
    }
    jsonwebtoken::encode(&Header::default(), &said, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

#[test]
fn a_token_opens_what_its_scopes_name() {
    let demo = demo(&[]);
    let whole = login(&demo);
    for (scope, opens) in [
        ("profile", ["200", "403", "403", "403", "403"]),
        ("tickets", ["403", "200", "403", "403", "403"]),
        ("booking", ["403", "403", "200", "404", "403"]),
        ("payment", ["403", "403", "403", "403", "404"]),
        ("profile tickets booking payment", ["200", "200", "200", "404", "404"]),
    ] {
        let token = altered(&whole, &[("scope", json!(scope))]);
        let paths = ["user/profile", "tickets", "bookings", "queue/none", "payments/none"];
        let told = paths.map(|path| get(&demo, &format!("/api/v1/{path}"), &token).status.as_u16().to_string());
        assert_eq!(told, opens, "{scope}");
    }
    // A token of another issuer with the same secret is none, nor one that does not say what it is.
    for change in [("iss", json!("another")), ("iss", Value::Null), ("type", Value::Null), ("type", json!("refresh"))] {
        get(&demo, "/api/v1/tickets", &altered(&whole, &[change])).status(401).reason("TOKEN_INVALID");
    }
    // A booking is the caller's own, whatever the request says.
    get(&demo, "/api/v1/bookings?userId=another", &whole).status(400).reason("BAD_REQUEST");
}

#[test]
fn a_connect_token_opens_one_websocket() {
    let demo = demo(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let open = |token: &str| {
        let path = format!("{WATCH}?token={token}");
        runtime.block_on(async {
            let mut socket = Socket::try_open(demo.address, &path, &[]).await.map_err(|status| status.as_u16())?;
            Ok::<_, u16>(socket.value().await["eventId"].clone())
        })
    };
    let access = login(&demo);
    demo.get("/api/v1/auth/ws-token").status(401).reason("TOKEN_MISSING");
    let token = get(&demo, "/api/v1/auth/ws-token", &access).status(200).value()["token"].as_str().unwrap().to_owned();
    let said = claims(&token);
    assert_eq!((&said["type"], &said["user_id"]), (&json!("ws-connect"), &claims(&access)["sub"]));
    assert_eq!(said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap(), 10);
    assert_eq!(open(&token), Ok(json!("evt-001")));
    assert_eq!(open(&token), Err(401), "once");
    assert_eq!(open(&access), Err(401), "an access token in a URL opens nothing");
    get(&demo, "/api/v1/tickets", &token).status(401).reason("TOKEN_INVALID");
    // Without a WebSocket it is asked as any other method.
    let stream =
        send(Call::new(demo.address, "GET", "/api/v1/events/none:watch").header("authorization", &bearer(&access)));
    stream.status(404);
}

#[test]
fn strangers_send_little_and_nothing_but_json() {
    let demo = demo(&[]);
    for path in ["login", "register", "refresh"] {
        let path = format!("/api/v1/auth/{path}");
        let form = Call::new(demo.address, "POST", &path).header("content-type", "application/x-www-form-urlencoded");
        send(form.body("email=a")).status(415).reason("UNSUPPORTED_MEDIA_TYPE");
        demo.post(&path, &json!({ "email": "x".repeat(5000) })).status(413).reason("TOO_LARGE");
    }
    // What names begin and end with is taken off before anybody looks.
    let said = json!({ "email": " new@example.com ", "password": "correct horse", "firstName": " <b>Zo\u{0065}\u{0308}</b>\u{0007}" });
    demo.post("/api/v1/auth/register", &said).status(201);
    let account = json!({ "email": "new@example.com", "password": "correct horse" });
    let token =
        demo.post("/api/v1/auth/login", &account).status(200).value()["accessToken"].as_str().unwrap().to_owned();
    assert_eq!(get(&demo, "/api/v1/user/profile", &token).status(200).value()["firstName"], "Zo\u{eb}");
}

#[test]
fn pages_may_do_with_payments_what_these_know() {
    let demo = demo(&[]);
    let asked = |path: &str| {
        let call = Call::new(demo.address, "OPTIONS", path).header("origin", "http://localhost:5173");
        send(call.header("access-control-request-method", "POST"))
    };
    let payments = asked("/api/v1/payments");
    payments.status(204).header("access-control-allow-methods", "GET,POST").header("access-control-max-age", "3600");
    payments.header("access-control-allow-credentials", "true");
    let bookings = asked("/api/v1/bookings");
    bookings.status(204).header("access-control-max-age", "600").header("access-control-allow-credentials", "true");
    assert!(bookings.headers["access-control-allow-methods"].to_str().unwrap().contains("PATCH"));
}

#[test]
fn clients_behind_a_trusted_proxy_are_told_apart() {
    for (trusted, second) in [("127.0.0.0/8", 200), ("", 429)] {
        let demo = demo(&[("TRUSTED_PROXIES", trusted), ("RATE_LIMIT_MAX_REQUESTS", "1")]);
        let from =
            |client: &str| send(Call::new(demo.address, "GET", "/api/v1/categories").header("x-forwarded-for", client));
        from("203.0.113.1").status(200);
        from("203.0.113.2").status(second);
        from("203.0.113.1").status(429);
    }
}
