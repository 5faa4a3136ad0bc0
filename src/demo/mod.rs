//! The booking system: five gRPC services that behave as real ones would, for `transom demo` and the tests.
//!
//! ```text
//! auth      accounts, sessions, tokens            auth.AuthService
//! ticket    events, seats, reservations           ticket.TicketService, ticket.TicketInventory
//! booking   bookings of reservations              booking.BookingService, booking.BookingLedger
//! queue     turns at events in high demand        booking.BookingWorker
//! payment   money for bookings                    payment.PaymentService
//!
//! proto     their messages, servers and clients, generated
//! service   what all five share
//! system    the five put together: peers, health, reflection
//! running   the system as it runs: listeners, instances, and how they stop
//! incoming  connections, once their handshake is done
//! peer      how they reach each other
//! tls       certificates: who they are to their callers and to each other
//! token     their tokens, and who a call says it is from
//! refusal   why a service says no
//! page      pages of lists
//! clock     what time it is for them
//! walkthrough   a first tour, for a shell
//! ```
//!
//! Each service owns its state, in memory, shared by its instances; nothing survives a restart. What one needs of
//! another it asks by gRPC, also when all run in one process: [`start`] runs all five, [`serve_one`] runs one and finds
//! the others where `GRPC_TICKET_SERVICE_URL`, `GRPC_BOOKING_SERVICE_URL`, `GRPC_QUEUE_SERVICE_URL` and
//! `GRPC_PAYMENT_SERVICE_URL` say. The services believe each other, and people, by tokens alone, so they must share
//! `JWT_SECRET`. With certificates ([`Options::tls`]) they also take calls from nobody, and call nobody, whose certificate another
//! authority has signed. A service that runs alone answers all that its own state can answer; what needs one that is not there is
//! `UNAVAILABLE`.
//!
//! ```text
//! reserve       ticket: seats are held                                                         HELD
//! book          booking → ticket: the booking claims them until it must be paid                CLAIMED
//! book, queued  booking → queue → ticket: the entry claims them while it waits; at its turn queue → booking
//! pay           payment → booking → ticket: settled and sold in one step                       SOLD
//! refund        payment → booking → ticket: the seats come back                                RELEASED
//! ```

mod auth;
mod booking;
mod clock;
mod incoming;
mod page;
mod payment;
mod peer;
pub mod proto;
mod queue;
mod refusal;
mod running;
mod service;
mod system;
mod ticket;
mod tls;
mod token;
mod walkthrough;

use std::net::SocketAddr;
use std::time::Duration;

pub use clock::{Clock, Hand};
pub use running::{Login, Running, serve_one, start};
pub use system::Service;
pub use tls::Tls;
pub use token::Secrets;
pub use walkthrough::walkthrough;

/// The descriptors of `proto/`, as [`google.protobuf.FileDescriptorSet`](prost_types::FileDescriptorSet).
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/descriptors/booking.binpb"));

/// How the system runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Instances of each service.
    pub instances: usize,
    /// What time it is.
    pub clock: Clock,
    /// What tokens are signed with.
    pub secrets: Secrets,
    /// How long seats are held that nobody has booked.
    pub hold_for: Duration,
    /// How long a booking can be paid for.
    pub pay_within: Duration,
    /// How many may pay at once at an event in high demand.
    pub turns: usize,
    /// How long an access token lives.
    pub access_ttl: Duration,
    /// How long a session lives that is not refreshed.
    pub refresh_ttl: Duration,
    /// The certificates of all that runs here; none: everything is in the clear.
    pub tls: Option<Tls>,
    /// Where one service alone ([`serve_one`]) tells its health in the clear, and nothing else: probes have no certificate.
    pub health: Option<SocketAddr>,
}

impl Options {
    /// Two instances of each, by the machine's clock, with the secrets of [`Secrets::from_env`].
    ///
    /// # Errors
    /// A file of a secret cannot be read, or the machine has no random numbers.
    pub fn from_env() -> Result<Self, String> {
        Ok(Self::new(Secrets::from_env()?))
    }

    /// The same with given secrets.
    pub fn new(secrets: Secrets) -> Self {
        Self {
            instances: 2,
            clock: Clock::machine(),
            secrets,
            hold_for: Duration::from_secs(10 * 60),
            pay_within: Duration::from_secs(5 * 60),
            turns: 3,
            access_ttl: Duration::from_secs(15 * 60),
            refresh_ttl: Duration::from_secs(7 * 24 * 60 * 60),
            tls: None,
            health: None,
        }
    }
}
