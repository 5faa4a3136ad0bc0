//! `tls` and `upstreams.*.tls`: certificates towards clients and towards services.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::kind::{Kind as _, checked, list, path, socket};
use super::problem::quote;
use super::read::section;
use super::upstream::is_host;

section! {
    /// TLS on `listen`: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.
    pub struct Tls {
        /// The gateway's certificate and those between it and its authority, in PEM. Like all files here it is read again when it changes, and no connection is dropped for it.
        cert: PathBuf = path("a PEM file").required(),
        /// Its private key, in PEM.
        key: PathBuf = path("a PEM file").required(),
        /// Authorities, in PEM, one of which must have signed every client's certificate; services see whose it is in `x-forwarded-client-cert`. None: clients need no certificate.
        client_ca: Option<PathBuf> = path("a PEM file").optional(),
        /// An address where plain HTTP is answered with 308 to `https://` at one of `hosts`.
        redirect_from: Option<SocketAddr> = socket().optional(),
    }
}

section! {
    /// TLS towards an upstream.
    pub struct UpstreamTls {
        /// Authorities, in PEM, one of which must have signed its certificate; none: those that the system trusts at the time of a reload. Like all files here it is read again when it changes; connections that there are stay.
        ca: Option<PathBuf> = path("a PEM file").optional(),
        /// The gateway's own certificate, in PEM, where the upstream wants one (mTLS).
        cert: Option<PathBuf> = path("a PEM file").optional(),
        /// Its private key, in PEM.
        key: Option<PathBuf> = path("a PEM file").optional(),
        /// The name that its certificate must be for, and that it is asked for (SNI). By default the host of its endpoints; of those written as addresses, the address.
        server_name: Option<String> = checked("a host name", name).optional(),
        /// Who it may be, in place of that name: its certificate must have one of these as a subject alternative name, a host name or a URI such as `spiffe://cluster.local/ns/booking/sa/auth`.
        san: Vec<String> = list(checked("a host name or a URI", identity)).or("[]"),
    }
}

impl Tls {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.cert, &self.key].into_iter().chain(&self.client_ca).map(PathBuf::as_path)
    }
}

impl UpstreamTls {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.ca, &self.cert, &self.key].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// A host by which clients reach the gateway: `api.example.com`, with a port where that is not the scheme's.
pub(super) fn host(text: &str) -> Result<String, String> {
    let (name, port) = text.rsplit_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    // What ends in a number is an address (WHATWG URL §3.5), or nothing.
    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let named = !last.bytes().all(|byte| byte.is_ascii_digit()) || name.parse::<Ipv4Addr>().is_ok();
    let right = is_host(name) && named && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    if right {
        return Ok(text.to_ascii_lowercase());
    }
    let meant = text.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let meant = meant.and_then(|meant| host(meant).ok()).unwrap_or_else(|| "api.example.com".to_owned());
    Err(format!("{} is not a host; write its name alone: `{meant}`", quote(text)))
}

fn name(text: &str) -> Result<String, String> {
    if is_host(text) { Ok(text.to_owned()) } else { Err(format!("{} is not a host name", quote(text))) }
}

fn identity(text: &str) -> Result<String, String> {
    let uri = text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    match uri && text.is_ascii() && !text.contains(char::is_whitespace) || is_host(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("{} is neither a host name nor a URI; write `booking` or `spiffe://…`", quote(text))),
    }
}
