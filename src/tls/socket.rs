//! Socket: a TCP connection, with TLS or without. Without, it costs a branch that always goes the same way.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderValue;
use smallvec::SmallVec;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::identity::identity;
#[cfg(feature = "demo")]
use super::identity::is_for;

/// Pieces of so few bytes go out as one, an answer's head and its body above all: the kernel takes 0.25 µs more for `writev` than for
/// `send`, and to copy them costs a tenth of that.
const TOGETHER: usize = 2048;

/// One connection.
#[derive(Debug)]
pub enum Socket {
    /// As it comes.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Whose certificate the other side showed, as `x-forwarded-client-cert` says it; none if it showed none.
    pub fn identity(&self) -> Option<HeaderValue> {
        let Self::Tls(stream) = self else { return None };
        identity(stream.get_ref().1.peer_certificates()?.first()?)
    }

    /// The other side has shown a certificate for one of these names.
    #[cfg(feature = "demo")]
    pub fn is_of(&self, names: &[String]) -> bool {
        let Self::Tls(stream) = self else { return false };
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        shown.is_some_and(|certificate| is_for(certificate, names))
    }

    /// Whoever closes it from now on resets the connection: the other side cannot take what came for the whole.
    pub fn close_by_reset(&self) {
        // One that is not there any more needs none.
        let _ = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// A second descriptor of the socket, to ask the kernel about it.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub fn handle(&self) -> io::Result<OwnedFd> {
        self.tcp().as_fd().try_clone_to_owned()
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => write_together(Pin::new(socket), cx, bufs),
            Self::Tls(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(socket) => socket.is_write_vectored(),
        }
    }
}

/// Writes the pieces, as one if they are small.
fn write_together(socket: Pin<&mut TcpStream>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    if bufs.iter().fold(0, |length: usize, buf| length.saturating_add(buf.len())) > TOGETHER {
        return socket.poll_write_vectored(cx, bufs);
    }
    let mut whole = SmallVec::<[u8; TOGETHER]>::new();
    bufs.iter().for_each(|buf| whole.extend_from_slice(buf));
    socket.poll_write(cx, &whole)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::IoSlice;
    use std::pin::Pin;

    use tokio::io::{AsyncReadExt, AsyncWrite};
    use tokio::net::{TcpListener, TcpStream};

    use super::{Socket, TOGETHER};

    #[tokio::test]
    async fn pieces_arrive_in_their_order_small_and_large() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (here, there) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (mut socket, mut there) = (Socket::Plain(here.unwrap()), there.unwrap().0);
        for second in [0, 1, TOGETHER - 10, TOGETHER - 9, 4 * TOGETHER] {
            let (head, body) = ([b'h'; 10], vec![b'b'; second]);
            let pieces = [IoSlice::new(&head), IoSlice::new(&[]), IoSlice::new(&body)];
            let written = poll_fn(|cx| Pin::new(&mut socket).poll_write_vectored(cx, &pieces)).await.unwrap();
            assert_eq!(written, head.len() + body.len());
            let mut read = vec![0; written];
            there.read_exact(&mut read).await.unwrap();
            assert!(read[..10] == head && read[10..] == body, "{second}");
        }
    }
}
