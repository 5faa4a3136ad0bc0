//! Compiles a rule's template and body into slots, and refuses what could not be bound.

use crate::plan::{BindPlan, Binding, Body, Unknown, has_text_form, is_open, is_raw};
use crate::schema::{Field, HttpRule, Kind, Message, MessageId, Schema, Shape, WellKnown};
use crate::template::{Template, Variable};

/// Why a rule cannot be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbindable {
    /// Where in the template, counted from 1 in characters, if the template is wrong.
    pub column: Option<usize>,
    /// What is wrong, naming the field.
    pub message: String,
}

impl BindPlan {
    /// The plan of a JSON message: all of it is the body.
    pub fn whole(input: MessageId) -> Self {
        Self {
            input,
            body: Body::Whole,
            captures: Box::default(),
            query: false,
            unknown: Unknown::Refuse,
            raw: false,
            mask: None,
        }
    }

    /// The plan of an HTTP rule.
    ///
    /// # Errors
    /// All that is wrong with the rule: the caller knows file and method.
    pub fn compile(
        schema: &Schema,
        input: MessageId,
        template: &Template,
        rule: &HttpRule,
        unknown: Unknown,
    ) -> Result<Self, Vec<Unbindable>> {
        let message = schema.message(input);
        let (mut captures, mut wrong) = (Vec::new(), Vec::new());
        for variable in template.variables() {
            match binding(schema, message, variable) {
                Ok(binding) => captures.push(binding),
                Err(message) => wrong.push(unbindable(variable, message)),
            }
        }
        if wrong.is_empty() {
            wrong.extend(shared_oneof(schema, message, template.variables(), &captures));
        }
        // RFC 9110 gives such a body no meaning, browsers cannot send it, and what stands between may drop it.
        let body = if !rule.body.is_empty() && matches!(&*rule.method, "GET" | "HEAD") {
            Err(format!("{} takes no body: remove `body`, or use another method", rule.method))
        } else {
            match &*rule.body {
                "" => Ok(Body::None),
                "*" => Ok(Body::Whole),
                name => body_slot(message, name, &captures).map(Body::Field),
            }
        };
        let body = match body {
            Ok(body) if wrong.is_empty() => body,
            body => {
                wrong.extend(body.err().map(|message| Unbindable { column: None, message }));
                return Err(wrong);
            }
        };
        let raw = match body {
            Body::None => false,
            Body::Whole => message.well_known == WellKnown::HttpBody,
            Body::Field(slot) => is_raw(schema, &message.fields[usize::from(slot)]),
        };
        let mask = match body {
            Body::Field(slot) if *rule.method == *"PATCH" => mask(schema, message, slot),
            _ => None,
        };
        Ok(Self { input, body, captures: captures.into(), query: body != Body::Whole, unknown, raw, mask })
    }
}

/// The slot of the one `FieldMask` beside a body that has fields.
fn mask(schema: &Schema, input: &Message, body: u16) -> Option<u16> {
    let well_known = |field: &Field| match field.kind {
        Kind::Message(id) => Some(schema.message(id).well_known),
        _ => None,
    };
    let body = &input.fields[usize::from(body)];
    if body.shape != Shape::Singular || well_known(body) != Some(WellKnown::No) {
        return None;
    }
    let mut masks =
        input.fields.iter().enumerate().filter(|(_, field)| well_known(field) == Some(WellKnown::FieldMask));
    match (masks.next(), masks.next()) {
        (Some((slot, field)), None) if field.shape == Shape::Singular && field.oneof.is_none() => {
            u16::try_from(slot).ok()
        }
        _ => None,
    }
}

fn unbindable(variable: &Variable, message: String) -> Unbindable {
    Unbindable { column: Some(variable.column), message }
}

/// Where a template's variable goes.
fn binding(schema: &Schema, input: &Message, variable: &Variable) -> Result<Binding, String> {
    let mut message = input;
    let mut path = Vec::new();
    let mut names = variable.field.split('.').peekable();
    while let Some(name) = names.next() {
        let variable = &variable.field;
        let slot = message
            .slot_declared(name)
            .ok_or_else(|| format!("the path binds `{variable}`, but {} has no field `{name}`", message.name))?;
        let field = &message.fields[slot];
        path.push(slot_number(slot)?);
        let last = names.peek().is_none();
        match (field.shape, field.kind) {
            (Shape::Map, _) => return Err(format!("the path binds `{variable}`, but `{name}` is a map")),
            (Shape::Repeated | Shape::Packed, _) => {
                return Err(format!("the path binds `{variable}`, but `{name}` is repeated"));
            }
            (Shape::Item, _) => return Err(format!("the path binds `{variable}`, but `{name}` is in a MessageSet")),
            (Shape::Singular, Kind::Message(id) | Kind::Group(id)) => {
                message = schema.message(id);
                if last && !has_text_form(message) {
                    return Err(format!("the path binds `{variable}`, but a {} has no text form", message.name));
                }
                if !last && !is_open(message) {
                    return Err(format!("the path binds `{variable}`, but a {} is bound as a whole", message.name));
                }
            }
            (Shape::Singular, _) if !last => {
                return Err(format!("the path binds `{variable}`, but `{name}` is no message"));
            }
            (Shape::Singular, _) => {}
        }
    }
    Ok(Binding { path: path.into(), multi: variable.multi })
}

/// Two variables that set different members of one oneof: no request could be bound.
fn shared_oneof(schema: &Schema, input: &Message, variables: &[Variable], captures: &[Binding]) -> Option<Unbindable> {
    for (at, one) in captures.iter().enumerate() {
        for (before, other) in captures[..at].iter().enumerate() {
            let mut message = input;
            for (&slot, &beside) in one.path.iter().zip(&other.path) {
                let field = &message.fields[usize::from(slot)];
                if slot != beside {
                    if field.oneof.is_some() && field.oneof == message.fields[usize::from(beside)].oneof {
                        let (one, other) = (&variables[at].field, &variables[before].field);
                        let message = format!("the path binds `{other}` and `{one}`, which are in one oneof");
                        return Some(unbindable(&variables[at], message));
                    }
                    break;
                }
                if let Kind::Message(id) | Kind::Group(id) = field.kind {
                    message = schema.message(id);
                }
            }
        }
    }
    None
}

/// The slot of `body: "name"`.
fn body_slot(input: &Message, name: &str, captures: &[Binding]) -> Result<u16, String> {
    let slot = input.slot_declared(name).ok_or_else(|| {
        let why =
            if name.contains('.') { "it must name a field of the request itself" } else { "there is no such field" };
        format!("body is `{name}`: {why} in {}", input.name)
    })?;
    let slot = slot_number(slot)?;
    if captures.iter().any(|binding| *binding.path == [slot]) {
        return Err(format!("body is `{name}`, which the path binds"));
    }
    Ok(slot)
}

fn slot_number(slot: usize) -> Result<u16, String> {
    u16::try_from(slot).map_err(|_| "a message with more than 65,535 fields".to_owned())
}
