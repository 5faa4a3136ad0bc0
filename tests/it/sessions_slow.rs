//! Sessions whose service is slow rather than dead: its tokens are good once, and whoever waits, it hears of each once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;
use transom_transcode::status::Code;

use crate::support::client::Reply;
use crate::support::gateway::{Running, gateway};
use crate::support::redis::{Redis, redis};
use crate::support::reply::{fail, ok};
use crate::support::tokens::{SECRET, token};
use crate::support::until;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

/// A service that renews by `Echo`: a book's title is its access token, its name the refresh token, which is good once. What
/// begins with `slow-` waits to be let go on.
async fn library(go_on: &Arc<Notify>) -> Upstream {
    let (held, used) = (go_on.clone(), Mutex::new(HashSet::new()));
    upstream::grpc("library.v1.Library")
        .unary("Echo", move |book| {
            let sent = book["name"].as_str().unwrap_or_default().to_owned();
            if !used.lock().insert(sent.clone()) {
                return fail(Code::Unauthenticated, "the refresh token was used before; its session has ended");
            }
            let pair = ok(json!({ "title": token(&json!({ "jti": sent })), "name": format!("after-{sent}") }));
            match sent.split('-').next().unwrap_or_default() {
                "slow" => pair.when(&held),
                "late" => pair.after(Duration::from_millis(1500)),
                "cut" => pair.then_reset(),
                "lost" => fail(Code::DeadlineExceeded, "gave up"),
                "busy" => fail(Code::Unavailable, "later"),
                _ => pair,
            }
        })
        .unary("GetBook", |asked| ok(json!({ "name": asked["name"] })))
        .unary("CreateBook", |_| ok(json!({})))
        .start()
        .await
}

async fn start(library: &Upstream, redis: Option<&Redis>, methods: &str) -> Running {
    let shared = redis.map(|redis| format!("redis: {{ url: \"{}\" }}\n", redis.url())).unwrap_or_default();
    let config = format!(
        "{shared}auth: {{ jwt: {{ secret: {SECRET} }}, sources: [bearer, {{ cookie: at }}] }}
sessions:
  login: library.v1.Library/CreateBook
  refresh: library.v1.Library/Echo
  access_token: {{ field: title, cookie: at }}
  refresh_token: {{ field: name, cookie: rt }}
  automatic: true
methods:
  library.v1.Library/CreateBook: {{ auth: public }}
  library.v1.Library/Echo: {{ auth: public }}\n{methods}"
    );
    gateway().descriptors("library").upstream_with("library", &[library], "timeout: 10s").config(&config).start().await
}

/// One call that is renewed on its way, and how long it took.
async fn call(gateway: &Running, refresh: &str) -> (Reply, Duration) {
    let begun = Instant::now();
    let answer = gateway.get(BOOK).header("cookie", &format!("rt={refresh}")).await;
    (answer, begun.elapsed())
}

fn cookies(answer: &Reply) -> Vec<&str> {
    answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn a_service_that_pauses_ends_no_session() {
    let (go_on, redis) = (Arc::new(Notify::new()), redis().await);
    let library = library(&go_on).await;
    let (one, other) = (start(&library, Some(&redis), "").await, start(&library, Some(&redis), "").await);
    let alone = start(&library, None, "").await;
    let told = async |gateway: &Running, refresh: &str, later: u64| {
        sleep(Duration::from_secs(later)).await;
        let (answer, took) = call(gateway, refresh).await;
        answer.status(503).reason("AUTH_UNAVAILABLE").no_header("set-cookie");
        assert!((4..7).contains(&took.as_secs()), "{took:?}");
    };
    // Three pages at once, and another that comes three seconds after them, at this gateway and at that.
    tokio::join!(
        async { tokio::join!(told(&one, "slow-1", 0), told(&one, "slow-1", 0), told(&one, "slow-1", 0)) },
        async { tokio::join!(told(&one, "slow-1", 3), told(&other, "slow-1", 3)) },
        async { tokio::join!(told(&alone, "slow-2", 0), told(&alone, "slow-2", 0), told(&alone, "slow-2", 3)) },
    );
    assert_eq!(library.saw("Echo").calls().len(), 2, "asked once for each token");
    // It goes on, and has renewed what nobody waits for: the browser's next try gets that.
    go_on.notify_waiters();
    for (gateways, refresh) in [(vec![&one, &other], "slow-1"), (vec![&alone], "slow-2")] {
        let mut set = Vec::new();
        for gateway in gateways.into_iter().cycle().take(4) {
            let (answer, _) = call(gateway, refresh).await;
            set.push(cookies(answer.status(200)).join(" "));
        }
        assert!(set[0].contains(&format!("rt=after-{refresh};")) && set.iter().all(|one| *one == set[0]), "{set:?}");
    }
    assert_eq!(library.saw("Echo").calls().len(), 2);
}

#[tokio::test]
async fn what_became_of_a_token_that_nobody_knows_is_not_asked_again_at_once() {
    let library = library(&Arc::default()).await;
    let redis = redis().await;
    for (redis, kind) in [(Some(&redis), "shared"), (None, "alone")] {
        let gateway = start(&library, redis, "").await;
        let asked = || library.saw("Echo").calls().len();
        for lost in ["cut", "lost"] {
            let before = asked();
            for _ in 0..3 {
                let (answer, took) = call(&gateway, &format!("{lost}-{kind}")).await;
                assert!(took < Duration::from_secs(3), "it is known that nobody knows: {took:?}");
                answer.status(503).reason("AUTH_UNAVAILABLE").no_header("set-cookie");
            }
            assert_eq!(asked() - before, 1, "{lost}");
        }
        // A service that says that it is busy has not done it, and is asked again: this one has.
        let before = asked();
        call(&gateway, &format!("busy-{kind}")).await.0.status(503).no_header("set-cookie");
        call(&gateway, &format!("busy-{kind}")).await.0.status(401);
        assert_eq!(asked() - before, 2);
    }
}

#[tokio::test]
async fn who_waits_for_another_gateway_asks_the_store_seldom_and_together() {
    let (go_on, redis) = (Arc::new(Notify::new()), redis().await);
    let library = library(&go_on).await;
    let (one, other) = (start(&library, Some(&redis), "").await, start(&library, Some(&redis), "").await);
    let first = tokio::spawn(one.get(BOOK).header("cookie", "rt=slow-3").try_send());
    library.called("Echo", 1).await;
    let waiting: Vec<_> =
        (0..40).map(|_| tokio::spawn(other.get(BOOK).header("cookie", "rt=slow-3").try_send())).collect();
    let commands = async || {
        let redis::Value::BulkString(info) = redis.ask(&["INFO", "stats"]).await else { panic!("no text") };
        let info = String::from_utf8(info).unwrap();
        let count = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        count.unwrap().trim().parse::<u64>().unwrap()
    };
    until("they wait", async || other.metric("transom_in_flight") >= 40.0).await;
    let before = commands().await;
    sleep(Duration::from_secs(2)).await;
    let asked = commands().await - before;
    assert!(asked < 100, "{asked} commands in two seconds, by forty who wait for one");
    go_on.notify_waiters();
    let set = cookies(first.await.unwrap().unwrap().status(200)).join(" ");
    for answer in waiting {
        assert_eq!(cookies(answer.await.unwrap().unwrap().status(200)).join(" "), set);
    }
    library.saw("Echo").times(1);
}

#[tokio::test]
async fn a_call_waits_for_its_renewal_no_longer_than_it_may_take() {
    let (go_on, redis) = (Arc::new(Notify::new()), redis().await);
    let library = library(&go_on).await;
    for redis in [Some(&redis), None] {
        let gateway = start(&library, redis, "  library.v1.Library/GetBook: { timeout: 700ms }").await;
        let kind = if redis.is_some() { "shared" } else { "alone" };
        let refresh = format!("rt=late-{kind}");
        let rest = async |refresh: &str| gateway.get(BOOK).header("cookie", refresh).await;
        let connect = async |refresh: &str| {
            let call = gateway.post("/library.v1.Library/GetBook", &json!({})).header("cookie", refresh);
            call.header("connect-timeout-ms", "300").await
        };
        let web = async |refresh: &str| {
            let call = gateway.request("POST", "/library.v1.Library/GetBook").header("cookie", refresh);
            let call = call.header("content-type", "application/grpc-web+proto").header("grpc-timeout", "300m");
            call.body(crate::support::grpc::frame(b"").to_vec()).await
        };
        let begun = Instant::now();
        let (rest, connect, web) = tokio::join!(rest(&refresh), connect(&refresh), web(&refresh));
        assert!(begun.elapsed() < Duration::from_millis(1400), "{:?}", begun.elapsed());
        rest.status(504).reason("DEADLINE").no_header("set-cookie");
        connect.status(504).no_header("set-cookie");
        assert_eq!(web.no_header("set-cookie").headers["grpc-status"], "4");
        // The renewal goes on, and is there for the next.
        until("the renewal", async || gateway.get(BOOK).header("cookie", &refresh).await.status == 200).await;
        library.saw("Echo").times(if redis.is_some() { 1 } else { 2 });
        assert_eq!(library.saw("Echo").last().messages[0]["name"], Value::from(format!("late-{kind}")));
    }
}
