//! How the services reach each other: real gRPC, also inside one process.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

/// Time for one call to another service.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The instances of another service, each over one connection that is made when it is first needed.
#[derive(Debug)]
pub(super) struct Peer {
    instances: Vec<Channel>,
    next: AtomicUsize,
}

impl Peer {
    /// The instances at these addresses.
    pub(super) fn at(addresses: &[SocketAddr]) -> Result<Self, tonic::transport::Error> {
        Self::connect(addresses.iter().map(|address| format!("http://{address}")))
    }

    /// The instances at `host:port`, with commas between them, as in `GRPC_BOOKING_SERVICE_URL`.
    pub(super) fn named(authorities: &str) -> Result<Self, String> {
        let mut uris = Vec::new();
        for authority in authorities.split(',').map(str::trim) {
            let bare = authority.strip_prefix("http://").unwrap_or(authority);
            if let Some((scheme, _)) = bare.split_once("://") {
                return Err(format!(
                    "`{scheme}://` is for the gateway; write `host:port`, services call each other by that"
                ));
            }
            uris.push(format!("http://{bare}"));
        }
        Self::connect(uris.into_iter()).map_err(|error| error.to_string())
    }

    fn connect(uris: impl Iterator<Item = String>) -> Result<Self, tonic::transport::Error> {
        let instances = uris
            .map(|uri| {
                let endpoint = Endpoint::from_shared(uri)?.connect_timeout(Duration::from_secs(2)).timeout(TIMEOUT);
                Ok(endpoint.connect_lazy())
            })
            .collect::<Result<_, tonic::transport::Error>>()?;
        Ok(Self { instances, next: AtomicUsize::new(0) })
    }

    /// Calls one instance after another until one is there: every call between services may be repeated.
    pub(super) async fn call<M, T, F>(
        &self,
        bearer: &str,
        message: M,
        call: impl Fn(Channel, Request<M>) -> F,
    ) -> Result<T, Status>
    where
        M: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut answer = Err(Status::unavailable("no instance"));
        for turn in 0..self.instances.len() {
            let channel = self.instances[(first.wrapping_add(turn)) % self.instances.len()].clone();
            let mut request = Request::new(message.clone());
            let value = format!("Bearer {bearer}").parse().map_err(|_| Status::internal("not a token"))?;
            request.metadata_mut().insert("authorization", value);
            answer = call(channel, request).await.map(Response::into_inner);
            if !matches!(&answer, Err(status) if status.code() == Code::Unavailable) {
                break;
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::Peer;

    #[tokio::test]
    async fn addresses_of_the_gateways_are_told_apart() {
        assert_eq!(Peer::named("a:1, http://b:2").unwrap().instances.len(), 2);
        let why = Peer::named("a:1,kubernetes://b:2").unwrap_err();
        assert!(why.contains("`kubernetes://` is for the gateway; write `host:port`"), "{why}");
    }
}
