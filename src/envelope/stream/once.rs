//! An answer of one piece that trailers follow.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use transom_transcode::status::Code;

use crate::body::{Broken, End, Streamed};

/// Bytes, then trailers; its status is OK.
pub struct Once {
    bytes: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Once {
    /// These.
    pub fn new(bytes: Bytes, trailers: HeaderMap) -> Self {
        Self { bytes: Some(bytes), trailers: Some(trailers) }
    }
}

impl Streamed for Once {
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = self.bytes.take().map(Frame::data).or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn end(&self) -> End {
        End::status(Code::Ok)
    }
}
