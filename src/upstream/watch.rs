//! Watch: what happens to an upstream beside its calls: places are looked up, endpoints looked after.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::group::Group;
use super::pauses::Pauses;
use super::pool::Pool;
use crate::config::Place;
use crate::discovery::{Answer, Discovery, Search};

/// An endpoint that went down may have moved: the pause before that is looked up.
const MOVED: Duration = Duration::from_millis(500);

impl Group {
    /// Runs on the control runtime until `cancel`.
    pub(super) async fn watch(self: Arc<Self>, discovery: Arc<Discovery>, cancel: CancellationToken) {
        let (compared, warmed) = (Arc::clone(&self).compare(), Arc::clone(&self).warm_up());
        cancel.run_until_cancelled(async { tokio::join!(self.attend(&discovery), compared, warmed) }).await;
    }

    async fn attend(self: Arc<Self>, discovery: &Arc<Discovery>) {
        let mut tended = Tended::default();
        // Dropped, a place is followed no more.
        let mut followed: HashMap<Place, AbortOnDropHandle<()>> = HashMap::new();
        loop {
            tended.follow(&self);
            let places: HashSet<Place> = self.places().into_iter().collect();
            followed.retain(|place, _| places.contains(place));
            for place in places {
                followed.entry(place).or_insert_with_key(|place| {
                    let search = discovery.search(place);
                    AbortOnDropHandle::new(tokio::spawn(Arc::clone(&self).follow_place(place.clone(), search)))
                });
            }
            self.moved.notified().await;
        }
    }

    /// Looks a place up again and again: when its time is over, or when an endpoint went down.
    async fn follow_place(self: Arc<Self>, place: Place, mut search: Search) {
        let mut troubles = self.roster.troubles();
        let mut pauses = Pauses::default();
        let mut well = true;
        loop {
            troubles.mark_unchanged();
            let answer = search.look().await;
            let failure = match &answer {
                Ok(answer) => answer.failure.as_ref(),
                Err(failure) => Some(failure),
            };
            match failure {
                Some(failure) if well => tracing::warn!(upstream = %self.name, %place, %failure, "not looked up"),
                None if !well => tracing::info!(upstream = %self.name, %place, "looked up again"),
                _ => {}
            }
            if let Ok(Answer { half: Some(failure), .. }) = &answer {
                tracing::debug!(upstream = %self.name, %place, %failure, "one family of addresses was not looked up");
            }
            well = failure.is_none();
            self.found(&place, answer.as_ref().ok().map(|answer| &*answer.found));
            let pause = match &answer {
                Ok(answer) => {
                    pauses.answered(Instant::now());
                    answer.holds
                }
                Err(_) => pauses.failed(Instant::now()),
            };
            tokio::select! {
                () = sleep(pause) => {}
                Ok(()) = troubles.changed() => sleep(MOVED).await,
            }
        }
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
