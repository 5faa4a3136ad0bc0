//! Connection: one HTTP/2 connection to an endpoint, from connect to drain.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::Request;
use parking_lot::Mutex;
use rustix::io::Errno;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::endpoint::Endpoint;
use super::failure::{Failure, FailureKind, Seen};
use super::greeting::Greeted;
use super::opening::{Opening, unsecured};
use super::parting::{Opened, Parting};
use super::pings::{Asked, pings};
use super::pool::{Connecting, Slot};
use super::reaper::Reaper;
use crate::corked::Corked;
use crate::tls::Socket;

/// From the first SYN to the peer's SETTINGS. Shorter than most deadlines: calls that wait can still go elsewhere.
const CONNECT: Duration = Duration::from_secs(2);
/// The kernel gives a connection up when the peer has acknowledged nothing for this long. It finds hosts that vanished, without
/// PINGs, which servers built on grpc-go count and punish.
const VANISHED: Duration = Duration::from_secs(20);
/// Streams that one connection carries at most, whatever the peer allows.
const STREAMS: usize = 1024;
/// What one stream may send ahead of its reader.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Never the limit: each stream has its own, and a slow reader must stall nobody else.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// What h2 reads of a head, far beyond what a call may have: up to here one that is too large fails its stream alone, while by a quarter
/// more h2 ends the connection (as CONTINUATIONs without end).
const HEADER_LIST: u32 = 4 * 1024 * 1024;
/// h2's bound on the bookkeeping of small DATA frames that nobody has read yet: 256 bytes less the payload each. Its
/// default would end a connection with a few slow readers of small messages; this one allows a million such frames.
const DATA_FRAME_BUDGET: usize = 256 * 1024 * 1024;
/// Streams that we reset are remembered, so that late frames for them draw no further RST_STREAM.
const RESET_MEMORY: (usize, Duration) = (STREAMS, Duration::from_secs(10));
/// Stream ids are 31 bits and odd; a connection retires before they run out.
const LIFETIME: usize = (1 << 30) - STREAMS;
/// Stands in h2 for a peer's limit on streams until its SETTINGS have come; no peer can say it.
const UNKNOWN: usize = usize::MAX - 1;

/// A connection that takes streams, or drains.
pub(super) struct Connection {
    pub(super) slot: Arc<Slot>,
    /// None: it drains. h2 closes a connection when no handle and no stream is left.
    handle: Mutex<Option<SendRequest<Bytes>>>,
    /// Streams by our count; changed under the slot's lock.
    open: AtomicUsize,
    /// `min` of the peer's limit and ours.
    limit: AtomicUsize,
    opened: Arc<Opened>,
    /// Bytes of a head that the peer takes.
    pub(super) most_head: usize,
    /// A reply came since the last PING.
    pub(super) replied: AtomicBool,
    made: Instant,
    /// That it broke is known.
    broken: AtomicBool,
    /// It was ended for our PINGs.
    wearied: AtomicBool,
    pub(super) reaper: Reaper,
}

/// Why a request could not be sent; in either case nothing was.
pub(super) enum Unopened {
    /// The connection goes away: another one is needed.
    Draining,
    /// h2 refuses the request itself.
    Malformed(h2::Error),
}

impl Connection {
    /// Sends the head of a request.
    pub(super) fn open(
        &self,
        request: Request<()>,
        last: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), Unopened> {
        let mut handle = self.handle.lock();
        let Some(send) = &*handle else { return Err(Unopened::Draining) };
        // A clone for each: h2 refuses a second request by the same handle while it holds back the first, for want of a place that
        // a stream has left whose RST_STREAM is not written yet. It would also hold that stream, so that its drop resets nothing.
        match send.clone().send_request(request, last) {
            Ok(stream) => {
                // Counted under the handle's lock.
                let opened = self.opened();
                self.opened.set(opened + 1);
                if opened == LIFETIME {
                    *handle = None;
                }
                Ok(stream)
            }
            Err(error) if error.is_io() || error.is_go_away() => {
                *handle = None;
                Err(Unopened::Draining)
            }
            Err(error) => Err(Unopened::Malformed(error)),
        }
    }

    /// Takes it out of service. Its open streams finish.
    pub(super) fn drain(&self) {
        *self.handle.lock() = None;
        self.slot.leave(self);
    }

    /// As [`Connection::drain`], for one that has left its slot already.
    pub(super) fn close(&self) {
        *self.handle.lock() = None;
    }

    /// A call was lost with it. True for the first, unless its endpoint has lost others of its age: that is one event.
    pub(super) fn breaks(&self) -> bool {
        !self.broken.swap(true, Ordering::Relaxed) && self.slot.endpoint.breaks(self.made)
    }

    /// What its calls came to is our fault: the peer takes fewer PINGs than we sent.
    pub(super) fn was_wearied(&self) -> bool {
        self.wearied.load(Ordering::Relaxed)
    }

    fn wearies(&self) {
        self.wearied.store(true, Ordering::Relaxed);
        let endpoint = &self.slot.endpoint;
        if endpoint.wearies(self.made) {
            let interval =
                endpoint.keepalive.load().as_ref().map(|rule| tracing::field::debug(endpoint.spaced(rule.interval)));
            tracing::warn!(endpoint = %endpoint.label, interval, "PINGs come too often for it: fewer from now on; see keepalive.interval");
        }
    }

    /// Drains if the peer has said goodbye: h2 tells that only to who would open a stream.
    fn heed_farewell(&self, cx: &mut Context<'_>) {
        let mut handle = self.handle.lock();
        let gone = handle.as_mut().is_some_and(|send| matches!(send.poll_ready(cx), Poll::Ready(Err(_))));
        drop(handle);
        if gone {
            self.drain();
        }
    }

    pub(super) fn drains(&self) -> bool {
        self.handle.lock().is_none()
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// What the peer allows now. Only who drives it says so.
    fn set_limit(&self, limit: usize) {
        let before = self.limit();
        if limit != before {
            self.limit.store(limit, Ordering::Relaxed);
        }
        if limit == 0 && before > 0 {
            // Who takes no streams any more is asked for another connection, and is down if that takes none.
            self.drain();
        }
        if limit > before {
            self.slot.serve_waiting();
        }
    }

    /// Counts a stream if there is room; under the slot's lock.
    pub(super) fn open_one(&self) -> bool {
        let open = self.open.load(Ordering::Relaxed);
        let room = open < self.limit();
        if room {
            self.open.store(open + 1, Ordering::Relaxed);
        }
        room
    }

    /// Few streams are left of it; under the slot's lock.
    #[inline]
    pub(super) fn is_crowded(&self) -> bool {
        self.open.load(Ordering::Relaxed) * 4 >= self.limit() * 3
    }

    /// Streams that it carries now; under the slot's lock.
    pub(super) fn streams(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Streams that it has carried.
    pub(super) fn opened(&self) -> usize {
        self.opened.count()
    }

    /// It carries no stream; under the slot's lock.
    pub(super) fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    /// Under the slot's lock.
    pub(super) fn close_one(&self) {
        self.open.store(self.open.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }
}

/// Makes a connection and drives it to its end.
pub(super) async fn run(connecting: Connecting) {
    let endpoint = Arc::clone(connecting.endpoint());
    let (handle, driven, round_trip) = match establish(&endpoint).await {
        Ok(established) => established,
        Err(failure) => {
            tracing::debug!(endpoint = %endpoint.label, %failure, "no connection");
            return connecting.fail(&failure);
        }
    };
    let limit = driven.h2.max_concurrent_send_streams();
    let most_head = driven.socket.with(|parting| parting.socket().most_head());
    let (pings, asked) = pings();
    let connection = connecting.succeed(|slot| {
        Arc::new(Connection {
            slot,
            handle: Mutex::new(Some(handle)),
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit.min(STREAMS)),
            opened: Arc::clone(&driven.opened),
            most_head,
            replied: AtomicBool::new(false),
            made: Instant::now(),
            broken: AtomicBool::new(false),
            wearied: AtomicBool::new(false),
            reaper: Reaper::new(round_trip),
        })
    });
    let end = End(Arc::clone(&connection));
    let driver = tokio::spawn(drive(end, driven, asked));
    tokio::spawn(super::reaper::run(connection, pings, driver.abort_handle()));
}

/// Drives a connection to its end.
async fn drive(end: End, mut driven: Driven, mut asked: Asked) {
    let connection = &end.0;
    let mut opened = 0;
    let outcome = poll_fn(|cx| {
        let outcome = Pin::new(&mut driven).poll(cx);
        // Peers may change their limit at any time, by a frame.
        if driven.heard {
            connection.set_limit(driven.h2.max_concurrent_send_streams().min(STREAMS));
            // Where calls come they hear of it themselves.
            let before = std::mem::replace(&mut opened, connection.opened());
            if opened == before {
                connection.heed_farewell(cx);
            }
        }
        asked.poll(cx, || driven.h2.ping_pong());
        if let Poll::Ready(Err(error)) = &outcome
            && is_of_pings(error)
        {
            connection.wearies();
        }
        outcome
    })
    .await;
    tracing::debug!(endpoint = %connection.slot.endpoint.label, error = ?outcome.err(), "connection closed");
}

/// Connects, and no more: to see whether it can be done.
pub(super) async fn probe(endpoint: &Endpoint) -> Result<(), Failure> {
    let (handle, driven, _) = establish(endpoint).await?;
    // Without handle and streams h2 says goodbye and ends.
    drop(handle);
    drop(tokio::time::timeout(CONNECT, driven).await);
    Ok(())
}

type Established = (SendRequest<Bytes>, Driven, Duration);

/// What drives a connection: h2, and after each of its turns the frames that it has written.
struct Driven {
    h2: client::Connection<Corked<Parting<Greeted<Socket>>>, Bytes>,
    socket: Corked<Parting<Greeted<Socket>>>,
    opened: Arc<Opened>,
    /// Something has come in its last turn.
    heard: bool,
}

impl Future for Driven {
    type Output = Result<(), h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = Pin::new(&mut self.h2).poll(cx);
        self.heard = self.socket.poll_send(cx);
        if self.opened.holds() && outcome.is_pending() {
            // At once: nobody opens a stream in between.
            outcome = Pin::new(&mut self.h2).poll(cx);
            self.heard |= self.socket.poll_send(cx);
        }
        outcome
    }
}

/// Connected means that the peer's SETTINGS have come: it speaks HTTP/2, it is not merely a listening port, and its limit
/// on streams is known before the first.
async fn establish(endpoint: &Endpoint) -> Result<Established, Failure> {
    let upstream = endpoint.metrics.upstream();
    let made = tokio::time::timeout(CONNECT, async {
        let begin = Instant::now();
        let tcp = TcpStream::connect(endpoint.address).await.map_err(|error| unconnected(&error))?;
        let round_trip = begin.elapsed();
        tune(&tcp).map_err(|error| refused(error.to_string()))?;
        let secured = match endpoint.tls.load_full() {
            None => Socket::Plain(tcp),
            Some(tls) => {
                tls.connect(tcp, endpoint.address.ip()).await.map_err(|error| refused(unsecured(upstream, &error)))?
            }
        };
        let mut opening = Opening::of(&secured);
        let opened = Arc::<Opened>::default();
        let socket = Corked::new(Parting::new(Greeted::new(secured), Arc::clone(&opened)));
        let (handle, h2) =
            builder().handshake(socket.clone()).await.map_err(|error| broken(&error, error.to_string()))?;
        let mut driven = Driven { h2, socket, opened, heard: false };
        poll_fn(|cx| {
            driven.socket.with(|parting| opening.look(parting.socket().socket(), cx));
            match Pin::new(&mut driven).poll(cx) {
                Poll::Ready(Ok(())) => {
                    Poll::Ready(Err(refused(opening.explain(upstream, &"it closed the connection"))))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(broken(&error, opening.explain(upstream, &error)))),
                Poll::Pending if driven.h2.max_concurrent_send_streams() == UNKNOWN => Poll::Pending,
                Poll::Pending => Poll::Ready(Ok(())),
            }
        })
        .await?;
        if driven.h2.max_concurrent_send_streams() == 0 {
            return Err(refused("it takes no streams".to_owned()));
        }
        Ok((handle, driven, round_trip))
    });
    made.await.unwrap_or_else(|_| Err(refused("timed out".to_owned())))
}

fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(VANISHED).with_interval(VANISHED / 4))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(VANISHED))?;
    Ok(())
}

/// What the process itself lacks says nothing of the endpoint, and of no other worker's connections there.
fn unconnected(error: &io::Error) -> Failure {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
            Failure::new(Seen::NotSeen, FailureKind::Overloaded, error.to_string())
        }
        _ => refused(error.to_string()),
    }
}

fn refused(cause: String) -> Failure {
    Failure::new(Seen::NotSeen, FailureKind::ConnectFailed, cause)
}

/// No request was sent yet, so whatever the peer did it has seen none.
fn broken(error: &h2::Error, cause: String) -> Failure {
    let kind = if error.is_library() { FailureKind::Protocol } else { FailureKind::ConnectFailed };
    Failure::new(Seen::NotSeen, kind, cause)
}

/// The goodbye of servers that count PINGs (gRFC A8). h2 tells what is said beside the code in its text alone.
fn is_of_pings(error: &h2::Error) -> bool {
    let is_calm = error.is_remote() && error.is_go_away() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
    is_calm && error.to_string().contains("too_many_pings")
}

fn builder() -> client::Builder {
    let mut builder = client::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST)
        .initial_max_send_streams(UNKNOWN)
        .data_frame_budget(DATA_FRAME_BUDGET)
        .max_concurrent_reset_streams(RESET_MEMORY.0)
        .reset_stream_duration(RESET_MEMORY.1)
        .enable_push(false);
    builder
}

/// The end of the task that drives a connection, whichever way it comes: calls are sent elsewhere, and nothing stays
/// behind that holds the connection.
struct End(Arc<Connection>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.drain();
        self.0.reaper.end();
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::{FailureKind, unconnected};

    #[test]
    fn what_the_process_lacks_is_told_from_what_the_endpoint_does() {
        let kind = |errno: Errno| unconnected(&io::Error::from(errno)).kind;
        for ours in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert!(matches!(kind(ours), FailureKind::Overloaded), "{ours}");
        }
        for theirs in [Errno::CONNREFUSED, Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::ADDRNOTAVAIL] {
            assert!(matches!(kind(theirs), FailureKind::ConnectFailed), "{theirs}");
        }
    }
}
