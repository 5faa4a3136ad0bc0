//! How the services reach each other: real gRPC, also inside one process, with the certificates that they have.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::tls::{Tls, Visit};
use crate::tls::Socket;

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
    pub(super) fn at(addresses: &[SocketAddr], tls: Option<&Tls>) -> Result<Self, String> {
        Self::connect(addresses.iter().map(ToString::to_string), tls)
    }

    /// The instances at `host:port`, with commas between them, as in `GRPC_BOOKING_SERVICE_URL`.
    pub(super) fn named(authorities: &str, tls: Option<&Tls>) -> Result<Self, String> {
        let mut bare = Vec::new();
        for authority in authorities.split(',').map(str::trim) {
            let authority = authority.strip_prefix("http://").unwrap_or(authority);
            if let Some((scheme, _)) = authority.split_once("://") {
                return Err(format!(
                    "`{scheme}://` is for the gateway; write `host:port`, services call each other by that"
                ));
            }
            bare.push(authority.to_owned());
        }
        Self::connect(bare.into_iter(), tls)
    }

    fn connect(authorities: impl Iterator<Item = String>, tls: Option<&Tls>) -> Result<Self, String> {
        let instances = authorities.map(|authority| channel(&authority, tls)).collect::<Result<_, _>>()?;
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

/// A connection to one instance, made when it is first needed.
fn channel(authority: &str, tls: Option<&Tls>) -> Result<Channel, String> {
    let uri: Uri = format!("http://{authority}").parse().map_err(|error| format!("{error}"))?;
    let endpoint = Endpoint::from(uri.clone()).connect_timeout(Duration::from_secs(2)).timeout(TIMEOUT);
    let Some(tls) = tls else { return Ok(endpoint.connect_lazy()) };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let visit = Arc::new(Visit::new(tls, host).map_err(|error| error.to_string())?);
    let origin = format!("https://{authority}").parse().map_err(|error| format!("{error}"))?;
    let connect = move |uri: Uri| {
        let visit = Arc::clone(&visit);
        async move { enter(&uri, &visit).await.map(TokioIo::new) }
    };
    Ok(endpoint.origin(origin).connect_with_connector_lazy(tower::service_fn(connect)))
}

async fn enter(uri: &Uri, visit: &Visit) -> io::Result<Socket> {
    let tcp = TcpStream::connect(uri.authority().map_or("", |authority| authority.as_str())).await?;
    tcp.set_nodelay(true)?;
    visit.connect(tcp).await
}

#[cfg(test)]
mod tests {
    use super::Peer;

    #[tokio::test]
    async fn addresses_of_the_gateways_are_told_apart() {
        assert_eq!(Peer::named("a:1, http://b:2", None).unwrap().instances.len(), 2);
        let why = Peer::named("a:1,kubernetes://b:2", None).unwrap_err();
        assert!(why.contains("`kubernetes://` is for the gateway; write `host:port`"), "{why}");
    }
}
