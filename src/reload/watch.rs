//! Watch: tells when a file may have changed. Whether it has, its content says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::files::{Files, Names};

/// Editors and `cp` write in steps: so much time without an event is the end of them.
const QUIET: Duration = Duration::from_millis(100);
/// Events without end are looked at after this long all the same.
const LONGEST: Duration = Duration::from_secs(1);

/// The folders that are watched.
pub(super) struct Watch {
    /// None where the system has no such thing to give.
    watcher: Option<RecommendedWatcher>,
    shared: Arc<Shared>,
}

/// Between the watcher's thread and ours.
struct Shared {
    folders: Mutex<BTreeMap<PathBuf, Names>>,
    event: Notify,
}

impl Watch {
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared { folders: Mutex::default(), event: Notify::new() });
        let of_watcher = Arc::clone(&shared);
        let told = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| of_watcher.concerns(&event)) {
                of_watcher.event.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(told).map_err(|error| unwatched(&error)).ok();
        Self { watcher, shared }
    }

    /// Watches for changes of these from now on. Those that came just before are told as well.
    pub(super) fn follow(&mut self, files: &Files) {
        let Some(watcher) = &mut self.watcher else { return };
        let before = std::mem::replace(&mut *self.shared.folders.lock(), files.folders().clone());
        for gone in before.keys().filter(|folder| !files.folders().contains_key(*folder)) {
            // It may be gone altogether.
            let _ = watcher.unwatch(gone);
        }
        let mut more = false;
        for folder in files.folders().keys() {
            // Also one that was watched: it may be another folder of that name by now.
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => more |= !before.contains_key(folder),
                Err(error) => unwatched(&error),
            }
        }
        if more {
            self.shared.event.notify_one();
        }
    }

    /// Until something may have changed, and nothing has for a moment.
    pub(super) async fn changed(&self) {
        self.shared.event.notified().await;
        let longest = Instant::now() + LONGEST;
        while timeout_at(longest.min(Instant::now() + QUIET), self.shared.event.notified()).await.is_ok() {}
    }
}

impl Shared {
    fn concerns(&self, event: &Event) -> bool {
        let writes = match event.kind {
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            _ => true,
        };
        let folders = self.folders.lock();
        let named = |path: &PathBuf| {
            folders.contains_key(path)
                || path.parent().and_then(|folder| folders.get(folder)).is_some_and(|names| names.contains(path))
        };
        event.need_rescan() || (writes && event.paths.iter().any(named))
    }
}

fn unwatched(error: &notify::Error) {
    tracing::warn!(%error, "files are not watched: ask for reloads by SIGHUP or POST /reload");
}
