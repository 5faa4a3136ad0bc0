//! A request's body as a whole, for envelopes of which it is one message.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;

use crate::error::Error;
use crate::memory::{Memory, Room, SMALL};

/// The whole body, of at most `limit` bytes; without a copy where it comes in one piece.
///
/// # Errors
/// It is too long or broken off, or there is no `memory` for it.
pub async fn read<B>(mut body: B, limit: usize, memory: &Arc<Memory>) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut first = Bytes::new();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
    let mut all = Growing { bytes: Vec::new(), room: None };
    while !body.is_end_stream() {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else { break };
        // Trailers mean nothing here.
        let Ok(data) = frame.map_err(|error| broken(&*error.into()))?.into_data() else { continue };
        if first.len() + all.bytes.len() + data.len() > limit {
            return Err(Error::TooLarge { limit });
        }
        if first.is_empty() && all.bytes.is_empty() {
            first = data;
        } else {
            if all.bytes.is_empty() {
                all.bytes.reserve_exact((first.len() + data.len()).max(announced.min(SMALL)));
                all.bytes.extend_from_slice(&std::mem::take(&mut first));
            }
            all.push(&data, if announced > 0 { announced } else { limit }, memory)?;
        }
    }
    Ok(match all.room {
        Some(room) => room.hold(all.bytes.into()),
        None if all.bytes.is_empty() => first,
        None => all.bytes.into(),
    })
}

/// A body as it comes in, and the room that it takes once it is no small one.
struct Growing {
    bytes: Vec<u8>,
    room: Option<Room>,
}

impl Growing {
    /// One piece more, of `whole` bytes in the end.
    fn push(&mut self, data: &[u8], whole: usize, memory: &Arc<Memory>) -> Result<(), Error> {
        let needed = self.bytes.len() + data.len();
        if needed > self.bytes.capacity() {
            // Whatever its length says: twice of what has come, at most.
            let capacity = needed.max(whole.min(2 * self.bytes.capacity()));
            if capacity > SMALL {
                self.room.get_or_insert_with(|| memory.room()).grow(capacity)?;
            }
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
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
