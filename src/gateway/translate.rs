//! The translator at work for a call: JSON to messages and back, in its worker's scratch memory.

use bytes::Bytes;
use transom_transcode::frame::PREFIX;
use transom_transcode::plan::{BindPlan, OutPlan};
use transom_transcode::to_json::{HttpBody, to_json};
use transom_transcode::to_wire::{Input, to_wire};

use super::call::Call;
use super::route::{Binding, Rpc};
use super::worker::Worker;
use crate::envelope::rest::{self, Content};
use crate::error::Error;

/// A request as a message, behind room for its prefix.
pub(super) fn message(call: &Call, binding: &Binding, input: &Input<'_>) -> Result<Vec<u8>, Error> {
    let rpc = &*binding.rpc;
    let mut out = with_prefix(input.body.len());
    bind_into(&call.worker, rpc, &binding.bind, input, &mut out)?;
    if let (Some(bound), Some(values)) = (&rpc.bound, &call.values) {
        bound.set(values, &mut out, PREFIX)?;
    }
    call.put_cookies(rpc, &mut out, PREFIX);
    Ok(out)
}

/// The same of a request that is a message already.
pub(super) fn message_of(call: &Call, rpc: &Rpc, message: &[u8]) -> Result<Vec<u8>, Error> {
    if message.len() > rpc.send.output {
        return Err(Error::TooLarge { limit: rpc.send.output });
    }
    let mut out = with_prefix(message.len());
    match (&rpc.bound, &call.values) {
        (Some(bound), Some(values)) => bound.apply(values, message, &mut out)?,
        _ => out.extend_from_slice(message),
    }
    call.put_cookies(rpc, &mut out, PREFIX);
    Ok(out)
}

/// Room for a prefix, and for a message: seldom longer than its JSON; the rest is for bound values.
fn with_prefix(length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX + length + 64);
    out.extend_from_slice(&[0; PREFIX]);
    out
}

/// A request's message, appended to `out`.
pub(super) fn bind_into(
    worker: &Worker,
    rpc: &Rpc,
    plan: &BindPlan,
    input: &Input<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    to_wire(&rpc.schema, plan, input, &rpc.send, &mut worker.translator(), out)
        .map_err(|invalid| Error::request(invalid, rpc.send.output))
}

/// A reply as its route answers it: JSON, or the bytes of a `google.api.HttpBody`.
pub(super) fn content(worker: &Worker, rpc: &Rpc, plan: &OutPlan, message: &Bytes) -> Result<Content, Error> {
    if !plan.raw {
        return print(worker, rpc, plan, message).map(Content::Json);
    }
    let (content_type, data) = raw(rpc, plan, message)?;
    Ok(Content::Raw(rest::content_type(content_type)?, message.slice_ref(data)))
}

/// The content type and the data of a `google.api.HttpBody`.
pub(super) fn raw<'m>(rpc: &Rpc, plan: &OutPlan, message: &'m [u8]) -> Result<(&'m str, &'m [u8]), Error> {
    match HttpBody::read(&rpc.schema, plan, message) {
        Ok(body) => Ok((body.content_type, body.data)),
        Err(invalid) => Err(Error::reply(&invalid, rpc.print.output)),
    }
}

/// A reply as JSON.
pub(super) fn print(worker: &Worker, rpc: &Rpc, plan: &OutPlan, message: &[u8]) -> Result<Vec<u8>, Error> {
    // What the printer takes at first, so that it need not move.
    let mut json = Vec::with_capacity(message.len() * 3 + 64);
    print_into(worker, rpc, plan, message, &mut json)?;
    Ok(json)
}

/// The same, appended to `out`.
pub(super) fn print_into(
    worker: &Worker,
    rpc: &Rpc,
    plan: &OutPlan,
    message: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    to_json(&rpc.schema, plan, message, &rpc.print, &mut worker.translator(), out)
        .map_err(|invalid| Error::reply(&invalid, rpc.print.output))
}
