//! Hearsay: what one gateway revokes, all refuse. Told at once; read as a whole by who has just come, or was away.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::now;
use super::revoked::{Revocation, Revoked};
use crate::store::{Event, Store};

/// From one attempt to the next, while the Redis does not answer.
const PAUSE: Duration = Duration::from_millis(200);

/// Who follows: one task for all configurations that share what is revoked, and as long as any is there. With one of each, what
/// the one before was about to tell would go with it.
#[derive(Default)]
pub(super) struct Follower(OnceLock<DropGuard>);

impl Follower {
    /// Keeps what is revoked the same as everywhere, on the runtime that this is called on. Only the first call does anything.
    pub(super) fn begin(&self, revoked: &Arc<Revoked>, store: &Arc<Store>) {
        self.0.get_or_init(|| {
            revoked.share();
            let cancel = CancellationToken::new();
            tokio::spawn(cancel.clone().run_until_cancelled_owned(follow(revoked.clone(), store.clone())));
            cancel.drop_guard()
        });
    }
}

async fn follow(revoked: Arc<Revoked>, store: Arc<Store>) {
    // First of all: what is said from here on is heard, and what was said before is read.
    let mut said = store.listen();
    let (mut current, mut told) = (false, true);
    loop {
        if !current {
            current = store.is_connected() == Some(true) && read(&revoked, &store).await;
            revoked.hears(current);
        }
        if revoked.has_news() {
            told = tell(&revoked, &store).await;
        }
        tokio::select! {
            event = said.recv() => match event {
                Ok(event @ Event::Told { .. }) => {
                    let now = now();
                    event.marks().into_iter().for_each(|(mark, until)| revoked.add(&Revocation { mark, until }, now));
                }
                Ok(Event::Connected | Event::Lost) | Err(RecvError::Lagged(_)) => current = false,
                Err(RecvError::Closed) => return,
            },
            () = revoked.news() => {}
            () = sleep(PAUSE), if !current || !told => {}
        }
    }
}

/// What was said before.
async fn read(revoked: &Revoked, store: &Store) -> bool {
    let (now, mut count) = (now(), 0);
    let read = store.marked(now.as_secs(), |(mark, until)| {
        count += 1;
        revoked.add(&Revocation { mark, until }, now);
    });
    let read = read.await.is_ok();
    if read {
        // A Redis that was started again may have lost what it was told.
        revoked.tell_later(revoked.beyond(count, now));
    }
    read
}

/// Tells what this gateway has revoked; what cannot be told is told later.
async fn tell(revoked: &Revoked, store: &Store) -> bool {
    let untold = revoked.untold();
    let marks: Vec<_> = untold.iter().map(|revocation| (revocation.mark.clone(), revocation.until)).collect();
    let told = store.mark(&marks).await.is_ok();
    if !told {
        revoked.tell_later(untold);
    }
    told
}
