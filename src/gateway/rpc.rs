//! Calls in an RPC's own envelopes, but for plain gRPC: those that stream, and Connect's unary ones, which are one message in
//! and one out without frames.

use std::error::Error as StdError;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use transom_transcode::frame::PREFIX;
use transom_transcode::to_wire::Input;

use super::cached;
use super::call::Call;
use super::route::Binding;
use super::session;
use super::stream::{Asking, stream};
use super::translate::{frame, framed, print};
use crate::body::Body;
use crate::envelope::coding::Coding;
use crate::envelope::{Codec, Dialect, connect, grpc, metadata};
use crate::error::Error;
use crate::policy::rate::Stage;
use crate::upstream::Outgoing;

/// The line from here on: what its envelope asks of the head, then one of the two ways.
pub(super) async fn answer<B>(
    call: &mut Call,
    binding: &Binding,
    head: &Parts,
    mut outgoing: Outgoing<'_>,
    body: B,
) -> Result<Response<Body>, Error>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let (rpc, dialect) = (&binding.rpc, call.dialect);
    let streams = rpc.client_streaming || rpc.server_streaming;
    let (asked, accepted) = match dialect {
        Dialect::Connect(_) | Dialect::ConnectGet(_) => {
            connect::admit(dialect, &head.headers, connect::Kind { streams, no_side_effects: rpc.no_side_effects })?;
            return unary(call, binding, head, outgoing, body).await;
        }
        Dialect::ConnectStream(_) => {
            connect::admit(dialect, &head.headers, connect::Kind { streams, no_side_effects: rpc.no_side_effects })?;
            connect::codings(&head.headers)?
        }
        Dialect::Rest | Dialect::Grpc(_) | Dialect::GrpcWeb { .. } | Dialect::WebSocket | Dialect::Http => {
            grpc::codings(&head.headers)?
        }
    };
    let answered = match dialect.is_opaque() {
        // What crosses unread is compressed by who wrote it.
        true => {
            // Where the token sets fields, messages are read and go on without compression.
            let asked = if rpc.bound.is_some() { Coding::Identity } else { asked };
            metadata::insert_codings(asked, accepted, outgoing.headers.given_mut());
            Coding::Identity
        }
        false if rpc.settings.compress.value => accepted,
        false => Coding::Identity,
    };
    let mut asking = Asking::stream(call, binding, asked, body);
    // A message that is refused is refused before the call is sent.
    let judged = rpc.demands.is_some() && !rpc.client_streaming;
    let looked_into = rpc.cache.is_some() || rpc.session.is_some() || rpc.is_noted();
    if rpc.rates.need_message() || rpc.replays() || looked_into || judged {
        asking = asking.whole(call, rpc, &head.headers, outgoing.deadline).await?;
    }
    if let (Some(_), Asking::Whole(frame)) = (&rpc.session, &asking) {
        let accepted = if rpc.settings.compress.value { accepted } else { Coding::Identity };
        return session::answer(call, binding, outgoing, (frame.clone(), accepted)).await;
    }
    if let (Some(cached), Asking::Whole(frame)) = (&rpc.cache, &asking) {
        let accepted = if rpc.settings.compress.value { accepted } else { Coding::Identity };
        let asked = (frame.clone(), accepted);
        return cached::answer(call, cached, (binding, &binding.out), head, outgoing, asked).await;
    }
    stream(call, binding, binding.out.clone(), head, outgoing, (asking, answered)).await
}

/// One message: read, translate, send, translate back.
async fn unary<B>(
    call: &mut Call,
    binding: &Binding,
    head: &Parts,
    outgoing: Outgoing<'_>,
    body: B,
) -> Result<Response<Body>, Error>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let (rpc, worker) = (&*binding.rpc, call.worker.clone());
    let limit = rpc.settings.body.value;
    let read = match call.dialect {
        Dialect::ConnectGet(_) => connect::message_of_query(head, limit),
        _ => {
            let read =
                worker.pool.within(outgoing.deadline, connect::read(head, body, limit, worker.pool.memory())).await;
            read.unwrap_or(Err(Error::Deadline))
        }
    }?;
    call.read(read.len());
    let message = match call.dialect.codec() {
        Codec::Json => frame(call, binding, &Input { body: &read, ..Input::default() })?,
        Codec::Proto => framed(call, rpc, &read)?,
    };
    call.limit(rpc, Stage::Message, &head.headers, &message[PREFIX..]).await?;
    call.note(rpc, &message);
    if let Some(cached) = &rpc.cache {
        let asked = (message, Coding::Identity);
        return cached::answer(call, cached, (binding, &binding.out), head, outgoing, asked).await;
    }
    let reply = call.send(rpc, outgoing, message).await?;
    let message = match call.dialect.codec() {
        Codec::Json => print(&worker, rpc, &binding.out, &reply.message)?.into(),
        Codec::Proto => reply.message,
    };
    Ok(connect::reply(call.dialect, message, [&reply.headers, &reply.trailers]))
}
