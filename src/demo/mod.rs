//! The booking system: five gRPC services that behave as real ones would, for `transom demo` and the tests.

pub mod proto;
