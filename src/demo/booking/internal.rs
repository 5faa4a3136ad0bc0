//! What the queue and the payment service do with bookings.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::ledger::{holder, payable, take_over};
use super::{Bookings, NAME, end};
use crate::demo::proto::booking::booking_ledger_server::BookingLedger;
use crate::demo::proto::booking::{
    AdmitBookingRequest, Booking, InspectBookingRequest, RevokeBookingRequest, SettleBookingRequest, booking::State,
};
use crate::demo::proto::ticket::ticket_inventory_client::TicketInventoryClient;
use crate::demo::proto::ticket::{ClaimReservationRequest, SellReservationRequest};
use crate::demo::refusal::{Refusal, relayed};
use crate::demo::service::to_the_end;
use crate::demo::token::id;

impl Bookings {
    /// Gives a queue entry its turn. An entry that someone queued without a booking gets one.
    async fn admit(self: Arc<Self>, request: AdmitBookingRequest) -> Result<Booking, Status> {
        let now = self.clock.now();
        let known = self.ledger.lock().of_reservation(&request.reservation_id);
        let booking_id = match &known {
            Some(booking_id) => {
                let allowed = |booking: &Booking| match booking.state() {
                    State::Queued => Ok(true),
                    State::AwaitingPayment if booking.entry_id == request.entry_id => Ok(false),
                    _ => Err(Refusal::state("BOOKING_ENDED", booking_id, "the booking has ended")),
                };
                if self.ledger.lock().start(booking_id, now, allowed)?.is_none() {
                    return Ok(self.ledger.lock().booking(booking_id, now)?);
                }
                booking_id.clone()
            }
            None => {
                let mut booking = Booking {
                    booking_id: id("bkg")?,
                    user_id: request.user_id.clone(),
                    reservation_id: request.reservation_id.clone(),
                    create_time: Some(now.into()),
                    update_time: Some(now.into()),
                    ..Default::default()
                };
                booking.set_state(State::Queued);
                let booking_id = booking.booking_id.clone();
                self.ledger.lock().begin(booking)?;
                booking_id
            }
        };
        let claim = ClaimReservationRequest {
            reservation_id: request.reservation_id,
            user_id: request.user_id,
            holder: request.entry_id.clone(),
            hold_until: request.pay_until,
        };
        match self.claim(claim).await {
            Ok(reservation) => {
                let change = |booking: &mut Booking| {
                    take_over(booking, reservation);
                    booking.set_state(State::AwaitingPayment);
                    booking.entry_id = request.entry_id;
                    booking.position = 0;
                    booking.pay_until = request.pay_until;
                };
                Ok(self.ledger.lock().finish(&booking_id, self.clock.now(), change)?)
            }
            Err(status) => {
                let mut ledger = self.ledger.lock();
                if known.is_none() {
                    ledger.strike(&booking_id);
                } else {
                    ledger.finish(&booking_id, self.clock.now(), |_| ())?;
                }
                Err(status)
            }
        }
    }

    /// Sells the seats of a booking that is being paid for.
    async fn settle(self: Arc<Self>, request: SettleBookingRequest) -> Result<Booking, Status> {
        let SettleBookingRequest { booking_id, payment_id } = request;
        let now = self.clock.now();
        let allowed = |booking: &Booking| {
            let same = booking.state() == State::Confirmed && booking.payment_id == payment_id;
            if same { Ok(false) } else { payable(booking).map(|()| true) }
        };
        let started = self.ledger.lock().start(&booking_id, now, allowed)?;
        let Some(booking) = started else {
            return Ok(self.ledger.lock().booking(&booking_id, now)?);
        };
        let request = SellReservationRequest {
            reservation_id: booking.reservation_id.clone(),
            holder: holder(&booking).to_owned(),
        };
        let sell =
            |channel, request| async move { TicketInventoryClient::new(channel).sell_reservation(request).await };
        let service = self.tokens.service(NAME);
        let sold = match service {
            Ok(service) => self.peers.ticket.call(&service, request, sell).await.map_err(|status| relayed(&status)),
            Err(status) => Err(status),
        };
        let change = |booking: &mut Booking| {
            if let Ok(reservation) = &sold {
                take_over(booking, reservation.clone());
                booking.set_state(State::Confirmed);
                booking.payment_id = payment_id;
                booking.pay_until = None;
            }
        };
        let booking = self.ledger.lock().finish(&booking_id, self.clock.now(), change)?;
        sold.map(|_| booking)
    }

    /// Ends a booking whose payment was returned.
    async fn revoke(self: Arc<Self>, request: RevokeBookingRequest) -> Result<Booking, Status> {
        let RevokeBookingRequest { booking_id, payment_id } = request;
        let now = self.clock.now();
        let allowed = |booking: &Booking| match booking.state() {
            State::Confirmed if booking.payment_id == payment_id => Ok(true),
            State::Cancelled if booking.payment_id == payment_id => Ok(false),
            _ => Err(Refusal::state("OTHER_PAYMENT", &booking_id, "this payment did not pay for the booking")),
        };
        let started = self.ledger.lock().start(&booking_id, now, allowed)?;
        let Some(booking) = started else {
            return Ok(self.ledger.lock().booking(&booking_id, now)?);
        };
        let released = self.release(&booking).await;
        let change = |booking: &mut Booking| {
            if released.is_ok() {
                end(booking);
            }
        };
        let booking = self.ledger.lock().finish(&booking_id, self.clock.now(), change)?;
        released.map(|()| booking)
    }
}

#[tonic::async_trait]
impl BookingLedger for Bookings {
    async fn admit_booking(
        self: Arc<Self>,
        request: Request<AdmitBookingRequest>,
    ) -> Result<Response<Booking>, Status> {
        self.tokens.service_caller(request.metadata())?;
        to_the_end(self.admit(request.into_inner())).await.map(Response::new)
    }

    async fn inspect_booking(
        self: Arc<Self>,
        request: Request<InspectBookingRequest>,
    ) -> Result<Response<Booking>, Status> {
        self.tokens.service_caller(request.metadata())?;
        Ok(Response::new(self.ledger.lock().booking(&request.into_inner().booking_id, self.clock.now())?))
    }

    async fn settle_booking(
        self: Arc<Self>,
        request: Request<SettleBookingRequest>,
    ) -> Result<Response<Booking>, Status> {
        self.tokens.service_caller(request.metadata())?;
        to_the_end(self.settle(request.into_inner())).await.map(Response::new)
    }

    async fn revoke_booking(
        self: Arc<Self>,
        request: Request<RevokeBookingRequest>,
    ) -> Result<Response<Booking>, Status> {
        self.tokens.service_caller(request.metadata())?;
        to_the_end(self.revoke(request.into_inner())).await.map(Response::new)
    }
}
