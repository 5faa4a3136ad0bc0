//! Watch: what happens to an upstream beside its calls: names are resolved, endpoints looked after.

use std::collections::HashSet;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::group::Group;
use super::pool::Pool;

/// From one resolution's end to the next.
const RESOLVE: Duration = Duration::from_secs(5);
/// The same after an endpoint has failed or a name was not found.
const RESOLVE_SOON: Duration = Duration::from_millis(500);

impl Group {
    /// Runs on the control runtime until `cancel`.
    pub(super) async fn watch(self: Arc<Self>, cancel: CancellationToken) {
        let resolve = async |host: Arc<str>, port| Ok(tokio::net::lookup_host((&*host, port)).await?.collect());
        cancel.run_until_cancelled(self.attend(resolve)).await;
    }

    /// `resolve` says what addresses a name stands for.
    pub(super) async fn attend<R>(self: Arc<Self>, resolve: R)
    where
        R: AsyncFn(Arc<str>, u16) -> io::Result<Vec<SocketAddr>>,
    {
        let mut tended = Tended::default();
        loop {
            tended.follow(&self);
            tokio::select! {
                () = self.keep_resolved(&resolve, &mut tended) => {}
                () = self.renamed.notified() => {}
            }
        }
    }

    /// One resolution of all names, and the pause to the next.
    async fn keep_resolved<R>(self: &Arc<Self>, resolve: &R, tended: &mut Tended)
    where
        R: AsyncFn(Arc<str>, u16) -> io::Result<Vec<SocketAddr>>,
    {
        let Some(complete) = self.resolve(resolve, tended).await else { return std::future::pending().await };
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

    /// True if every name was found; none if there is no name. One that was not found keeps the addresses that it had; none
    /// waits for another.
    async fn resolve<R>(self: &Arc<Self>, resolve: &R, tended: &mut Tended) -> Option<bool>
    where
        R: AsyncFn(Arc<str>, u16) -> io::Result<Vec<SocketAddr>>,
    {
        let names = self.names();
        if names.is_empty() {
            return None;
        }
        let mut complete = true;
        let mut asked: Vec<_> =
            names.iter().map(|name| (name, Box::pin(resolve(name.host.as_str().into(), name.port)))).collect();
        while !asked.is_empty() {
            let (name, answer) = poll_fn(|cx| {
                for place in 0..asked.len() {
                    let (name, answer) = &mut asked[place];
                    if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                        let name = *name;
                        drop(asked.swap_remove(place));
                        return Poll::Ready((name, answer));
                    }
                }
                Poll::Pending
            })
            .await;
            match answer {
                Ok(mut found) if !found.is_empty() => {
                    // Resolvers rotate their answers; turns are to stay as they are.
                    found.sort_unstable();
                    self.found(name, &found);
                }
                Ok(_) => complete = false,
                Err(error) => {
                    complete = false;
                    tracing::warn!(upstream = %self.name, host = %name.host, %error, "name not resolved");
                }
            }
            tended.follow(self);
            if asked.is_empty() {
                self.set_resolved();
            }
            self.resolved.notify_waiters();
        }
        Some(complete)
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
    fn follow(&mut self, group: &Arc<Group>) {
        let endpoints = group.roster.all();
        self.ids.retain(|id| endpoints.iter().any(|endpoint| endpoint.id == *id));
        for endpoint in endpoints.iter().filter(|endpoint| self.ids.insert(endpoint.id)) {
            self.tasks.spawn(Arc::clone(group).tend(Arc::clone(endpoint), Arc::clone(&self.pool)));
        }
        while self.tasks.try_join_next().is_some() {}
    }
}
