//! Watch: what happens to an upstream beside its calls: names are resolved, endpoints looked after.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::pool::Pool;
use super::{Upstream, literal};

/// From one resolution's end to the next.
const RESOLVE: Duration = Duration::from_secs(5);
/// The same after an endpoint has failed or a name was not found.
const RESOLVE_SOON: Duration = Duration::from_millis(500);

impl Upstream {
    /// Runs on the control runtime until `cancel`.
    pub async fn watch(self: Arc<Self>, cancel: CancellationToken) {
        let resolve = async |host: Arc<str>, port| Ok(tokio::net::lookup_host((&*host, port)).await?.collect());
        cancel.run_until_cancelled(self.attend(resolve)).await;
    }

    /// `resolve` says what addresses a name stands for.
    pub(super) async fn attend<R>(self: Arc<Self>, resolve: R)
    where
        R: AsyncFn(Arc<str>, u16) -> io::Result<Vec<SocketAddr>>,
    {
        let mut names = Name::all(&self);
        let pool = Arc::new(Pool::new(0, 1));
        let mut tended = HashSet::new();
        // Dropped with this future, and with it everything that runs for the upstream.
        let mut tending = JoinSet::new();
        loop {
            let complete = self.resolve(&mut names, &resolve).await;
            let endpoints = self.roster.all();
            tended.retain(|id| endpoints.iter().any(|endpoint| endpoint.id == *id));
            for endpoint in endpoints.iter().filter(|endpoint| tended.insert(endpoint.id)) {
                tending.spawn(Arc::clone(&self).tend(Arc::clone(endpoint), Arc::clone(&pool)));
            }
            while tending.try_join_next().is_some() {}
            if names.iter().all(|name| name.literal) {
                return std::future::pending().await;
            }
            if complete {
                tokio::select! {
                    () = sleep(RESOLVE) => {}
                    // It may have moved.
                    () = self.roster.troubled() => sleep(RESOLVE_SOON).await,
                }
            } else {
                sleep(RESOLVE_SOON).await;
            }
        }
    }

    /// True if every name was found. One that was not keeps the addresses that it had.
    async fn resolve<R>(&self, names: &mut [Name], resolve: &R) -> bool
    where
        R: AsyncFn(Arc<str>, u16) -> io::Result<Vec<SocketAddr>>,
    {
        let mut complete = true;
        for name in names.iter_mut().filter(|name| !name.literal) {
            match resolve(Arc::clone(&name.host), name.port).await {
                Ok(mut found) if !found.is_empty() => {
                    // Resolvers rotate their answers; turns are to stay as they are.
                    found.sort_unstable();
                    name.addresses = found;
                }
                Ok(_) => complete = false,
                Err(error) => {
                    complete = false;
                    tracing::warn!(upstream = %self.name, host = %name.host, %error, "name not resolved");
                }
            }
        }
        let addresses: Vec<_> = names.iter().flat_map(|name| name.addresses.iter().copied()).collect();
        self.set_addresses(&addresses);
        self.unresolved.store(false, Ordering::Release);
        self.resolved.notify_waiters();
        complete
    }
}

/// An endpoint as it was written, and what it stands for.
struct Name {
    host: Arc<str>,
    port: u16,
    literal: bool,
    addresses: Vec<SocketAddr>,
}

impl Name {
    fn all(upstream: &Upstream) -> Vec<Self> {
        let name = |endpoint| {
            let literal = literal(endpoint);
            let (host, port) = (endpoint.host.as_str().into(), endpoint.port);
            Self { host, port, literal: literal.is_some(), addresses: literal.into_iter().collect() }
        };
        upstream.config.endpoints.iter().map(name).collect()
    }
}
