//! All series of the process, and their text form.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use transom_transcode::status::Code;

use super::cache::{self, CacheMetrics, CacheOutcome};
use super::dialect::DialectName;
use super::endpoint::{self, Ejection, EndpointMetrics, Outcome};
use super::issuer::{self, IssuerKeys};
use super::refusals::{self, Refusals};
use super::reloads::Reloads;
use super::route::{self, RouteMetrics};
use super::shard::{Gauge, Sharded};
use super::tls::Tls;
use super::upstream::{self, UpstreamLimit};

/// The `Content-Type` of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The process's metrics. Series of routes and endpoints live as long as their handles: a reload that keeps a route
/// keeps its counts, and an endpoint that discovery forgot leaves no series behind.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    series: Arc<AllSeries>,
}

/// What a client's connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// Every protocol, by index.
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    /// Its name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}

impl Metrics {
    /// No series yet but the process's own.
    pub fn new() -> Arc<Self> {
        let series = Arc::new(AllSeries::new());
        let mut registry = Registry::default();
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        registry.register(
            "process_start_time_seconds",
            "When the process started, in Unix time",
            ConstGauge::new(started),
        );
        registry.register("transom_build", "What runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register_collector(Box::new(series.clone()));
        Arc::new(Self { registry, series })
    }

    /// The handle of a route; the same labels give the same counters. `service` and `method` are the RPC's, `route` is
    /// its template: never anything from a request, which would let clients make series.
    pub fn route(&self, service: &str, method: &str, route: &str) -> RouteMetrics {
        let labels = route::Labels { service: service.into(), method: method.into(), route: route.into() };
        RouteMetrics(live(&self.series.routes, labels, route::Series::new))
    }

    /// The handle of a gate's reason to refuse, which is a word of configuration or of ours, never of a request.
    pub fn refusals(&self, gate: &'static str, reason: &str) -> Refusals {
        let labels = refusals::Labels { gate, reason: reason.into() };
        Refusals(live(&self.series.refusals, labels, refusals::Series::new))
    }

    /// The handle of a method's cache.
    pub fn cache(&self, rpc: &str) -> CacheMetrics {
        CacheMetrics(live(&self.series.caches, rpc.into(), cache::Series::new))
    }

    /// The handle of an upstream's limit that follows its latency.
    pub fn upstream_limit(&self, upstream: &str) -> UpstreamLimit {
        UpstreamLimit(live(&self.series.limits, upstream.into(), upstream::Series::new))
    }

    /// The handle of an issuer's published keys.
    pub fn issuer_keys(&self, issuer: &str) -> IssuerKeys {
        IssuerKeys(live(&self.series.issuers, issuer.into(), issuer::Series::new))
    }

    /// The handle of an endpoint; the same labels give the same counters.
    pub fn endpoint(&self, upstream: &str, address: &str) -> EndpointMetrics {
        let labels = endpoint::Labels { upstream: upstream.into(), endpoint: address.into() };
        EndpointMetrics(live(&self.series.endpoints, labels, endpoint::Series::new))
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> &Gauge {
        &self.series.in_flight
    }

    /// Clients' open connections.
    pub fn connections(&self, protocol: Protocol) -> &Gauge {
        &self.series.connections[protocol as usize]
    }

    /// Counts a connection that a client opened.
    pub fn accepted(&self) {
        self.series.accepted.here().fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was closed at once because there were too many.
    pub fn turned_away(&self) {
        self.series.turned_away.here().fetch_add(1, Ordering::Relaxed);
    }

    /// Where the access log counts lines that it could not write.
    pub fn lost_lines(&self) -> Arc<AtomicU64> {
        self.series.lost_lines.clone()
    }

    /// Where bytes are counted that calls hold of bodies and messages.
    pub fn held_bytes(&self) -> Arc<AtomicU64> {
        self.series.held_bytes.clone()
    }

    /// There is a Redis, and this tells whether it is connected.
    pub fn follow_redis(&self, connected: Arc<AtomicBool>) {
        // A process has one store.
        let _ = self.series.redis.set(connected);
    }

    /// What is counted of reloads.
    pub fn reloads(&self) -> &Reloads {
        &self.series.reloads
    }

    /// What is known of handshakes and certificates.
    pub fn tls(&self) -> &Tls {
        &self.series.tls
    }

    /// All of it as OpenMetrics text ([`CONTENT_TYPE`]).
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a String cannot fail, and no collector of ours gives up.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

type Live<L, S> = Mutex<BTreeMap<L, Weak<S>>>;

/// Everything that is counted, ordered as it prints.
#[derive(Debug)]
struct AllSeries {
    routes: Live<route::Labels, route::Series>,
    endpoints: Live<endpoint::Labels, endpoint::Series>,
    refusals: Live<refusals::Labels, refusals::Series>,
    caches: Live<Box<str>, cache::Series>,
    limits: Live<Box<str>, upstream::Series>,
    issuers: Live<Box<str>, issuer::Series>,
    in_flight: Gauge,
    connections: [Gauge; Protocol::ALL.len()],
    accepted: Sharded<AtomicU64>,
    turned_away: Sharded<AtomicU64>,
    lost_lines: Arc<AtomicU64>,
    held_bytes: Arc<AtomicU64>,
    /// Where there is one: whether it is connected.
    redis: OnceLock<Arc<AtomicBool>>,
    reloads: Reloads,
    tls: Tls,
}

impl AllSeries {
    fn new() -> Self {
        Self {
            routes: Mutex::default(),
            endpoints: Mutex::default(),
            refusals: Mutex::default(),
            caches: Mutex::default(),
            limits: Mutex::default(),
            issuers: Mutex::default(),
            in_flight: Gauge::new(),
            connections: Protocol::ALL.map(|_| Gauge::new()),
            accepted: Sharded::new(),
            turned_away: Sharded::new(),
            lost_lines: Arc::default(),
            held_bytes: Arc::default(),
            redis: OnceLock::new(),
            reloads: Reloads::default(),
            tls: Tls::default(),
        }
    }

    fn encode_routes(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let routes = all_live(&self.routes);
        let name = "transom_requests";
        let mut metric = encoder.encode_descriptor(name, "Finished calls.", None, MetricType::Counter)?;
        for route in &routes {
            let labels = &route.labels;
            let called =
                DialectName::ALL.iter().flat_map(|dialect| Code::ALL.iter().map(move |code| (*dialect, *code)));
            for (dialect, code) in called {
                let labels = [
                    ("service", &*labels.service),
                    ("method", &*labels.method),
                    ("route", &*labels.route),
                    ("dialect", dialect.name()),
                    ("code", code.name()),
                ];
                match route.calls(dialect, code) {
                    0 => {}
                    calls => counter(&mut metric.encode_family(&labels)?, calls)?,
                }
            }
        }
        let name = "transom_request_duration_seconds";
        let help = "From a call's head to the last byte of its answer.";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for route in &routes {
            for dialect in DialectName::ALL {
                let latency = route.latency(dialect);
                if latency.count > 0 {
                    let labels = [
                        ("service", &*route.labels.service),
                        ("method", &*route.labels.method),
                        ("route", &*route.labels.route),
                        ("dialect", dialect.name()),
                    ];
                    metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                        latency.seconds,
                        latency.count,
                        &latency.buckets,
                        None,
                    )?;
                }
            }
        }
        Ok(())
    }

    fn encode_endpoints(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let endpoints = all_live(&self.endpoints);
        let labels = |of: &endpoint::Series| {
            [("upstream", of.labels.upstream.to_string()), ("endpoint", of.labels.endpoint.to_string())]
        };
        let name = "transom_upstream_calls";
        let mut metric =
            encoder.encode_descriptor(name, "Finished tries at an endpoint.", None, MetricType::Counter)?;
        for endpoint in &endpoints {
            for outcome in Outcome::ALL {
                let labels = (labels(endpoint), [("outcome", outcome.name())]);
                match endpoint.calls(outcome) {
                    0 => {}
                    calls => counter(&mut metric.encode_family(&labels)?, calls)?,
                }
            }
        }
        let name = "transom_upstream_in_flight";
        let mut metric = encoder.encode_descriptor(name, "Calls at an endpoint.", None, MetricType::Gauge)?;
        for endpoint in &endpoints {
            metric.encode_family(&labels(endpoint))?.encode_gauge(&endpoint.in_flight.value())?;
        }
        let name = "transom_upstream_connections";
        let mut metric = encoder.encode_descriptor(name, "Connections to an endpoint.", None, MetricType::Gauge)?;
        for endpoint in &endpoints {
            metric.encode_family(&labels(endpoint))?.encode_gauge(&endpoint.connections.value())?;
        }
        let name = "transom_upstream_up";
        let help = "1: the endpoint was reached, and neither is down nor says that it is not well.";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for endpoint in &endpoints {
            metric.encode_family(&labels(endpoint))?.encode_gauge(&i64::from(endpoint.does_answer()))?;
        }
        let name = "transom_upstream_circuit";
        let help = "The endpoint's breaker: 0 is closed, 1 half-open, 2 open.";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for endpoint in &endpoints {
            metric.encode_family(&labels(endpoint))?.encode_gauge(&i64::from(endpoint.circuit()))?;
        }
        let name = "transom_upstream_circuit_opened";
        let mut metric = encoder.encode_descriptor(name, "Times the breaker opened.", None, MetricType::Counter)?;
        for endpoint in &endpoints {
            counter(&mut metric.encode_family(&labels(endpoint))?, endpoint.opened())?;
        }
        let name = "transom_upstream_ejected";
        let help = "1: the endpoint stands out from its peers and gets no calls for a while.";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for endpoint in &endpoints {
            metric.encode_family(&labels(endpoint))?.encode_gauge(&i64::from(endpoint.is_ejected()))?;
        }
        let name = "transom_upstream_ejections";
        let mut metric = encoder.encode_descriptor(name, "Times it was ejected.", None, MetricType::Counter)?;
        for endpoint in &endpoints {
            for why in Ejection::ALL {
                match endpoint.ejections(why) {
                    0 => {}
                    times => counter(&mut metric.encode_family(&(labels(endpoint), [("reason", why.name())]))?, times)?,
                }
            }
        }
        Ok(())
    }

    fn encode_gates(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Calls that a gate refused.";
        let mut metric = encoder.encode_descriptor("transom_refusals", help, None, MetricType::Counter)?;
        for gate in &all_live(&self.refusals) {
            let labels = [("gate", gate.labels.gate), ("reason", &*gate.labels.reason)];
            counter(&mut metric.encode_family(&labels)?, gate.total())?;
        }
        Ok(())
    }

    fn encode_limits(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Calls that an upstream with adaptive concurrency may have in flight now.";
        let name = "transom_upstream_in_flight_limit";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for series in &all_live(&self.limits) {
            metric.encode_family(&[("upstream", &*series.upstream)])?.encode_gauge(&series.limit())?;
        }
        Ok(())
    }

    fn encode_caches(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Calls of methods whose replies are kept, by what they found.";
        let mut metric = encoder.encode_descriptor("transom_cache_calls", help, None, MetricType::Counter)?;
        for cache in &all_live(&self.caches) {
            for outcome in CacheOutcome::ALL {
                let labels = [("rpc", &*cache.rpc), ("outcome", outcome.name())];
                counter(&mut metric.encode_family(&labels)?, cache.total(outcome))?;
            }
        }
        Ok(())
    }

    fn encode_issuers(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let issuers = all_live(&self.issuers);
        let name = "transom_jwks_keys";
        let mut metric = encoder.encode_descriptor(name, "An issuer's keys that serve.", None, MetricType::Gauge)?;
        for series in &issuers {
            metric.encode_family(&[("issuer", &*series.issuer)])?.encode_gauge(&series.keys())?;
        }
        let name = "transom_jwks_fetched_timestamp_seconds";
        let help = "When an issuer's keys were fetched last, in Unix time; 0: never.";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for series in &issuers {
            metric.encode_family(&[("issuer", &*series.issuer)])?.encode_gauge(&series.fetched_at())?;
        }
        let help = "Fetches of an issuer's keys.";
        let mut metric = encoder.encode_descriptor("transom_jwks_fetches", help, None, MetricType::Counter)?;
        for series in &issuers {
            for (outcome, count) in series.fetches() {
                counter(&mut metric.encode_family(&[("issuer", &*series.issuer), ("outcome", outcome)])?, count)?;
            }
        }
        Ok(())
    }

    fn encode_process(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let name = "transom_in_flight";
        encoder
            .encode_descriptor(name, "Calls in flight.", None, MetricType::Gauge)?
            .encode_gauge(&self.in_flight.value())?;
        let name = "transom_memory_held_bytes";
        let held = i64::try_from(self.held_bytes.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        encoder
            .encode_descriptor(name, "What calls hold of bodies and messages.", None, MetricType::Gauge)?
            .encode_gauge(&held)?;
        if let Some(connected) = self.redis.get() {
            let help = "1: the Redis is there and tells what other gateways say.";
            encoder
                .encode_descriptor("transom_redis_connected", help, None, MetricType::Gauge)?
                .encode_gauge(&i64::from(connected.load(Ordering::Relaxed)))?;
        }
        let name = "transom_connections";
        let mut metric = encoder.encode_descriptor(name, "Clients' open connections.", None, MetricType::Gauge)?;
        for protocol in Protocol::ALL {
            let open = self.connections[protocol as usize].value();
            metric.encode_family(&[("protocol", protocol.name())])?.encode_gauge(&open)?;
        }
        let sum = |of: &Sharded<AtomicU64>| of.all().map(|cell| cell.load(Ordering::Relaxed)).sum();
        for (name, help, value) in [
            ("transom_connections_accepted", "Connections that clients opened.", sum(&self.accepted)),
            ("transom_connections_turned_away", "Connections over the limit.", sum(&self.turned_away)),
            ("transom_log_lines_lost", "Log lines not written.", self.lost_lines.load(Ordering::Relaxed)),
        ] {
            counter(&mut encoder.encode_descriptor(name, help, None, MetricType::Counter)?, value)?;
        }
        Ok(())
    }
}

impl Collector for AllSeries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        self.encode_routes(&mut encoder)?;
        self.encode_endpoints(&mut encoder)?;
        self.encode_gates(&mut encoder)?;
        self.encode_limits(&mut encoder)?;
        self.encode_caches(&mut encoder)?;
        self.encode_issuers(&mut encoder)?;
        self.encode_process(&mut encoder)?;
        self.tls.encode(&mut encoder)?;
        self.reloads.encode(&mut encoder)
    }
}

fn counter(metric: &mut MetricEncoder<'_>, value: u64) -> std::fmt::Result {
    metric.encode_counter::<NoLabelSet, u64, u64>(&value, None)
}

/// The live series of these labels, or a new one.
fn live<L: Ord + Clone, S>(all: &Live<L, S>, labels: L, new: impl FnOnce(L) -> S) -> Arc<S> {
    let mut all = all.lock();
    if let Some(series) = all.get(&labels).and_then(Weak::upgrade) {
        return series;
    }
    let series = Arc::new(new(labels.clone()));
    all.insert(labels, Arc::downgrade(&series));
    series
}

/// What still has a handle; what has none is forgotten.
fn all_live<L: Ord, S>(all: &Live<L, S>) -> Vec<Arc<S>> {
    let mut live = Vec::new();
    all.lock().retain(|_, series| series.upgrade().map(|series| live.push(series)).is_some());
    live
}

#[cfg(test)]
mod tests;
