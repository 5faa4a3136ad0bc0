//! Calls whose messages stream: opened here, then carried by their bodies.

use std::error::Error as StdError;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;
use transom_transcode::frame::{PREFIX, prefix};
use transom_transcode::plan::OutPlan;
use transom_transcode::to_wire::Media;

use super::call::Call;
use super::codec::{Beside, FromWire, ToWire};
use super::route::{Binding, Rpc};
use super::translate::answer;
use crate::body::{Body, Broken};
use crate::envelope::coding::{Coding, Decoded, Packed};
use crate::envelope::grpc_web::Text;
use crate::envelope::head::Known;
use crate::envelope::stream::opaque::{Frames, Watched};
use crate::envelope::stream::{Prefixed, Replies, Requests, Stop, Writer};
use crate::envelope::{Dialect, connect, grpc, grpc_web, metadata, rest};
use crate::error::Error;
use crate::policy::rate::Stage;
use crate::upstream::{Outgoing, ReplyBody};

/// A REST server stream's head waits this long for the first message.
const FIRST_MESSAGE: Duration = Duration::from_secs(1);

/// What a call asks its upstream.
pub(super) enum Asking {
    /// All of it is at hand, in its frame: it can be sent again.
    Whole(Bytes),
    /// Frames as they come. One kind of body, whatever the envelope.
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = Broken> + Send>>, Stop),
}

impl Asking {
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
        if call.dialect.is_opaque() && binding.rpc.opaque && !binding.rpc.is_noted() {
            return Self::Stream(Box::pin(Watched::new(body, limit, stop.clone())), stop);
        }
        let codec = ToWire::new(call, binding, call.dialect.codec());
        let messages = Requests::new(body, Prefixed::new(limit, coding), codec, stop.clone());
        let messages = messages.paced(binding.rpc.pace());
        Self::Stream(Box::pin(messages), stop)
    }

    /// The messages of a REST body; what path and query say goes with the first.
    pub(super) fn messages<B>(
        call: &mut Call,
        binding: &Binding,
        (head, known): (&Parts, &Known<'_>),
        captured: &[&str],
        body: B,
    ) -> Result<Self, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let limit = binding.rpc.settings.body.value;
        let (reader, media, coding) = rest::admit_stream(known, &body, limit, binding.taken())?;
        let beside = Beside {
            captures: captured.iter().map(|&capture| capture.into()).collect(),
            query: head.uri.query().unwrap_or_default().into(),
            raw: match media {
                Media::Raw(content_type) => Some(content_type.into()),
                Media::Json | Media::Form => None,
            },
        };
        let (stop, codec) = (call.stop(), ToWire::with(call, binding, beside));
        let pace = binding.rpc.pace();
        if coding != Coding::Identity {
            let body = Decoded::new(body, coding, stop.clone()).counted(coding, call.worker.pool.memory())?;
            return Ok(Self::Stream(Box::pin(Requests::new(body, reader, codec, stop.clone()).paced(pace)), stop));
        }
        Ok(Self::Stream(Box::pin(Requests::new(body, reader, codec, stop.clone()).paced(pace)), stop))
    }
}

impl Asking {
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
        let read = Limited::new(body, limit.saturating_add(PREFIX)).collect();
        let frame = match call.worker.pool.within(deadline, read).await {
            Some(Ok(read)) => read.to_bytes(),
            Some(Err(error)) if error.is::<LengthLimitError>() => return Err(Error::TooLarge { limit }),
            Some(Err(_)) => return Err(stop.or(Error::ClientGone)),
            None => return Err(Error::Deadline),
        };
        if !is_one(&frame) {
            return Err(Error::bad_request("this method takes one message"));
        }
        call.limit(rpc, Stage::Message, headers, &frame[PREFIX..]).await?;
        call.note(rpc, &frame);
        Ok(Self::Whole(frame))
    }
}

/// One frame and nothing more, whether it is compressed or not.
fn is_one(frame: &[u8]) -> bool {
    frame.split_at_checked(PREFIX).is_some_and(|(before, message)| before[1..] == prefix(message.len())[1..])
}

/// Asks with a stream, and answers with one message.
pub(super) async fn client_stream(
    call: &mut Call,
    binding: &Binding,
    out: OutPlan,
    outgoing: Outgoing<'_>,
    asking: Asking,
) -> Result<Response<Body>, Error> {
    let (rpc, worker) = (&binding.rpc, call.worker.clone());
    call.asks();
    let (reply, stop) = match asking {
        Asking::Whole(message) => (rpc.upstream.unary(&worker.pool, outgoing, message).await, Stop::default()),
        Asking::Stream(body, stop) => (rpc.upstream.client_stream(&worker.pool, outgoing, body).await, stop),
    };
    let reply = reply.map_err(|failure| stop.or(call.failed(failure)))?;
    call.answered(reply.endpoint);
    let content = answer(&worker, rpc, &out, &reply.message)?;
    Ok(rest::reply(content, [&reply.headers, &reply.trailers], &rpc.crossing))
}

/// Asks, and answers with a stream.
pub(super) async fn stream(
    call: &mut Call,
    binding: &Binding,
    out: OutPlan,
    head: &Parts,
    outgoing: Outgoing<'_>,
    (asking, coding): (Asking, Coding),
) -> Result<Response<Body>, Error> {
    let (upstream, worker) = (&binding.rpc.upstream, call.worker.clone());
    call.asks();
    let (reply, stop) = match asking {
        Asking::Whole(message) => (upstream.server_stream(&worker.pool, outgoing, message).await, Stop::default()),
        Asking::Stream(body, stop) => (upstream.stream(&worker.pool, outgoing, body).await, stop),
    };
    let reply = reply.map_err(|failure| stop.or(call.failed(failure)))?;
    call.answered(reply.endpoint);
    let (codec, limit) = (call.dialect.codec(), binding.rpc.receive);
    let heartbeat = worker.heartbeat;
    let packed = Packed::of(&reply.headers, limit);
    let codec = FromWire::new(&worker, &binding.rpc, out, codec);
    let answer = Answer { codec, upstream: reply.body, packed, limit, stop };
    // Of messages that cross unread the upstream says how they are compressed.
    let coded = match call.dialect.is_opaque() {
        true => reply.headers.get(&metadata::GRPC_ENCODING).cloned(),
        false => (coding != Coding::Identity).then(|| coding.name()),
    };
    match call.dialect {
        Dialect::Grpc(codec) => Ok(grpc::reply(reply.headers, codec, coded, answer.through(grpc::Frames { coding }))),
        Dialect::GrpcWeb { codec, text } => {
            let body = answer.through(grpc_web::Frames { text, coding });
            Ok(grpc_web::reply(&reply.headers, codec, text, coded, body))
        }
        Dialect::ConnectStream(_) => {
            let body = answer.through(connect::Envelopes { schema: binding.rpc.schema.clone(), coding });
            Ok(connect::stream_reply(&reply.headers, call.dialect, coded, body))
        }
        Dialect::Rest | Dialect::WebSocket | Dialect::Http if answer.codec.is_raw() => {
            let content_type = answer.codec.content_type();
            let mut pieces = answer.messages(rest::Pieces);
            // The first message says what the bytes are: without it there is no head.
            if let Err((error, trailers)) = pieces.first().await {
                call.beside(reply.headers, trailers);
                return Err(error);
            }
            let content_type = content_type.get().cloned();
            Ok(rest::raw_stream_reply(&reply.headers, content_type, pieces, &binding.rpc.crossing))
        }
        Dialect::Rest | Dialect::WebSocket | Dialect::Connect(_) | Dialect::ConnectGet(_) | Dialect::Http => {
            let form = rest::Form::of(&head.headers);
            let mut messages = answer.messages(rest::Stream::new(form, binding.rpc.schema.clone())).beating(heartbeat);
            // A quiet watch still opens; what fails at once fails with its HTTP status.
            if let Ok(Err((error, trailers))) = timeout(FIRST_MESSAGE, messages.first()).await {
                call.beside(reply.headers, trailers);
                return Err(error);
            }
            Ok(rest::stream_reply(&reply.headers, form, messages, &binding.rpc.crossing))
        }
    }
}

/// An upstream's stream, on its way to an envelope.
struct Answer {
    upstream: ReplyBody,
    codec: FromWire,
    packed: Packed,
    limit: usize,
    stop: Stop,
}

impl Answer {
    /// Its messages, as the client's codec and envelope write them.
    fn messages<W: Writer>(self, writer: W) -> Replies<ReplyBody, FromWire, W> {
        Replies::new(self.upstream, self.packed, self.codec, writer, self.limit, self.stop)
    }

    /// The same, in an envelope whose frames are the upstream's: unread where the codec is the upstream's too.
    fn through<W: Writer + 'static>(self, writer: W) -> Body {
        if self.codec.is_wire() {
            Body::streamed(Frames::new(self.upstream, self.limit, self.stop, writer))
        } else {
            Body::streamed(self.messages(writer))
        }
    }
}
