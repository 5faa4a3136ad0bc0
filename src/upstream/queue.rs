//! Queue: the calls that wait for a stream of one endpoint on one worker.
//!
//! Calls whose answers are due come before streams, however late they have come: a stream that gets one may keep it for as
//! long as its client likes, and whoever stands behind it waits that long.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::failure::Failure;
use super::pool::{Grant, Lease};

/// Calls that may wait, and streams.
const MOST: usize = 1024;

/// Of either kind in order of arrival.
#[derive(Default)]
pub(super) struct Queue {
    /// Those whose answers are due.
    calls: Line,
    streams: Line,
}

type Line = VecDeque<oneshot::Sender<Grant>>;

impl Queue {
    /// A place for one whose answer is `due`, or for a stream; none: too many wait.
    pub(super) fn join(&mut self, due: bool) -> Option<oneshot::Receiver<Grant>> {
        let line = self.line(due);
        if line.len() >= MOST {
            line.retain(|waiting| !waiting.is_closed());
            if line.len() >= MOST {
                return None;
            }
        }
        let (sender, receiver) = oneshot::channel();
        line.push_back(sender);
        Some(receiver)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.streams.is_empty()
    }

    /// Whether the answer of the next one is due; none: nobody waits.
    pub(super) fn next_is_due(&self) -> Option<bool> {
        (!self.is_empty()).then_some(!self.calls.is_empty())
    }

    /// Gives a stream to the first of its kind that still waits; without one it comes back.
    pub(super) fn give(&mut self, due: bool, mut lease: Lease) -> Result<(), Lease> {
        while let Some(next) = self.line(due).pop_front() {
            match next.send(Ok(lease)) {
                Err(Ok(back)) => lease = back,
                Ok(()) | Err(Err(_)) => return Ok(()),
            }
        }
        Err(lease)
    }

    /// Forgets those that have left.
    pub(super) fn tidy(&mut self) {
        for due in [true, false] {
            self.line(due).retain(|waiting| !waiting.is_closed());
        }
    }

    /// Tells all of them why they wait in vain.
    pub(super) fn refuse(self, why: impl Fn() -> Failure) {
        for call in self.calls.into_iter().chain(self.streams) {
            // One that has left needs no answer.
            drop(call.send(Err(why())));
        }
    }

    fn line(&mut self, due: bool) -> &mut Line {
        if due { &mut self.calls } else { &mut self.streams }
    }
}
