//! Calls in an RPC's own envelopes: those whose messages are in frames, and Connect's unary ones, which are one message in and one
//! out without a frame.

use http::Response;
use http::request::Parts;
use transom_transcode::to_wire::Input;

use super::answer::Answer;
use super::cached;
use super::call::Call;
use super::payload::Payload;
use super::route::Binding;
use super::session;
use super::stream::stream;
use super::translate::{message, message_of};
use crate::body::{Body, Incoming};
use crate::envelope::coding::Coding;
use crate::envelope::{Codec, Dialect, connect, grpc, metadata};
use crate::error::Error;
use crate::upstream::Outgoing;

/// Messages in frames, of gRPC, gRPC-Web or Connect: as a stream, or buffered where the RPC wants that.
pub(super) async fn framed<B: Incoming>(
    call: &mut Call,
    binding: &Binding,
    head: &Parts,
    outgoing: &mut Outgoing<'_>,
    body: B,
) -> Result<Response<Body>, Error> {
    let (rpc, dialect) = (&binding.rpc, call.dialect);
    let (asked, accepted) = match dialect {
        Dialect::ConnectStream(_) => {
            connect::admit(dialect, &head.headers, kind(binding))?;
            connect::codings(&head.headers)?
        }
        _ => grpc::codings(&head.headers)?,
    };
    let answered = if rpc.settings.compress.value { accepted } else { Coding::Identity };
    let mut payload = Payload::stream(call, binding, asked, body);
    if rpc.buffers() {
        payload = payload.whole(call, rpc, &head.headers, outgoing.deadline).await?;
    }
    if let (true, Payload::Whole(frame)) = (rpc.is_of_sessions(), &payload) {
        return session::answer(call, binding, outgoing, (frame.clone(), answered)).await;
    }
    if let (Some(cached), Payload::Whole(frame)) = (&rpc.cache, &payload) {
        return cached::answer(call, cached, (binding, &binding.out), head, outgoing, (frame.clone(), answered)).await;
    }
    if dialect.is_opaque() {
        // What crosses unread is compressed by who wrote it, and what was read goes on without compression.
        let asked = if rpc.reads(dialect) { Coding::Identity } else { asked };
        metadata::insert_codings(asked, accepted, outgoing.headers.given_mut());
    }
    // That its service compresses is not for the gateway to turn off.
    let answered = if dialect.is_opaque() { accepted } else { answered };
    stream(call, binding, binding.out.clone(), head, outgoing, (payload, answered)).await
}

/// One message without a frame, and one back.
pub(super) async fn connect<B: Incoming>(
    call: &mut Call,
    binding: &Binding,
    head: &Parts,
    outgoing: &mut Outgoing<'_>,
    body: B,
) -> Result<Response<Body>, Error> {
    let (rpc, worker, dialect) = (&*binding.rpc, call.worker.clone(), call.dialect);
    connect::admit(dialect, &head.headers, kind(binding))?;

    // Read.
    let limit = rpc.settings.body.value;
    let read = match dialect {
        Dialect::ConnectGet(_) => match connect::message_of_query(head) {
            Ok((message, coding)) => connect::unpack(message, coding, limit).await,
            Err(error) => Err(error),
        },
        _ => {
            let read = connect::read(head, body, limit, worker.pool.memory());
            worker.pool.within(outgoing.deadline, read).await.unwrap_or_else(|| Err(worker.pool.unread()))
        }
    }?;
    call.read(read.len());

    // Translate.
    let message = match dialect.codec() {
        Codec::Json => message(call, binding, &Input { body: &read, ..Input::default() })?,
        Codec::Proto => message_of(call, rpc, &read)?,
    };

    // Check.
    let frame = call.check(rpc, &head.headers, message).await?;

    // Send.
    if let Some(cached) = &rpc.cache {
        let asked = (frame, Coding::Identity);
        return cached::answer(call, cached, (binding, &binding.out), head, outgoing, asked).await;
    }
    let reply = call.send(rpc, outgoing, frame).await?;

    // Answer.
    let metadata = [&reply.headers, &reply.trailers];
    Answer::new(call, (binding, &binding.out), &reply.message, metadata, Coding::Identity)?.whole()
}

/// What Connect wants to know of a method.
fn kind(binding: &Binding) -> connect::Kind {
    connect::Kind { streams: binding.rpc.streams(), no_side_effects: binding.rpc.no_side_effects }
}
