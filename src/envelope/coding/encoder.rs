//! Compression of what goes out: at once, or chunk by chunk, each of which can be read when it has come.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use super::Coding;
use crate::body::{Broken, End, Streamed};
use crate::error::Error;

/// Levels at which compression keeps up with a network and a stream's state stays within a few hundred KiB.
const GZIP_LEVEL: u32 = 5;
const BROTLI_LEVEL: u32 = 4;
const BROTLI_WINDOW_LOG: u32 = 16;
const BROTLI_BUFFER: usize = 4096;
const ZSTD_LEVEL: i32 = 1;
const ZSTD_WINDOW_LOG: u32 = 17;

/// All of `bytes`, compressed; none if that failed or is not shorter.
pub fn compress(coding: Coding, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = Encoder::new(coding)?;
    encoder.writer().write_all(bytes).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len() < bytes.len()).then_some(packed)
}

/// One compression under way.
pub(super) enum Encoder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    pub(super) fn new(coding: Coding) -> Option<Self> {
        Some(match coding {
            Coding::Identity => return None,
            Coding::Gzip => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))),
            Coding::Brotli => {
                let writer = brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER, BROTLI_LEVEL, BROTLI_WINDOW_LOG);
                Self::Brotli(Box::new(writer))
            }
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).ok()?;
                encoder.window_log(ZSTD_WINDOW_LOG).ok()?;
                Self::Zstd(encoder)
            }
        })
    }

    pub(super) fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(encoder) => encoder,
            Self::Brotli(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        }
    }

    /// A chunk, to its last byte.
    fn chunk(&mut self, bytes: &[u8]) -> io::Result<Bytes> {
        let writer = self.writer();
        writer.write_all(bytes)?;
        writer.flush()?;
        let out = match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        };
        Ok(std::mem::take(out).into())
    }

    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// A streamed body, compressed while it is sent.
pub(super) struct Compressed {
    body: Pin<Box<dyn Streamed>>,
    /// None once its last bytes have been given.
    encoder: Option<Encoder>,
    failed: bool,
}

impl Compressed {
    /// `body` in `coding`, which is not [`Coding::Identity`].
    pub(super) fn new(body: Pin<Box<dyn Streamed>>, coding: Coding) -> Self {
        let encoder = Encoder::new(coding);
        Self { body, failed: encoder.is_none(), encoder }
    }
}

impl Streamed for Compressed {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(mut encoder) = self.encoder.take() else { return Poll::Ready(None) };
        let Poll::Ready(frame) = self.body.as_mut().poll_frame(cx) else {
            self.encoder = Some(encoder);
            return Poll::Pending;
        };
        let packed = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => encoder.chunk(&data).inspect(|_| self.encoder = Some(encoder)),
                // Trailers: bodies of HTTP have none that mean something.
                Err(_) => encoder.finish().map(Bytes::from),
            },
            Some(Err(broken)) => return Poll::Ready(Some(Err(broken))),
            None => encoder.finish().map(Bytes::from),
        };
        Poll::Ready(Some(packed.map(Frame::data).map_err(|_| {
            self.failed = true;
            Broken
        })))
    }

    fn end(&self) -> Option<End> {
        match self.failed {
            true => Some(End::error(&Error::Internal, Some("compression failed".to_owned()))),
            false => self.body.end(),
        }
    }
}
