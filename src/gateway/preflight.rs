//! Preflights: what a browser asks before a page's call, answered by the route that the call would take. Nobody has to
//! say who they are to ask, and nothing is counted against them.

use http::request::Parts;
use http::{Response, StatusCode};
use transom_transcode::router::Captures;

use super::call::Call;
use super::pipeline::Gateway;
use super::route::Action;
use super::snapshot::Snapshot;
use crate::body::Body;
use crate::error::Error;
use crate::policy::cors::asked_by_preflight;

impl Gateway {
    /// The answer to a preflight. `None`: it is none, or nobody has said who may call: then it is a request like any other.
    pub(super) fn preflight(
        &self,
        call: &mut Call,
        head: &Parts,
        snapshot: &Snapshot,
    ) -> Option<Result<Response<Body>, Error>> {
        let method = asked_by_preflight(&head.method, &head.headers)?;
        let mut captures = Captures::default();
        // Where nothing is, the call itself says so, and its page reads that: of a preflight that fails it would read nothing.
        let route = snapshot.route_of_page(&method, head.uri.path(), &mut captures).ok().cloned();
        if let Some(route) = route.as_ref().filter(|route| !matches!(route.action, Action::Builtin)) {
            call.cors = route.cors().cloned();
        }
        // From here on the answer has its headers.
        let cors = call.cors.take()?;
        call.route = route;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.headers_mut() = cors.preflight(&head.headers);
        Some(Ok(response))
    }
}
