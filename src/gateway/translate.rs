//! The translator at work for a call: the one place where a worker's scratch memory is borrowed.

use bytes::Bytes;
use transom_transcode::frame::{self, PREFIX};
use transom_transcode::plan::{BindPlan, OutPlan};
use transom_transcode::to_json::{HttpBody, to_json};
use transom_transcode::to_wire::{Input, to_wire};

use super::call::Call;
use super::route::{Binding, Rpc};
use super::worker::Worker;
use crate::envelope::rest::{self, Content};
use crate::error::Error;

/// A request as one gRPC frame.
pub(super) fn frame(call: &Call, binding: &Binding, input: &Input<'_>) -> Result<Bytes, Error> {
    let rpc = &*binding.rpc;
    // A message is seldom longer than its JSON; the rest is for bound values.
    let mut frame = Vec::with_capacity(PREFIX + input.body.len() + 64);
    frame.extend_from_slice(&[0; PREFIX]);
    bind_into(&call.worker, rpc, &binding.bind, input, &mut frame)?;
    if let (Some(bound), Some(values)) = (&rpc.bound, &call.values) {
        bound.set(values, &mut frame, PREFIX)?;
    }
    call.put_cookies(rpc, &mut frame, PREFIX);
    hold(&call.worker, rpc, &mut frame, PREFIX)?;
    let prefix = frame::prefix(frame.len() - PREFIX);
    frame[..PREFIX].copy_from_slice(&prefix);
    Ok(call.worker.pool.memory().hold(frame.into()))
}

/// A request that is a message already, as one gRPC frame.
pub(super) fn framed(call: &Call, rpc: &Rpc, message: &[u8]) -> Result<Bytes, Error> {
    if message.len() > rpc.send.output {
        return Err(Error::TooLarge { limit: rpc.send.output });
    }
    let mut frame = Vec::with_capacity(PREFIX + message.len() + 64);
    frame.extend_from_slice(&[0; PREFIX]);
    match (&rpc.bound, &call.values) {
        (Some(bound), Some(values)) => bound.apply(values, message, &mut frame)?,
        _ => frame.extend_from_slice(message),
    }
    call.put_cookies(rpc, &mut frame, PREFIX);
    hold(&call.worker, rpc, &mut frame, PREFIX)?;
    let prefix = frame::prefix(frame.len() - PREFIX);
    frame[..PREFIX].copy_from_slice(&prefix);
    Ok(call.worker.pool.memory().hold(frame.into()))
}

/// A request's message, appended to `out`.
pub(super) fn bind_into(
    worker: &Worker,
    rpc: &Rpc,
    plan: &BindPlan,
    input: &Input<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut working = worker.working.lock();
    to_wire(&rpc.schema, plan, input, &rpc.send, &mut working.translator, out)
        .map_err(|invalid| Error::request(invalid, rpc.send.output))
}

/// Holds a request's message, which begins at `start`, to what its method asks of it.
#[inline]
pub(super) fn hold(worker: &Worker, rpc: &Rpc, out: &mut Vec<u8>, start: usize) -> Result<(), Error> {
    match &rpc.demands {
        None => Ok(()),
        Some(demands) => demands.hold(&rpc.schema, &rpc.send, &mut worker.working.lock().translator, (out, start)),
    }
}

/// A reply as its route answers it: JSON, or the bytes of a `google.api.HttpBody`.
pub(super) fn answer(worker: &Worker, rpc: &Rpc, plan: &OutPlan, message: &Bytes) -> Result<Content, Error> {
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
    let mut working = worker.working.lock();
    to_json(&rpc.schema, plan, message, &rpc.print, &mut working.translator, out)
        .map_err(|invalid| Error::reply(&invalid, rpc.print.output))
}
