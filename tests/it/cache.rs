//! The cache: one question for many answers, in every dialect; whose reply is whose; what makes it forget.

mod forgotten;
mod unkeyed;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use transom_transcode::status::Code;

use crate::support::client::Call;
use crate::support::gateway::{Builder, Running, gateway};
use crate::support::reply::{Reply, fail, hang, ok, raw};
use crate::support::speak::Speech;
use crate::support::tokens::{SECRET, bearer, token};
use crate::support::until;
use crate::support::upstream::{self, Upstream};

pub(crate) const BOOK: &str = "/v1/shelves/1/books/7";

/// A library whose books say how often it was asked for them.
pub(crate) async fn counting() -> Upstream {
    let asked = Mutex::new(HashMap::<String, usize>::new());
    answering(move |request| {
        let mut asked = asked.lock();
        let time = asked.entry(request["name"].to_string()).or_default();
        *time += 1;
        ok(json!({ "name": request["name"], "pages": time.to_string() })).header("x-shelf", "7").trailer("x-cost", "3")
    })
    .await
}

pub(crate) async fn answering(answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Upstream {
    upstream::grpc("library.v1.Library")
        .unary("GetBook", answer)
        .unary("Echo", |book| match book["title"].as_str() {
            Some("wrong") => fail(Code::InvalidArgument, "no"),
            Some("gone") => fail(Code::NotFound, "there is none"),
            Some("there") => fail(Code::AlreadyExists, "there is one"),
            _ => ok(book.clone()),
        })
        .unary("UpdateBook", |request| ok(request["book"].clone()))
        .unary("DeleteBook", |_| ok(json!({})))
        .bidi("Discuss", |remark| vec![remark.clone()])
        .start()
        .await
}

pub(crate) fn cached(library: &Upstream, cache: &str) -> Builder {
    gateway_of(library, &format!("methods: {{ library.v1.Library/GetBook: {{ cache: {cache} }} }}"))
}

fn gateway_of(library: &Upstream, config: &str) -> Builder {
    gateway().descriptors("library").expose_all().upstream("library", library).config(config)
}

pub(crate) async fn pages(gateway: &Running, header: (&str, &str)) -> String {
    let answer = gateway.get(BOOK).header(header.0, header.1).await;
    answer.status(200).value()["pages"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn one_reply_is_given_in_every_dialect() {
    let library = counting().await;
    let gateway = cached(&library, "{ ttl: 1h, public: true }").start().await;
    let message = json!({ "name": "shelves/1/books/7" });
    let mut calls = 0;
    for _ in 0..2 {
        for speech in Speech::UNARY {
            for version in speech.versions() {
                let outcome = speech.call(*version, "GetBook").send(&gateway, std::slice::from_ref(&message)).await;
                outcome.ok(&[json!({ "name": "shelves/1/books/7", "pages": "1" })]);
                calls += 1;
            }
        }
    }
    library.saw("GetBook").times(1);
    let of = |outcome| format!("transom_cache_calls_total{{rpc=\"library.v1.Library/GetBook\",outcome=\"{outcome}\"}}");
    assert_eq!((gateway.metric(&of("miss")), gateway.metric(&of("hit"))), (1.0, f64::from(calls - 1)));
    // Another message is another reply.
    gateway.get("/v1/shelves/1/books/8").await.status(200);
    library.saw("GetBook").times(2);
}

#[tokio::test]
async fn answers_say_how_old_they_are_and_clients_need_not_fetch_twice() {
    let library = counting().await;
    let gateway = cached(&library, "{ ttl: 1h, stale_while_revalidate: 1m, public: true }").start().await;
    let first = gateway.get(BOOK).await;
    first.status(200).header("cache-control", "public, max-age=3600, stale-while-revalidate=60");
    first.header("vary", "accept-language").header("age", "0").header("x-shelf", "7").header("x-cost", "3");
    let etag = first.headers["etag"].to_str().unwrap().to_owned();
    for known in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
        let again = gateway.get(BOOK).header("if-none-match", &known).await;
        again.status(304).header("etag", &etag).header("age", "0").no_header("content-type");
        assert!(again.body.is_empty());
        assert_eq!(again.headers.get_all("vary").iter().count(), 1);
    }
    gateway.get(BOOK).header("if-none-match", "\"other\"").await.status(200).header("etag", &etag);
    let head = gateway.request("HEAD", BOOK).await;
    head.status(200).header("etag", &etag).header("content-length", &first.body.len().to_string());
    let connect = gateway.get("/library.v1.Library/GetBook?connect=v1&encoding=proto&message=").await;
    connect.status(200).header("cache-control", "public, max-age=3600, stale-while-revalidate=60");
    assert_ne!(connect.headers["etag"], first.headers["etag"]);
    library.saw("GetBook").times(2);
    // Enums as numbers are other bytes of the same reply.
    gateway.get(&format!("{BOOK}?$alt=json;enum-encoding=int")).await.status(200);
    library.saw("GetBook").times(2);
}

#[tokio::test]
async fn what_is_everybody_s_behind_a_token_is_no_stranger_s_in_front() {
    let library = counting().await;
    let front = |access: &str| {
        gateway_of(
            &library,
            &format!(
                "auth: {{ jwt: {{ secret: {SECRET} }}, sources: [bearer, {{ cookie: at }}] }}\n\
                 methods: {{ library.v1.Library/GetBook: {{ auth: {access}, cache: {{ ttl: 1h, public: true }} }} }}"
            ),
        )
    };
    let asks = front("required").start().await;
    let get = |user: &str| asks.get(BOOK).header("authorization", &bearer(&token(&json!({ "sub": user }))));
    for user in ["ada", "bob"] {
        let answer = get(user).await;
        answer.status(200).header("cache-control", "private, max-age=3600");
        answer.header("vary", "authorization, accept-language, cookie");
    }
    library.saw("GetBook").times(1);
    asks.get(BOOK).await.status(401);
    let open = front("public").start().await;
    let answer = open.get(BOOK).await;
    answer.status(200).header("cache-control", "public, max-age=3600").header("vary", "accept-language");
}

#[tokio::test]
async fn a_compressed_answer_is_kept_compressed() {
    let library = answering(|_| ok(json!({ "title": "x".repeat(10_000) }))).await;
    let gateway = cached(&library, "1h").start().await;
    let mut etags = Vec::new();
    for _ in 0..2 {
        for coding in ["gzip", "br", "identity"] {
            let answer = gateway.get(BOOK).header("accept-encoding", coding).await;
            answer.status(200).header("cache-control", "private, max-age=3600");
            assert_eq!(answer.headers.get("content-encoding").is_some(), coding != "identity");
            let vary: Vec<_> = answer.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
            assert!(vary.contains(&"accept-encoding"), "{vary:?}");
            etags.push(answer.headers["etag"].clone());
        }
    }
    assert_eq!(etags[..3], etags[3..]);
    assert!(etags[0] != etags[1] && etags[1] != etags[2]);
    library.saw("GetBook").times(1);
}

#[tokio::test]
async fn each_way_to_one_reply_has_its_own_answer() {
    let library = answering(|_| ok(json!({ "genre": "NOVEL", "authors": ["Herbert"] }))).await;
    let config = "
schema:
  descriptor_sets: [in-memory]
  http_rules:
    - selector: library.v1.Library.GetBook
      get: /v1/{name=shelves/*/books/*}
      additional_bindings: [{ get: \"/authors/{name=shelves/*/books/*}\", response_body: authors }]
methods: { library.v1.Library/GetBook: { cache: 1h } }";
    let gateway = gateway().descriptors("library").upstream("library", &library).config(config).start().await;
    let whole = |genre: Value| json!({ "genre": genre, "authors": ["Herbert"] });
    for _ in 0..2 {
        gateway.get(BOOK).await.status(200).json(&whole(json!("NOVEL")));
        gateway.get(&format!("{BOOK}?$alt=json;enum-encoding=int")).await.status(200).json(&whole(json!(1)));
        gateway.get("/authors/shelves/1/books/7").await.status(200).json(&json!(["Herbert"]));
    }
    library.saw("GetBook").times(1);
}

#[tokio::test]
async fn a_reply_is_never_another_users() {
    let library = counting().await;
    let config = "
headers: { request: [x-tenant] }
methods: { library.v1.Library/GetBook: { cache: 1h } }";
    let private = gateway_of(&library, config).start().await;
    let mut seen = Vec::new();
    for header in [("a", "b"), ("authorization", "Bearer a"), ("authorization", "Bearer b"), ("x-tenant", "t")] {
        let first = pages(&private, header).await;
        assert_eq!(pages(&private, header).await, first);
        seen.push(first);
    }
    assert_eq!(seen, ["1", "2", "3", "4"]);
    // In gRPC all metadata reaches the service, so all of it counts; that of the connection does not.
    let grpc = async |name: &str, value: &str| {
        let call = private.grpc("library.v1.Library/GetBook").header(name, value);
        call.send(&[json!({ "name": "shelves/1/books/7" })]).await.messages[0]["pages"].clone()
    };
    assert_eq!((grpc("authorization", "Bearer a").await, grpc("x-own", "1").await), (json!("2"), json!("5")));
    assert_eq!((grpc("x-own", "2").await, grpc("user-agent", "other").await), (json!("6"), json!("1")));
    let library = counting().await;
    let public = cached(&library, "{ ttl: 1h, public: true }").start().await;
    for header in [("a", "b"), ("authorization", "Bearer a"), ("authorization", "Bearer b")] {
        assert_eq!(pages(&public, header).await, "1");
    }
    assert_eq!(pages(&public, ("accept-language", "fr")).await, "2");
}

#[tokio::test]
async fn callers_of_one_token_have_their_own() {
    let secret = "a secret that is long enough for HS256, at least";
    let library = counting().await;
    let config = format!(
        "auth: {{ jwt: {{ secret: \"{secret}\", algorithms: [HS256] }}, inject: {{ sub: x-user-id }} }}
methods: {{ library.v1.Library/GetBook: {{ cache: 1h }} }}"
    );
    let gateway = gateway_of(&library, &config).start().await;
    let token = |sub: &str| {
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        let claims = json!({ "sub": sub, "exp": 4_000_000_000_u64 });
        format!("Bearer {}", jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap())
    };
    let (ada, bob) = (token("ada"), token("bob"));
    for (token, expected) in [(&ada, "1"), (&bob, "2"), (&ada, "1"), (&bob, "2")] {
        assert_eq!(pages(&gateway, ("authorization", token)).await, expected);
    }
    // What is kept is for those who may call.
    gateway.get(BOOK).await.status(401).no_header("etag");
    gateway.get(BOOK).header("authorization", "Bearer x").await.status(401);
    gateway.get(BOOK).header("authorization", &ada).await.header("vary", "authorization, accept-language");
    // A browser's own cache tells two apart who come one after the other by all that its keys have here: by a cookie too.
    let config = config.replace("inject", "sources: [bearer, { cookie: at }], inject");
    let browser = gateway_of(&library, &format!("headers: {{ request: [x-tenant] }}\n{config}")).start().await;
    let answer = browser.get(BOOK).header("cookie", &ada.replace("Bearer ", "at=")).await;
    answer.status(200).header("cache-control", "private, max-age=3600");
    answer.header("vary", "authorization, accept-language, x-tenant, cookie");
}

#[tokio::test]
async fn many_who_want_the_same_ask_once_and_nobody_who_leaves_stops_it() {
    let notify = Arc::new(Notify::new());
    let told = notify.clone();
    let library = answering(move |_| ok(json!({ "title": "Dune" })).when(&told)).await;
    let gateway = cached(&library, "1h").config("workers: 2").start().await;
    let address = gateway.address();
    let leaves = tokio::spawn(async move { Call::new(address, "GET", BOOK).await });
    until("the first question", async || library.saw("GetBook").calls().len() == 1).await;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        calls.spawn(async move { Call::new(address, "GET", BOOK).await.status(200).value() });
    }
    until("everyone waits", async || gateway.metric("transom_in_flight") >= 21.0).await;
    leaves.abort();
    until("one has left", async || gateway.metric("transom_in_flight") <= 20.0).await;
    notify.notify_one();
    for answer in calls.join_all().await {
        assert_eq!(answer, json!({ "title": "Dune" }));
    }
    library.saw("GetBook").times(1);
}

#[tokio::test]
async fn errors_and_what_services_keep_to_one_are_not_kept() {
    let asked = AtomicUsize::new(0);
    let library = answering(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => fail(Code::NotFound, "no such book").trailer("x-hint", "elsewhere"),
        1 => ok(json!({})).header("set-cookie", "a=b"),
        2 => ok(json!({})).header("cache-control", "no-store"),
        _ => ok(json!({})).header("cache-control", "max-age=5").header("etag", "\"theirs\""),
    })
    .await;
    let gateway = cached(&library, "{ ttl: 1h, public: true }").start().await;
    gateway.get(BOOK).await.status(404).header("x-hint", "elsewhere").no_header("etag");
    for _ in 0..2 {
        gateway.get(BOOK).await.status(200).no_header("etag").no_header("age");
    }
    for _ in 0..2 {
        let kept = gateway.get(BOOK).await;
        kept.status(200).header("cache-control", "public, max-age=3600");
        assert_ne!(kept.headers["etag"], "\"theirs\"");
    }
    library.saw("GetBook").times(4);
}

#[tokio::test]
async fn an_old_reply_is_given_while_another_is_fetched() {
    let library = counting().await;
    let gateway = cached(&library, "{ ttl: 1ms, stale_while_revalidate: 1h, public: true }").start().await;
    assert_eq!(pages(&gateway, ("a", "b")).await, "1");
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(pages(&gateway, ("a", "b")).await, "1");
    until("the next reply", async || library.saw("GetBook").calls().len() >= 2).await;
    until("it is given", async || pages(&gateway, ("a", "b")).await != "1").await;

    let library = counting().await;
    let short = cached(&library, "{ ttl: 1ms, public: true }").start().await;
    assert_eq!(pages(&short, ("a", "b")).await, "1");
    until("it is too old", async || pages(&short, ("a", "b")).await != "1").await;
}

#[tokio::test]
async fn the_last_reply_stands_in_for_a_service_that_cannot_be_asked() {
    let asked = AtomicUsize::new(0);
    let library = answering(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => ok(json!({ "pages": "1" })),
        1 => fail(Code::Unavailable, "not now"),
        _ => fail(Code::NotFound, "sold"),
    })
    .await;
    let config = "methods: { library.v1.Library/GetBook: {
        cache: { ttl: 1ms, stale_if_error: 1h, public: true, invalidated_by: [library.v1.Library/Echo] },
        fallback: { status: 200, json: '{\"pages\":\"5\"}' } } }";
    let start = async || {
        let gateway = gateway().descriptors("library").expose_all().upstream("library", &library).config(config);
        gateway.start().await
    };
    let (gateway, empty) = (start().await, start().await);
    let ask = async || pages(&gateway, ("a", "b")).await;
    assert_eq!(ask().await, "1");
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(ask().await, "1", "in place of UNAVAILABLE");
    library.saw("GetBook").times(2);
    gateway.get(BOOK).await.status(404);
    library.stop().await;
    let message = json!({ "name": "shelves/1/books/7" });
    for speech in Speech::UNARY {
        speech.call(2, "GetBook").send(&gateway, std::slice::from_ref(&message)).await.ok(&[json!({ "pages": "1" })]);
    }
    let lasts = "transom_cache_calls_total{rpc=\"library.v1.Library/GetBook\",outcome=\"last\"}";
    assert_eq!(gateway.metric(lasts), 12.0);
    // Who has none goes by the fallback; what was forgotten is none.
    assert_eq!(pages(&empty, ("a", "b")).await, "5");
    library.restart().await;
    until("it is back", async || gateway.post("/v1/echo", &json!({})).await.status == 200).await;
    library.stop().await;
    assert_eq!(ask().await, "5");
}

#[tokio::test]
async fn the_last_reply_stands_in_for_a_service_that_fails() {
    let asked = AtomicUsize::new(0);
    let library = answering(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => ok(json!({ "pages": "1" })),
        1 => hang(),
        2 => fail(Code::Internal, "a fault of its own"),
        3 => raw(502, "text/html", b"<p>sorry</p>"),
        _ => fail(Code::InvalidArgument, "no such edition"),
    })
    .await;
    let config = "methods: { library.v1.Library/GetBook: { cache: { ttl: 1ms, stale_if_error: 1h, public: true } } }";
    let gateway =
        gateway().descriptors("library").upstream_with("library", &[&library], "timeout: 300ms").config(config);
    let gateway = gateway.start().await;
    for asked in 1..=4 {
        assert_eq!(pages(&gateway, ("a", "b")).await, "1");
        library.saw("GetBook").times(asked);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    gateway.get(BOOK).await.status(400);
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let told = |config: &str| {
        let library = gateway().descriptors("library").expose_all().upstream_at(
            "library",
            "library.v1.Library",
            &["127.0.0.1:1".to_owned()],
            "",
        );
        let Err(problems) = library.config(config).compile(&transom::telemetry::Metrics::new()) else {
            panic!("{config} is no problem");
        };
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (config, problem) in [
        ("methods: { library.v1.Library/Echo: { cache: 1s } }", "neither bound to GET nor NO_SIDE_EFFECTS"),
        ("methods: { library.v1.Library/WatchBooks: { cache: 1s } }", "streams"),
        (
            "methods: { library.v1.Library/GetBook: { cache: { ttl: 1s, invalidated_by: [library.v1.Library/Ech] } } }",
            "did you mean `library.v1.Library/Echo`?",
        ),
        (
            "methods: { library.v1.Library/GetBook: { cache: { ttl: 1s, invalidated_by: [
                { rpc: library.v1.Library/UpdateBook, fields: { nam: book.name } }] } } }",
            "has no field `nam`; did you mean `name`?",
        ),
        (
            "methods: { library.v1.Library/GetBook: { cache: { ttl: 1s, invalidated_by: [
                { rpc: library.v1.Library/UpdateBook, fields: { name: book.pages } }] } } }",
            "`name` and `book.pages` are of different types",
        ),
        (
            "methods: { library.v1.Library/GetBook: { cache: { ttl: 1s, invalidated_by: [
                { rpc: library.v1.Library/UpdateBook, fields: { name: book.authors } }] } } }",
            "`book.authors` holds several values",
        ),
    ] {
        let problems = told(config);
        assert!(problems.contains(problem) && problems.contains(".cache"), "{config}: {problems}");
    }
}

#[tokio::test]
async fn answers_that_are_made_of_kept_replies_take_room_too() {
    // Each character of it is six in JSON.
    let library = answering(|request| ok(json!({ "name": request["name"], "title": "\u{1}".repeat(10_000) }))).await;
    let gateway = cached(&library, "{ ttl: 1h, public: true }").config("cache: { size: 1MiB }").start().await;
    let asked = || library.saw("GetBook").calls().len();
    let all = async || {
        for at in 0..60 {
            gateway.get(&format!("{BOOK}{at}")).await.status(200);
        }
    };
    all().await;
    assert_eq!(asked(), 60);
    // The replies alone would all have room: 600 KB.
    all().await;
    assert!(asked() > 80, "{} questions", asked());
}
