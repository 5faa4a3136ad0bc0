//! TLS: who the gateway is to clients and to services, and who they must be to it. rustls, with aws-lc alone.
//!
//! ```text
//! material   certificates and keys, read from their files
//! validity   until when a certificate is good
//! acceptor   the side that clients see
//! connector  the side that services see, and what they must be
//! identity   whose a client's certificate is, for services
//! socket     a connection, with TLS or without
//! ```
//!
//! Files are read when a snapshot is compiled, and a changed file is a reload like any other: what is wrong is refused, what is
//! right holds for the connections that come. Those that there are keep what they began with.

mod acceptor;
mod connector;
mod identity;
mod material;
mod socket;
mod validity;

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use acceptor::Acceptor;
pub use connector::{Connector, trusting, unresumed};
pub use material::Wrong;
pub use socket::Socket;
pub use validity::{Expiry, NEAR};

/// What everything here is encrypted and signed with.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
