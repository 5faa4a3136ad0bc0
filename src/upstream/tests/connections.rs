//! Connections that fill up, refuse and break.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::{Reason, server};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use super::support::{
    Call, Server, answer, call, framed, grpc_head, join, numbered, outgoing, settings, until, until_headers, upstream,
    who,
};
use crate::config::CircuitBreaker;
use crate::error::Error;
use crate::telemetry::{Circuit, Metrics};
use crate::upstream::pool::Acquired;
use crate::upstream::{Aim, Failure, FailureKind, Outgoing, Pool, Seen, Upstream};

const HERE: &str = "127.0.0.1:0";

#[tokio::test]
async fn a_refused_stream_moves_to_another_endpoint() {
    let refusing = Server::start(|(_, mut respond): Call| respond.send_reset(Reason::REFUSED_STREAM)).await;
    let good = numbered(1).await;
    let upstream = upstream(&[refusing.address, good.address]);
    let pool = Pool::new(0, 1);
    for _ in 0..4 {
        assert_eq!(who(&upstream, &pool).await, 1);
    }
    // Refusing is not being down: it goes on being asked in its turn.
    assert_eq!(upstream.usable(), 2);
    assert!(refusing.calls() >= 2);
}

#[tokio::test]
async fn refused_everywhere_is_refused_once_per_endpoint() {
    let refuse = |(_, mut respond): Call| respond.send_reset(Reason::REFUSED_STREAM);
    let servers = [Server::start(refuse).await, Server::start(refuse).await];
    let upstream = upstream(&servers.each_ref().map(|server| server.address));
    let failure = call(&upstream, &Pool::new(0, 1)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Refused), "{failure}");
    assert_eq!(failure.seen, Seen::NotSeen);
    assert_eq!(servers.each_ref().map(Server::calls), [1, 1]);
}

#[tokio::test]
async fn who_is_alone_is_asked_once_more_when_it_refuses() {
    for refusals in [1, 2] {
        let number = Arc::new(AtomicUsize::new(0));
        let server = Server::start(move |(request, mut respond): Call| {
            if number.fetch_add(1, Ordering::Relaxed) < refusals {
                respond.send_reset(Reason::REFUSED_STREAM);
            } else {
                answer((request, respond), b"");
            }
        })
        .await;
        let outcome = call(&upstream(&[server.address]), &Pool::new(0, 1)).await;
        assert_eq!(outcome.is_ok(), refusals == 1, "{outcome:?}");
        assert_eq!(server.calls(), 2);
        assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn not_all_of_many_are_asked_by_one_call() {
    let refuse = |(_, mut respond): Call| respond.send_reset(Reason::REFUSED_STREAM);
    let mut servers = Vec::new();
    for _ in 0..12 {
        servers.push(Server::start(refuse).await);
    }
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let failure = call(&upstream(&addresses), &Pool::new(0, 1)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Refused), "{failure}");
    assert_eq!(servers.iter().map(Server::calls).sum::<usize>(), 4);
}

#[tokio::test]
async fn not_all_that_are_gone_are_found_so_by_one_call() {
    let nobody: Vec<_> = (1..=16).map(|host| ([127, 0, 0, host], 1).into()).collect();
    let upstream = upstream(&nobody);
    let failure = call(&upstream, &Pool::new(0, 1)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::ConnectFailed), "{failure}");
    assert_eq!(upstream.describe().iter().filter(|endpoint| endpoint.down).count(), 11);
}

#[tokio::test]
async fn a_clients_deadline_counts_where_it_was_long_and_the_client_not_behind() {
    let held = Arc::new(Mutex::new(Vec::new()));
    // A head, and no end.
    let server = Server::start(move |(request, mut respond): Call| {
        held.lock().push((request, respond.send_response(grpc_head(), false).unwrap()));
    })
    .await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let endpoint = Arc::clone(&upstream.roster.all()[0]);
    let failures = || endpoint.counts.tally(&endpoint.metrics).failures;
    let within = |millis| Outgoing { patient: false, ..outgoing(Duration::from_millis(millis)) };
    // On a busy machine some of these are not that short.
    let mut quick = 0;
    while quick < 3 {
        let (before, began) = (failures(), Instant::now());
        upstream.unary(&pool, within(20), framed(b"")).await.unwrap_err();
        if began.elapsed() < Duration::from_millis(100) {
            assert_eq!(failures(), before);
            quick += 1;
        }
    }
    let before = failures();
    upstream.unary(&pool, within(150), framed(b"")).await.unwrap_err();
    assert_eq!(failures(), before + 1);
    // Of a stream that has begun its client may be the slow one.
    let mut body = upstream.server_stream(&pool, within(300), framed(b"")).await.unwrap().body;
    let failure = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Deadline), "{failure}");
    assert_eq!(failures(), before + 1);
}

#[tokio::test]
async fn a_reset_is_not_sent_again() {
    let reset = |(_, mut respond): Call| respond.send_reset(Reason::INTERNAL_ERROR);
    let servers = [Server::start(reset).await, Server::start(reset).await];
    let upstream = upstream(&servers.each_ref().map(|server| server.address));
    let failure = call(&upstream, &Pool::new(0, 1)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Reset), "{failure}");
    assert_eq!(failure.seen, Seen::Seen);
    assert_eq!(servers.each_ref().map(Server::calls).iter().sum::<usize>(), 1);
    assert_eq!(Error::from(failure), Error::UpstreamReset);
}

#[tokio::test]
async fn a_connection_that_breaks_under_a_call_is_a_reset() {
    let server = Server::raw(HERE.parse().unwrap(), Arc::default(), |tcp: TcpStream| async move {
        let mut connection = server::handshake(tcp).await.unwrap();
        // The call is read, and the connection dropped with it.
        drop(connection.accept().await);
    })
    .await;
    let failure = call(&upstream(&[server.address]), &Pool::new(0, 1)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Reset), "{failure}");
    assert_eq!(failure.seen, Seen::Seen);
}

#[tokio::test]
async fn connections_that_break_together_speak_once_against_their_endpoint() {
    let both = Arc::new(Barrier::new(2));
    let server = Server::raw(HERE.parse().unwrap(), Arc::default(), move |tcp: TcpStream| {
        let both = Arc::clone(&both);
        async move {
            let mut connection = server::handshake(tcp).await.unwrap();
            let call = connection.accept().await;
            both.wait().await;
            drop((call, connection));
        }
    })
    .await;
    let mut settings = settings(&[server.address]);
    let open_for = Duration::from_secs(60);
    settings.circuit_breaker = Some(CircuitBreaker { failures: 2, open_for, probes: 1 });
    let upstream = Upstream::compile("test", &settings, &Metrics::new());
    // Each worker has a connection of its own.
    let workers = [Pool::new(0, 2), Pool::new(1, 2)];
    for circuit in [Circuit::Closed, Circuit::Open] {
        let outcomes = join(workers.iter().map(|pool| call(&upstream, pool))).await;
        assert!(
            outcomes.iter().all(|outcome| matches!(&outcome, Err(lost) if matches!(lost.kind, FailureKind::Reset)))
        );
        assert_eq!(upstream.roster.circuit(Aim::default(), Instant::now()).0, circuit);
    }
}

#[tokio::test]
async fn garbage_is_a_protocol_failure_and_the_next_endpoint_serves() {
    let garbage = Server::raw(HERE.parse().unwrap(), Arc::default(), |mut tcp: TcpStream| async move {
        let _ = tcp.write_all(b"SSH-2.0-OpenSSH_9.6 and then some more of it, whatever it may be\r\n").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    let alone = upstream(&[garbage.address]);
    let failure = call(&alone, &Pool::new(0, 1)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Protocol), "{failure}");
    let good = numbered(1).await;
    let both = upstream(&[garbage.address, good.address]);
    assert_eq!(who(&both, &Pool::new(0, 1)).await, 1);
    assert_eq!(both.usable(), 1);
}

#[tokio::test]
async fn who_speaks_something_else_is_told_by_its_first_bytes() {
    for (says, told) in [
        (&b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"[..], "it answers in HTTP/1, not in HTTP/2"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "it wants TLS; write `upstreams.test.tls`"),
        (b"", "does it want TLS? then write `upstreams.test.tls`"),
    ] {
        let server = Server::raw(HERE.parse().unwrap(), Arc::default(), move |mut tcp: TcpStream| async move {
            let _ = tcp.read(&mut [0; 1024]).await;
            let _ = tcp.write_all(says).await;
        })
        .await;
        let failure = call(&upstream(&[server.address]), &Pool::new(0, 1)).await.unwrap_err();
        assert!(failure.cause.contains(told), "{failure}");
    }
}

#[tokio::test]
async fn garbage_after_the_request_is_a_protocol_failure() {
    let server = Server::raw(HERE.parse().unwrap(), Arc::default(), |mut tcp: TcpStream| async move {
        tcp.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        until_headers(&mut tcp, 1).await;
        // A DATA frame on stream 0.
        let _ = tcp.write_all(&[0, 0, 1, 0, 0, 0, 0, 0, 0, 42]).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    let failure = call(&upstream(&[server.address]), &Pool::new(0, 1)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Protocol), "{failure}");
    assert_eq!(failure.seen, Seen::Seen);
}

#[tokio::test]
async fn what_ends_a_connection_of_many_calls_speaks_once_against_its_endpoint() {
    let server = Server::raw(HERE.parse().unwrap(), Arc::default(), |mut tcp: TcpStream| async move {
        tcp.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        until_headers(&mut tcp, 5).await;
        // What one of them is answered is none of HTTP/2.
        let _ = tcp.write_all(&[0, 0, 1, 0, 0, 0, 0, 0, 0, 42]).await;
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let mut settings = settings(&[server.address]);
    settings.circuit_breaker = Some(CircuitBreaker { failures: 2, open_for: Duration::from_secs(60), probes: 1 });
    let (upstream, pool) = (Upstream::compile("test", &settings, &Metrics::new()), Pool::new(0, 1));
    for circuit in [Circuit::Closed, Circuit::Open] {
        let outcomes = join((0..3).map(|_| call(&upstream, &pool))).await;
        let broke = |failure: &Failure| matches!(failure.kind, FailureKind::Protocol);
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(broke)), "{outcomes:?}");
        assert_eq!(upstream.circuit(), circuit);
    }
}

/// Holds calls until it is told to answer, on connections of two streams each.
async fn narrow(release: &Arc<tokio::sync::Semaphore>) -> Server {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(2);
    let release = Arc::clone(release);
    Server::with(builder, move |call: Call| {
        let release = Arc::clone(&release);
        tokio::spawn(async move {
            release.acquire().await.unwrap().forget();
            answer(call, b"late");
        });
    })
    .await
}

#[tokio::test]
async fn full_connections_get_company_then_a_queue_then_refusals() {
    let release = Arc::new(tokio::sync::Semaphore::new(0));
    let server = narrow(&release).await;
    let mut settings = settings(&[server.address]);
    settings.connections = 2;
    let upstream = Upstream::compile("test", &settings, &Metrics::new());
    let pool = Pool::new(0, 1);
    // Six calls for four streams: two wait, and are served when others end.
    let calls = join((0..6).map(|_| call(&upstream, &pool)));
    let releases = async {
        until(|| server.calls() == 4).await;
        assert_eq!(server.connections.load(Ordering::Relaxed), 2);
        release.add_permits(6);
    };
    let (outcomes, ()) = tokio::join!(calls, releases);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(server.connections.load(Ordering::Relaxed), 2);

    // Nobody is released: those in the queue are refused at their deadline, those with a stream have had it.
    let within = |call| Duration::from_millis(if call < 4 { 300 } else { 100 });
    let late = join((0..6).map(|call| upstream.unary(&pool, outgoing(within(call)), framed(b"")))).await;
    let kinds = |wanted: fn(&FailureKind) -> bool| {
        late.iter().filter(|outcome| outcome.as_ref().is_err_and(|failure| wanted(&failure.kind))).count()
    };
    assert_eq!(kinds(|kind| matches!(kind, FailureKind::Overloaded)), 2);
    assert_eq!(kinds(|kind| matches!(kind, FailureKind::Deadline)), 4);
}

#[tokio::test]
async fn connections_grow_with_their_streams_and_go_when_they_are_idle() {
    let release = Arc::new(tokio::sync::Semaphore::new(0));
    let server = narrow(&release).await;
    let mut settings = settings(&[server.address]);
    settings.max_connections = 3;
    let upstream = Upstream::compile("test", &settings, &Metrics::new());
    let mut pool = Pool::new(0, 1);
    pool.linger = Duration::from_millis(200);
    let there = || server.connections.load(Ordering::Relaxed);
    let open = || upstream.describe()[0].connections;
    // Eight calls for six streams; nobody decides how they come in.
    let calls = join((0..8).map(|_| call(&upstream, &pool)));
    let releases = async {
        until(|| server.calls() == 6).await;
        assert_eq!((there(), open()), (3, 3));
        release.add_permits(8);
    };
    let (outcomes, ()) = tokio::join!(calls, releases);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(there(), 3);
    until(|| open() == 1).await;
    // The one that is kept serves, and others come back when they are needed.
    release.add_permits(1);
    call(&upstream, &pool).await.unwrap();
    assert_eq!((there(), open()), (3, 1));
    let again = join((0..4).map(|_| call(&upstream, &pool)));
    let releases = async {
        until(|| open() >= 2).await;
        release.add_permits(4);
    };
    let (outcomes, ()) = tokio::join!(again, releases);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[tokio::test]
async fn the_next_connection_is_there_before_it_is_needed() {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(4);
    let held = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::clone(&held);
    let server = Server::with(builder, move |call: Call| calls.lock().push(call)).await;
    let mut settings = settings(&[server.address]);
    settings.max_connections = 2;
    let upstream = Upstream::compile("test", &settings, &Metrics::new());
    let pool = Pool::new(0, 1);
    let connections = || upstream.describe()[0].connections;
    let two = join((0..2).map(|_| call(&upstream, &pool)));
    let third = async {
        until(|| held.lock().len() == 2).await;
        assert_eq!(connections(), 1);
        let third = call(&upstream, &pool);
        let answers = async {
            until(|| connections() == 2).await;
            assert_eq!(held.lock().len(), 3);
            held.lock().drain(..).for_each(|call| answer(call, b""));
        };
        tokio::join!(third, answers).0
    };
    let (two, third) = tokio::join!(two, third);
    assert!(third.is_ok() && two.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let release = Arc::new(tokio::sync::Semaphore::new(0));
    let server = narrow(&release).await;
    let upstream = upstream(&[server.address]);
    let pool = Pool::new(0, 1);
    let outcomes =
        join((0..1100).map(|_| upstream.unary(&pool, outgoing(Duration::from_millis(300)), framed(b"")))).await;
    let full = |outcome: &&Result<_, Failure>| matches!(outcome, Err(failure) if failure.cause.contains("queue for a stream is full"));
    // The queue takes 1024 while the connection is made.
    assert_eq!(outcomes.iter().filter(full).count(), 1100 - 1024);
}

#[tokio::test]
async fn malformed_metadata_harms_nothing() {
    let server = numbered(3).await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let mut bad = outgoing(Duration::from_secs(5));
    bad.headers.given_mut().insert("connection", "keep-alive".parse().unwrap());
    let failure = upstream.unary(&pool, bad, Bytes::new()).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Malformed), "{failure}");
    assert_eq!(who(&upstream, &pool).await, 3);
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_runtime_ends_while_calls_wait_for_a_stream() {
    let mut one = server::Builder::new();
    one.max_concurrent_streams(1);
    let server = Server::with(one, |call| answer(call, b"")).await;
    let upstream = upstream(&[server.address]);
    let (done, ended) = tokio::sync::oneshot::channel();
    // A thread of its own: one that hangs must not keep the test from saying so.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pool = Pool::new(0, 1);
        let endpoint = Arc::clone(&upstream.roster.all()[0]);
        let places = runtime.block_on(async {
            // The first has the only stream.
            let acquired = [(); 2].map(|()| pool.acquire(&endpoint, &upstream.roster, true));
            until(|| endpoint.metrics.connections().value() == 1).await;
            acquired
        });
        assert!(places.iter().all(|place| matches!(place, Acquired::Queued(..))));
        drop(runtime);
        drop(places);
        done.send(()).unwrap();
    });
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the runtime ends").unwrap();
}
