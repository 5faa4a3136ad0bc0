//! Every booking and the moves it can make: a plain value under one lock.
//!
//! A move that needs another service has two halves. The first marks the booking as busy, so that no other move starts;
//! the second writes down how it went. Whoever finds a booking busy is told to come again.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use tonic::Code;

use crate::demo::proto::booking::{Booking, booking::State};
use crate::demo::proto::ticket::Reservation;
use crate::demo::refusal::Refusal;
use crate::demo::service;

/// Bookings that the demonstration keeps.
const MOST: usize = 100_000;

/// All bookings.
#[derive(Default)]
pub(super) struct Ledger {
    records: HashMap<String, Record>,
    /// The bookings of a user, by the order they were made in.
    by_user: HashMap<String, BTreeMap<u64, String>>,
    by_reservation: HashMap<String, String>,
    made: u64,
}

struct Record {
    booking: Booking,
    order: u64,
    busy: bool,
}

impl Ledger {
    /// Writes a new booking down: busy, until [`Ledger::finish`] or [`Ledger::strike`] is called.
    pub(super) fn begin(&mut self, booking: Booking) -> Result<(), Refusal> {
        if let Some(id) = self.by_reservation.get(&booking.reservation_id) {
            let refusal = Refusal::new(Code::AlreadyExists, "ALREADY_BOOKED", "the reservation is booked already");
            return Err(refusal.resource("booking", id));
        }
        if self.records.len() >= MOST {
            return Err(Refusal::full("bookings"));
        }
        self.made += 1;
        let id = booking.booking_id.clone();
        self.by_user.entry(booking.user_id.clone()).or_default().insert(self.made, id.clone());
        self.by_reservation.insert(booking.reservation_id.clone(), id.clone());
        self.records.insert(id, Record { booking, order: self.made, busy: true });
        Ok(())
    }

    /// Strikes out a booking that came to nothing.
    pub(super) fn strike(&mut self, id: &str) {
        let Some(record) = self.records.remove(id) else { return };
        self.by_reservation.remove(&record.booking.reservation_id);
        if let Some(bookings) = self.by_user.get_mut(&record.booking.user_id) {
            bookings.remove(&record.order);
            if bookings.is_empty() {
                self.by_user.remove(&record.booking.user_id);
            }
        }
    }

    /// Starts a move: the booking as it stands, now busy. `None` if `allowed` finds that there is nothing to do.
    pub(super) fn start(
        &mut self,
        id: &str,
        now: SystemTime,
        allowed: impl FnOnce(&Booking) -> Result<bool, Refusal>,
    ) -> Result<Option<Booking>, Refusal> {
        let record = self.record(id, now)?;
        if record.busy {
            return Err(Refusal::busy("booking"));
        }
        if !allowed(&record.booking)? {
            return Ok(None);
        }
        record.busy = true;
        Ok(Some(record.booking.clone()))
    }

    /// Ends a move: changes the booking and answers it. A move that failed changes nothing.
    pub(super) fn finish(
        &mut self,
        id: &str,
        now: SystemTime,
        change: impl FnOnce(&mut Booking),
    ) -> Result<Booking, Refusal> {
        let record = self.records.get_mut(id).ok_or_else(|| Refusal::not_found("booking", id))?;
        record.busy = false;
        let before = record.booking.clone();
        change(&mut record.booking);
        if record.booking != before {
            record.booking.update_time = Some(now.into());
        }
        Ok(record.booking.clone())
    }

    /// A booking as it stands.
    pub(super) fn booking(&mut self, id: &str, now: SystemTime) -> Result<Booking, Refusal> {
        Ok(self.record(id, now)?.booking.clone())
    }

    /// A booking as it stands, if it is the user's.
    pub(super) fn owned(&mut self, id: &str, user_id: &str, now: SystemTime) -> Result<Booking, Refusal> {
        let booking = self.booking(id, now)?;
        if booking.user_id == user_id { Ok(booking) } else { Err(Refusal::not_found("booking", id)) }
    }

    /// The booking of a reservation.
    pub(super) fn of_reservation(&self, reservation_id: &str) -> Option<String> {
        self.by_reservation.get(reservation_id).cloned()
    }

    /// A user's bookings, newest first, made before the one with this number; with their numbers.
    pub(super) fn list(
        &mut self,
        user_id: &str,
        state: State,
        before: Option<u64>,
        most: usize,
        now: SystemTime,
    ) -> Vec<(u64, Booking)> {
        let Some(made) = self.by_user.get(user_id) else { return Vec::new() };
        let mut page = Vec::new();
        for (&number, id) in made.range(..before.unwrap_or(u64::MAX)).rev() {
            let Some(record) = self.records.get_mut(id) else { continue };
            record.expire(now);
            if state == State::Unspecified || record.booking.state() == state {
                page.push((number, record.booking.clone()));
                if page.len() == most {
                    break;
                }
            }
        }
        page
    }

    fn record(&mut self, id: &str, now: SystemTime) -> Result<&mut Record, Refusal> {
        let record = self.records.get_mut(id).ok_or_else(|| Refusal::not_found("booking", id))?;
        record.expire(now);
        Ok(record)
    }
}

impl Record {
    /// Ends a booking that was not paid for in time. Its seats come back by themselves: they are held for as long.
    fn expire(&mut self, now: SystemTime) {
        if self.busy || self.booking.state() != State::AwaitingPayment {
            return;
        }
        let until = self.booking.pay_until.and_then(|until| service::time("pay_until", until).ok());
        if until.is_some_and(|until| until <= now) {
            self.booking.set_state(State::Expired);
            self.booking.update_time = self.booking.pay_until;
        }
    }
}

/// Whether a booking can be paid for; else why not.
pub(super) fn payable(booking: &Booking) -> Result<(), Refusal> {
    let id = &booking.booking_id;
    Err(match booking.state() {
        State::AwaitingPayment => return Ok(()),
        State::Queued => Refusal::state("NOT_YOUR_TURN", id, "the booking waits in the queue; it is not its turn yet"),
        State::Confirmed => Refusal::state("ALREADY_PAID", id, "the booking is paid for"),
        State::Cancelled => Refusal::state("BOOKING_CANCELLED", id, "the booking was cancelled"),
        State::Expired | State::Unspecified => {
            Refusal::state("BOOKING_EXPIRED", id, "the booking was not paid for in time")
        }
    })
}

/// Fills in what a booking takes from its reservation.
pub(super) fn take_over(booking: &mut Booking, reservation: Reservation) {
    booking.event_id = reservation.event_id;
    booking.total = reservation.total;
    booking.currency = reservation.currency;
    booking.tickets = reservation.tickets;
}

/// Who holds a booking's seats: the queue entry, where there is one.
pub(super) fn holder(booking: &Booking) -> &str {
    if booking.entry_id.is_empty() { &booking.booking_id } else { &booking.entry_id }
}
