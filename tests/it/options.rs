//! A service that registers itself completely by its .proto: where it is served, who may call it and how often, how replies
//! are kept and printed, how long a call may take and how often it is tried. Then configuration has the last word.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use transom::telemetry::Metrics;
use transom_transcode::status::Code;

use crate::support::gateway::{Builder, gateway};
use crate::support::protos::compile_text;
use crate::support::reply::{fail, hang, ok};
use crate::support::tokens::{SECRET, bearer, token};
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

/// What the service says of itself; of methods by their names.
const SERVICE: &str = "option (transom.service) = {
    upstream: \"books\"
    methods: { auth: { scopes: \"books\" } output: { emit_defaults: true } limits: { body: 100 } }
  };";
const METHODS: [(&str, &str); 4] = [
    (
        "GetBook",
        "auth: { public: true } cache: { ttl: { seconds: 3600 } public: true vary: {}
         invalidated_by: { rpc: \"library.v1.Library/Echo\" } }",
    ),
    ("UpdateBook", "auth: { public: true } timeout: { nanos: 100000000 } retry: { attempts: 1 hedge: { seconds: 1 } }"),
    ("DeleteBook", "auth: { public: true } rate_limits: \"few\""),
    ("Echo", "auth: { public: true } retry: { attempts: 2 on: ABORTED backoff: { nanos: 1000000 } }"),
];

/// The library's .proto with these options.
fn proto(service: &str, methods: &[(&str, &str)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/protos/library.proto");
    let mut text = fs::read_to_string(file).unwrap();
    let mut say = |after: &str, more: &str| {
        assert_eq!(text.matches(after).count(), 1, "{after}");
        text = text.replace(after, &format!("{after}\n{more}"));
    };
    say("import \"google/api/annotations.proto\";", "import \"transom/options.proto\";");
    say("service Library {", service);
    say("rpc Echo(Book) returns (Book) {", "option idempotency_level = IDEMPOTENT;");
    for (method, policy) in methods {
        let line = text.lines().find(|line| line.contains(&format!("rpc {method}("))).unwrap().to_owned();
        text = text.replace(&line, &format!("{line}\noption (transom.method) = {{ {policy} }};"));
    }
    text
}

fn registered(library: &Upstream, proto: &str, methods: &str) -> Builder {
    gateway().descriptor_set(compile_text("library.proto", proto)).config(&format!(
        "upstreams: {{ books: {{ endpoints: [\"{}\"], retry: {{ attempts: 1 }} }} }}
auth: {{ jwt: {{ secret: \"{SECRET}\", algorithms: [HS256] }} }}
rate_limits: {{ few: {{ by: client, rate: 2/h }} }}
methods: {{ {methods} }}",
        library.address()
    ))
}

/// Each second call of `Echo` succeeds; an update never ends.
async fn library() -> Upstream {
    let (asked, echoed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    upstream::grpc("library.v1.Library")
        .unary("GetBook", move |_| ok(json!({ "pages": (asked.fetch_add(1, Ordering::SeqCst) + 1).to_string() })))
        .unary("ListBooks", |_| ok(json!({})))
        .unary("UpdateBook", |_| hang())
        .unary("DeleteBook", |_| ok(json!({})))
        .unary("Echo", move |book| match echoed.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => fail(Code::Aborted, "again"),
            _ => ok(book.clone()),
        })
        .start()
        .await
}

#[tokio::test]
async fn a_service_registers_itself_completely() {
    let library = library().await;
    let gateway = registered(&library, &proto(SERVICE, &METHODS), "").start().await;

    // Upstream, cache, output: one question for two answers, with defaults, kept until what changes it was called.
    for pages in ["1", "1"] {
        let book = gateway.get(BOOK).await;
        book.status(200).header("cache-control", "public, max-age=3600").no_header("vary");
        assert_eq!((&book.value()["pages"], &book.value()["title"]), (&json!(pages), &json!("")));
    }
    // Retry: the second try succeeds.
    gateway.post("/v1/echo", &json!({ "title": "Dune" })).await.status(200);
    library.saw("Echo").times(2);
    assert_eq!(gateway.get(BOOK).await.value()["pages"], "2");

    // Auth, of the service as a whole.
    let list = |scope: Option<&str>| {
        let call = gateway.get("/v1/shelves/1/books");
        match scope {
            Some(scope) => call.header("authorization", &bearer(&token(&json!({ "scope": scope })))),
            None => call,
        }
    };
    list(None).await.status(401);
    list(Some("films")).await.status(403);
    list(Some("films books")).await.status(200);
    library.saw("ListBooks").times(1);

    // Timeout: the service never answers.
    let started = Instant::now();
    gateway.request("PATCH", BOOK).json(&json!({ "title": "x" })).await.status(504);
    assert!((Duration::from_millis(100)..Duration::from_secs(2)).contains(&started.elapsed()));

    // Rate limit, and the bound of a body.
    for status in [200, 200, 429] {
        gateway.request("DELETE", BOOK).await.status(status);
    }
    gateway.post("/v1/echo", &json!({ "title": "x".repeat(100) })).await.status(413);
}

#[tokio::test]
async fn a_hedge_is_said_by_the_proto() {
    let seen = async |echo: &str, config: &str| {
        let reply = |_: &serde_json::Value| ok(json!({ "title": "Dune" })).after(Duration::from_millis(100));
        let start = || upstream::grpc("library.v1.Library").unary("GetBook", reply).unary("Echo", reply).start();
        let (one, other) = (start().await, start().await);
        let policy = format!("retry: {{ {echo} budget: 100 }} auth: {{ public: true }}");
        let proto = proto("option (transom.service).upstream = \"books\";", &[("GetBook", &policy), ("Echo", &policy)]);
        let endpoints = format!("endpoints: [\"{}\", \"{}\"]", one.address(), other.address());
        let text = format!("upstreams: {{ books: {{ {endpoints} }} }}\nmethods: {{ {config} }}");
        let gateway = gateway().descriptor_set(compile_text("library.proto", &proto)).config(&text);
        let gateway = gateway.start().await;
        gateway.get(BOOK).await.status(200);
        gateway.post("/v1/echo", &json!({})).await.status(200);
        let count =
            |method: &str| [&one, &other].map(|library| library.saw(method).calls().len()).iter().sum::<usize>();
        (count("GetBook"), count("Echo"))
    };
    // What may be executed twice, but not twice for nothing, is not hedged.
    assert_eq!(seen("hedge: { nanos: 1000000 }", "").await, (2, 1));
    assert_eq!(seen("", "").await, (1, 1));
    let written = "library.v1.Library/*: { retry: { attempts: 2 } }";
    assert_eq!(seen("hedge: { nanos: 1000000 }", written).await, (1, 1));
}

#[tokio::test]
async fn configuration_has_the_last_word() {
    let library = library().await;
    let methods = "
  library.v1.Library/*: { auth: public, output: { emit_defaults: false }, limits: { body: 1KiB } },
  library.v1.Library/GetBook: { cache: 0s },
  library.v1.Library/UpdateBook: { timeout: 1ms },
  library.v1.Library/DeleteBook: { rate_limits: [] },
  library.v1.Library/Echo: { retry: { attempts: 1 } }
";
    let gateway = registered(&library, &proto(SERVICE, &METHODS), methods).start().await;
    for pages in ["1", "2"] {
        let book = gateway.get(BOOK).await;
        assert_eq!(book.status(200).no_header("cache-control").value(), json!({ "pages": pages }));
    }
    gateway.post("/v1/echo", &json!({ "title": "x".repeat(100) })).await.status(409);
    library.saw("Echo").times(1);
    gateway.get("/v1/shelves/1/books").await.status(200);
    let started = Instant::now();
    gateway.request("PATCH", BOOK).json(&json!({ "title": "x" })).await.status(504);
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    for _ in 0..3 {
        gateway.request("DELETE", BOOK).await.status(200);
    }
}

#[tokio::test]
async fn each_policy_says_where_it_comes_from() {
    let library = library().await;
    let methods = "library.v1.Library/GetBook: { timeout: 2s }";
    let snapshot = registered(&library, &proto(SERVICE, &METHODS), methods).compile(&Metrics::new()).unwrap();
    let rows = snapshot.routes();
    let row = |method: &str| rows.iter().find(|row| row.rpc == format!("library.v1.Library/{method}")).unwrap();
    let says = |method: &str, key: &str| {
        let value = row(method).settings.iter().find(|value| value.key == key).unwrap();
        (value.value.clone(), value.from.clone())
    };
    let own = |method: &str, key: &str| format!("library.proto: library.v1.Library.{method}: (transom.method).{key}");
    let all = |key: &str| format!("library.proto: library.v1.Library: (transom.service).methods.{key}");
    assert_eq!(row("Echo").upstream_from, "library.proto: library.v1.Library: (transom.service).upstream");
    assert_eq!(says("GetBook", "cache"), ("1h public".to_owned(), own("GetBook", "cache")));
    assert_eq!(says("Echo", "retry"), ("2 tries".to_owned(), own("Echo", "retry")));
    assert_eq!(says("UpdateBook", "retry"), ("1 tries hedge=1s".to_owned(), own("UpdateBook", "retry")));
    assert_eq!(says("Echo", "auth"), ("public".to_owned(), own("Echo", "auth")));
    assert_eq!(says("ListBooks", "auth"), ("required scopes=books".to_owned(), all("auth")));
    assert_eq!(says("DeleteBook", "rate_limits"), ("few".to_owned(), own("DeleteBook", "rate_limits")));
    assert_eq!(says("UpdateBook", "timeout"), ("100ms".to_owned(), own("UpdateBook", "timeout")));
    assert_eq!(says("ListBooks", "output.emit_defaults"), ("true".to_owned(), all("output.emit_defaults")));
    let written = "methods[\"library.v1.Library/GetBook\"].timeout";
    assert_eq!(says("GetBook", "timeout"), ("2s".to_owned(), written.to_owned()));
    assert_eq!(says("ListBooks", "timeout").1, "default");
}

#[tokio::test]
async fn an_option_that_cannot_hold_is_the_protos_problem() {
    let library = library().await;
    for (method, policy, problem) in [
        ("CreateBook", "cache: { ttl: { seconds: 1 } }", "neither bound to GET nor NO_SIDE_EFFECTS"),
        ("WatchBooks", "cache: { ttl: { seconds: 1 } }", "streams"),
        (
            "GetBook",
            "cache: { ttl: { seconds: 1 } invalidated_by: { rpc: \"library.v1.Library/Ech\" } }",
            "did you mean `library.v1.Library/Echo`?",
        ),
        ("GetBook", "rate_limits: \"many\"", "has no `many`"),
    ] {
        let service = "option (transom.service).upstream = \"books\";";
        let built = registered(&library, &proto(service, &[(method, policy)]), "").compile(&Metrics::new());
        let Err(problems) = built else { panic!("{policy} is no problem") };
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let place = format!("library.v1.Library.{method}");
        assert!(told.len() == 1 && told[0].contains(problem) && told[0].contains(&place), "{told:?}");
        assert!(told[0].starts_with("library.proto"), "{told:?}");
    }
}
