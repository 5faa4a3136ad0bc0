//! An answer of one piece that trailers follow.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use transom_transcode::status::Code;

use crate::body::{Broken, End, Streamed};

/// Bytes, then trailers.
pub struct Once {
    bytes: Option<Bytes>,
    trailers: Option<HeaderMap>,
    end: Option<End>,
}

impl Once {
    /// These, of a call whose status is OK.
    pub fn new(bytes: Bytes, trailers: HeaderMap) -> Self {
        Self { end: Some(End::status(Code::Ok)), ..Self::noted(bytes, trailers) }
    }

    /// These, of a call whose outcome is noted already.
    pub fn noted(bytes: Bytes, trailers: HeaderMap) -> Self {
        Self { bytes: Some(bytes), trailers: Some(trailers), end: None }
    }
}

impl Streamed for Once {
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = self.bytes.take().map(Frame::data).or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn end(&self) -> Option<End> {
        self.end.clone()
    }
}
