//! Clients that leave while the service takes nothing of what they sent: their close lies behind bytes that nobody reads.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use transom::server::Limits;

use crate::support::gateway::{Running, gateway};
use crate::support::grpc::frame;
use crate::support::{soon, until};

const RULES: &str = "schema: { descriptor_sets: [in-memory], expose: all, http_rules: [
  { selector: library.v1.Library.Discuss, post: \"/v1/discuss\", body: \"*\" }] }";

/// A call of its; it counts when it is dropped.
struct Served(Arc<AtomicUsize>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A service that takes calls and reads nothing of them; and how many of them are over.
async fn service() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, over) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let calls = over.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let calls = calls.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let served = Served(calls.clone());
                async move {
                    let _unread = (request.into_body(), served);
                    std::future::pending::<()>().await;
                    Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
                }
            });
            let mut http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            http2.initial_stream_window_size(65_535);
            tokio::spawn(http2.serve_connection(TokioIo::new(socket), service));
        }
    });
    (address, over)
}

async fn start(service: SocketAddr, limits: Limits) -> Running {
    let gateway = gateway().descriptors("library").config(RULES).limits(limits);
    gateway.upstream_at("library", "library.v1.Library", &[service.to_string()], "").start().await
}

/// How a client says what it says, over HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Lines,
    Web,
    Socket,
}

impl How {
    const ALL: [Self; 3] = [Self::Lines, Self::Web, Self::Socket];

    fn head(self) -> String {
        let post = |path: &str, kind: &str| {
            format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n")
        };
        match self {
            Self::Lines => post("/v1/discuss", "application/x-ndjson"),
            Self::Web => post("/library.v1.Library/Discuss", "application/grpc-web+proto"),
            Self::Socket => "GET /library.v1.Library/Discuss HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n\
                 upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                .to_owned(),
        }
    }

    /// A message of about eight kilobytes.
    fn message(self) -> Vec<u8> {
        let text = "x".repeat(8_000);
        let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        match self {
            Self::Lines => chunk(format!("{}\n", json!({ "text": text })).as_bytes()),
            // Field 1, of 8,000 bytes.
            Self::Web => chunk(&frame(&[b"\x0a\xc0\x3e", text.as_bytes()].concat())),
            Self::Socket => {
                let text = json!({ "text": text }).to_string();
                let length = u16::try_from(text.len()).unwrap().to_be_bytes();
                [&[0x81, 0x80 | 126], &length[..], &[0; 4], text.as_bytes()].concat()
            }
        }
    }

    /// Opens a call and says so many bytes, or until there is no room for more.
    async fn says(self, gateway: &Running, bytes: usize) -> TcpStream {
        let mut client = TcpStream::connect(gateway.address()).await.unwrap();
        client.write_all(self.head().as_bytes()).await.unwrap();
        if self == Self::Socket {
            let mut head = vec![0; 12];
            soon("the handshake", client.read_exact(&mut head)).await.unwrap();
            assert_eq!(head, b"HTTP/1.1 101");
        }
        let message = self.message();
        let mut said = 0;
        while said < bytes {
            let room = tokio::time::timeout(Duration::from_millis(300), client.write_all(&message)).await;
            if room.is_err() {
                break;
            }
            room.unwrap().unwrap();
            said += message.len();
        }
        client
    }
}

/// The call is over, here and at its service, and it is the client that is said to have left.
async fn noticed(gateway: &Running, over: &AtomicUsize, calls: usize) {
    until("the call's end", async || over.load(Relaxed) == calls).await;
    let line = &gateway.logged(calls).await[calls - 1];
    assert_eq!((&line["code"], &line["reason"]), (&json!("CANCELLED"), &json!("CLIENT_GONE")), "{line}");
    assert_eq!(gateway.metric("transom_in_flight"), 0.0);
}

#[tokio::test]
async fn a_close_is_seen_behind_bytes_that_nobody_reads() {
    let (service, over) = service().await;
    let gateway = start(service, Limits::default()).await;
    let mut calls = 0;
    for how in How::ALL {
        // A little, all of which is on its way; more than anybody holds.
        for (bytes, reset) in [(8_000, false), (usize::MAX, true)] {
            println!("{how:?}: {bytes}, reset {reset}");
            let client = how.says(&gateway, bytes).await;
            if reset {
                SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(client);
            calls += 1;
            noticed(&gateway, &over, calls).await;
        }
    }
}

/// The close cannot come where there is no room for the bytes before it: for a WebSocket a ping tells, for the others time.
#[tokio::test]
async fn a_client_that_cannot_be_heard_is_let_go_when_nothing_moves() {
    let (service, over) = service().await;
    let limits = Limits { stall: Duration::from_secs(1), ..Limits::default() };
    let gateway = start(service, limits).await;
    for (calls, how) in How::ALL.into_iter().enumerate() {
        println!("{how:?}");
        drop(how.says(&gateway, usize::MAX).await);
        noticed(&gateway, &over, calls + 1).await;
    }
}

/// Who waits for a slow service is not taken for one that has left.
#[tokio::test]
async fn a_client_that_stays_is_waited_for() {
    let (service, over) = service().await;
    let gateway = start(service, Limits::default()).await;
    let mut clients = Vec::new();
    for how in How::ALL {
        clients.push(how.says(&gateway, usize::MAX).await);
    }
    // Longer than a connection may be unheard before its client is watched.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((over.load(Relaxed), gateway.lines().len()), (0, 0));
}
