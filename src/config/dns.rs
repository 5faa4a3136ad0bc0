//! `dns`: how names of endpoints are looked up.

use std::net::{IpAddr, SocketAddr};

use super::kind::{Kind as _, checked, list};
use super::problem::quote;
use super::read::section;
use super::upstream::is_host;

/// DNS's own (RFC 1035 §4.2).
const PORT: u16 = 53;

section! {
    /// How names of endpoints are looked up: A, AAAA and SRV, over UDP, and TCP for what is too long for it. Names that `/etc/hosts` has are not asked for; its changes and those of `/etc/resolv.conf` count at once.
    pub struct Dns {
        /// Name servers, such as `10.96.0.10` or `127.0.0.1:5353`; none: those of `/etc/resolv.conf`, whose `search` and `ndots` hold in either case.
        servers: Vec<SocketAddr> = list(checked("a name server's address", server)).or("[]"),
        /// The domains in which a name is looked up that does not end in a dot, in place of `/etc/resolv.conf`'s `search`; `[]`: names are written in full. The first domain in which the name is there is taken, whichever records it has; one that cannot be asked ends the search, since the next one's answer might be somebody else's.
        search: Option<Vec<String>> = list(checked("a domain", domain)).optional(),
    }
}

impl Default for Dns {
    /// By the system's files.
    fn default() -> Self {
        Self { servers: Vec::new(), search: None }
    }
}

fn domain(text: &str) -> Result<String, String> {
    if is_host(text) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a domain; write `svc.cluster.local`", quote(text)))
}

fn server(text: &str) -> Result<SocketAddr, String> {
    let alone = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT));
    text.parse()
        .or_else(|_| alone())
        .map_err(|_| format!("{} is not an address; write `10.96.0.10` or `127.0.0.1:5353`", quote(text)))
}
