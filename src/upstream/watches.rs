//! Watches: which upstreams are looked after, from the first snapshot that names them to the last.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::arrival::Home;
use super::group::Group;
use super::{Pool, Upstream};
use crate::discovery::Discovery;

/// The upstreams whose names are resolved and whose endpoints are asked for their health. Dropped, nobody looks after them.
#[derive(Default)]
pub struct Watches {
    groups: Vec<(Arc<Group>, DropGuard)>,
    discovery: Arc<Discovery>,
    /// The workers' pools.
    homes: Vec<Home>,
}

impl Watches {
    /// What says where endpoints are.
    pub fn discovery(&self) -> &Arc<Discovery> {
        &self.discovery
    }

    /// Looks after these too, as tasks of this runtime.
    pub fn begin<'u>(&mut self, upstreams: impl IntoIterator<Item = &'u Arc<Upstream>>) {
        for upstream in upstreams {
            if self.has(upstream) {
                continue;
            }
            let cancel = CancellationToken::new();
            tokio::spawn(Arc::clone(&upstream.group).watch(Arc::clone(&self.discovery), cancel.clone()));
            self.groups.push((Arc::clone(&upstream.group), cancel.drop_guard()));
        }
    }

    /// From now on endpoints that a reload brings are connected to in this pool too; called where its calls run.
    pub fn enlist(&mut self, pool: &Pool) {
        self.homes.retain(|home| !home.is_gone());
        self.homes.push(pool.home());
    }

    /// As [`Watches::begin`]; then until of every endpoint that these bring it is known whether it answers, and every worker has
    /// a connection to those that do.
    pub fn prepare(&mut self, upstreams: &[Arc<Upstream>]) -> impl Future<Output = ()> + Send + 'static {
        let homes: Arc<[Home]> = self.homes.as_slice().into();
        let prepare = |upstream: &Arc<Upstream>| {
            Arc::clone(upstream).arrive(!self.has(upstream), Arc::clone(&self.discovery), Arc::clone(&homes))
        };
        let arriving: Vec<_> = upstreams.iter().map(prepare).collect();
        self.begin(upstreams);
        async move {
            let mut arriving: JoinSet<()> = arriving.into_iter().collect();
            while arriving.join_next().await.is_some() {}
        }
    }

    fn has(&self, upstream: &Upstream) -> bool {
        self.groups.iter().any(|(group, _)| Arc::ptr_eq(group, &upstream.group))
    }

    /// Looks after these alone. The others are no longer resolved or checked, and their connections close once idle.
    pub fn keep<'u>(&mut self, upstreams: impl IntoIterator<Item = &'u Arc<Upstream>>) {
        let kept: Vec<_> = upstreams.into_iter().map(|upstream| &upstream.group).collect();
        self.groups.retain(|(group, _)| {
            let stays = kept.iter().any(|kept| Arc::ptr_eq(kept, group));
            if !stays {
                group.retire();
            }
            stays
        });
    }
}
