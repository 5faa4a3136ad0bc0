//! Index: what there is on the admin port, for who opens it.

use axum::Json;
use serde_json::{Value, json};

/// Method, path, who may look, what is there.
const PATHS: [(&str, &str, &str, &str); 11] = [
    ("GET", "/", LOCAL, "this list"),
    ("GET", "/livez", ALL, "the process runs"),
    ("GET", "/readyz", ALL, "it takes calls, or why it does not"),
    ("GET", "/startupz", ALL, "the schemas that it waits for at the start are there"),
    ("GET", "/metrics", ALL, "metrics, as OpenMetrics"),
    ("GET", "/health", LOCAL, "the gateway's health, for people and load balancers"),
    ("GET", "/health/detailed", LOCAL, "the same with its services, its Redis and its issuers"),
    ("GET", "/config", LOCAL, "the configuration as written, without its secrets, and how the last reload went"),
    ("GET", "/routes", LOCAL, "every way to an RPC, and the policies on it"),
    ("GET", "/upstreams", LOCAL, "every endpoint as it is now"),
    ("POST", "/reload", LOCAL, "reads the configuration again"),
];

const ALL: &str = "everyone";
const LOCAL: &str = "loopback, or who has the token";

/// `/`
pub(super) async fn index() -> Json<Value> {
    let path = |(method, path, who, what)| json!({ "method": method, "path": path, "for": who, "what": what });
    Json(json!({ "paths": PATHS.map(path) }))
}
