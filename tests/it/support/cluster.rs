//! A Kubernetes API server, as far as EndpointSlices are concerned: lists, watches, bookmarks, versions that are too old. Over TLS.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::tls::{self, Authority};
use super::until;

/// A running API server; dropped, it stops.
pub(crate) struct ApiServer {
    address: SocketAddr,
    /// The token and the authority, as a pod finds them.
    folder: TempDir,
    authority: Authority,
    state: Arc<Mutex<State>>,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct State {
    /// By name, as objects.
    slices: BTreeMap<String, Value>,
    version: u64,
    /// Versions up to this one are forgotten.
    oldest: u64,
    /// What happened, and at which version.
    history: Vec<(u64, Value)>,
    watchers: Vec<(String, UnboundedSender<Bytes>)>,
    requests: Vec<Asked>,
    token: String,
    refuses: Option<StatusCode>,
    /// No version is new enough for a watch.
    lags: bool,
    cut: CancellationToken,
    /// Slices of a page.
    page: usize,
}

/// A request that it saw.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) token: String,
    pub(crate) status: u16,
}

impl Asked {
    pub(crate) fn is_watch(&self) -> bool {
        self.query.contains_key("watch")
    }
}

/// Starts one without any slices. Its token is `first`.
pub(crate) async fn api_server() -> ApiServer {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let mut config = tls::server(&authority.issue(&["127.0.0.1"]), None);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::new(Mutex::new(State { version: 7, page: 500, ..State::default() }));
    let shared = state.clone();
    let accepting = tokio::spawn(async move {
        let mut serving = JoinSet::new();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (acceptor, shared) = (acceptor.clone(), shared.clone());
            let cut = shared.lock().cut.clone();
            serving.spawn(cut.run_until_cancelled_owned(async move {
                let Ok(secure) = acceptor.accept(tcp).await else { return };
                let service = service_fn(|request| {
                    let answer = answer(&mut shared.lock(), &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(secure), service).await;
            }));
        }
    });
    let server = ApiServer { address, folder, authority, state, _accepting: AbortOnDropHandle::new(accepting) };
    server.set_token("first");
    std::fs::write(server.folder.path().join("namespace"), "library\n").unwrap();
    server
}

impl ApiServer {
    /// The section `kubernetes` that leads here.
    pub(crate) fn section(&self) -> String {
        let (token, ca) = (self.token_file(), self.authority.file());
        let (token, ca) = (token.display(), ca.display());
        format!("kubernetes: {{ server: \"https://{}\", token_file: {token}, ca: {ca} }}", self.address)
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// Another token is the only right one, and that of the file.
    pub(crate) fn set_token(&self, token: &str) {
        std::fs::write(self.token_file(), format!("{token}\n")).unwrap();
        self.state.lock().token = token.to_owned();
    }

    /// Creates or changes a slice.
    pub(crate) fn set(&self, name: &str, mut slice: Value) {
        let mut state = self.state.lock();
        state.version += 1;
        slice["metadata"]["name"] = name.into();
        slice["metadata"]["resourceVersion"] = state.version.to_string().into();
        let what = if state.slices.insert(name.to_owned(), slice.clone()).is_some() { "MODIFIED" } else { "ADDED" };
        state.tell(json!({ "type": what, "object": slice }));
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut state = self.state.lock();
        state.version += 1;
        let mut slice = state.slices.remove(name).unwrap();
        slice["metadata"]["resourceVersion"] = state.version.to_string().into();
        state.tell(json!({ "type": "DELETED", "object": slice }));
    }

    /// Something else happens in the cluster, of which watches hear by a bookmark alone.
    pub(crate) fn bookmark(&self) {
        let mut state = self.state.lock();
        state.version += 10;
        let object = json!({ "kind": "EndpointSlice", "metadata": { "resourceVersion": state.version.to_string() } });
        state.tell(json!({ "type": "BOOKMARK", "object": object }));
    }

    /// What happened so far is forgotten: older versions are gone.
    pub(crate) fn compact(&self) {
        let mut state = self.state.lock();
        state.version += 1;
        state.oldest = state.version;
        state.history.clear();
    }

    /// From now on every watch is told that its version is too old, whichever it is, or none.
    pub(crate) fn lag(&self, lags: bool) {
        self.state.lock().lags = lags;
    }

    /// An error inside running watches, as when the version has become too old for them.
    pub(crate) fn expire_watches(&self) {
        let mut state = self.state.lock();
        let status =
            json!({ "kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version" });
        let line = format!("{}\n", json!({ "type": "ERROR", "object": status }));
        for (_, watcher) in state.watchers.drain(..) {
            let _ = watcher.send(line.clone().into());
        }
    }

    /// Running watches end, as when their time is over.
    pub(crate) fn end_watches(&self) {
        self.state.lock().watchers.clear();
    }

    /// Every connection breaks.
    pub(crate) fn cut(&self) {
        let mut state = self.state.lock();
        state.cut.cancel();
        state.cut = CancellationToken::new();
        state.watchers.clear();
    }

    /// From now on every request is refused, or none.
    pub(crate) fn refuse(&self, with: Option<StatusCode>) {
        self.state.lock().refuses = with;
    }

    /// Slices of one page of a list, from now on.
    pub(crate) fn page(&self, slices: usize) {
        self.state.lock().page = slices;
    }

    pub(crate) fn requests(&self) -> Vec<Asked> {
        self.state.lock().requests.clone()
    }

    pub(crate) fn lists(&self) -> usize {
        self.requests().iter().filter(|asked| !asked.is_watch() && asked.status == 200).count()
    }

    /// Waits until somebody watches, and nobody less than so many times.
    pub(crate) async fn watched(&self, times: usize) {
        until("a watch", async || {
            let begun = self.requests().iter().filter(|asked| asked.is_watch() && asked.status == 200).count();
            begun >= times && !self.state.lock().watchers.is_empty()
        })
        .await;
    }
}

impl State {
    fn tell(&mut self, event: Value) {
        let service = event["object"]["metadata"]["labels"]["kubernetes.io/service-name"].as_str();
        let line = Bytes::from(format!("{event}\n"));
        self.watchers
            .retain(|(of, watcher)| service.is_some_and(|service| service != of) || watcher.send(line.clone()).is_ok());
        if event["type"] != "BOOKMARK" {
            self.history.push((self.version, event));
        }
    }
}

type Answered = Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>;

fn answer(state: &mut State, request: &Request<Incoming>) -> Answered {
    let query: BTreeMap<String, String> = request.uri().query().unwrap_or_default().split('&').map(pair).collect();
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = header.strip_prefix("Bearer ").unwrap_or_default().to_owned();
    let (status, body) = respond(state, request.uri().path(), &query, &token);
    state.requests.push(Asked { query, token, status: status.as_u16() });
    let body = match body {
        Ok(whole) => Full::from(whole.to_string()).boxed_unsync(),
        Err(lines) => lines.boxed_unsync(),
    };
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

fn respond(
    state: &mut State,
    path: &str,
    query: &BTreeMap<String, String>,
    token: &str,
) -> (StatusCode, Result<Value, Lines>) {
    let refused =
        |code: StatusCode, why: &str| (code, Ok(json!({ "kind": "Status", "code": code.as_u16(), "message": why })));
    if let Some(code) = state.refuses {
        return refused(code, "not now");
    }
    if token != state.token {
        return refused(StatusCode::UNAUTHORIZED, "who are you?");
    }
    if path != "/apis/discovery.k8s.io/v1/namespaces/library/endpointslices" {
        return refused(StatusCode::FORBIDDEN, "not in this namespace");
    }
    let service = query["labelSelector"].strip_prefix("kubernetes.io/service-name=").unwrap().to_owned();
    let of_service = |object: &Value| object["metadata"]["labels"]["kubernetes.io/service-name"] == *service;
    if !query.contains_key("watch") {
        let from: usize = query.get("continue").map_or(0, |from| from.parse().unwrap());
        let slices: Vec<_> = state.slices.values().filter(|slice| of_service(slice)).skip(from).collect();
        let more = if slices.len() > state.page { (from + state.page).to_string() } else { String::new() };
        let slices: Vec<_> = slices.into_iter().take(state.page).collect();
        let metadata = json!({ "resourceVersion": state.version.to_string(), "continue": more });
        // As Go writes a list that was never filled.
        let items = if slices.is_empty() { Value::Null } else { json!(slices) };
        return (StatusCode::OK, Ok(json!({ "kind": "EndpointSliceList", "metadata": metadata, "items": items })));
    }
    let since: u64 = query["resourceVersion"].parse().unwrap();
    if since < state.oldest || state.lags {
        return refused(StatusCode::GONE, "too old resource version");
    }
    let (sender, lines) = unbounded_channel();
    for (_, event) in state.history.iter().filter(|(version, event)| *version > since && of_service(&event["object"])) {
        let _ = sender.send(format!("{event}\n").into());
    }
    state.watchers.push((service, sender));
    (StatusCode::OK, Err(Lines(lines)))
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let plain = percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
    (name.to_owned(), plain.into_owned())
}

/// A body that lasts as long as somebody may say something.
struct Lines(UnboundedReceiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
