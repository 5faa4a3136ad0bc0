//! Which route has a request, and how it is spoken to there: calls, preflights and `transom explain` ask alike.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method};
use transom_transcode::router::Captures;

use super::route::{Action, Route};
use super::snapshot::Snapshot;
use crate::envelope::{Codec, Dialect, content_type};
use crate::error::Error;

impl Snapshot {
    /// The route of a request whose head says `dialect`. Its path may know better, and then that changes: what is wrong
    /// is told in the dialect that it is then. `captures` gets the values of the path's variables.
    ///
    /// # Errors
    /// There is none, or not by this method; its path is broken; or it is not spoken to in this dialect.
    pub fn route(&self, head: &Parts, dialect: &mut Dialect, captures: &mut Captures) -> Result<&Arc<Route>, Error> {
        captures.clear();
        let route = match dialect {
            Dialect::WebSocket => self.of_socket(head, dialect, captures),
            Dialect::Rest | Dialect::Http => self.of_rest(head.method.as_str(), head, dialect, captures),
            _ => self.of_rpc(head, dialect, captures),
        }?;
        *dialect = spoken(route, head, *dialect)?;
        Ok(route)
    }

    /// The route that a page's call would take, as its preflight asks. Its dialect is not known yet; an RPC's own path tells.
    pub(super) fn route_of_page(
        &self,
        method: &Method,
        path: &str,
        captures: &mut Captures,
    ) -> Result<&Arc<Route>, Error> {
        match self.find_rpc(path) {
            Some(route) if *method == Method::POST || (*method == Method::GET && takes_get(route)) => Ok(route),
            _ => self.find_rest(method.as_str(), path, captures),
        }
    }

    /// An RPC by its own path. A body of an RPC's type on another path is a file that somebody uploads.
    fn of_rpc(&self, head: &Parts, dialect: &mut Dialect, captures: &mut Captures) -> Result<&Arc<Route>, Error> {
        let path = head.uri.path();
        if let Some(route) = self.find_rpc(path) {
            let allowed = head.method == Method::POST || matches!(dialect, Dialect::ConnectGet(_));
            return if allowed { Ok(route) } else { Err(not_so(route)) };
        }
        match self.find_rest(head.method.as_str(), path, captures) {
            Ok(route) if head.method != Method::POST || route.is_upload() => {
                *dialect = Dialect::Rest;
                Ok(route)
            }
            // A call that looks for its method and finds a REST path in its place, or nothing: told so as it speaks.
            _ => Err(Error::NoRoute),
        }
    }

    /// A streaming RPC by its own path, or what a GET finds: that is what a browser sends, or a CONNECT that stands for it.
    fn of_socket(&self, head: &Parts, dialect: &mut Dialect, captures: &mut Captures) -> Result<&Arc<Route>, Error> {
        let streams = |route: &&Arc<Route>| matches!(&route.action, Action::Call(binding) if binding.rpc.streams());
        match self.find_rpc(head.uri.path()).filter(streams) {
            Some(route) => Ok(route),
            None => self.of_rest(Method::GET.as_str(), head, dialect, captures),
        }
    }

    /// A binding by method and path, or the RPC whose own path it is: that is a literal, and goes before variables.
    fn of_rest(
        &self,
        method: &str,
        head: &Parts,
        dialect: &mut Dialect,
        captures: &mut Captures,
    ) -> Result<&Arc<Route>, Error> {
        let path = head.uri.path();
        let found = self.find_rest(method, path, captures);
        let rpc = match &found {
            Ok(route) if !route.own_path => return found,
            Ok(rpc) => *rpc,
            // The router has it under POST alone.
            Err(Error::MethodNotAllowed { .. }) => match self.find_rpc(path) {
                Some(rpc) => rpc,
                None => return found,
            },
            Err(_) => return found,
        };
        match Dialect::of_rpc_path(head) {
            Some(spoken) => {
                *dialect = spoken;
                Ok(rpc)
            }
            None if head.method == Method::POST => {
                *dialect = Dialect::Connect(Codec::Json);
                let message = "this path is an RPC's: gRPC (over HTTP/2), gRPC-Web and Connect are spoken here; \
                               for JSON send `content-type: application/json`";
                Err(Error::media(message))
            }
            // What is missing of Connect's query is told where the query is read.
            None if head.method == Method::GET && content_type(&head.headers).is_none() && takes_get(rpc) => {
                *dialect = Dialect::ConnectGet(Codec::Json);
                Ok(rpc)
            }
            None => Err(not_so(rpc)),
        }
    }
}

/// How a request that says `dialect` is spoken to by its route.
fn spoken(route: &Route, head: &Parts, dialect: Dialect) -> Result<Dialect, Error> {
    match (&route.action, dialect) {
        (Action::Builtin, Dialect::Rest | Dialect::WebSocket) => Ok(Dialect::Http),
        (Action::Builtin, Dialect::Grpc(Codec::Proto) | Dialect::Http) => Ok(dialect),
        (Action::Builtin, _) => {
            let message = "the gateway's own services speak gRPC: call them with application/grpc";
            Err(Error::UnsupportedMedia { message: message.into(), taken: Some("application/grpc") })
        }
        (Action::Token(_), _) => Ok(Dialect::Rest),
        // One message each way needs no socket: the wish is passed over, as RFC 9110 §7.8 allows.
        (Action::Call(binding), Dialect::WebSocket) if head.method == Method::GET && !binding.rpc.streams() => {
            Ok(Dialect::Rest)
        }
        (Action::Call(_), _) => Ok(dialect),
    }
}

/// Whether an RPC may be called by GET at its own path, as Connect does.
pub(super) fn takes_get(rpc: &Route) -> bool {
    matches!(&rpc.action, Action::Call(binding) if binding.rpc.no_side_effects && !binding.rpc.streams())
}

/// An RPC's own path takes other methods.
fn not_so(rpc: &Route) -> Error {
    Error::MethodNotAllowed { allow: HeaderValue::from_static(if takes_get(rpc) { "GET, POST" } else { "POST" }) }
}
