//! Cluster: a Kubernetes API server, as far as one collection is read there: a list, and from then on a watch.

use std::env;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::time::timeout;

use crate::config;
use crate::fetch::{Causes, whole};
use crate::{secrets, tls};

/// How long a connection, and the head of an answer, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the rest of a list may take.
const WHOLE: Duration = Duration::from_secs(30);
/// A watch that ends in less has hardly begun.
const FRESH: Duration = Duration::from_secs(1);
/// Bytes of a list's page.
const PAGE: usize = 32 << 20;
/// Bytes of one event.
const EVENT: usize = 8 << 20;

/// A server by the rules of one configuration.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Cluster {
    rules: config::Cluster,
    folder: PathBuf,
}

/// Why there is no answer.
pub(super) enum Trouble {
    /// The version that was named is too old: only a list helps.
    Gone,
    /// For the log.
    Other(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

/// `metav1.Status`, as far as it is read.
#[derive(Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) code: u16,
    #[serde(default)]
    message: String,
}

impl Status {
    pub(super) fn trouble(self) -> Trouble {
        match self.code {
            410 => Trouble::Gone,
            code => Trouble::Other(format!("{code}: {}", self.message)),
        }
    }
}

impl Cluster {
    /// Relative paths start at this folder.
    pub(super) fn new(rules: config::Cluster, folder: &Path) -> Self {
        Self { rules, folder: folder.to_owned() }
    }

    /// The namespace of those that name none.
    pub(super) fn namespace(&self) -> Result<String, String> {
        let beside = || {
            let file = self.folder.join(&self.rules.token_file).with_file_name("namespace");
            secrets::needed(&file).map_err(|why| format!("{why}: name the namespace"))
        };
        self.rules.namespace.clone().map_or_else(beside, Ok)
    }

    /// Everything at a path, of at most some bytes.
    pub(super) async fn list(&self, path: &str) -> Result<Bytes, Trouble> {
        let answer = self.ask(path).await?;
        match timeout(WHOLE, whole(answer, PAGE)).await {
            Ok(whole) => Ok(whole.map_err(said)?),
            Err(_) => Err(Trouble::Other(format!("no whole answer within {WHOLE:?}"))),
        }
    }

    /// What happens at a path from now on, for so long.
    pub(super) async fn watch(&self, path: &str, lasts: Duration) -> Result<Events, Trouble> {
        let body = self.ask(path).await?;
        Ok(Events { body, read: BytesMut::new(), begun: tokio::time::Instant::now(), lasts })
    }

    /// One request by a connection of its own: they are few, and what is shown and trusted may have changed since the last.
    async fn ask(&self, path: &str) -> Result<Incoming, Trouble> {
        let server = match &self.rules.server {
            Some(server) => server.to_string(),
            None => own_server()?,
        };
        let uri: Uri = format!("{}{path}", server.trim_end_matches('/')).parse().map_err(said)?;
        let mut request = Request::get(&uri).header(ACCEPT, "application/json");
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(PATIENCE));
        // A server that is gone without a word is missed within a minute.
        http.set_keepalive(Some(Duration::from_secs(20)));
        http.set_keepalive_interval(Some(Duration::from_secs(10)));
        http.set_keepalive_retries(Some(3));
        let client = Client::builder(TokioExecutor::new());
        let answer = if uri.scheme_str() == Some("https") {
            let file = self.folder.join(&self.rules.token_file);
            let token = secrets::needed(&file)?;
            let mut shown = HeaderValue::try_from(format!("Bearer {token}")).map_err(said)?;
            shown.set_sensitive(true);
            request = request.header(AUTHORIZATION, shown);
            let trusts = tls::trusting(&self.folder.join(&self.rules.ca))?;
            let https = HttpsConnectorBuilder::new().with_tls_config(trusts).https_only().enable_http1();
            let request = request.body(Empty::<Bytes>::new()).map_err(said)?;
            timeout(PATIENCE, client.build(https.wrap_connector(http)).request(request)).await
        } else {
            let request = request.body(Empty::<Bytes>::new()).map_err(said)?;
            timeout(PATIENCE, client.build(http).request(request)).await
        };
        let answer =
            answer.map_err(|_| format!("no answer within {PATIENCE:?}"))?.map_err(|error| said(Causes(&error)))?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            StatusCode::GONE => Err(Trouble::Gone),
            status => {
                const SAID: usize = 64 << 10;
                let said = timeout(PATIENCE, whole(answer.into_body(), SAID)).await.ok().and_then(Result::ok);
                let said = said.and_then(|body| serde_json::from_slice::<Status>(&body).ok());
                Err(Trouble::Other(format!("{status}: {}", said.map(|said| said.message).unwrap_or_default())))
            }
        }
    }
}

/// A watch, from its head on.
pub(super) struct Events {
    body: Incoming,
    /// Of the next event.
    read: BytesMut,
    begun: tokio::time::Instant,
    lasts: Duration,
}

impl Events {
    /// The next one, as it is written; none: its time is over.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        let mut seen = 0;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.read[seen..]) {
                let line = self.read.split_to(seen + end + 1).freeze();
                return Ok(Some(line));
            }
            seen = self.read.len();
            if seen > EVENT {
                return Err(format!("an event is larger than {EVENT} bytes"));
            }
            // A server that keeps neither its time nor the connection is not waited for.
            let frame = tokio::time::timeout_at(self.begun + self.lasts + PATIENCE, self.body.frame()).await;
            match frame {
                Ok(Some(Ok(frame))) => self.read.extend(frame.into_data()),
                Ok(Some(Err(error))) => return Err(said(Causes(&error))),
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }

    /// It has just begun.
    pub(super) fn is_fresh(&self) -> bool {
        self.begun.elapsed() < FRESH
    }

    /// Until that is not so any more.
    pub(super) fn stands(&self) -> tokio::time::Sleep {
        tokio::time::sleep_until(self.begun + FRESH)
    }
}

/// Where Kubernetes tells every pod that its API server is.
fn own_server() -> Result<String, String> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let host = variable("KUBERNETES_SERVICE_HOST").ok_or("this is no pod: write `kubernetes.server`")?;
    let port = variable("KUBERNETES_SERVICE_PORT_HTTPS").or_else(|| variable("KUBERNETES_SERVICE_PORT"));
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(format!("https://{host}:{}", port.as_deref().unwrap_or("443")))
}

fn said(error: impl Display) -> String {
    error.to_string()
}
