//! `grpc.health.v1.Health` of the gateway (`""`), of the services behind it by full name, and of upstreams by their names.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{once, select};
use futures_util::{Stream, StreamExt as _};
use tokio_stream::wrappers::IntervalStream;
use tonic::{Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::grpc_farewell::until_closed;
use super::health::{is_ready, is_up};
use crate::gateway::State;

/// How often a watch looks. Usability is a few atomics, so looking is cheaper than being told.
const LOOK: Duration = Duration::from_millis(500);

/// Reads the state when it is asked: there is no copy of it that could be stale.
#[derive(Clone)]
pub(super) struct GrpcHealth {
    state: Arc<State>,
}

impl GrpcHealth {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    pub(super) fn into_service(self) -> HealthServer<Self> {
        HealthServer::new(self)
    }

    /// None: no such service here. A gateway that is about to stop serves none.
    fn status(&self, service: &str) -> Option<ServingStatus> {
        let serving = |yes| if yes { ServingStatus::Serving } else { ServingStatus::NotServing };
        if service.is_empty() {
            return Some(serving(is_ready(&self.state)));
        }
        let snapshot = self.state.snapshot.load();
        let upstream = snapshot.serving(service).or_else(|| snapshot.upstream(service))?;
        Some(serving(!self.state.drain.has_begun() && is_up(upstream)))
    }
}

type Statuses = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for GrpcHealth {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let status = self.status(&request.get_ref().service);
        status.map(answer).map(Response::new).ok_or_else(|| Status::not_found("no such service"))
    }

    type WatchStream = Statuses;

    /// Ends with the gateway alone; a service that is unknown may become known by a reload.
    async fn watch(&self, request: tonic::Request<HealthCheckRequest>) -> Result<Response<Statuses>, Status> {
        let (this, service) = (self.clone(), request.into_inner().service);
        let mut last = None;
        let looks = IntervalStream::new(tokio::time::interval(LOOK)).map(drop);
        let looks = select(once(self.state.drain.begun()), looks);
        let changes = looks.filter_map(move |()| {
            let status = answer(this.status(&service).unwrap_or(ServingStatus::ServiceUnknown));
            ready((last.replace(status.status) != Some(status.status)).then_some(Ok(status)))
        });
        Ok(Response::new(Box::pin(until_closed(&self.state.drain, changes))))
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}
