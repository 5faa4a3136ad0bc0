//! prost structs of the booking system with pbjson's serde impls, and its descriptors: what the codec is compared with.

#![expect(clippy::all, clippy::allow_attributes, unused_qualifications, reason = "generated")]

/// The descriptors of both packages, imports included.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/booking.binpb"));

pub mod ticket {
    include!(concat!(env!("OUT_DIR"), "/ticket.rs"));
    include!(concat!(env!("OUT_DIR"), "/ticket.serde.rs"));
}

pub mod booking {
    include!(concat!(env!("OUT_DIR"), "/booking.rs"));
    include!(concat!(env!("OUT_DIR"), "/booking.serde.rs"));
}
