//! Generated from `proto/` by `build.rs`: messages, servers and clients.
//!
//! The services are `<package>::<service>_server::<Service>`, the clients `<package>::<service>_client::<Service>Client`.

macro_rules! generated {
    ($($(#[$doc:meta])* $name:ident: $file:literal,)*) => {$(
        $(#[$doc])*
        #[expect(clippy::allow_attributes, reason = "which lints generated code breaks is its generator's choice")]
        #[allow(warnings, clippy::all, reason = "generated")]
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/", $file));
        }
    )*};
}

generated! {
    /// `auth.AuthService`
    auth: "auth.rs",
    /// `ticket.TicketService`, `ticket.TicketInventory`
    ticket: "ticket.rs",
    /// `booking.BookingService`, `booking.BookingWorker`, `booking.BookingLedger`
    booking: "booking.rs",
    /// `payment.PaymentService`
    payment: "payment.rs",
}

/// Packages of `google.*`.
pub mod google {
    generated! {
        /// `google.rpc.Status` and the details of errors.
        rpc: "google.rpc.rs",
    }
}
