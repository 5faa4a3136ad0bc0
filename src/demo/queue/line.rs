//! Who waits for which event, and whose turn it is: a plain value under one lock.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::demo::proto::booking::{QueueEntry, queue_entry::State};
use crate::demo::refusal::Refusal;

/// Entries that the demonstration keeps.
const MOST: usize = 100_000;

/// How long an entry that is done or lost can still be looked up.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// The lines in front of all events.
#[derive(Default)]
pub(super) struct Lines {
    entries: HashMap<String, QueueEntry>,
    by_reservation: HashMap<String, String>,
    /// By event; one that nobody waits for has no line.
    lines: HashMap<String, Line>,
    /// Entries that are over, by when they are forgotten.
    over: VecDeque<(SystemTime, String)>,
}

/// The line in front of one event.
#[derive(Default)]
struct Line {
    waiting: VecDeque<String>,
    turns: Vec<String>,
    moved: watch::Sender<()>,
}

/// What [`Lines::add`] found.
pub(super) enum Added {
    /// The reservation has this entry already.
    Known(QueueEntry),
    /// The entry is noted; [`Lines::join`] or [`Lines::forget`] must follow.
    Noted,
}

impl Lines {
    /// Notes that a reservation is about to wait, so that it waits once.
    pub(super) fn add(&mut self, entry: &QueueEntry, now: SystemTime) -> Result<Added, Refusal> {
        self.sweep(now);
        if let Some(id) = self.by_reservation.get(&entry.reservation_id) {
            let known = self.entries.get(id).ok_or_else(|| Refusal::busy("reservation"))?;
            return self.owned(&known.entry_id, &entry.user_id).map(Added::Known);
        }
        if self.by_reservation.len() >= MOST {
            return Err(Refusal::full("people in the queue"));
        }
        self.by_reservation.insert(entry.reservation_id.clone(), entry.entry_id.clone());
        Ok(Added::Noted)
    }

    /// Takes back what was noted of a reservation whose seats could not be held.
    pub(super) fn forget(&mut self, reservation_id: &str) {
        self.by_reservation.remove(reservation_id);
    }

    /// Joins the end of the event's line.
    pub(super) fn join(&mut self, entry: QueueEntry) -> QueueEntry {
        let line = self.lines.entry(entry.event_id.clone()).or_default();
        line.waiting.push_back(entry.entry_id.clone());
        let id = entry.entry_id.clone();
        self.entries.insert(id.clone(), entry);
        self.print(&self.entries[&id])
    }

    /// An entry as it stands, if it is the user's.
    pub(super) fn owned(&self, id: &str, user_id: &str) -> Result<QueueEntry, Refusal> {
        let entry = self.entries.get(id).filter(|entry| entry.user_id == user_id);
        Ok(self.print(entry.ok_or_else(|| Refusal::not_found("queue entry", id))?))
    }

    /// Signals that the line of an entry has moved; `None` if the entry is not in a line.
    pub(super) fn follow(&self, id: &str) -> Option<watch::Receiver<()>> {
        Some(self.lines.get(&self.entries.get(id)?.event_id)?.moved.subscribe())
    }

    /// Whether anyone waits or has a turn.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Every entry whose turn it is.
    pub(super) fn turns(&self) -> Vec<QueueEntry> {
        self.lines.values().flat_map(|line| &line.turns).filter_map(|id| self.entries.get(id)).cloned().collect()
    }

    /// For each event with a free turn, the first entry that waits, unless it was `tried` before.
    pub(super) fn next(&self, turns: usize, tried: &[String]) -> Option<QueueEntry> {
        let mut open = self.lines.values().filter(|line| line.turns.len() < turns);
        open.find_map(|line| {
            let first = line.waiting.front()?;
            if tried.contains(first) { None } else { self.entries.get(first).cloned() }
        })
    }

    /// Gives an entry its turn.
    pub(super) fn give_turn(&mut self, id: &str, booking_id: String, pay_until: SystemTime) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.set_state(State::Turn);
        entry.booking_id = booking_id;
        entry.pay_until = Some(pay_until.into());
        if let Some(line) = self.lines.get_mut(&entry.event_id) {
            line.waiting.retain(|waiting| waiting != id);
            line.turns.push(id.to_owned());
            line.moved.send_replace(());
        }
    }

    /// Ends an entry, from wherever it stands.
    pub(super) fn end(&mut self, id: &str, state: State, now: SystemTime) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.set_state(state);
        self.over.push_back((now + REMEMBERED, id.to_owned()));
        let Some(line) = self.lines.get_mut(&entry.event_id) else { return };
        line.waiting.retain(|waiting| waiting != id);
        line.turns.retain(|turn| turn != id);
        line.moved.send_replace(());
        if line.waiting.is_empty() && line.turns.is_empty() {
            self.lines.remove(&entry.event_id);
        }
    }

    fn sweep(&mut self, now: SystemTime) {
        while self.over.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = self.over.pop_front() else { return };
            if let Some(entry) = self.entries.remove(&id) {
                self.by_reservation.remove(&entry.reservation_id);
            }
        }
    }

    fn print(&self, entry: &QueueEntry) -> QueueEntry {
        let place = || self.lines.get(&entry.event_id)?.waiting.iter().position(|id| *id == entry.entry_id);
        let position = place().map_or(0, |before| i32::try_from(before + 1).unwrap_or(i32::MAX));
        QueueEntry { position, ..entry.clone() }
    }
}
