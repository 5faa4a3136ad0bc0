//! Who may look: loopback, as long as it is not a browser on someone else's behalf; or who has the token.

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;

use super::answer;
use crate::error::Error;
use crate::{config, gateway};

/// The rule of the admin port.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<Box<str>>,
}

impl Guard {
    pub(super) fn new(admin: &config::Admin) -> Self {
        Self { token: admin.token.as_deref().filter(|token| !token.is_empty()).map(Box::from) }
    }

    fn admits(&self, peer: Option<IpAddr>, authority: Option<&Authority>, headers: &HeaderMap) -> bool {
        self.has_token(headers) || is_local(peer, authority, headers)
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return false };
        let Some(sent) = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().split_at_checked(7)) else {
            return false;
        };
        sent.0.eq_ignore_ascii_case(b"bearer ") && equal(sent.1, token.as_bytes())
    }
}

/// From loopback, to loopback, and not a page of another site that made its visitor's browser ask: a name that was
/// rebound to 127.0.0.1 shows in `Host`, another page's script in `Origin`.
fn is_local(peer: Option<IpAddr>, authority: Option<&Authority>, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let one_host = hosts.next().is_none();
    let Some(host) = authority.cloned().or(host) else { return false };
    let mut origins = headers.get_all(ORIGIN).iter();
    let own_origin = origins.all(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_str()))
    });
    peer.is_some_and(|peer| peer.to_canonical().is_loopback()) && one_host && is_loopback(&host) && own_origin
}

fn is_loopback(host: &Authority) -> bool {
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Takes as long wherever the first difference is. The length may show.
fn equal(sent: &[u8], token: &[u8]) -> bool {
    let differences = sent.iter().zip(token).fold(0, |differences, (a, b)| black_box(differences | (a ^ b)));
    sent.len() == token.len() && differences == 0
}

/// Lets a request through, or answers it.
pub(super) async fn check(State(state): State<Arc<gateway::State>>, request: Request, next: Next) -> Response {
    // A reload may have changed the token.
    let guard = Guard::new(&state.snapshot.load().config.admin);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    if guard.admits(peer, request.uri().authority(), request.headers()) {
        return next.run(request).await;
    }
    answer::error(&Error::NotAdmin { token: guard.token.is_some() })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Guard, equal};

    fn admits(token: Option<&str>, peer: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let peer: IpAddr = peer.parse().unwrap();
        Guard { token: token.map(Box::from) }.admits(Some(peer), None, &headers)
    }

    #[test]
    fn loopback_is_let_in_unless_a_foreign_page_asks() {
        for (peer, headers, let_in) in [
            ("127.0.0.1", &[("host", "127.0.0.1:9090")][..], true),
            ("::1", &[("host", "[::1]:9090")], true),
            ("::ffff:127.0.0.1", &[("host", "localhost:9090")], true),
            ("127.0.0.1", &[("host", "LOCALHOST")], true),
            ("127.0.0.1", &[("host", "localhost:9090"), ("origin", "http://localhost:9090")], true),
            ("127.0.0.1", &[("host", "localhost:9090"), ("origin", "http://localhost:3000")], false),
            ("127.0.0.1", &[("host", "localhost:9090"), ("origin", "http://evil.example")], false),
            ("127.0.0.1", &[("host", "localhost:9090"), ("origin", "null")], false),
            ("127.0.0.1", &[("host", "evil.example:9090")], false),
            ("127.0.0.1", &[("host", "127.0.0.1.evil.example")], false),
            ("127.0.0.1", &[("host", "localhost:9090"), ("host", "evil.example")], false),
            ("127.0.0.1", &[], false),
            ("192.0.2.7", &[("host", "127.0.0.1:9090")], false),
        ] {
            assert_eq!(admits(None, peer, headers), let_in, "{peer} {headers:?}");
        }
    }

    #[test]
    fn the_token_lets_anyone_in() {
        for (sent, let_in) in [
            ("Bearer s3cret", true),
            ("bearer s3cret", true),
            ("Bearer s3cre", false),
            ("Bearer s3cret ", false),
            ("Bearer ", false),
            ("Basic s3cret", false),
            ("s3cret", false),
        ] {
            assert_eq!(admits(Some("s3cret"), "192.0.2.7", &[("authorization", sent)]), let_in, "{sent}");
        }
        assert!(!admits(None, "192.0.2.7", &[("authorization", "Bearer ")]), "no token is not the empty token");
    }

    #[test]
    fn equal_is_equal() {
        assert!(equal(b"abc", b"abc") && !equal(b"abd", b"abc") && !equal(b"ab", b"abc") && !equal(b"abcd", b"abc"));
    }
}
