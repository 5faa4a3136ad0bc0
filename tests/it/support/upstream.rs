//! A gRPC server that answers as it is told and remembers what it saw. Built from the test descriptors: nothing is
//! generated.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use transom_transcode::status::Code;

use super::answer::{self, Answer};
use super::reply::{Reply, fail};
use super::saw::{Log, Saw, SeenCall};

/// A server of `service`; methods that are not told what to answer are UNIMPLEMENTED.
pub(crate) fn grpc(service: &str) -> Builder {
    Builder { service: service.to_owned(), methods: HashMap::new() }
}

pub(crate) struct Builder {
    service: String,
    methods: HashMap<String, Answer>,
}

impl Builder {
    /// One message in, one reply.
    pub(crate) fn unary(self, method: &str, answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Self {
        self.client_stream(method, move |messages| match messages {
            [message] => answer(message),
            other => fail(Code::Internal, &format!("{} messages in a unary call", other.len())),
        })
    }

    /// One message in, a reply of many.
    pub(crate) fn server_stream(self, method: &str, answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Self {
        self.unary(method, answer)
    }

    /// Many messages in, a reply when the client has ended.
    pub(crate) fn client_stream(
        mut self,
        method: &str,
        answer: impl Fn(&[Value]) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.methods.insert(format!("/{}/{method}", self.service), Answer::Whole(Arc::new(answer)));
        self
    }

    /// Some messages for each of the client's; OK when it has ended.
    pub(crate) fn bidi(mut self, method: &str, answer: impl Fn(&Value) -> Vec<Value> + Send + Sync + 'static) -> Self {
        self.methods.insert(format!("/{}/{method}", self.service), Answer::Each(Arc::new(answer)));
        self
    }

    /// Starts it on a port of its own.
    pub(crate) async fn start(self) -> Upstream {
        self.start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Starts it at an address of this machine.
    pub(crate) async fn start_at(self, address: SocketAddr) -> Upstream {
        let shared = Arc::new(Shared {
            methods: self.methods,
            log: Arc::default(),
            serving: AtomicBool::new(true),
            connections: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = Mutex::new(Some(run(shared.clone(), listener)));
        Upstream { service: self.service, address, shared, running }
    }
}

/// A running server; dropped, it stops.
pub(crate) struct Upstream {
    pub(crate) service: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

struct Running {
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// What outlives a restart.
struct Shared {
    methods: HashMap<String, Answer>,
    log: Arc<Log>,
    serving: AtomicBool,
    connections: AtomicUsize,
}

impl Upstream {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it saw of a method.
    pub(crate) fn saw(&self, method: &str) -> Saw {
        Saw { method: method.to_owned(), calls: self.shared.log.of(method) }
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Relaxed)
    }

    /// Waits until a method has been called this often.
    pub(crate) async fn called(&self, method: &str, times: usize) {
        self.shared.log.wait("called", method, |calls| calls.len() >= times).await;
    }

    /// Waits until the last of so many calls of a method has brought so many messages.
    pub(crate) async fn heard(&self, method: &str, calls: usize, messages: usize) {
        let heard = |seen: &[SeenCall]| seen.len() == calls && seen[calls - 1].messages.len() >= messages;
        self.shared.log.wait("a call's messages", method, heard).await;
    }

    /// Waits until the callers of so many calls of a method have left before the end.
    pub(crate) async fn cancelled(&self, method: &str, times: usize) {
        let enough = |calls: &[SeenCall]| calls.iter().filter(|call| call.cancelled).count() >= times;
        self.shared.log.wait("cancelled", method, enough).await;
    }

    /// What `grpc.health.v1.Health/Check` answers from now on.
    pub(crate) fn set_serving(&self, serving: bool) {
        self.shared.serving.store(serving, Relaxed);
    }

    /// Closes the port and every connection.
    pub(crate) async fn stop(&self) {
        let running = self.running.lock().take();
        if let Some(running) = running {
            running.cancel.cancel();
            running.task.await.unwrap();
        }
    }

    /// Listens again, on the same port.
    pub(crate) async fn restart(&self) {
        self.stop().await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        let listener = socket.listen(1024).unwrap();
        *self.running.lock() = Some(run(self.shared.clone(), listener));
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(running) = self.running.lock().take() {
            running.cancel.cancel();
        }
    }
}

fn run(shared: Arc<Shared>, listener: TcpListener) -> Running {
    let cancel = CancellationToken::new();
    let stopped = cancel.clone();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped.cancelled() => break,
            };
            let Ok((socket, _)) = accepted else { continue };
            socket.set_nodelay(true).unwrap();
            shared.connections.fetch_add(1, Relaxed);
            let shared = shared.clone();
            connections.spawn(async move {
                let service = service_fn(|request| {
                    let shared = shared.clone();
                    async move {
                        let method = shared.methods.get(request.uri().path());
                        let serving = shared.serving.load(Relaxed);
                        Ok::<_, Infallible>(answer::answer(method, serving, &shared.log, request).await)
                    }
                });
                let mut http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                http2.timer(TokioTimer::new()).max_pending_accept_reset_streams(10_000).max_concurrent_streams(1000);
                let _ = http2.serve_connection(TokioIo::new(socket), service).await;
            });
        }
        connections.shutdown().await;
    });
    Running { cancel, task }
}
