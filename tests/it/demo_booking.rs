//! Bookings, the queue in front of them, and payments.

use std::time::Duration;

use prost_types::FieldMask;
use tonic::Code;
use transom::demo::proto::booking::booking::State;
use transom::demo::proto::booking::queue_entry::State as Entry;
use transom::demo::proto::booking::{
    Booking, CancelBookingRequest, CreateBookingRequest, EnqueueRequest, GetBookingRequest, GetQueueEntryRequest,
    ListBookingsRequest, UpdateBookingRequest,
};
use transom::demo::proto::google::rpc;
use transom::demo::proto::payment::payment::State as Paid;
use transom::demo::proto::payment::process_payment_request::Method;
use transom::demo::proto::payment::{GetPaymentStatusRequest, RefundPaymentRequest};

use crate::demo_client::{EVENT, HOT, Person, System, payment, refused, system};
use crate::support::{soon, until};

async fn cancel(system: &System, person: &Person, booking_id: &str) -> Result<Booking, tonic::Status> {
    let request = CancelBookingRequest { booking_id: booking_id.to_owned(), ..Default::default() };
    system.bookings().cancel_booking(person.says(request)).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn seats_are_reserved_booked_and_paid_for() {
    let system = system().await;
    let person = system.person("buyer").await;
    let before = system.event(EVENT).await.available_seats;
    let reservation = system.reserve(&person, EVENT, 2).await.unwrap();
    let request = CreateBookingRequest {
        reservation_id: reservation.reservation_id.clone(),
        note: "near the exit".to_owned(),
        ..Default::default()
    };

    let created = system.bookings().create_booking(person.says(request)).await.unwrap();
    assert_eq!(created.metadata().get("x-http-code").unwrap(), "201");
    let booking = created.into_inner();
    assert_eq!((booking.state(), booking.total), (State::AwaitingPayment, reservation.total));
    let paid = system.payments().process_payment(person.says(payment(&booking.booking_id, "k1"))).await.unwrap();
    assert_eq!(paid.metadata().get("x-http-code").unwrap(), "201");
    let paid = paid.into_inner();

    assert_eq!((paid.state(), paid.amount, paid.currency.as_str()), (Paid::Succeeded, booking.total, "EUR"));
    let booking = system.booking(&person, &booking.booking_id).await.unwrap();
    assert_eq!((booking.state(), booking.payment_id.as_str()), (State::Confirmed, paid.payment_id.as_str()));
    assert_eq!(system.event(EVENT).await.available_seats, before - 2);
    system.hand.advance(Duration::from_secs(10 * 60));
    assert_eq!(system.event(EVENT).await.available_seats, before - 2, "what is sold does not expire");
}

#[tokio::test]
async fn a_reservation_is_booked_once() {
    let system = system().await;
    let person = system.person("twice").await;
    let stranger = system.person("stranger").await;
    let reservation = system.reserve(&person, EVENT, 1).await.unwrap().reservation_id;

    assert_eq!(refused(system.book(&stranger, &reservation).await).code, Code::NotFound);
    let (first, second) = tokio::join!(system.book(&person, &reservation), system.book(&person, &reservation));
    let (booked, refusal) = if first.is_ok() { (first, second) } else { (second, first) };

    let refusal = refused(refusal);
    assert_eq!((refusal.code, refusal.reason.as_str()), (Code::AlreadyExists, "ALREADY_BOOKED"));
    let resource: rpc::ResourceInfo = refusal.detail("ResourceInfo");
    assert_eq!(resource.resource_name, booked.unwrap().booking_id);
}

#[tokio::test]
async fn an_expired_reservation_cannot_be_booked() {
    let system = system().await;
    let person = system.person("slow").await;
    let reservation = system.reserve(&person, EVENT, 1).await.unwrap().reservation_id;
    system.hand.advance(Duration::from_secs(10 * 60));
    let refused = refused(system.book(&person, &reservation).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "RESERVATION_EXPIRED"));
}

#[tokio::test]
async fn a_booking_that_is_not_paid_for_expires() {
    let system = system().await;
    let person = system.person("idle").await;
    let before = system.event(EVENT).await.available_seats;
    let booking = system.reserve_and_book(&person, EVENT, 2).await;

    system.hand.advance(Duration::from_secs(5 * 60));

    assert_eq!(system.booking(&person, &booking.booking_id).await.unwrap().state(), State::Expired);
    until("the seats come back", async || system.event(EVENT).await.available_seats == before).await;
    let refused = refused(system.pay(&person, &booking.booking_id, "k").await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "BOOKING_EXPIRED"));
}

#[tokio::test]
async fn a_stranger_sees_no_booking_and_no_payment() {
    let system = system().await;
    let (owner, stranger) = (system.person("owner").await, system.person("snoop").await);
    let booking = system.reserve_and_book(&owner, EVENT, 1).await.booking_id;
    let paid = system.pay(&owner, &booking, "k").await.unwrap().payment_id;

    assert_eq!(refused(system.booking(&stranger, &booking).await).code, Code::NotFound);
    assert_eq!(refused(cancel(&system, &stranger, &booking).await).code, Code::NotFound);
    assert_eq!(refused(system.pay(&stranger, &booking, "k").await).code, Code::NotFound);
    let status = GetPaymentStatusRequest { payment_id: paid.clone() };
    assert_eq!(refused(system.payments().get_payment_status(stranger.says(status)).await).code, Code::NotFound);
    let refund = RefundPaymentRequest { payment_id: paid, ..Default::default() };
    assert_eq!(refused(system.payments().refund_payment(stranger.says(refund)).await).code, Code::NotFound);
    let as_owner = GetBookingRequest { booking_id: booking, user_id: owner.user_id };
    let refused = refused(system.bookings().get_booking(stranger.says(as_owner)).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "USER_MISMATCH"));
}

#[tokio::test]
async fn bookings_are_listed_newest_first_in_pages() {
    let system = system().await;
    let person = system.person("regular").await;
    let mut made = Vec::new();
    for number in 1..=5 {
        made.push(system.reserve_and_book(&person, &format!("evt-01{number}"), 1).await.booking_id);
    }
    cancel(&system, &person, &made[1]).await.unwrap();
    let list = async |state: State| {
        let mut request = ListBookingsRequest { page_size: 2, state: state.into(), ..Default::default() };
        let mut all = Vec::new();
        loop {
            let page = system.bookings().list_bookings(person.says(request.clone())).await.unwrap().into_inner();
            all.extend(page.bookings.into_iter().map(|booking| booking.booking_id));
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    };

    let newest_first: Vec<_> = made.iter().rev().cloned().collect();
    assert_eq!(list(State::Unspecified).await, newest_first);
    assert_eq!(list(State::Cancelled).await, [made[1].clone()]);
    assert_eq!(list(State::AwaitingPayment).await.len(), 4);
    let strange = ListBookingsRequest { state: 77, ..Default::default() };
    assert_eq!(refused(system.bookings().list_bookings(person.says(strange)).await).fields(), ["state"]);
}

#[tokio::test]
async fn an_update_changes_what_the_mask_names() {
    let system = system().await;
    let person = system.person("editor").await;
    let booking = system.reserve_and_book(&person, EVENT, 1).await;
    let update = async |paths: &[&str]| {
        let wish = Booking {
            note: "aisle".to_owned(),
            contact_email: "new@example.com".to_owned(),
            attendee_names: vec!["A".to_owned()],
            state: State::Confirmed.into(),
            ..Default::default()
        };
        let request = UpdateBookingRequest {
            booking_id: booking.booking_id.clone(),
            booking: Some(wish),
            update_mask: Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
            ..Default::default()
        };
        system.bookings().update_booking(person.says(request)).await.map(tonic::Response::into_inner)
    };

    let changed = update(&["note"]).await.unwrap();
    assert_eq!((changed.note.as_str(), changed.contact_email.as_str()), ("aisle", ""));
    let changed = update(&["*"]).await.unwrap();
    assert_eq!((changed.contact_email.as_str(), changed.attendee_names.len()), ("new@example.com", 1));
    assert_eq!(changed.state(), State::AwaitingPayment);
    for wrong in [&["state"][..], &["note", "total"], &["no.such"]] {
        assert_eq!(refused(update(wrong).await).fields(), ["update_mask"]);
    }
    // Without a mask the wish's own fields are meant, and it has a state.
    assert_eq!(refused(update(&[]).await).fields(), ["booking"]);
    cancel(&system, &person, &booking.booking_id).await.unwrap();
    assert_eq!(refused(update(&["note"]).await).reason, "BOOKING_ENDED");
}

#[tokio::test]
async fn cancelling_gives_seats_back_once() {
    let system = system().await;
    let person = system.person("fickle").await;
    let before = system.event(EVENT).await.available_seats;
    let booking = system.reserve_and_book(&person, EVENT, 2).await.booking_id;

    let cancelled = cancel(&system, &person, &booking).await.unwrap();
    assert_eq!(cancelled.state(), State::Cancelled);
    assert_eq!(system.event(EVENT).await.available_seats, before);
    let other = system.reserve(&system.person("quick").await, EVENT, 2).await.unwrap();
    assert_eq!(cancel(&system, &person, &booking).await.unwrap(), cancelled);
    assert_eq!(system.event(EVENT).await.available_seats, before - 2, "{}", other.reservation_id);
    assert_eq!(refused(system.pay(&person, &booking, "k").await).reason, "BOOKING_CANCELLED");
}

#[tokio::test]
async fn cancelling_what_is_paid_for_refunds_it() {
    let system = system().await;
    let person = system.person("sorry").await;
    let before = system.event(EVENT).await.available_seats;
    let booking = system.reserve_and_book(&person, EVENT, 1).await.booking_id;
    let paid = system.pay(&person, &booking, "k").await.unwrap();

    assert_eq!(cancel(&system, &person, &booking).await.unwrap().state(), State::Cancelled);

    let status = GetPaymentStatusRequest { payment_id: paid.payment_id };
    let payment = system.payments().get_payment_status(person.says(status)).await.unwrap().into_inner();
    assert_eq!(payment.state(), Paid::Refunded);
    assert_eq!(system.event(EVENT).await.available_seats, before);
}

#[tokio::test]
async fn a_payment_happens_once_a_key() {
    let system = system().await;
    let person = system.person("double").await;
    let booking = system.reserve_and_book(&person, EVENT, 1).await.booking_id;

    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (mut payments, request) = (system.payments(), person.says(payment(&booking, "one-key")));
            tokio::spawn(async move { payments.process_payment(request).await.unwrap() })
        })
        .collect();
    let mut ids = Vec::new();
    let mut created = 0;
    for call in calls {
        let answer = call.await.unwrap();
        created += usize::from(answer.metadata().contains_key("x-http-code"));
        ids.push(answer.into_inner().payment_id);
    }
    ids.dedup();
    assert_eq!((ids.len(), created), (1, 1));

    let other = system.reserve_and_book(&person, EVENT, 1).await.booking_id;
    let reused = refused(system.pay(&person, &other, "one-key").await);
    assert_eq!((reused.code, reused.reason.as_str()), (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED"));
    let paid_already = refused(system.pay(&person, &booking, "another-key").await);
    assert_eq!((paid_already.code, paid_already.reason.as_str()), (Code::FailedPrecondition, "ALREADY_PAID"));
}

#[tokio::test]
async fn of_two_payments_for_one_booking_one_succeeds() {
    let system = system().await;
    let person = system.person("eager").await;
    let booking = system.reserve_and_book(&person, EVENT, 1).await.booking_id;
    let (first, second) = tokio::join!(system.pay(&person, &booking, "a"), system.pay(&person, &booking, "b"));
    assert!(first.is_ok() != second.is_ok());
}

#[tokio::test]
async fn a_payment_that_cannot_be_is_refused_and_its_key_stays_free() {
    let system = system().await;
    let person = system.person("typo").await;
    let booking = system.reserve_and_book(&person, EVENT, 1).await;
    let pay = async |amount, currency: &str, method: Option<Method>, key: &str| {
        let mut request = payment(&booking.booking_id, key);
        request.amount = amount;
        request.currency = currency.to_owned();
        request.method = method;
        system.payments().process_payment(person.says(request)).await.map(tonic::Response::into_inner)
    };
    let card = |token: &str| Some(Method::CardToken(token.to_owned()));

    assert_eq!(refused(pay(Some(1), "", card("tok_visa"), "k").await).fields(), ["amount"]);
    assert_eq!(refused(pay(None, "XXX", card("tok_visa"), "k").await).fields(), ["currency"]);
    assert_eq!(refused(pay(None, "", None, "").await).fields(), ["idempotency_key", "card_token"]);
    assert_eq!(refused(pay(None, "", card("4111111111111111"), "k").await).fields(), ["card_token"]);
    let declined = refused(pay(None, "", card("tok_declined"), "declined").await);
    assert_eq!((declined.code, declined.reason.as_str()), (Code::FailedPrecondition, "CARD_DECLINED"));
    let again = refused(pay(None, "", card("tok_declined"), "declined").await);
    assert_eq!(again.reason, "CARD_DECLINED");
    let wallet = Some(Method::WalletToken("wal_1".to_owned()));
    assert!(pay(Some(booking.total), &booking.currency, wallet, "k").await.is_ok());
}

#[tokio::test]
async fn a_refund_happens_once() {
    let system = system().await;
    let person = system.person("regret").await;
    let before = system.event(EVENT).await.available_seats;
    let booking = system.reserve_and_book(&person, EVENT, 3).await.booking_id;
    let paid = system.pay(&person, &booking, "k").await.unwrap();
    let refund = async || {
        let request = RefundPaymentRequest { payment_id: paid.payment_id.clone(), ..Default::default() };
        system.payments().refund_payment(person.says(request)).await.map(tonic::Response::into_inner)
    };

    let first = refund().await.unwrap();
    system.hand.advance(Duration::from_secs(60));
    let second = refund().await.unwrap();

    assert_eq!(first.state(), Paid::Refunded);
    assert_eq!(first, second);
    assert_eq!(system.event(EVENT).await.available_seats, before);
    assert_eq!(system.booking(&person, &booking).await.unwrap().state(), State::Cancelled);
    let replay = system.pay(&person, &booking, "k").await.unwrap();
    assert_eq!((replay.payment_id, replay.state), (paid.payment_id, Paid::Refunded.into()));
}

#[tokio::test]
async fn an_event_in_high_demand_is_booked_in_turn() {
    let system = system().await;
    let mut people = Vec::new();
    let mut bookings = Vec::new();
    for number in 0..5 {
        let person = system.person(&format!("queue-{number}")).await;
        bookings.push(system.reserve_and_book(&person, HOT, 2).await);
        people.push(person);
    }
    assert!(bookings.iter().all(|booking| booking.state() == State::Queued && !booking.entry_id.is_empty()));

    // Three may pay at once; their turn comes without anyone's doing.
    for at in 0..3 {
        let seen = soon("a turn", system.wait_for_turn(&people[at], &bookings[at].entry_id)).await;
        let turn = seen.last().unwrap();
        assert_eq!((turn.state(), turn.position), (Entry::Turn, 0));
        assert_eq!(turn.booking_id, bookings[at].booking_id);
        assert!(turn.pay_until.is_some());
    }
    let waiting = system.booking(&people[3], &bookings[3].booking_id).await.unwrap();
    assert_eq!((waiting.state(), waiting.position), (State::Queued, 1));
    let early = refused(system.pay(&people[3], &waiting.booking_id, "early").await);
    assert_eq!((early.code, early.reason.as_str()), (Code::FailedPrecondition, "NOT_YOUR_TURN"));

    system.pay(&people[0], &bookings[0].booking_id, "k").await.unwrap();
    system.hand.advance(Duration::from_secs(1));
    soon("the next turn", system.wait_for_turn(&people[3], &bookings[3].entry_id)).await;
    system.pay(&people[3], &bookings[3].booking_id, "early").await.unwrap();

    let request = GetQueueEntryRequest { entry_id: bookings[0].entry_id.clone() };
    let entry = system.queue().get_queue_entry(people[0].says(request.clone())).await.unwrap().into_inner();
    assert_eq!(entry.state(), Entry::Done);
    assert_eq!(refused(system.queue().get_queue_entry(people[1].says(request)).await).code, Code::NotFound);
}

#[tokio::test]
async fn who_does_not_pay_in_time_loses_the_turn_and_the_seats() {
    let system = system().await;
    let mut people = Vec::new();
    let mut bookings = Vec::new();
    for number in 0..4 {
        let person = system.person(&format!("sleepy-{number}")).await;
        bookings.push(system.reserve_and_book(&person, HOT, 1).await);
        people.push(person);
    }
    for at in 0..3 {
        soon("a turn", system.wait_for_turn(&people[at], &bookings[at].entry_id)).await;
    }

    system.hand.advance(Duration::from_secs(5 * 60));
    soon("the last one's turn", system.wait_for_turn(&people[3], &bookings[3].entry_id)).await;

    let lost = GetQueueEntryRequest { entry_id: bookings[0].entry_id.clone() };
    let lost = system.queue().get_queue_entry(people[0].says(lost)).await.unwrap().into_inner();
    assert_eq!(lost.state(), Entry::Lost);
    assert_eq!(system.booking(&people[0], &bookings[0].booking_id).await.unwrap().state(), State::Expired);
    assert_eq!(refused(system.pay(&people[0], &bookings[0].booking_id, "k").await).reason, "BOOKING_EXPIRED");
    system.pay(&people[3], &bookings[3].booking_id, "k").await.unwrap();
}

#[tokio::test]
async fn a_cancelled_booking_leaves_the_queue() {
    let system = system().await;
    let mut people = Vec::new();
    let mut bookings = Vec::new();
    for number in 0..5 {
        let person = system.person(&format!("leaver-{number}")).await;
        bookings.push(system.reserve_and_book(&person, HOT, 1).await);
        people.push(person);
    }
    soon("a turn", system.wait_for_turn(&people[2], &bookings[2].entry_id)).await;
    let before = system.event(HOT).await.available_seats;

    cancel(&system, &people[3], &bookings[3].booking_id).await.unwrap();
    assert_eq!(system.event(HOT).await.available_seats, before + 1);
    cancel(&system, &people[0], &bookings[0].booking_id).await.unwrap();
    system.hand.advance(Duration::from_secs(1));

    let seen = soon("the last one's turn", system.wait_for_turn(&people[4], &bookings[4].entry_id)).await;
    assert_eq!(seen.last().unwrap().state(), Entry::Turn);
    let left = soon("the end", system.wait_for_turn(&people[3], &bookings[3].entry_id)).await;
    assert_eq!(left.last().unwrap().state(), Entry::Lost);
}

#[tokio::test]
async fn who_queues_without_a_booking_gets_one_at_the_turn() {
    let system = system().await;
    let person = system.person("direct").await;
    let reservation = system.reserve(&person, EVENT, 2).await.unwrap().reservation_id;
    let enqueue = async || {
        let request = EnqueueRequest { reservation_id: reservation.clone() };
        system.queue().enqueue(person.says(request)).await.unwrap()
    };

    let entry = enqueue().await;
    assert_eq!(entry.metadata().get("x-http-code").unwrap(), "201");
    let entry = entry.into_inner();
    assert_eq!((entry.position, entry.booking_id.as_str()), (1, ""));
    let again = enqueue().await;
    assert!(again.metadata().get("x-http-code").is_none());
    assert_eq!(again.into_inner().entry_id, entry.entry_id);
    let seen = soon("the turn", system.wait_for_turn(&person, &entry.entry_id)).await;

    let booking = system.booking(&person, &seen.last().unwrap().booking_id).await.unwrap();
    assert_eq!((booking.state(), booking.tickets.len()), (State::AwaitingPayment, 2));
    assert_eq!(refused(system.book(&person, &reservation).await).reason, "ALREADY_BOOKED");
    system.pay(&person, &booking.booking_id, "k").await.unwrap();
}
