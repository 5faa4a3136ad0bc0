//! The service that `rules.proto` declares: every unary method answers the message that it got.

use serde_json::Value;

use super::gateway::{Running, gateway};
use super::reply::ok;
use super::upstream::{self, Upstream};

/// Methods that take and answer an `Everything`.
const ECHOES: [&str; 22] = [
    "Document", "Thing", "Inspect", "Deep", "File", "Readme", "Top", "Spelled", "GetSame", "PostSame", "Purge",
    "Options", "Heads", "Anything", "Query", "Bound", "Nested", "Scalar", "Numbers", "Nameless", "Same", "Mirror",
];

/// A service that answers what it got.
pub(crate) fn service() -> upstream::Builder {
    let echo = |service: upstream::Builder, method: &&str| service.unary(method, |request| ok(request.clone()));
    let service = ECHOES.iter().fold(upstream::grpc("rules.v1.Rules"), echo);
    service
        .unary("Update", |request| ok(request["it"].clone()))
        .unary("Upload", |request| ok(request["file"].clone()))
        .unary("Download", |request| ok(request.clone()))
}

/// It, and a gateway in front of it.
pub(crate) async fn rules() -> (Upstream, Running) {
    rules_with("").await
}

/// The same, with more configuration.
pub(crate) async fn rules_with(config: &str) -> (Upstream, Running) {
    let service = service().start().await;
    let gateway = gateway().descriptors("rules").upstream("rules", &service).config(config).start().await;
    (service, gateway)
}

/// What the method saw last.
#[track_caller]
pub(crate) fn seen(service: &Upstream, method: &str) -> Value {
    service.saw(method).last().messages[0].clone()
}
