//! Which endpoints get which calls beside turns: zones, subsets, canaries. To the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures_util::future::join_all;
use serde_json::json;
use transom::config;
use transom_transcode::status::Code;

use crate::support::client::Call;
use crate::support::gateway::{Builder, Running, gateway};
use crate::support::reply::{fail, ok, stream};
use crate::support::until;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

async fn libraries<const N: usize>() -> [Upstream; N] {
    let mut all = Vec::new();
    for number in 0..N {
        let book = json!({ "title": number.to_string() });
        let streamed = book.clone();
        let library = upstream::grpc("library.v1.Library")
            .unary("GetBook", move |_| ok(book.clone()))
            .server_stream("WatchBooks", move |_| stream([streamed.clone()]));
        all.push(library.start().await);
    }
    all.try_into().unwrap_or_else(|_| unreachable!())
}

/// A gateway before endpoints with these labels; `keys` are more of the upstream's, `top` of the configuration.
fn before(all: &[(&Upstream, &str)], keys: &str, top: &str) -> Builder {
    let endpoint = |(library, labels): &(&Upstream, &str)| {
        format!("{{ address: \"{}\", labels: {{ {labels} }} }}", library.address())
    };
    let endpoints: Vec<_> = all.iter().map(endpoint).collect();
    let endpoints = endpoints.join(", ");
    let config = format!(
        "{top}\nupstreams: {{ library: {{ services: [library.v1.Library], endpoints: [{endpoints}], {keys} }} }}"
    );
    gateway().descriptors("library").config(&config)
}

async fn start(all: &[(&Upstream, &str)], keys: &str, top: &str) -> Running {
    before(all, keys, top).start().await
}

fn calls<const N: usize>(all: &[Upstream; N]) -> [usize; N] {
    all.each_ref().map(|library| library.saw("GetBook").calls().len())
}

/// How many of the next calls each got.
async fn spread<const N: usize>(all: &[Upstream; N], count: usize, call: impl Fn() -> Call) -> [usize; N] {
    let before = calls(all);
    for _ in 0..count {
        call().await.status(200);
    }
    let mut after = calls(all);
    after.iter_mut().zip(before).for_each(|(after, before)| *after -= before);
    after
}

async fn until_down(gateway: &Running, count: usize) {
    let upstream = gateway.state.snapshot.load().upstreams["library"].clone();
    until("the fall", async || {
        gateway.get(BOOK).await.status(200);
        upstream.describe().iter().filter(|endpoint| endpoint.down).count() == count
    })
    .await;
}

#[tokio::test]
async fn calls_stay_in_the_zone_while_enough_of_it_is_there() {
    let all = libraries::<4>().await;
    let zones = ["zone: a", "zone: a", "zone: b", ""];
    let endpoints: Vec<_> = all.iter().zip(zones).collect();
    let gateway = start(&endpoints, "", "zone: a").await;
    assert_eq!(spread(&all, 20, || gateway.get(BOOK)).await, [10, 10, 0, 0]);
    all[0].stop().await;
    until_down(&gateway, 1).await;
    gateway.connected("library", 3, BOOK).await;
    // One of two is half of what there was, where seven tenths are enough: five calls of seven.
    assert_eq!(spread(&all, 70, || gateway.get(BOOK)).await, [0, 50, 10, 10]);
    all[1].stop().await;
    until_down(&gateway, 2).await;
    assert_eq!(spread(&all, 20, || gateway.get(BOOK)).await, [0, 0, 10, 10]);
    all[0].restart().await;
    all[1].restart().await;
    until("the zone", async || spread(&all, 4, || gateway.get(BOOK)).await == [2, 2, 0, 0]).await;
}

#[tokio::test]
async fn a_zone_where_nobody_is_prefers_nobody() {
    let all = libraries::<2>().await;
    let gateway = start(&[(&all[0], "zone: a"), (&all[1], "zone: b")], "", "zone: c").await;
    assert_eq!(spread(&all, 10, || gateway.get(BOOK)).await, [5, 5]);
}

#[tokio::test]
async fn a_header_asks_for_a_subset() {
    let all = libraries::<3>().await;
    let versions = ["version: v1", "version: v1", "version: v2"];
    let endpoints: Vec<_> = all.iter().zip(versions).collect();
    let subset = "subset: { label: version, header: x-version, default: v1 }";
    let gateway = start(&endpoints, subset, "").await;
    let ask = |version: &str| gateway.get(BOOK).header("x-version", version);
    assert_eq!(spread(&all, 10, || gateway.get(BOOK)).await, [5, 5, 0]);
    assert_eq!(spread(&all, 10, || ask("v2")).await, [0, 0, 10]);
    assert_eq!(spread(&all, 10, || ask("v1")).await, [5, 5, 0]);
    // Nobody has that: all are asked.
    assert_eq!(spread(&all, 9, || ask("v3")).await, [3, 3, 3]);
    for _ in 0..4 {
        let grpc = gateway.grpc("library.v1.Library/GetBook").header("x-version", "v2").send(&[json!({})]).await;
        grpc.ok(&[json!({ "title": "2" })]);
    }
    all[2].stop().await;
    until("the fall", async || {
        ask("v2").await.status(200);
        gateway.state.snapshot.load().upstreams["library"].usable() == 2
    })
    .await;
    assert_eq!(spread(&all, 10, || ask("v2")).await, [5, 5, 0]);
}

#[tokio::test]
async fn a_subset_of_nobody_may_be_nowhere() {
    let all = libraries::<2>().await;
    let subset = "subset: { label: version, header: x-version, otherwise: none }";
    let gateway = start(&[(&all[0], "version: v1"), (&all[1], "")], subset, "").await;
    assert_eq!(spread(&all, 10, || gateway.get(BOOK)).await, [5, 5]);
    assert_eq!(spread(&all, 5, || gateway.get(BOOK).header("x-version", "v1")).await, [5, 0]);
    gateway.get(BOOK).header("x-version", "v2").await.status(503);
    all[0].stop().await;
    until("the fall", async || gateway.get(BOOK).header("x-version", "v1").await.status == 503).await;
    gateway.get(BOOK).await.status(200);
}

#[tokio::test]
async fn replies_that_are_kept_are_those_of_the_subset_that_is_asked() {
    let all = libraries::<2>().await;
    let subset = "subset: { label: tenant, header: x-tenant, otherwise: none }";
    let cache = "methods: { library.v1.Library/GetBook: { cache: 1h } }";
    let gateway = start(&[(&all[0], "tenant: a"), (&all[1], "tenant: b")], subset, cache).await;
    let ask = |tenant: &str| gateway.get(BOOK).header("x-tenant", tenant);
    for _ in 0..4 {
        // The services do not see the header.
        ask("a").await.status(200).json(&json!({ "title": "0" }));
        ask("b").await.status(200).json(&json!({ "title": "1" }));
        ask("nobody").await.status(503);
    }
    assert_eq!(calls(&all), [1, 1]);
}

#[tokio::test]
async fn a_subset_that_rests_says_so() {
    let ill = upstream::grpc("library.v1.Library").unary("GetBook", |_| fail(Code::Unavailable, "ill")).start().await;
    let [well] = libraries::<1>().await;
    let keys = "subset: { label: version, header: x-version, otherwise: none }, circuit_breaker: { failures: 2 }";
    let gateway = start(&[(&ill, "version: v1"), (&well, "version: v2")], keys, "").await;
    let ask = |version: &str| gateway.get(BOOK).header("x-version", version);
    ask("v1").await.status(503);
    ask("v1").await.status(503);
    let resting = ask("v1").await;
    resting.status(503).reason("CIRCUIT_OPEN");
    assert!(resting.headers.contains_key("retry-after"));
    ask("v2").await.status(200);
    ask("v3").await.status(503).reason("NO_ENDPOINT");
}

#[tokio::test]
async fn endpoints_and_their_labels_come_and_go_to_the_call() {
    let all = libraries::<4>().await;
    let subset = "subset: { label: version, header: x-version }";
    let with = |labels: [&str; 4]| {
        let named: Vec<_> = all.iter().zip(labels).filter(|(_, labels)| !labels.is_empty()).collect();
        before(&named, subset, "zone: a")
    };
    let gateway = with(["zone: a, version: v1", "zone: b, version: v2", "", ""]).start().await;
    let ask = |version: &str| gateway.get(BOOK).header("x-version", version);
    assert_eq!(spread(&all, 10, || gateway.get(BOOK)).await, [10, 0, 0, 0]);
    // Nobody of that version is near.
    assert_eq!(spread(&all, 10, || ask("v2")).await, [0, 10, 0, 0]);

    // Two come, one of them near.
    let next = with(["zone: a, version: v1", "zone: b, version: v2", "zone: a, version: v2", "version: v2"]);
    gateway.reload(&next).await.unwrap();
    assert_eq!(spread(&all, 10, || gateway.get(BOOK)).await, [5, 0, 5, 0]);
    assert_eq!(spread(&all, 10, || ask("v2")).await, [0, 0, 10, 0]);

    // Labels alone are others, then one goes.
    let next = with(["zone: b, version: v2", "zone: b, version: v1", "zone: a, version: v1", "zone: a, version: v2"]);
    gateway.reload(&next).await.unwrap();
    assert_eq!(spread(&all, 10, || gateway.get(BOOK)).await, [0, 0, 5, 5]);
    assert_eq!(spread(&all, 10, || ask("v2")).await, [0, 0, 0, 10]);
    gateway.reload(&with(["zone: b, version: v2", "zone: b, version: v1", "zone: a, version: v1", ""])).await.unwrap();
    assert_eq!(spread(&all, 10, || gateway.get(BOOK)).await, [0, 0, 10, 0]);
    assert_eq!(spread(&all, 10, || ask("v2")).await, [10, 0, 0, 0]);
}

#[tokio::test]
async fn no_call_fails_while_zones_and_subsets_churn() {
    let all = libraries::<3>().await;
    let subset = "subset: { label: version, header: x-version, default: v1 }";
    let turn = |at: usize| match at % 3 {
        0 => before(&[(&all[0], "zone: a, version: v1"), (&all[1], "zone: b, version: v2")], subset, "zone: a"),
        1 => before(&[(&all[1], "zone: a, version: v1"), (&all[2], "zone: b, version: v1")], subset, "zone: a"),
        _ => before(&[(&all[2], "version: v2"), (&all[0], "zone: b")], subset, "zone: b"),
    };
    let gateway = turn(0).start().await;
    let stop = AtomicBool::new(false);
    let calling = async {
        while !stop.load(Relaxed) {
            for version in ["v1", "v2", "v3"] {
                gateway.get(BOOK).header("x-version", version).await.status(200);
            }
        }
    };
    let reloading = async {
        for at in 1..=30 {
            gateway.reload(&turn(at)).await.unwrap();
        }
        stop.store(true, Relaxed);
    };
    tokio::join!(calling, reloading);
}

/// A gateway with a canary.
async fn with_canary(stable: &Upstream, canary: &Upstream, keys: &str) -> Running {
    let config = format!(
        "upstreams:\n  library: {{ services: [library.v1.Library], endpoints: [\"{}\"], canary: {{ upstream: next, {keys} }} }}\n  next: {{ endpoints: [\"{}\"] }}\n",
        stable.address(),
        canary.address()
    );
    gateway().descriptors("library").config(&config).start().await
}

#[tokio::test]
async fn who_asks_for_a_canary_has_its_replies_though_they_are_kept() {
    let all = libraries::<2>().await;
    let config = format!(
        "upstreams:\n  library: {{ services: [library.v1.Library], endpoints: [\"{}\"], canary: {{ upstream: next, header: x-canary, share: 50% }} }}\n  next: {{ endpoints: [\"{}\"] }}\nmethods: {{ library.v1.Library/GetBook: {{ cache: {{ ttl: 1h, public: true }} }} }}\n",
        all[0].address(),
        all[1].address()
    );
    let gateway = gateway().descriptors("library").config(&config).start().await;
    for at in 0..3 {
        // No share of what is everybody's.
        for path in [BOOK.to_owned(), format!("{BOOK}{at}")] {
            let reply = gateway.get(&path).await;
            reply.status(200).header("vary", "accept-language, x-canary").json(&json!({ "title": "0" }));
            gateway.get(&path).header("x-canary", "yes").await.status(200).json(&json!({ "title": "1" }));
        }
    }
    assert_eq!(calls(&all), [4, 4]);
}

#[tokio::test]
async fn a_canary_gets_its_share_to_the_call_and_in_no_bunch() {
    let all = libraries::<2>().await;
    let gateway = with_canary(&all[0], &all[1], "share: 5%").await;
    for _ in 0..10 {
        assert_eq!(spread(&all, 20, || gateway.get(BOOK)).await, [19, 1]);
    }
    let gateway = with_canary(&all[0], &all[1], "share: 30%").await;
    assert_eq!(spread(&all, 100, || gateway.get(BOOK)).await, [70, 30]);
}

#[tokio::test]
async fn no_call_fails_where_a_canary_is_gone() {
    let all = libraries::<2>().await;
    let gateway = with_canary(&all[0], &all[1], "share: 50%, header: x-canary").await;
    assert_eq!(spread(&all, 10, || gateway.get(BOOK)).await, [5, 5]);
    all[1].stop().await;
    assert_eq!(spread(&all, 20, || gateway.get(BOOK)).await, [20, 0]);
    assert_eq!(spread(&all, 10, || gateway.get(BOOK).header("x-canary", "")).await, [10, 0]);
    for _ in 0..4 {
        gateway.get("/v1/shelves/1/books:watch").await.status(200);
        let grpc = gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await;
        grpc.ok(&[json!({ "title": "0" })]);
    }
    all[1].restart().await;
    until("the canary", async || spread(&all, 2, || gateway.get(BOOK)).await == [1, 1]).await;
}

#[tokio::test]
async fn a_canary_that_fails_is_left_alone_and_asked_again() {
    let well = Arc::new(AtomicBool::new(false));
    let told = well.clone();
    let canary = upstream::grpc("library.v1.Library").unary("GetBook", move |_| match told.load(Relaxed) {
        true => ok(json!({ "title": "canary" })),
        false => fail(Code::Unavailable, "not yet"),
    });
    let (all, canary) = (libraries::<1>().await, canary.start().await);
    let config = format!(
        "upstreams:\n  library: {{ services: [library.v1.Library], endpoints: [\"{}\"], canary: {{ upstream: next, header: x-canary }} }}\n  next: {{ endpoints: [\"{}\"], circuit_breaker: {{ failures: 2, open_for: 200ms }} }}\n",
        all[0].address(),
        canary.address()
    );
    let gateway = gateway().descriptors("library").config(&config).start().await;
    let ask = || gateway.get(BOOK).header("x-canary", "yes");
    for _ in 0..2 {
        ask().await.status(503);
    }
    // However many come while it is being asked.
    well.store(true, Relaxed);
    until("the canary", async || {
        let answers = join_all((0..4).map(|_| ask().into_future())).await;
        answers.into_iter().map(|answer| answer.status(200).value()["title"].clone()).any(|title| title == "canary")
    })
    .await;
    assert_eq!(spread(&all, 4, ask).await, [0]);
}

#[tokio::test]
async fn a_header_leads_to_the_canary_in_every_dialect() {
    let all = libraries::<2>().await;
    let gateway = with_canary(&all[0], &all[1], "header: x-canary, value: always").await;
    assert_eq!(spread(&all, 10, || gateway.get(BOOK)).await, [10, 0]);
    assert_eq!(spread(&all, 10, || gateway.get(BOOK).header("x-canary", "never")).await, [10, 0]);
    assert_eq!(spread(&all, 10, || gateway.get(BOOK).header("x-canary", "always")).await, [0, 10]);
    let connect = || gateway.post("/library.v1.Library/GetBook", &json!({})).header("connect-protocol-version", "1");
    assert_eq!(spread(&all, 4, connect).await, [4, 0]);
    assert_eq!(spread(&all, 4, || connect().header("x-canary", "always")).await, [0, 4]);
    gateway.get("/v1/shelves/1/books:watch").header("x-canary", "always").await.status(200);
    assert_eq!(all.each_ref().map(|library| library.saw("WatchBooks").calls().len()), [0, 1]);
    for (header, title) in [("always", "1"), ("no", "0")] {
        let grpc = gateway.grpc("library.v1.Library/GetBook").header("x-canary", header).send(&[json!({})]).await;
        grpc.ok(&[json!({ "title": title })]);
    }
}

#[test]
fn what_leads_nowhere_is_told() {
    let problems = |keys: &str| {
        let text = format!(
            "schema: {{ descriptor_sets: [a] }}\nupstreams:\n  one: {{ endpoints: [a:1], {keys} }}\n  two: {{ endpoints: [a:1], canary: {{ upstream: three, share: 1% }} }}\n  three: {{ endpoints: [a:1] }}\n  four: {{ endpoints: [a:1], subset: {{ label: a, default: b }} }}\n  five: {{ endpoints: [a:1], balance: {{ hash: {{ client: true }} }} }}\n"
        );
        match config::parse(&text, &|_| None) {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string(),
        }
    };
    for keys in [
        "canary: { upstream: three, header: x-canary }",
        "canary: { upstream: four, share: 1% }, subset: { label: c, default: b }",
        "canary: { upstream: five, share: 1% }, balance: { hash: { client: true } }",
    ] {
        assert_eq!(problems(keys), "", "{keys}");
    }
    for (keys, said) in [
        ("canary: { upstream: thre, share: 5% }", "did you mean `three`?"),
        ("canary: { upstream: one, share: 5% }", "is the upstream itself"),
        ("canary: { upstream: two, share: 5% }", "has a canary too"),
        ("canary: { upstream: four, share: 5% }", "has a `subset` that these calls do not ask for"),
        ("canary: { upstream: five, share: 5% }", "balances by a `hash` that these calls do not have"),
        ("canary: { upstream: three }", "gets no calls"),
        ("canary: { upstream: three, share: 5%, value: a }", "of no use without `header`"),
        ("subset: { label: version }", "leaves open which"),
        ("subset: { label: 'a b', default: v1 }", "is not a label's name"),
    ] {
        let problems = problems(keys);
        assert!(problems.contains(said), "{keys}: {problems}");
    }
}
