//! Sessions: a service's tokens as a browser's cookies, set, carried, renewed and cleared.

mod renewal;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use transom_transcode::status::Code;

use crate::support::client::Reply;
use crate::support::gateway::{Running, gateway};
use crate::support::grpc::frame;
use crate::support::redis::redis;
use crate::support::reply::{fail, ok};
use crate::support::tokens::{SECRET, token};
use crate::support::upstream::{self, Upstream};

/// `CreateBook` logs in, `Echo` renews, `DeleteBook` logs out: a book's title is its access token, its name the
/// refresh token.
const SESSIONS: &str = "
  login: library.v1.Library/CreateBook
  refresh: library.v1.Library/Echo
  access_token: { field: title, cookie: at }
  refresh_token: { field: name, cookie: rt, path: /v1 }";

async fn library() -> Upstream {
    let renewed = Arc::<AtomicUsize>::default();
    upstream::grpc("library.v1.Library")
        .unary("CreateBook", |_| ok(json!({ "title": token(&json!({})), "name": "r0", "authors": ["u1"] })))
        .unary("Echo", move |book| match book["name"].as_str() {
            Some("late") => fail(Code::Unavailable, "later"),
            Some(sent) if sent.starts_with('r') => {
                let next = renewed.fetch_add(1, Ordering::Relaxed) + 1;
                let access = token(&json!({ "jti": next.to_string() }));
                ok(json!({ "title": access, "name": format!("r{next}"), "authors": [sent] }))
            }
            _ => fail(Code::Unauthenticated, "unknown refresh token"),
        })
        .unary("GetBook", |asked| ok(json!({ "name": asked["name"] })))
        .unary("DeleteBook", |asked| match asked["name"].as_str() {
            Some("shelves/1/books/0") => fail(Code::Unauthenticated, "who?"),
            _ => ok(json!({})),
        })
        .start()
        .await
}

async fn start(library: &Upstream, more: &str) -> Running {
    gateway().descriptors("library").upstream("library", library).config(&config(more)).start().await
}

fn config(more: &str) -> String {
    format!(
        "{more}
auth: {{ jwt: {{ secret: {SECRET} }}, sources: [bearer, {{ cookie: at }}], logout: library.v1.Library/DeleteBook }}
methods:
  library.v1.Library/CreateBook: {{ auth: public }}
  library.v1.Library/Echo: {{ auth: public }}"
    )
}

/// What a browser would keep: every `Set-Cookie`, as `name=value` and what follows.
fn cookies(answer: &Reply) -> Vec<(String, String)> {
    let set =
        answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().split_once("; ").unwrap());
    set.map(|(pair, attributes)| (pair.to_owned(), attributes.to_owned())).collect()
}

const BOOK: &str = "/v1/shelves/1/books/7";
const FORM: &str = "application/x-www-form-urlencoded";

async fn log_in(gateway: &Running) -> Reply {
    gateway.post("/v1/shelves/1/books", &json!({})).await
}

#[tokio::test]
async fn tokens_become_cookies_and_leave_the_body() {
    let library = library().await;
    let gateway = start(&library, &format!("sessions:{SESSIONS}")).await;
    let answer = log_in(&gateway).await;
    assert_eq!(answer.value(), json!({ "authors": ["u1"] }));
    let set = cookies(&answer);
    let (access, refresh) = (&set[0], &set[1]);
    assert!(access.0.starts_with("at=ey") && refresh.0 == "rt=r0" && set.len() == 2, "{set:?}");
    assert_eq!(access.1, "Max-Age=900; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(refresh.1, "Max-Age=604800; Path=/v1; HttpOnly; SameSite=Lax");
    assert_eq!(answer.headers["cache-control"], "no-store");
    // The cookie opens what needs a token.
    gateway.get(BOOK).await.status(401);
    gateway.get(BOOK).header("cookie", &access.0).await.status(200);

    // The refresh token goes from the cookie into the request, unless the client sends one.
    let renew = async |body: Value, cookie: &str| gateway.post("/v1/echo", &body).header("cookie", cookie).await;
    let renewed = renew(json!({}), "rt=r0").await;
    assert_eq!((renewed.value(), &*cookies(&renewed)[1].0), (json!({ "authors": ["r0"] }), "rt=r1"));
    assert_eq!(renew(json!({ "name": "r9" }), "rt=r1").await.value(), json!({ "authors": ["r9"] }));
    assert_eq!(renew(json!({ "name": "" }), "rt=r2").await.value(), json!({ "authors": ["r2"] }));
    // The same over Connect.
    let connect = gateway.post("/library.v1.Library/Echo", &json!({})).header("cookie", "rt=r3").await;
    assert_eq!((connect.value(), &*cookies(&connect)[1].0), (json!({ "authors": ["r3"] }), "rt=r4"));
    // Nobody else's page renews it.
    let evil = gateway.post("/v1/echo", &json!({})).header("cookie", "rt=r4").header("sec-fetch-site", "cross-site");
    evil.await.status(403).reason("CROSS_ORIGIN");

    // gRPC clients keep no cookies: they get their tokens, and send them.
    let call = gateway.grpc("library.v1.Library/Echo").header("cookie", "rt=r4");
    let native = call.send(&[json!({ "name": "r5" })]).await;
    assert_eq!(native.messages[0]["name"], "r5");
    assert!(!native.headers.contains_key("set-cookie"));
    let call = gateway.grpc("library.v1.Library/Echo").header("cookie", "rt=r6");
    call.send(&[json!({})]).await.failed(Code::Unauthenticated);

    // It is one message: of two, what is read in the first is not what the service reads.
    let asked = library.saw("Echo").calls().len();
    for (content_type, frames) in [("application/grpc", 0), ("application/grpc", 2), ("application/grpc-web+proto", 2)]
    {
        let call = gateway.request("POST", "/library.v1.Library/Echo").http2().header("content-type", content_type);
        let refused = call.header("te", "trailers").body(frame(b"\x0a\x02r7").repeat(frames)).await;
        assert_eq!(refused.headers["grpc-status"], "3", "{content_type}: {refused:?}");
    }
    library.saw("Echo").times(asked);
}

#[tokio::test]
async fn cookies_are_cleared_with_the_attributes_that_they_have() {
    let library = library().await;
    let more = format!("environment: production\nsessions:{SESSIONS}\n  in_body: keep\n  partitioned: true");
    let gateway = start(&library, &more).await;
    let answer = log_in(&gateway).await;
    assert_eq!(answer.value()["name"], "r0", "kept");
    let set = cookies(&answer);
    assert_eq!(set[0].1, "Max-Age=900; Path=/; HttpOnly; Secure; SameSite=Strict; Partitioned");
    let cleared = [
        ("at=".to_owned(), "Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Strict; Partitioned".to_owned()),
        ("rt=".to_owned(), "Max-Age=0; Path=/v1; HttpOnly; Secure; SameSite=Strict; Partitioned".to_owned()),
    ];

    // A refresh that fails for another reason ends nothing, and so does one without a cookie.
    let renew = async |cookie: &str| gateway.post("/v1/echo", &json!({})).header("cookie", cookie).await;
    let late = renew("rt=late").await;
    late.status(503);
    assert_eq!((cookies(&late), cookies(&renew("x=y").await)), (Vec::new(), Vec::new()));
    let refused = renew("rt=stolen").await;
    refused.status(401);
    assert_eq!(cookies(&refused), cleared);
    let refused = gateway.post("/library.v1.Library/Echo", &json!({})).header("cookie", "rt=stolen").await;
    assert_eq!(cookies(refused.status(401)), cleared);

    let access = &set[0].0;
    let left = gateway.request("DELETE", BOOK).header("cookie", access).await;
    assert_eq!(cookies(&left), cleared);
    left.status(200);
    gateway.get(BOOK).header("cookie", access).await.status(401);
}

#[tokio::test]
async fn who_logs_out_while_the_store_is_full_keeps_no_cookies() {
    let (library, redis) = (library().await, redis().await);
    let gateway = start(&library, &format!("redis: {{ url: \"{}\" }}\nsessions:{SESSIONS}", redis.url())).await;
    let access = cookies(&log_in(&gateway).await)[0].0.clone();
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let connect = gateway.post("/library.v1.Library/DeleteBook", &json!({}));
    for (jti, call) in [("rest", gateway.request("DELETE", BOOK)), ("connect", connect)] {
        let access = format!("at={}", token(&json!({ "jti": jti })));
        let left = call.header("cookie", &access).await;
        assert!(left.status(503).text().contains("AUTH_UNAVAILABLE"), "{}", left.text());
        let names: Vec<_> = cookies(&left).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["at=", "rt="], "{jti}");
        gateway.get(BOOK).header("cookie", &access).await.status(401);
    }
    gateway.get(BOOK).header("cookie", &access).await.status(200);
}

#[tokio::test]
async fn who_logs_out_late_is_logged_out() {
    let library = library().await;
    let gateway = start(&library, &format!("sessions:{SESSIONS}")).await;
    let cleared = || {
        ["at=", "rt="].map(|name| {
            let path = if name == "at=" { "/" } else { "/v1" };
            (name.to_owned(), format!("Max-Age=0; Path={path}; HttpOnly; SameSite=Lax"))
        })
    };
    let expired = format!("at={}; rt=r1", token(&json!({ "exp": 1 })));
    // The service hears of it, from who it is.
    for (times, cookie) in [(1, "rt=r0"), (2, &*expired)] {
        let left = gateway.request("DELETE", BOOK).header("cookie", cookie).await;
        assert_eq!(cookies(left.status(200)), cleared());
        library.saw("DeleteBook").times(times);
        assert!(library.saw("DeleteBook").last().headers["authorization"].as_bytes().starts_with(b"Bearer ey"));
    }
    for cookie in ["rt=stolen", "at=junk; rt=r2", "x=y"] {
        let refused = gateway.request("DELETE", BOOK).header("cookie", cookie).await;
        assert_eq!(cookies(refused.status(401)), cleared(), "{cookie}");
    }
    // Nobody else's page does that; and other calls are renewed where that is wanted alone.
    let evil = gateway.request("DELETE", BOOK).header("cookie", "rt=r2").header("sec-fetch-site", "cross-site").await;
    evil.status(401).no_header("set-cookie");
    gateway.get(BOOK).header("cookie", "rt=r2").await.status(401).no_header("set-cookie");
    library.saw("DeleteBook").times(2);
    // A service that knows nobody of that name.
    let good = format!("at={}", token(&json!({ "jti": "good" })));
    let refused = gateway.request("DELETE", "/v1/shelves/1/books/0").header("cookie", &good).await;
    assert_eq!(cookies(refused.status(401)), cleared());
    let native = gateway.grpc("library.v1.Library/DeleteBook").send(&[json!({})]).await;
    assert!(native.code == Code::Unauthenticated && !native.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn nobody_elses_page_logs_its_visitors_in_or_out() {
    let library = library().await;
    for issued in [false, true] {
        let sessions = match issued {
            false => format!("sessions:{SESSIONS}"),
            true => format!("sessions:{SESSIONS}\n  issue: {{ claims: {{ sub: title }} }}")
                .replace("  refresh: library.v1.Library/Echo\n", ""),
        };
        let cors = "cors: { origins: [\"https://app.example\"], credentials: true }\n";
        let gateway = start(&library, &format!("{cors}{sessions}")).await;
        let before = library.saw("CreateBook").calls().len();
        let paths = ["/v1/shelves/1/books", "/library.v1.Library/CreateBook"];
        let form = |path: &str| match path {
            "/v1/shelves/1/books" => gateway.request("POST", path).header("content-type", FORM).body("name=x"),
            _ => gateway.post(path, &json!({})),
        };
        for path in paths {
            for said in
                [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example")]
            {
                let refused = form(path).header(said.0, said.1).await;
                refused.status(403).no_header("set-cookie");
                assert!(refused.text().contains("pages of other origins"), "{refused:?}");
            }
        }
        let web = gateway.request("POST", paths[1]).header("content-type", "application/grpc-web+proto");
        let web = web.header("sec-fetch-site", "cross-site").body(frame(b"").to_vec()).await;
        assert_eq!(web.status(200).headers["grpc-status"], "7");
        web.no_header("set-cookie");
        library.saw("CreateBook").times(before);
        // The own pages, those that may, and who is no browser.
        for path in paths {
            let own = form(path).header("sec-fetch-site", "same-origin").await;
            assert_eq!(cookies(own.status(200)).len(), 2);
            let trusted =
                form(path).header("sec-fetch-site", "cross-site").header("origin", "https://app.example").await;
            assert_eq!(cookies(trusted.status(200)).len(), 2);
            assert_eq!(cookies(form(path).await.status(200)).len(), 2);
        }
        let call = gateway.grpc("library.v1.Library/CreateBook").header("sec-fetch-site", "cross-site");
        assert_eq!(call.send(&[json!({})]).await.code, Code::Ok);
        // Not out either, by whatever token.
        let token = format!("Bearer {}", token(&json!({})));
        let out =
            gateway.request("DELETE", BOOK).header("authorization", &token).header("sec-fetch-site", "cross-site");
        out.await.status(403).no_header("set-cookie");
    }
}

#[tokio::test]
async fn a_page_that_is_listed_without_credentials_holds_its_tokens_itself() {
    let library = library().await;
    let cors = "cors: { origins: [\"https://app.example\"] }\n";
    let [login, refresh] = ["/library.v1.Library/CreateBook", "/library.v1.Library/Echo"];
    for issued in [false, true] {
        let sessions = match issued {
            false => format!("sessions:{SESSIONS}"),
            true => format!("sessions:{SESSIONS}\n  issue: {{ claims: {{ sub: title }} }}")
                .replace("  refresh: library.v1.Library/Echo\n", ""),
        };
        let kept = start(&library, &format!("{cors}{sessions}\n  in_body: keep")).await;
        let page = |gateway: &Running, method: &str, path: &str| {
            let call = gateway.request(method, path).header("sec-fetch-site", "cross-site");
            call.header("origin", "https://app.example")
        };
        for path in ["/v1/shelves/1/books", login] {
            let reply = page(&kept, "POST", path).json(&json!({})).await;
            reply.status(200).no_header("set-cookie").header("access-control-allow-origin", "https://app.example");
            reply.no_header("access-control-allow-credentials");
            assert!(reply.value()["title"].as_str().unwrap().split('.').count() == 3, "{reply:?}");
        }
        let web = page(&kept, "POST", login).header("content-type", "application/grpc-web+proto");
        let web = web.body(frame(b"").to_vec()).await;
        assert_eq!(web.status(200).headers.get("set-cookie"), None);
        assert!(web.body.len() > 100, "it has the tokens");
        if !issued {
            // A cookie that comes all the same is nobody's word; a token in the message is.
            let cookie = page(&kept, "POST", refresh).header("cookie", "rt=r0").json(&json!({})).await;
            cookie.status(401).no_header("set-cookie");
            let by_hand = page(&kept, "POST", refresh).json(&json!({ "name": "r0" })).await;
            by_hand.status(200).no_header("set-cookie");
            assert!(by_hand.value()["name"].as_str().unwrap().starts_with('r'));
        }
        let access = page(&kept, "POST", login).json(&json!({})).await.value()["title"].clone();
        let access = format!("Bearer {}", access.as_str().unwrap());
        page(&kept, "GET", BOOK).header("authorization", &access).await.status(200);
        page(&kept, "DELETE", BOOK).header("authorization", &access).await.status(200).no_header("set-cookie");
        // Who is not listed may not, and where tokens leave the JSON nobody would have them.
        let before = library.saw("CreateBook").calls().len();
        let other = kept.post("/v1/shelves/1/books", &json!({})).header("origin", "https://evil.example");
        other.await.status(403).reason("CROSS_ORIGIN");
        let removed = start(&library, &format!("{cors}{sessions}")).await;
        page(&removed, "POST", "/v1/shelves/1/books").json(&json!({})).await.status(403).reason("CROSS_ORIGIN");
        page(&removed, "POST", login).json(&json!({})).await.status(403).no_header("set-cookie");
        library.saw("CreateBook").times(before);
        // The gateway's own page keeps its cookies.
        let own = kept.post(login, &json!({})).header("sec-fetch-site", "same-origin").await;
        assert_eq!(cookies(own.status(200)).len(), 2);
    }
}

#[test]
fn that_listed_pages_get_no_cookies_is_a_note() {
    let notes = |cors: &str, body: &str| {
        let metrics = transom::telemetry::Metrics::new();
        let config = config(&format!("{cors}\nsessions:{SESSIONS}\n  in_body: {body}"));
        let builder = gateway().descriptors("library").config(&config);
        let builder = builder.upstream_at("library", "library.v1.Library", &["127.0.0.1:1".to_owned()], "");
        let notes = builder.compile(&metrics).unwrap_or_else(|problems| panic!("{problems:?}")).notes.clone();
        notes.into_iter().filter(|note| note.contains("credentials: true")).collect::<Vec<_>>()
    };
    let bare = "cors: { origins: [\"https://app.example\"] }";
    let [kept, removed] = ["keep", "remove"].map(|body| notes(bare, body));
    assert!(kept.len() == 1 && kept[0].starts_with("cors.origins lets pages call without cookies"), "{kept:?}");
    assert!(kept[0].contains("hold the answers' tokens themselves"), "{kept:?}");
    assert!(removed.len() == 1 && removed[0].contains("logging in is refused (403)"), "{removed:?}");
    assert!(notes("cors: { origins: [\"https://app.example\"], credentials: true }", "keep").is_empty());
    assert!(notes("", "keep").is_empty());
}

#[test]
fn sessions_that_cannot_work_are_told() {
    let problem = |sessions: &str| {
        let text = format!(
            "schema: {{ protos: [p] }}\nupstreams: {{ a: {{ services: [a.B], endpoints: [\"a:1\"] }} }}\n\
             auth: {{ jwt: {{ secret: {SECRET} }}, sources: [{{ cookie: accessToken }}] }}\nsessions: {sessions}"
        );
        transom::config::parse(&text, &|_| None).expect_err(sessions).to_string()
    };
    for (sessions, told) in [
        ("{}", "names no RPC"),
        ("{ login: a.B/C, same_site: none }", "`none` with `secure: true`"),
        ("{ login: a.B/C, partitioned: true }", "sessions.partitioned"),
        ("{ login: a.B/C, refresh_token: { cookie: accessToken } }", "is the access token's cookie too"),
        ("{ login: a.B/C, refresh_token: { field: access_token } }", "is the access token's field too"),
        ("{ login: a.B/C, refresh_token: { cookie: __Host-r, path: /x } }", "`__Host-` with `path: /`"),
        ("{ login: a.B/C, access_token: { cookie: other } }", "`auth.sources` does not read it"),
        ("{ login: a.B/C, access_token: { path: x } }", "is no path"),
    ] {
        let problem = problem(sessions);
        assert!(problem.contains(told), "{problem}");
    }
    let compile = |sessions: &str| {
        let config = format!(
            "auth: {{ jwt: {{ secret: {SECRET} }}, sources: [{{ cookie: accessToken }}] }}\nsessions: {sessions}"
        );
        let builder = gateway().descriptors("library").expose_all().config(&config);
        let builder = builder.upstream_at("library", "library.v1.Library", &["127.0.0.1:1".to_owned()], "");
        builder.compile(&transom::telemetry::Metrics::new()).err().expect(sessions)[0].to_string()
    };
    let fields = "access_token: { field: title }, refresh_token: { field: name }";
    assert!(compile("{ login: library.v1.Library/GetBook }").contains("has no field `access_token`"));
    let told = compile("{ login: library.v1.Library/CreateBok }");
    assert!(told.contains("did you mean `CreateBook`?"), "{told}");
    let told = compile(&format!("{{ login: library.v1.Library/WatchBooks, {fields} }}"));
    assert!(told.contains("streams"), "{told}");
    let told = compile("{ login: library.v1.Library/Echo, access_token: { field: authors } }");
    assert!(told.contains("is no single text"), "{told}");
}
