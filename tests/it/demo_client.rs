//! The booking system in the test's own process, and someone who uses it by gRPC.

use std::time::{Duration, SystemTime};

use prost::Message;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use transom::demo::proto::auth::auth_service_client::AuthServiceClient;
use transom::demo::proto::auth::{LoginRequest, RegisterRequest};
use transom::demo::proto::booking::booking_service_client::BookingServiceClient;
use transom::demo::proto::booking::booking_worker_client::BookingWorkerClient;
use transom::demo::proto::booking::{Booking, CreateBookingRequest, GetBookingRequest, QueueEntry};
use transom::demo::proto::google::rpc;
use transom::demo::proto::payment::payment_service_client::PaymentServiceClient;
use transom::demo::proto::payment::process_payment_request::Method;
use transom::demo::proto::payment::{Payment, ProcessPaymentRequest};
use transom::demo::proto::ticket::ticket_service_client::TicketServiceClient;
use transom::demo::proto::ticket::{Event, GetEventByIdRequest, Reservation, ReserveTicketsRequest};
use transom::demo::{self, Clock, Hand, Options, Running, Secrets, Service};

/// An event that nobody queues for.
pub(crate) const EVENT: &str = "evt-001";

/// The event in high demand.
pub(crate) const HOT: &str = "evt-007";

/// The system, its clock in the test's hand.
pub(crate) struct System {
    pub(crate) running: Running,
    pub(crate) hand: Hand,
}

/// Someone with a session.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) user_id: String,
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

/// Options for a system whose clock stands still on a Sunday morning.
pub(crate) fn options() -> (Options, Hand) {
    let (clock, hand) = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_338_000));
    (Options { clock, ..Options::new(Secrets::new("access", "refresh")) }, hand)
}

/// Two instances of each service.
pub(crate) async fn system() -> System {
    let (options, hand) = options();
    System { running: demo::start(options).await.unwrap(), hand }
}

impl System {
    /// A connection to one instance of a service.
    pub(crate) fn channel(&self, service: Service, instance: usize) -> Channel {
        let address = self.running.addresses(service)[instance];
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
    }

    pub(crate) fn auth(&self) -> AuthServiceClient<Channel> {
        AuthServiceClient::new(self.channel(Service::Auth, 0))
    }

    /// The second instance where tests would otherwise never see one: state is shared.
    pub(crate) fn tickets(&self) -> TicketServiceClient<Channel> {
        TicketServiceClient::new(self.channel(Service::Ticket, 1))
    }

    pub(crate) fn bookings(&self) -> BookingServiceClient<Channel> {
        BookingServiceClient::new(self.channel(Service::Booking, 0))
    }

    pub(crate) fn queue(&self) -> BookingWorkerClient<Channel> {
        BookingWorkerClient::new(self.channel(Service::Queue, 0))
    }

    pub(crate) fn payments(&self) -> PaymentServiceClient<Channel> {
        PaymentServiceClient::new(self.channel(Service::Payment, 0))
    }

    /// Registers someone and logs them in.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let (email, password) = (format!("{name}@example.com"), "correct horse".to_owned());
        let account = RegisterRequest { email: email.clone(), password: password.clone(), ..Default::default() };
        self.auth().register(account).await.unwrap();
        let login = self.auth().login(LoginRequest { email, password }).await.unwrap().into_inner();
        Person { user_id: login.user_id, access_token: login.access_token, refresh_token: login.refresh_token }
    }

    pub(crate) async fn event(&self, event_id: &str) -> Event {
        let request = GetEventByIdRequest { event_id: event_id.to_owned() };
        self.tickets().get_event_by_id(request).await.unwrap().into_inner()
    }

    pub(crate) async fn reserve(&self, person: &Person, event_id: &str, quantity: i32) -> Result<Reservation, Status> {
        let request = ReserveTicketsRequest { event_id: event_id.to_owned(), quantity, ..Default::default() };
        self.tickets().reserve_tickets(person.says(request)).await.map(Response::into_inner)
    }

    pub(crate) async fn book(&self, person: &Person, reservation_id: &str) -> Result<Booking, Status> {
        let request = CreateBookingRequest { reservation_id: reservation_id.to_owned(), ..Default::default() };
        self.bookings().create_booking(person.says(request)).await.map(Response::into_inner)
    }

    /// Reserves seats and books them.
    pub(crate) async fn reserve_and_book(&self, person: &Person, event_id: &str, quantity: i32) -> Booking {
        let reservation = self.reserve(person, event_id, quantity).await.unwrap();
        self.book(person, &reservation.reservation_id).await.unwrap()
    }

    pub(crate) async fn booking(&self, person: &Person, booking_id: &str) -> Result<Booking, Status> {
        let request = GetBookingRequest { booking_id: booking_id.to_owned(), ..Default::default() };
        self.bookings().get_booking(person.says(request)).await.map(Response::into_inner)
    }

    pub(crate) async fn pay(&self, person: &Person, booking_id: &str, key: &str) -> Result<Payment, Status> {
        self.payments().process_payment(person.says(payment(booking_id, key))).await.map(Response::into_inner)
    }

    /// Follows a queue entry to the end of its stream.
    pub(crate) async fn wait_for_turn(&self, person: &Person, entry_id: &str) -> Vec<QueueEntry> {
        let request =
            demo::proto::booking::WatchQueueEntryRequest { entry_id: entry_id.to_owned(), max_duration: None };
        let mut stream = self.queue().watch_queue_entry(person.says(request)).await.unwrap().into_inner();
        let mut seen = Vec::new();
        while let Some(entry) = stream.message().await.unwrap() {
            seen.push(entry);
        }
        seen
    }
}

impl Person {
    /// A request with the person's token.
    pub(crate) fn says<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.access_token).parse().unwrap());
        request
    }
}

/// A payment of the whole price by card.
pub(crate) fn payment(booking_id: &str, key: &str) -> ProcessPaymentRequest {
    ProcessPaymentRequest {
        booking_id: booking_id.to_owned(),
        idempotency_key: key.to_owned(),
        method: Some(Method::CardToken("tok_visa".to_owned())),
        ..Default::default()
    }
}

/// What a refusal says to machines.
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) reason: String,
    details: Vec<prost_types::Any>,
}

impl Refused {
    /// The detail of a type of `google.rpc`.
    pub(crate) fn detail<T: Message + Default>(&self, name: &str) -> T {
        let url = format!("type.googleapis.com/google.rpc.{name}");
        let any = self.details.iter().find(|any| any.type_url == url).expect("the detail");
        T::decode(&any.value[..]).unwrap()
    }

    /// The fields that a `BadRequest` names.
    pub(crate) fn fields(&self) -> Vec<String> {
        let detail: rpc::BadRequest = self.detail("BadRequest");
        detail.field_violations.into_iter().map(|violation| violation.field).collect()
    }
}

/// Reads a refusal.
pub(crate) fn refused<T>(result: Result<T, Status>) -> Refused {
    let status = result.map(|_| "an answer").expect_err("a refusal");
    let details = rpc::Status::decode(status.details()).unwrap();
    assert_eq!((details.code, details.message.as_str()), (status.code() as i32, status.message()));
    let mut refused = Refused { code: status.code(), reason: String::new(), details: details.details };
    let info: rpc::ErrorInfo = refused.detail("ErrorInfo");
    assert_eq!(info.domain, "booking.transom");
    refused.reason = info.reason;
    refused
}
