//! Replies that gateways share over a real Redis: one question for all of them, nobody another's, and what becomes of it when
//! something is forgotten, the Redis hangs, goes, comes back, or holds what nobody has written.

use std::time::{Duration, Instant};

use redis::Value as Told;
use serde_json::{Value, json};

use crate::cache::{BOOK, answering, cached, counting, pages};
use crate::support::client::Call;
use crate::support::gateway::{Builder, Running, gateway};
use crate::support::network::{Network, Weather};
use crate::support::protos::compile_text;
use crate::support::redis::{Redis, redis};
use crate::support::reply::ok;
use crate::support::speak::Speech;
use crate::support::tokens::{SECRET, bearer, token};
use crate::support::until;
use crate::support::upstream::Upstream;

/// Behind one name, as clients know gateways: links that a service makes are of the host that was asked.
const HOST: (&str, &str) = ("host", "api.example.com");
const PUBLIC: &str = "{ ttl: 1h, public: true }";
/// Forgotten after an echo.
const ECHOED: &str = "{ ttl: 1h, public: true, invalidated_by: [library.v1.Library/Echo] }";

fn at(redis: &Redis) -> String {
    format!("redis: {{ url: \"{}\" }}", redis.url())
}

async fn sharing(library: &Upstream, redis: &Redis, cache: &str) -> Running {
    let gateway = cached(library, cache).config(&at(redis)).start().await;
    if !cache.contains("shared: false") {
        connected(&gateway, ("x-a", "b")).await;
    }
    gateway
}

/// On a busy machine the first question may find that the connection takes too long.
async fn connected(gateway: &Running, header: (&str, &str)) {
    until("its connection", async || {
        get(gateway, "/v1/shelves/0/books/0").header(header.0, header.1).await.status(200);
        gateway.state.snapshot.load().caches.cache.generations.forget_all();
        found(gateway, "shared") > 0.0 && gateway.state.store.is_connected() == Some(true)
    })
    .await;
}

/// How often the service was asked for the book.
fn asked(library: &Upstream) -> usize {
    let saw = library.saw("GetBook");
    saw.calls().iter().filter(|call| call.messages[0]["name"] == "shelves/1/books/7").count()
}

async fn ask(gateway: &Running) -> String {
    pages(gateway, HOST).await
}

/// The replies that lie there, by their keys; one is that by which gateways are seen to be connected.
async fn replies(redis: &Redis) -> Vec<String> {
    let Told::Array(keys) = redis.ask(&["KEYS", "transom:cache:{library.v1.Library/GetBook}:*"]).await else {
        panic!()
    };
    let text = |key| if let Told::BulkString(key) = key { String::from_utf8(key).unwrap() } else { panic!("{key:?}") };
    keys.into_iter().map(text).filter(|key| key.rsplit(':').next().unwrap().len() == 43).collect()
}

async fn are_there(redis: &Redis, count: usize) {
    until("the replies in Redis", async || replies(redis).await.len() == count).await;
}

fn get(gateway: &Running, path: &str) -> Call {
    gateway.get(path).header(HOST.0, HOST.1)
}

fn found(gateway: &Running, outcome: &str) -> f64 {
    gateway.metric(&format!("transom_cache_calls_total{{rpc=\"library.v1.Library/GetBook\",outcome=\"{outcome}\"}}"))
}

#[tokio::test]
async fn what_one_gateway_has_asked_all_answer_in_every_dialect() {
    let (library, redis) = (counting().await, redis().await);
    let one = sharing(&library, &redis, PUBLIC).await;
    assert_eq!(ask(&one).await, "1");
    are_there(&redis, 2).await;
    let other = sharing(&library, &redis, PUBLIC).await;
    let (misses, shared) = (found(&other, "miss"), found(&other, "shared"));
    let message = json!({ "name": "shelves/1/books/7" });
    for speech in Speech::UNARY.into_iter().filter(|speech| speech.versions().contains(&1)) {
        let call = speech.call(1, "GetBook").header(HOST.0, HOST.1);
        let outcome = call.send(&other, std::slice::from_ref(&message)).await;
        outcome.ok(&[json!({ "name": "shelves/1/books/7", "pages": "1" })]);
    }
    let answer = get(&other, BOOK).await;
    answer.status(200).header("x-shelf", "7").header("x-cost", "3").header("cache-control", "public, max-age=3600");
    assert_eq!(answer.headers["etag"], get(&one, BOOK).await.headers["etag"]);
    assert_eq!(asked(&library), 1);
    assert_eq!((found(&other, "miss"), found(&other, "shared")), (misses + 1.0, shared + 1.0));

    // One that keeps its own, or goes by another policy, asks itself.
    for cache in ["{ ttl: 1h, public: true, shared: false }", "{ ttl: 2h, public: true }", "{ ttl: 1h }"] {
        let apart = sharing(&library, &redis, cache).await;
        assert_ne!(ask(&apart).await, "1", "{cache}");
    }
}

#[tokio::test]
async fn over_two_gateways_nobody_gets_anothers_reply() {
    let (library, redis) = (counting().await, redis().await);
    let config = format!(
        "auth: {{ jwt: {{ secret: \"{SECRET}\", algorithms: [HS256] }}, inject: {{ sub: x-user-id }} }}
methods: {{ library.v1.Library/GetBook: {{ cache: 1h }} }}
{}",
        at(&redis)
    );
    let start = async || {
        let gateway = gateway().descriptors("library").expose_all().upstream("library", &library).config(&config);
        gateway.start().await
    };
    let (one, other) = (start().await, start().await);
    let [ada, bob] = ["ada", "bob"].map(|sub| bearer(&token(&json!({ "sub": sub }))));
    let ask = async |gateway: &Running, who: &str| {
        let answer = get(gateway, BOOK).header("authorization", who).await;
        answer.status(200).value()["pages"].as_str().unwrap().to_owned()
    };
    connected(&one, ("authorization", &ada)).await;
    connected(&other, ("authorization", &ada)).await;
    assert_eq!(ask(&one, &ada).await, "1");
    are_there(&redis, 2).await;
    assert_eq!(ask(&other, &bob).await, "2");
    are_there(&redis, 3).await;
    assert_eq!((ask(&other, &ada).await, ask(&one, &bob).await), ("1".to_owned(), "2".to_owned()));
    assert_eq!(asked(&library), 2);
    get(&other, BOOK).await.status(401).no_header("etag");
    // Not in the clear either: nothing in a key says whose it is.
    for key in replies(&redis).await {
        assert!(!key.contains("ada") && !key.contains("bob"), "{key}");
    }
}

#[tokio::test]
async fn what_one_gateway_forgets_all_forget() {
    let (library, redis) = (counting().await, redis().await);
    let (one, other) = (sharing(&library, &redis, ECHOED).await, sharing(&library, &redis, ECHOED).await);
    assert_eq!(ask(&one).await, "1");
    are_there(&redis, 2).await;
    assert_eq!(ask(&other).await, "1");
    one.post("/v1/echo", &json!({})).await.status(200);
    // At once where it was called, whatever lies in Redis at that moment; soon everywhere.
    assert_ne!(ask(&one).await, "1");
    until("the other forgets", async || ask(&other).await != "1").await;
    assert_ne!(ask(&one).await, "1");
    let third = sharing(&library, &redis, ECHOED).await;
    assert_ne!(ask(&third).await, "1");
}

#[tokio::test]
async fn who_was_cut_off_forgets_what_it_may_not_have_heard_of() {
    let (library, redis) = (counting().await, redis().await);
    let network = Network::before(redis.address()).await;
    let one = sharing(&library, &redis, ECHOED).await;
    let far = format!("redis: {{ url: \"redis://{}\" }}", network.address());
    let other = cached(&library, ECHOED).config(&far).start().await;
    connected(&other, ("x-a", "b")).await;
    assert_eq!((ask(&one).await, ask(&other).await), ("1".to_owned(), "1".to_owned()));
    network.becomes(Weather::Broken);
    until("it is cut off", async || other.state.store.is_connected() == Some(false)).await;
    one.post("/v1/echo", &json!({})).await.status(200);
    assert_ne!(ask(&one).await, "1");
    assert_eq!(ask(&other).await, "1", "it has heard nothing");
    network.becomes(Weather::Clear);
    until("the other forgets", async || ask(&other).await != "1").await;
}

#[tokio::test]
async fn replies_that_are_not_shared_leave_no_trace() {
    let (library, redis) = (counting().await, redis().await);
    let gateway = sharing(&library, &redis, "{ ttl: 1h, public: true, shared: false }").await;
    until("its connection", async || gateway.state.store.is_connected() == Some(true)).await;
    for _ in 0..2 {
        assert_eq!(ask(&gateway).await, "1");
    }
    assert_eq!(redis.ask(&["KEYS", "transom:cache:*"]).await, Told::Array(Vec::new()));
}

#[tokio::test]
async fn a_redis_that_hangs_keeps_nobody_waiting_and_nothing_forgotten_comes_back() {
    let (library, redis) = (counting().await, redis().await);
    let (one, other) = (sharing(&library, &redis, ECHOED).await, sharing(&library, &redis, ECHOED).await);
    assert_eq!(ask(&one).await, "1");
    are_there(&redis, 2).await;
    assert_eq!(ask(&other).await, "1");

    redis.resume(false);
    // Who finds it out waits 50 ms, and nobody does for what is known to hang; the rest is a busy machine's.
    let started = Instant::now();
    for number in 100..120 {
        get(&one, &format!("/v1/shelves/1/books/{number}")).await.status(200);
    }
    assert!(started.elapsed() < Duration::from_millis(800), "{:?} for 20", started.elapsed());
    // What is here is given as ever, and forgotten here.
    assert_eq!(ask(&one).await, "1");
    one.post("/v1/echo", &json!({})).await.status(200);
    let after = ask(&one).await;
    assert_ne!(after, "1");
    assert_eq!(ask(&one).await, after);

    // It comes back with the old reply: who forgot it tells so first.
    redis.resume(true);
    until("the other forgets", async || ask(&other).await != "1").await;
    let third = sharing(&library, &redis, ECHOED).await;
    assert_ne!(ask(&third).await, "1");
    until("replies are shared again", async || {
        let number = library.saw("GetBook").calls().len() + 1000;
        let path = format!("/v1/shelves/1/books/{number}");
        let first = get(&one, &path).await.value();
        tokio::time::sleep(Duration::from_millis(20)).await;
        get(&other, &path).await.value() == first
    })
    .await;
}

#[tokio::test]
async fn a_call_that_has_waited_for_its_limits_waits_for_no_reply() {
    let (library, redis) = (counting().await, redis().await);
    let mut quickest = Duration::MAX;
    // On a busy machine each may take longer: one that does not is enough.
    for round in 0..5 {
        let limited = cached(&library, "{ ttl: 1h, public: true }, rate_limits: [all]");
        let limited =
            limited.config(&format!("{}\nrate_limits: {{ all: {{ by: client, rate: 1000/s }} }}", at(&redis)));
        let gateway = limited.start().await;
        connected(&gateway, ("x-a", "b")).await;
        redis.resume(false);
        let started = Instant::now();
        get(&gateway, &format!("/v1/shelves/2/books/{round}")).await.status(200);
        quickest = quickest.min(started.elapsed());
        redis.resume(true);
    }
    assert!(quickest < Duration::from_millis(95), "{quickest:?}");
}

#[tokio::test]
async fn a_redis_that_was_started_again_knows_nothing_and_that_is_all() {
    let (library, mut redis) = (counting().await, redis().await);
    let one = sharing(&library, &redis, ECHOED).await;
    assert_eq!(ask(&one).await, "1");
    are_there(&redis, 2).await;
    redis.kill();
    assert_eq!(get(&one, "/v1/shelves/1/books/8").await.status(200).value()["pages"], "1");
    one.post("/v1/echo", &json!({})).await.status(200);
    assert_eq!(ask(&one).await, "2");
    redis.start().await;
    until("replies are shared again", async || {
        get(&one, &format!("/v1/shelves/1/books/{}", library.saw("GetBook").calls().len() + 100)).await;
        !replies(&redis).await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn what_lies_in_redis_is_believed_only_if_a_gateway_wrote_it_for_this_call() {
    let (library, redis) = (counting().await, redis().await);
    let writer = sharing(&library, &redis, PUBLIC).await;
    let first = replies(&redis).await;
    get(&writer, BOOK).await.status(200);
    are_there(&redis, 2).await;
    let key = replies(&redis).await.into_iter().find(|found| !first.contains(found)).unwrap();
    get(&writer, "/v1/shelves/1/books/8").await.status(200);
    are_there(&redis, 3).await;
    let other = replies(&redis).await.into_iter().find(|found| *found != key && !first.contains(found)).unwrap();

    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut send = async |command: &redis::Cmd| command.query_async::<Told>(&mut connection).await.unwrap();
    let value_of = |key: &str| {
        let mut command = redis::cmd("GET");
        command.arg(key);
        command
    };
    let set = |value: &[u8]| {
        let mut command = redis::cmd("SET");
        command.arg(&key).arg(value).arg("PX").arg(3_600_000);
        command
    };
    let bytes = |told| if let Told::BulkString(bytes) = told { bytes } else { panic!("{told:?}") };
    let good = bytes(send(&value_of(&key)).await);
    let stranger = bytes(send(&value_of(&other)).await);

    let mut wrong: Vec<(&str, Vec<u8>)> = vec![
        ("another key's reply", stranger),
        ("nothing", Vec::new()),
        ("zeros", vec![0; good.len()]),
        ("more than a reply may have", [&good[..], &vec![0; 4 << 20]].concat()),
        ("more than it was", [&good[..], b"\0"].concat()),
    ];
    wrong.extend((0..good.len()).step_by(7).map(|at| ("cut off", good[..at].to_vec())));
    wrong.extend((0..good.len()).step_by(5).map(|at| {
        let mut turned = good.clone();
        turned[at] ^= 0x20;
        ("a bit turned", turned)
    }));
    let reader = sharing(&library, &redis, PUBLIC).await;
    let forget = || reader.state.snapshot.load().caches.cache.generations.forget_all();
    let asked = || asked(&library);
    let before_all = found(&reader, "shared");
    for (what, value) in &wrong {
        send(&set(value)).await;
        forget();
        let before = asked();
        get(&reader, BOOK).await.status(200);
        assert_eq!((asked(), found(&reader, "shared")), (before + 1, before_all), "{what}");
        // It has put its own in that place.
        until("its own reply", async || send(&value_of(&key)).await != Told::BulkString(value.clone())).await;
    }
    // What lies there for ever, for longer than a reply may, or is no text at all.
    let mut forever = redis::cmd("SET");
    forever.arg(&key).arg(&good[..]);
    let mut long = forever.clone();
    long.arg("PX").arg(3_600_000 * 2);
    for command in [forever, long] {
        send(&command).await;
        forget();
        let before = asked();
        get(&reader, BOOK).await.status(200);
        assert_eq!((asked(), found(&reader, "shared")), (before + 1, before_all));
        until("its own reply", async || send(&value_of(&key)).await != Told::BulkString(good.clone())).await;
    }
    send(redis::cmd("DEL").arg(&key)).await;
    send(redis::cmd("RPUSH").arg(&key).arg(&good[..])).await;
    forget();
    let before = asked();
    get(&reader, BOOK).await.status(200);
    assert_eq!(asked(), before + 1);
    // And what was written is believed.
    send(&set(&good)).await;
    forget();
    get(&reader, BOOK).await.status(200);
    assert_eq!((asked(), found(&reader, "shared")), (before + 1, before_all + 1.0));
}

/// The library, whose books have pages by another name.
fn renamed(library: &Upstream, redis: &Redis) -> Builder {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/protos/library.proto");
    let text = std::fs::read_to_string(file).unwrap().replace("int64 pages = 4;", "int64 sheets = 4;");
    let config = format!("methods: {{ library.v1.Library/GetBook: {{ cache: {PUBLIC} }} }}\n{}", at(redis));
    let gateway = gateway().descriptor_set(compile_text("library.proto", &text)).expose_all();
    gateway.upstream("library", library).config(&config)
}

#[tokio::test]
async fn a_reply_of_another_schema_is_none() {
    let (library, redis) = (counting().await, redis().await);
    let gateway = sharing(&library, &redis, PUBLIC).await;
    assert_eq!(ask(&gateway).await, "1");
    are_there(&redis, 2).await;
    let name = json!("shelves/1/books/7");
    let elsewhere = renamed(&library, &redis).start().await;
    let answer = get(&elsewhere, BOOK).await.status(200).value();
    assert_eq!(answer, json!({ "name": name, "sheets": "2" }));
    gateway.reload(&renamed(&library, &redis)).await.unwrap();
    let answer: Value = get(&gateway, BOOK).await.status(200).value();
    assert!(answer["sheets"].is_string() && answer["sheets"] != "1", "{answer}");
}

#[tokio::test]
async fn a_reply_of_another_service_is_none() {
    let (library, other, redis) = (counting().await, counting().await, redis().await);
    let gateway = sharing(&library, &redis, PUBLIC).await;
    assert_eq!(ask(&gateway).await, "1");
    are_there(&redis, 2).await;
    let reload = async |library| gateway.reload(&cached(library, PUBLIC).config(&at(&redis))).await.unwrap();
    reload(&other).await;
    get(&gateway, BOOK).await.status(200);
    assert_eq!((asked(&library), asked(&other)), (1, 1));
    // What changes nothing forgets nothing; and those of before are theirs again.
    for library in [&other, &library] {
        reload(library).await;
        gateway.state.snapshot.load().caches.cache.generations.forget_all();
        assert_eq!(ask(&gateway).await, "1");
    }
    assert_eq!((asked(&library), asked(&other)), (1, 1));
}

#[tokio::test]
async fn a_long_reply_on_its_way_is_in_nobodys() {
    let redis = redis().await;
    let library = answering(|asked| match asked["name"].as_str() {
        Some("shelves/1/books/7") => ok(json!({ "name": asked["name"], "title": "x".repeat(1_000_000) })),
        _ => ok(json!({ "name": asked["name"] })),
    })
    .await;
    let writer = sharing(&library, &redis, PUBLIC).await;
    get(&writer, BOOK).await.status(200);
    are_there(&redis, 2).await;

    let network = Network::before(redis.address()).await;
    let config = format!(
        "redis: {{ url: \"redis://{}\" }}
rate_limits: {{ exact: {{ by: client, rate: 1000000/s, on_store_failure: deny }} }}
methods:
  library.v1.Library/GetBook: {{ cache: {PUBLIC} }}
  library.v1.Library/UpdateBook: {{ rate_limits: [exact] }}",
        network.address()
    );
    let reader = gateway().descriptors("library").expose_all().upstream("library", &library).config(&config);
    let reader = reader.start().await;
    connected(&reader, ("x-a", "b")).await;
    let change = async || reader.request("PATCH", BOOK).json(&json!({})).await.status.as_u16();
    until("limits are taken", async || change().await == 200).await;

    network.becomes(Weather::Slow(16 * 1024, Duration::from_millis(5)));
    let (mut hindered, before) = (0, found(&reader, "shared"));
    for _ in 0..10 {
        reader.state.snapshot.load().caches.cache.generations.forget_all();
        let changes = async {
            let mut statuses = Vec::new();
            for _ in 0..5 {
                statuses.push(change().await);
            }
            statuses
        };
        let (book, statuses) = tokio::join!(get(&reader, BOOK).into_future(), changes);
        book.status(200);
        hindered += usize::from(statuses.iter().any(|status| *status != 200));
    }
    assert_eq!(found(&reader, "shared"), before, "the look-ups were slow");
    // A busy machine hinders some.
    assert!(hindered <= 3, "{hindered} of 10");
}
