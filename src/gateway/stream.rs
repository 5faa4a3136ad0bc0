//! A server stream over REST: one message there, many back, printed while they are sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use tokio::time::timeout;
use transom_transcode::plan::OutPlan;

use super::call::Call;
use super::route::Rpc;
use super::translate::print_into;
use super::worker::Worker;
use crate::body::Body;
use crate::envelope::metadata;
use crate::envelope::rest::{Form, Messages, Translate, status_json};
use crate::error::Error;
use crate::upstream::{Outgoing, status_of};

/// A server stream's head waits this long for the first message.
const FIRST_MESSAGE: Duration = Duration::from_secs(1);

/// One message there, a stream back, in the form that the client accepts.
pub(super) async fn server_stream(
    call: &mut Call,
    rpc: &Arc<Rpc>,
    out: OutPlan,
    form: Form,
    outgoing: Outgoing,
    message: Bytes,
) -> Result<Response<Body>, Error> {
    let reply = rpc.upstream.server_stream(&call.worker.pool, outgoing, message).await;
    let reply = reply.map_err(|failure| call.failed(failure))?;
    let printed = Printed { worker: call.worker.clone(), rpc: rpc.clone(), out };
    let mut messages = Messages::new(reply.body, printed, form, rpc.receive);
    // A quiet watch still opens; what fails at once fails with its HTTP status.
    if let Ok(first) = timeout(FIRST_MESSAGE, messages.first()).await {
        first?;
    }
    let mut response = Response::new(Body::streamed(messages));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, form.content_type());
    if form == Form::Events {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    metadata::to_rest(&reply.headers, headers);
    Ok(response)
}

/// A stream's messages as its route prints them.
struct Printed {
    worker: Arc<Worker>,
    rpc: Arc<Rpc>,
    out: OutPlan,
}

impl Translate for Printed {
    fn message(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        print_into(&self.worker, &self.rpc, &self.out, message, out)
    }

    fn error(&self, error: &Error) -> Vec<u8> {
        status_json(error, Some(&self.rpc.schema))
    }

    fn outcome(&self, trailers: &HeaderMap) -> Result<(), Error> {
        match status_of(trailers) {
            Some(status) if status.code == transom_transcode::status::Code::Ok => Ok(()),
            Some(status) => Err(Error::Upstream(Box::new(status))),
            None => Err(Error::UpstreamProtocol),
        }
    }
}
