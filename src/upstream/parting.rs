//! Parting: what a peer hears of streams that were opened before its goodbye was read.
//!
//! A service that stops says GOAWAY without a last stream, and PING; once that is answered it takes it that nothing new is on its way
//! (RFC 9113 §6.8) and names the last one. h2 answers as soon as it has read, and sends the heads that calls have left with it after
//! that: Netty ends the connection, and every call on it, for one of those. So a goodbye is read when they are written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use memchr::memchr_iter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A GOAWAY's type, its flags, and the connection's own stream. That other bytes may look so does no harm.
const GOAWAY: [u8; 6] = [7, 0, 0, 0, 0, 0];

/// The streams of a connection, as those know it who open them and who read.
#[derive(Debug, Default)]
pub(super) struct Opened {
    count: AtomicUsize,
    /// What has come is held back.
    held: AtomicBool,
}

impl Opened {
    pub(super) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    pub(super) fn set(&self, count: usize) {
        self.count.store(count, Relaxed);
    }

    /// Something is to be read that was held back until now.
    pub(super) fn holds(&self) -> bool {
        self.held.load(Relaxed)
    }
}

/// A socket on which a goodbye is held back for as long as heads may wait: until the turn that was to read it is over.
pub(super) struct Parting<S> {
    socket: S,
    opened: Arc<Opened>,
    /// Streams whose heads do not wait.
    written: usize,
    held: Vec<u8>,
}

impl<S> Parting<S> {
    pub(super) fn new(socket: S, opened: Arc<Opened>) -> Self {
        Self { socket, opened, written: 0, held: Vec::new() }
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    /// What was held back, as much as there is room for.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let given = self.held.len().min(buf.remaining());
        buf.put_slice(&self.held[..given]);
        self.held.drain(..given);
        self.opened.held.store(!self.held.is_empty(), Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Parting<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.opened.holds() {
            this.give(buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(cx, buf);
        let opened = this.opened.count();
        if opened == this.written {
            return read;
        }
        if read.is_pending() {
            // Who reads writes next.
            this.written = opened;
            return read;
        }
        let come = &buf.filled()[before..];
        if memchr_iter(GOAWAY[0], come).any(|at| come[at..].starts_with(&GOAWAY)) {
            this.written = opened;
            this.held.extend_from_slice(come);
            this.opened.held.store(true, Relaxed);
            buf.set_filled(before);
            return Poll::Pending;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Parting<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
