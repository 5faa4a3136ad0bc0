//! Worker: one thread, one runtime, one listener, and the calls of the connections that the kernel deals to it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use parking_lot::Mutex;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::connection::{self, Answer, Terms};
use super::phase::{Phase, reached};
use super::upload::Upload;
use crate::body::Body;
use crate::gateway::{Gateway, Peer, State, Worker};

/// The gateway's calls on one worker.
pub(super) struct Calls {
    pub(super) gateway: Arc<Gateway>,
    pub(super) worker: Arc<Worker>,
}

impl Answer for Calls {
    type Body = Body;

    fn admits(&self, address: IpAddr) -> bool {
        self.gateway.admits(address)
    }

    async fn answer(&self, peer: &Peer, request: Request<Upload>) -> Response<Body> {
        self.gateway.serve(&self.worker, peer, request).await
    }
}

/// Open connections of all workers.
#[derive(Debug, Default)]
pub(super) struct Open {
    count: AtomicUsize,
    changed: Notify,
    /// By address, where those of one client are bounded.
    clients: Mutex<HashMap<IpAddr, usize>>,
}

impl Open {
    /// Waits until none is open.
    pub(super) async fn none(&self) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on a change is not missed.
            changed.as_mut().enable();
            if self.count.load(Ordering::Relaxed) == 0 {
                return;
            }
            changed.await;
        }
    }

    /// One more, unless there are as many as may be.
    fn enter(self: &Arc<Self>, most: usize) -> Option<Counted> {
        let counted = Counted { open: self.clone(), client: None };
        (self.count.fetch_add(1, Ordering::Relaxed) < most).then_some(counted)
    }

    /// The same for one client of its own bound.
    fn enter_client(self: &Arc<Self>, mut counted: Counted, client: IpAddr, most: usize) -> Option<Counted> {
        let mut clients = self.clients.lock();
        let count = clients.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        counted.client = Some(client);
        Some(counted)
    }
}

/// One of the open connections.
struct Counted {
    open: Arc<Open>,
    client: Option<IpAddr>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(client) = self.client {
            let mut clients = self.open.clients.lock();
            if let Some(count) = clients.get_mut(&client) {
                *count -= 1;
                if *count == 0 {
                    clients.remove(&client);
                }
            }
        }
        if self.open.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.open.changed.notify_waiters();
        }
    }
}

/// Accepts until the server closes, then waits for its connections to end.
pub(super) async fn accept<A: Answer>(
    listener: std::net::TcpListener,
    terms: Arc<Terms<A>>,
    open: Arc<Open>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let connections = TaskTracker::new();
    let mut phases = terms.phases.clone();
    let mut pause = Pause::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = reached(&mut phases, Phase::Closing) => break,
        };
        match accepted {
            Ok((socket, address)) => {
                pause = Pause::default();
                admit(&terms, &open, &connections, socket, address);
            }
            Err(error) => pause.after(&error).await,
        }
    }
    // What the kernel has accepted already would be reset when the listener closes.
    take_waiting(&listener.into_std()?, |socket, address| admit(&terms, &open, &connections, socket, address));
    connections.close();
    connections.wait().await;
    Ok(())
}

/// Takes the connections that wait. The kernel is asked: the runtime knows only of those that it has looked for.
fn take_waiting(listener: &std::net::TcpListener, mut admit: impl FnMut(TcpStream, SocketAddr)) {
    loop {
        match listener.accept() {
            Ok((socket, address)) => {
                let socket = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket));
                // Without a place in the runtime it cannot be served.
                let _ = socket.map(|socket| admit(socket, address));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
            Err(_) => return,
        }
    }
}

fn admit<A: Answer>(
    terms: &Arc<Terms<A>>,
    open: &Arc<Open>,
    connections: &TaskTracker,
    socket: TcpStream,
    address: SocketAddr,
) {
    // Before anything is done for it, TLS above all.
    if !terms.answer.admits(address.ip()) {
        return;
    }
    let counted = open.enter(terms.limits.connections).and_then(|counted| match terms.limits.of_client(address.ip()) {
        Some(most) if !is_proxy(&terms.state, address.ip()) => open.enter_client(counted, network(address.ip()), most),
        _ => Some(counted),
    });
    let Some(counted) = counted else {
        terms.state.metrics.turned_away();
        return;
    };
    terms.state.metrics.accepted();
    // Answers are written whole: waiting to fill a packet would only delay them. A socket that refuses is closed soon.
    let _ = socket.set_nodelay(true);
    let _ = SockRef::from(&socket).set_tcp_keepalive(&keepalive());
    let terms = terms.clone();
    connections.spawn(async move {
        let _counted = counted;
        connection::serve(terms, socket, address).await;
    });
}

/// Many clients come from there.
fn is_proxy(state: &State, address: IpAddr) -> bool {
    state.snapshot.load().trusted_proxies().iter().any(|network| network.contains(address))
}

/// What one client has: an address, or 64 bits of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// Ends connections whose client has vanished without a word, in about two minutes.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4)
}

/// How long accepting rests after an error, so that a process without file descriptors does not spin.
#[derive(Default)]
struct Pause(Duration);

impl Pause {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    async fn after(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        // The client was gone before it was accepted: that says nothing about the next.
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
            return;
        }
        tracing::warn!(%error, "connections cannot be accepted");
        self.0 = (self.0 * 2).clamp(Self::FIRST, Self::LONGEST);
        tokio::time::sleep(self.0).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpSocket, TcpStream};

    use super::take_waiting;

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "the runtime must not see the connections come")]
    async fn all_that_wait_are_taken_when_it_closes() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1024).unwrap();
        let at = listener.local_addr().unwrap();
        // All come at once, and nothing has told the runtime of any.
        let clients: Vec<_> = (0..300).map(|_| std::net::TcpStream::connect(at).unwrap()).collect();
        let mut taken: Vec<TcpStream> = Vec::new();
        take_waiting(&listener.into_std().unwrap(), |socket, _| taken.push(socket));
        assert_eq!(taken.len(), clients.len());
    }
}
