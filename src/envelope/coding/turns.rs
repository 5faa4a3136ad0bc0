//! Turns: a long message is compressed, or unpacked, in pieces, between which its thread does what else it has to do. One client's
//! message of some megabytes holds up no call beside it.

use std::io::{self, BufRead, ErrorKind, Read};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::task::yield_now;

use super::encoder::Encoder;
use super::{BROTLI_BUFFER, Coding, ZSTD_WINDOW_LOG};
use crate::error::Error;

/// Bytes that are compressed, taken in or made at once: a millisecond or so of what costs most.
pub const TURN: usize = 32 * 1024;

/// What is at hand, on its way into a coding; none if that failed or is not shorter.
pub struct Packing {
    /// None if there is none to be had.
    encoder: Option<Encoder>,
    bytes: Bytes,
    at: usize,
}

impl Packing {
    /// Of `bytes` into `coding`.
    pub fn new(coding: Coding, bytes: Bytes) -> Self {
        Self { encoder: Encoder::new(coding), bytes, at: 0 }
    }
}

impl Future for Packing {
    type Output = Option<Vec<u8>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let Self { encoder, bytes, at } = &mut *self;
        let turn = &bytes[*at..bytes.len().min(*at + TURN)];
        let written = encoder.as_mut().map(|encoder| encoder.writer().write_all(turn));
        *at += turn.len();
        match written {
            Some(Ok(())) if *at < bytes.len() => give_way(cx),
            Some(Ok(())) => {
                let packed = encoder.take().and_then(|encoder| encoder.finish().ok());
                Poll::Ready(packed.filter(|packed| packed.len() < bytes.len()))
            }
            Some(Err(_)) | None => Poll::Ready(None),
        }
    }
}

/// What a coding says, on its way out of it, up to a limit: a bomb is given up where it exceeds that.
pub struct Unpacking<'b> {
    reader: Box<dyn Read + Send + 'b>,
    out: Vec<u8>,
    /// Bytes that it is made of.
    packed: usize,
    limit: usize,
}

impl<'b> Unpacking<'b> {
    pub(super) fn new(coding: Coding, bytes: impl AsRef<[u8]> + Send + 'b, limit: usize) -> Self {
        let packed = bytes.as_ref().len();
        let input = Input { bytes, at: 0, turn: 0 };
        let reader: Box<dyn Read + Send + 'b> = match coding {
            // Nothing needs no compression.
            _ if packed == 0 => Box::new(input),
            Coding::Identity => Box::new(input),
            Coding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Coding::Brotli => Box::new(brotli::Decompressor::new(input, BROTLI_BUFFER)),
            Coding::Zstd => match zstd::stream::read::Decoder::with_buffer(input) {
                Ok(mut decoder) => match decoder.window_log_max(ZSTD_WINDOW_LOG) {
                    Ok(()) => Box::new(decoder),
                    Err(error) => Box::new(Failed(error.kind())),
                },
                Err(error) => Box::new(Failed(error.kind())),
            },
        };
        Self { reader, out: Vec::new(), packed, limit }
    }

    /// Bytes that are kept for it.
    pub fn held(&self) -> usize {
        self.packed + self.out.len()
    }

    /// All that it says, if this turn was the last.
    pub(super) fn turn(&mut self) -> Result<Option<Vec<u8>>, Error> {
        // One byte more than the limit tells that there is more.
        let most = TURN.min(self.limit.saturating_add(1) - self.out.len());
        match (&mut self.reader).take(most as u64).read_to_end(&mut self.out) {
            Ok(_) if self.out.len() > self.limit => Err(Error::TooLarge { limit: self.limit }),
            Ok(read) if read < most => Ok(Some(std::mem::take(&mut self.out))),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(_) => Err(Error::bad_request("the compressed data is broken")),
        }
    }
}

impl Future for Unpacking<'_> {
    type Output = Result<Vec<u8>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Vec<u8>, Error>> {
        match self.turn().transpose() {
            Some(done) => Poll::Ready(done),
            None => give_way(cx),
        }
    }
}

/// Others have their turns, and those who wait for a socket.
fn give_way<T>(cx: &mut Context<'_>) -> Poll<T> {
    // It asks to be polled again, and needs to be polled for no more than that.
    let _ = pin!(yield_now()).poll(cx);
    Poll::Pending
}

/// Packed bytes, which pause after every turn of them: they may say nothing at all.
struct Input<B> {
    bytes: B,
    at: usize,
    /// Bytes taken in this turn.
    turn: usize,
}

impl<B: AsRef<[u8]>> BufRead for Input<B> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.turn >= TURN {
            self.turn = 0;
            return Err(ErrorKind::WouldBlock.into());
        }
        let rest = &self.bytes.as_ref()[self.at..];
        Ok(&rest[..rest.len().min(TURN - self.turn)])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
        self.turn += amount;
    }
}

impl<B: AsRef<[u8]>> Read for Input<B> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buf)?;
        self.consume(read);
        Ok(read)
    }
}

/// There is no decoder.
struct Failed(ErrorKind);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
}
