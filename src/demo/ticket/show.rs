//! One event's seats: which are free, which are best, how they stand.

use std::collections::BTreeSet;
use std::time::SystemTime;

use tokio::sync::watch;

use super::catalogue::Announced;
use super::house::SECTIONS;
use crate::demo::proto::ticket::{Event, EventAvailability, Ticket, event, ticket};
use crate::demo::refusal::Refusal;

/// Seats of one reservation at most.
const MOST_SEATS: usize = 8;

/// An event, its seats, and who is told when they change.
pub(super) struct Show {
    pub(super) announced: Announced,
    /// The name in lower case, to be searched.
    pub(super) lower_name: String,
    seats: Vec<ticket::State>,
    free: usize,
    sold: usize,
    pub(super) changed: watch::Sender<()>,
}

impl Show {
    /// An event with every seat free.
    pub(super) fn new(announced: Announced) -> Self {
        let seats = vec![ticket::State::Available; announced.house.seats];
        Self {
            lower_name: announced.name.to_lowercase(),
            free: seats.len(),
            sold: 0,
            seats,
            changed: watch::Sender::new(()),
            announced,
        }
    }

    /// Where the event stands.
    pub(super) fn state(&self, now: SystemTime) -> event::State {
        if self.announced.start <= now {
            event::State::Over
        } else if self.free == 0 {
            event::State::SoldOut
        } else {
            event::State::OnSale
        }
    }

    /// The event as clients see it.
    pub(super) fn event(&self, now: SystemTime) -> Event {
        let announced = &self.announced;
        let cheapest = announced.house.rows.last().map_or(announced.best_price, |row| row.price(announced.best_price));
        Event {
            event_id: announced.event_id.clone(),
            name: announced.name.clone(),
            category: announced.category.to_owned(),
            venue: announced.venue.to_owned(),
            city: announced.city.to_owned(),
            start_time: Some(announced.start.into()),
            price: cheapest,
            currency: announced.currency.to_owned(),
            total_seats: small(self.seats.len()),
            available_seats: small(self.free),
            state: self.state(now).into(),
            high_demand: announced.high_demand,
        }
    }

    /// How the seats stand.
    pub(super) fn availability(&self, now: SystemTime) -> EventAvailability {
        EventAvailability {
            event_id: self.announced.event_id.clone(),
            available_seats: small(self.free),
            reserved_seats: small(self.seats.len() - self.free - self.sold),
            sold_seats: small(self.sold),
            state: self.state(now).into(),
            time: Some(now.into()),
        }
    }

    /// Free seats from a seat on, with their positions.
    pub(super) fn available(&self, section: &str, from: usize, most: usize) -> Result<Vec<(u64, Ticket)>, Refusal> {
        known_section(section)?;
        Ok((from..self.seats.len())
            .filter(|&seat| self.seats[seat] == ticket::State::Available && self.is_in(seat, section))
            .take(most)
            .map(|seat| (seat as u64, self.ticket(seat)))
            .collect())
    }

    /// One seat.
    pub(super) fn ticket(&self, seat: usize) -> Ticket {
        let announced = &self.announced;
        let (row, number) = announced.house.locate(seat);
        Ticket {
            ticket_id: format!("{}-{}{number}", announced.event_id, row.name),
            event_id: announced.event_id.clone(),
            section: row.section.to_owned(),
            row: row.name.to_string(),
            seat: small(number),
            price: row.price(announced.best_price),
            currency: announced.currency.to_owned(),
            state: self.seats[seat].into(),
        }
    }

    /// The seats of these tickets, if all are free.
    pub(super) fn named(&self, tickets: &[String]) -> Result<Vec<usize>, Refusal> {
        if tickets.len() > MOST_SEATS {
            return Err(Refusal::field("ticket_ids", "must be at most 8"));
        }
        let mut seats = BTreeSet::new();
        for id in tickets {
            let seat = id
                .strip_prefix(self.announced.event_id.as_str())
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|name| self.announced.house.seat(name))
                .ok_or_else(|| Refusal::not_found("ticket", id))?;
            if !seats.insert(seat) {
                return Err(Refusal::field("ticket_ids", "must not name a seat twice"));
            }
            if self.seats[seat] != ticket::State::Available {
                return Err(Refusal::state("SEATS_TAKEN", id, "the seat is not free").resource("ticket", id));
            }
        }
        Ok(seats.into_iter().collect())
    }

    /// The first free seats that are side by side; where there are none, the first free ones.
    pub(super) fn best(&self, count: usize, section: &str) -> Result<Vec<usize>, Refusal> {
        if !(1..=MOST_SEATS).contains(&count) {
            return Err(Refusal::field("quantity", "must be 1 to 8"));
        }
        known_section(section)?;
        let is_free = |seat: &usize| self.seats[*seat] == ticket::State::Available;
        for row in self.announced.house.rows.iter().filter(|row| section.is_empty() || row.section == section) {
            let mut starts = row.first..(row.first + row.seats + 1).saturating_sub(count).max(row.first);
            if let Some(start) = starts.find(|&start| (start..start + count).all(|seat| is_free(&seat))) {
                return Ok((start..start + count).collect());
            }
        }
        let apart: Vec<usize> =
            (0..self.seats.len()).filter(|&seat| self.is_in(seat, section)).filter(is_free).take(count).collect();
        if apart.len() < count {
            let message = format!("only {} seats are free", apart.len());
            return Err(Refusal::state("SEATS_TAKEN", &self.announced.event_id, &message));
        }
        Ok(apart)
    }

    fn is_in(&self, seat: usize, section: &str) -> bool {
        section.is_empty() || self.announced.house.locate(seat).0.section == section
    }

    /// Changes what may be done with these seats, and tells who watches.
    pub(super) fn mark(&mut self, seats: &[usize], state: ticket::State) {
        for &seat in seats {
            self.seats[seat] = state;
        }
        self.free = self.seats.iter().filter(|&&seat| seat == ticket::State::Available).count();
        self.sold = self.seats.iter().filter(|&&seat| seat == ticket::State::Sold).count();
        self.changed.send_replace(());
    }
}

fn known_section(section: &str) -> Result<(), Refusal> {
    if section.is_empty() || SECTIONS.iter().any(|(name, _)| *name == section) {
        Ok(())
    } else {
        Err(Refusal::field("section", "must be stalls, circle or balcony"))
    }
}

/// Counts of seats are far below 2³¹.
fn small(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
