//! Backpressure: a gigabyte that its receiver is in no hurry for. What the gateway holds of it is what its sender got rid
//! of, less what the receiver's own window has room for.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};
use transom::server::Limits;

use crate::support::gateway::{Running, gateway};
use crate::support::grpc::frame;
use crate::support::process::Process;
use crate::support::{protos, soon, until};

/// What is offered.
const GIGABYTE: usize = 1 << 30;

/// What a receiver has room for: its window, or its socket's buffer.
const WINDOW: u32 = 65_535;

/// What the gateway may hold of one stream.
const HELD: usize = 512 << 10;

/// The same with what hyper and the allocator need for it, and a connection of its own.
const RESIDENT: usize = 768 << 10;

/// What the kernel's buffers of two sockets may hold beside it, where no window of HTTP/2 bounds them.
const SOCKETS: usize = 12 << 20;

const WATCH: &str = "/v1/shelves/1/books:watch";
const WATCH_RPC: &str = "/library.v1.Library/WatchBooks";
const IMPORT_RPC: &str = "/library.v1.Library/ImportBooks";

/// A body of so many pieces, made when they are asked for.
struct Offered {
    piece: Bytes,
    left: usize,
    moved: Arc<Moved>,
}

#[derive(Default)]
struct Moved {
    bytes: AtomicUsize,
    /// Bodies that were dropped.
    dropped: AtomicUsize,
}

impl Offered {
    fn new(piece: Bytes, moved: &Arc<Moved>) -> Self {
        Self { left: GIGABYTE / piece.len(), piece, moved: moved.clone() }
    }
}

impl http_body::Body for Offered {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.moved.bytes.fetch_add(self.piece.len(), Relaxed);
        Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        self.moved.dropped.fetch_add(1, Relaxed);
    }
}

impl Moved {
    /// How much, once no more does.
    async fn stalled(&self) -> usize {
        let (mut bytes, mut since) = (0, Instant::now());
        until("a standstill", async || {
            let now = self.bytes.load(Relaxed);
            if now != bytes {
                (bytes, since) = (now, Instant::now());
            }
            bytes > 0 && since.elapsed() > Duration::from_millis(200)
        })
        .await;
        bytes
    }
}

/// A book of 8 KB in its frame.
fn book() -> Bytes {
    let method = protos::method("library.v1.Library/WatchBooks");
    frame(&protos::encode(&method.output(), &json!({ "title": "x".repeat(8_000) })))
}

/// A library whose watches are a gigabyte each, and which reads no message of an import.
async fn library() -> (SocketAddr, Arc<Moved>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, moved) = (listener.local_addr().unwrap(), Arc::<Moved>::default());
    let (book, given) = (book(), moved.clone());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (book, given) = (book.clone(), given.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let offered = Offered::new(book.clone(), &given);
                async move {
                    if request.uri().path() == IMPORT_RPC {
                        // Its body is there and nobody looks at it; `offered` tells when it is dropped.
                        let _unread = request.into_body();
                        return std::future::pending().await;
                    }
                    let mut response = Response::new(offered);
                    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                    Ok::<_, Infallible>(response)
                }
            });
            let mut http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            http2.initial_stream_window_size(WINDOW);
            tokio::spawn(http2.serve_connection(TokioIo::new(socket), service));
        }
    });
    (address, moved)
}

async fn start(library: SocketAddr) -> Running {
    start_with(library, Limits::default()).await
}

async fn start_with(library: SocketAddr, limits: Limits) -> Running {
    gateway()
        .descriptors("library")
        .expose_all()
        .limits(limits)
        // Its calls do not end of themselves.
        .upstream_at("library", "library.v1.Library", &[library.to_string()], "timeout: 10min")
        .start()
        .await
}

type AnyBody = UnsyncBoxBody<Bytes, Infallible>;

/// Sends a request over a connection that has little room for the answer.
async fn send(
    to: SocketAddr,
    http2: bool,
    mut request: Request<AnyBody>,
) -> Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(WINDOW).unwrap();
    let io = TokioIo::new(soon("a connection", socket.connect(to)).await.unwrap());
    request.headers_mut().insert(header::HOST, to.to_string().parse().unwrap());
    if !http2 {
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(request);
        return Box::pin(async move {
            let response = response.await;
            drop(sender);
            response
        });
    }
    request.headers_mut().remove(header::HOST);
    *request.uri_mut() = format!("http://{to}{}", request.uri()).parse().unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (mut sender, connection) = builder.handshake(io).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request);
    Box::pin(async move {
        let response = response.await;
        drop(sender);
        response
    })
}

/// A request for a watch: by REST as lines, or in an RPC's dialect.
fn watch(content_type: &str) -> Request<AnyBody> {
    match content_type {
        "" => {
            let request = Request::get(WATCH).header("accept", "application/x-ndjson");
            request.body(Full::default().boxed_unsync()).unwrap()
        }
        _ => {
            let request = Request::post(WATCH_RPC).header("content-type", content_type).header("te", "trailers");
            let mut message = match content_type.ends_with("json") {
                true => frame(b"{\"parent\":\"shelves/1\"}"),
                false => frame(b"\n\x09shelves/1"),
            };
            if content_type.contains("text") {
                message = STANDARD.encode(message).into();
            }
            request.body(Full::new(message).boxed_unsync()).unwrap()
        }
    }
}

#[tokio::test]
async fn a_slow_reader_of_a_gigabyte_is_waited_for() {
    let (library, moved) = library().await;
    let gateway = start(library).await;
    for (calls, (content_type, http2)) in [
        ("", true),
        ("application/grpc", true),
        ("application/grpc+json", true),
        ("application/grpc-web+proto", true),
        ("application/grpc-web-text+proto", true),
        ("application/connect+json", true),
        ("", false),
        ("application/grpc-web+proto", false),
    ]
    .into_iter()
    .enumerate()
    {
        moved.bytes.store(0, Relaxed);
        let response = send(gateway.address(), http2, watch(content_type)).await;
        let mut body = soon("the answer's head", response).await.unwrap().into_body();

        let given = moved.stalled().await;

        let held = given.saturating_sub(WINDOW as usize);
        println!("{content_type:?}, HTTP/2 {http2}: {} KiB", held >> 10);
        assert!(held <= if http2 { HELD } else { SOCKETS }, "{content_type:?}, HTTP/2 {http2}: {held} bytes");

        // It does not stop for good: who reads on gets more, and who leaves ends it.
        while moved.bytes.load(Relaxed) < given + HELD {
            soon("the next frame", body.frame()).await.expect("it goes on").unwrap();
        }
        drop(body);
        until("the upstream's stream ends", async || moved.dropped.load(Relaxed) > calls).await;
        assert!(moved.bytes.load(Relaxed) < GIGABYTE / 2);
    }
}

#[tokio::test]
async fn a_slow_upstream_slows_the_client_of_a_gigabyte() {
    let (library, served) = library().await;
    // What tells of an HTTP/1.1 client that leaves behind bytes for which there is no room.
    let limits = Limits { stall: Duration::from_secs(2), ..Limits::default() };
    let gateway = start_with(library, limits).await;
    let message = book();
    let json = frame(json!({ "title": "x".repeat(8_000) }).to_string().as_bytes());
    for (calls, (content_type, piece, http2)) in [
        ("application/grpc", &message, true),
        ("application/grpc+json", &json, true),
        ("application/grpc-web+json", &json, true),
        ("application/connect+json", &json, true),
        ("application/connect+json", &json, false),
        ("application/grpc-web+proto", &message, false),
    ]
    .into_iter()
    .enumerate()
    {
        let moved = Arc::default();
        let request = Request::post(IMPORT_RPC).header("content-type", content_type).header("te", "trailers");
        let request = request.body(Offered::new(piece.clone(), &moved).boxed_unsync()).unwrap();
        let response = tokio::spawn(send(gateway.address(), http2, request).await);

        let given = moved.stalled().await;

        let held = given.saturating_sub(WINDOW as usize);
        println!("{content_type:?}, HTTP/2 {http2}: {} KiB", held >> 10);
        assert!(held <= if http2 { HELD } else { SOCKETS }, "{content_type:?}, HTTP/2 {http2}: {held} bytes");
        response.abort();
        until("the upstream's call ends", async || served.dropped.load(Relaxed) > calls).await;
        assert_eq!(moved.dropped.load(Relaxed), 1);
    }
}

/// The same seen from outside: what the process grows by for streams of which nobody reads on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads_cost_little_memory() {
    const STREAMS: usize = 20;
    let (library, moved) = library().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("library.binpb"), protos::descriptors("library")).unwrap();
    let config = gateway()
        .config("schema: { descriptor_sets: [library.binpb], expose: all }")
        .upstream_at("library", "library.v1.Library", &[library.to_string()], "")
        .text();
    let file = folder.path().join("transom.yaml");
    std::fs::write(&file, config).unwrap();
    let transom = Process::start(&["serve", "--config", file.to_str().unwrap()], &[]);
    // The first of each is for what is made once; the others count.
    let mut open = Vec::new();
    for (content_type, http2) in [("", true), ("", false), ("application/grpc", true)] {
        let mut before = 0;
        for at in 0..=STREAMS {
            let response = send(transom.address, http2, watch(content_type)).await;
            open.push(soon("a head", response).await.unwrap());
            if at == 0 {
                moved.stalled().await;
                before = transom.resident();
            }
        }
        moved.stalled().await;

        let each = transom.resident().saturating_sub(before) / STREAMS;
        println!("{content_type:?}, HTTP/2 {http2}: {} KiB; for each stream more {} KiB", before >> 10, each >> 10);
        assert!(each <= RESIDENT, "{content_type:?}, HTTP/2 {http2}: {each} bytes for each stream");
    }
}
