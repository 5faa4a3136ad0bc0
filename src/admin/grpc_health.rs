//! `grpc.health.v1.Health` of the gateway (`""`), of the services behind it by full name, and of upstreams by their names.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_stream::wrappers::IntervalStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

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

    /// None: no such service here.
    fn status(&self, service: &str) -> Option<ServingStatus> {
        let serving = |yes| if yes { ServingStatus::Serving } else { ServingStatus::NotServing };
        if service.is_empty() {
            return Some(serving(is_ready(&self.state)));
        }
        let snapshot = self.state.snapshot.load();
        Some(serving(is_up(snapshot.serving(service).or_else(|| snapshot.upstream(service))?)))
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

    /// Never ends by itself; a service that is unknown may become known by a reload.
    async fn watch(&self, request: tonic::Request<HealthCheckRequest>) -> Result<Response<Statuses>, Status> {
        let (this, service) = (self.clone(), request.into_inner().service);
        let mut last = None;
        let looks = IntervalStream::new(tokio::time::interval(LOOK));
        let changes = looks.filter_map(move |_| {
            let status = answer(this.status(&service).unwrap_or(ServingStatus::ServiceUnknown));
            (last.replace(status.status) != Some(status.status)).then_some(Ok(status))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}
