//! Hang-up: a client that has left while nobody reads what it sent.
//!
//! An HTTP/1.1 connection is read as its request's body is taken. Where the service takes no more of it the connection is
//! unheard: bytes lie in the socket, and behind them the client's close. What the kernel knows of that is asked for beside the
//! reading, by a descriptor of the socket's that nobody reads from. It costs a few calls of the system, so only a connection
//! that stays so has one.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::activity::Activity;

/// Time in which a service takes more, usually.
const SOON: Duration = Duration::from_millis(100);

/// Whether a connection's client has hung up.
#[derive(Debug, Default)]
pub(super) struct Hangup {
    state: State,
    /// Kept once it is made: bodies that are read in pieces are unheard for moments, over and over.
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Default)]
enum State {
    /// The connection is read.
    #[default]
    Hearing,
    /// It is not; `all_along` since the timer was set.
    Unheard { all_along: bool },
    /// A descriptor has been asked for.
    Asked,
    /// The kernel says when the client closes.
    Watched(TcpStream),
    /// There is no descriptor to be had.
    Blind,
}

impl Hangup {
    /// Looks after each turn of the connection; ready when its client has closed or reset it unheard.
    pub(super) fn look(&mut self, cx: &mut Context<'_>, activity: &Activity) -> Poll<()> {
        if activity.is_unheard() {
            return self.poll(cx, activity);
        }
        if !matches!(self.state, State::Hearing) {
            self.state = State::Hearing;
            activity.forget_handle();
        }
        Poll::Pending
    }

    fn poll(&mut self, cx: &mut Context<'_>, activity: &Activity) -> Poll<()> {
        loop {
            match &mut self.state {
                State::Hearing => {
                    let running = self.timer.as_ref().is_some_and(|timer| !timer.is_elapsed());
                    if !running {
                        self.set_timer();
                    }
                    self.state = State::Unheard { all_along: !running };
                }
                State::Unheard { all_along } => {
                    if let Some(timer) = &mut self.timer {
                        ready!(timer.as_mut().poll(cx));
                    }
                    if !*all_along {
                        *all_along = true;
                        self.set_timer();
                        continue;
                    }
                    activity.ask_for_handle();
                    self.state = State::Asked;
                    // The socket gives it when it is next asked to flush.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                State::Asked => {
                    let Some(handle) = activity.take_handle() else { return Poll::Pending };
                    let watched = handle.and_then(|fd| TcpStream::from_std(fd.into()));
                    self.state = watched.map_or(State::Blind, State::Watched);
                }
                State::Watched(socket) => {
                    if ready!(socket.poll_read_ready(cx)).is_err() {
                        return Poll::Pending;
                    }
                    if let Poll::Ready(Ok(ready)) = pin!(socket.ready(Interest::READABLE)).poll(cx)
                        && ready.is_read_closed()
                    {
                        return Poll::Ready(());
                    }
                    // Bytes: they are not ours to read. Who comes away empty-handed waits for more.
                    let _ = socket.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                }
                State::Blind => return Poll::Pending,
            }
        }
    }

    fn set_timer(&mut self) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(Instant::now() + SOON),
            None => self.timer = Some(Box::pin(sleep(SOON))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::os::fd::AsFd as _;
    use std::sync::Arc;

    use socket2::SockRef;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::{Activity, Duration, Hangup, Poll, TcpStream};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// What a connection's task does of it.
    async fn hung_up(hangup: &mut Hangup, activity: &Activity, server: &TcpStream) {
        poll_fn(|cx| {
            activity.offer_handle(|| server.as_fd().try_clone_to_owned());
            hangup.look(cx, activity)
        })
        .await;
    }

    #[tokio::test]
    async fn a_close_and_a_reset_are_noticed_behind_bytes_that_nobody_reads() {
        for reset in [false, true] {
            let (mut client, server) = pair().await;
            let (activity, mut hangup) = (Arc::new(Activity::default()), Hangup::default());
            let _call = activity.begin();
            activity.received();
            client.write_all(b"bytes").await.unwrap();
            let quiet = timeout(Duration::from_millis(300), hung_up(&mut hangup, &activity, &server)).await;
            assert!(quiet.is_err(), "bytes are no close");
            client.write_all(b"more of them").await.unwrap();
            if reset {
                SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(client);
            timeout(Duration::from_secs(20), hung_up(&mut hangup, &activity, &server)).await.expect("it is noticed");
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_unheard_for_moments_asks_for_nothing() {
        let (activity, mut hangup) = (Arc::new(Activity::default()), Hangup::default());
        let _call = activity.begin();
        let turn = async |hangup: &mut Hangup| {
            poll_fn(|cx| {
                assert!(hangup.look(cx, &activity).is_pending());
                Poll::Ready(())
            })
            .await;
        };
        for _ in 0..1000 {
            activity.received();
            turn(&mut hangup).await;
            activity.waits();
            turn(&mut hangup).await;
            tokio::task::yield_now().await;
        }
        activity.offer_handle(|| unreachable!("nobody asked"));
    }
}
