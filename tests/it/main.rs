//! The integration tests: one binary, real sockets on port 0, real HTTP/2, the gateway's own threads.
//!
//! `support/` is what the tests speak: an upstream that answers as told and remembers what it saw, a gateway in front
//! of it, and clients.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod support;

mod admin_port;
mod aims;
mod architecture;
mod auth_connect;
mod auth_gate;
mod auth_judged;
mod auth_keys;
mod auth_revoked;
mod auth_sockets;
mod backpressure;
mod burst_guard;
mod balancing;
mod circuit_breaker;
mod cache;
mod cache_redis;
mod cli_check;
mod cli_descriptors;
mod cli_routes;
mod cli_serve;
mod client_limits;
mod compression;
mod connections_at_rest;
mod config_examples;
mod conformance;
mod cors;
mod cut_short;
#[cfg(feature = "demo")]
mod demo_auth;
#[cfg(feature = "demo")]
mod demo_booking;
#[cfg(feature = "demo")]
mod demo_client;
mod demo_example;
#[cfg(feature = "demo")]
mod demo_protos;
#[cfg(feature = "demo")]
mod demo_rest;
#[cfg(feature = "demo")]
mod demo_sessions;
#[cfg(feature = "demo")]
mod demo_system;
#[cfg(feature = "demo")]
mod demo_tickets;
#[cfg(feature = "demo")]
mod demo_tls;
#[cfg(feature = "demo")]
mod demo_variables;
mod dialects;
mod discovery_dns;
mod discovery_load;
mod discovery_slices;
mod docs_names;
mod drain;
mod drain_own_streams;
mod drain_process;
mod errors_compile;
mod errors_table;
mod fallbacks;
mod faults;
mod goodbyes;
mod grpc_clients;
mod grpc_json;
mod grpc_pass_through;
mod health_endpoints;
mod hedging;
mod http_connection;
mod http_requests;
mod http_two;
mod http_two_frames;
mod keepalive;
mod left;
#[cfg(feature = "demo")]
mod killed;
mod kubernetes;
mod memory;
mod metrics_calls;
mod overload;
mod own_tokens;
mod own_tokens_hostile;
mod outlier_ejection;
mod open_files;
mod options;
mod pipeline_size;
mod provoked;
mod rate_limits;
mod rate_redis;
mod real_descriptors;
mod reflection_in;
mod reflection_out;
mod reload;
#[cfg(feature = "demo")]
mod reload_bench;
mod reload_breaking;
mod reload_files;
mod reload_warm;
mod request_bounds;
mod rest_metadata;
mod rest_unary;
mod rpc_metadata;
mod secrets;
mod retries;
mod sessions;
mod sessions_slow;
mod singles;
mod store_redis;
mod stream_age;
mod stream_rest;
mod support_self;
mod tls_clients;
mod tls_services;
mod transcoding_binding;
mod transcoding_json;
mod transcoding_metadata;
mod transcoding_paths;
mod transcoding_rules;
mod transcoding_streams;
mod unread;
mod validate;
mod validate_oracle;
mod web_clients;
mod websocket;
mod websocket_frames;
