//! Endpoints that die: real processes, killed and started again under a load of calls that may be made twice. No client notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_blocking};

use crate::support::client::Connection;
use crate::support::gateway::{Running, gateway};
use crate::support::process::Process;
use crate::support::streams::Streams;
use crate::support::{soon, until};

const EVENT: &str = "/api/v1/events/evt-001";
const CLIENTS: usize = 8;

/// An instance of the booking system's ticket service.
struct Instance {
    process: Option<Process>,
    address: SocketAddr,
}

impl Instance {
    async fn start() -> Self {
        let mut instance = Self { process: None, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        instance.begin().await;
        instance
    }

    /// Starts it, where it was before if it was.
    async fn begin(&mut self) {
        let port = self.address.port().to_string();
        let start = move || Process::start(&["demo", "--service", "ticket", "--port", &port], &[]);
        let process = spawn_blocking(start).await.unwrap();
        self.address.set_port(process.address.port());
        self.process = Some(process);
    }

    /// SIGKILL: no goodbye.
    async fn kill(&mut self) {
        let process = self.process.take();
        spawn_blocking(|| drop(process)).await.unwrap();
    }

    /// SIGTERM: what it has begun it ends.
    async fn end(&mut self) {
        let process = self.process.take().unwrap();
        spawn_blocking(|| process.end("TERM")).await.unwrap();
    }
}

async fn instances() -> Vec<Instance> {
    let mut instances = Vec::new();
    for _ in 0..4 {
        instances.push(Instance::start().await);
    }
    instances
}

async fn before(instances: &[Instance], keys: &str) -> Running {
    let addresses: Vec<_> = instances.iter().map(|instance| instance.address.to_string()).collect();
    let descriptors = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/descriptors/booking.binpb")).unwrap();
    let gateway = gateway().descriptor_set(descriptors).upstream_at("ticket", "ticket.TicketService", &addresses, keys);
    gateway.start().await
}

/// How many endpoints take calls and are known to answer.
async fn usable(gateway: &Running) -> usize {
    let upstreams = gateway.admin("/upstreams").await.value();
    let endpoints = upstreams["upstreams"][0]["endpoints"].as_array().unwrap().iter();
    endpoints.filter(|endpoint| endpoint["usable"] == true).count()
}

/// Calls over HTTP/1.1 and HTTP/2 until it is ended; one that fails is a panic.
struct Load {
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn begin(address: SocketAddr) -> Self {
        let (answered, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let client = |at: usize| {
            let (answered, stop) = (answered.clone(), stop.clone());
            tokio::spawn(async move {
                let mut http1 = Connection::try_open(address).await.unwrap();
                let mut http2 = Streams::try_open(address).await.unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let reply = match at % 2 {
                        0 => http1.send("GET", EVENT).await.unwrap(),
                        _ => http2.get(EVENT).await.unwrap().expect("it is served"),
                    };
                    reply.status(200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { answered, stop, clients }
    }

    /// Waits for so many answers more.
    async fn goes_on(&self, answers: usize) {
        let enough = self.answered.load(Ordering::Relaxed) + answers;
        let failed = || self.clients.iter().any(JoinHandle::is_finished);
        until("answers", async || self.answered.load(Ordering::Relaxed) >= enough || failed()).await;
        assert!(!failed(), "a call failed");
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            soon("a client's end", client).await.unwrap();
        }
    }
}

#[tokio::test]
async fn one_of_four_killed_fails_no_call() {
    let mut instances = instances().await;
    let gateway = before(&instances, "retry: {}").await;
    let load = Load::begin(gateway.address());
    load.goes_on(200).await;
    instances[1].kill().await;
    load.goes_on(400).await;
    assert_eq!(usable(&gateway).await, 3);
    instances[1].begin().await;
    until("it is back", async || usable(&gateway).await == 4).await;
    load.goes_on(100).await;
    load.end().await;
}

#[tokio::test]
async fn rolling_restarts_fail_no_call() {
    let mut instances = instances().await;
    let gateway = before(&instances, "retry: {}").await;
    let load = Load::begin(gateway.address());
    until("all are known", async || usable(&gateway).await == 4).await;
    for restart in 0..20 {
        let instance = &mut instances[restart % 4];
        if restart % 3 == 0 {
            instance.kill().await;
        } else {
            instance.end().await;
        }
        load.goes_on(20).await;
        instance.begin().await;
        until("it is back", async || usable(&gateway).await == 4).await;
        load.goes_on(20).await;
    }
    load.end().await;
}

#[tokio::test]
async fn with_all_dead_answers_come_at_once_and_with_one_back_they_are_good() {
    let mut instances = instances().await;
    let gateway = before(&instances, "retry: {}, circuit_breaker: { failures: 5, open_for: 200ms }").await;
    gateway.get(EVENT).await.status(200);
    for instance in &mut instances {
        instance.kill().await;
    }
    let reason = async || {
        let reply = gateway.get(EVENT).await;
        reply.value()["details"][0]["reason"].as_str().map(str::to_owned)
    };
    let unasked = |reason: Option<String>| matches!(reason.as_deref(), Some("NO_ENDPOINT" | "CIRCUIT_OPEN"));
    until("nobody is asked any more", async || unasked(reason().await)).await;
    let begun = Instant::now();
    for _ in 0..20 {
        assert!(unasked(reason().await));
    }
    // Retries with their pauses would take longer, let alone connections.
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    instances[2].begin().await;
    until("it answers again", async || gateway.get(EVENT).await.status == 200).await;
    gateway.get(EVENT).await.status(200);
}
