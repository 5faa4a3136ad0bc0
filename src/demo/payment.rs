//! `payment.PaymentService`: money for bookings, once a key.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tonic::{Code, Request, Response, Status};

use super::clock::Clock;
use super::peer::Peer;
use super::proto::booking::booking_ledger_client::BookingLedgerClient;
use super::proto::booking::booking_service_client::BookingServiceClient;
use super::proto::booking::{Booking, GetBookingRequest, RevokeBookingRequest, SettleBookingRequest};
use super::proto::payment::payment_service_server::PaymentService;
use super::proto::payment::process_payment_request::Method;
use super::proto::payment::{
    GetPaymentStatusRequest, Payment, ProcessPaymentRequest, RefundPaymentRequest, payment::State,
};
use super::refusal::{Refusal, relayed};
use super::service::{created, short, to_the_end};
use super::token::{Caller, Tokens, id};

/// The name in the tokens by which this service proves itself to the others.
const NAME: &str = "payment-service";

/// The card that its provider declines.
const DECLINED: &str = "tok_declined";

/// Payments and keys that the demonstration keeps.
const MOST: usize = 100_000;

/// How long a key is remembered.
const KEYS_LIVE: Duration = Duration::from_secs(24 * 60 * 60);

/// The payments that all instances share.
pub(super) struct Payments {
    tokens: Arc<Tokens>,
    clock: Clock,
    books: Mutex<Books>,
    booking: Peer,
}

#[derive(Default)]
struct Books {
    payments: HashMap<String, Payment>,
    /// By user and key.
    purchases: HashMap<(String, String), Arc<Purchase>>,
}

/// What was asked for under a key, and how it ended. Whoever asks again waits for the same end.
struct Purchase {
    request: ProcessPaymentRequest,
    payment_id: String,
    since: SystemTime,
    end: tokio::sync::Mutex<Option<End>>,
}

enum End {
    Paid,
    Declined,
}

impl Payments {
    pub(super) fn new(tokens: Arc<Tokens>, clock: Clock, booking: Peer) -> Arc<Self> {
        Arc::new(Self { tokens, clock, books: Mutex::default(), booking })
    }

    /// Pays once; whether this call did it, and the payment.
    async fn process(
        self: Arc<Self>,
        caller: Caller,
        request: ProcessPaymentRequest,
    ) -> Result<(bool, Payment), Status> {
        let key = (caller.user_id.clone(), request.idempotency_key.clone());
        let purchase = self.books.lock().purchase(&key, &request, self.clock.now())?;
        let mut end = purchase.end.lock().await;
        let new = end.is_none();
        if new {
            match self.pay(&caller, &request, &purchase.payment_id).await {
                Ok(ended) => {
                    *end = Some(ended);
                    self.books.lock().purchases.insert(key, Arc::clone(&purchase));
                }
                // Nobody knows whether the seats were sold: a connection may break after the booking was settled, which
                // arrives as a fault as often as an absence. The key stands for this payment until it is asked again, and
                // settling it twice is settling it once.
                Err(status) if matches!(status.code(), Code::Unavailable | Code::Internal) => return Err(status),
                Err(status) => {
                    // Nothing was paid, and the way may be free later: the key is as good as new.
                    self.books.lock().purchases.remove(&key);
                    return Err(status);
                }
            }
        }
        match &*end {
            Some(End::Paid) => Ok((new, self.books.lock().payment(&purchase.payment_id, &caller.user_id)?)),
            _ => {
                let message = "the card was declined; try another one under a new idempotency_key";
                Err(Refusal::state("CARD_DECLINED", &request.booking_id, message).into())
            }
        }
    }

    async fn pay(&self, caller: &Caller, request: &ProcessPaymentRequest, payment_id: &str) -> Result<End, Status> {
        let get = GetBookingRequest { booking_id: request.booking_id.clone(), ..Default::default() };
        let booking = self.call_booking(&caller.bearer, get).await?;
        if request.amount.is_some_and(|amount| amount != booking.total) {
            let wrong = format!("must be the booking's total, {}", booking.total);
            return Err(Refusal::field("amount", &wrong).into());
        }
        if !request.currency.is_empty() && request.currency != booking.currency {
            return Err(Refusal::field("currency", &format!("must be {}", booking.currency)).into());
        }
        if matches!(&request.method, Some(Method::CardToken(card)) if card == DECLINED) {
            return Ok(End::Declined);
        }
        // The booking decides whether it can be paid for, and sells its seats in the same breath. Only then is there a
        // payment; were there an account to charge, the charge would be captured here.
        let settle = SettleBookingRequest { booking_id: request.booking_id.clone(), payment_id: payment_id.to_owned() };
        let call = |channel, request| async move { BookingLedgerClient::new(channel).settle_booking(request).await };
        self.booking.call(&self.tokens.service(NAME)?, settle, call).await.map_err(|status| relayed(&status))?;
        let payment = Payment {
            payment_id: payment_id.to_owned(),
            booking_id: booking.booking_id,
            user_id: caller.user_id.clone(),
            amount: booking.total,
            currency: booking.currency,
            state: State::Succeeded.into(),
            idempotency_key: request.idempotency_key.clone(),
            create_time: Some(self.clock.now().into()),
            refund_time: None,
        };
        self.books.lock().payments.insert(payment_id.to_owned(), payment);
        Ok(End::Paid)
    }

    async fn call_booking(&self, bearer: &str, request: GetBookingRequest) -> Result<Booking, Status> {
        let get = |channel, request| async move { BookingServiceClient::new(channel).get_booking(request).await };
        self.booking.call(bearer, request, get).await.map_err(|status| relayed(&status))
    }

    /// Ends the booking, then returns the money. Asked twice at once, it does so once.
    async fn refund(self: Arc<Self>, payment: Payment) -> Result<Payment, Status> {
        let request =
            RevokeBookingRequest { booking_id: payment.booking_id.clone(), payment_id: payment.payment_id.clone() };
        let call = |channel, request| async move { BookingLedgerClient::new(channel).revoke_booking(request).await };
        self.booking.call(&self.tokens.service(NAME)?, request, call).await.map_err(|status| relayed(&status))?;
        let mut books = self.books.lock();
        let kept = books
            .payments
            .get_mut(&payment.payment_id)
            .ok_or_else(|| Refusal::not_found("payment", &payment.payment_id))?;
        if kept.state() != State::Refunded {
            kept.set_state(State::Refunded);
            kept.refund_time = Some(self.clock.now().into());
        }
        Ok(kept.clone())
    }
}

impl Books {
    /// The purchase under a key, which must be this very request.
    fn purchase(
        &mut self,
        key: &(String, String),
        request: &ProcessPaymentRequest,
        now: SystemTime,
    ) -> Result<Arc<Purchase>, Status> {
        if let Some(known) = self.purchases.get(key) {
            return if known.request == *request {
                Ok(Arc::clone(known))
            } else {
                let message = "idempotency_key was used for another request";
                Err(Refusal::new(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED", message).into())
            };
        }
        if self.purchases.len() >= MOST || self.payments.len() >= MOST {
            self.purchases.retain(|_, purchase| purchase.since + KEYS_LIVE > now);
            if self.purchases.len() >= MOST || self.payments.len() >= MOST {
                return Err(Refusal::full("payments").into());
            }
        }
        let purchase = Arc::new(Purchase {
            request: request.clone(),
            payment_id: id("pay")?,
            since: now,
            end: tokio::sync::Mutex::new(None),
        });
        self.purchases.insert(key.clone(), Arc::clone(&purchase));
        Ok(purchase)
    }

    fn payment(&self, id: &str, user_id: &str) -> Result<Payment, Refusal> {
        let payment = self.payments.get(id).filter(|payment| payment.user_id == user_id);
        payment.cloned().ok_or_else(|| Refusal::not_found("payment", id))
    }
}

#[tonic::async_trait]
impl PaymentService for Payments {
    async fn process_payment(
        self: Arc<Self>,
        request: Request<ProcessPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let caller = self.tokens.caller(request.metadata())?;
        let request = request.into_inner();
        check(&request)?;
        let (new, payment) = to_the_end(self.process(caller, request)).await?;
        Ok(if new { created(payment) } else { Response::new(payment) })
    }

    async fn get_payment_status(
        self: Arc<Self>,
        request: Request<GetPaymentStatusRequest>,
    ) -> Result<Response<Payment>, Status> {
        let caller = self.tokens.caller(request.metadata())?;
        Ok(Response::new(self.books.lock().payment(&request.into_inner().payment_id, &caller.user_id)?))
    }

    async fn refund_payment(
        self: Arc<Self>,
        request: Request<RefundPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let caller = self.tokens.caller(request.metadata())?;
        let request = request.into_inner();
        short("reason", &request.reason, 500)?;
        let payment = self.books.lock().payment(&request.payment_id, &caller.user_id)?;
        if payment.state() == State::Refunded {
            return Ok(Response::new(payment));
        }
        to_the_end(self.refund(payment)).await.map(Response::new)
    }
}

/// Names every field of a payment that cannot be.
fn check(request: &ProcessPaymentRequest) -> Result<(), Refusal> {
    let mut wrong = Vec::new();
    if request.booking_id.is_empty() {
        wrong.push(("booking_id", "is needed"));
    }
    let key = request.idempotency_key.as_bytes();
    if !(1..=64).contains(&key.len()) || !key.iter().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(c)) {
        wrong.push(("idempotency_key", "must be 1 to 64 of A-Z a-z 0-9 . _ -"));
    }
    let is_token = |token: &str, prefix| token.starts_with(prefix) && token.len() <= 64;
    match &request.method {
        None => wrong.push(("card_token", "say where the money comes from: card_token or wallet_token")),
        Some(Method::CardToken(card)) if !is_token(card, "tok_") => wrong.push(("card_token", "must be tok_…")),
        Some(Method::WalletToken(wallet)) if !is_token(wallet, "wal_") => wrong.push(("wallet_token", "must be wal_…")),
        Some(_) => {}
    }
    if wrong.is_empty() { Ok(()) } else { Err(Refusal::fields(&wrong)) }
}

#[cfg(test)]
mod tests;
