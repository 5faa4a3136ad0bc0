//! Listeners: the sockets, bound before any thread starts, so that a port in use is an error at start.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{Config, Workers};

/// Connections that wait to be accepted, per worker; the system may allow fewer.
const BACKLOG: i32 = 4096;

/// Bound sockets.
#[derive(Debug)]
pub struct Listeners {
    /// One per worker, all on the same address; the kernel deals connections out.
    pub(super) public: Vec<TcpListener>,
    /// The admin port.
    pub(super) admin: TcpListener,
    /// Where plain HTTP is sent on to `https://`.
    pub(super) redirect: Option<TcpListener>,
}

impl Listeners {
    /// Binds what a configuration names. Port 0 is a free one.
    pub fn bind(config: &Config) -> io::Result<Self> {
        let workers = match config.workers {
            Workers::Cores => std::thread::available_parallelism().map_or(1, NonZero::get),
            Workers::Count(count) => count,
        };
        let named = |key: &'static str, address: SocketAddr| {
            move |error: io::Error| {
                let way_out = match error.kind() {
                    io::ErrorKind::AddrInUse => "; choose another port for",
                    _ => ", which is",
                };
                io::Error::new(error.kind(), format!("{address}: {error}{way_out} `{key}`"))
            }
        };
        let listen = |address| named("listen", address);
        // Sockets that share a port share it with every process of this user. One that does not share tells whether
        // somebody is there; a port that the system chooses is nobody's.
        if config.listen.port() != 0 {
            drop(bind(config.listen, false).map_err(listen(config.listen))?);
        }
        let first = bind(config.listen, true).map_err(listen(config.listen))?;
        let address = first.local_addr()?;
        let others = (1..workers.max(1)).map(|_| bind(address, true).map_err(listen(address)));
        let public = std::iter::once(Ok(first)).chain(others).collect::<io::Result<_>>()?;
        let admin = bind(config.admin.listen, false).map_err(named("admin.listen", config.admin.listen))?;
        let redirect = config.tls.as_ref().and_then(|tls| tls.redirect_from);
        let redirect = redirect.map(|from| bind(from, false).map_err(named("tls.redirect_from", from))).transpose()?;
        Ok(Self { redirect, public, admin })
    }

    /// Where clients connect.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.public.first().map_or_else(|| Err(io::ErrorKind::AddrNotAvailable.into()), TcpListener::local_addr)
    }

    /// Where the admin port is.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
