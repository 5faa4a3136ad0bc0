//! Balancing: who gets how many calls, and who gets whose.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::ok;
use crate::support::until;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

async fn libraries<const N: usize>() -> [Upstream; N] {
    let mut all = Vec::new();
    for number in 0..N {
        let book = json!({ "title": number.to_string() });
        all.push(upstream::grpc("library.v1.Library").unary("GetBook", move |_| ok(book.clone())).start().await);
    }
    all.try_into().unwrap_or_else(|_| unreachable!())
}

async fn start(instances: &[&Upstream], keys: &str) -> Running {
    gateway().descriptors("library").upstream_with("library", instances, keys).start().await
}

async fn who(call: crate::support::client::Call) -> String {
    call.await.status(200).value()["title"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn weights_are_kept_to_the_call() {
    let all = libraries::<3>().await;
    let endpoints: Vec<_> = all
        .iter()
        .zip([5, 2, 1])
        .map(|(library, weight)| format!("{{ address: \"{}\", weight: {weight} }}", library.address()))
        .collect();
    let config = format!(
        "upstreams: {{ library: {{ services: [library.v1.Library], endpoints: [{}] }} }}",
        endpoints.join(", ")
    );
    let gateway = gateway().descriptors("library").config(&config).start().await;
    gateway.connected("library", 3, BOOK).await;
    let calls = || all.each_ref().map(|library| library.saw("GetBook").calls().len());
    let before = calls();
    for _ in 0..80 {
        gateway.get(BOOK).await.status(200);
    }
    let after = calls();
    assert_eq!([0, 1, 2].map(|at| after[at] - before[at]), [50, 20, 10]);
}

#[tokio::test]
async fn the_busy_one_is_left_out() {
    let held = Arc::new(Notify::new());
    let waiting = held.clone();
    let slow = upstream::grpc("library.v1.Library").unary("GetBook", move |book| match book["name"].as_str() {
        Some("shelves/1/books/hold") => ok(json!({ "title": "slow" })).when(&waiting),
        _ => ok(json!({ "title": "slow" })),
    });
    let slow = slow.start().await;
    let gateway = start(&[&slow], "balance: least_request").await;
    let [quick] = libraries::<1>().await;
    let gateway_of_two = start(&[&slow, &quick], "balance: least_request").await;
    drop(gateway);
    // As many as it takes until one is held.
    let held_calls: Vec<_> = (0..4)
        .map(|_| {
            let call = gateway_of_two.get("/v1/shelves/1/books/hold");
            tokio::spawn(async move { call.await })
        })
        .collect();
    slow.called("GetBook", 1).await;
    let at_rest =
        || slow.saw("GetBook").calls().len() + held_calls.iter().filter(|call| call.is_finished()).count() == 4;
    until("the others are answered", async || at_rest()).await;
    for _ in 0..20 {
        assert_eq!(who(gateway_of_two.get(BOOK)).await, "0");
    }
    held.notify_waiters();
    for call in held_calls {
        held.notify_waiters();
        call.abort();
    }
}

#[tokio::test]
async fn a_client_with_a_cookie_stays_and_one_without_gets_it() {
    let all = libraries::<4>().await;
    let gateway = start(&all.each_ref(), "balance: { hash: { cookie: seat } }").await;
    let mut places = HashSet::new();
    for _ in 0..24 {
        let first = gateway.get(BOOK).await;
        let cookie = first.headers["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.starts_with("seat=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
        let sent = cookie.split(';').next().unwrap();
        let place = first.value()["title"].as_str().unwrap().to_owned();
        for _ in 0..3 {
            let again = gateway.get(BOOK).header("cookie", &format!("a=b; {sent}")).await;
            assert_eq!(again.value()["title"], *place);
            assert!(!again.headers.contains_key("set-cookie"));
        }
        let grpc = gateway.grpc("library.v1.Library/GetBook").header("cookie", sent).send(&[json!({})]).await;
        grpc.ok(&[json!({ "title": place })]);
        places.insert(place);
    }
    assert!(places.len() > 1, "{places:?}");
}

#[tokio::test]
async fn calls_of_one_header_go_to_one_endpoint_and_on_when_it_is_gone() {
    let all = libraries::<3>().await;
    let gateway = start(&all.each_ref(), "balance: { hash: { header: x-tenant } }").await;
    let mut homes = Vec::new();
    for tenant in 0..12 {
        let ask = || gateway.get(BOOK).header("x-tenant", &format!("t{tenant}"));
        let home = who(ask()).await;
        assert_eq!((who(ask()).await, who(ask()).await), (home.clone(), home.clone()));
        homes.push(home);
    }
    let gone = &homes[0];
    all[gone.parse::<usize>().unwrap()].stop().await;
    for (tenant, home) in homes.iter().enumerate() {
        let now = who(gateway.get(BOOK).header("x-tenant", &format!("t{tenant}"))).await;
        assert!(now == *home || home == gone, "t{tenant} has moved from {home} to {now}");
    }
    // Without the header they take turns.
    let turns = [who(gateway.get(BOOK)).await, who(gateway.get(BOOK)).await];
    assert_ne!(turns[0], turns[1]);
}

#[tokio::test]
async fn who_comes_back_gets_its_turns_little_by_little_and_then_to_the_call() {
    let all = libraries::<2>().await;
    let [steady, returning] = &all;
    let keys = "slow_start: { window: 2s, min_weight: 10% }";
    let gateway = start(&[steady, returning], keys).await;
    let calls = async |count: usize| {
        let before = all.each_ref().map(|library| library.saw("GetBook").calls().len());
        for _ in 0..count {
            gateway.get(BOOK).await.status(200);
        }
        [0, 1].map(|at| all[at].saw("GetBook").calls().len() - before[at])
    };
    let warming = async || {
        let state = gateway.admin("/upstreams").await.value()["upstreams"][0].clone();
        (state["usable"].as_u64().unwrap(), state["endpoints"][1]["warming"].as_bool().unwrap())
    };
    assert!(!warming().await.1, "at the start nobody is new");
    until("both", async || warming().await.0 == 2).await;
    assert_eq!(calls(20).await, [10, 10]);

    returning.stop().await;
    until("its fall", async || {
        gateway.get(BOOK).await.status(200);
        warming().await.0 == 1
    })
    .await;
    returning.restart().await;
    until("its return", async || warming().await == (2, true)).await;
    let [most, few] = calls(44).await;
    assert!((1..=12).contains(&few), "{most} and {few}");
    until("its warmth", async || warming().await == (2, false)).await;
    assert_eq!(calls(20).await, [10, 10]);
}
