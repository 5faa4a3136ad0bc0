//! Transom: a gRPC-first API gateway.
//!
//! # The request line
//!
//! ```text
//! detect → route → translate in → send → translate back → finish
//! ```
//!
//! # The map
//!
//! A module uses only modules above it; a test holds that.

pub mod config;
pub mod telemetry;
pub mod error;
pub mod body;
pub mod sources;
pub mod upstream;
#[cfg(feature = "demo")]
pub mod demo;
pub mod cli;
