//! The gateway under test: the real server, in this process, on threads of its own and free ports.

use std::fmt::Write as _;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;
use transom::config;
use transom::gateway::{Gateway, Problem, Snapshot, State};
use transom::reload::{Applied, Loaded, Refused};
use transom::server::{Limits, Listeners, OpenFiles, Server};
use transom::sources::{self, Reflections};
use transom::telemetry::{AccessLog, Format, Metrics};
use transom::{admin, reload, server};
use transom_transcode::schema::Schema;

use super::client::{Call, Connection, Http2};
use super::grpc::{self, GrpcCall};
use super::raw::Raw;
use super::upstream::Upstream;
use super::{protos, soon, until};

/// A gateway with one worker, all built-in endpoints of the default, and nothing behind it.
pub(crate) fn gateway() -> Builder {
    Builder {
        descriptors: Vec::new(),
        upstreams: String::new(),
        config: String::new(),
        limits: None,
        builtin: None,
        reflections: None,
    }
}

pub(crate) struct Builder {
    descriptors: Vec<Vec<u8>>,
    upstreams: String,
    config: String,
    limits: Option<Limits>,
    builtin: Option<axum::Router>,
    reflections: Option<Arc<Reflections>>,
}

impl Builder {
    /// Loads a test proto by its name.
    pub(crate) fn descriptors(mut self, name: &str) -> Self {
        self.descriptors.push(protos::descriptors(name));
        self
    }

    /// Loads a descriptor set.
    pub(crate) fn descriptor_set(mut self, bytes: Vec<u8>) -> Self {
        self.descriptors.push(bytes);
        self
    }

    /// Puts an upstream behind it.
    pub(crate) fn upstream(self, name: &str, upstream: &Upstream) -> Self {
        self.upstream_with(name, &[upstream], "")
    }

    /// Puts instances of an upstream behind it, with more keys of its section, such as `timeout: 1s, required: true`.
    pub(crate) fn upstream_with(self, name: &str, instances: &[&Upstream], keys: &str) -> Self {
        let service = instances.first().map(|instance| instance.service.as_str()).unwrap();
        let endpoints: Vec<_> = instances.iter().map(|instance| instance.address().to_string()).collect();
        self.upstream_at(name, service, &endpoints, keys)
    }

    /// Puts addresses behind it, whoever listens there.
    pub(crate) fn upstream_at(mut self, name: &str, service: &str, endpoints: &[String], keys: &str) -> Self {
        let keys = if keys.is_empty() { String::new() } else { format!(", {keys}") };
        let endpoints = endpoints.join("\", \"");
        let line = format!("  {name}: {{ services: [{service}], endpoints: [\"{endpoints}\"]{keys} }}");
        writeln!(self.upstreams, "{line}").unwrap();
        self
    }

    /// Adds to the configuration; what it does not set has the test's defaults.
    pub(crate) fn config(mut self, yaml: &str) -> Self {
        self.config.push_str(yaml);
        self.config.push('\n');
        self
    }

    /// What clients may take.
    pub(crate) fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// What answers for the built-in endpoints instead of them.
    pub(crate) fn builtin(mut self, router: axum::Router) -> Self {
        self.builtin = Some(router);
        self
    }

    /// Loads what upstreams have said of themselves, and no descriptors.
    pub(crate) fn reflections(mut self, said: &Arc<Reflections>) -> Self {
        self.reflections = Some(said.clone());
        self
    }

    /// The configuration as a user would write it.
    pub(crate) fn text(&self) -> String {
        let mut text = self.config.clone();
        for (key, default) in [
            ("schema", "{ descriptor_sets: [in-memory] }"),
            ("listen", "127.0.0.1:0"),
            ("workers", "1"),
            ("admin", "{ listen: \"127.0.0.1:0\" }"),
            ("drain_timeout", "5s"),
        ] {
            if !text.lines().any(|line| line.starts_with(&format!("{key}:"))) {
                writeln!(text, "{key}: {default}").unwrap();
            }
        }
        match self.upstreams.as_str() {
            "" if text.contains("upstreams:") => {}
            // Configuration wants one; nobody listens there.
            "" => text.push_str(
                "upstreams: { nobody: { services: [library.v1.Internals], endpoints: [\"127.0.0.1:1\"] } }\n",
            ),
            upstreams => write!(text, "upstreams:\n{upstreams}").unwrap(),
        }
        text
    }

    /// Opens methods without a rule too.
    pub(crate) fn expose_all(self) -> Self {
        self.config("schema: { descriptor_sets: [in-memory], expose: all }")
    }

    /// Compiles it without starting it; a problem of the configuration alone is a panic.
    pub(crate) fn compile(&self, metrics: &Arc<Metrics>) -> Result<Snapshot, Vec<Problem>> {
        self.load()?.compile(metrics, None)
    }

    /// What it says, read and not compiled.
    fn load(&self) -> Result<Loaded, Vec<Problem>> {
        let text = self.text();
        let config = config::parse(&text, &|_| None).unwrap_or_else(|problems| panic!("{problems:?} in\n{text}"));
        let config = Arc::new(config);
        if let Some(said) = &self.reflections {
            let schema = sources::load(&config, Path::new(""), said)?;
            return Ok(Loaded { config, schema, notes: Vec::new() });
        }
        let mut schema = Schema::builder();
        for set in &self.descriptors {
            schema.add(set, "test").unwrap_or_else(|problems| panic!("{problems:?}"));
        }
        let _ = schema.add(sources::details(), "details");
        let schema = schema.build().unwrap_or_else(|problems| panic!("{problems:?}"));
        Ok(Loaded { config, schema, notes: Vec::new() })
    }

    /// Starts it; every problem of the configuration or the schema is a panic.
    pub(crate) async fn start(mut self) -> Running {
        if self.descriptors.is_empty() && self.reflections.is_none() {
            self = self.descriptors("library");
        }
        let metrics = Metrics::new();
        let snapshot = self.compile(&metrics).unwrap_or_else(|problems| panic!("{problems:?} in\n{}", self.text()));
        let config = snapshot.config.clone();
        let state = State::new(snapshot, metrics.clone());
        let builtin = self.builtin.unwrap_or_else(|| admin::public(state.clone()));
        let listeners = Listeners::bind(&config).unwrap();
        let (address, admin_address) = (listeners.address().unwrap(), listeners.admin_address().unwrap());
        let page = Page::default();
        let server = Server {
            listeners,
            gateway: Arc::new(Gateway::new(state.clone(), builtin)),
            admin: admin::router(state.clone()),
            log: Arc::new(AccessLog::to(page.clone(), Format::Json, metrics.lost_lines()).unwrap()),
            state: state.clone(),
            limits: self.limits.unwrap_or_else(|| Limits::compile(&config.clients)),
            open_files: OpenFiles::raise(),
        };
        let (shutdown, asked) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut asked = Some(asked);
            let result = runtime.block_on(server::run(server, async || match asked.take() {
                // Dropped or sent: both say that the test is over.
                Some(asked) => drop(asked.await),
                None => std::future::pending().await,
            }));
            let _ = done.send(result);
        });
        Running {
            address,
            admin_address,
            state,
            page,
            shutdown: Some(shutdown),
            ended: Some(ended),
            thread: Some(thread),
        }
    }
}

/// A running gateway; dropped, it drains and ends.
pub(crate) struct Running {
    address: SocketAddr,
    admin_address: SocketAddr,
    pub(crate) state: Arc<State>,
    page: Page,
    shutdown: Option<oneshot::Sender<()>>,
    ended: Option<oneshot::Receiver<std::io::Result<()>>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// A request; await it, or add to it first.
    pub(crate) fn request(&self, method: &str, path: &str) -> Call {
        Call::new(self.address, method, path)
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.request("GET", path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Call {
        self.request("POST", path).json(body)
    }

    /// A request to the admin port.
    pub(crate) fn admin(&self, path: &str) -> Call {
        self.admin_request("GET", path)
    }

    pub(crate) fn admin_request(&self, method: &str, path: &str) -> Call {
        Call::new(self.admin_address, method, path)
    }

    /// A gRPC call of `pkg.Service/Method`.
    pub(crate) fn grpc(&self, path: &str) -> GrpcCall {
        grpc::call(self.address, path)
    }

    /// An HTTP/1.1 connection to keep.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// An HTTP/2 connection for many requests.
    pub(crate) async fn connect_http2(&self) -> Http2 {
        Http2::open(self.address).await
    }

    /// A bare TCP connection.
    pub(crate) async fn raw(&self) -> Raw {
        Raw::connect(self.address).await
    }

    /// The value of a series of `/metrics`, written as there; 0 if it is not there.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.state.metrics.encode();
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Calls a path until connections to so many of an upstream's endpoints stand. From then on turns are exact; before that, where
    /// one takes longer than 10 ms to make, as on a busy machine, the first call for it goes elsewhere.
    pub(crate) async fn connected(&self, upstream: &str, count: usize, path: &str) {
        let upstream = self.state.snapshot.load().upstreams[upstream].clone();
        until("connections", async || {
            self.get(path).await.status(200);
            upstream.describe().iter().filter(|endpoint| endpoint.connections > 0).count() == count
        })
        .await;
    }

    /// Replaces what runs, as a reload does.
    pub(crate) async fn reload(&self, next: &Builder) -> Result<Applied, Refused> {
        let loaded = next.load().unwrap_or_else(|problems| panic!("{problems:?}"));
        reload::apply(&self.state, loaded).await
    }

    /// Asks it to end: draining begins.
    pub(crate) fn shut_down(&mut self) {
        drop(self.shutdown.take());
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> std::io::Result<()> {
        self.shut_down();
        let ended = self.ended.take().expect("asked once");
        soon("the gateway's end", ended).await.expect("an end")
    }

    /// Waits until so many calls have ended, and gives the access log's lines.
    pub(crate) async fn logged(&self, calls: usize) -> Vec<Value> {
        until("the calls' lines", async || self.lines().len() >= calls).await;
        self.lines()
    }

    /// Ends it and gives the access log's lines.
    pub(crate) async fn log(mut self) -> Vec<Value> {
        self.ended().await.unwrap();
        self.lines()
    }

    /// The access log's lines that have been written.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let page = self.page.0.lock();
        let lines = page.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shut_down();
        // The thread ends by itself; a test that has failed should not wait for it.
        drop(self.thread.take());
    }
}

/// Where the access log goes.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
