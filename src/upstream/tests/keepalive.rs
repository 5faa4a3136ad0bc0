//! PINGs that the peer finds too many.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Server, framed, join, outgoing, settings, until};
use crate::config::{CircuitBreaker, Keepalive};
use crate::telemetry::{Circuit, Metrics};
use crate::upstream::{Pool, Upstream};

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
/// `:status: 200` and `content-type: application/grpc`, in HPACK.
const HEAD: &[u8] = b"\x88\x5f\x10application/grpc";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Opens every stream, and counts PINGs as servers of gRPC do: the third is one too many.
async fn strict(mut tcp: TcpStream) {
    let mut preface = [0; 24];
    tcp.read_exact(&mut preface).await.unwrap();
    tcp.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    let mut pings = 0;
    loop {
        let mut head = [0; 9];
        if tcp.read_exact(&mut head).await.is_err() {
            return;
        }
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]).try_into().unwrap()];
        tcp.read_exact(&mut payload).await.unwrap();
        let reply = match kind {
            SETTINGS if flags & ACK == 0 => frame(SETTINGS, ACK, 0, &[]),
            HEADERS => frame(HEADERS, 4, u32::from_be_bytes(stream), HEAD),
            PING if flags & ACK == 0 => {
                pings += 1;
                if pings == 3 {
                    let why = [&u32::MAX.to_be_bytes()[..], &[0, 0, 0, 11], b"too_many_pings"].concat();
                    tcp.write_all(&frame(GOAWAY, 0, 0, &why)).await.unwrap();
                    return;
                }
                frame(PING, ACK, 0, &payload)
            }
            _ => continue,
        };
        tcp.write_all(&reply).await.unwrap();
    }
}

#[tokio::test]
async fn who_says_that_they_are_too_many_gets_fewer_and_is_not_to_blame() {
    let interval = Duration::from_millis(10);
    let server = Server::raw("127.0.0.1:0".parse().unwrap(), Arc::default(), strict).await;
    let mut settings = settings(&[server.address]);
    settings.keepalive = Some(Keepalive { interval, timeout: Duration::from_secs(5), idle: false });
    settings.circuit_breaker = Some(CircuitBreaker { failures: 1, open_for: Duration::from_secs(30), probes: 1 });
    let (upstream, pool) = (Upstream::compile("test", &settings, &Metrics::new()), Pool::new(0, 1));
    let endpoint = Arc::clone(&upstream.roster.all()[0]);
    assert_eq!(endpoint.spaced(interval), interval);
    let streams = (0..8).map(|_| async {
        let call = outgoing(Duration::from_secs(30));
        let mut body = upstream.server_stream(&pool, call, framed(b"x")).await.unwrap().body;
        body.frame().await.unwrap().unwrap_err()
    });
    let failures = join(streams).await;
    assert_eq!(failures.len(), 8);
    assert_eq!(upstream.circuit(), Circuit::Closed, "{failures:?}");
    // As seldom as a server allows that was told nothing: learnt little by little, it would cut them again and again.
    until(|| endpoint.spaced(interval) == Duration::from_secs(310)).await;
    assert!(endpoint.wearies(std::time::Instant::now()));
    assert_eq!(endpoint.spaced(interval), Duration::from_secs(620));
    assert_eq!(endpoint.spaced(Duration::from_secs(400)), Duration::from_secs(1600));
    // The same interval is no news, another one is.
    settings.timeout += Duration::from_secs(1);
    upstream.group.follow(&settings);
    assert_eq!(endpoint.spaced(interval), Duration::from_secs(620));
    settings.keepalive.as_mut().unwrap().interval = 2 * interval;
    upstream.group.follow(&settings);
    assert_eq!(endpoint.spaced(2 * interval), 2 * interval);
    // However often it was told: no less than that.
    (0..100).for_each(|_| assert!(endpoint.wearies(std::time::Instant::now())));
    assert_eq!(endpoint.spaced(interval), Duration::from_secs(2 * 3600));
    assert_eq!(endpoint.spaced(Duration::from_secs(9000)), Duration::from_secs(9000));
}
