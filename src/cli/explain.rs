//! `transom explain`: what would become of a request, without sending it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use http::Uri;
use transom_transcode::plan::{OutOptions, OutPlan};
use transom_transcode::router::Captures;
use transom_transcode::schema::{Kind, MessageId, Schema};
use transom_transcode::scratch::Scratch;
use transom_transcode::to_json::to_json;
use transom_transcode::to_wire::{Input, Media, to_wire};

use crate::error::Error;
use crate::gateway::{Action, Binding, Route, Snapshot};

use super::{Refusal, load, output, routes};

/// A request as the user gives it.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// A path, or a whole URL.
    pub(super) url: &'a str,
    pub(super) body: &'a str,
}

/// Prints what becomes of a request.
pub(super) fn explain(file: &Path, request: &Request<'_>) -> Result<(), Refusal> {
    let snapshot = load::snapshot(file)?;
    let target = Target::parse(request)?;
    let mut captures = Captures::default();
    let rpc = snapshot.find_rpc(&target.path).filter(|_| target.method == "POST");
    let route = match rpc {
        Some(route) => route,
        None => snapshot.find_rest(&target.method, &target.path, &mut captures).map_err(|error| {
            let mut lines = vec![format!("{} {}: {}", target.method, target.path, refused(&error))];
            lines.extend(
                snapshot.candidates(&target.path).iter().map(|route| format!("  the path is that of {}", title(route))),
            );
            Refusal { lines }
        })?,
    };
    let mut out = String::new();
    let _ = writeln!(out, "route     {}", title(route));
    for other in snapshot.candidates(&target.path).iter().filter(|other| !Arc::ptr_eq(other, route)) {
        let why = if other.method == route.method { "less specific" } else { "another method" };
        let _ = writeln!(out, "not       {}: {why}", title(other));
    }
    let Action::Call(binding) = &route.action else {
        let _ = writeln!(out, "answer    by the gateway itself");
        return output::print(&out);
    };
    write_message(&mut out, &snapshot, binding, &target, &captures, rpc.is_some())?;
    write_policy(&mut out, file, &snapshot, route);
    output::print(&out)
}

/// A request, taken apart.
struct Target<'a> {
    method: String,
    path: String,
    query: String,
    body: &'a str,
}

impl<'a> Target<'a> {
    fn parse(request: &Request<'a>) -> Result<Self, Refusal> {
        let uri: Uri = request.url.parse().map_err(|error| {
            Refusal::new(format!("{}: is not a URL ({error}); write a path such as `/v1/books`", request.url))
        })?;
        if !uri.path().starts_with('/') {
            return Err(Refusal::new(format!("{}: has no path; write one such as `/v1/books`", request.url)));
        }
        Ok(Self {
            method: request.method.to_ascii_uppercase(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            body: request.body,
        })
    }
}

/// What is bound, and the message that the RPC gets.
fn write_message(
    out: &mut String,
    snapshot: &Snapshot,
    binding: &Binding,
    target: &Target<'_>,
    captures: &Captures,
    rpc: bool,
) -> Result<(), Refusal> {
    let schema = &snapshot.schema;
    let captured: Vec<&str> = if rpc { Vec::new() } else { captures.iter(&target.path).collect() };
    for (bound, value) in binding.bind.captures.iter().zip(&captured) {
        let _ = writeln!(out, "path      {} = {value}", field_path(schema, binding.bind.input, &bound.path));
    }
    if !target.query.is_empty() {
        let _ = writeln!(out, "query     {}", target.query);
    }
    let media = if binding.bind.raw { Media::Raw("") } else { Media::Json };
    let input = Input { body: target.body.as_bytes(), media, captures: &captured, query: &target.query, later: false };
    let limits = binding.rpc.send;
    let mut scratch = Scratch::default();
    let mut message = Vec::new();
    to_wire(schema, &binding.bind, &input, &limits, &mut scratch, &mut message).map_err(|invalid| {
        Refusal::new(format!("{out}refused   {}", refused(&Error::request(invalid, limits.output))))
    })?;
    let plan = OutPlan::whole(binding.bind.input, OutOptions::default());
    let mut json = Vec::new();
    to_json(schema, &plan, &message, &binding.rpc.print, &mut scratch, &mut json)
        .map_err(|invalid| Refusal::new(format!("{out}message   has no JSON form: {}", invalid.message)))?;
    let _ = writeln!(out, "message   {} {}", schema.message(binding.bind.input).name, String::from_utf8_lossy(&json));
    Ok(())
}

/// The settings of the route, and where its calls go.
fn write_policy(out: &mut String, file: &Path, snapshot: &Snapshot, route: &Arc<Route>) {
    let rows = snapshot.routes();
    let row = rows.iter().find(|row| *row.rpc == *route.rpc);
    for value in row.iter().flat_map(|row| &row.settings) {
        let _ = writeln!(out, "policy    {}: {}", value.key, routes::describe(value, file, &snapshot.config.source));
    }
    let Some(upstream) = row.and_then(|row| Some((&row.upstream, snapshot.config.upstreams.get(&row.upstream)?)))
    else {
        return;
    };
    let from = row.map(|row| routes::origin(&row.upstream_from, file, &snapshot.config.source)).unwrap_or_default();
    let _ = writeln!(out, "upstream  {} ({from}), one endpoint after the other:", upstream.0);
    for endpoint in &upstream.1.endpoints {
        let _ = writeln!(out, "endpoint  {}", endpoint.place);
    }
}

fn title(route: &Route) -> String {
    match (&*route.method, &*route.rpc) {
        (method, "") => format!("{method} {}", route.template),
        (method, rpc) => format!("{method} {} → {rpc}", route.template),
    }
}

fn refused(error: &Error) -> String {
    let status = error.http();
    format!("{} {}: {}", status.as_u16(), error.reason().unwrap_or_default(), error.message())
}

/// The field that slots lead to, as in the .proto.
fn field_path(schema: &Schema, mut message: MessageId, slots: &[u16]) -> String {
    let mut names = Vec::new();
    for slot in slots {
        let Some(field) = schema.message(message).fields.get(usize::from(*slot)) else { break };
        names.push(&*field.name);
        if let Kind::Message(inner) = field.kind {
            message = inner;
        }
    }
    names.join(".")
}
