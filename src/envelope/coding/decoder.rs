//! A request's body out of its content coding while it comes, a piece at a time: however much a few bytes stand for, no
//! more of it is made than is asked for.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncBufRead, AsyncRead};
use tokio::task::coop;
use tokio_util::io::{StreamReader, poll_read_buf};

use super::{Coding, ZSTD_WINDOW_LOG};
use crate::body::Broken;
use crate::body::Incoming;
use crate::envelope::stream::Stop;
use crate::error::Error;
use crate::memory::{Memory, Room};

/// What is made at once.
const PIECE: usize = 16 * 1024;

/// What a compressed body says.
pub struct Decoded {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    piece: BytesMut,
    stop: Stop,
    over: bool,
    /// For what is remembered of what was said.
    _window: Option<Room>,
}

impl Decoded {
    /// What `body` says in `coding`; what is wrong with it is left in `stop`.
    pub fn new<B: Incoming>(body: B, coding: Coding, stop: Stop) -> Self {
        let body = body.map_err(|error| io::Error::new(ErrorKind::ConnectionAborted, error));
        let reader = decoder(coding, StreamReader::new(body.into_data_stream()));
        Self { reader, piece: BytesMut::new(), stop, over: false, _window: None }
    }

    /// The same; what its coding remembers takes room.
    ///
    /// # Errors
    /// [`Error::Overloaded`]: there is none.
    pub fn counted(self, coding: Coding, memory: &Arc<Memory>) -> Result<Self, Error> {
        let mut window = memory.room();
        window.grow(remembered(coding))?;
        Ok(Self { _window: Some(window), ..self })
    }
}

/// Bytes that a decoder remembers where the other side wants it to.
fn remembered(coding: Coding) -> usize {
    match coding {
        Coding::Identity => 0,
        // RFC 1951, 2; RFC 7932, 9.1.
        Coding::Gzip => 1 << 15,
        Coding::Brotli => 1 << 24,
        Coding::Zstd => 1 << ZSTD_WINDOW_LOG,
    }
}

fn decoder<R: AsyncBufRead + Send + 'static>(coding: Coding, body: R) -> Pin<Box<dyn AsyncRead + Send>> {
    match coding {
        Coding::Identity => Box::pin(body),
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(body);
            decoder.multiple_members(true);
            Box::pin(decoder)
        }
        Coding::Brotli => Box::pin(BrotliDecoder::new(body)),
        Coding::Zstd => {
            let mut decoder = ZstdDecoder::with_params(body, &[DParameter::window_log_max(ZSTD_WINDOW_LOG)]);
            decoder.multiple_members(true);
            Box::pin(decoder)
        }
    }
}

impl Body for Decoded {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        // A few bytes may stand for very many, that mean nothing: other calls have their turn in between.
        let turn = ready!(coop::poll_proceed(cx));
        this.piece.reserve(PIECE);
        let read = ready!(poll_read_buf(this.reader.as_mut(), cx, &mut this.piece));
        turn.made_progress();
        Poll::Ready(match read {
            Ok(0) => {
                this.over = true;
                None
            }
            Ok(_) => Some(Ok(Frame::data(this.piece.split().freeze()))),
            Err(error) => {
                this.over = true;
                if error.kind() != ErrorKind::ConnectionAborted {
                    this.stop.with(Error::bad_request("the compressed data is broken"));
                }
                Some(Err(Broken))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Collected, Full, StreamBody};

    use super::*;
    use crate::envelope::coding::compress;

    const ALL: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

    /// A body in chunks of so many bytes.
    fn chunks(bytes: &[u8], size: usize) -> impl Body<Data = Bytes, Error = Infallible> + Send + Unpin + use<> {
        let chunks: Vec<_> = bytes.chunks(size).map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk)))).collect();
        StreamBody::new(futures_util::stream::iter(chunks))
    }

    async fn read(packed: &[u8], size: usize, coding: Coding) -> Result<Bytes, Error> {
        let stop = Stop::default();
        let read = Decoded::new(chunks(packed, size), coding, stop.clone()).collect().await;
        read.map(Collected::to_bytes).map_err(|_| stop.or(Error::Internal))
    }

    #[tokio::test]
    async fn a_body_is_what_it_says_however_it_comes() {
        let text: Bytes = "{\"title\": \"the quick brown fox\"}\n".repeat(2000).into();
        for coding in ALL {
            let packed = compress(coding, &text).unwrap();
            for size in [1, 7, 100_000] {
                assert_eq!(read(&packed, size, coding).await.unwrap(), text, "{coding:?} in chunks of {size}");
            }
            let short = read(&packed[..packed.len() - 9], 50, coding).await;
            assert!(matches!(short, Err(Error::BadRequest { .. })), "{coding:?}: {short:?}");
            let noise = read(b"not compressed at all", 5, coding).await;
            assert!(matches!(noise, Err(Error::BadRequest { .. })), "{coding:?}: {noise:?}");
        }
        let twice = compress(Coding::Gzip, &text).unwrap().repeat(2);
        assert_eq!(read(&twice, 100, Coding::Gzip).await.unwrap().len(), 2 * text.len());
    }

    #[tokio::test]
    async fn a_bomb_goes_off_a_piece_at_a_time() {
        let zeros = vec![0; 64 << 20];
        for coding in ALL {
            let bomb = compress(coding, &zeros).unwrap();
            let mut body = Decoded::new(Full::new(bomb.into()), coding, Stop::default());
            for _ in 0..100 {
                let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
                assert!(piece.len() <= 2 * PIECE, "{coding:?}: {}", piece.len());
            }
        }
    }
}
