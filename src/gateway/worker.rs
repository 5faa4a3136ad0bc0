//! What a call finds where it runs: its worker's own things, and its client's connection.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use transom_transcode::router::Captures;
use transom_transcode::scratch::Scratch;

use crate::store::Store;
use crate::telemetry::{LogBuffer, Logged, Metrics, Refusals, RequestIds, RouteMetrics};
use crate::upstream::Pool;

/// Proxies usually let go of a connection after a minute of silence; some do after half of it.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// One worker: a thread, its runtime, and what its calls need without asking another thread. Its locks are never
/// contended; they are there so that a worker may also be a whole multi-thread runtime.
pub struct Worker {
    /// Connections to the upstreams.
    pub pool: Pool,
    /// What it has in common with other workers and gateways.
    pub store: Arc<Store>,
    /// The access log's buffer.
    pub log: LogBuffer,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// How often a quiet stream says that it lives.
    pub heartbeat: Duration,
    /// Where requests are counted that are themselves at fault.
    pub(super) refused: Refused,
    /// Where calls without a route are counted.
    pub(super) unrouted: RouteMetrics,
    /// What lines say of their route.
    pub(super) nowhere: Logged,
    /// Where request ids come from.
    pub(super) ids: RequestIds,
    /// Borrowed for one synchronous step at a time, never over an await.
    pub(super) working: Mutex<Working>,
}

/// What the gate of requests refuses, by reason.
pub(super) struct Refused([(&'static str, Refusals); 6]);

impl Refused {
    fn new(metrics: &Metrics) -> Self {
        let reasons = [
            "BAD_REQUEST",
            "TOO_DEEP",
            "UNSUPPORTED_MEDIA_TYPE",
            "UNSUPPORTED_ENCODING",
            "TOO_LARGE",
            "TOO_MANY_HEADERS",
        ];
        Self(reasons.map(|reason| (reason, metrics.refusals("request", reason))))
    }

    pub(super) fn count(&self, reason: &str) {
        self.0.iter().filter(|(known, _)| *known == reason).for_each(|(_, refused)| refused.count());
    }
}

/// Memory that calls use in turn.
#[derive(Default)]
pub(super) struct Working {
    pub(super) captures: Captures,
    pub(super) translator: Scratch,
}

impl Worker {
    /// A worker without connections yet.
    pub fn new(pool: Pool, store: Arc<Store>, log: LogBuffer, metrics: Arc<Metrics>) -> Self {
        let unrouted = metrics.route("", "", "");
        let refused = Refused::new(&metrics);
        Self {
            pool,
            store,
            log,
            metrics,
            heartbeat: HEARTBEAT,
            refused,
            unrouted,
            nowhere: Logged::new("", ""),
            ids: RequestIds::new(),
            working: Mutex::default(),
        }
    }
}

/// What ties a call that outlives its answer to its connection.
#[derive(Clone)]
pub struct Tether {
    /// The connection has to end.
    pub leaving: CancellationToken,
    _held: Arc<dyn Any + Send + Sync>,
}

impl Tether {
    /// The connection goes on while `held` is.
    pub fn new(leaving: CancellationToken, held: impl Any + Send + Sync) -> Self {
        Self { leaving, _held: Arc::new(held) }
    }
}

/// The other end of a client's connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The connection is encrypted.
    pub tls: bool,
    /// The address as `x-forwarded-for` says it; formatted once a connection.
    pub(super) forwarded: HeaderValue,
    /// Whose certificate it showed, as `x-forwarded-client-cert` says it.
    pub(super) certificate: Option<HeaderValue>,
    /// A call of it has come.
    met: Arc<AtomicBool>,
}

impl Peer {
    /// The peer of a new connection.
    pub fn new(address: SocketAddr, tls: bool) -> Self {
        let text = address.ip().to_canonical().to_string();
        // An address has no character that a header cannot hold.
        let forwarded = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { address, tls, forwarded, certificate: None, met: Arc::default() }
    }

    /// The same, with the certificate that it showed and that was verified.
    #[must_use]
    pub fn certified(self, certificate: Option<HeaderValue>) -> Self {
        Self { certificate, ..self }
    }

    /// Whether this is its first call.
    pub(super) fn meet(&self) -> bool {
        !self.met.load(Ordering::Relaxed) && !self.met.swap(true, Ordering::Relaxed)
    }

    /// Its address; IPv4 also where it came over an IPv6 socket.
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}
