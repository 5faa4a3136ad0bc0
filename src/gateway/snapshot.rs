//! What runs: routes, upstreams and schemas, built from one configuration, never changed, swapped whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::HeaderValue;
use serde::Serialize;
use transom_transcode::router::{Captures, Found, Router};
use transom_transcode::schema::Schema;

use super::cached::Caches;
use super::reflection::Reflection;
use super::route::{Action, Route};
use super::settings::Origin;
use crate::config::{self, Config, Network};
use crate::error::Error;
use crate::policy::auth::Auth;
use crate::policy::burst::BurstGuard;
use crate::policy::cors::Cors;
use crate::policy::overload::Places;
use crate::tls::{Acceptor, Expiry};
use crate::upstream::Upstream;

/// One configuration, running.
pub struct Snapshot {
    /// What was written.
    pub config: Arc<Config>,
    /// What was loaded.
    pub schema: Arc<Schema>,
    /// Who verifies tokens.
    pub auth: Option<Arc<Auth>>,
    /// What clients see of it; none: nothing is encrypted.
    pub tls: Option<Arc<Acceptor>>,
    /// The upstreams by name.
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    /// Which upstream serves a service, by its full name.
    pub services: BTreeMap<Box<str>, Serving>,
    /// What is no problem and may still surprise, a line each.
    pub notes: Vec<String>,
    /// The upstreams whose services are not served, since they have not said their schema by reflection.
    pub unreflected: BTreeSet<String>,
    /// What server reflection answers, where it is public.
    pub reflection: Option<Reflection>,
    /// The replies that are kept.
    pub caches: Caches,
    /// What one client may do at all.
    pub burst_guard: Option<Arc<BurstGuard>>,
    /// The places of calls in flight.
    pub(super) places: Arc<Places>,
    /// Which pages may call what is no RPC, and read that there is nothing.
    pub(super) cors: Option<Arc<Cors>>,
    /// Some page may call something.
    pub(super) shared: bool,
    /// By HTTP method and path: `google.api.http` bindings and built-in endpoints.
    pub(super) rest: Router<Arc<Route>>,
    /// By `/pkg.Service/Method`.
    pub(super) rpcs: hashbrown::HashMap<Box<str>, Arc<Route>, foldhash::fast::RandomState>,
    /// Every route, in the order of the schema.
    pub(super) routes: Vec<Arc<Route>>,
}

impl Snapshot {
    /// The route of a REST request.
    ///
    /// # Errors
    /// [`Error::NoRoute`], [`Error::MethodNotAllowed`], or a path whose escapes are broken.
    pub fn find_rest(&self, method: &str, path: &str, captures: &mut Captures) -> Result<&Arc<Route>, Error> {
        match self.rest.find(method, path, captures) {
            Found::Route(route) => Ok(route),
            Found::MethodNotAllowed(allow) => match HeaderValue::from_str(&allow) {
                Ok(allow) => Err(Error::MethodNotAllowed { allow }),
                Err(_) => Err(Error::NoRoute),
            },
            Found::NotFound => Err(Error::NoRoute),
            Found::BadEscape => Err(Error::bad_request("the path has a % that is not followed by two hex digits")),
        }
    }

    /// The route of an RPC by its path, `/pkg.Service/Method`.
    pub fn find_rpc(&self, path: &str) -> Option<&Arc<Route>> {
        self.rpcs.get(path)
    }

    /// Every binding whose template matches a path, whatever its method, the one that wins first.
    pub fn candidates(&self, path: &str) -> Vec<&Arc<Route>> {
        self.rest.candidates(path).into_iter().map(|(_, route)| route).collect()
    }

    /// The networks whose `x-forwarded-for` is believed.
    pub fn trusted_proxies(&self) -> &[Network] {
        &self.config.trusted_proxies
    }

    /// When certificates end, by the place of the key that names their file.
    pub fn expiries(&self) -> Vec<(String, Expiry)> {
        let own = self.tls.iter().flat_map(|tls| tls.expiries()).map(|expiry| (format!("tls.{}", expiry.key), *expiry));
        let services = self.upstreams.iter().flat_map(|(name, upstream)| {
            let place = |expiry: &Expiry| (config::place(&["upstreams", name, "tls", expiry.key]), *expiry);
            upstream.tls().map(|tls| tls.expiries().iter().map(place).collect::<Vec<_>>()).unwrap_or_default()
        });
        own.chain(services).collect()
    }

    /// Whether it shows and trusts the very certificates that another one does.
    pub fn has_certificates_of(&self, other: &Self) -> bool {
        let own = |snapshot: &Self| snapshot.tls.as_ref().map(Arc::as_ptr);
        let services = self
            .upstreams
            .iter()
            .all(|(name, upstream)| other.upstreams.get(name).is_some_and(|other| other.has_tls(upstream.tls())));
        own(self) == own(other) && services
    }

    /// A row for each way to an RPC, for people and machines.
    pub fn routes(&self) -> Vec<Row> {
        self.routes.iter().filter_map(|route| Row::of(route, &self.services)).collect()
    }

    /// Full names of the services that an upstream serves.
    pub fn services_of<'a>(&'a self, upstream: &'a str) -> impl Iterator<Item = &'a str> {
        self.services.iter().filter(move |(_, serving)| *serving.upstream == *upstream).map(|(name, _)| &**name)
    }

    /// The upstream of that name, or of that name for checks.
    pub fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        let checked = |upstream: &&Arc<Upstream>| upstream.config().health_name.as_deref() == Some(name);
        self.upstreams.get(name).or_else(|| self.upstreams.values().find(checked))
    }

    /// The upstream that serves a service.
    pub fn serving(&self, service: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.get(&*self.services.get(service)?.upstream)
    }
}

/// Where a service is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// The upstream's name.
    pub upstream: Box<str>,
    /// Who says so.
    pub from: Origin,
}

/// One line of `transom routes` and `/routes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The HTTP method; empty for an RPC that has no binding and is reached by gRPC alone.
    pub method: String,
    /// The path template; of an RPC without a binding its path.
    pub path: String,
    /// `pkg.Service/Method`
    pub rpc: String,
    /// Which sides stream: `unary`, `client_stream`, `server_stream` or `bidi_stream`.
    pub kind: &'static str,
    /// The upstream that serves it.
    pub upstream: String,
    /// Who says so: a key of the configuration, or an option in a .proto.
    pub upstream_from: String,
    /// What it is allowed.
    pub settings: Vec<Value>,
}

/// One value of a [`Row`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Value {
    /// The key under `methods`.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// Where that comes from.
    pub from: String,
}

impl Row {
    fn of(route: &Route, services: &BTreeMap<Box<str>, Serving>) -> Option<Self> {
        let Action::Call(binding) = &route.action else { return None };
        let rpc = &binding.rpc;
        let serving = rpc.name.split_once('/').and_then(|(service, _)| services.get(service));
        let rule = format!("{} {}", route.method, route.template);
        let value = |(key, value, from): (_, _, &Origin)| Value { key, value, from: from.to_string() };
        Some(Self {
            method: route.method.to_string(),
            path: route.template.to_string(),
            rpc: rpc.name.to_string(),
            kind: match (rpc.client_streaming, rpc.server_streaming) {
                (false, false) => "unary",
                (true, false) => "client_stream",
                (false, true) => "server_stream",
                (true, true) => "bidi_stream",
            },
            upstream: rpc.upstream.name().to_string(),
            upstream_from: serving.map(|serving| serving.from.to_string()).unwrap_or_default(),
            settings: std::iter::once(("http_rule", rule, &binding.rule))
                .filter(|(_, _, from)| **from != Origin::Default)
                .chain(rpc.settings.describe())
                .map(value)
                .collect(),
        })
    }
}
