//! Endpoints by EndpointSlices: what an API server says, and what holds while it does not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Notify;
use transom::config;
use transom::discovery::{Discovery, Search};

use crate::support::cluster::{ApiServer, Asked, api_server};
use crate::support::gateway::{Builder, Running, gateway};
use crate::support::reply::ok;
use crate::support::tls::Authority;
use crate::support::upstream::{self, Upstream};
use crate::support::{soon, until};

const BOOK: &str = "/v1/shelves/1/books/7";

fn book(title: &str) -> upstream::Builder {
    let book = json!({ "title": title });
    upstream::grpc("library.v1.Library").unary("GetBook", move |_| ok(book.clone()))
}

/// A gateway whose library is found by this API server.
fn found_by(api: &ApiServer, endpoint: &str) -> Builder {
    let section = api.section();
    gateway().descriptors("library").config(&format!(
        "{section}\nupstreams: {{ library: {{ services: [library.v1.Library], endpoints: [\"{endpoint}\"] }} }}"
    ))
}

/// A slice of the service `books`.
fn slice(ports: &Value, endpoints: &[Value]) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "labels": { "kubernetes.io/service-name": "books" } },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": endpoints,
    })
}

fn grpc(port: u16) -> Value {
    json!([{ "name": "metrics", "port": 9090, "protocol": "TCP" }, { "name": "grpc", "port": port, "protocol": "TCP" }])
}

/// A slice of one pod, which runs here.
fn pod(library: &Upstream, conditions: &Value) -> Value {
    let SocketAddr::V4(address) = library.address() else { unreachable!() };
    slice(&grpc(address.port()), &[json!({ "addresses": [address.ip().to_string()], "conditions": conditions })])
}

fn ready() -> Value {
    json!({ "ready": true, "serving": true, "terminating": false })
}

/// About to go, and serving still.
fn leaving() -> Value {
    json!({ "ready": false, "serving": true, "terminating": true })
}

async fn who(gateway: &Running) -> String {
    gateway.get(BOOK).await.status(200).value()["title"].as_str().unwrap().to_owned()
}

/// Calls until so many endpoints are listed; none may fail.
async fn until_listed(gateway: &Running, count: usize) {
    until("the endpoints", async || {
        who(gateway).await;
        listed(gateway) == count
    })
    .await;
}

fn listed(gateway: &Running) -> usize {
    gateway.state.snapshot.load().upstreams["library"].describe().len()
}

fn search(api: &ApiServer, endpoint: &str) -> Search {
    let section = api.section();
    let text =
        format!("{section}\nschema: {{ descriptor_sets: [a] }}\nupstreams: {{ a: {{ endpoints: [\"{endpoint}\"] }} }}");
    let config = config::parse(&text, &|_| None).unwrap();
    let discovery = Arc::new(Discovery::default());
    discovery.follow(&config);
    discovery.search(&config.upstreams["a"].endpoints[0].place)
}

/// What is there now: addresses, and whether they are about to go.
async fn look(search: &mut Search) -> Vec<(String, bool)> {
    let answer = soon("news", search.look()).await.unwrap();
    answer.found.iter().map(|found| (found.address.to_string(), found.priority > 0)).collect()
}

#[tokio::test]
async fn pods_come_and_go() {
    let api = api_server().await;
    let [first, second] = [book("first").start().await, book("second").start().await];
    api.set("books-1", pod(&first, &ready()));
    api.set("other", {
        let mut other = pod(&second, &ready());
        other["metadata"]["labels"]["kubernetes.io/service-name"] = "other".into();
        other
    });
    let gateway = found_by(&api, "kubernetes://library/books:grpc").start().await;
    // The first call waits for the list.
    assert_eq!(who(&gateway).await, "first");
    assert_eq!(listed(&gateway), 1);
    api.watched(1).await;
    api.set("books-2", pod(&second, &ready()));
    until_listed(&gateway, 2).await;
    for _ in 0..10 {
        who(&gateway).await;
    }
    assert!(second.saw("GetBook").calls().len() >= 5);
    // It runs, and is not ready.
    api.set("books-1", pod(&first, &json!({ "ready": false })));
    until_listed(&gateway, 1).await;
    assert_eq!(who(&gateway).await, "second");
    api.set("books-1", pod(&first, &ready()));
    until_listed(&gateway, 2).await;
    api.delete("books-2");
    until_listed(&gateway, 1).await;
    assert_eq!(who(&gateway).await, "first");
    // Nobody at all is an answer too.
    api.delete("books-1");
    until("nobody", async || listed(&gateway) == 0).await;
    gateway.get(BOOK).await.status(503);
    api.set("books-3", pod(&second, &ready()));
    until("somebody", async || gateway.get(BOOK).await.status == 200).await;
    assert_eq!(api.requests().len(), 2, "one list, one watch");
}

#[tokio::test]
async fn calls_follow_the_zones_that_slices_name() {
    let api = api_server().await;
    let libraries = [book("first").start().await, book("second").start().await];
    let set = |zones: [&str; 2]| {
        for (at, zone) in zones.into_iter().enumerate() {
            let mut pod = pod(&libraries[at], &ready());
            pod["endpoints"][0]["zone"] = zone.into();
            api.set(&format!("books-{at}"), pod);
        }
    };
    set(["a", "b"]);
    let gateway = found_by(&api, "kubernetes://library/books:grpc").config("zone: b").start().await;
    let calls = async || {
        for _ in 0..4 {
            who(&gateway).await;
        }
        libraries.each_ref().map(|library| library.saw("GetBook").calls().len())
    };
    assert_eq!(calls().await, [0, 4]);
    api.watched(1).await;
    set(["b", "a"]);
    until("the other one is near", async || {
        let before = calls().await;
        let after = calls().await;
        (after[0] - before[0], after[1] - before[1]) == (4, 0)
    })
    .await;
}

#[tokio::test]
async fn conditions_and_ports_are_understood() {
    let api = api_server().await;
    let at = |address: &str, conditions: Value| json!({ "addresses": [address, "10.9.9.9"], "conditions": conditions });
    let all = [
        at("10.0.0.1", ready()),
        at("10.0.0.2", json!({})),
        at("10.0.0.3", leaving()),
        at("10.0.0.4", json!({ "ready": false, "serving": false, "terminating": true })),
        at("10.0.0.5", json!({ "ready": false, "serving": true })),
        at("no address", ready()),
        json!({ "addresses": ["10.0.0.6"], "zone": "b", "nodeName": "n1" }),
    ];
    api.set("books-1", slice(&grpc(50051), &all));
    let mut six = slice(&grpc(50051), &[json!({ "addresses": ["fd00::1"] })]);
    six["addressType"] = "IPv6".into();
    api.set("books-six", six);
    let mut named = slice(&grpc(50051), &[json!({ "addresses": ["books.example.com"] })]);
    named["addressType"] = "FQDN".into();
    api.set("books-named", named);
    api.set("books-empty", slice(&Value::Null, &[]));
    let expected: Vec<(String, bool)> =
        [("10.0.0.1", false), ("10.0.0.2", false), ("10.0.0.6", false), ("10.0.0.3", true)]
            .map(|(address, leaves)| (format!("{address}:50051"), leaves))
            .into();
    for endpoint in ["kubernetes://library/books:grpc", "kubernetes://books:50051"] {
        assert_eq!(look(&mut search(&api, endpoint)).await, expected, "{endpoint}");
    }
    let answer = search(&api, "kubernetes://books:grpc").look().await.unwrap();
    let labelled = answer.found.iter().find(|found| found.address.ip().to_string() == "10.0.0.6").unwrap();
    assert_eq!((labelled.labels.named("zone"), labelled.labels.named("node")), (Some("b"), Some("n1")));
    for (endpoint, said) in [("kubernetes://books", "several ports"), ("kubernetes://books:http", "no port `http`")] {
        let answer = search(&api, endpoint).look().await.unwrap();
        assert!(answer.found.is_empty() && answer.failure.as_ref().unwrap().contains(said), "{answer:?}");
    }
    // Of two families one stands for the pods; alone, either does.
    api.delete("books-1");
    assert_eq!(look(&mut search(&api, "kubernetes://books:grpc")).await, [("[fd00::1]:50051".to_owned(), false)]);
}

#[tokio::test]
async fn a_slice_that_cannot_be_read_is_told_and_hides_no_other() {
    let api = api_server().await;
    let at = |address: &str| slice(&grpc(5), &[json!({ "addresses": [address] })]);
    let broken = slice(&grpc(5), &[json!({ "addresses": null })]);
    let there = |addresses: &[&str]| addresses.iter().map(|ip| (format!("{ip}:5"), false)).collect::<Vec<_>>();
    api.set("books-1", at("10.0.0.1"));
    api.set("books-2", broken.clone());
    let mut search = search(&api, "kubernetes://books:grpc");
    let told = async |search: &mut Search| {
        let answer = soon("news", search.look()).await.unwrap();
        let failure = answer.failure.unwrap_or_default();
        (answer.found.iter().map(|found| (found.address.to_string(), false)).collect::<Vec<_>>(), failure)
    };
    let (found, failure) = told(&mut search).await;
    assert!(found == there(&["10.0.0.1"]) && failure.contains("books-2 cannot be read"), "{found:?} {failure}");
    // What one said before stays, and those after it are heard.
    api.set("books-2", at("10.0.0.2"));
    assert_eq!(told(&mut search).await, (there(&["10.0.0.1", "10.0.0.2"]), String::new()));
    api.set("books-1", broken);
    let (found, failure) = told(&mut search).await;
    assert!(found == there(&["10.0.0.1", "10.0.0.2"]) && failure.contains("books-1 cannot"), "{found:?} {failure}");
    api.set("books-3", at("10.0.0.3"));
    assert_eq!(told(&mut search).await.0, there(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]));
    assert_eq!(api.requests().len(), 2, "one list, one watch");
}

#[tokio::test]
async fn a_server_that_answers_again_is_said_to_though_nothing_has_changed() {
    let api = api_server().await;
    api.set("books-1", slice(&grpc(5), &[json!({ "addresses": ["10.0.0.1"] })]));
    let mut search = search(&api, "kubernetes://books:grpc");
    let found = look(&mut search).await;
    let waiting = tokio::spawn(async move { (search.look().await, search) });
    api.watched(1).await;
    api.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    api.cut();
    let (failed, mut search) = soon("a failure", waiting).await.unwrap();
    failed.unwrap_err();
    api.refuse(None);
    assert_eq!(look(&mut search).await, found);
    assert_eq!(api.lists(), 1);
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let api = api_server().await;
    api.page(2);
    for at in 1..=5 {
        api.set(&format!("books-{at}"), slice(&grpc(5), &[json!({ "addresses": [format!("10.0.0.{at}")] })]));
    }
    let mut search = search(&api, "kubernetes://books:grpc");
    assert_eq!(look(&mut search).await.len(), 5);
    assert_eq!(api.lists(), 3);
    api.delete("books-5");
    assert_eq!(look(&mut search).await.len(), 4);
    assert_eq!(api.lists(), 3);
}

#[tokio::test]
async fn one_that_is_leaving_finishes_its_calls_and_gets_no_others() {
    let api = api_server().await;
    let held = Arc::new(Notify::new());
    let waiting = held.clone();
    let old =
        upstream::grpc("library.v1.Library").unary("GetBook", move |_| ok(json!({ "title": "old" })).when(&waiting));
    let old = old.start().await;
    let new = book("new").start().await;
    api.set("books-1", pod(&old, &ready()));
    let gateway = found_by(&api, "kubernetes://books:grpc").start().await;
    let call = gateway.get(BOOK);
    let call = tokio::spawn(async move { call.await });
    old.called("GetBook", 1).await;
    api.set("books-1", pod(&old, &leaving()));
    api.set("books-2", pod(&new, &ready()));
    until("the new one", async || listed(&gateway) == 2).await;
    for _ in 0..10 {
        assert_eq!(who(&gateway).await, "new");
    }
    api.delete("books-1");
    until("the end of the old one", async || listed(&gateway) == 1).await;
    held.notify_one();
    assert_eq!(call.await.unwrap().status(200).value()["title"], "old");
    // Where nobody else is, those that are leaving serve.
    api.set("books-2", pod(&new, &leaving()));
    for _ in 0..5 {
        assert_eq!(who(&gateway).await, "new");
    }
}

#[tokio::test]
async fn versions_that_are_too_old_need_another_list() {
    let api = api_server().await;
    let [first, second] = [book("first").start().await, book("second").start().await];
    api.set("books-1", pod(&first, &ready()));
    let gateway = found_by(&api, "kubernetes://books:grpc").start().await;
    until_listed(&gateway, 1).await;
    api.watched(1).await;
    // While nobody looks it all becomes another.
    api.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    api.cut();
    api.set("books-2", pod(&second, &ready()));
    api.delete("books-1");
    api.compact();
    assert_eq!(who(&gateway).await, "first", "what was found stays");
    api.refuse(None);
    until("the second", async || who(&gateway).await == "second").await;
    assert_eq!(api.lists(), 2);
    // The same inside a watch.
    api.watched(2).await;
    api.expire_watches();
    api.watched(3).await;
    assert_eq!(api.lists(), 3);
    api.set("books-1", pod(&first, &ready()));
    until_listed(&gateway, 2).await;
    assert_eq!(api.lists(), 3);
}

#[tokio::test]
async fn a_server_whose_watches_lag_is_asked_ever_more_rarely() {
    let api = api_server().await;
    let library = book("here").start().await;
    api.set("books-1", pod(&library, &ready()));
    api.lag(true);
    let gateway = found_by(&api, "kubernetes://books:grpc").start().await;
    assert_eq!(who(&gateway).await, "here");
    until("vain watches", async || api.requests().len() >= 4).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let asked = api.requests().len();
    assert!(asked <= 8, "{asked} requests");
    assert_eq!(who(&gateway).await, "here");
    api.lag(false);
    api.watched(1).await;
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_with_the_token_as_it_is_then() {
    let api = api_server().await;
    let library = book("here").start().await;
    api.set("books-1", pod(&library, &ready()));
    let gateway = found_by(&api, "kubernetes://books:grpc").start().await;
    who(&gateway).await;
    api.watched(1).await;
    let watches = || api.requests().into_iter().filter(Asked::is_watch).collect::<Vec<_>>();
    assert_eq!((&*watches()[0].query["resourceVersion"], &*watches()[0].query["allowWatchBookmarks"]), ("8", "true"));
    api.set("books-2", slice(&grpc(1), &[]));
    api.bookmark();
    // An event after it says that it was heard.
    api.set("books-1", pod(&library, &json!({})));
    api.bookmark();
    api.set_token("second");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    api.end_watches();
    api.watched(2).await;
    let last = watches().pop().unwrap();
    assert_eq!((&*last.query["resourceVersion"], &*last.token), ("30", "second"));
    assert_eq!(api.lists(), 1);
    // A server that is gone is not asked as fast as it can be, and what was found stays.
    api.refuse(Some(StatusCode::INTERNAL_SERVER_ERROR));
    let before = api.requests().len();
    api.cut();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let asked = api.requests().len() - before;
    assert!((1..=3).contains(&asked), "{asked} requests");
    assert_eq!(who(&gateway).await, "here");
}

#[tokio::test]
async fn who_is_no_api_server_is_told_no_token() {
    let api = api_server().await;
    let mut search = search(&api, "kubernetes://books:grpc");
    let section = api.section();
    let other = Authority::new();
    let path = other.file();
    let discovery = Arc::new(Discovery::default());
    for (ca, said) in [(path.as_path(), "certificate"), (Path::new("/nowhere/ca.crt"), "no such file")] {
        let start = section.find("ca: ").unwrap();
        let text = format!(
            "{}ca: {} }}\nschema: {{ descriptor_sets: [a] }}\nupstreams: {{ a: {{ endpoints: [a:1] }} }}",
            &section[..start],
            ca.display()
        );
        discovery.follow(&config::parse(&text, &|_| None).unwrap());
        let place = "kubernetes://books:grpc";
        let config = format!("schema: {{ descriptor_sets: [a] }}\nupstreams: {{ a: {{ endpoints: [\"{place}\"] }} }}");
        let place = config::parse(&config, &|_| None).unwrap().upstreams["a"].endpoints[0].place.clone();
        let failure = soon("a failure", discovery.search(&place).look()).await.unwrap_err();
        assert!(failure.to_lowercase().contains(said), "{failure}");
    }
    assert!(api.requests().is_empty());
    assert_eq!(look(&mut search).await, []);
    // What it refuses says why.
    api.refuse(Some(StatusCode::FORBIDDEN));
    let failure = crate::discovery_slices::search(&api, "kubernetes://books").look().await.unwrap_err();
    assert!(failure.contains("403") && failure.contains("not now"), "{failure}");
}

#[tokio::test]
async fn another_api_server_is_asked_from_the_reload_on() {
    let (old, new) = (api_server().await, api_server().await);
    let [first, second] = [book("first").start().await, book("second").start().await];
    old.set("books-1", pod(&first, &ready()));
    new.set("books-1", pod(&second, &ready()));
    let gateway = found_by(&old, "kubernetes://books:grpc").start().await;
    assert_eq!(who(&gateway).await, "first");
    // In the middle of a watch, where nothing happens.
    old.watched(1).await;
    gateway.reload(&found_by(&new, "kubernetes://books:grpc")).await.unwrap();
    until("the other cluster's pod", async || who(&gateway).await == "second").await;
    new.watched(1).await;
}
