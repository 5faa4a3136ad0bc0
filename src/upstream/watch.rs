//! Watch: what happens to an upstream beside its calls: names are resolved, endpoints looked after.

use std::collections::HashSet;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
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
        let mut tended = Tended::default();
        tended.follow(&self);
        loop {
            let complete = self.resolve(&mut names, &resolve, &mut tended).await;
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

    /// True if every name was found. One that was not keeps the addresses that it had; none waits for another.
    async fn resolve<R>(self: &Arc<Self>, names: &mut [Name], resolve: &R, tended: &mut Tended) -> bool
    where
        R: AsyncFn(Arc<str>, u16) -> io::Result<Vec<SocketAddr>>,
    {
        let mut complete = true;
        let asked = names.iter().enumerate().filter(|(_, name)| !name.literal);
        let mut asked: Vec<_> =
            asked.map(|(at, name)| (at, Box::pin(resolve(Arc::clone(&name.host), name.port)))).collect();
        while !asked.is_empty() {
            let (at, answer) = poll_fn(|cx| {
                for place in 0..asked.len() {
                    let (at, answer) = &mut asked[place];
                    if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                        let at = *at;
                        drop(asked.swap_remove(place));
                        return Poll::Ready((at, answer));
                    }
                }
                Poll::Pending
            })
            .await;
            let name = &mut names[at];
            match answer {
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
            let addresses: Vec<_> = names.iter().flat_map(|name| name.addresses.iter().copied()).collect();
            self.set_addresses(&addresses);
            tended.follow(self);
            if asked.is_empty() {
                self.unresolved.store(false, Ordering::Release);
            }
            self.resolved.notify_waiters();
        }
        complete
    }
}

/// The endpoints that are looked after. Dropped, nobody looks after them any more.
struct Tended {
    ids: HashSet<usize>,
    tasks: JoinSet<()>,
    /// What health checks connect by.
    pool: Arc<Pool>,
}

impl Default for Tended {
    fn default() -> Self {
        Self { ids: HashSet::new(), tasks: JoinSet::new(), pool: Arc::new(Pool::new(0, 1)) }
    }
}

impl Tended {
    /// Looks after new endpoints at once; those that were retired end by themselves.
    fn follow(&mut self, upstream: &Arc<Upstream>) {
        let endpoints = upstream.roster.all();
        self.ids.retain(|id| endpoints.iter().any(|endpoint| endpoint.id == *id));
        for endpoint in endpoints.iter().filter(|endpoint| self.ids.insert(endpoint.id)) {
            self.tasks.spawn(Arc::clone(upstream).tend(Arc::clone(endpoint), Arc::clone(&self.pool)));
        }
        while self.tasks.try_join_next().is_some() {}
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
