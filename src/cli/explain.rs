//! `transom explain`: what would become of a request, without sending it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use prost::Message as _;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use prost_types::FieldMask;
use transom_transcode::plan::{OutOptions, OutPlan};
use transom_transcode::router::Captures;
use transom_transcode::schema::{Kind, MessageId, Schema};
use transom_transcode::scratch::Scratch;
use transom_transcode::to_json::to_json;
use transom_transcode::to_wire::{Input, Media, to_wire};

use crate::envelope::head::Head;
use crate::envelope::rest::Messages;
use crate::envelope::stream::Reader as _;
use crate::envelope::{Codec, Dialect, connect};
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
    let head = head(request)?;
    let (mut dialect, mut captures) = (Dialect::detect(&Head::of(&head)), Captures::default());
    let (method, path) = (&head.method, head.uri.path());
    let route = snapshot.route(&head, &mut dialect, &mut captures).map_err(|error| {
        let mut lines = vec![format!("{method} {path}: {}", refused(&error))];
        let candidates = snapshot.candidates(path);
        lines.extend(candidates.iter().map(|route| format!("  the path is that of {}", title(route))));
        lines.extend(unreached(&snapshot, path));
        Refusal { lines }
    })?;
    let mut out = String::new();
    let _ = writeln!(out, "route     {}", title(route));
    for other in snapshot.candidates(path).iter().filter(|other| !Arc::ptr_eq(other, route)) {
        let why = if other.method == route.method { "less specific" } else { "another method" };
        let _ = writeln!(out, "not       {}: {why}", title(other));
    }
    let Action::Call(binding) = &route.action else {
        let _ = writeln!(out, "answer    by the gateway itself");
        return output::print(&out);
    };
    let captured: Vec<&str> = captures.iter(path).collect();
    write_message(&mut out, &snapshot.schema, binding, &Asked { head: &head, dialect, captured, body: request.body })?;
    write_policy(&mut out, file, &snapshot, route);
    output::print(&out)
}

/// Why a path that is an RPC's own leads nowhere.
fn unreached(snapshot: &Snapshot, path: &str) -> Option<String> {
    let rpc = path.strip_prefix('/').filter(|_| snapshot.find_rpc(path).is_none())?;
    let (service, method) = rpc.split_once('/')?;
    let known = snapshot.schema.services.iter().find(|known| *known.name == *service)?;
    known.methods.iter().find(|known| *known.name == *method)?;
    Some(match snapshot.serving(service) {
        None => format!("  no upstream serves {service}: name it in one's `services`"),
        Some(_) => format!(
            "  clients do not reach {rpc}: give it a `google.api.http` rule, name it under `methods`, or say `schema.expose: all`"
        ),
    })
}

/// The head that such a request has. A body is JSON, which curl has to be told.
fn head(request: &Request<'_>) -> Result<Parts, Refusal> {
    let url = request.url;
    let uri: Uri = url
        .parse()
        .map_err(|error| Refusal::new(format!("{url}: is not a URL ({error}); write a path such as `/v1/books`")))?;
    if !uri.path().starts_with('/') {
        return Err(Refusal::new(format!("{url}: has no path; write one such as `/v1/books`")));
    }
    let method = request.method.to_ascii_uppercase();
    let mut head = http::Request::builder().method(&*method).uri(uri);
    if method != "GET" {
        head = head.header(CONTENT_TYPE, "application/json");
    }
    let head = head.body(()).map_err(|_| Refusal::new(format!("{method}: is not a method")))?;
    Ok(head.into_parts().0)
}

/// A request that has found its route.
struct Asked<'a> {
    head: &'a Parts,
    dialect: Dialect,
    captured: Vec<&'a str>,
    body: &'a str,
}

/// What is bound, and the message that the RPC gets.
fn write_message(out: &mut String, schema: &Schema, binding: &Binding, asked: &Asked<'_>) -> Result<(), Refusal> {
    for (bound, value) in binding.bind.captures.iter().zip(&asked.captured) {
        let _ = writeln!(out, "path      {} = {value}", field_path(schema, binding.bind.input, &bound.path));
    }
    let messages = messages(schema, binding, asked)
        .map_err(|error| Refusal::new(format!("{out}refused   {}", refused(&error))))?;
    if let Some(query) = asked.head.uri.query() {
        let _ = writeln!(out, "query     {query}");
    }
    let name = &schema.message(binding.bind.input).name;
    let no_form = |out: &str, why| Refusal::new(format!("{out}message   has no JSON form: {why}"));
    for message in messages {
        let json = match (json(schema, binding, &message), unmask(schema, binding, &message)) {
            (Ok(json), _) => json,
            // It is sent all the same: the mask that the gateway makes may name fields that JSON cannot.
            (Err(_), Some((rest, paths))) => {
                let _ = writeln!(out, "mask      {paths}");
                json(schema, binding, &rest).map_err(|why| no_form(out, why))?
            }
            (Err(why), None) => return Err(no_form(out, why)),
        };
        let _ = writeln!(out, "message   {name} {json}");
    }
    Ok(())
}

/// A message in JSON.
fn json(schema: &Schema, binding: &Binding, message: &[u8]) -> Result<String, Cow<'static, str>> {
    let plan = OutPlan::whole(binding.bind.input, OutOptions::default());
    let mut json = Vec::new();
    to_json(schema, &plan, message, &binding.rpc.print, &mut Scratch::default(), &mut json)
        .map_err(|invalid| invalid.message)?;
    Ok(String::from_utf8_lossy(&json).into_owned())
}

/// A message without the mask that the gateway makes for it, and the paths of that.
fn unmask(schema: &Schema, binding: &Binding, message: &[u8]) -> Option<(Vec<u8>, String)> {
    let mask = schema.message(binding.bind.input).fields[usize::from(binding.bind.mask?)].number;
    let (mut rest, mut paths) = (Vec::new(), Vec::new());
    let mut left = message;
    while !left.is_empty() {
        let start = left;
        let (number, wire_type) = decode_key(&mut left).ok()?;
        let value = left;
        skip_field(wire_type, number, &mut left, DecodeContext::default()).ok()?;
        if number == mask {
            paths.extend(FieldMask::decode_length_delimited(value).ok()?.paths);
        } else {
            rest.extend_from_slice(&start[..start.len() - left.len()]);
        }
    }
    Some((rest, paths.join(", ")))
}

/// The messages that the RPC gets: of a stream over HTTP, each.
fn messages(schema: &Schema, binding: &Binding, asked: &Asked<'_>) -> Result<Vec<Vec<u8>>, Error> {
    let rpc = &binding.rpc;
    if asked.dialect != Dialect::Rest || !rpc.client_streaming {
        return Ok(vec![message(schema, binding, asked)?]);
    }
    let raw = binding.bind.raw;
    let mut reader = if raw { Messages::pieces() } else { Messages::array(rpc.settings.body.value) };
    let mut messages = Vec::new();
    let mut read = |reader: &mut Messages| -> Result<(), Error> {
        while let Some(body) = reader.message()? {
            let number = messages.len() as u64 + 1;
            let message = translated(schema, binding, asked, &body, number > 1);
            messages.push(message.map_err(|error| if raw { error } else { error.of_message(number) })?);
        }
        Ok(())
    };
    reader.push(Bytes::copy_from_slice(asked.body.as_bytes()));
    read(&mut reader)?;
    reader.end()?;
    read(&mut reader)?;
    // What the path and the query say is not lost.
    if messages.is_empty() && (!asked.captured.is_empty() || asked.head.uri.query().is_some()) {
        messages.push(translated(schema, binding, asked, b"", false)?);
    }
    Ok(messages)
}

/// The one message that the RPC gets.
fn message(schema: &Schema, binding: &Binding, asked: &Asked<'_>) -> Result<Vec<u8>, Error> {
    let rpc = &binding.rpc;
    match asked.dialect {
        Dialect::Connect(_) | Dialect::ConnectGet(_) => {
            let kind = connect::Kind { streams: rpc.streams(), no_side_effects: rpc.no_side_effects };
            connect::admit(asked.dialect, &asked.head.headers, kind)?;
            match asked.dialect {
                Dialect::ConnectGet(codec) => {
                    let (message, coding) = connect::message_of_query(asked.head)?;
                    let message = coding.decode(&message, rpc.send.output)?;
                    match codec {
                        Codec::Proto => Ok(message.to_vec()),
                        Codec::Json => translated(schema, binding, asked, &message, false),
                    }
                }
                _ => translated(schema, binding, asked, asked.body.as_bytes(), false),
            }
        }
        _ => translated(schema, binding, asked, asked.body.as_bytes(), false),
    }
}

/// The message of a body, with what path and query say.
fn translated(
    schema: &Schema,
    binding: &Binding,
    asked: &Asked<'_>,
    body: &[u8],
    later: bool,
) -> Result<Vec<u8>, Error> {
    let limits = binding.rpc.send;
    let media = if binding.bind.raw { Media::Raw("") } else { Media::Json };
    let query = match asked.dialect {
        Dialect::Connect(_) | Dialect::ConnectGet(_) => "",
        _ => asked.head.uri.query().unwrap_or_default(),
    };
    let input = Input { body, media, captures: &asked.captured, query, later };
    let mut message = Vec::new();
    to_wire(schema, &binding.bind, &input, &limits, &mut Scratch::default(), &mut message)
        .map_err(|invalid| Error::request(invalid, limits.output))?;
    Ok(message)
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
