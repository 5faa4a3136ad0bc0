//! CORS as browsers see it: preflights, and what of an answer a page may read.

use serde_json::json;

use crate::support::client::Call;
use crate::support::gateway::{Builder, Running, gateway};
use crate::support::library::library;
use crate::support::reply::ok;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";
const APP: &str = "https://app.example.com";
const CORS: &str = "
cors:
  origins: [\"https://app.example.com\", \"https://*.preview.example.com\", \"capacitor://localhost\"]
  headers: [x-tenant]
  expose: [x-shelf]
  max_age: 2m
";

fn with(library: &Upstream, config: &str) -> Builder {
    gateway().descriptors("library").expose_all().upstream("library", library).config(config)
}

fn preflight(gateway: &Running, method: &str, path: &str, origin: &str) -> Call {
    gateway.request("OPTIONS", path).header("origin", origin).header("access-control-request-method", method)
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_route_before_anything_is_asked_or_counted() {
    let library = library().await;
    let gateway =
        with(&library, &format!("{CORS}rate_limits: {{ public: {{ by: client, rate: 1/h }} }}")).start().await;
    for _ in 0..5 {
        let answer = preflight(&gateway, "GET", BOOK, APP).header("access-control-request-headers", "x-tenant").await;
        answer.status(204).header("access-control-allow-origin", APP).header("access-control-max-age", "120");
        answer.header("access-control-allow-methods", "GET,HEAD,POST,PUT,PATCH,DELETE");
        answer.header("vary", "origin").no_header("access-control-allow-credentials").no_header("ratelimit");
        answer.no_header("access-control-expose-headers").no_header("content-type");
        let headers = answer.headers["access-control-allow-headers"].to_str().unwrap();
        for name in ["x-tenant", "authorization", "content-type", "connect-protocol-version", "x-grpc-web"] {
            assert!(headers.split(',').any(|allowed| allowed == name), "{name} is not in {headers}");
        }
    }
    library.saw("GetBook").times(0);
    // A page of an application has a scheme of its own.
    for origin in ["https://a.b.preview.example.com", "capacitor://localhost"] {
        let answer = preflight(&gateway, "GET", BOOK, origin).await;
        answer.status(204).header("access-control-allow-origin", origin);
    }
    // Its browser refuses: nothing says that it may.
    for origin in ["https://evil.example.org", "http://app.example.com", "https://preview.example.com", "null"] {
        let answer = preflight(&gateway, "GET", BOOK, origin).await;
        answer.status(204).header("vary", "origin").no_header("access-control-allow-origin");
        answer.no_header("access-control-allow-methods");
    }
    // The call itself: let in once, and a page can read that it was refused.
    gateway.get(BOOK).header("origin", APP).await.status(200).header("access-control-allow-origin", APP);
    let refused = gateway.get(BOOK).header("origin", APP).await;
    refused.status(429).header("access-control-allow-origin", APP);
    assert!(refused.headers["access-control-expose-headers"].to_str().unwrap().contains("retry-after"));
}

#[tokio::test]
async fn what_is_not_there_says_so_to_the_call_and_not_to_its_preflight() {
    let library = library().await;
    let gateway = with(&library, CORS).start().await;
    // A browser shows its page nothing of a preflight that fails, and of the call itself everything.
    for (method, path, status) in [
        ("GET", "/v1/nowhere", 404),
        ("PUT", BOOK, 405),
        // It may change something: Connect has no GET for it.
        ("GET", "/library.v1.Library/Echo", 405),
    ] {
        preflight(&gateway, method, path, APP).await.status(204).header("access-control-allow-origin", APP);
        let evil = preflight(&gateway, method, path, "https://evil.example.org").await;
        evil.no_header("access-control-allow-origin");
        let call = gateway.request(method, path).header("origin", APP).await;
        call.status(status).header("access-control-allow-origin", APP);
        if status == 405 {
            assert!(call.headers.contains_key("allow"), "{path}");
        }
    }
    let rpc = "/library.v1.Library/GetBook";
    preflight(&gateway, "POST", rpc, APP).await.status(204).header("access-control-allow-origin", APP);
    preflight(&gateway, "GET", rpc, APP).await.status(204);
    preflight(&gateway, "GET", "/health", APP).await.status(204).header("access-control-allow-origin", APP);
    // A method that no page may call by is not among those that may.
    let unlisted = preflight(&gateway, "PURGE", BOOK, APP).await;
    unlisted.status(204).header("access-control-allow-methods", "GET,HEAD,POST,PUT,PATCH,DELETE");
    // OPTIONS that is no preflight is a method like any other.
    gateway.request("OPTIONS", BOOK).header("origin", APP).await.status(405);
    gateway.request("OPTIONS", BOOK).header("access-control-request-method", "GET").await.status(405);
}

#[tokio::test]
async fn a_page_can_read_each_refusal() {
    let library = library().await;
    let config = format!(
        "{CORS}auth: {{ jwt: {{ secret: \"a secret that is long enough, by far\" }} }}\n\
         clients: {{ headers: 20 }}\n\
         rate_limits: {{ once: {{ by: client, rate: 1/h }}, public: {{ by: client, rate: 1000/h }} }}\n\
         methods:\n  library.v1.Library/Echo: {{ auth: public, limits: {{ body: 1KiB }} }}\n  \
         library.v1.Library/ListBooks: {{ auth: public, rate_limits: [once] }}\n"
    );
    let gateway = with(&library, &config).start().await;
    let json = |body: String| gateway.request("POST", "/v1/echo").header("content-type", "application/json").body(body);
    let many = (0..20).fold(gateway.get(BOOK), |call, number| call.header(&format!("x-{number}"), "x"));
    gateway.get("/v1/shelves/1/books").await;
    for (what, status, call) in [
        ("no token", 401, gateway.get(BOOK)),
        ("a bad token", 401, gateway.get(BOOK).header("authorization", "Bearer a.b.c")),
        ("a limit", 429, gateway.get("/v1/shelves/1/books")),
        ("no JSON", 400, json("{".to_owned())),
        ("too long", 413, json(format!("\"{}\"", "x".repeat(2000)))),
        ("another type", 415, gateway.request("POST", "/v1/echo").header("content-type", "text/csv").body("a,b")),
        ("many headers", 431, many),
        ("nowhere", 404, gateway.get("/v1/nowhere")),
        ("no such method", 405, gateway.request("PUT", BOOK)),
    ] {
        let answer = call.header("origin", APP).await;
        assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text());
        answer.header("access-control-allow-origin", APP);
        assert!(answer.headers["access-control-expose-headers"].to_str().unwrap().contains("retry-after"), "{what}");
    }
}

#[tokio::test]
async fn every_answer_can_be_read_errors_too() {
    let library = library().await;
    let gateway = with(&library, CORS).start().await;
    for (path, status) in [(BOOK, 200), ("/v1/shelves/1/books/fail", 404), ("/v1/nowhere", 404), ("/health", 200)] {
        let answer = gateway.get(path).header("origin", APP).await;
        answer.status(status).header("access-control-allow-origin", APP);
        assert!(answer.headers["access-control-expose-headers"].to_str().unwrap().ends_with(",x-shelf"));
    }
    gateway.request("PUT", BOOK).header("origin", APP).await.status(405).header("access-control-allow-origin", APP);
    // Nobody else's, and no browser's: what caches keep says that it depends.
    for origin in [Some("https://evil.example.org"), None] {
        let call = gateway.get(BOOK);
        let call = origin.into_iter().fold(call, |call, origin| call.header("origin", origin));
        let answer = call.await;
        answer.status(200).header("vary", "origin").no_header("access-control-allow-origin");
        answer.no_header("access-control-expose-headers");
    }
}

#[tokio::test]
async fn pages_that_speak_grpc_web_and_connect_read_their_status() {
    let library = library().await;
    let gateway = with(&library, CORS).start().await;
    for (content_type, body) in [
        ("application/grpc-web+proto", &b"\0\0\0\0\0"[..]),
        ("application/grpc-web-text", b"AAAAAAA="),
        ("application/proto", b""),
        ("application/json", br#"{"name": "shelves/1/books/fail"}"#),
    ] {
        let call = gateway.request("POST", "/library.v1.Library/GetBook").header("origin", APP);
        let answer = call.header("content-type", content_type).body(body).await;
        answer.header("access-control-allow-origin", APP);
        let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap();
        for name in ["grpc-status", "grpc-message", "grpc-status-details-bin", "connect-content-encoding"] {
            assert!(exposed.split(',').any(|header| header == name), "{name} is not in {exposed}");
        }
    }
    let missing = gateway.request("POST", "/library.v1.Library/Nothing").header("origin", APP);
    let missing = missing.header("content-type", "application/grpc-web").await;
    missing.status(200).header("grpc-status", "12").header("access-control-allow-origin", APP);
}

#[tokio::test]
async fn what_an_upstream_says_of_it_is_replaced() {
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", |_| {
            ok(json!({}))
                .header("access-control-allow-origin", "*")
                .header("access-control-allow-credentials", "true")
                .header("vary", "accept-language")
        })
        .start()
        .await;
    let config =
        format!("{CORS}headers: {{ response: [access-control-allow-origin, access-control-allow-credentials] }}");
    let gateway = with(&library, &config).start().await;
    let answer = gateway.get(BOOK).header("origin", APP).await;
    answer.header("access-control-allow-origin", APP).no_header("access-control-allow-credentials");
    let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["accept-language", "origin"]);
    let other = gateway.get(BOOK).header("origin", "https://evil.example.org").await;
    other.status(200).no_header("access-control-allow-origin").no_header("access-control-allow-credentials");
    let grpc = gateway.grpc("library.v1.Library/GetBook").header("origin", APP).send(&[json!({})]).await;
    let allowed: Vec<_> = grpc.headers.get_all("access-control-allow-origin").iter().collect();
    assert_eq!(allowed, [APP]);
}

#[tokio::test]
async fn methods_say_otherwise() {
    let library = library().await;
    let config = "
cors: { origins: \"*\" }
methods:
  library.v1.Library/*: { cors: { origins: [\"https://app.example.com\"], headers: [\"*\"], credentials: true } }
  library.v1.Library/Echo: { cors: { origins: [] } }
";
    let gateway = with(&library, config).start().await;
    let answer = gateway.get(BOOK).header("origin", APP).await;
    answer.header("access-control-allow-origin", APP).header("access-control-allow-credentials", "true");
    let any = gateway.get("/v1/nowhere").header("origin", "https://any.example.org").await;
    any.header("access-control-allow-origin", "*").no_header("access-control-allow-credentials").no_header("vary");
    let echo = gateway.post("/v1/echo", &json!({})).header("origin", APP).await;
    echo.status(200).no_header("access-control-allow-origin");
    let names = preflight(&gateway, "GET", BOOK, APP).header("access-control-request-headers", "x-a");
    let names = names.header("access-control-request-headers", "x-b, x-c").await;
    names.status(204).header("access-control-allow-headers", "x-a, x-b, x-c");
    preflight(&gateway, "POST", "/v1/echo", APP).await.status(204).no_header("access-control-allow-origin");
}

#[tokio::test]
async fn nothing_is_said_unless_it_is_configured() {
    let library = library().await;
    let gateway = with(&library, "").start().await;
    preflight(&gateway, "GET", BOOK, APP).await.status(405).no_header("access-control-allow-origin");
    gateway
        .get(BOOK)
        .header("origin", APP)
        .await
        .status(200)
        .no_header("vary")
        .no_header("access-control-allow-origin");
}

#[test]
fn that_a_star_shuts_out_pages_with_cookies_is_a_note() {
    let notes = |top: &str, method: &str| {
        let config = format!("cors: {top}\nmethods: {{ library.v1.Library/GetBook: {{ cors: {method} }} }}");
        let builder = gateway().descriptors("library").config(&config);
        let builder = builder.upstream_at("library", "library.v1.Library", &["127.0.0.1:1".to_owned()], "");
        let notes = builder.compile(&transom::telemetry::Metrics::new()).expect("no problem").notes.clone();
        notes.into_iter().filter(|note| note.contains("cors")).collect::<Vec<_>>()
    };
    let (pages, star) =
        ("{ origins: [\"https://a.example\"], credentials: true }", "{ origins: \"*\", credentials: false }");
    let told = notes(pages, star);
    assert!(told.len() == 1 && told[0].starts_with("methods[\"library.v1.Library/GetBook\"].cors.origins"), "{told:?}");
    assert!(told[0].contains("pages of `cors.origins` that send cookies"), "{told:?}");
    assert!(notes(pages, "{ max_age: 1h }").is_empty());
    assert!(notes(pages, "{ origins: [\"https://b.example\"] }").is_empty());
    assert!(notes("{ origins: [\"https://a.example\"] }", star).is_empty());
}

#[test]
fn what_browsers_would_not_honour_is_refused() {
    let problem = |config: &str| {
        let text = format!(
            "schema: {{ protos: [p] }}\nupstreams: {{ a: {{ services: [a.B], endpoints: [\"a:1\"] }} }}\n{config}"
        );
        transom::config::parse(&text, &|_| None).expect_err(config).to_string()
    };
    for (config, told) in [
        ("cors: { origins: \"*\", credentials: true }", "cors.origins"),
        ("cors: { origins: [\"https://a.b\"], expose: \"*\", credentials: true }", "cors.expose"),
        ("cors: { origins: \"*\" }\nmethods: { a.B/C: { cors: { credentials: true } } }", "cors.origins"),
        (
            "cors: { credentials: true }\nmethods: { a.B/*: { cors: { origins: \"*\" } } }",
            "methods[\"a.B/*\"].cors.origins",
        ),
        ("cors: { origins: app.example.com }", "is no origin"),
        ("cors: { origins: \"https://app.example.com/\" }", "is no origin"),
        ("cors: { origins: \"https://app.*.com\" }", "is no origin"),
        ("cors: { origins: \"capacitor://*.app\" }", "is no origin"),
        ("cors: { origins: \"1app://localhost\" }", "is no origin"),
        ("cors: { origins: \"https://app.example.com:443\" }", "leave it out"),
        ("cors: { origins: \"null\" }", "sandboxed"),
        ("cors: { methods: [get] }", "capitals"),
    ] {
        let problems = problem(config);
        assert!(problems.contains(told), "{config}: {problems}");
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }
}
