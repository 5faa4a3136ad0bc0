//! Calls whose messages stream: opened here, then carried by their bodies.

use std::time::Duration;

use http::Response;
use http::request::Parts;
use tokio::time::timeout;
use transom_transcode::plan::OutPlan;
use transom_transcode::to_wire::Media;

use super::call::Call;
use super::codec::{Beside, FromWire, ToWire};
use super::payload::{Frames, Payload};
use super::route::Binding;
use super::translate::content;
use crate::body::{Body, Incoming};
use crate::envelope::coding::{Coding, Decoded, Packed};
use crate::envelope::head::Head;
use crate::envelope::stream::{Replies, Requests, Stop, Writer, opaque};
use crate::envelope::{Dialect, connect, grpc, grpc_web, metadata, rest};
use crate::error::Error;
use crate::memory::Room;
use crate::upstream::{Outgoing, ReplyBody};

/// A REST server stream's head waits this long for the first message.
const FIRST_MESSAGE: Duration = Duration::from_secs(1);

/// The messages of a REST body, as frames. What path and query say goes with the first.
pub(super) async fn rest<B: Incoming>(
    call: &mut Call,
    binding: &Binding,
    head: &Head<'_>,
    captured: &[&str],
    outgoing: &mut Outgoing<'_>,
    body: B,
) -> Result<Response<Body>, Error> {
    let rpc = &binding.rpc;
    let query = head.uri.query().unwrap_or_default();
    let (reader, media, coding) = rest::admit_stream(head, &body, rpc.settings.body.value, binding.taken())?;
    let beside = Beside {
        captures: captured.iter().map(|&capture| capture.into()).collect(),
        query: query.into(),
        raw: match media {
            Media::Raw(content_type) => Some(content_type.into()),
            Media::Json | Media::Form => None,
        },
    };
    let (stop, codec) = (call.stop(), ToWire::with(call, binding, beside));
    let memory = call.worker.pool.memory();
    let body: Frames = if coding == Coding::Identity {
        Box::pin(Requests::new(body, reader, codec, stop.clone(), memory.room()).paced(rpc.pace()))
    } else {
        let body = Decoded::new(body, coding, stop.clone()).counted(coding, memory)?;
        Box::pin(Requests::new(body, reader, codec, stop.clone(), memory.room()).paced(rpc.pace()))
    };
    let out = binding.out_for(query);
    if rpc.server_streaming {
        return stream(call, binding, out, head, outgoing, (Payload::Stream(body, stop), Coding::Identity)).await;
    }
    let reply = call.collect(rpc, outgoing, (body, stop)).await?;
    let content = content(&call.worker, rpc, &out, &reply.message)?;
    Ok(rest::reply(content, [reply.headers, reply.trailers], &rpc.crossing))
}

/// Asks, and answers with a stream, whose messages may be compressed so.
pub(super) async fn stream(
    call: &mut Call,
    binding: &Binding,
    out: OutPlan,
    head: &Parts,
    outgoing: &mut Outgoing<'_>,
    (payload, coding): (Payload, Coding),
) -> Result<Response<Body>, Error> {
    let worker = call.worker.clone();
    let (headers, upstream, stop) = call.open(&binding.rpc, outgoing, payload).await?;
    let (codec, limit) = (call.dialect.codec(), binding.rpc.receive);
    let heartbeat = worker.heartbeat;
    let packed = Packed::of(&headers, limit);
    let codec = FromWire::new(&worker, &binding.rpc, out, codec);
    // Of messages that cross unread the upstream says how they are compressed. Some compress whatever their caller accepts, and
    // what runs in a browser accepts nothing.
    let unread = call.dialect.is_opaque() && (matches!(call.dialect, Dialect::Grpc(_)) || packed.is_taken_by(coding));
    let coding = if call.dialect.is_opaque() { Coding::Identity } else { coding };
    let coded = match unread {
        true => headers.get(&metadata::GRPC_ENCODING).cloned(),
        false => (coding != Coding::Identity).then(|| coding.name()),
    };
    let answer = Downstream { codec, upstream, packed, limit, stop, unread, room: worker.pool.memory().room() };
    match call.dialect {
        Dialect::Grpc(codec) => Ok(grpc::reply(headers, codec, coded, answer.through(grpc::Frames { coding }))),
        Dialect::GrpcWeb { codec, text } => {
            let body = answer.through(grpc_web::Frames { text, coding });
            Ok(grpc_web::reply(&headers, codec, text, coded, body))
        }
        Dialect::ConnectStream(_) => {
            let body = answer.through(connect::Envelopes { schema: binding.rpc.schema.clone(), coding });
            Ok(connect::stream_reply(&headers, call.dialect, coded, body))
        }
        Dialect::Rest | Dialect::WebSocket | Dialect::Http if answer.codec.is_raw() => {
            let content_type = answer.codec.content_type();
            let mut pieces = answer.messages(rest::Pieces);
            // The first message says what the bytes are: without it there is no head.
            if let Err((error, trailers)) = pieces.first().await {
                call.beside(headers, trailers);
                return Err(error);
            }
            let content_type = content_type.get().cloned();
            Ok(rest::raw_stream_reply(&headers, content_type, pieces, &binding.rpc.crossing))
        }
        Dialect::Rest | Dialect::WebSocket | Dialect::Connect(_) | Dialect::ConnectGet(_) | Dialect::Http => {
            let form = rest::Form::of(&head.headers);
            let mut messages = answer.messages(rest::Stream::new(form, binding.rpc.schema.clone())).beating(heartbeat);
            // A quiet watch still opens; what fails at once fails with its HTTP status.
            if let Ok(Err((error, trailers))) = timeout(FIRST_MESSAGE, messages.first()).await {
                call.beside(headers, trailers);
                return Err(error);
            }
            Ok(rest::stream_reply(&headers, form, messages, &binding.rpc.crossing))
        }
    }
}

/// An upstream's stream, on its way to an envelope.
struct Downstream {
    upstream: ReplyBody,
    codec: FromWire,
    packed: Packed,
    limit: usize,
    stop: Stop,
    /// Its messages are what its client reads.
    unread: bool,
    room: Room,
}

impl Downstream {
    /// Its messages, as the client's codec and envelope write them.
    fn messages<W: Writer>(self, writer: W) -> Replies<ReplyBody, FromWire, W> {
        Replies::new(self.upstream, self.packed, self.codec, writer, self.limit, self.stop, self.room)
    }

    /// The same, in an envelope whose frames are the upstream's: unread where they may be.
    fn through<W: Writer + 'static>(self, writer: W) -> Body {
        if self.unread {
            Body::streamed(opaque::Frames::new(self.upstream, self.limit, self.stop, writer))
        } else {
            Body::streamed(self.messages(writer))
        }
    }
}
