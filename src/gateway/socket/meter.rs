//! Meter: how many bytes have come over a socket since its last message was whole. What reads a WebSocket keeps them until the next
//! one is, and does not say how many.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::Message;

/// The head of a client's control frame (RFC 6455, 5.2): two bytes and the mask.
const CONTROL: usize = 6;

/// A socket whose bytes are counted as they are read.
#[derive(Debug)]
pub(super) struct Metered<S> {
    socket: S,
    since: usize,
}

impl<S> Metered<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, since: 0 }
    }

    /// What has been read of them was this: the bytes that are kept now. Control frames may come between the parts of a message.
    pub(super) fn passed(&mut self, message: &Message) -> usize {
        if let Message::Text(_) | Message::Binary(_) = message {
            self.since = 0;
            return message.len();
        }
        self.since = self.since.saturating_sub(CONTROL + message.len());
        self.since
    }

    /// Bytes that have been read since the last message.
    pub(super) fn since(&self) -> usize {
        self.since
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        self.since += buf.filled().len() - before;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
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
