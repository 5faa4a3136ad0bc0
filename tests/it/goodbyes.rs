//! Services that say goodbye in the middle of calls, by hand: what comes on their connections after that.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use transom_transcode::status::Code;

use crate::support::client::Http2;
use crate::support::frames::{ACK, END_HEADERS, END_STREAM, Head, PREFACE, frame, kind};
use crate::support::gateway::gateway;
use crate::support::grpc;

/// Calls of one connection before the goodbye.
const CALLS: usize = 150;

/// How many said goodbye, and how many streams came after their word that nothing new would.
#[derive(Default)]
struct Counts {
    goodbyes: AtomicUsize,
    late: AtomicUsize,
}

/// Answers each call; after some it says GOAWAY and PING, and that it goes once that is answered (RFC 9113 §6.8).
async fn serve(mut socket: TcpStream, counts: Arc<Counts>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.write_all(&frame(kind::SETTINGS, 0, 0, &[])).await?;
    socket.read_exact(&mut [0; PREFACE.len()]).await?;
    let (mut calls, mut last, mut answered) = (0, 0, false);
    loop {
        let mut head = [0; Head::LENGTH];
        socket.read_exact(&mut head).await?;
        let head = Head::read(&head);
        let mut payload = vec![0; head.length];
        socket.read_exact(&mut payload).await?;
        let goaway = |last: u32| frame(kind::GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat());
        let said = match (head.kind, head.flags & ACK) {
            (kind::SETTINGS, 0) => frame(kind::SETTINGS, ACK, 0, &[]),
            (kind::PING, 0) => frame(kind::PING, ACK, 0, &payload),
            (kind::PING, _) => {
                answered = true;
                goaway(last)
            }
            (kind::HEADERS, _) => {
                last = head.stream;
                counts.late.fetch_add(usize::from(answered), Relaxed);
                continue;
            }
            (kind::DATA, _) if head.flags & END_STREAM != 0 => {
                calls += 1;
                let begun = [&[0x88, 0x0f, 0x10, 16][..], b"application/grpc"].concat();
                let ended = [&[0, 11][..], b"grpc-status", &[1], b"0"].concat();
                let mut said = [
                    frame(kind::HEADERS, END_HEADERS, head.stream, &begun),
                    frame(kind::DATA, 0, head.stream, &grpc::frame(&[])),
                    frame(kind::HEADERS, END_HEADERS | END_STREAM, head.stream, &ended),
                ]
                .concat();
                if calls == CALLS {
                    counts.goodbyes.fetch_add(1, Relaxed);
                    said = [goaway(u32::MAX >> 1), frame(kind::PING, 0, 0, &[1; 8]), said].concat();
                }
                said
            }
            _ => continue,
        };
        socket.write_all(&said).await?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_comes_after_a_ping_that_says_goodbye_is_answered() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let counts = Arc::<Counts>::default();
    let counted = counts.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, counted.clone()));
        }
    });
    let gateway = gateway().descriptors("library");
    let gateway = gateway.upstream_at("library", "library.v1.Library", &[address], "connections: 1").start().await;
    // So many that calls wait for their turn while more of the service's frames come.
    let connections = join_all((0..4).map(|_| gateway.connect_http2())).await;
    let caller = async |connection: &Http2| {
        for _ in 0..40 {
            let call = grpc::call_on(connection, "library.v1.Library/GetBook");
            assert_eq!(call.send(&[json!({})]).await.code, Code::Ok);
        }
    };
    join_all(connections.iter().flat_map(|connection| (0..64).map(|_| caller(connection)))).await;
    let goodbyes = counts.goodbyes.load(Relaxed);
    assert!(goodbyes > 20, "{goodbyes}");
    assert_eq!(counts.late.load(Relaxed), 0, "after {goodbyes} goodbyes");
}
