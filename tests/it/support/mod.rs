//! What the tests speak.

mod answer;
pub(crate) mod bare;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod dns;
pub(crate) mod faulty;
pub(crate) mod frames;
pub(crate) mod gateway;

pub(crate) mod grpc;
pub(crate) mod heard;
pub(crate) mod library;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod protos;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod reply;
pub(crate) mod rules;
pub(crate) mod saw;
pub(crate) mod socket;
pub(crate) mod speak;
pub(crate) mod streams;
pub(crate) mod tls;
pub(crate) mod tokens;
pub(crate) mod upstream;

use std::time::Duration;

/// Nothing that a test awaits takes this long, but on a machine that is stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Awaits within [`PATIENCE`].
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Awaits a condition that nothing announces.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
