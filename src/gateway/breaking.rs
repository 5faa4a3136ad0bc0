//! What a change of snapshots breaks for REST clients: routes that are gone, and what their requests and replies are now.

mod sample;

use std::collections::HashSet;
use std::sync::Arc;

use transom_transcode::plan::{Body, Unknown};
use transom_transcode::router::Captures;
use transom_transcode::schema::{Changes, Field, Kind, Problem};

use self::sample::Sample;
use super::route::{Action, Binding, Route};
use super::snapshot::Snapshot;

/// What a binding of any method is tried with: those that routes name, and one that none does.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "ANY"];

/// Everything that worked before and does not after, each once. Nothing of it is certain harm: a field may be one that
/// nobody reads.
pub fn breaking(before: &Snapshot, after: &Snapshot) -> Vec<Problem> {
    let mut comparison = Comparison { before, after, changes: Changes::new(&before.schema, &after.schema) };
    for route in &before.routes {
        let Action::Call(was) = &route.action else { continue };
        let successors = successors(route, before, after);
        if successors.gone {
            comparison
                .tell(route, if successors.found.is_empty() { "is gone" } else { "is gone for some of its requests" });
        }
        for is in successors.found {
            comparison.compare(route, was, is);
        }
    }
    comparison.taken();
    comparison.changes.found()
}

/// Where the requests that went to a route go now.
struct Successors<'a> {
    found: Vec<&'a Binding>,
    /// Some go nowhere.
    gone: bool,
}

/// Tried with a request of each method and each kind of path that the route takes: of those, what went to it before.
fn successors<'a>(old: &Arc<Route>, before: &Snapshot, after: &'a Snapshot) -> Successors<'a> {
    let mut successors = Successors { found: Vec::new(), gone: false };
    if old.method.is_empty() {
        // An RPC without a rule is found by its own path.
        match after.find_rpc(&old.template).map(|route| &route.action) {
            Some(Action::Call(is)) => successors.found.push(is),
            _ => successors.gone = true,
        }
        return successors;
    }
    let paths: Vec<_> = Sample::of(&old.template).iter().map(Sample::path).collect();
    for (method, path) in methods(old).iter().flat_map(|method| paths.iter().map(move |path| (method, path))) {
        let mut captures = Captures::default();
        // Some of what its template matches may always have gone to another.
        if !before.find_rest(method, path, &mut captures).is_ok_and(|route| Arc::ptr_eq(route, old)) {
            continue;
        }
        match after.find_rest(method, path, &mut captures).map(|route| &route.action) {
            Ok(Action::Call(is)) if successors.found.iter().any(|found| found.id == is.id) => {}
            Ok(Action::Call(is)) => successors.found.push(is),
            Ok(Action::Builtin | Action::Token(_)) | Err(_) => successors.gone = true,
        }
    }
    successors
}

/// What requests of a route are tried with.
fn methods(route: &Route) -> Vec<&str> {
    if &*route.method == "*" { METHODS.to_vec() } else { vec![&*route.method] }
}

struct Comparison<'a> {
    before: &'a Snapshot,
    after: &'a Snapshot,
    changes: Changes<'a>,
}

impl Comparison<'_> {
    /// Tells which routes lose requests to those that are new: a literal or a verb beside a variable takes a value of
    /// that. What a variable takes of another whole has been told by then.
    fn taken(&mut self) {
        fn key(route: &Route) -> (&str, Vec<Sample>) {
            (&route.method, Sample::of(&route.template))
        }
        fn rules(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Route>> {
            snapshot.routes.iter().filter(|route| !route.method.is_empty())
        }
        let (before, after) = (self.before, self.after);
        let known: Vec<_> = rules(before).map(|route| (route, key(route))).collect();
        let keys: HashSet<_> = known.iter().map(|(_, key)| key).collect();
        for new in rules(after) {
            let new_key = key(new);
            if keys.contains(&new_key) {
                continue;
            }
            for (old, (_, old_samples)) in &known {
                let both = old_samples.iter().flat_map(|old| new_key.1.iter().filter_map(|new| old.and(new)));
                let lost = both.filter(|sample| !old_samples.contains(sample)).find_map(|sample| {
                    let path = sample.path();
                    let method = methods(old).into_iter().chain(methods(new)).find(|method| {
                        let mut captures = Captures::default();
                        let had = before.find_rest(method, &path, &mut captures);
                        had.is_ok_and(|route| Arc::ptr_eq(route, old))
                            && after.find_rest(method, &path, &mut captures).is_ok_and(|route| Arc::ptr_eq(route, new))
                    })?;
                    Some(format!("{method} {path}"))
                });
                if let Some(request) = lost
                    && !self.same(old, new)
                {
                    let what =
                        format!("took {request}, which {} {} of {} takes now", new.method, new.template, new.rpc);
                    self.tell(old, &what);
                }
            }
        }
    }

    /// Whether a request is understood and answered alike by a route of before and one of after.
    fn same(&self, old: &Route, new: &Route) -> bool {
        let (Action::Call(was), Action::Call(is)) = (&old.action, &new.action) else { return false };
        was.rpc.name == is.rpc.name
            && captured(self.before, was) == captured(self.after, is)
            && body(self.before, was) == body(self.after, is)
            && reply(self.before, was) == reply(self.after, is)
    }

    fn compare(&mut self, route: &Route, was: &Binding, is: &Binding) {
        if kind(was) != kind(is) {
            self.tell(route, &format!("is {} and was {}", kind(is), kind(was)));
        }
        if was.rpc.name != is.rpc.name {
            self.tell(route, &format!("calls {} and called {}", is.rpc.name, was.rpc.name));
        }
        if numbers(self.before, was) != numbers(self.after, is) {
            let (had, has) = (captured(self.before, was), captured(self.after, is));
            // Another number of the same field is told of the field.
            if had != has {
                self.tell(route, &format!("sets {has} by its path and set {had}"));
            }
        }
        if was.bind.unknown == Unknown::Ignore && is.bind.unknown == Unknown::Refuse {
            self.tell(route, "refuses unknown fields and passed over them");
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
        let (had, has) = (was.out.options, is.out.options);
        for (key, had, has) in [
            ("proto_names", had.proto_names, has.proto_names),
            ("enums_as_numbers", had.enums_as_numbers, has.enums_as_numbers),
            ("int64_as_numbers", had.int64_as_numbers, has.int64_as_numbers),
        ] {
            if had != has {
                self.tell(route, &format!("prints with `{key}: {has}` and did with `{key}: {had}`"));
            }
        }
        // More than before is what clients read over.
        if had.emit_defaults && !has.emit_defaults {
            self.tell(route, "leaves out defaults, which it printed");
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

/// The fields that the path sets, each by its numbers from the request downwards.
fn numbers(snapshot: &Snapshot, binding: &Binding) -> Vec<Vec<u32>> {
    let fields = |path: &[u16]| fields(snapshot, binding, path).map(|field| field.number).collect();
    binding.bind.captures.iter().map(|capture| fields(&capture.path)).collect()
}

/// The same in words.
fn captured(snapshot: &Snapshot, binding: &Binding) -> String {
    let name = |path: &[u16]| fields(snapshot, binding, path).map(|field| &*field.name).collect::<Vec<_>>().join(".");
    let names: Vec<_> = binding.bind.captures.iter().map(|capture| format!("`{}`", name(&capture.path))).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn fields<'s>(snapshot: &'s Snapshot, binding: &Binding, path: &[u16]) -> impl Iterator<Item = &'s Field> {
    path.iter().scan(Some(binding.bind.input), |message, slot| {
        let field = &snapshot.schema.message((*message)?).fields[usize::from(*slot)];
        *message = match field.kind {
            Kind::Message(id) | Kind::Group(id) => Some(id),
            _ => None,
        };
        Some(field)
    })
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
