//! Frames: where in HTTP/2's frames a client is, so that a head which does not end is told from a connection at rest.
//!
//! hyper says nothing of what it has of a head. Frames are nine bytes that say how long the rest is (RFC 9113, 4.1), which is all
//! that is read here: what is wrong with them is h2's to find.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::preface::PREFACE;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// A socket on which HTTP/2 is spoken, from the preface on; notes whether a head has begun and not ended.
#[derive(Debug)]
pub(super) struct Framed<S> {
    socket: S,
    frames: Frames,
    activity: Arc<Activity>,
}

impl<S> Framed<S> {
    pub(super) fn new(socket: S, activity: Arc<Activity>) -> Self {
        let frames = Frames::default();
        activity.heading(frames.is_heading());
        Self { socket, frames, activity }
    }
}

/// What has come so far.
#[derive(Debug)]
struct Frames {
    /// The frame's first bytes, as far as they have come.
    head: [u8; 9],
    have: usize,
    /// Bytes of the frame, or of the preface, that are still to come.
    left: usize,
    part: Part,
}

/// What the last frame is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The first word of the client's.
    Greeting,
    /// A request's head, or its trailers.
    Head,
    /// The end of one.
    LastOfHead,
    Other,
}

impl Default for Frames {
    fn default() -> Self {
        Self { head: [0; 9], have: 0, left: PREFACE.len(), part: Part::Greeting }
    }
}

impl Frames {
    fn read(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let taken = bytes.len().min(self.head.len() - self.have);
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == self.head.len() {
                self.have = 0;
                let [a, b, c, kind, flags, ..] = self.head;
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                self.part = match kind {
                    HEADERS | CONTINUATION if flags & END_HEADERS == 0 => Part::Head,
                    HEADERS | CONTINUATION => Part::LastOfHead,
                    _ => Part::Other,
                };
            }
        }
    }

    fn is_heading(&self) -> bool {
        match self.part {
            Part::Greeting | Part::Head => true,
            Part::LastOfHead => self.left > 0,
            Part::Other => false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
        this.frames.read(&buf.filled()[before..]);
        this.activity.heading(this.frames.is_heading());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framed<S> {
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
    use super::{CONTINUATION, END_HEADERS, Frames, HEADERS};
    use crate::server::preface::PREFACE;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        [&[0, 0, u8::try_from(payload).unwrap(), kind, flags, 0, 0, 0, 1][..], &vec![0xff; payload]].concat()
    }

    #[test]
    fn a_head_is_open_from_its_frame_to_its_end_however_the_bytes_come() {
        let said = [
            (PREFACE.to_vec(), true),
            (frame(4, 0, 6), false),
            (frame(HEADERS, END_HEADERS, 40), false),
            (frame(0, 1, 200), false),
            (frame(HEADERS, 1, 30), true),
            (frame(CONTINUATION, 0, 0), true),
            (frame(CONTINUATION, END_HEADERS, 9), false),
            (frame(6, 0, 8), false),
        ];
        for step in [1, 7, usize::MAX] {
            let mut frames = Frames::default();
            for (bytes, heading) in &said {
                bytes.chunks(step.min(bytes.len())).for_each(|bytes| frames.read(bytes));
                assert_eq!(frames.is_heading(), *heading, "in steps of {step} after {bytes:?}");
            }
            let last = frame(HEADERS, END_HEADERS, 40);
            frames.read(&last[..20]);
            assert!(frames.is_heading());
            frames.read(&last[20..]);
            assert!(!frames.is_heading());
        }
        let mut frames = Frames::default();
        let all: Vec<u8> = said.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        frames.read(&all);
        assert!(!frames.is_heading());
    }
}
