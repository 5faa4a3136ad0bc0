//! Redirect: plain HTTP is answered with 308 to `https://`, at a host of our own whatever the request names. Who asks too often is refused
//! here as everywhere.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, LOCATION};
use http::uri::Authority;
use http::{Request, Response, StatusCode};
use http_body_util::Full;

use super::connection::Answer;
use super::upload::Upload;
use crate::envelope::{origin, rest};
use crate::gateway::{Gateway, Peer, State};
use crate::telemetry::{self, RequestIds};

/// What the listener for plain HTTP answers.
pub(super) struct Redirect {
    gateway: Arc<Gateway>,
    state: Arc<State>,
    ids: RequestIds,
}

impl Redirect {
    pub(super) fn new(gateway: Arc<Gateway>, state: Arc<State>) -> Self {
        Self { gateway, state, ids: RequestIds::new() }
    }

    /// The answer to a request from there.
    fn lead(&self, peer: IpAddr, request: &Request<Upload>) -> Response<Full<Bytes>> {
        let snapshot = self.state.snapshot.load();
        let mut response = Response::new(Full::default());
        let client = origin::client(request.headers(), peer, snapshot.trusted_proxies());
        if let Some(guard) = &snapshot.burst_guard
            && let Err(refused) = guard.call(client, request.uri().path())
        {
            *response.status_mut() = refused.http();
            rest::tell_retry_after(&refused, response.headers_mut());
            return response;
        }
        let named = request.headers().get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let named = request.uri().authority().cloned().or(named);
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        match location(&snapshot.config.hosts, named.as_ref().map(Authority::host), path) {
            Some(location) => {
                *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
                response.headers_mut().insert(LOCATION, location);
            }
            // A reload has taken the hosts away.
            None => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        response
    }
}

impl Answer for Redirect {
    type Body = Full<Bytes>;

    fn admits(&self, address: IpAddr) -> bool {
        self.gateway.admits(address)
    }

    async fn answer(&self, peer: &Peer, request: Request<Upload>) -> Response<Full<Bytes>> {
        let mut response = self.lead(peer.ip(), &request);
        response.headers_mut().insert(telemetry::REQUEST_ID, self.ids.of(request.headers()).header().clone());
        response
    }
}

/// Where a request goes on: to the host that it names if that is ours, else to the first of ours.
fn location(hosts: &[String], named: Option<&str>, path: &str) -> Option<HeaderValue> {
    let name = |host: &str| host.split(':').next().map(str::to_owned);
    let ours = hosts
        .iter()
        .find(|host| named.is_some_and(|named| name(host).is_some_and(|it| it.eq_ignore_ascii_case(named))));
    // `OPTIONS *` is about the server.
    let path = if path.starts_with('/') { path } else { "/" };
    HeaderValue::try_from(format!("https://{}{path}", ours.or(hosts.first())?)).ok()
}

#[cfg(test)]
mod tests {
    use super::location;

    #[test]
    fn it_leads_to_hosts_of_ours_alone() {
        let hosts = ["api.example.com".to_owned(), "www.example.com:8443".to_owned()];
        let to = |named, path| location(&hosts, named, path).unwrap();
        assert_eq!(to(Some("api.example.com"), "/v1/a?b=c"), "https://api.example.com/v1/a?b=c");
        assert_eq!(to(Some("WWW.example.com"), "/"), "https://www.example.com:8443/");
        assert_eq!(to(Some("evil.example"), "//evil.example/"), "https://api.example.com//evil.example/");
        assert_eq!(to(None, "*"), "https://api.example.com/");
        assert_eq!(location(&[], Some("api.example.com"), "/"), None);
    }
}
