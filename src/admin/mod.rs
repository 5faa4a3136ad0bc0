//! Admin: what the gateway says of itself, on its own port and, where configuration opens it, on `listen`.
//!
//! ```text
//! health       is it alive, ready; are the services behind it up
//! grpc_health  the same as grpc.health.v1.Health
//! grpc_reflection  which services there are, as grpc.reflection
//! grpc_farewell  how those two's streams end when the gateway stops
//! index        what there is on the admin port
//! views        what runs: configuration, routes, upstreams, metrics
//! reload       POST /reload, and how the last one went
//! guard        who may look
//! answer       errors as JSON
//! ```

mod answer;
mod grpc_farewell;
mod grpc_health;
mod grpc_reflection;
mod guard;
mod health;
mod index;
mod reload;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::extract::{self, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};

use crate::gateway::State;
use crate::telemetry::{self, RequestIds};
use grpc_health::GrpcHealth;
use grpc_reflection::GrpcReflection;

/// The admin port. `/livez`, `/readyz`, `/startupz` and `/metrics` answer everyone; the rest is for loopback or the token.
pub fn router(state: Arc<State>) -> Router {
    let guarded = Router::new()
        .route("/", get(index::index))
        .route("/health", get(health::plain))
        .route("/health/detailed", get(health::detailed))
        .route("/config", get(views::config))
        .route("/routes", get(views::routes))
        .route("/upstreams", get(views::upstreams))
        .route("/reload", post(reload::reload))
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .layer(middleware::from_fn_with_state(state.clone(), guard::check));
    let open = Router::new()
        .route("/livez", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/startupz", get(health::started))
        .route("/metrics", get(views::metrics))
        .method_not_allowed_fallback(answer::method_not_allowed);
    let ids = Arc::new(RequestIds::new());
    open.merge(guarded).layer(middleware::from_fn_with_state(ids, named)).with_state(state)
}

/// Names every answer, as those of `listen` are.
async fn named(extract::State(ids): extract::State<Arc<RequestIds>>, request: Request, next: Next) -> Response {
    let id = ids.of(request.headers());
    let mut response = next.run(request).await;
    response.headers_mut().insert(telemetry::REQUEST_ID, id.header().clone());
    response
}

/// The built-in endpoints that may answer on `listen`. Which do, the snapshot's routes say: others are not asked here.
pub fn public(state: Arc<State>) -> Router {
    let (v1, v1alpha) = GrpcReflection::new(state.clone()).into_services();
    Router::new()
        .route("/health", get(health::plain))
        .route("/livez", get(health::alive))
        .route("/readyz", get(health::ready))
        .route_service("/grpc.health.v1.Health/{method}", GrpcHealth::new(state.clone()).into_service())
        .route("/health/detailed", get(health::detailed))
        .route("/metrics", get(views::metrics))
        .route_service("/grpc.reflection.v1.ServerReflection/{method}", v1)
        .route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", v1alpha)
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .with_state(state)
}
