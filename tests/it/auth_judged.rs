//! Tokens that an RPC judges: how long its answers hold, by whatever way they say that, and after a logout.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use transom_transcode::status::Code;

use crate::support::gateway::{Builder, gateway};
use crate::support::redis::redis;
use crate::support::reply::{fail, ok};
use crate::support::speak::Speech;
use crate::support::tokens::bearer;
use crate::support::until;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

async fn library() -> Upstream {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |asked| ok(json!({ "name": asked["name"] })));
    library.unary("DeleteBook", |_| ok(json!({}))).start().await
}

/// A judge to whom a token is what it answers, as JSON in base64url.
async fn judge() -> Upstream {
    let judge = upstream::grpc("library.v1.Internals").unary("GetInternals", |request| {
        let answer = URL_SAFE_NO_PAD.decode(request["name"].as_str().unwrap_or_default()).unwrap_or_default();
        serde_json::from_slice::<Value>(&answer).map_or_else(|_| fail(Code::Unauthenticated, "unknown"), ok)
    });
    judge.start().await
}

fn of(answer: &Value) -> String {
    bearer(&URL_SAFE_NO_PAD.encode(answer.to_string()))
}

fn front(library: &Upstream, judge: &Upstream, verify: &str, more: &str) -> Builder {
    gateway().descriptors("library").upstream("library", library).upstream("judge", judge).config(&format!(
        "{more}\nauth:\n  verify: {{ rpc: library.v1.Internals/GetInternals, field: name, cache: 1s{verify} }}\n  \
         user: title\n  logout: library.v1.Library/DeleteBook"
    ))
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs()
}

#[tokio::test]
async fn a_token_expires_when_its_judge_says_so_in_whichever_type() {
    let (library, judge) = (library().await, judge().await);
    let written = |at: u64| jiff::Timestamp::from_second(i64::try_from(at).unwrap()).unwrap().to_string();
    let (late, soon) = (now() - 60, now() + 60);
    // An int64, which JSON has as a text; a google.protobuf.Timestamp; a double; a string.
    for (field, late, soon) in [
        ("pages", json!(late.to_string()), json!(soon.to_string())),
        ("published", json!(written(late)), json!(written(soon))),
        ("rating", json!(late), json!(soon)),
        ("title", json!(late.to_string()), json!(soon.to_string())),
    ] {
        let gateway = front(&library, &judge, &format!(", by_status: true, expires: {field}"), "").start().await;
        let get =
            async |expires: &Value| gateway.get(BOOK).header("authorization", &of(&json!({ field: expires }))).await;
        get(&soon).await.status(200);
        get(&late).await.status(401).reason("TOKEN_EXPIRED");
        // Nothing is said: the answer holds as long as it is kept.
        gateway.get(BOOK).header("authorization", &of(&json!({ "name": field }))).await.status(200);
    }
    let gateway = front(&library, &judge, ", expires: title", "").start().await;
    let unreadable = gateway.get(BOOK).header("authorization", &of(&json!({ "title": "soon" }))).await;
    unreadable.status(401).reason("TOKEN_INVALID");

    let metrics = transom::telemetry::Metrics::new();
    for (verify, problem) in [
        (", expires: expire_time", "library.v1.Book has no field `expire_time`"),
        (", valid: ok", "library.v1.Book has no field `ok`"),
    ] {
        let problems = front(&library, &judge, verify, "").compile(&metrics).err().expect("problems");
        assert!(problems[0].to_string().contains(problem), "{}", problems[0]);
    }
    let nameless = "auth: { verify: { rpc: library.v1.Internals/GetInternals, field: name } }";
    let nameless = crate::support::gateway::gateway().descriptors("library").upstream("judge", &judge).config(nameless);
    let problems = nameless.compile(&metrics).err().expect("problems");
    assert!(problems[0].to_string().contains("has no field `valid`, nor `sub` that names the user"), "{}", problems[0]);
}

#[tokio::test]
async fn a_logout_holds_for_as_long_as_the_token() {
    let (library, judge, redis) = (library().await, judge().await, redis().await);
    let shared = format!("redis: {{ url: \"{}\" }}", redis.url());
    let gateway = front(&library, &judge, ", expires: pages", &shared).start().await;
    let of = |expires: u64| of(&json!({ "title": "u", "pages": expires.to_string() }));
    let last = async || match redis.ask(&["ZRANGE", "transom:{revoked}", "-1", "-1", "WITHSCORES"]).await {
        redis::Value::Array(last) => format!("{last:?}"),
        other => panic!("{other:?}"),
    };
    let marks = async |count: i64| {
        let count = redis::Value::Int(count);
        until("it is told", async || redis.ask(&["ZCARD", "transom:{revoked}"]).await == count).await;
    };
    let log_out = async |token: &str| {
        gateway.get(BOOK).header("authorization", token).await.status(200);
        gateway.request("DELETE", BOOK).header("authorization", token).await.status(200);
        gateway.get(BOOK).header("authorization", token).await.status(401).reason("TOKEN_INVALID");
    };
    // Not for as long as the judge's answer is kept.
    let expires = now() + 3600;
    log_out(&of(expires)).await;
    marks(1).await;
    assert!(last().await.contains(&(expires + 1).to_string()), "{}", last().await);
    // For as long as is configured where the judge does not say.
    let (before, month) = (now(), 30 * 24 * 3600);
    log_out(&of(0)).await;
    marks(2).await;
    let told = last().await;
    assert!((before..=now()).any(|at| told.contains(&(at + month + 1).to_string())), "{told}");
}

/// An endpoint to whom a token is the status of its answer, with what it has heard: method, token and body.
async fn endpoint() -> (String, Arc<Mutex<Vec<[String; 3]>>>) {
    let heard = Arc::<Mutex<Vec<_>>>::default();
    let hears = heard.clone();
    let answer = move |method: Method, headers: HeaderMap, body: String| {
        let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
        let (status, said) = token.split_once('-').unwrap_or((&token, "{}"));
        let status = StatusCode::from_u16(status.parse().unwrap()).unwrap();
        let said = match said {
            "ada" => r#"{"sub":"ada"}"#.to_owned(),
            "nothing" => String::new(),
            "list" => "[1]".to_owned(),
            said => said.to_owned(),
        };
        hears.lock().push([method.to_string(), token, body]);
        async move { (status, [("location", "/elsewhere")], said) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().route("/verify", axum::routing::any(answer));
    // Whoever followed a redirect would pass.
    let router = router.route("/elsewhere", axum::routing::any(|| async { r#"{"sub":"eve"}"# }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/verify"), heard)
}

#[tokio::test]
async fn an_endpoint_judges_by_its_status_and_by_what_it_says() {
    let library = library().await;
    let (url, heard) = endpoint().await;
    for (method, field) in [("GET", ""), ("POST", ", method: POST, field: jeton")] {
        let auth = format!("auth: {{ verify: {{ url: \"{url}\"{field} }}, inject: {{ sub: x-user-id }} }}");
        let gateway = gateway().descriptors("library").upstream("library", &library).config(&auth).start().await;
        let ask = async |token: &str| gateway.get(BOOK).header("authorization", &bearer(token)).await;
        ask("200-ada").await.status(200);
        library.saw("GetBook").header("x-user-id", "ada");
        let body = if method == "POST" { r#"{"jeton":"200-ada"}"# } else { "" };
        assert_eq!(heard.lock().pop().unwrap(), [method, "200-ada", body]);
        ask("200-ada").await.status(200);
        assert!(heard.lock().is_empty(), "it is asked once");
        ask(r#"200-{"active":true}"#).await.status(200);
        for silent in ["200", "200-nothing", "204-nothing", r#"200-{"active":false,"sub":"ada"}"#] {
            ask(silent).await.status(401).reason("TOKEN_INVALID");
        }
        for bad in ["400", "401", "403", "404", "498"] {
            ask(bad).await.status(401).reason("TOKEN_INVALID");
        }
        // What it does not say it does not say: nobody passes.
        for unsaid in ["200-list", "302", "307", "408", "429", "500", "503"] {
            ask(unsaid).await.status(503);
        }
        let lines = gateway.logged(19).await;
        let names =
            |key: &str| lines.iter().any(|line| line["cause"].as_str().is_some_and(|cause| cause.contains(key)));
        assert!(names("`auth.verify.valid`") && names("`by_status`"), "the way out of `200 {{}}`: {lines:#?}");
        heard.lock().clear();
    }
    let auth = format!("auth: {{ verify: {{ url: \"{url}\", by_status: true }} }}");
    let gateway = gateway().descriptors("library").upstream("library", &library).config(&auth).start().await;
    for good in ["200", "200-nothing", "204-nothing"] {
        gateway.get(BOOK).header("authorization", &bearer(good)).await.status(200);
    }
    let inactive = bearer(r#"200-{"active":false}"#);
    gateway.get(BOOK).header("authorization", &inactive).await.status(401).reason("TOKEN_INVALID");
}

#[tokio::test]
async fn a_call_waits_for_the_judge_no_longer_than_it_may_take() {
    let library = library().await;
    let judged = Arc::new(Mutex::new(0));
    let count = judged.clone();
    let judge = upstream::grpc("library.v1.Internals").unary("GetInternals", move |_| {
        *count.lock() += 1;
        ok(json!({ "title": "u1" })).after(Duration::from_secs(1))
    });
    let judge = judge.start().await;
    let more = "methods: { library.v1.Library/GetBook: { timeout: 200ms } }";
    let gateway = front(&library, &judge, ", by_status: true", more).start().await;
    let begun = Instant::now();
    for speech in Speech::UNARY {
        let call = speech.call(speech.versions()[0], "GetBook");
        let call = call.header("authorization", &bearer(&format!("{speech:?}")));
        let reply = call.send(&gateway, &[json!({ "name": "shelves/1/books/7" })]).await;
        assert_eq!(reply.code, Some(Code::DeadlineExceeded), "{speech:?}: {reply:?}");
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(700) * u32::try_from(Speech::UNARY.len()).unwrap(), "{took:?}");
    // The judge goes on, and is asked once: its answer is there for the next.
    let again = async || gateway.get(BOOK).header("authorization", &bearer("again")).await.status;
    assert_eq!(again().await, 504);
    let before = *judged.lock();
    until("the judge's word", async || again().await == 200).await;
    assert_eq!(*judged.lock(), before);
}
