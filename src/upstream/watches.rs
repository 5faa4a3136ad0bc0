//! Watches: which upstreams are looked after, from the first snapshot that names them to the last.

use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::Upstream;
use super::group::Group;
use crate::discovery::Discovery;

/// The upstreams whose names are resolved and whose endpoints are asked for their health. Dropped, nobody looks after them.
#[derive(Default)]
pub struct Watches {
    groups: Vec<(Arc<Group>, DropGuard)>,
    discovery: Arc<Discovery>,
}

impl Watches {
    /// What says where endpoints are.
    pub fn discovery(&self) -> &Arc<Discovery> {
        &self.discovery
    }

    /// Looks after these too, as tasks of this runtime.
    pub fn begin<'u>(&mut self, upstreams: impl IntoIterator<Item = &'u Arc<Upstream>>) {
        for upstream in upstreams {
            if self.groups.iter().any(|(group, _)| Arc::ptr_eq(group, &upstream.group)) {
                continue;
            }
            let cancel = CancellationToken::new();
            tokio::spawn(Arc::clone(&upstream.group).watch(Arc::clone(&self.discovery), cancel.clone()));
            self.groups.push((Arc::clone(&upstream.group), cancel.drop_guard()));
        }
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
