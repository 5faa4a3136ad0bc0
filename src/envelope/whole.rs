//! A request's body as a whole, for envelopes of which it is one message.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http_body::Body;

use crate::error::Error;

/// Memory taken before a body's bytes are there, whatever its length says.
const FIRST_CHUNK: usize = 64 * 1024;

/// The whole body, of at most `limit` bytes; without a copy where it comes in one piece.
pub async fn read<B>(mut body: B, limit: usize) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while !body.is_end_stream() {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else { break };
        // Trailers mean nothing here.
        let Ok(data) = frame.map_err(|error| broken(&*error.into()))?.into_data() else { continue };
        if first.len() + all.len() + data.len() > limit {
            return Err(Error::TooLarge { limit });
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                let announced = usize::try_from(body.size_hint().lower()).unwrap_or(FIRST_CHUNK);
                all.reserve(first.len() + data.len() + announced.min(FIRST_CHUNK));
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// A body that ended early: the client left, or it sent what is no HTTP.
fn broken(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    match error.downcast_ref::<hyper::Error>() {
        Some(error) if error.is_parse() || error.is_body_write_aborted() || is_no_chunk(error) => {
            Error::bad_request("the body's framing is broken")
        }
        _ => Error::ClientGone,
    }
}

/// A chunk that HTTP/1.1 does not have: hyper tells it as an I/O error of these kinds.
fn is_no_chunk(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}
