//! The five services, put together: each with its peers, its health, and its reflection.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};

use super::auth::Auth;
use super::booking::{self, Bookings};
use super::payment::Payments;
use super::peer::Peer;
use super::proto::auth::auth_service_server::AuthServiceServer;
use super::proto::booking::booking_ledger_server::BookingLedgerServer;
use super::proto::booking::booking_service_server::BookingServiceServer;
use super::proto::booking::booking_worker_server::BookingWorkerServer;
use super::proto::payment::payment_service_server::PaymentServiceServer;
use super::proto::ticket::ticket_inventory_server::TicketInventoryServer;
use super::proto::ticket::ticket_service_server::TicketServiceServer;
use super::queue::{self, Queue};
use super::ticket::Ticket;
use super::token::Tokens;
use super::{DESCRIPTORS, Options};

/// One of the five services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// `auth.AuthService`
    Auth,
    /// `ticket.TicketService`
    Ticket,
    /// `booking.BookingService`
    Booking,
    /// `booking.BookingWorker`
    Queue,
    /// `payment.PaymentService`
    Payment,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Auth, Self::Ticket, Self::Booking, Self::Queue, Self::Payment];

    /// Its name on the command line: `auth`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Ticket => "ticket",
            Self::Booking => "booking",
            Self::Queue => "queue",
            Self::Payment => "payment",
        }
    }

    /// The service of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// The variable that says where it runs, and where it runs when that says nothing.
    pub fn url(self) -> (&'static str, &'static str) {
        match self {
            Self::Auth => ("GRPC_AUTH_SERVICE_URL", "127.0.0.1:50051"),
            Self::Ticket => ("GRPC_TICKET_SERVICE_URL", "127.0.0.1:50052"),
            Self::Booking => ("GRPC_BOOKING_SERVICE_URL", "127.0.0.1:50053"),
            Self::Queue => ("GRPC_QUEUE_SERVICE_URL", "127.0.0.1:50055"),
            Self::Payment => ("GRPC_PAYMENT_SERVICE_URL", "127.0.0.1:50054"),
        }
    }
}

/// A service with its state, shared by all of its instances.
pub(super) enum Built {
    Auth(Arc<Auth>),
    Ticket(Arc<Ticket>),
    Booking(Arc<Bookings>),
    Queue(Arc<Queue>),
    Payment(Arc<Payments>),
}

impl Built {
    /// Builds a service; `peer` finds the others.
    pub(super) fn new<E>(
        service: Service,
        options: &Options,
        stopping: CancellationToken,
        peer: impl Fn(Service) -> Result<Peer, E>,
    ) -> Result<Self, E> {
        let clock = options.clock.clone();
        let tokens = Tokens::new(&options.secrets, clock.clone(), options.access_ttl, options.refresh_ttl);
        let tokens = Arc::new(tokens);
        Ok(match service {
            Service::Auth => Self::Auth(Auth::new(tokens, clock)),
            Service::Ticket => Self::Ticket(Ticket::new(tokens, clock, options.hold_for, stopping)),
            Service::Booking => {
                let peers = booking::Peers {
                    ticket: peer(Service::Ticket)?,
                    queue: peer(Service::Queue)?,
                    payment: peer(Service::Payment)?,
                };
                Self::Booking(Bookings::new(tokens, clock, options.pay_within, peers))
            }
            Service::Queue => {
                let peers = queue::Peers { ticket: peer(Service::Ticket)?, booking: peer(Service::Booking)? };
                Self::Queue(Queue::new(tokens, clock, options.pay_within, options.turns, peers, stopping))
            }
            Service::Payment => Self::Payment(Payments::new(tokens, clock, peer(Service::Booking)?)),
        })
    }

    /// What one instance serves: the service, `grpc.health.v1`, and `grpc.reflection` v1 and v1alpha.
    pub(super) async fn routes(&self) -> Result<Routes, tonic_reflection::server::Error> {
        let (routes, names) = self.served();
        let health = health(&names).await;
        let reflection = || {
            names.iter().fold(
                tonic_reflection::server::Builder::configure()
                    .register_encoded_file_descriptor_set(DESCRIPTORS)
                    .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                    .with_service_name("grpc.health.v1.Health"),
                |builder, name| builder.with_service_name(*name),
            )
        };
        Ok(routes.add_service(health).add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?))
    }

    /// Its `grpc.health.v1` alone.
    pub(super) async fn health(&self) -> Routes {
        Routes::new(health(&self.served().1).await)
    }

    /// The service, and the names of what it serves.
    fn served(&self) -> (Routes, Vec<&'static str>) {
        match self {
            Self::Auth(auth) => serve(Routes::default(), AuthServiceServer::from_arc(Arc::clone(auth)), Vec::new()),
            Self::Ticket(ticket) => {
                let (routes, names) =
                    serve(Routes::default(), TicketServiceServer::from_arc(Arc::clone(ticket)), Vec::new());
                serve(routes, TicketInventoryServer::from_arc(Arc::clone(ticket)), names)
            }
            Self::Booking(booking) => {
                let (routes, names) =
                    serve(Routes::default(), BookingServiceServer::from_arc(Arc::clone(booking)), Vec::new());
                serve(routes, BookingLedgerServer::from_arc(Arc::clone(booking)), names)
            }
            Self::Queue(queue) => {
                serve(Routes::default(), BookingWorkerServer::from_arc(Arc::clone(queue)), Vec::new())
            }
            Self::Payment(payment) => {
                serve(Routes::default(), PaymentServiceServer::from_arc(Arc::clone(payment)), Vec::new())
            }
        }
    }
}

/// `grpc.health.v1` of services that serve as long as they run.
async fn health(names: &[&str]) -> HealthServer<impl Health> {
    let (reporter, health) = tonic_health::server::health_reporter();
    for name in names {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    health
}

/// Adds a service to what is served, and its name to the names.
fn serve<S>(routes: Routes, service: S, mut names: Vec<&'static str>) -> (Routes, Vec<&'static str>)
where
    S: tower::Service<http::Request<tonic::body::Body>, Error = std::convert::Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Response: axum::response::IntoResponse,
    S::Future: Send + 'static,
{
    names.push(S::NAME);
    (routes.add_service(service), names)
}
