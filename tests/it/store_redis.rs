//! The store over a real Redis: it comes, hangs, goes and comes back, and nobody waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use transom::config;
use transom::store::{Event, Script, Store, Unavailable};

use crate::support::client::Call;
use crate::support::gateway::gateway;
use crate::support::process::Process;
use crate::support::redis::{Redis, redis, redis_with};
use crate::support::{soon, until};

const WAIT: Duration = Duration::from_millis(50);

fn store(redis: &Redis) -> Arc<Store> {
    store_with(&redis.url(), None)
}

fn store_with(url: &str, password: Option<&str>) -> Arc<Store> {
    let config = config::Redis {
        url: Some(url.to_owned()),
        password: password.map(|password| password.to_owned().into()),
        cluster: false,
    };
    Arc::new(Store::compile(&config))
}

async fn ping(store: &Store) -> Result<(), Unavailable> {
    store.redis().unwrap().ask(&::redis::cmd("PING"), WAIT).await.map(drop)
}

#[tokio::test]
async fn the_first_question_waits_for_the_connection() {
    let redis = redis_with(&["--requirepass", "s3cret"]).await;
    ping(&store_with(&redis.url(), Some("s3cret"))).await.unwrap();
    assert_eq!(ping(&store_with(&redis.url(), Some("wrong"))).await, Err(Unavailable));
}

#[tokio::test]
async fn a_redis_that_is_gone_is_not_waited_for_and_found_again() {
    let mut redis = redis().await;
    let store = store(&redis);
    ping(&store).await.unwrap();
    let script = Script::new("return redis.call('INCR', KEYS[1])");
    let mut call = script.call(1);
    call.arg("{a}");
    assert_eq!(store.redis().unwrap().run(&script, &call, WAIT).await, Ok(redis::Value::Int(1)));

    redis.kill();
    until("the loss is known", async || {
        let started = Instant::now();
        let answer = ping(&store).await;
        assert!(started.elapsed() < WAIT * 2, "{:?}", started.elapsed());
        answer.is_err()
    })
    .await;
    let started = Instant::now();
    for _ in 0..1000 {
        assert_eq!(ping(&store).await, Err(Unavailable));
    }
    assert!(started.elapsed() < Duration::from_millis(500), "{:?} for 1000", started.elapsed());

    redis.start().await;
    until("redis is found again", async || ping(&store).await.is_ok()).await;
    // The new server has never seen the script.
    assert_eq!(store.redis().unwrap().run(&script, &call, WAIT).await, Ok(redis::Value::Int(1)));
}

#[tokio::test]
async fn a_password_that_rotates_takes_no_restart() {
    let server = redis_with(&["--requirepass", "old"]).await;
    let front = |url: &str, password: &str, token: &str| {
        gateway().descriptors("library").config(&format!(
            "redis: {{ url: \"{url}\", password: {password} }}\nadmin: {{ listen: \"127.0.0.1:0\", token: {token} }}"
        ))
    };
    let gateway = front(&server.url(), "old", "first").start().await;
    let store = &gateway.state.store;
    ping(store).await.unwrap();
    // The server's first, which drops its connections: nobody gets in until the gateway hears of it.
    let client = ::redis::Client::open(format!("redis://:old@{}", server.address())).unwrap();
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    for words in [["CONFIG", "SET", "requirepass", "new"].as_slice(), &["CLIENT", "KILL", "TYPE", "normal"]] {
        ::redis::cmd(words[0]).arg(&words[1..]).exec_async(&mut admin).await.unwrap();
    }
    until("nobody gets in", async || ping(store).await.is_err()).await;
    gateway.reload(&front(&server.url(), "new", "first")).await.unwrap();
    until("the new one lets in", async || ping(store).await.is_ok()).await;
    // Nothing else waits for a restart; where it is does.
    gateway.reload(&front(&server.url(), "newer", "second")).await.unwrap();
    ping(store).await.unwrap();
    assert_eq!(gateway.state.snapshot.load().config.admin.token.as_deref(), Some("second"));
    let refused = gateway.reload(&front("redis://127.0.0.1:1", "new", "second")).await.unwrap_err();
    assert!(refused.problems[0].to_string().contains("redis: has changed, which needs a restart"));
}

#[tokio::test]
async fn a_redis_that_hangs_costs_one_wait() {
    let redis = redis().await;
    let store = store(&redis);
    ping(&store).await.unwrap();
    redis.resume(false);
    for _ in 0..3 {
        let started = Instant::now();
        assert_eq!(ping(&store).await, Err(Unavailable));
        assert!(started.elapsed() < WAIT * 2, "{:?}", started.elapsed());
    }
    let started = Instant::now();
    for _ in 0..100 {
        let _ = ping(&store).await;
    }
    assert!(started.elapsed() < WAIT * 4, "{:?} for 100", started.elapsed());
    redis.resume(true);
    until("redis is found again", async || ping(&store).await.is_ok()).await;
}

#[tokio::test]
async fn a_replica_is_not_connected_to_at_every_call() {
    let server = redis().await;
    let store = store(&server);
    let set = async || {
        let mut set = ::redis::cmd("SET");
        set.arg("k").arg("v");
        store.redis().unwrap().ask(&set, WAIT).await.map(drop)
    };
    set().await.unwrap();
    server.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let connections = async || {
        let redis::Value::BulkString(text) = server.ask(&["INFO", "stats"]).await else { panic!("no text") };
        let text = String::from_utf8(text).unwrap();
        let (_, count) = text.split_once("total_connections_received:").unwrap();
        count.lines().next().unwrap().parse::<usize>().unwrap()
    };
    let (before, started, mut asked) = (connections().await, Instant::now(), 0);
    while started.elapsed() < Duration::from_millis(600) {
        assert_eq!(set().await, Err(Unavailable));
        asked += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // After 50, 100, 200 and 400 ms.
    let made = connections().await - before - 1;
    assert!(made <= 5 && asked > 30, "{made} connections for {asked} calls");
    server.ask(&["REPLICAOF", "NO", "ONE"]).await;
    until("it is found again", async || set().await.is_ok()).await;
}

#[tokio::test]
async fn who_has_no_patience_left_breaks_nothing() {
    let redis = redis().await;
    let store = store(&redis);
    ping(&store).await.unwrap();
    let connections = async || {
        let told = format!("{:?}", redis.ask(&["INFO", "stats"]).await);
        let (_, told) = told.split_once("total_connections_received:").unwrap();
        told.split(|byte: char| !byte.is_ascii_digit()).next().unwrap().parse::<u32>().unwrap()
    };
    let before = connections().await;
    for _ in 0..3 {
        redis.resume(false);
        let answer = store.redis().unwrap().ask(&::redis::cmd("PING"), Duration::from_millis(1)).await;
        assert_eq!(answer, Err(Unavailable));
        redis.resume(true);
        ping(&store).await.unwrap();
    }
    let after = connections().await;
    assert_eq!(after, before + 1, "the one that asks this, and no other");
}

#[tokio::test]
async fn what_one_gateway_tells_all_hear() {
    let mut redis = redis().await;
    let (one, other) = (store(&redis), store(&redis));
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let mut heard = other.listen();
    tokio::spawn(other.clone().watch(stop));
    assert_eq!(soon("the connection", heard.recv()).await.unwrap(), Event::Connected);

    one.tell("revoked", b"t1").await.unwrap();

    let told = Event::Told { topic: "revoked".into(), payload: b"t1"[..].into() };
    assert_eq!(soon("the event", heard.recv()).await.unwrap(), told);
    assert_eq!(other.is_connected(), Some(true));
    redis.kill();
    until("the loss is known", async || other.is_connected() == Some(false)).await;
    assert_eq!(one.tell("revoked", b"t2").await, Err(Unavailable));
    assert_eq!(soon("the loss", heard.recv()).await.unwrap(), Event::Lost);
    redis.start().await;
    assert_eq!(soon("the connection", heard.recv()).await.unwrap(), Event::Connected);
}

#[tokio::test]
async fn without_a_redis_a_gateway_hears_itself() {
    let none = config::Redis { url: None, password: None, cluster: false };
    let store = Store::compile(&none);
    let mut heard = store.listen();
    store.tell("revoked", b"t1").await.unwrap();
    assert_eq!(heard.recv().await.unwrap(), Event::Told { topic: "revoked".into(), payload: b"t1"[..].into() });
    assert_eq!(store.is_connected(), None);
}

#[tokio::test]
async fn health_and_metrics_say_whether_it_is_connected() {
    let mut redis = redis().await;
    let config = format!("public_endpoints: [health, health_detailed]\nredis: {{ url: \"{}\" }}", redis.url());
    let gateway = gateway().config(&config).start().await;
    let says = async |word: &str| {
        until(word, async || gateway.get("/health/detailed").await.value()["dependencies"]["redis"] == word).await;
    };
    for _ in 0..2 {
        says("connected").await;
        assert_eq!(gateway.metric("transom_redis_connected").to_string(), "1");
        redis.kill();
        says("disconnected").await;
        assert_eq!(gateway.metric("transom_redis_connected").to_string(), "0");
        redis.start().await;
    }
}

/// A gateway as a process, whose only limit counts in this Redis. Nobody serves what it stands before.
fn process(folder: &tempfile::TempDir, redis: &str) -> Process {
    let file = folder.path().join("transom.yaml");
    let text = format!(
        "listen: 127.0.0.1:0\nworkers: 1\nadmin: {{ listen: \"127.0.0.1:0\" }}\n\
         schema: {{ descriptor_sets: [\"{}/descriptors/booking.binpb\"] }}\n\
         upstreams: {{ auth: {{ services: [auth.AuthService], endpoints: [\"127.0.0.1:1\"] }} }}\n\
         redis: {redis}\nrate_limits: {{ public: {{ by: client, rate: 1000/min }} }}\n",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::write(&file, text).unwrap();
    Process::start(&["serve", "--config", file.to_str().unwrap()], &[])
}

#[tokio::test]
async fn a_redis_that_cannot_be_reached_is_told_with_its_address() {
    let (folder, server) = (tempfile::tempdir().unwrap(), redis_with(&["--requirepass", "s3cret"]).await);
    for (redis, address, why) in [
        ("{ url: \"redis://127.0.0.1:1\" }".to_owned(), "127.0.0.1:1".to_owned(), "refused"),
        (
            format!("{{ url: \"{}\", password: wr0ng }}", server.url()),
            server.address().to_string(),
            "authentication failed",
        ),
    ] {
        let gateway = process(&folder, &redis);
        let line = gateway.logged("redis cannot be reached");
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&told["level"], &told["address"]), (&"WARN".into(), &address.into()), "{line}");
        assert!(line.contains(why) && !line.contains("wr0ng"), "{line}");
        // It is tried again and again, and said once.
        for _ in 0..5 {
            Call::new(gateway.address, "GET", "/readyz").await.status(503);
        }
        let (_, log) = gateway.end("TERM");
        assert!(!log.iter().any(|line| line.contains("redis cannot be reached")), "{log:?}");
    }
}

#[tokio::test]
async fn a_user_who_may_not_listen_is_told_which_rights_it_lacks() {
    let (folder, server) = (tempfile::tempdir().unwrap(), redis().await);
    let rights = ["+@all", "-@dangerous", "-@admin", "~transom:*", "resetchannels"];
    server.ask(&[&["ACL", "SETUSER", "transom", "on", ">s3cret"], &rights[..]].concat()).await;
    let url = server.url().replace("redis://", "redis://transom@");
    let gateway = process(&folder, &format!("{{ url: \"{url}\", password: s3cret }}"));
    let line = gateway.logged("redis does not let its user hear");
    assert!(line.contains("NoPerm") && line.contains(&server.address().to_string()), "{line}");
    // What it says is enough.
    let (_, granted) = line.split_once("grant the user ").unwrap();
    let granted: Vec<_> = granted.split('"').next().unwrap().split(' ').collect();
    server.ask(&[&["ACL", "SETUSER", "transom"], &granted[..]].concat()).await;
    gateway.logged("redis is connected");
    let (_, log) = gateway.end("TERM");
    assert!(!log.iter().any(|line| line.contains("redis is gone")), "{log:?}");
}

#[tokio::test]
async fn a_redis_that_refuses_every_call_is_told_once() {
    let (folder, server) = (tempfile::tempdir().unwrap(), redis().await);
    let gateway = process(&folder, &format!("{{ url: \"{}\" }}", server.url()));
    gateway.logged("redis is connected");
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let login = serde_json::json!({ "email": "a@b.example", "password": "long enough" });
    for _ in 0..20 {
        Call::new(gateway.address, "POST", "/api/v1/auth/login").json(&login).await.status(503);
    }
    let (_, log) = gateway.end("TERM");
    let told: Vec<_> = log.iter().filter(|line| line.contains("redis refused or broke off")).collect();
    assert!(told.len() == 1 && told[0].contains("OOM"), "{told:?}");
}
