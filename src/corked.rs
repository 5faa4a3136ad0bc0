//! Corked: a socket that keeps what is written to it until its turn ends, and sends that in one system call.
//!
//! h2 flushes after every DATA frame of 256 bytes or more. On a connection that many calls share, each of them would pay for a
//! system call, and those are the dearest part of a small call. Here a flush sends nothing: who drives the connection calls
//! [`Corked::poll_send`] when it has polled it, and all that the turn has written goes out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use atomic_refcell::AtomicRefCell;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait at most; more is sent before the turn ends. Two DATA frames of the usual size.
const ROOM: usize = 32 * 1024;

/// A handle on a corked socket: one for who writes, a clone of it for who drives. Both are one task: there is nothing to wait
/// for, and of the two locked instructions of a lock, which a small call takes eight times, there is one.
#[derive(Debug)]
pub struct Corked<S>(Arc<AtomicRefCell<Inner<S>>>);

/// The socket, and what waits for it.
#[derive(Debug)]
struct Inner<S> {
    socket: S,
    waiting: Vec<u8>,
    /// Bytes of `waiting` that have gone.
    gone: usize,
    /// A socket that encrypts may hold bytes that it has taken.
    held: bool,
    /// Bytes have come since the last turn was sent.
    heard: bool,
    /// Why a turn could not be sent; whoever reads next is told.
    failed: Option<io::Error>,
}

impl<S> Clone for Corked<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Corked<S> {
    /// Keeps what is written to this socket.
    pub fn new(socket: S) -> Self {
        let inner = Inner { socket, waiting: Vec::new(), gone: 0, held: false, heard: false, failed: None };
        Self(Arc::new(AtomicRefCell::new(inner)))
    }

    /// What is asked of the socket itself.
    pub fn with<T>(&self, ask: impl FnOnce(&S) -> T) -> T {
        ask(&self.0.borrow().socket)
    }

    /// Sends what waits, as much as the socket takes; the task is woken when it takes more. To be called after each poll of
    /// what writes here. An error is given to the read after all that has come: a peer that closes may have said why, and one
    /// of HTTP/2 which calls it has not looked at. True if bytes have come since all was sent.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> bool {
        let mut inner = self.0.borrow_mut();
        match inner.poll_send(cx) {
            // What has come may not be acted upon before there is room for the answer.
            Poll::Pending => return inner.heard,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                inner.failed = Some(error);
                cx.waker().wake_by_ref();
            }
        }
        std::mem::take(&mut inner.heard)
    }
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    /// Ready when nothing waits.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.gone < self.waiting.len() {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, &self.waiting[self.gone..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.gone += sent,
            }
            self.held = true;
        }
        if self.held {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.held = false;
        }
        self.waiting.clear();
        self.gone = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut inner.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            inner.heard = true;
            return read;
        }
        match inner.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        if inner.waiting.len() + buf.len() > ROOM {
            ready!(inner.poll_send(cx))?;
        }
        let taken = buf.len().min(ROOM);
        inner.waiting.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    /// Sends nothing: the turn is not over.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};

    use super::{Corked, ROOM};

    async fn send<S: AsyncRead + AsyncWrite + Unpin>(corked: &Corked<S>) {
        poll_fn(|cx| {
            corked.poll_send(cx);
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn a_turn_goes_out_when_it_is_sent_and_not_before() {
        let (here, mut there) = duplex(4 * ROOM);
        let mut corked = Corked::new(here);
        corked.write_all(b"one ").await.unwrap();
        corked.flush().await.unwrap();
        corked.write_all(b"two").await.unwrap();
        let mut seen = [0; 16];
        let early = poll_fn(|cx| {
            let mut read = std::pin::pin!(there.read(&mut seen));
            Poll::Ready(read.as_mut().poll(cx).is_ready())
        });
        assert!(!early.await, "nothing was sent yet");
        send(&corked).await;
        let read = there.read(&mut seen).await.unwrap();
        assert_eq!(&seen[..read], b"one two");
    }

    #[tokio::test]
    async fn more_than_there_is_room_for_goes_out_in_order() {
        let (here, mut there) = duplex(1000);
        let mut corked = Corked::new(here);
        let sent: Vec<u8> = (0..5 * ROOM).map(|at| (at % 251) as u8).collect();
        let expected = sent.clone();
        let write = async move {
            corked.write_all(&sent).await.unwrap();
            corked.shutdown().await.unwrap();
        };
        let mut seen = Vec::new();
        let (_, read) = tokio::join!(write, there.read_to_end(&mut seen));
        read.unwrap();
        assert!(seen == expected);
    }

    #[tokio::test]
    async fn who_reads_learns_that_a_turn_could_not_be_sent_after_what_came_before() {
        let (here, mut there) = duplex(10);
        let mut corked = Corked::new(here);
        corked.write_all(b"too late").await.unwrap();
        there.write_all(b"goodbye").await.unwrap();
        drop(there);
        send(&corked).await;
        let mut said = [0; 16];
        let read = corked.read(&mut said).await.unwrap();
        assert_eq!(&said[..read], b"goodbye");
        let error = corked.read(&mut said).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }
}
