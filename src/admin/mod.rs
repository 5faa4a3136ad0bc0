//! Admin: what the gateway says of itself, on its own port and, where configuration opens it, on `listen`.
//!
//! ```text
//! health       is it alive, ready; are the services behind it up
//! grpc_health  the same as grpc.health.v1.Health
//! grpc_reflection  which services there are, as grpc.reflection
//! views        what runs: configuration, routes, upstreams, metrics
//! guard        who may look
//! answer       errors as JSON
//! ```

mod answer;
mod grpc_health;
mod grpc_reflection;
mod guard;
mod health;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::get;

use crate::config::{self, PublicEndpoint};
use crate::gateway::State;
use grpc_health::GrpcHealth;
use grpc_reflection::GrpcReflection;
use guard::Guard;

/// The admin port. `/livez`, `/readyz`, `/startupz` and `/metrics` answer everyone; the rest is for loopback or the token.
pub fn router(state: Arc<State>, admin: &config::Admin) -> Router {
    let guarded = Router::new()
        .route("/health", get(health::plain))
        .route("/health/detailed", get(health::detailed))
        .route("/config", get(views::config))
        .route("/routes", get(views::routes))
        .route("/upstreams", get(views::upstreams))
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::new(Guard::new(admin)), guard::check));
    let open = Router::new()
        .route("/livez", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/startupz", get(health::alive))
        .route("/metrics", get(views::metrics))
        .method_not_allowed_fallback(answer::method_not_allowed);
    open.merge(guarded).with_state(state)
}

/// The built-in endpoints that configuration opens on `listen`.
pub fn public(state: Arc<State>, endpoints: &[PublicEndpoint]) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints {
        router = match endpoint {
            PublicEndpoint::Health => {
                let grpc = GrpcHealth::new(state.clone()).into_service();
                router
                    .route("/health", get(health::plain))
                    .route("/livez", get(health::alive))
                    .route("/readyz", get(health::ready))
                    .route_service("/grpc.health.v1.Health/{method}", grpc)
            }
            PublicEndpoint::HealthDetailed => router.route("/health/detailed", get(health::detailed)),
            PublicEndpoint::Metrics => router.route("/metrics", get(views::metrics)),
            PublicEndpoint::Reflection => {
                let (v1, v1alpha) = GrpcReflection::new(state.clone()).into_services();
                router
                    .route_service("/grpc.reflection.v1.ServerReflection/{method}", v1)
                    .route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", v1alpha)
            }
        };
    }
    router.fallback(answer::not_found).method_not_allowed_fallback(answer::method_not_allowed).with_state(state)
}
