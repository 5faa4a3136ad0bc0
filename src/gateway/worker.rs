//! What a call finds where it runs: its worker's own things, and its client's connection.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use transom_transcode::router::Captures;
use transom_transcode::scratch::Scratch;

use crate::error::Fault;
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
    /// Borrowed for one synchronous step at a time, never over an await; the translator by [`Worker::translator`].
    pub(super) working: Mutex<Working>,
}

/// What the gate of requests refuses, by fault.
pub(super) struct Refused([Refusals; Fault::ALL.len()]);

impl Refused {
    fn new(metrics: &Metrics) -> Self {
        Self(Fault::ALL.map(|fault| metrics.refusals("request", fault.reason())))
    }

    pub(super) fn count(&self, fault: Fault) {
        self.0[fault as usize].count();
    }
}

/// Memory that calls use in turn.
#[derive(Default)]
pub(super) struct Working {
    pub(super) captures: Captures,
    pub(super) translator: Scratch,
}

/// A worker's translator at work for one step. What that took beyond the usual is let go of behind it.
pub(super) struct Translator<'w>(MutexGuard<'w, Working>);

impl Deref for Translator<'_> {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        &self.0.translator
    }
}

impl DerefMut for Translator<'_> {
    fn deref_mut(&mut self) -> &mut Scratch {
        &mut self.0.translator
    }
}

impl Drop for Translator<'_> {
    fn drop(&mut self) {
        self.0.translator.trim();
    }
}

impl Worker {
    /// Its translator, for one step.
    pub(super) fn translator(&self) -> Translator<'_> {
        Translator(self.working.lock())
    }

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

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use transom_transcode::plan::{BindPlan, Limits};
    use transom_transcode::schema::Schema;
    use transom_transcode::scratch::Scratch;
    use transom_transcode::to_wire::{Input, to_wire};

    use super::{Translator, Working};

    #[test]
    fn what_a_large_message_took_is_not_kept() {
        let mut builder = Schema::builder();
        builder.add(include_bytes!("../../descriptors/booking.binpb"), "booking").unwrap();
        let schema = builder.build().unwrap();
        let plan = BindPlan::whole(schema.message_named("google.protobuf.Struct").unwrap());
        let working = Mutex::new(Working::default());
        let held = |members: usize| {
            let members: Vec<_> = (0..members).map(|at| format!("\"{at}\":1")).collect();
            let body = format!("{{{}}}", members.join(","));
            let input = Input { body: body.as_bytes(), ..Input::default() };
            let mut translator = Translator(working.lock());
            to_wire(&schema, &plan, &input, &Limits::default(), &mut translator, &mut Vec::new()).unwrap();
            let at_work = translator.held();
            drop(translator);
            (at_work, working.lock().translator.held())
        };
        let (usual, kept) = held(100);
        assert_eq!(usual, kept, "the next one allocates nothing");
        let (large, kept) = held(100_000);
        assert!(large > Scratch::KEPT && kept <= Scratch::KEPT, "{large} {kept}");
    }
}
