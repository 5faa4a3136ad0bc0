//! What the gateway says about its calls: counters, one log line each, request ids.
//!
//! Everything a call touches here is a handle that was made at load. Recording a call looks nothing up by name,
//! takes no lock that another thread wants, and does no I/O.

pub mod access_log;
mod cache;
mod dialect;
mod endpoint;
mod issuer;
mod metrics;
mod reloads;
mod refusals;
mod request_id;
mod route;
mod shard;
mod tls;
mod upstream;

pub use access_log::{AccessLog, Entry, Format, Lines, LogBuffer, Logged};
pub use cache::{CacheMetrics, CacheOutcome};
pub use dialect::DialectName;
pub use endpoint::{Circuit, Ejection, EndpointMetrics, Outcome};
pub use issuer::IssuerKeys;
pub use metrics::{CONTENT_TYPE, Metrics, Protocol};
pub use refusals::Refusals;
pub use reloads::Reloads;
pub use request_id::{HEADER as REQUEST_ID, RequestId, RequestIds};
pub use route::RouteMetrics;
pub use shard::{Entered, Gauge, Sharded, enter_shard};
pub use tls::Tls;
pub use upstream::UpstreamLimit;
