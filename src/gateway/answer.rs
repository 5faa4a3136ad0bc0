//! Answer: a service's one message, as its call's dialect writes it.

use bytes::Bytes;
use http::{HeaderMap, Response};
use transom_transcode::plan::OutPlan;
use transom_transcode::status::Code;

use super::call::Call;
use super::route::Binding;
use super::translate::{content, print};
use crate::body::Body;
use crate::envelope::coding::Coding;
use crate::envelope::stream::{Last, Once, Writer};
use crate::envelope::{Codec, Dialect, connect, grpc, grpc_web, rest};
use crate::error::Error;

/// An answer that is all at hand.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    /// What follows the body, where an envelope's end is HTTP's trailers.
    pub(super) trailers: Option<HeaderMap>,
}

impl Answer {
    /// The answer of a message with its metadata, before and after it; in RPCs' own envelopes it is compressed so.
    pub(super) fn new(
        call: &Call,
        (binding, out): (&Binding, &OutPlan),
        message: &Bytes,
        metadata: [&HeaderMap; 2],
        coding: Coding,
    ) -> Result<Self, Error> {
        let (rpc, worker, [headers, trailers]) = (&*binding.rpc, &*call.worker, metadata);
        let written = |codec| match codec {
            Codec::Json => print(worker, rpc, &binding.out, message).map(Bytes::from),
            Codec::Proto => Ok(message.clone()),
        };
        let named = (coding != Coding::Identity).then(|| coding.name());
        let (response, trailers) = match call.dialect {
            Dialect::Grpc(codec) => {
                let (frame, trailers) = framed(grpc::Frames { coding }, &written(codec)?, trailers);
                (grpc::reply(headers.clone(), codec, named, Body::full(frame)), Some(trailers))
            }
            Dialect::GrpcWeb { codec, text } => {
                let (body, _) = framed(grpc_web::Frames { text, coding }, &written(codec)?, trailers);
                (grpc_web::reply(headers, codec, text, named, Body::full(body)), None)
            }
            Dialect::Connect(codec) | Dialect::ConnectGet(codec) => {
                (connect::reply(call.dialect, written(codec)?, metadata), None)
            }
            Dialect::Rest | Dialect::ConnectStream(_) | Dialect::WebSocket | Dialect::Http => {
                let metadata = metadata.map(HeaderMap::clone);
                (rest::reply(content(worker, rpc, out, message)?, metadata, &rpc.crossing), None)
            }
        };
        Ok(Self { response, trailers })
    }

    /// The response with what follows its body.
    pub(super) fn whole(self) -> Result<Response<Body>, Error> {
        let Some(trailers) = self.trailers else { return Ok(self.response) };
        let (head, body) = self.response.into_parts();
        let frame = body.into_bytes().ok_or(Error::Internal)?;
        Ok(Response::from_parts(head, Body::streamed(Once::new(frame, trailers))))
    }
}

/// One message in its frame, with the end of the answer; trailers where those are HTTP's.
fn framed<W: Writer>(mut writer: W, message: &[u8], trailers: &HeaderMap) -> (Bytes, HeaderMap) {
    let mut out = Vec::with_capacity(message.len() + 64);
    writer.open(&mut out);
    out.extend_from_slice(message);
    writer.shut(0, &mut out);
    let mut trailers = trailers.clone();
    trailers.insert(grpc::STATUS, u16::from(Code::Ok.number()).into());
    let trailers = match writer.close(Ok(trailers), &mut out) {
        Last::Trailers(trailers) => trailers,
        Last::Nothing | Last::Break => HeaderMap::new(),
    };
    (writer.chunk(out.into()), trailers)
}
