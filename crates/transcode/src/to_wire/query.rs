//! Query strings: parameters that bind to fields, and system parameters that do not.

use crate::invalid::{Fail, Invalid, Kind as Refusal};
use crate::json::scan::echo;
use crate::plan::{BindPlan, Body, Unknown, has_text_form, is_open};
use crate::schema::{Field, Kind, Message, Schema, Shape, WellKnown};
use crate::scratch::Piece;
use crate::to_wire::bound::{Bound, GIVEN_TWICE, ROOT, Source, UNBOUND};
use crate::to_wire::text::{Encoding, decode};

/// What the system parameters of a query ask for: those of `google.api` that change the answer's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SystemParameters {
    /// `$alt=json;enum-encoding=int`, which Google's REST clients send: enums print as numbers.
    pub enums_as_numbers: bool,
}

impl SystemParameters {
    /// Reads those of a query string; the last `$alt` counts.
    pub fn of(query: &str) -> Self {
        let mut found = Self::default();
        if !query.contains("alt") {
            return found;
        }
        let (mut name, mut value) = (Vec::new(), Vec::new());
        for (raw_name, raw_value) in parameters(query) {
            if decode(raw_name, Encoding::Query, &mut name).is_ok()
                && name == b"$alt"
                && decode(raw_value, Encoding::Query, &mut value).is_ok()
            {
                let mut options = value.split(|&byte| byte == b';');
                found.enums_as_numbers =
                    options.next() == Some(b"json") && options.any(|option| option == b"enum-encoding=int");
            }
        }
        found
    }
}

/// The parameters of a query string, still encoded.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Empty room for what a parameter says and for a map's entries.
pub(super) struct Room<'a> {
    pub(super) name: &'a mut Vec<u8>,
    pub(super) value: &'a mut Vec<u8>,
    pub(super) entries: &'a mut Vec<Piece>,
}

/// Binds every parameter of a query string.
pub(super) fn bind(
    bound: &mut Bound<'_>,
    schema: &Schema,
    plan: &BindPlan,
    depth: u16,
    query: &str,
    Room { name, value, entries }: Room<'_>,
) -> Result<(), Fail> {
    let taken = match plan.body {
        Body::Field(slot) => Some(usize::from(slot)),
        Body::None | Body::Whole => None,
    };
    let target = Target { node: ROOT, message: schema.message(plan.input), taken, mask: mask(schema, plan) };
    for ((raw_name, raw_value), at) in parameters(query).zip(0..) {
        decode(raw_name, Encoding::Query, name).map_err(|why| refused(why, raw_name.as_bytes()))?;
        if name.first() == Some(&b'$') {
            continue;
        }
        if !plan.query {
            return Err(refused("the body is the whole request: it leaves no field to the query", name));
        }
        decode(raw_value, Encoding::Query, value).map_err(|why| refused(why, name))?;
        let parameter = Parameter { schema, target, unknown: plan.unknown, depth, name, at };
        parameter.bind(bound, value)?;
    }
    check_entries(bound, query, name, entries)
}

/// Binds every parameter of a form, which is the body: to the request's fields, or to those of the body's field.
pub(super) fn bind_form(
    bound: &mut Bound<'_>,
    schema: &Schema,
    plan: &BindPlan,
    depth: u16,
    form: &[u8],
    Room { name, value, entries }: Room<'_>,
) -> Result<(), Fail> {
    const NO_FORM: &str = "this field cannot be given as a form: send it as application/json";
    let Ok(form) = std::str::from_utf8(form) else { return Err(refusal("the form is not UTF-8")) };
    // What curl sends of `-d '{…}'` says that it is a form. None of it is repeated: it may be a password.
    if let [b'{' | b'[', ..] | [b'%', b'5' | b'7', b'b' | b'B', ..] = form.trim_start().as_bytes() {
        return Err(refusal("the body looks like JSON: send `content-type: application/json` with it"));
    }
    let input = schema.message(plan.input);
    let mut target = Target { node: ROOT, message: input, taken: None, mask: None };
    if let Body::Field(slot) = plan.body
        && parameters(form).next().is_some()
    {
        let slot = usize::from(slot);
        let field = &input.fields[slot];
        let refused = || Box::new(Invalid::new(NO_FORM).within(&field.json_name));
        let (Shape::Singular, Kind::Message(id) | Kind::Group(id)) = (field.shape, field.kind) else {
            return Err(refused());
        };
        let message = schema.message(id);
        if !is_open(message) {
            return Err(refused());
        }
        target = Target { node: bound.enter(ROOT, input, slot)?, message, taken: None, mask: None };
    }
    for ((raw_name, raw_value), at) in parameters(form).zip(0..) {
        decode(raw_name, Encoding::Query, name).map_err(|why| refused(why, raw_name.as_bytes()))?;
        if name.first() == Some(&b'$') {
            continue;
        }
        decode(raw_value, Encoding::Query, value).map_err(|why| refused(why, name))?;
        let parameter = Parameter { schema, target, unknown: plan.unknown, depth, name, at };
        parameter.bind(bound, value)?;
    }
    check_entries(bound, form, name, entries)
}

/// Refuses map keys with two values, by the name of the parameter in `text` that gave the later one.
fn check_entries(bound: &Bound<'_>, text: &str, name: &mut Vec<u8>, entries: &mut Vec<Piece>) -> Result<(), Fail> {
    let Some(at) = bound.changed_entry(entries) else { return Ok(()) };
    if let Some((raw_name, _)) = parameters(text).nth(at as usize) {
        decode(raw_name, Encoding::Query, name).map_err(|why| refused(why, raw_name.as_bytes()))?;
    }
    Err(refused(GIVEN_TWICE, name))
}

fn refused(why: &'static str, name: &[u8]) -> Fail {
    Invalid::new(why).within(&echo(name)).into()
}

/// The message whose fields parameters set.
#[derive(Clone, Copy)]
struct Target<'a> {
    node: u32,
    message: &'a Message,
    /// The field that is the body's.
    taken: Option<usize>,
    /// The mask of a PATCH, and the message whose fields it names.
    mask: Option<(usize, &'a Message)>,
}

/// The mask of a PATCH, and what it masks: the body's field.
fn mask<'a>(schema: &'a Schema, plan: &BindPlan) -> Option<(usize, &'a Message)> {
    let Body::Field(body) = plan.body else { return None };
    match schema.message(plan.input).fields[usize::from(body)].kind {
        Kind::Message(id) | Kind::Group(id) => Some((usize::from(plan.mask?), schema.message(id))),
        _ => None,
    }
}

/// One parameter on its way to a field.
struct Parameter<'a> {
    schema: &'a Schema,
    target: Target<'a>,
    unknown: Unknown,
    depth: u16,
    /// Decoded: UTF-8.
    name: &'a [u8],
    /// Its place among all, counted from 0.
    at: u32,
}

impl<'a> Parameter<'a> {
    fn bind(&self, bound: &mut Bound<'_>, text: &[u8]) -> Result<(), Fail> {
        self.set(bound, text).map_err(|fail| Box::new(fail.within(&echo(self.name))))
    }

    fn set(&self, bound: &mut Bound<'_>, text: &[u8]) -> Result<(), Fail> {
        let name = std::str::from_utf8(self.name).unwrap_or_default();
        let (path, key) = match name.split_once('[') {
            Some((path, rest)) => (path, Some(rest.strip_suffix(']').ok_or_else(|| unclosed(rest))?)),
            None => (name, None),
        };
        // All of it is looked at before a node is made: a name that is read over leaves nothing behind.
        let Some(field) = self.find(path)? else {
            return match self.unknown {
                Unknown::Ignore => Ok(()),
                Unknown::Refuse => Err(refusal("no such parameter")),
            };
        };
        check_form(self.schema, field, key.is_some())?;
        let Target { mut node, mut message, mask, .. } = self.target;
        let mut masked = None;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let Some(slot) = message.slot_named(name) else { return Ok(()) };
            masked = mask.filter(|mask| node == ROOT && mask.0 == slot).map(|mask| mask.1);
            node = bound.enter(node, message, slot)?;
            // A mask is given as one text or by its paths.
            let last = names.peek().is_none();
            let otherwise = if last { bound.first_child(node) != UNBOUND } else { bound.is_value(node) };
            if otherwise {
                return Err(refusal(GIVEN_TWICE));
            }
            if let Kind::Message(id) | Kind::Group(id) = message.fields[slot].kind {
                message = self.schema.message(id);
            }
        }
        match (key, field.kind) {
            (Some(key), Kind::Message(entry)) => bound.add_entry(node, field, entry, (key.as_bytes(), text), self.at),
            _ => bound.add(node, field, text, masked, Source::Query),
        }
    }

    /// The field of a dotted path; `None` if there is none.
    fn find(&self, path: &str) -> Result<Option<&'a Field>, Fail> {
        let mut message = self.target.message;
        let mut names = path.split('.');
        let mut levels = 0;
        loop {
            let Some(name) = names.next() else { return Ok(None) };
            let Some(slot) = message.slot_named(name) else { return Ok(None) };
            if levels == 0 && self.target.taken == Some(slot) {
                return Err(refusal("this field is the request's body"));
            }
            levels += 1;
            if levels > self.depth {
                return Err(Invalid::new("nested too deep").of(Refusal::TooDeep).into());
            }
            let field = &message.fields[slot];
            if names.clone().next().is_none() {
                return Ok(Some(field));
            }
            message = match field.kind {
                Kind::Message(id) | Kind::Group(id)
                    if field.shape == Shape::Singular && is_open(self.schema.message(id)) =>
                {
                    self.schema.message(id)
                }
                Kind::Message(id) | Kind::Group(id) if is_mask(self.schema, field) && names.clone().eq(["paths"]) => {
                    self.schema.message(id)
                }
                _ => return Err(closed(self.schema, field, name)),
            };
        }
    }
}

/// Whether a field is one mask.
fn is_mask(schema: &Schema, field: &Field) -> bool {
    let (Shape::Singular, Kind::Message(id) | Kind::Group(id)) = (field.shape, field.kind) else { return false };
    schema.message(id).well_known == WellKnown::FieldMask
}

/// Whether a field can be given as a parameter: `name=value`, or with a key `name[key]=value`.
fn check_form(schema: &Schema, field: &Field, keyed: bool) -> Result<(), Fail> {
    let message = match field.kind {
        Kind::Message(id) | Kind::Group(id) => Some(schema.message(id)),
        _ => None,
    };
    match (field.shape, message) {
        (Shape::Map, _) if keyed => Ok(()),
        (Shape::Map, _) => Err(refusal("this is a map: write name[key]=value")),
        _ if keyed => Err(refusal("only maps take a [key]")),
        (Shape::Repeated | Shape::Packed, Some(_)) => {
            Err(refusal("a repeated message cannot be a parameter: send it in the body"))
        }
        (Shape::Singular, Some(message)) if !has_text_form(message) => {
            match is_open(message) && !message.fields.is_empty() {
                true => Err(refusal("a message cannot be a parameter: set its fields one by one")),
                false => Err(refusal("this cannot be a parameter: send it in the body")),
            }
        }
        _ => Ok(()),
    }
}

/// A parameter that sets something in a field which is set as a whole.
#[cold]
fn closed(schema: &Schema, field: &Field, name: &str) -> Fail {
    let message = match field.kind {
        Kind::Message(id) | Kind::Group(id) => Some(schema.message(id)),
        _ => None,
    };
    let why = match (field.shape, message) {
        (Shape::Map, _) => format!("`{name}` is a map: write {name}[key]=value"),
        (Shape::Singular, Some(message)) if has_text_form(message) => {
            format!("`{name}` is one value: write {name}=value")
        }
        (_, Some(_)) => format!("nothing in `{name}` can be a parameter: send it in the body"),
        (_, None) => format!("`{name}` has no fields that a parameter could set"),
    };
    Invalid::new(why).into()
}

/// A `[` that the name does not end with the `]` of.
#[cold]
fn unclosed(rest: &str) -> Fail {
    match rest.contains(']') {
        true => refusal("only a whole entry of a map can be a parameter: send this in the body"),
        false => refusal("`[` without a `]` at the end"),
    }
}

#[cold]
fn refusal(message: &'static str) -> Fail {
    Invalid::new(message).into()
}
