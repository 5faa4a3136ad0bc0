//! Is it alive, is it ready, are the services behind it up.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::reload::time;
use crate::gateway::{Snapshot, State};
use crate::policy::auth::Freshness;
use crate::upstream::Upstream;

/// How long a start waits for schemas that upstreams are to reflect. Then the others are served without them: one service that
/// is down must not keep a system down.
const SCHEMAS: Duration = Duration::from_secs(30);

/// How long a start waits to be told which tokens are revoked: a second try is in it. Then `auth.on_store_failure` says what becomes
/// of calls: a store that is down must not keep a system down.
const REVOKED: Duration = Duration::from_secs(2);

/// How long a start waits for the keys that issuers publish: several tries are in it. Then what needs no token is served: an
/// issuer that is down must not keep a system down.
const KEYS: Duration = Duration::from_secs(30);

/// Why it is not ready. It is where it has started, has keys of every issuer, knows what is revoked, and is not about to stop, and every upstream that is `required` has a usable
/// endpoint, and its schema; where none is required, one upstream has that is more than another's canary.
fn unready(state: &State) -> Option<Cow<'static, str>> {
    let snapshot = state.snapshot.load();
    let serves = |upstream: &Upstream| is_up(upstream) && !snapshot.unreflected.contains(&**upstream.name());
    let mut required = snapshot.upstreams.values().filter(|upstream| upstream.config().required).peekable();
    let usable = match required.peek() {
        Some(_) => required.all(|upstream| serves(upstream)),
        None => {
            let mut own = snapshot.upstreams.values().filter(|upstream| !stands_by(&snapshot, upstream)).peekable();
            own.peek().is_none() || own.any(|upstream| serves(upstream))
        }
    };
    match () {
        () if state.drain.has_begun() => Some("draining".into()),
        () if !awaited(state, &snapshot).is_empty() => Some("schemas are waited for".into()),
        () if is_learning(state, &snapshot) => Some("revocations are waited for".into()),
        () if let Some(issuer) = keyless(state, &snapshot) => Some(format!("keys of {issuer} are waited for").into()),
        () if !usable => Some("no usable upstream".into()),
        () => None,
    }
}

/// It has just started, and an issuer whose keys were not fetched yet.
fn keyless<'s>(state: &State, snapshot: &'s Snapshot) -> Option<&'s str> {
    let auth = snapshot.auth.as_ref().filter(|_| state.started.elapsed() < KEYS)?;
    auth.published_keys().find(|(_, keys)| *keys == Freshness::Missing).map(|(issuer, _)| issuer)
}

/// It is another's canary and nothing else: without that one nothing leads to it.
fn stands_by(snapshot: &Snapshot, upstream: &Upstream) -> bool {
    let name = &**upstream.name();
    let is_canary = |other: &Upstream| other.config().canary.as_ref().is_some_and(|canary| canary.upstream == name);
    snapshot.upstreams.values().any(|other| is_canary(other))
        && !snapshot.services.values().any(|serving| &*serving.upstream == name)
}

/// The upstreams whose schemas the start waits for.
fn awaited<'s>(state: &State, snapshot: &'s Snapshot) -> &'s BTreeSet<String> {
    const NOBODY: &BTreeSet<String> = &BTreeSet::new();
    if state.started.elapsed() < SCHEMAS { &snapshot.unreflected } else { NOBODY }
}

/// It has just started, and has not read yet what other gateways have revoked.
fn is_learning(state: &State, snapshot: &Snapshot) -> bool {
    state.started.elapsed() < REVOKED && snapshot.auth.as_ref().is_some_and(|auth| auth.is_deaf())
}

/// It is ready.
pub(super) fn is_ready(state: &State) -> bool {
    unready(state).is_none()
}

/// Some endpoint gets calls and is known to answer.
pub(super) fn is_up(upstream: &Upstream) -> bool {
    upstream.usable() > 0
}

/// `/livez`: it answers, so it lives.
pub(super) async fn alive() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// `/startupz`: its configuration is loaded, or nobody would answer, and so are its schemas.
pub(super) async fn started(extract::State(state): extract::State<Arc<State>>) -> Response {
    let snapshot = state.snapshot.load();
    match awaited(&state, &snapshot) {
        nobody if nobody.is_empty() => alive().await,
        names => not("starting", ("waiting_for", json!(names))),
    }
}

/// `/readyz`
pub(super) async fn ready(extract::State(state): extract::State<Arc<State>>) -> Response {
    match unready(&state) {
        None => Json(json!({ "status": "ready" })).into_response(),
        Some(reason) => not("not ready", ("reason", Value::from(reason))),
    }
}

fn not(status: &str, (key, why): (&str, Value)) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": status, key: why }))).into_response()
}

/// `/health`
pub(super) async fn plain() -> Response {
    Json(json!({ "status": "healthy", "timestamp": time(SystemTime::now()) })).into_response()
}

/// `/health/detailed`: by name, never by address.
pub(super) async fn detailed(extract::State(state): extract::State<Arc<State>>) -> Response {
    let snapshot = state.snapshot.load_full();
    let mut services = Map::new();
    let mut connections = Map::new();
    let mut circuits = Map::new();
    let mut ejected = Map::new();
    let mut up = 0;
    for upstream in snapshot.upstreams.values() {
        let name = upstream.config().health_name.clone().unwrap_or_else(|| upstream.name().to_string());
        let healthy = is_up(upstream);
        let endpoints = upstream.describe();
        let connected = endpoints.iter().any(|endpoint| endpoint.reached);
        up += usize::from(healthy);
        services.insert(name.clone(), Value::from(if healthy { "healthy" } else { "unhealthy" }));
        circuits.insert(name.clone(), Value::from(upstream.circuit().name()));
        let out = endpoints.iter().filter(|endpoint| endpoint.ejected).count();
        ejected.insert(name.clone(), Value::from(out));
        connections.insert(name, Value::from(if connected { "connected" } else { "disconnected" }));
    }
    let (status, word) = match (up, snapshot.upstreams.len()) {
        (up, all) if up == all => (StatusCode::OK, "healthy"),
        (0, _) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
        _ => (StatusCode::OK, "degraded"),
    };
    let body = json!({
        "status": word,
        "timestamp": time(SystemTime::now()),
        "services": services,
        "grpc_connections": connections,
        "circuit_breakers": circuits,
        "ejected_endpoints": ejected,
        "dependencies": dependencies(&state),
    });
    (status, Json(body)).into_response()
}

/// What the gateway itself leans on.
fn dependencies(state: &State) -> Value {
    let mut known = Map::new();
    if let Some(connected) = state.store.is_connected() {
        known.insert("redis".to_owned(), Value::from(if connected { "connected" } else { "disconnected" }));
    }
    let snapshot = state.snapshot.load();
    let issuers = snapshot.auth.iter().flat_map(|auth| auth.published_keys());
    let issuers: Map<_, _> = issuers.map(|(issuer, keys)| (issuer.to_owned(), Value::from(word(keys)))).collect();
    if !issuers.is_empty() {
        known.insert("issuers".to_owned(), Value::Object(issuers));
    }
    Value::Object(known)
}

/// What is there of an issuer's keys.
fn word(keys: Freshness) -> &'static str {
    match keys {
        Freshness::Fetched => "fetched",
        Freshness::Stale => "stale",
        Freshness::Missing => "missing",
    }
}
