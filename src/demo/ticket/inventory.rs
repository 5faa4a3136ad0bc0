//! Who holds which seat: one plain value under one lock, so that what is checked is still so when it is changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::catalogue;
use super::show::Show;
use crate::demo::proto::ticket::{Event, EventAvailability, Reservation, Ticket, event, reservation, ticket};
use crate::demo::refusal::Refusal;

/// Reservations that are kept, those that have ended a short while ago among them.
const MOST: usize = 100_000;

/// Reservations that one user may hold without booking them.
const MOST_HELD: usize = 20;

/// How long an ended reservation can still be looked up.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// Every event, its seats, and every reservation.
pub(super) struct Inventory {
    shows: Vec<Show>,
    by_id: HashMap<String, usize>,
    reservations: HashMap<String, Held>,
    /// When something is to be done about a reservation: give its seats back, or forget it.
    due: BTreeSet<(SystemTime, String)>,
    /// How many reservations a user holds that are not claimed.
    held_by: HashMap<String, usize>,
    /// What users have bought: sale number → show and seat.
    sold_to: HashMap<String, BTreeMap<u64, (usize, usize)>>,
    sales: u64,
    hold_for: Duration,
}

struct Held {
    show: usize,
    seats: Vec<usize>,
    user_id: String,
    state: reservation::State,
    holder: String,
    expires: SystemTime,
    first_sale: u64,
}

/// Which seats someone wants.
pub(super) enum Wanted<'a> {
    /// These.
    Named(&'a [String]),
    /// So many of the best, of one section or of any.
    Best(usize, &'a str),
}

/// Which events someone wants to see.
#[derive(Hash)]
pub(super) struct Filter {
    pub(super) category: String,
    pub(super) city: String,
    /// In lower case.
    pub(super) query: String,
    pub(super) starts_after: Option<SystemTime>,
}

impl Inventory {
    /// The seeded events with every seat free; reservations hold for so long.
    pub(super) fn new(hold_for: Duration, now: SystemTime) -> Self {
        let shows: Vec<Show> = catalogue::events(now).into_iter().map(Show::new).collect();
        let by_id = shows.iter().enumerate().map(|(at, show)| (show.announced.event_id.clone(), at)).collect();
        Self {
            shows,
            by_id,
            reservations: HashMap::new(),
            due: BTreeSet::new(),
            held_by: HashMap::new(),
            sold_to: HashMap::new(),
            sales: 0,
            hold_for,
        }
    }

    /// Events from a position on that pass the filter and have not begun, with their positions; and how many pass in all.
    pub(super) fn events(
        &self,
        filter: &Filter,
        from: usize,
        most: usize,
        now: SystemTime,
    ) -> (Vec<(u64, Event)>, usize) {
        let passes = |show: &Show| {
            let announced = &show.announced;
            announced.start > now
                && (filter.category.is_empty() || announced.category == filter.category)
                && (filter.city.is_empty() || announced.city.eq_ignore_ascii_case(&filter.city))
                && (filter.query.is_empty() || show.lower_name.contains(&filter.query))
                && filter.starts_after.is_none_or(|after| announced.start >= after)
        };
        let mut page = Vec::new();
        let mut total = 0;
        for (at, show) in self.shows.iter().enumerate().filter(|(_, show)| passes(show)) {
            total += 1;
            if at >= from && page.len() < most {
                page.push((at as u64, show.event(now)));
            }
        }
        (page, total)
    }

    /// One event.
    pub(super) fn event(&self, event_id: &str, now: SystemTime) -> Result<Event, Refusal> {
        Ok(self.shows[self.show(event_id)?].event(now))
    }

    /// How many events of each category have not begun.
    pub(super) fn count(&self, category: &str, now: SystemTime) -> usize {
        self.shows.iter().filter(|show| show.announced.category == category && show.announced.start > now).count()
    }

    /// How an event's seats stand.
    pub(super) fn availability(&self, event_id: &str, now: SystemTime) -> Result<EventAvailability, Refusal> {
        Ok(self.shows[self.show(event_id)?].availability(now))
    }

    /// Signals changes of an event's seats, and when it begins.
    pub(super) fn follow(&self, event_id: &str) -> Result<(watch::Receiver<()>, SystemTime), Refusal> {
        let show = &self.shows[self.show(event_id)?];
        Ok((show.changed.subscribe(), show.announced.start))
    }

    /// Free seats from a seat on, with their positions.
    pub(super) fn free(
        &self,
        event_id: &str,
        section: &str,
        from: usize,
        most: usize,
    ) -> Result<Vec<(u64, Ticket)>, Refusal> {
        self.shows[self.show(event_id)?].available(section, from, most)
    }

    /// What a user has bought, newest first, before a sale number.
    pub(super) fn bought(&self, user_id: &str, before: Option<u64>, most: usize) -> Vec<(u64, Ticket)> {
        let Some(sold) = self.sold_to.get(user_id) else { return Vec::new() };
        sold.range(..before.unwrap_or(u64::MAX))
            .rev()
            .take(most)
            .map(|(&sale, &(show, seat))| (sale, self.shows[show].ticket(seat)))
            .collect()
    }

    /// Holds all the wanted seats for a user, or none.
    pub(super) fn reserve(
        &mut self,
        id: String,
        user_id: &str,
        event_id: &str,
        wanted: &Wanted<'_>,
        now: SystemTime,
    ) -> Result<Reservation, Refusal> {
        self.sweep(now);
        let at = self.show(event_id)?;
        let show = &self.shows[at];
        if show.state(now) == event::State::Over {
            return Err(Refusal::state("EVENT_OVER", event_id, "the event has begun; no seat is sold any more"));
        }
        if self.reservations.len() >= MOST {
            return Err(Refusal::full("reservations"));
        }
        if self.held_by.get(user_id).is_some_and(|&held| held >= MOST_HELD) {
            return Err(Refusal::full("reservations of yours that are not booked"));
        }
        let seats = match wanted {
            Wanted::Named(tickets) => show.named(tickets)?,
            Wanted::Best(count, section) => show.best(*count, section)?,
        };
        let expires = now + self.hold_for;
        let held = Held {
            show: at,
            user_id: user_id.to_owned(),
            state: reservation::State::Held,
            holder: String::new(),
            expires,
            first_sale: 0,
            seats,
        };
        self.shows[at].mark(&held.seats, ticket::State::Reserved);
        *self.held_by.entry(held.user_id.clone()).or_default() += 1;
        self.due.insert((expires, id.clone()));
        let answer = self.print(&id, &held);
        self.reservations.insert(id, held);
        Ok(answer)
    }

    /// One reservation.
    pub(super) fn reservation(&mut self, id: &str, now: SystemTime) -> Result<Reservation, Refusal> {
        self.sweep(now);
        let held = self.reservations.get(id).ok_or_else(|| Refusal::not_found("reservation", id))?;
        Ok(self.print(id, held))
    }

    /// Gives a reservation to a holder, until a time. The holder it has may move the time.
    pub(super) fn claim(
        &mut self,
        id: &str,
        user_id: &str,
        holder: &str,
        until: SystemTime,
        now: SystemTime,
    ) -> Result<Reservation, Refusal> {
        self.sweep(now);
        let held = self
            .reservations
            .get_mut(id)
            .filter(|held| held.user_id == user_id)
            .ok_or_else(|| Refusal::not_found("reservation", id))?;
        match held.state {
            reservation::State::Held => released_hold(&mut self.held_by, &held.user_id),
            reservation::State::Claimed if held.holder == holder => {}
            _ => return Err(held.refusal(id)),
        }
        self.due.remove(&(held.expires, id.to_owned()));
        self.due.insert((until, id.to_owned()));
        held.state = reservation::State::Claimed;
        holder.clone_into(&mut held.holder);
        held.expires = until;
        self.reservation(id, now)
    }

    /// Sells the seats that a holder has.
    pub(super) fn sell(&mut self, id: &str, holder: &str, now: SystemTime) -> Result<Reservation, Refusal> {
        self.sweep(now);
        let held = self.reservations.get_mut(id).ok_or_else(|| Refusal::not_found("reservation", id))?;
        match held.state {
            reservation::State::Claimed if held.holder == holder => {}
            reservation::State::Sold if held.holder == holder => return self.reservation(id, now),
            _ => return Err(held.refusal(id)),
        }
        self.due.remove(&(held.expires, id.to_owned()));
        held.state = reservation::State::Sold;
        held.first_sale = self.sales;
        self.sales += held.seats.len() as u64;
        let bought = self.sold_to.entry(held.user_id.clone()).or_default();
        bought.extend((held.first_sale..).zip(held.seats.iter().map(|&seat| (held.show, seat))));
        self.shows[held.show].mark(&held.seats, ticket::State::Sold);
        self.reservation(id, now)
    }

    /// Takes the seats back that a holder has, held or sold. What has ended stays as it is.
    pub(super) fn release(&mut self, id: &str, holder: &str, now: SystemTime) -> Result<Reservation, Refusal> {
        self.sweep(now);
        let held = self.reservations.get(id).ok_or_else(|| Refusal::not_found("reservation", id))?;
        match held.state {
            reservation::State::Released | reservation::State::Expired => {}
            reservation::State::Claimed | reservation::State::Sold if held.holder == holder => {
                self.end(id, reservation::State::Released, now);
            }
            _ => return Err(held.refusal(id)),
        }
        self.reservation(id, now)
    }

    /// Gives back what was held too long, and forgets what ended long ago.
    pub(super) fn sweep(&mut self, now: SystemTime) {
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = self.due.pop_first() else { return };
            match self.reservations.get(&id).map(|held| held.state) {
                Some(reservation::State::Held | reservation::State::Claimed) => {
                    self.end(&id, reservation::State::Expired, now);
                }
                _ => drop(self.reservations.remove(&id)),
            }
        }
    }

    /// Frees a reservation's seats.
    fn end(&mut self, id: &str, state: reservation::State, now: SystemTime) {
        let Some(held) = self.reservations.get_mut(id) else { return };
        match held.state {
            reservation::State::Held => released_hold(&mut self.held_by, &held.user_id),
            reservation::State::Sold => {
                if let Some(bought) = self.sold_to.get_mut(&held.user_id) {
                    bought
                        .retain(|sale, _| !(held.first_sale..held.first_sale + held.seats.len() as u64).contains(sale));
                    if bought.is_empty() {
                        self.sold_to.remove(&held.user_id);
                    }
                }
            }
            _ => {}
        }
        self.shows[held.show].mark(&held.seats, ticket::State::Available);
        self.due.remove(&(held.expires, id.to_owned()));
        self.due.insert((now + REMEMBERED, id.to_owned()));
        held.state = state;
    }

    fn show(&self, event_id: &str) -> Result<usize, Refusal> {
        self.by_id.get(event_id).copied().ok_or_else(|| Refusal::not_found("event", event_id))
    }

    fn print(&self, id: &str, held: &Held) -> Reservation {
        let show = &self.shows[held.show];
        let tickets: Vec<Ticket> = held.seats.iter().map(|&seat| show.ticket(seat)).collect();
        Reservation {
            reservation_id: id.to_owned(),
            event_id: show.announced.event_id.clone(),
            user_id: held.user_id.clone(),
            total: tickets.iter().map(|ticket| ticket.price).sum(),
            tickets,
            currency: show.announced.currency.to_owned(),
            state: held.state.into(),
            expire_time: Some(held.expires.into()),
            high_demand: show.announced.high_demand,
        }
    }
}

impl Held {
    /// Why a reservation in this state cannot be claimed, sold or released.
    fn refusal(&self, id: &str) -> Refusal {
        match self.state {
            reservation::State::Expired => Refusal::state("RESERVATION_EXPIRED", id, "the reservation has expired"),
            reservation::State::Released => Refusal::state("RESERVATION_RELEASED", id, "the seats were given back"),
            reservation::State::Unspecified | reservation::State::Held => {
                Refusal::state("RESERVATION_NOT_BOOKED", id, "the reservation is not booked")
            }
            reservation::State::Claimed | reservation::State::Sold => {
                Refusal::state("RESERVATION_TAKEN", id, "the reservation is booked or queued already")
            }
        }
    }
}

fn released_hold(held_by: &mut HashMap<String, usize>, user_id: &str) {
    if let Some(held) = held_by.get_mut(user_id) {
        *held = held.saturating_sub(1);
        if *held == 0 {
            held_by.remove(user_id);
        }
    }
}
