//! What runs, as JSON; metrics as OpenMetrics text.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::reload;
use crate::gateway::{Snapshot, State};
use crate::telemetry;
use crate::upstream::Upstream;

/// `/config`: the text that was written, variables not expanded and secrets masked; since when it runs, and how the last
/// reload went.
pub(super) async fn config(extract::State(state): extract::State<Arc<State>>) -> Response {
    let (snapshot, loaded) = (state.snapshot.load_full(), state.reloads.loaded());
    let body = json!({
        "source": snapshot.config.source.text(),
        "version": loaded.version,
        "loaded_at": reload::time(loaded.at),
        "last_reload": state.reloads.last().map(|last| reload::describe(&last)),
    });
    Json(body).into_response()
}

/// `/routes`: every way to an RPC.
pub(super) async fn routes(extract::State(state): extract::State<Arc<State>>) -> Response {
    Json(json!({ "routes": state.snapshot.load().routes() })).into_response()
}

/// `/upstreams`: every endpoint as it is now.
pub(super) async fn upstreams(extract::State(state): extract::State<Arc<State>>) -> Response {
    let snapshot = state.snapshot.load();
    let upstreams: Vec<_> = snapshot.upstreams.values().map(|upstream| describe(&snapshot, upstream)).collect();
    Json(json!({ "upstreams": upstreams })).into_response()
}

fn describe(snapshot: &Snapshot, upstream: &Upstream) -> Value {
    let endpoints: Vec<_> = upstream
        .describe()
        .iter()
        .map(|endpoint| {
            json!({
                "address": &*endpoint.address,
                "usable": endpoint.usable,
                "down": endpoint.down,
                "healthy": endpoint.healthy,
                "circuit": endpoint.circuit.name(),
                "ejected": endpoint.ejected,
                "warming": endpoint.warming,
                "connections": endpoint.connections,
                "in_flight": endpoint.in_flight,
                "last_failure": endpoint.last_failure.as_ref().map(|failure| json!({ "at": reload::time(failure.at), "cause": &*failure.cause })),
            })
        })
        .collect();
    json!({
        "name": &**upstream.name(),
        "services": snapshot.services_of(upstream.name()).collect::<Vec<_>>(),
        "required": upstream.config().required,
        "usable": upstream.usable(),
        "circuit": upstream.circuit().name(),
        "endpoints": endpoints,
    })
}

/// `/metrics`
pub(super) async fn metrics(extract::State(state): extract::State<Arc<State>>) -> Response {
    ([(CONTENT_TYPE, telemetry::CONTENT_TYPE)], state.metrics.encode()).into_response()
}
