//! Which HTTP a new connection speaks, told by its first bytes, which are then given back to it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;

use super::activity::Activity;
use crate::telemetry::Protocol;
use crate::tls::Socket;

/// What an HTTP/2 client says first (RFC 9113, 3.4). No HTTP/1.1 request begins with these bytes.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first bytes of a connection.
#[derive(Debug)]
pub(super) struct Head {
    bytes: [u8; PREFACE.len()],
    from: usize,
    to: usize,
}

/// Reads until it is clear what the client speaks; none if it left without a word.
pub(super) async fn detect(socket: &mut Socket) -> io::Result<Option<(Protocol, Head)>> {
    let mut head = Head { bytes: [0; PREFACE.len()], from: 0, to: 0 };
    while head.to < PREFACE.len() && head.bytes[..head.to] == PREFACE[..head.to] {
        match socket.read(&mut head.bytes[head.to..]).await? {
            0 if head.to == 0 => return Ok(None),
            0 => break,
            read => head.to += read,
        }
    }
    let protocol = if head.bytes == *PREFACE { Protocol::Http2 } else { Protocol::Http1 };
    Ok(Some((protocol, head)))
}

/// A connection that begins with what has been read of it, and notes when bytes come and go.
#[derive(Debug)]
pub(super) struct Rewound {
    head: Head,
    socket: TokioIo<Socket>,
    activity: Arc<Activity>,
}

impl Rewound {
    pub(super) fn new(head: Head, socket: Socket, activity: Arc<Activity>) -> Self {
        Self { head, socket: TokioIo::new(socket), activity }
    }

    /// Notes what became of a write.
    fn noted<T>(&self, written: Poll<T>) -> Poll<T> {
        self.give_handle();
        self.activity.stuck(written.is_pending());
        if written.is_ready() {
            self.activity.sent();
        }
        written
    }

    /// Gives a descriptor of the socket to who has asked for one.
    fn give_handle(&self) {
        self.activity.offer_handle(|| self.socket.inner().handle());
    }

    /// Waits for bytes, which are kept for who reads next; false: no more will come.
    pub(super) async fn wait(&mut self) -> io::Result<bool> {
        let read = self.socket.inner_mut().read(&mut self.head.bytes).await?;
        (self.head.from, self.head.to) = (0, read);
        Ok(read > 0)
    }
}

impl Drop for Rewound {
    fn drop(&mut self) {
        if self.activity.is_to_reset() {
            self.socket.inner().close_by_reset();
        }
    }
}

impl Read for Rewound {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.head.from < this.head.to {
            let end = this.head.to.min(this.head.from + buf.remaining());
            buf.put_slice(&this.head.bytes[this.head.from..end]);
            this.head.from = end;
        } else {
            let read = Pin::new(&mut this.socket).poll_read(cx, buf);
            if read.is_pending() {
                this.activity.waits();
            }
            ready!(read)?;
        }
        this.activity.received();
        Poll::Ready(Ok(()))
    }
}

impl Write for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.noted(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.give_handle();
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.activity.stuck(flushed.is_pending());
        if matches!(flushed, Poll::Ready(Ok(()))) && self.activity.flushed() {
            // It waits in this same task.
            cx.waker().wake_by_ref();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.noted(written)
    }
}
