//! Transom: a gRPC-first API gateway.
//!
//! # The request line
//!
//! ```text
//! accept → route → gates → translate → check → send → answer → log
//! ```
//!
//! # The map
//!
//! A module uses only modules above it; a test holds that.
//!
//! ```text
//! config      what the user wrote; parse tells all problems with their places
//! telemetry   metrics handles, access log, request ids
//! error       what can go wrong with a call, and the table of what it becomes
//! hex         bytes as text
//! memory      what calls hold of bodies and messages, counted over all of them
//! body        what a request brings, and the one response body
//! corked      a socket that sends what is written in a turn at once
//! store       what gateways share: counters, sessions, events; here or in Redis
//! file        what a path leads to that somebody wrote down, where that is a regular file
//! tls         certificates: who the gateway is to clients and services, and who they must be
//! fetch       a small HTTP client for keys, secrets and verify endpoints
//! secrets     what the configuration only names: in files, in a Vault
//! discovery   where services run: names and their records, a cluster's endpoint slices
//! sources     where schemas come from: descriptor sets, folders of .proto files, server reflection
//! envelope    how a dialect reads requests and writes replies and errors: REST, gRPC, gRPC-Web, Connect, WebSocket
//! policy      the gates: who may come and how often, what messages must be, replies that are kept
//! upstream    connections, balancing, health: one send
//! gateway     Config and Schema → Snapshot; the request line
//! admin       health, metrics, routes, upstreams as HTTP and gRPC
//! server      workers, listeners, drain
//! reload      what was written changes, what runs is replaced, or stays
//! demo        the booking system's services, in-process
//! cli         the commands
//! ```

pub mod config;
pub mod telemetry;
pub mod error;
pub mod hex;
pub mod memory;
pub mod body;
pub mod corked;
pub mod store;
pub mod file;
pub mod tls;
pub mod fetch;
pub mod secrets;
pub mod discovery;
pub mod sources;
pub mod envelope;
pub mod policy;
pub mod upstream;
pub mod gateway;
pub mod admin;
pub mod server;
pub mod reload;
#[cfg(feature = "demo")]
pub mod demo;
pub mod cli;
