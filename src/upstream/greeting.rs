//! Greeting: a peer's first frame, its SETTINGS, read for what h2 does not tell of it: how large a head the peer takes.
//!
//! h2 holds no client to that, and some services (grpc-java's) end the connection, and with it every call that it carries, for one
//! head that is larger.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a frame before its payload.
const HEAD: usize = 9;
/// Bytes of one setting.
const SETTING: usize = 6;
/// What is read of a frame: there are hardly ten settings.
const MOST: usize = HEAD + 64 * SETTING;
/// SETTINGS_MAX_HEADER_LIST_SIZE
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// A socket whose first frame is listened to.
pub(super) struct Greeted<S> {
    socket: S,
    greeting: Greeting,
}

enum Greeting {
    /// So much of it has come.
    Coming(Vec<u8>),
    /// The peer takes heads of so many bytes, as HTTP/2 counts them.
    Heard(usize),
}

impl<S> Greeted<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, greeting: Greeting::Coming(Vec::new()) }
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    /// Bytes of a head that the peer takes, as it has said; what it says later is not heard.
    pub(super) fn most_head(&self) -> usize {
        match self.greeting {
            Greeting::Coming(_) => usize::MAX,
            Greeting::Heard(most) => most,
        }
    }
}

impl Greeting {
    fn hear(&mut self, bytes: &[u8]) {
        let Self::Coming(come) = self else { return };
        come.extend_from_slice(&bytes[..bytes.len().min(MOST - come.len())]);
        let Some((&[a, b, c, ..], settings)) = come.split_first_chunk::<HEAD>() else { return };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if settings.len() < length.min(MOST - HEAD) {
            return;
        }
        // That the frame is SETTINGS is h2's to see.
        let most = settings[..length.min(settings.len())]
            .chunks_exact(SETTING)
            .rfind(|setting| setting[..2] == MAX_HEADER_LIST_SIZE.to_be_bytes())
            .and_then(|setting| Some(u32::from_be_bytes(*setting.last_chunk()?) as usize));
        *self = Self::Heard(most.unwrap_or(usize::MAX));
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if matches!(self.greeting, Greeting::Heard(_)) {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        self.greeting.hear(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
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

#[cfg(test)]
mod tests {
    use super::{Greeting, MOST};

    fn settings(said: &[(u16, u32)]) -> Vec<u8> {
        let length = u8::try_from(said.len() * 6 % 256).unwrap();
        let head = [0, u8::try_from(said.len() * 6 / 256).unwrap(), length, 4, 0, 0, 0, 0, 0];
        let said = said.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        head.into_iter().chain(said).collect()
    }

    #[test]
    fn what_a_peer_takes_is_heard_however_its_bytes_come() {
        let many: Vec<_> = (0..200).map(|id| (id + 100, 1)).collect();
        for (said, most) in [
            (&[(3, 100), (6, 8192), (4, 65_535)][..], 8192),
            (&[(6, 8192), (6, 9000)], 9000),
            (&[(3, 6)], usize::MAX),
            (&[], usize::MAX),
            (&many, usize::MAX),
        ] {
            // What follows is no part of it.
            let bytes = [settings(said), settings(&[(6, 7)])].concat();
            for step in [1, 5, bytes.len()] {
                let mut greeting = Greeting::Coming(Vec::new());
                bytes.chunks(step).for_each(|bytes| greeting.hear(bytes));
                assert!(matches!(greeting, Greeting::Heard(heard) if heard == most), "{said:?} in steps of {step}");
            }
        }
        let mut greeting = Greeting::Coming(Vec::new());
        greeting.hear(&settings(&many)[..MOST - 1]);
        assert!(matches!(greeting, Greeting::Coming(_)));
    }
}
