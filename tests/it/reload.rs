//! What runs is replaced, whole and at once: nothing in flight is lost, nothing that stays is touched, nothing old is kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use serde_json::json;
use tokio::sync::Notify;
use transom::reload::Refused;

use crate::support::gateway::{Builder, Running, gateway};
use crate::support::reply::{ok, stream};
use crate::support::socket::Socket;
use crate::support::upstream::{self, Upstream};
use crate::support::{soon, until};

const BOOK: &str = "/v1/shelves/1/books/7";
const RELOADS: usize = 100;

fn library() -> upstream::Builder {
    upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({ "title": "Dune" })))
}

fn behind(instances: &[&Upstream], keys: &str) -> Builder {
    gateway().descriptors("library").config("workers: 2").upstream_with("library", instances, keys)
}

fn told(refused: &Refused) -> Vec<String> {
    refused.problems.iter().map(ToString::to_string).collect()
}

/// Calls until it is told to stop; each must be answered.
async fn client(gateway: std::net::SocketAddr, http2: bool, stop: Arc<AtomicBool>) -> usize {
    use crate::support::client::{Connection, Http2};
    let mut calls = 0;
    if http2 {
        let connection = Http2::try_open(gateway).await.unwrap();
        while !stop.load(Ordering::Relaxed) {
            connection.get(BOOK).await.expect("no connection is closed").status(200);
            calls += 1;
        }
    } else {
        let mut connection = Connection::try_open(gateway).await.unwrap();
        while !stop.load(Ordering::Relaxed) {
            connection.send("GET", BOOK).await.expect("no connection is closed").status(200);
            calls += 1;
        }
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_lose_no_call_and_no_stream() {
    let go_on = Arc::new(Notify::new());
    let held = Arc::clone(&go_on);
    let library_one = library()
        .server_stream("WatchBooks", move |_| {
            (1..=RELOADS + 1)
                .fold(stream([]), |reply, at| reply.then(json!({ "pages": at.to_string() })).then_wait(&held))
        })
        .client_stream("ImportBooks", |books| ok(json!({ "imported": books.len() })))
        .bidi("Discuss", |remark| vec![remark.clone()])
        .start()
        .await;
    let (spare, internals) = (library().start().await, upstream::grpc("library.v1.Internals").start().await);
    // A client stream has a deadline.
    let gateway = behind(&[&library_one], "timeout: 10min").expose_all().start().await;

    let mut import = gateway.grpc("library.v1.Library/ImportBooks").open().await;
    let mut talk = gateway.grpc("library.v1.Library/Discuss").open().await;
    let mut socket = Socket::open(gateway.address(), "/library.v1.Library/Discuss", &[]).await;
    let mut watch = gateway.grpc("library.v1.Library/WatchBooks").open().await;
    watch.send(&json!({ "parent": "shelves/1" }));
    watch.close();
    assert_eq!(watch.next().await, Some(json!({ "pages": "1" })));
    // Each has found its route, and goes on by it: not all that comes later would.
    library_one.called("ImportBooks", 1).await;
    library_one.called("Discuss", 2).await;
    let stop = Arc::new(AtomicBool::new(false));
    let address = gateway.address();
    let clients: Vec<_> = (0..4).map(|at| tokio::spawn(client(address, at % 2 == 0, stop.clone()))).collect();
    library_one.called("GetBook", 20).await;

    let mut before = Vec::new();
    let calls_at = |upstream: &Upstream| upstream.saw("GetBook").calls.len();
    for at in 0..RELOADS {
        before.push(Arc::downgrade(&*gateway.state.snapshot.load()));
        let timeout = format!("timeout: {}s, limits: {{ in_flight: {} }}", 5 + at % 3, 500 + at);
        let next = match at % 3 {
            0 => behind(&[&library_one], &timeout),
            1 => behind(&[&library_one, &spare], &timeout).upstream("internals", &internals).expose_all(),
            _ => behind(&[&spare, &library_one], &timeout),
        };
        let applied = gateway.reload(&next).await.unwrap_or_else(|refused| panic!("{:?}", told(&refused)));
        assert_eq!(applied.version, at as u64 + 2);
        let done = calls_at(&library_one) + calls_at(&spare);
        go_on.notify_one();
        assert_eq!(watch.next().await, Some(json!({ "pages": (at + 2).to_string() })));
        let remark = json!({ "text": at.to_string() });
        import.send(&json!({ "title": at.to_string() }));
        talk.send(&remark);
        assert_eq!(talk.next().await, Some(remark.clone()));
        socket.json(&remark).await;
        assert_eq!(socket.value().await, remark);
        until("calls after the reload", async || calls_at(&library_one) + calls_at(&spare) > done + 8).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for client in clients {
        answered += soon("the client's end", client).await.unwrap();
    }
    assert_eq!(answered, calls_at(&library_one) + calls_at(&spare), "each was sent once");
    assert!(calls_at(&spare) > 0);
    // One look, and a connection for each worker.
    assert!(library_one.connections() <= 3, "{} connections were made", library_one.connections());
    assert_eq!(gateway.metric("transom_reloads_total{outcome=\"applied\"}"), RELOADS as f64);
    assert_eq!(gateway.metric("transom_config_version"), RELOADS as f64 + 1.0);

    go_on.notify_one();
    assert_eq!(watch.next().await, None);
    watch.status().await.ok(&[]);
    import.close();
    let imported = import.next().await;
    import.status().await.ok(&[]);
    assert_eq!(imported, Some(json!({ "imported": RELOADS })));
    talk.close();
    talk.status().await.ok(&[]);
    socket.end().await;
    assert_eq!(socket.closed().await.0, 1000);
    until("old snapshots are gone", async || before.iter().all(|snapshot| snapshot.upgrade().is_none())).await;
}

#[tokio::test]
async fn what_a_reload_replaced_is_freed_as_soon_as_its_last_stream_ends() {
    let go_on = Arc::new(Notify::new());
    let held = Arc::clone(&go_on);
    let old = library().server_stream("WatchBooks", move |_| ok(json!({})).then_wait(&held)).start().await;
    let new = library().start().await;
    let gateway = behind(&[&old], "health_check: { interval: 100ms }").start().await;
    let mut watch = gateway.grpc("library.v1.Library/WatchBooks").open().await;
    watch.send(&json!({}));
    watch.close();
    watch.next().await;
    let (snapshot, schema, upstream) = {
        let snapshot = gateway.state.snapshot.load();
        let upstream = Arc::downgrade(&snapshot.upstreams["library"]);
        (Arc::downgrade(&*snapshot), Arc::downgrade(&snapshot.schema), upstream)
    };
    gateway.reload(&behind(&[&new], "")).await.unwrap();
    gateway.get(BOOK).await.status(200);
    new.saw("GetBook").times(1);
    assert!(snapshot.upgrade().is_none(), "calls hold routes, not snapshots");
    assert!(upstream.upgrade().is_some(), "the stream goes on");
    // Nobody asks for its health any more, and it keeps the one connection that the stream needs.
    until("only the stream's connection", async || gateway.metric(&connections(&old)) == 1.0).await;
    go_on.notify_one();
    assert_eq!(watch.next().await, None);
    watch.status().await.ok(&[]);
    until("all of it is gone", async || schema.upgrade().is_none() && upstream.upgrade().is_none()).await;
    until("no series", async || !gateway.state.metrics.encode().contains(&connections(&old))).await;
}

fn connections(upstream: &Upstream) -> String {
    format!("transom_upstream_connections{{upstream=\"library\",endpoint=\"{}\"}}", upstream.address())
}

#[tokio::test]
async fn a_reload_that_cannot_be_says_all_and_changes_nothing() {
    let library = library().start().await;
    let gateway = behind(&[&library], "").start().await;
    gateway.get(BOOK).await.status(200);
    let before = Arc::downgrade(&*gateway.state.snapshot.load());
    let refused = gateway.reload(&at_other_ports(&library)).await.unwrap_err();
    let lines = told(&refused);
    for start in ["listen: has changed, which needs a restart", "workers: has", "admin.listen: has"] {
        assert!(lines.iter().any(|line| line.contains(start)), "{start} is not in {lines:#?}");
    }
    assert!(lines.iter().any(|line| line.contains("library.v1.Library/Nothing")), "{lines:#?}");
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(Weak::ptr_eq(&before, &Arc::downgrade(&*gateway.state.snapshot.load())));
    gateway.get(BOOK).await.status(200);
    assert!(library.connections() <= 3, "{} connections were made", library.connections());
    assert_eq!(gateway.state.reloads.loaded().version, 1);
}

fn at_other_ports(library: &Upstream) -> Builder {
    gateway()
        .descriptors("library")
        .config("workers: 1\nlisten: 127.0.0.1:1\nadmin: { listen: \"127.0.0.1:2\" }")
        .config("methods: { library.v1.Library/Nothing: {} }")
        .upstream("library", library)
}

#[tokio::test]
async fn what_is_read_at_each_call_changes_with_it() {
    let library = library().start().await;
    let gateway = behind(&[&library], "").start().await;
    gateway.get("/health/detailed").await.status(404);
    gateway.admin("/routes").header("authorization", "Bearer new").header("host", "other").await.status(403);
    let admin = "admin: { listen: \"127.0.0.1:0\", token: new }\npublic_endpoints: [health_detailed]";
    gateway.reload(&behind(&[&library], "").config(admin)).await.unwrap();
    until("up", async || gateway.get("/health/detailed").await.status == 200).await;
    gateway.get("/health").await.status(404);
    gateway.admin("/routes").header("authorization", "Bearer new").header("host", "other").await.status(200);
}

#[tokio::test]
async fn nobody_reloads_what_was_not_loaded_from_anywhere() {
    let library = library().start().await;
    let gateway: Running = behind(&[&library], "").start().await;
    drop(gateway.state.reloads.take());
    gateway.admin_request("POST", "/reload").await.status(409).reason("NO_RELOAD");
}
