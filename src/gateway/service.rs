//! The pipeline as a `tower::Service`, for hosting it in another server and for tests.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};

use super::pipeline::Gateway;
use super::worker::{Peer, Worker};
use crate::body::{Body, Incoming};

/// The gateway for one client connection. It never fails: errors are answers.
#[derive(Clone)]
pub struct Service {
    gateway: Arc<Gateway>,
    worker: Arc<Worker>,
    peer: Peer,
}

impl Service {
    /// Serves `peer` on `worker`.
    pub fn new(gateway: Arc<Gateway>, worker: Arc<Worker>, peer: Peer) -> Self {
        Self { gateway, worker, peer }
    }
}

impl<B: Incoming> tower::Service<Request<B>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { gateway, worker, peer } = self.clone();
        Box::pin(async move { Ok(gateway.serve(&worker, &peer, request).await) })
    }
}
