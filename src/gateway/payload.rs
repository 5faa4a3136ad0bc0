//! Payload: what a call sends to its upstream, in gRPC's frames: all of it at hand, or a stream.

use std::pin::Pin;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use transom_transcode::frame::{PREFIX, prefix};

use super::call::Call;
use super::codec::ToWire;
use super::route::{Binding, Rpc};
use crate::body::Broken;
use crate::envelope::coding::Coding;
use crate::envelope::grpc_web::Text;
use crate::envelope::stream::opaque::Watched;
use crate::envelope::stream::{Prefixed, Requests, Stop};
use crate::envelope::{Dialect, whole};
use crate::error::Error;

/// What a call sends.
pub(super) enum Payload {
    /// All of it is at hand, in its frame: it can be sent again.
    Whole(Bytes),
    /// Frames as they come.
    Stream(Frames, Stop),
}

/// A client's messages in their frames. One kind of body, whatever the envelope.
pub(super) type Frames = Pin<Box<dyn http_body::Body<Data = Bytes, Error = Broken> + Send>>;

impl Payload {
    /// The client's messages, in an envelope that streams.
    pub(super) fn stream<B>(call: &mut Call, binding: &Binding, coding: Coding, body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let stop = call.stop();
        match call.dialect {
            Dialect::GrpcWeb { text: true, .. } => {
                let body = Text::new(body, stop.clone());
                Self::framed(call, binding, coding, body, stop)
            }
            _ => Self::framed(call, binding, coding, body, stop),
        }
    }

    /// The messages of a body whose frames are gRPC's.
    fn framed<B>(call: &mut Call, binding: &Binding, coding: Coding, body: B, stop: Stop) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let limit = binding.rpc.send.output;
        if !binding.rpc.reads(call.dialect) {
            return Self::Stream(Box::pin(Watched::new(body, limit, stop.clone())), stop);
        }
        let codec = ToWire::new(call, binding, call.dialect.codec());
        let room = call.worker.pool.memory().room();
        let messages = Requests::new(body, Prefixed::new(limit, coding), codec, stop.clone(), room);
        let messages = messages.paced(binding.rpc.pace());
        Self::Stream(Box::pin(messages), stop)
    }

    /// The one message that it says, for what looks into it; its frame is as good as the stream.
    ///
    /// # Errors
    /// It is not one message: what is read in the first would not be what the service reads in the last.
    pub(super) async fn whole(
        self,
        call: &mut Call,
        rpc: &Rpc,
        headers: &HeaderMap,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let (body, stop) = match self {
            Self::Stream(body, stop) => (body, stop),
            whole @ Self::Whole(_) => return Ok(whole),
        };
        let limit = rpc.send.output;
        // One message, and no more.
        let read = whole::read(body, limit.saturating_add(PREFIX), call.worker.pool.memory());
        let frame = match call.worker.pool.within(deadline, read).await {
            Some(Ok(frame)) => frame,
            Some(Err(Error::TooLarge { .. })) => return Err(Error::TooLarge { limit }),
            Some(Err(full @ Error::Overloaded { .. })) => return Err(full),
            Some(Err(_)) => return Err(stop.or(Error::ClientGone)),
            None => return Err(call.worker.pool.unread()),
        };
        if !is_one(&frame) {
            return Err(Error::bad_request("this method takes one message"));
        }
        call.let_in(rpc, headers, &frame).await?;
        Ok(Self::Whole(frame))
    }
}

/// One frame and nothing more, whether it is compressed or not.
fn is_one(frame: &[u8]) -> bool {
    frame.split_at_checked(PREFIX).is_some_and(|(before, message)| before[1..] == prefix(message.len())[1..])
}
