//! How the gateway's own gRPC streams end when it stops. Their clients would keep them open for ever: they must not hold up a drain.

use futures_util::stream::unfold;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tonic::Status;

use crate::envelope::grpc;
use crate::error::Error;
use crate::gateway::Drain;

/// The stream, until it ends or nobody connects to the gateway any more: then UNAVAILABLE, as calls that a drain ends.
pub(super) fn until_closed<T: Send>(
    drain: &Drain,
    stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> impl Stream<Item = Result<T, Status>> + Send + 'static {
    unfold((Box::pin(stream), drain.closed().boxed().fuse()), async |(mut stream, mut closed)| {
        let next = tokio::select! {
            // What there is to say comes first: a watch tells NOT_SERVING before its end.
            biased;
            next = stream.next() => next,
            () = &mut closed => Some(Err(unavailable())),
        };
        next.map(|next| (next, (stream, closed)))
    })
}

fn unavailable() -> Status {
    let status = grpc::to_status(&Error::Draining);
    Status::with_details(tonic::Code::Unavailable, status.message.clone(), status.to_bytes().into())
}
