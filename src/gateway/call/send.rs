//! The call to the upstream, and what is known from then on: who was asked, who has answered, what went wrong.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::Call;
use crate::envelope::stream::Stop;
use crate::error::Error;
use crate::gateway::payload::Payload;
use crate::gateway::route::Rpc;
use crate::upstream::{Failure, FailureKind, Outgoing, ReplyBody, Unary};

/// What one message was answered.
pub(in crate::gateway) struct Reply {
    /// Metadata before the message.
    pub(in crate::gateway) headers: HeaderMap,
    /// The message, without its prefix, as its client is to see it.
    pub(in crate::gateway) message: Bytes,
    /// Metadata after it.
    pub(in crate::gateway) trailers: HeaderMap,
}

impl Call {
    /// One message there, one back: the service's own answer, or what another call with the same refresh token has just got.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` holds what it is given twice, for as long as the call waits"
    )]
    pub(in crate::gateway) fn send(
        &mut self,
        rpc: &Rpc,
        outgoing: &mut Outgoing<'_>,
        frame: Bytes,
    ) -> impl Future<Output = Result<Reply, Error>> + Send {
        async move {
            let reply = match self.trades(rpc, &frame) {
                Some(service) => Box::pin(self.trade(rpc, service, outgoing, frame)).await?,
                None => {
                    let reply = rpc.upstream.unary(&self.worker.pool, outgoing.take(), frame).await;
                    reply.map_err(|failure| self.failed(failure))?
                }
            };
            let Unary { endpoint, headers, message, trailers } = reply;
            self.answered(endpoint);
            let message = self.shape(rpc, message).await?;
            Ok(Reply { headers, message, trailers })
        }
    }

    /// A stream there, one message back.
    pub(in crate::gateway) async fn collect<B>(
        &mut self,
        rpc: &Rpc,
        outgoing: &mut Outgoing<'_>,
        (body, stop): (B, Stop),
    ) -> Result<Reply, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        self.asks();
        let reply = rpc.upstream.client_stream(&self.worker.pool, outgoing.take(), body).await;
        let reply = reply.map_err(|failure| stop.or(self.failed(failure)))?;
        let Unary { endpoint, headers, message, trailers } = reply;
        self.answered(endpoint);
        Ok(Reply { headers, message, trailers })
    }

    /// A stream there, a stream back: its head, and what follows.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` holds what it is given twice, for as long as the call waits"
    )]
    pub(in crate::gateway) fn exchange<B>(
        &mut self,
        rpc: &Rpc,
        outgoing: &mut Outgoing<'_>,
        (body, stop): (B, &Stop),
    ) -> impl Future<Output = Result<(HeaderMap, ReplyBody), Error>> + Send
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        async move {
            self.asks();
            let reply = rpc.upstream.stream(&self.worker.pool, outgoing.take(), body).await;
            let reply = reply.map_err(|failure| stop.or(self.failed(failure)))?;
            self.answered(reply.endpoint);
            Ok((reply.headers, reply.body))
        }
    }

    /// A payload there, a stream back: its head, and what follows.
    pub(in crate::gateway) async fn open(
        &mut self,
        rpc: &Rpc,
        outgoing: &mut Outgoing<'_>,
        payload: Payload,
    ) -> Result<(HeaderMap, ReplyBody, Stop), Error> {
        let frame = match payload {
            Payload::Whole(frame) => frame,
            Payload::Stream(body, stop) => {
                let (headers, body) = self.exchange(rpc, outgoing, (body, &stop)).await?;
                return Ok((headers, body, stop));
            }
        };
        self.asks();
        let reply = rpc.upstream.server_stream(&self.worker.pool, outgoing.take(), frame).await;
        let reply = reply.map_err(|failure| self.failed(failure))?;
        self.answered(reply.endpoint);
        Ok((reply.headers, reply.body, Stop::default()))
    }

    /// An endpoint has answered; one without a name stands for an answer that another call got.
    pub(in crate::gateway) fn answered(&mut self, endpoint: Arc<str>) {
        self.asked = true;
        self.endpoint = Some(endpoint).filter(|endpoint| !endpoint.is_empty());
    }

    /// Its service is asked: it may hear of the call, whether that ends or not.
    pub(in crate::gateway) fn asks(&mut self) {
        self.asked = true;
    }

    /// A call to the upstream failed: what is for the log stays here, the error is for the client.
    pub(in crate::gateway) fn failed(&mut self, mut failure: Failure) -> Error {
        self.endpoint = failure.endpoint.take();
        // Nobody has tried to call where there is no endpoint.
        self.asked = self.endpoint.is_some();
        self.cause = Some(std::mem::take(&mut failure.cause)).filter(|cause| !cause.is_empty());
        if let FailureKind::Status(answer) = &mut failure.kind {
            self.beside(std::mem::take(&mut answer.headers), std::mem::take(&mut answer.trailers));
        }
        failure.into()
    }
}
