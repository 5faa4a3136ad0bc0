//! Rate limits that gateways share over a real Redis: exact, leased, and what holds when it is gone.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use redis::Value;
use serde_json::json;
use tokio::task::JoinSet;
use transom_transcode::status::Code;

use crate::support::client::Call;
use crate::support::gateway::{Running, gateway};
use crate::support::library;
use crate::support::redis::{Redis, cluster_node, redis};
use crate::support::reply::ok;
use crate::support::speak::Speech;
use crate::support::until;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library")
        .unary("GetBook", |_| ok(json!({ "title": "Dune" })))
        .unary("Echo", |book| ok(book.clone()))
        .start()
        .await
}

async fn start(library: &Upstream, redis: &str, limits: &str) -> Running {
    let config = format!("workers: 2\nredis: {{ {redis} }}\n{limits}");
    gateway().descriptors("library").upstream("library", library).config(&config).start().await
}

fn at(redis: &Redis) -> String {
    format!("url: \"{}\"", redis.url())
}

/// So many clients at once, each with so many calls, dealt to the gateways: how many pass, and how many find, on a
/// machine that is busy, that Redis takes too long. Those may have been counted or not, and must not pass.
async fn passed(gateways: &[&Running], clients: usize, calls: usize) -> (usize, usize) {
    let mut running = JoinSet::new();
    for client in 0..clients {
        let address: SocketAddr = gateways[client % gateways.len()].address();
        running.spawn(async move {
            let mut statuses = Vec::new();
            for _ in 0..calls {
                statuses.push(Call::new(address, "GET", BOOK).await.status);
            }
            statuses
        });
    }
    let statuses = running.join_all().await.concat();
    let all = |status: u16| statuses.iter().filter(|told| **told == status).count();
    assert_eq!(all(200) + all(429) + all(503), clients * calls);
    (all(200), all(503))
}

#[tokio::test]
async fn two_gateways_let_exactly_as_many_pass_as_one() {
    let (library, redis) = (library().await, redis().await);
    let limits = "rate_limits: { public: { by: client, rate: 100/h, on_store_failure: deny } }";
    let (one, other) = (start(&library, &at(&redis), limits).await, start(&library, &at(&redis), limits).await);
    let (passed, late) = passed(&[&one, &other], 64, 4).await;
    assert!(passed <= 100 && passed + late >= 100, "{passed} passed, {late} were late");
    library.saw("GetBook").times(passed);
    let refused = one.get(BOOK).await;
    refused.status(429).reason("RATE_LIMITED").header("ratelimit", "\"public\";r=0;t=3600").header("retry-after", "36");
}

#[tokio::test]
async fn limits_of_one_call_are_one_round_trip_and_all_or_none() {
    let (library, redis) = (library().await, redis().await);
    let limits = "
rate_limits:
  wide: { by: client, rate: 5/h }
  narrow: { by: client, rate: 2/h, penalty: { after: 3, double: 40min, max: 1h } }
methods:
  library.v1.Library/GetBook: { rate_limits: [wide, narrow] }
  library.v1.Library/Echo: { rate_limits: [wide] }
";
    let (one, other) = (start(&library, &at(&redis), limits).await, start(&library, &at(&redis), limits).await);
    assert_eq!(passed(&[&one], 1, 2).await, (2, 0));
    let waits = async |gateway: &Running| gateway.get(BOOK).await.status(429).headers["retry-after"].clone();
    assert_eq!([waits(&one).await, waits(&other).await], ["1800", "1800"]);
    // The third refusal shuts out, in all gateways; the next does not make it longer.
    assert_eq!([waits(&one).await, waits(&other).await], ["2400", "2400"]);
    let echo = async || other.post("/v1/echo", &json!({})).await.status.as_u16();
    assert_eq!([echo().await, echo().await, echo().await, echo().await], [200, 200, 200, 429]);

    let Value::BulkString(stats) = redis.ask(&["INFO", "commandstats"]).await else { panic!("no text") };
    let stats = String::from_utf8(stats).unwrap();
    // Ten calls and the first of them twice, since the script was not known.
    assert!(stats.contains("cmdstat_evalsha:calls=11,"), "{stats}");
}

#[tokio::test]
async fn who_goes_on_is_shut_out_twice_as_long_each_time() {
    let (library, redis) = (library().await, redis().await);
    let penalty = "penalty: { after: 2, double: 10min, max: 2h }";
    let limits = format!("rate_limits: {{ public: {{ by: client, rate: 1/min, {penalty} }} }}");
    let gateway = start(&library, &at(&redis), &limits).await;
    gateway.get(BOOK).await.status(200);
    gateway.get(BOOK).await.status(429);
    for shut in ["600", "1200", "2400", "4800", "7200", "7200"] {
        gateway.get(BOOK).await.status(429).header("retry-after", shut);
        // As if that time had passed.
        let key = "transom:rate:{127.0.0.1}:public";
        let Value::BulkString(bucket) = redis.ask(&["GET", key]).await else { panic!("no bucket") };
        let bucket = String::from_utf8(bucket).unwrap();
        let [full, _, forget, offences] = *bucket.split(' ').collect::<Vec<_>>() else { panic!("{bucket}") };
        redis.ask(&["SET", key, &format!("{full} 1 {forget} {offences}"), "KEEPTTL"]).await;
    }
}

#[tokio::test]
async fn a_limit_that_is_raised_counts_from_then_on() {
    let (library, redis) = (library().await, redis().await);
    let penalty = "penalty: { after: 1, double: 30min, max: 1h }";
    for (old, new) in [
        ("rate: 1/h".to_owned(), "rate: 120/min"),
        (format!("rate: 1/h, {penalty}"), "rate: 120/min"),
        (format!("rate: 1/s, {penalty}"), "rate: 120/min, penalty: { after: 1, double: 1s, max: 1s }"),
        ("rate: 1/h, mode: leased".to_owned(), "rate: 120/min, mode: leased"),
    ] {
        redis.ask(&["FLUSHALL"]).await;
        let with = |limit: &str| {
            let limits = format!("redis: {{ {} }}\nrate_limits: {{ public: {{ by: client, {limit} }} }}", at(&redis));
            gateway().descriptors("library").upstream("library", &library).config(&limits)
        };
        let gateway = with(&old).start().await;
        gateway.get(BOOK).await.status(200);
        gateway.get(BOOK).await.status(429);
        gateway.reload(&with(new)).await.unwrap();
        // Empty as it is, and a permit a moment later.
        gateway.get(BOOK).await.status(429).header("retry-after", "1");
        until("a permit is back", async || gateway.get(BOOK).await.status == 200).await;
    }
}

#[tokio::test]
async fn a_lease_saves_round_trips_and_lets_no_more_pass_than_it_says() {
    let (library, redis) = (library().await, redis().await);
    let limits = "rate_limits: { public: { by: client, rate: 300/h, mode: leased, on_store_failure: deny } }";
    let (one, other) = (start(&library, &at(&redis), limits).await, start(&library, &at(&redis), limits).await);
    // Permits of one gateway's lease may be left when the other finds none: at most a tenth, 30.
    let (passed, late) = passed(&[&one, &other], 64, 8).await;
    assert!(passed <= 300 && passed + late >= 270, "{passed} passed, {late} were late");
    let trips = trips(&redis).await;
    assert!(trips < 100, "{trips} round trips for 512 calls");
}

#[tokio::test]
async fn a_lease_saves_round_trips_where_permits_come_back_faster_than_a_trip_takes() {
    let (library, redis) = (library().await, redis().await);
    let limits = "rate_limits: { public: { by: client, rate: 1000000/s, mode: leased } }";
    let gateway = start(&library, &at(&redis), limits).await;
    assert_eq!(passed(&[&gateway], 64, 8).await.0, 512);
    let trips = trips(&redis).await;
    assert!(trips < 256, "{trips} round trips for 512 calls");
}

/// How often limits were asked for.
async fn trips(redis: &Redis) -> usize {
    let Value::BulkString(stats) = redis.ask(&["INFO", "commandstats"]).await else { panic!("no text") };
    let stats = String::from_utf8(stats).unwrap();
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
    calls.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn without_its_redis_each_limit_does_what_it_says_and_recovers() {
    let (library, mut redis) = (library().await, redis().await);
    let limits = "
rate_limits:
  local: { by: client, rate: 3/h }
  allow: { by: client, rate: 3/h, on_store_failure: allow }
  deny: { by: client, rate: 3/h, on_store_failure: deny }
methods:
  library.v1.Library/GetBook: { rate_limits: [local] }
  library.v1.Library/Echo: { rate_limits: [allow] }
  library.v1.Library/UpdateBook: { rate_limits: [deny] }
";
    let gateway = start(&library, &at(&redis), limits).await;
    let get = async || gateway.get(BOOK).await.status.as_u16();
    let echo = async || gateway.post("/v1/echo", &json!({})).await.status.as_u16();
    let patch = async || gateway.request("PATCH", BOOK).json(&json!({})).await;
    assert_eq!([get().await, echo().await, patch().await.status.as_u16()], [200, 200, 501]);

    redis.kill();
    until("the loss is known", async || patch().await.status == 503).await;
    patch().await.reason("LIMITS_UNAVAILABLE").header("retry-after", "1");
    assert_eq!([get().await, get().await, get().await, get().await], [200, 200, 200, 429]);
    for _ in 0..10 {
        assert_eq!(echo().await, 200);
    }
    assert!(gateway.metric("transom_refusals_total{gate=\"rate_limit\",reason=\"LIMITS_UNAVAILABLE\"}") >= 2.0);

    redis.start().await;
    until("redis is found again", async || patch().await.status == 501).await;
    // It starts empty, and counts again. (A machine that is busy may keep an answer for longer than a call waits.)
    assert_eq!(echo().await, 200);
    until("it counts again", async || echo().await == 429).await;
}

#[tokio::test]
async fn who_must_be_counted_is_told_that_nobody_counts_in_every_dialect() {
    let (library, mut redis) = (library::library().await, redis().await);
    let limits = "
rate_limits: { deny: { by: client, rate: 1000/s, on_store_failure: deny } }
methods: { library.v1.Library/*: { rate_limits: [deny] } }
";
    let config = format!("workers: 2\nredis: {{ {} }}\n{limits}", at(&redis));
    redis.kill();
    let builder = gateway().descriptors("library").expose_all().upstream("library", &library).config(&config);
    let gateway = builder.start().await;
    let unary = Speech::UNARY.map(|speech| (speech, "GetBook"));
    let streams = Speech::SERVER_STREAM.into_iter().filter(|speech| !speech.is_socket());
    let mut refused = 0.0;
    for (speech, method) in unary.into_iter().chain(streams.map(|speech| (speech, "WatchBooks"))) {
        for &version in speech.versions() {
            println!("{speech:?} over HTTP/{version}");
            let asked = if method == "GetBook" {
                json!({ "name": "shelves/1/books/7" })
            } else {
                json!({ "parent": "shelves/1" })
            };
            let reply = speech.call(version, method).send(&gateway, &[asked]).await;
            reply.failed(Code::Unavailable);
            assert!(reply.message.starts_with("the store of the rate limits cannot be reached"), "{reply:?}");
            assert!(reply.details.iter().any(|detail| detail.ends_with("google.rpc.RetryInfo")), "{reply:?}");
            refused += 1.0;
        }
    }
    // A socket is refused before it is one.
    let head = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13")];
    let call = gateway.get("/v1/shelves/1/books:watch").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let reply = head.into_iter().fold(call, |call, (name, value)| call.header(name, value)).await;
    reply.status(503).reason("LIMITS_UNAVAILABLE").header("retry-after", "1");
    refused += 1.0;
    let counted =
        |reason| gateway.metric(&format!("transom_refusals_total{{gate=\"rate_limit\",reason=\"{reason}\"}}"));
    assert_eq!((counted("LIMITS_UNAVAILABLE"), counted("deny")), (refused, 0.0));
    assert_eq!((library.saw("GetBook").calls().len(), library.saw("WatchBooks").calls().len()), (0, 0));
}

#[tokio::test]
async fn nobody_waits_for_a_redis_that_hangs() {
    let (library, redis) = (library().await, redis().await);
    let limits = "rate_limits: { public: { by: client, rate: 100000/h } }";
    let gateway = start(&library, &at(&redis), limits).await;
    gateway.get(BOOK).await.status(200);
    redis.resume(false);
    let (mut slowest, started) = (Duration::ZERO, Instant::now());
    for _ in 0..50 {
        let asked = Instant::now();
        gateway.get(BOOK).await.status(200);
        slowest = slowest.max(asked.elapsed());
    }
    // 50 ms, and what a busy machine adds; each worker finds out for itself, and once.
    assert!(slowest < Duration::from_millis(250), "{slowest:?}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    redis.resume(true);
}

#[tokio::test]
async fn a_cluster_takes_every_key_where_it_belongs() {
    let nodes = [cluster_node().await, cluster_node().await, cluster_node().await];
    for ((node, _), slots) in nodes.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
        node.ask(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]).await;
        for (other, bus) in &nodes {
            let port = other.address().port().to_string();
            node.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus.to_string()]).await;
        }
    }
    for (node, _) in &nodes {
        until("the cluster is whole", async || {
            let Value::BulkString(info) = node.ask(&["CLUSTER", "INFO"]).await else { return false };
            let info = String::from_utf8(info).unwrap();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        })
        .await;
    }
    let library = library().await;
    let limits = "
trusted_proxies: [127.0.0.0/8]
rate_limits:
  public: { by: client, rate: 4/h, on_store_failure: deny }
  keys: { by: { header: x-api-key }, rate: 3/h, on_store_failure: deny }
  names: { by: { header: x-name }, rate: 2/h, on_store_failure: deny }
methods:
  library.v1.Library/GetBook: { rate_limits: [public, keys, names] }
";
    let gateway = start(&library, &format!("{}, cluster: true", at(&nodes[0].0)), limits).await;
    // Clients and keys of all slots: none is refused for lying on another node.
    for client in 0..40 {
        let told = async |again: usize| {
            let (address, key) = (format!("10.0.{again}.{client}"), format!("}}{{ {client} {again}"));
            let mut told = Vec::new();
            let mut ask = async |address: &str, key: &str, name: &str| {
                let call = gateway.get(BOOK).header("x-forwarded-for", address).header("x-api-key", key);
                told.push(call.header("x-name", &format!("{name}-{client}-{again}")).await.status.as_u16());
            };
            for name in ["a", "a", "a", "b", "b"] {
                ask(&address, &key, name).await;
            }
            let (address, key) = (format!("10.1.{again}.{client}"), format!("{key} other"));
            for name in ["a", "c", "c", "d"] {
                ask(&address, &key, name).await;
            }
            told
        };
        let mut last = told(0).await;
        for again in 1..10 {
            // On a machine that is busy Redis takes too long now and then; what lies elsewhere would be refused each time.
            if !last.contains(&503) {
                break;
            }
            last = told(again).await;
        }
        // `names` refuses the third. What `keys` gave before that is given back: a third one is left for another name.
        // The other key's first permit is given back as well, and three are left.
        assert_eq!(last, [200, 200, 429, 200, 429, 429, 200, 200, 200], "{client}");
    }
}
