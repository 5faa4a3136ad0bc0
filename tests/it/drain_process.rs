//! SIGTERM to the real process, under load, with calls, streams and sockets of each kind in flight: not ready, goodbye in every
//! protocol, nothing in flight lost, exit 0.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use transom_transcode::status::Code;

use crate::support::client::{Call, Connection};
use crate::support::process::Process;
use crate::support::reply::{hang, ok};
use crate::support::socket::Socket;
use crate::support::streams::Streams;
use crate::support::upstream::Upstream;
use crate::support::{grpc, protos, soon, until, upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

/// A gateway as a process, and its configuration's folder.
async fn process(library: &Upstream) -> (Process, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("library.binpb"), protos::descriptors("library")).unwrap();
    let config = folder.path().join("transom.yaml");
    let text = format!(
        "listen: 127.0.0.1:0\nworkers: 2\nadmin: {{ listen: \"127.0.0.1:0\" }}\ndrain_timeout: 20s\n\
         schema: {{ descriptor_sets: [library.binpb], expose: all }}\n\
         upstreams: {{ library: {{ services: [library.v1.Library], endpoints: [\"{}\"] }} }}\n",
        library.address()
    );
    std::fs::write(&config, text).unwrap();
    let path = config.to_str().unwrap().to_owned();
    let process = tokio::task::spawn_blocking(move || Process::start(&["serve", "--config", &path], &[]));
    (process.await.unwrap(), folder)
}

/// Calls until nobody listens; each request that was sent and not refused must be answered. How many were.
fn client(address: SocketAddr, http2: bool, gone: Arc<AtomicBool>) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let answered = if http2 { over_http2(address).await } else { over_http1(address).await };
        assert!(gone.load(Ordering::Relaxed), "nobody listened before the end was asked for");
        answered
    })
}

async fn over_http1(address: SocketAddr) -> usize {
    let mut answered = 0;
    while let Ok(mut connection) = Connection::try_open(address).await {
        let outcome = loop {
            match connection.send("GET", BOOK).await {
                Ok(reply) => answered += usize::from(reply.status(200).status == 200),
                Err(error) => break error,
            }
        };
        let never_sent = outcome.is_canceled() || outcome.is_closed();
        assert!(never_sent, "a request was lost: {outcome:?}");
    }
    answered
}

async fn over_http2(address: SocketAddr) -> usize {
    let mut answered = 0;
    while let Ok(mut connection) = Streams::try_open(address).await {
        while let Some(reply) =
            connection.get(BOOK).await.unwrap_or_else(|error| panic!("a request was lost: {error:?}"))
        {
            answered += usize::from(reply.status(200).status == 200);
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_flight_is_lost_and_the_exit_is_clean() {
    let go_on = Arc::new(Notify::new());
    let (held, later) = (go_on.clone(), go_on.clone());
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", |_| ok(json!({ "title": "Dune" })).after(Duration::from_millis(5)))
        .unary("Echo", move |book| ok(book.clone()).when(&later))
        .server_stream("WatchBooks", move |_| {
            ok(json!({ "pages": "1" })).then_wait(&held).then(json!({ "pages": "2" }))
        })
        .start()
        .await;
    let (gateway, _folder) = process(&library).await;
    let (address, admin) = (gateway.address, gateway.admin.unwrap());

    // One of each kind in flight.
    let unary = grpc::call(address, "library.v1.Library/Echo");
    let unary = tokio::spawn(async move { unary.send(&[json!({ "title": "held" })]).await });
    let mut watch = grpc::call(address, "library.v1.Library/WatchBooks").open().await;
    watch.send(&json!({ "parent": "shelves/1" }));
    watch.close();
    assert_eq!(watch.next().await, Some(json!({ "pages": "1" })));
    let mut socket = Socket::open(address, "/library.v1.Library/WatchBooks", &[]).await;
    socket.json(&json!({ "parent": "shelves/1" })).await;
    assert_eq!(socket.value().await, json!({ "pages": "1" }));
    library.called("Echo", 1).await;
    let gone = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8).map(|at| client(address, at % 2 == 0, gone.clone())).collect();
    library.called("GetBook", 200).await;

    gone.store(true, Ordering::Relaxed);
    gateway.signal("TERM");
    until("it is not ready", async || Call::new(admin, "GET", "/readyz").await.status == 503).await;
    Call::new(admin, "GET", "/livez").await.status(200);
    let mut answered = 0;
    for client in clients {
        answered += soon("the client's end", client).await.unwrap();
    }
    // The load is gone; what was begun before still is there, and ends in its own time.
    go_on.notify_waiters();
    assert_eq!(watch.next().await, Some(json!({ "pages": "2" })));
    watch.status().await.failed(Code::Ok);
    assert_eq!(socket.value().await, json!({ "pages": "2" }));
    assert_eq!(socket.closed().await.0, 1000);
    soon("the call", unary).await.unwrap().ok(&[json!({ "title": "held" })]);

    let (code, _) = tokio::task::spawn_blocking(move || gateway.end("TERM")).await.unwrap();
    assert_eq!(code, Some(0));
    library.saw("GetBook").times(answered);
    assert!(answered >= 200, "{answered}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_twice_it_ends_at_once() {
    for (first, second) in [("TERM", "INT"), ("INT", "INT")] {
        let library = upstream::grpc("library.v1.Library").unary("Echo", |_| hang()).start().await;
        let (gateway, _folder) = process(&library).await;
        let call = grpc::call(gateway.address, "library.v1.Library/Echo");
        let call = tokio::spawn(async move { call.send(&[json!({})]).await });
        library.called("Echo", 1).await;
        let ended = tokio::task::spawn_blocking(move || {
            gateway.signal(first);
            let draining = gateway.logged("draining");
            (draining, gateway.end(second))
        });
        let (draining, (code, log)) = soon("the end", ended).await.unwrap();
        let said: Value = serde_json::from_str(&draining).unwrap();
        assert_eq!((&said["in_flight"], &said["drain_timeout"]), (&json!(1), &json!("20s")), "{draining}");
        assert!(draining.contains("another signal ends all calls at once"), "{draining}");
        assert_eq!(code, Some(0));
        assert!(log.iter().any(|line| line.contains("told to end at once: calls are ended")), "{log:#?}");
        assert!(log.last().is_some_and(|line| line.contains("\"stopped\"")), "{log:#?}");
        soon("the call", call).await.unwrap().failed(Code::Unavailable);
    }
}
