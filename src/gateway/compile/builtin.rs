//! The routes that are the gateway's own.

use std::sync::Arc;

use transom_transcode::template::Template;

use super::Compiler;
use crate::config::PublicEndpoint;
use crate::gateway::route::{Action, Route};
use crate::telemetry::Logged;

impl Compiler<'_> {
    /// The gateway's own endpoints; they come first, so that a rule which takes their place is told.
    pub(super) fn builtins(&mut self) {
        for endpoint in &self.config.public_endpoints {
            let (paths, rpcs): (&[&str], &[&str]) = match endpoint {
                PublicEndpoint::Health => (
                    &["/health", "/livez", "/readyz"],
                    &["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List", "/grpc.health.v1.Health/Watch"],
                ),
                PublicEndpoint::HealthDetailed => (&["/health/detailed"], &[]),
                PublicEndpoint::Metrics => (&["/metrics"], &[]),
                PublicEndpoint::Reflection => (
                    &[],
                    &[
                        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                    ],
                ),
            };
            for path in paths {
                let route = self.builtin(path, "");
                if let Ok(template) = Template::parse(path) {
                    // Two built-in endpoints never have one path.
                    let _ = self.rest.insert("GET", &template, route);
                }
            }
            for path in rpcs {
                let route = self.builtin(path, &path[1..]);
                self.rpcs.insert((*path).into(), route);
            }
        }
    }

    fn builtin(&self, path: &str, rpc: &str) -> Arc<Route> {
        Arc::new(Route {
            method: "GET".into(),
            template: path.into(),
            rpc: rpc.into(),
            own_path: !rpc.is_empty(),
            logged: Logged::new(path, rpc),
            metrics: self.metrics.route("", "", path),
            action: Action::Builtin,
        })
    }
}
