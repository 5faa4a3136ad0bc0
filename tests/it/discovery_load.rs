//! Endpoints that come and go under load: no call fails for it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::support::cluster::api_server;
use crate::support::dns::dns;
use crate::support::gateway::{Running, gateway};
use crate::support::reply::ok;
use crate::support::until;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

async fn libraries() -> [Upstream; 4] {
    let mut all = Vec::new();
    for number in 0..4 {
        let book = json!({ "title": number.to_string() });
        all.push(upstream::grpc("library.v1.Library").unary("GetBook", move |_| ok(book.clone())).start().await);
    }
    all.try_into().unwrap_or_else(|_| unreachable!())
}

/// Clients that call without a pause, each on a connection of its own, until they are told to end.
struct Load {
    calls: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    fn begin(gateway: &Running) -> Self {
        let (calls, ends) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mut clients = JoinSet::new();
        for _ in 0..6 {
            let (address, calls, ends) = (gateway.address(), calls.clone(), ends.clone());
            clients.spawn(async move {
                let mut connection = crate::support::client::Connection::open(address).await;
                while !ends.load(Relaxed) {
                    let reply = connection.send("GET", BOOK).await.unwrap();
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    calls.fetch_add(1, Relaxed);
                }
            });
        }
        Self { calls, ends, clients }
    }

    /// How many calls there were; a panic if one has failed.
    async fn end(mut self) -> usize {
        self.ends.store(true, Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        self.calls.load(Relaxed)
    }
}

/// Waits until these have the calls, and others none.
async fn until_moved(all: &[Upstream; 4], to: [usize; 2]) {
    let calls = |at: usize| all[at].saw("GetBook").calls().len();
    let before = to.map(calls);
    until("calls at the others", async || calls(to[0]) > before[0] && calls(to[1]) > before[1]).await;
}

fn slice(library: &Upstream, conditions: &Value) -> Value {
    json!({
        "metadata": { "labels": { "kubernetes.io/service-name": "books" } },
        "addressType": "IPv4",
        "ports": [{ "name": "grpc", "port": library.address().port() }],
        "endpoints": [{ "addresses": ["127.0.0.1"], "conditions": conditions }],
    })
}

#[tokio::test]
async fn pods_are_replaced_again_and_again() {
    let (api, all) = (api_server().await, libraries().await);
    let ready = json!({ "ready": true });
    let leaving = json!({ "ready": false, "serving": true, "terminating": true });
    for at in [0, 1] {
        api.set(&format!("books-{at}"), slice(&all[at], &ready));
    }
    let section = api.section();
    let gateway = gateway().descriptors("library").config(&format!(
        "{section}\nupstreams: {{ library: {{ services: [library.v1.Library], endpoints: [\"kubernetes://books:grpc\"] }} }}"
    ));
    let gateway = gateway.start().await;
    gateway.get(BOOK).await.status(200);
    let load = Load::begin(&gateway);
    for round in 0..20 {
        let (old, new) = if round % 2 == 0 { ([0, 1], [2, 3]) } else { ([2, 3], [0, 1]) };
        for at in new {
            api.set(&format!("books-{at}"), slice(&all[at], &ready));
        }
        for at in old {
            match round % 3 {
                0 => api.set(&format!("books-{at}"), slice(&all[at], &leaving)),
                _ => api.delete(&format!("books-{at}")),
            }
        }
        until_moved(&all, new).await;
        if round % 3 == 0 {
            old.into_iter().for_each(|at| api.delete(&format!("books-{at}")));
        }
        if round % 7 == 6 {
            api.cut();
        }
    }
    let calls = load.end().await;
    assert!(calls > 200, "{calls} calls");
}

#[tokio::test]
async fn names_move_between_sets_of_servers() {
    let (dns, all) = (dns().await, libraries().await);
    dns.has("here.test", &["127.0.0.1".parse().unwrap()]);
    let offer = |of: [usize; 2]| {
        let ports = of.map(|at| all[at].address().port());
        dns.offers("_grpc._tcp.books.test", &ports.map(|port| (0, 0, port, "here.test")));
    };
    offer([0, 1]);
    let gateway = gateway().descriptors("library").config(&format!(
        "dns: {{ servers: [\"{}\"] }}\nupstreams: {{ library: {{ services: [library.v1.Library], endpoints: [\"srv://_grpc._tcp.books.test\"] }} }}",
        dns.address
    ));
    let gateway = gateway.start().await;
    gateway.get(BOOK).await.status(200);
    let load = Load::begin(&gateway);
    for to in [[2, 3], [0, 2], [1, 3]] {
        offer(to);
        until_moved(&all, to).await;
    }
    assert!(load.end().await > 100);
}

#[tokio::test]
async fn one_that_does_not_serve_finishes_its_calls_and_gets_no_others() {
    let held = Arc::new(Notify::new());
    let waiting = held.clone();
    let old = upstream::grpc("library.v1.Library").unary("GetBook", move |book| {
        let old = ok(json!({ "title": "old" }));
        if book["name"] == "shelves/1/books/hold" { old.when(&waiting) } else { old }
    });
    let (old, [new, ..]) = (old.start().await, libraries().await);
    let keys = "health_check: { interval: 100ms }";
    let gateway = gateway().descriptors("library").upstream_with("library", &[&old, &new], keys).start().await;
    until("both", async || gateway.state.snapshot.load().upstreams["library"].usable() == 2).await;
    // It is the turn of each of the two once.
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        let call = gateway.get("/v1/shelves/1/books/hold");
        calls.spawn(async move { call.await.status(200).value()["title"].as_str().unwrap().to_owned() });
    }
    old.called("GetBook", 1).await;
    let load = Load::begin(&gateway);
    old.set_serving(false);
    until("one to leave", async || gateway.state.snapshot.load().upstreams["library"].usable() == 1).await;
    // Those whose turn it was before may still be on their way.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let before = old.saw("GetBook").calls().len();
    for _ in 0..20 {
        gateway.get(BOOK).await.json(&json!({ "title": "0" }));
    }
    assert_eq!(old.saw("GetBook").calls().len(), before);
    load.end().await;
    held.notify_waiters();
    let mut answers = Vec::new();
    while let Some(answer) = calls.join_next().await {
        answers.push(answer.unwrap());
    }
    assert!(answers.contains(&"old".to_owned()), "{answers:?}");
}
