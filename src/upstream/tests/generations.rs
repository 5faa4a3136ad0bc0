//! What a reload keeps: endpoints that stay keep their connections, those that go close once they are idle.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::support::{
    Call, Server, call, framed, grpc_head, numbered, outgoing, settings, status, until, upstream, who,
};
use crate::config::{self, HealthCheck};
use crate::discovery::Found;
use crate::telemetry::Metrics;
use crate::upstream::{Pool, Upstream, Watches};

#[tokio::test]
async fn other_limits_and_timeouts_touch_no_connection() {
    let server = numbered(3).await;
    let first = upstream(&[server.address]);
    let mut watches = Watches::default();
    watches.begin([&first]);
    let pool = Pool::new(0, 1);
    assert_eq!(who(&first, &pool).await, 3);
    first.settled().await;
    let made = server.connections.load(Ordering::Relaxed);

    let mut changed = settings(&[server.address]);
    changed.timeout = Duration::from_secs(1);
    changed.limits.in_flight = 0;
    let second = first.recompile(&changed, None, &Metrics::new());
    watches.begin([&second]);
    second.enact();
    watches.keep([&second]);
    call(&second, &pool).await.expect_err("the new limit counts");
    assert_eq!(who(&first, &pool).await, 3, "a call of the old snapshot goes on as it began");
    assert_eq!(server.connections.load(Ordering::Relaxed), made);
    assert_eq!(server.open(), 1);
}

#[tokio::test]
async fn other_rules_of_tls_forget_no_address() {
    let server = numbered(3).await;
    let mut named = settings(&[]);
    named.endpoints = vec![config::Endpoint::at("books.test", 1), config::Endpoint::at("never.test", 1)];
    let first = Upstream::compile("test", &named, &Metrics::new());
    let place = &named.endpoints[0].place;
    first.group.found(place, Some(&[Found::at(server.address)]));
    first.group.found(&named.endpoints[1].place, None);
    let mut changed = named.clone();
    // Its connections are made by other rules.
    changed.tls = Some(config::UpstreamTls { ca: None, cert: None, key: None, server_name: None, san: Vec::new() });
    let second = first.recompile(&changed, None, &Metrics::new());
    assert!(!Arc::ptr_eq(&first.group, &second.group));
    assert!(!second.group.is_resolved(), "who was never found is looked up first");
    second.group.found(&named.endpoints[1].place, None);
    second.enact();
    // Nobody can say now.
    second.group.found(place, None);
    assert_eq!(who(&second, &Pool::new(0, 1)).await, 3);
}

#[tokio::test]
async fn who_waits_for_a_place_that_is_written_no_more_goes_on() {
    let server = numbered(3).await;
    let mut two = settings(&[server.address]);
    // Nobody looks it up here.
    two.endpoints.push(config::Endpoint::at("never.test", 1));
    let first = Upstream::compile("test", &two, &Metrics::new());
    let mut settled = pin!(first.settled());
    assert!(settled.as_mut().now_or_never().is_none());
    first.recompile(&settings(&[server.address]), None, &Metrics::new()).enact();
    let pool = Pool::new(0, 1);
    assert_eq!(who(&first, &pool).await, 3);
    tokio::time::timeout(Duration::from_secs(5), settled).await.unwrap();
}

#[tokio::test]
async fn endpoints_come_and_go_around_one_that_stays() {
    let servers = [numbered(0).await, numbered(1).await, numbered(2).await];
    let at = servers.each_ref().map(|server| server.address);
    let first = upstream(&[at[0], at[1]]);
    let pool = Pool::new(0, 1);
    assert_eq!([who(&first, &pool).await, who(&first, &pool).await], [0, 1]);

    let second = first.recompile(&settings(&[at[1], at[2]]), None, &Metrics::new());
    let addresses = |upstream: &Upstream| upstream.describe().iter().map(|state| state.address.to_string()).collect();
    let (before, after): (Vec<String>, Vec<String>) = (addresses(&first), vec![at[1].to_string(), at[2].to_string()]);
    assert_eq!(addresses(&second), before, "nothing changes before the swap");
    second.enact();
    assert_eq!(addresses(&second), after);
    until(|| servers[0].open() == 0).await;
    let mut answers = [who(&second, &pool).await, who(&second, &pool).await];
    answers.sort_unstable();
    assert_eq!(answers, [1, 2]);
    assert_eq!(servers[1].connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn other_connection_settings_are_other_connections() {
    let server = numbered(1).await;
    let first = upstream(&[server.address]);
    let pool = Pool::new(0, 1);
    who(&first, &pool).await;
    let mut changed = settings(&[server.address]);
    changed.connections = 3;
    let second = first.recompile(&changed, None, &Metrics::new());
    second.enact();
    until(|| server.open() == 0).await;
    who(&second, &pool).await;
    assert_eq!(server.connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_upstream_that_was_removed_drains_and_serves_who_was_on_the_way() {
    let go_on = Arc::new(tokio::sync::Notify::new());
    let held = Arc::clone(&go_on);
    let server = Server::start(move |(_, mut respond): Call| {
        let held = Arc::clone(&held);
        tokio::spawn(async move {
            let mut send = respond.send_response(grpc_head(), false).unwrap();
            send.send_data(framed(&[1]), false).unwrap();
            held.notified().await;
            send.send_data(framed(&[2]), false).unwrap();
            send.send_trailers(status("0")).unwrap();
        });
    })
    .await;
    let removed = upstream(&[server.address]);
    let mut watches = Watches::default();
    watches.begin([&removed]);
    removed.settled().await;
    let pool = Pool::new(0, 1);
    let stream = async || removed.server_stream(&pool, outgoing(Duration::from_secs(9)), framed(b"")).await.unwrap();
    let mut early = stream().await.body;
    early.frame().await.unwrap().unwrap();

    watches.keep([]);
    // Its route was found before the swap, its endpoint after.
    let late = stream().await.body;
    go_on.notify_one();
    go_on.notify_one();
    let rest = early.collect().await.unwrap();
    assert_eq!(rest.trailers().unwrap()["grpc-status"], "0");
    go_on.notify_one();
    assert_eq!(late.collect().await.unwrap().to_bytes(), [framed(&[1]), framed(&[2])].concat());
    until(|| server.open() == 0).await;
    // Again, now that nothing is connected.
    go_on.notify_one();
    stream().await.body.collect().await.unwrap();
    until(|| server.open() == 0).await;
}

/// A worker whose calls go on makes few of the connections at a time that no call waits for.
#[tokio::test]
async fn very_many_endpoints_are_connected_to_few_at_a_time() {
    const ALL: u8 = 40;
    let (probed, now, most) = (Arc::new(Mutex::new(HashSet::new())), Arc::<AtomicUsize>::default(), Arc::default());
    let counted: Arc<AtomicUsize> = Arc::clone(&most);
    let serve = move |tcp: TcpStream| {
        // The first connection to an address asks whether anybody is there, the second is the worker's.
        let first = probed.lock().insert(tcp.local_addr().unwrap().ip());
        let (now, most) = (Arc::clone(&now), Arc::clone(&counted));
        async move {
            if !first {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                // Time for more to come, if more are made.
                tokio::time::sleep(Duration::from_millis(100)).await;
                now.fetch_sub(1, Ordering::Relaxed);
            }
            let Ok(mut connection) = h2::server::handshake(tcp).await else { return };
            while let Some(Ok(_)) = connection.accept().await {}
        }
    };
    let server = Server::raw("0.0.0.0:0".parse().unwrap(), Arc::default(), serve).await;
    let endpoints: Vec<_> =
        (1..=ALL).map(|last| SocketAddr::from(([127, 0, 0, last], server.address.port()))).collect();
    let (upstream, pool, mut watches) = (upstream(&endpoints), Pool::new(0, 1), Watches::default());
    watches.enlist(&pool);
    watches.prepare(&[upstream]).await;
    assert_eq!(server.connections.load(Ordering::Relaxed), 2 * usize::from(ALL));
    assert!(most.load(Ordering::Relaxed) <= 16, "{most:?} at a time");
}

#[tokio::test]
async fn without_health_checks_nobody_stays_unhealthy() {
    let server = numbered(7).await;
    let mut checked = settings(&[server.address]);
    let (interval, timeout) = (Duration::from_millis(20), Duration::from_secs(1));
    checked.health_check = Some(HealthCheck { interval, timeout, unhealthy_after: 2, service: String::new() });
    let first = Upstream::compile("test", &checked, &Metrics::new());
    let mut watches = Watches::default();
    watches.begin([&first]);
    // It answers a health check with what is no health reply.
    until(|| !first.describe()[0].healthy).await;
    first.settled().await;
    let second = first.recompile(&settings(&[server.address]), None, &Metrics::new());
    second.enact();
    watches.keep([&second]);
    until(|| second.usable() == 1).await;
    assert_eq!(who(&second, &Pool::new(0, 1)).await, 7);
}
