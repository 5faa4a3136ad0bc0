//! Servers that do what a test says, and the calls to them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{self, SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::config;
use crate::telemetry::Metrics;
use crate::upstream::{Aim, Failure, Metadata, Outgoing, Pool, Unary, Upstream};

pub(super) type Call = (Request<RecvStream>, SendResponse<Bytes>);

/// A server on a port of its own; dropped, it and its connections are gone.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) calls: Arc<AtomicUsize>,
    pub(super) connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Each call goes to `handle`, which runs on the connection's task.
    pub(super) async fn start(handle: impl Fn(Call) + Clone + Send + 'static) -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), server::Builder::new(), handle).await
    }

    pub(super) async fn with(builder: server::Builder, handle: impl Fn(Call) + Clone + Send + 'static) -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), builder, handle).await
    }

    pub(super) async fn on(
        address: SocketAddr,
        builder: server::Builder,
        handle: impl Fn(Call) + Clone + Send + 'static,
    ) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let serve = move |tcp: TcpStream| {
            let (builder, handle, calls) = (builder.clone(), handle.clone(), Arc::clone(&counted));
            async move {
                let Ok(mut connection) = builder.handshake(tcp).await else { return };
                while let Some(Ok(call)) = connection.accept().await {
                    calls.fetch_add(1, Ordering::Relaxed);
                    handle(call);
                }
            }
        };
        Self::raw(address, calls, serve).await
    }

    /// Each connection goes to `serve`.
    pub(super) async fn raw<F>(
        address: SocketAddr,
        calls: Arc<AtomicUsize>,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        let open = Arc::new(AtomicUsize::new(0));
        let opened = Arc::clone(&open);
        let accepting = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                accepted.fetch_add(1, Ordering::Relaxed);
                let (serve, opened) = (serve(tcp), Arc::clone(&opened));
                opened.fetch_add(1, Ordering::Relaxed);
                serving.spawn(async move {
                    serve.await;
                    opened.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, calls, connections, open, accepting }
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Ends it and all its connections; its address can be taken again.
    pub(super) async fn stop(mut self) -> SocketAddr {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One gRPC message.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

pub(super) fn grpc_head() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

pub(super) fn status(number: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(number))])
}

/// A reply of one message and a status of OK.
pub(super) fn answer((_, mut respond): Call, message: &[u8]) {
    let Ok(mut send) = respond.send_response(grpc_head(), false) else { return };
    let _ = send.send_data(framed(message), false);
    let _ = send.send_trailers(status("0"));
}

/// A server that answers its own number.
pub(super) async fn numbered(number: u8) -> Server {
    Server::start(move |call| answer(call, &[number])).await
}

pub(super) fn settings(addresses: &[SocketAddr]) -> config::Upstream {
    config::Upstream {
        tls: None,
        adaptive_concurrency: None,
        keepalive: None,
        outlier_ejection: None,
        slow_start: None,
        services: vec![],
        endpoints: addresses.iter().map(|at| config::Endpoint::at(&at.ip().to_string(), at.port())).collect(),
        health_name: None,
        balance: config::Balance::RoundRobin,
        subset: None,
        canary: None,
        zone: None,
        health_check: None,
        circuit_breaker: None,
        retry: None,
        timeout: Duration::from_secs(5),
        connections: 1,
        max_connections: 1,
        limits: config::UpstreamLimits { in_flight: 10_000, receive: 4 << 20, send: 4 << 20 },
        required: true,
    }
}

pub(super) fn upstream(addresses: &[SocketAddr]) -> Arc<Upstream> {
    Upstream::compile("test", &settings(addresses), &Metrics::new())
}

/// What a route would hold.
pub(super) fn uri(text: &'static str) -> &'static Uri {
    Box::leak(Box::new(Uri::from_static(text)))
}

pub(super) fn outgoing(within: Duration) -> Outgoing<'static> {
    Outgoing {
        uri: uri("http://test/test.Service/Method"),
        headers: Metadata::default(),
        deadline: Instant::now() + within,
        max_age: None,
        patient: true,
        single: false,
        priority: config::Priority::Normal,
        aim: Aim::default(),
        retry: None,
        takes: None,
    }
}

pub(super) async fn call(upstream: &Upstream, pool: &Pool) -> Result<Unary, Failure> {
    upstream.unary(pool, outgoing(Duration::from_secs(5)), framed(b"request")).await
}

/// Who answered: the number of a [`numbered`] server.
pub(super) async fn who(upstream: &Upstream, pool: &Pool) -> u8 {
    call(upstream, pool).await.unwrap().message[0]
}

/// All of them at once, on this task.
pub(super) async fn join<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, outcome) in running.iter_mut().filter(|(_, outcome)| outcome.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(cx) {
                *outcome = Some(ready);
            }
        }
        if running.iter().all(|(_, outcome)| outcome.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, outcome)| outcome).collect()
}

/// Waits for what will be, without saying how long it takes.
pub(super) async fn until(mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("it did not come about");
}

/// Reads until the HEADERS of this stream have come.
pub(super) async fn until_headers(tcp: &mut TcpStream, stream: u8) {
    let mut read = [0; 4096];
    let mut all = Vec::new();
    while !all.windows(9).any(|frame: &[u8]| frame[3] == 1 && frame[5..] == [0, 0, 0, stream]) {
        let some = tcp.read(&mut read).await.unwrap();
        all.extend_from_slice(&read[..some]);
    }
}
