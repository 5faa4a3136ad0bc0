//! What a change of snapshots breaks for REST clients: routes that are gone, and what their requests and replies are now.

use transom_transcode::plan::Body;
use transom_transcode::router::Captures;
use transom_transcode::schema::{Changes, Problem};

use super::route::{Action, Binding, Route};
use super::snapshot::Snapshot;

/// Everything that worked before and does not after, each once. Nothing of it is certain harm: a field may be one that
/// nobody reads.
pub fn breaking(before: &Snapshot, after: &Snapshot) -> Vec<Problem> {
    let mut comparison = Comparison { before, after, changes: Changes::new(&before.schema, &after.schema) };
    for route in &before.routes {
        let Action::Call(was) = &route.action else { continue };
        match successor(route, after) {
            Some(is) => comparison.compare(route, was, is),
            None => comparison.tell(route, "is gone"),
        }
    }
    comparison.changes.found()
}

/// Where a request that went to `old` goes now.
fn successor<'a>(old: &Route, after: &'a Snapshot) -> Option<&'a Binding> {
    let binding = |route: &'a Route| match &route.action {
        Action::Call(binding) => Some(binding),
        Action::Builtin | Action::Desk(_) => None,
    };
    let shape = shape(&old.template);
    let same = |new: &&Route| new.method == old.method && self::shape(&new.template) == shape;
    if let Some(same) = after.routes.iter().map(|route| &**route).find(same) {
        return binding(same);
    }
    // A wider template of the same RPC takes its requests, too.
    let method = if &*old.method == "*" { "GET" } else { &*old.method };
    let found = after.find_rest(method, &sample(&shape), &mut Captures::default()).ok()?;
    (found.rpc == old.rpc).then(|| binding(found)).flatten()
}

struct Comparison<'a> {
    before: &'a Snapshot,
    after: &'a Snapshot,
    changes: Changes<'a>,
}

impl Comparison<'_> {
    fn compare(&mut self, route: &Route, was: &Binding, is: &Binding) {
        if kind(was) != kind(is) {
            self.tell(route, &format!("is {} and was {}", kind(is), kind(was)));
        }
        let (had, has) = (body(self.before, was), body(self.after, is));
        if had != has {
            self.tell(route, &format!("takes {has} as its body and took {had}"));
        }
        self.changes.message(was.bind.input, is.bind.input);

        let (had, has) = (reply(self.before, was), reply(self.after, is));
        if had != has {
            self.tell(route, &format!("answers {has} and answered {had}"));
        }
        match (was.out.field, is.out.field) {
            (Some(old), Some(new)) => self.changes.field((was.out.output, old), (is.out.output, new)),
            (None, None) => self.changes.message(was.out.output, is.out.output),
            _ => {}
        }
    }

    fn tell(&mut self, route: &Route, what: &str) {
        let (service, method) = route.rpc.split_once('/').unwrap_or((&route.rpc, ""));
        let file = self.after.schema.file_of(service).or_else(|| self.before.schema.file_of(service));
        let what = format!("{} {} {what}", route.method, route.template);
        self.changes.push(Problem::new(file.unwrap_or_default(), format!("{service}.{method}"), what));
    }
}

/// What is read of a request's body.
fn body(snapshot: &Snapshot, binding: &Binding) -> String {
    match binding.bind.body {
        Body::None => "nothing".to_owned(),
        Body::Whole => "the whole message".to_owned(),
        Body::Field(slot) => {
            format!("`{}`", snapshot.schema.message(binding.bind.input).fields[usize::from(slot)].name)
        }
    }
}

/// What is printed of a reply.
fn reply(snapshot: &Snapshot, binding: &Binding) -> String {
    match binding.out.field {
        None => "the whole message".to_owned(),
        Some(slot) => format!("`{}`", snapshot.schema.message(binding.out.output).fields[usize::from(slot)].name),
    }
}

fn kind(binding: &Binding) -> &'static str {
    match (binding.rpc.client_streaming, binding.rpc.server_streaming) {
        (false, false) => "unary",
        (true, false) => "a client stream",
        (false, true) => "a server stream",
        (true, true) => "a stream both ways",
    }
}

/// A template as its client sees it, the variables' names left out: `/v1/{name=shelves/*}` is `/v1/shelves/*`.
fn shape(template: &str) -> String {
    let mut shape = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((plain, variable)) = rest.split_once('{') {
        let (variable, after) = variable.split_once('}').unwrap_or((variable, ""));
        shape.push_str(plain);
        shape.push_str(variable.split_once('=').map_or("*", |(_, pattern)| pattern));
        rest = after;
    }
    shape.push_str(rest);
    shape
}

/// A path of this shape.
fn sample(shape: &str) -> String {
    shape.replace("**", "x/x").replace('*', "x")
}

#[cfg(test)]
mod tests {
    use super::{sample, shape};

    #[test]
    fn a_template_is_what_its_client_sees() {
        for (template, seen, path) in [
            ("/v1/shelves", "/v1/shelves", "/v1/shelves"),
            ("/v1/{name=shelves/*}/books/{id}:move", "/v1/shelves/*/books/*:move", "/v1/shelves/x/books/x:move"),
            ("/files/{path=**}", "/files/**", "/files/x/x"),
        ] {
            assert_eq!((shape(template).as_str(), sample(seen).as_str()), (seen, path));
        }
    }
}
