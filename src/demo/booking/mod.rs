//! `booking.BookingService` and, for the other services, `booking.BookingLedger`.

mod internal;
mod ledger;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

use self::ledger::{Ledger, holder, take_over};
use super::clock::Clock;
use super::page::Pages;
use super::peer::Peer;
use super::proto::booking::booking_service_server::BookingService;
use super::proto::booking::booking_worker_client::BookingWorkerClient;
use super::proto::booking::{
    Booking, CancelBookingRequest, CreateBookingRequest, EnqueueRequest, GetBookingRequest, GetQueueEntryRequest,
    ListBookingsRequest, ListBookingsResponse, UpdateBookingRequest, booking::State,
};
use super::proto::payment::RefundPaymentRequest;
use super::proto::payment::payment_service_client::PaymentServiceClient;
use super::proto::ticket::ticket_inventory_client::TicketInventoryClient;
use super::proto::ticket::{
    ClaimReservationRequest, GetReservationRequest, ReleaseReservationRequest, Reservation, reservation,
};
use super::refusal::{Refusal, relayed};
use super::service::{created, short, to_the_end};
use super::token::{Caller, Tokens, id};

/// The name in the tokens by which this service proves itself to the others.
const NAME: &str = "booking-service";

/// What an owner can change in a booking.
const CHANGEABLE: [&str; 3] = ["contact_email", "note", "attendee_names"];

/// The bookings that all instances share.
pub(super) struct Bookings {
    tokens: Arc<Tokens>,
    clock: Clock,
    ledger: Mutex<Ledger>,
    pages: Pages,
    pay_within: Duration,
    peers: Peers,
}

/// The services that this one calls.
pub(super) struct Peers {
    pub(super) ticket: Peer,
    pub(super) queue: Peer,
    pub(super) payment: Peer,
}

impl Bookings {
    pub(super) fn new(tokens: Arc<Tokens>, clock: Clock, pay_within: Duration, peers: Peers) -> Arc<Self> {
        Arc::new(Self { tokens, clock, ledger: Mutex::default(), pages: Pages::default(), pay_within, peers })
    }

    /// Books a reservation: at once, or by way of the queue.
    async fn create(self: Arc<Self>, caller: Caller, request: CreateBookingRequest) -> Result<Booking, Status> {
        let reservation = self.reservation(&request.reservation_id).await?;
        if reservation.user_id != caller.user_id {
            return Err(Refusal::not_found("reservation", &request.reservation_id).into());
        }
        if request.attendee_names.len() > reservation.tickets.len() {
            return Err(Refusal::field("attendee_names", "must be at most one a seat").into());
        }
        let booking_id = id("bkg")?;
        let queued = reservation.high_demand;
        let now = self.clock.now();
        let mut booking = Booking {
            booking_id: booking_id.clone(),
            user_id: caller.user_id.clone(),
            reservation_id: request.reservation_id.clone(),
            contact_email: request.contact_email,
            note: request.note,
            attendee_names: request.attendee_names,
            create_time: Some(now.into()),
            update_time: Some(now.into()),
            ..Default::default()
        };
        booking.set_state(if queued { State::Queued } else { State::AwaitingPayment });
        take_over(&mut booking, reservation);
        // Written down before the seats are claimed: of two calls at once the second one sees the first.
        self.ledger.lock().begin(booking)?;
        let booked = if queued {
            self.join_queue(&booking_id, &caller, request.reservation_id).await
        } else {
            self.claim_seats(&booking_id, &caller, request.reservation_id).await
        };
        if booked.is_err() {
            self.ledger.lock().strike(&booking_id);
        }
        booked
    }

    async fn join_queue(&self, booking_id: &str, caller: &Caller, reservation_id: String) -> Result<Booking, Status> {
        let request = EnqueueRequest { reservation_id };
        let enqueue = |channel, request| async move { BookingWorkerClient::new(channel).enqueue(request).await };
        let entry = self.peers.queue.call(&caller.bearer, request, enqueue).await.map_err(|status| relayed(&status))?;
        let change = |booking: &mut Booking| {
            booking.entry_id = entry.entry_id;
            booking.position = entry.position;
        };
        Ok(self.ledger.lock().finish(booking_id, self.clock.now(), change)?)
    }

    async fn claim_seats(&self, booking_id: &str, caller: &Caller, reservation_id: String) -> Result<Booking, Status> {
        let pay_until = self.clock.now() + self.pay_within;
        let request = ClaimReservationRequest {
            reservation_id,
            user_id: caller.user_id.clone(),
            holder: booking_id.to_owned(),
            hold_until: Some(pay_until.into()),
        };
        let reservation = self.claim(request).await?;
        let change = |booking: &mut Booking| {
            take_over(booking, reservation);
            booking.pay_until = Some(pay_until.into());
        };
        Ok(self.ledger.lock().finish(booking_id, self.clock.now(), change)?)
    }

    /// Ends a booking that nobody has paid for.
    async fn cancel(self: Arc<Self>, booking: Booking) -> Result<Booking, Status> {
        let allowed = |booking: &Booking| match booking.state() {
            State::Queued | State::AwaitingPayment => Ok(true),
            State::Cancelled | State::Expired => Ok(false),
            // Paid for since the caller looked.
            State::Confirmed | State::Unspecified => Err(Refusal::busy("booking")),
        };
        let now = self.clock.now();
        let started = self.ledger.lock().start(&booking.booking_id, now, allowed)?;
        let Some(booking) = started else {
            return Ok(self.ledger.lock().booking(&booking.booking_id, now)?);
        };
        let released = self.release(&booking).await;
        let cancel = |booking: &mut Booking| {
            if released.is_ok() {
                end(booking);
            }
        };
        let booking = self.ledger.lock().finish(&booking.booking_id, self.clock.now(), cancel)?;
        released.map(|_| booking)
    }

    /// Lets the payment service return the money; it ends the booking.
    async fn refund(self: Arc<Self>, booking: Booking, bearer: String, reason: String) -> Result<Booking, Status> {
        let request = RefundPaymentRequest { payment_id: booking.payment_id, reason };
        let refund = |channel, request| async move { PaymentServiceClient::new(channel).refund_payment(request).await };
        self.peers.payment.call(&bearer, request, refund).await.map_err(|status| relayed(&status))?;
        Ok(self.ledger.lock().booking(&booking.booking_id, self.clock.now())?)
    }

    async fn reservation(&self, reservation_id: &str) -> Result<Reservation, Status> {
        if reservation_id.is_empty() {
            return Err(Refusal::field("reservation_id", "is needed").into());
        }
        let request = GetReservationRequest { reservation_id: reservation_id.to_owned() };
        let get = |channel, request| async move { TicketInventoryClient::new(channel).get_reservation(request).await };
        self.peers.ticket.call(&self.tokens.service(NAME)?, request, get).await.map_err(|status| relayed(&status))
    }

    async fn claim(&self, request: ClaimReservationRequest) -> Result<Reservation, Status> {
        let claim =
            |channel, request| async move { TicketInventoryClient::new(channel).claim_reservation(request).await };
        self.peers.ticket.call(&self.tokens.service(NAME)?, request, claim).await.map_err(|status| relayed(&status))
    }

    /// Gives a booking's seats back.
    async fn release(&self, booking: &Booking) -> Result<(), Status> {
        let request = ReleaseReservationRequest {
            reservation_id: booking.reservation_id.clone(),
            holder: holder(booking).to_owned(),
        };
        let release =
            |channel, request| async move { TicketInventoryClient::new(channel).release_reservation(request).await };
        let answer = self.peers.ticket.call(&self.tokens.service(NAME)?, request, release).await;
        match answer {
            Ok(reservation) if reservation.state() == reservation::State::Sold => {
                Err(Refusal::busy("reservation").into())
            }
            Ok(_) => Ok(()),
            // Forgotten: its seats came back long ago.
            Err(status) if status.code() == Code::NotFound => Ok(()),
            Err(status) => Err(relayed(&status)),
        }
    }

    /// The caller; a `user_id` in the request can only say the same.
    fn caller(&self, metadata: &MetadataMap, user_id: &str) -> Result<Caller, Refusal> {
        let caller = self.tokens.caller(metadata)?;
        if user_id.is_empty() || user_id == caller.user_id {
            Ok(caller)
        } else {
            Err(Refusal::new(Code::PermissionDenied, "USER_MISMATCH", "user_id names another user than the token"))
        }
    }
}

#[tonic::async_trait]
impl BookingService for Bookings {
    async fn create_booking(
        self: Arc<Self>,
        request: Request<CreateBookingRequest>,
    ) -> Result<Response<Booking>, Status> {
        let caller = self.caller(request.metadata(), &request.get_ref().user_id)?;
        let request = request.into_inner();
        contents(&request.contact_email, &request.note, &request.attendee_names)?;
        to_the_end(self.create(caller, request)).await.map(created)
    }

    async fn list_bookings(
        self: Arc<Self>,
        request: Request<ListBookingsRequest>,
    ) -> Result<Response<ListBookingsResponse>, Status> {
        let user = self.caller(request.metadata(), &request.get_ref().user_id)?.user_id;
        let request = request.into_inner();
        let state = State::try_from(request.state).map_err(|_| Refusal::field("state", "is not a state"))?;
        let list = ("bookings", &user, request.state);
        let (size, before) = self.pages.open(request.page_size, &request.page_token, list)?;
        let mut page = self.ledger.lock().list(&user, state, before, size + 1, self.clock.now());
        let more = page.len() > size;
        page.truncate(size);
        let last = page.last().filter(|_| more).map(|(number, _)| *number);
        let next_page_token = last.map(|number| self.pages.token(number, list)).unwrap_or_default();
        let bookings = page.into_iter().map(|(_, booking)| booking).collect();
        Ok(Response::new(ListBookingsResponse { bookings, next_page_token }))
    }

    async fn get_booking(self: Arc<Self>, request: Request<GetBookingRequest>) -> Result<Response<Booking>, Status> {
        let caller = self.caller(request.metadata(), &request.get_ref().user_id)?;
        let id = request.into_inner().booking_id;
        let mut booking = self.ledger.lock().owned(&id, &caller.user_id, self.clock.now())?;
        if booking.state() == State::Queued && !booking.entry_id.is_empty() {
            let request = GetQueueEntryRequest { entry_id: booking.entry_id.clone() };
            let get =
                |channel, request| async move { BookingWorkerClient::new(channel).get_queue_entry(request).await };
            // The queue moves on by itself; if it does not answer, the place last known is still the best answer.
            if let Ok(entry) = self.peers.queue.call(&caller.bearer, request, get).await {
                booking.position = entry.position;
            }
        }
        Ok(Response::new(booking))
    }

    async fn update_booking(
        self: Arc<Self>,
        request: Request<UpdateBookingRequest>,
    ) -> Result<Response<Booking>, Status> {
        let caller = self.caller(request.metadata(), &request.get_ref().user_id)?;
        let request = request.into_inner();
        let wish = request.booking.unwrap_or_default();
        let mask = match request.update_mask {
            Some(mask) if !mask.paths.is_empty() => named(mask.paths)?,
            _ => implied(&request.booking_id, &wish)?,
        };
        contents(&wish.contact_email, &wish.note, &wish.attendee_names)?;
        let changes = |field: &str| mask.iter().any(|path| path == field || path == "*");
        let now = self.clock.now();
        let mut ledger = self.ledger.lock();
        let booking = ledger.owned(&request.booking_id, &caller.user_id, now)?;
        if changes("attendee_names") && wish.attendee_names.len() > booking.tickets.len() {
            return Err(Refusal::field("booking.attendee_names", "must be at most one a seat").into());
        }
        ledger.start(&request.booking_id, now, |booking| match booking.state() {
            State::Queued | State::AwaitingPayment | State::Confirmed => Ok(true),
            State::Unspecified | State::Cancelled | State::Expired => {
                Err(Refusal::state("BOOKING_ENDED", &booking.booking_id, "the booking has ended"))
            }
        })?;
        let change = |booking: &mut Booking| {
            if changes("contact_email") {
                booking.contact_email = wish.contact_email;
            }
            if changes("note") {
                booking.note = wish.note;
            }
            if changes("attendee_names") {
                booking.attendee_names = wish.attendee_names;
            }
        };
        Ok(Response::new(ledger.finish(&request.booking_id, now, change)?))
    }

    async fn cancel_booking(
        self: Arc<Self>,
        request: Request<CancelBookingRequest>,
    ) -> Result<Response<Booking>, Status> {
        let caller = self.caller(request.metadata(), &request.get_ref().user_id)?;
        let request = request.into_inner();
        short("reason", &request.reason, 500)?;
        let booking = self.ledger.lock().owned(&request.booking_id, &caller.user_id, self.clock.now())?;
        let ended = if booking.state() == State::Confirmed {
            to_the_end(self.refund(booking, caller.bearer, request.reason)).await?
        } else {
            to_the_end(self.cancel(booking)).await?
        };
        Ok(Response::new(ended))
    }
}

/// Ends a booking whose seats were given back.
fn end(booking: &mut Booking) {
    booking.set_state(State::Cancelled);
    booking.position = 0;
    booking.pay_until = None;
}

/// The fields of a mask, if all of them can be changed.
fn named(mask: Vec<String>) -> Result<Vec<String>, Refusal> {
    match mask.iter().find(|path| *path != "*" && !CHANGEABLE.contains(&path.as_str())) {
        None => Ok(mask),
        Some(wrong) => {
            let message = format!("{wrong:.100} cannot be changed, only contact_email, note and attendee_names");
            Err(Refusal::field("update_mask", &message))
        }
    }
}

/// The fields that a wish has, where it comes without a mask (AIP-134); one that cannot be changed is not read over.
fn implied(booking_id: &str, wish: &Booking) -> Result<Vec<String>, Refusal> {
    let changeable = Booking {
        contact_email: wish.contact_email.clone(),
        note: wish.note.clone(),
        attendee_names: wish.attendee_names.clone(),
        booking_id: wish.booking_id.clone(),
        ..Default::default()
    };
    if *wish != changeable || !(wish.booking_id.is_empty() || wish.booking_id == booking_id) {
        return Err(Refusal::field("booking", "can change in contact_email, note and attendee_names only"));
    }
    let has = [!wish.contact_email.is_empty(), !wish.note.is_empty(), !wish.attendee_names.is_empty()];
    let mask: Vec<_> =
        CHANGEABLE.into_iter().zip(has).filter(|(_, has)| *has).map(|(field, _)| field.to_owned()).collect();
    if mask.is_empty() {
        return Err(Refusal::field("update_mask", "is needed to make a field empty; otherwise send what changes"));
    }
    Ok(mask)
}

/// Refuses what a booking must not contain.
fn contents(contact_email: &str, note: &str, attendee_names: &[String]) -> Result<(), Refusal> {
    short("contact_email", contact_email, 254)?;
    short("note", note, 500)?;
    attendee_names.iter().try_for_each(|name| short("attendee_names", name, 100))
}
