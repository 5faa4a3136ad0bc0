//! Overload: calls in flight are bounded, and who matters less is refused first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use transom_transcode::status::Code;

use crate::support::client::Connection;
use crate::support::gateway::{Builder, Running, gateway};
use crate::support::library::library;
use crate::support::reply::ok;
use crate::support::socket::Socket;
use crate::support::speak::Speech;
use crate::support::upstream::Upstream;
use crate::support::{until, upstream};

const BOOK: &str = "/v1/shelves/1/books/7";
const HELD: &str = "/v1/shelves/hang/books:watch";
const PRIORITIES: &str = "
methods:
  library.v1.Library/GetBook: { priority: low }
  library.v1.Library/WatchBooks: { priority: high }";

fn front(library: &Upstream, keys: &str, config: &str) -> Builder {
    let builder = gateway().descriptors("library").expose_all().upstream_with("library", &[library], keys);
    builder.config(PRIORITIES).config(config)
}

/// So many streams that are open until they are dropped.
async fn hold(gateway: &Running, library: &Upstream, streams: usize) -> Vec<impl Sized + use<>> {
    let before = library.saw("WatchBooks").calls().len();
    let mut held = Vec::new();
    for _ in 0..streams {
        held.push(gateway.get(HELD).open().await);
    }
    library.called("WatchBooks", before + streams).await;
    held
}

async fn watch(gateway: &Running) -> u16 {
    gateway.get("/v1/shelves/1/books:watch").await.status.as_u16()
}

async fn echo(gateway: &Running) -> u16 {
    gateway.post("/v1/echo", &json!({})).await.status.as_u16()
}

#[tokio::test]
async fn a_full_gateway_refuses_who_matters_less_first() {
    let library = library().await;
    let gateway = front(&library, "", "overload: { in_flight: 20 }").start().await;
    let mut held = hold(&gateway, &library, 14).await;
    gateway.get(BOOK).await.status(200);
    // A quarter of the places is free, and is kept.
    held.extend(hold(&gateway, &library, 1).await);
    gateway.get(BOOK).await.status(503).reason("OVERLOADED").header("retry-after", "1");
    assert_eq!((echo(&gateway).await, watch(&gateway).await), (200, 200));
    held.extend(hold(&gateway, &library, 2).await);
    assert_eq!((echo(&gateway).await, watch(&gateway).await), (200, 200));
    held.extend(hold(&gateway, &library, 1).await);
    // What streams leaves an eighth to calls.
    assert_eq!((echo(&gateway).await, watch(&gateway).await), (503, 503));
    // Health goes on answering: who asks for it must not take a busy gateway for a dead one.
    gateway.get("/health").await.status(200);
    gateway.get("/readyz").await.status(200);
    let refused =
        |priority| gateway.metric(&format!("transom_refusals_total{{gate=\"overload\",reason=\"{priority}\"}}"));
    assert_eq!(["low", "normal", "high"].map(refused), [1.0, 1.0, 1.0]);
    assert_eq!(refused("client"), 0.0);
    // What was refused went nowhere, and places come back when streams end.
    library.saw("GetBook").times(1);
    drop(held);
    until("all is let in again", async || gateway.get(BOOK).await.status == 200).await;
}

#[tokio::test]
async fn one_client_has_its_part_and_leaves_the_others_theirs() {
    let library = library().await;
    let config = "overload: { in_flight: 40, in_flight_per_client: 3 }\ntrusted_proxies: [127.0.0.1]";
    let gateway = front(&library, "", config).start().await;
    let mut held = Vec::new();
    for at in 1..=3 {
        held.push(gateway.get(HELD).header("x-forwarded-for", "192.0.2.1").open().await);
        library.called("WatchBooks", at).await;
    }
    let call = async |client: &str| gateway.get(BOOK).header("x-forwarded-for", client).await;
    call("192.0.2.1").await.status(429).reason("RATE_LIMITED").header("retry-after", "1");
    let grpc = gateway.grpc("library.v1.Library/GetBook").header("x-forwarded-for", "192.0.2.1");
    assert_eq!(grpc.send(&[json!({ "name": "shelves/1/books/7" })]).await.code, Code::ResourceExhausted);
    call("192.0.2.2").await.status(200);
    gateway.get("/health").header("x-forwarded-for", "192.0.2.1").await.status(200);
    library.saw("GetBook").times(1);
    assert_eq!(gateway.metric("transom_refusals_total{gate=\"overload\",reason=\"client\"}"), 2.0);
    // What calls by the proxy itself, such as its own checks, is nobody's flood.
    let mut own = hold(&gateway, &library, 4).await;
    own.clear();
    held.pop();
    until("it has a place again", async || call("192.0.2.1").await.status == 200).await;
}

#[tokio::test]
async fn who_is_not_let_in_gets_no_fallback() {
    let library = library().await;
    let config = "overload: { in_flight: 4 }
methods: { library.v1.Library/Echo: { fallback: { status: 200, json: '{}' } } }";
    let gateway = gateway().descriptors("library").expose_all().upstream("library", &library).config(config);
    let gateway = gateway.start().await;
    let held = hold(&gateway, &library, 4).await;
    gateway.post("/v1/echo", &json!({})).await.status(503).reason("OVERLOADED");
    drop(held);
    library.stop().await;
    until("the fallback", async || echo(&gateway).await == 200).await;
}

#[tokio::test]
async fn every_dialect_says_that_the_gateway_is_full() {
    let library = library().await;
    let gateway = front(&library, "", "overload: { in_flight: 4 }").start().await;
    let _held = hold(&gateway, &library, 3).await;
    for speech in Speech::UNARY {
        for version in speech.versions() {
            println!("{speech:?} over HTTP/{version}");
            let reply =
                speech.call(*version, "GetBook").send(&gateway, &[json!({ "name": "shelves/1/books/7" })]).await;
            assert_eq!(reply.code, Some(Code::Unavailable), "{reply:?}");
            assert!(reply.details.iter().any(|detail| detail.ends_with("google.rpc.RetryInfo")), "{reply:?}");
        }
    }
    library.saw("GetBook").times(0);
}

#[tokio::test]
async fn a_full_upstream_leaves_the_others_alone() {
    let library = library().await;
    let rules = upstream::grpc("rules.v1.Rules").unary("Thing", |request| ok(request.clone())).start().await;
    let gateway = front(&library, "limits: { in_flight: 20 }", "").descriptors("rules").upstream("rules", &rules);
    let gateway = gateway.start().await;
    let mut held = hold(&gateway, &library, 15).await;
    gateway.get(BOOK).await.status(503).reason("OVERLOADED").header("retry-after", "1");
    assert_eq!(echo(&gateway).await, 200);
    // Of what its priority may have, a stream leaves an eighth to calls.
    held.extend(hold(&gateway, &library, 3).await);
    assert_eq!((echo(&gateway).await, watch(&gateway).await), (503, 503));
    let reply = gateway.grpc("rules.v1.Rules/Thing").send(&[json!({})]).await;
    assert_eq!(reply.code, Code::Ok);
    let socket = Socket::try_open(gateway.address(), "/v1/shelves/1/books:watch", &[]).await;
    assert_eq!(
        socket.err().map(|status| status.as_u16()),
        Some(503),
        "before it is open, so that whoever is between sees it"
    );
    let refused = |upstream| {
        gateway.metric(&format!("transom_refusals_total{{gate=\"upstream_in_flight\",reason=\"{upstream}\"}}"))
    };
    assert_eq!((refused("library"), refused("rules")), (4.0, 0.0));
    assert_eq!(gateway.metric("transom_refusals_total{gate=\"overload\",reason=\"low\"}"), 0.0);
}

#[tokio::test]
async fn a_reload_changes_the_limit_and_forgets_no_call() {
    let library = library().await;
    let gateway = front(&library, "", "overload: { in_flight: 4 }").start().await;
    let held = hold(&gateway, &library, 4).await;
    assert_eq!(watch(&gateway).await, 503);
    gateway.reload(&front(&library, "", "overload: { in_flight: 5 }")).await.unwrap();
    let more = hold(&gateway, &library, 1).await;
    assert_eq!(watch(&gateway).await, 503);
    drop(held);
    until("there is room", async || watch(&gateway).await == 200).await;
    drop(more);
}

#[tokio::test]
async fn an_upstream_that_slows_is_given_fewer_calls_and_all_again_once_it_is_well() {
    let pause = Arc::new(AtomicU64::new(50));
    let takes = pause.clone();
    let library = upstream::grpc("library.v1.Library")
        .unary("Echo", move |_| ok(json!({})).after(Duration::from_millis(takes.load(Relaxed))))
        .start()
        .await;
    let keys = "limits: { in_flight: 12 }, adaptive_concurrency: { min: 2, tolerance: 4 }";
    let gateway = front(&library, keys, "").start().await;
    let there = || {
        let labels = format!("upstream=\"library\",endpoint=\"{}\"", library.address());
        gateway.metric(&format!("transom_upstream_in_flight{{{labels}}}"))
    };
    let limit = || gateway.metric("transom_upstream_in_flight_limit{upstream=\"library\"}");
    assert_eq!(limit(), 2.0);
    let load: Vec<_> = (0..12)
        .map(|_| {
            let (address, statuses) = (gateway.address(), Arc::default());
            let counted: Arc<Mutex<Vec<u16>>> = Arc::clone(&statuses);
            let calls = tokio::spawn(async move {
                let mut connection = Connection::try_open(address).await.unwrap();
                loop {
                    let status = connection.send("POST", "/v1/echo").await.unwrap().status.as_u16();
                    counted.lock().push(status);
                    if status == 503 {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            });
            (calls, statuses)
        })
        .collect();
    // What was measured at first, maybe under load, is measured again: before that nobody knows what is slow.
    until("it is measured", async || limit() == 1.0).await;
    until("it is given all that there is", async || limit() == 12.0 && there() >= 9.0).await;
    pause.store(500, Relaxed);
    until("it is given few", async || limit() == 2.0 && there() <= 2.0).await;
    for _ in 0..20 {
        assert!(there() <= 2.0, "{} are there", there());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pause.store(50, Relaxed);
    until("it is given many again", async || there() >= 9.0).await;
    for (calls, statuses) in load {
        calls.abort();
        assert!(statuses.lock().iter().all(|status| matches!(status, 200 | 503)));
    }
}
