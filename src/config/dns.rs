//! `dns`: how names of endpoints are looked up.

use std::net::{IpAddr, SocketAddr};

use super::kind::{Kind as _, checked, list};
use super::problem::quote;
use super::read::section;

/// DNS's own (RFC 1035 §4.2).
const PORT: u16 = 53;

section! {
    /// How names of endpoints are looked up: A, AAAA and SRV, over UDP, and TCP for what is too long for it. Names that `/etc/hosts` has are not asked for; its changes and those of `/etc/resolv.conf` count at once.
    pub struct Dns {
        /// Name servers, such as `10.96.0.10` or `127.0.0.1:5353`; none: those of `/etc/resolv.conf`, whose `search` and `ndots` hold in either case.
        servers: Vec<SocketAddr> = list(checked("a name server's address", server)).or("[]"),
    }
}

impl Default for Dns {
    /// By the system's files.
    fn default() -> Self {
        Self { servers: Vec::new() }
    }
}

fn server(text: &str) -> Result<SocketAddr, String> {
    let alone = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT));
    text.parse()
        .or_else(|_| alone())
        .map_err(|_| format!("{} is not an address; write `10.96.0.10` or `127.0.0.1:5353`", quote(text)))
}
