//! `buf.validate`: what a schema's author says that messages must be, held on the wire.
//!
//! The standard rules of protovalidate 1.x, compiled to tables at load and checked in one pass over a message's bytes: no
//! message tree. Rules are those of <https://protovalidate.com/reference/rules/standard_rules/>, with their ids. A schema's own
//! rules are expressions of CEL, evaluated beside them; [`Rules::custom`] names those that cannot be.

mod address;
#[cfg(feature = "cel")]
mod cel;
mod compile;
mod format;
mod kinds;
mod number;
#[cfg_attr(not(feature = "cel"), path = "own/absent.rs")]
mod own;
mod pattern;
mod rule;
mod said;
mod strings;
mod text;
mod uri;
mod walk;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::invalid::Invalid;
use crate::plan::Limits;
use crate::schema::{Kind, MessageId, Problem, Schema};
use crate::scratch::Scratch;
use kinds::Type;
use own::Own;
use rule::Rule;

/// As many violations are told of one message; more help nobody.
pub const MOST: usize = 20;

/// The rules of a schema.
#[derive(Debug, Default)]
pub struct Rules {
    /// By [`MessageId`], the index in `messages`; `u32::MAX` is none.
    at: Box<[u32]>,
    messages: Box<[Ruled]>,
    custom: Vec<Custom>,
    problems: Vec<(MessageId, Problem)>,
}

/// One rule that a message breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field's path as JSON names it (`event.tickets[3].seatId`, `labels["a"]`); empty for the whole message.
    pub field: String,
    /// The rule's id: `string.min_len`.
    pub rule: Box<str>,
    /// What is wanted, in English, without the path.
    pub message: Box<str>,
    /// The rule is broken by a map's key, not by the value at it.
    pub for_key: bool,
}

impl Rules {
    /// Compiles what a schema says.
    pub fn compile(schema: &Schema) -> Self {
        compile::compile(schema, true)
    }

    /// Compiles the standard rules alone: [`Rules::custom`] names all others.
    pub fn standard(schema: &Schema) -> Self {
        compile::compile(schema, false)
    }

    /// Some rule holds for messages of this type, or for messages in them.
    pub fn hold_for(&self, id: MessageId) -> bool {
        self.ruled(id).is_some()
    }

    /// What is wrong with rules that messages of this type reach: the tables hold none of those.
    pub fn problems(&self, schema: &Schema, id: MessageId) -> Vec<&Problem> {
        if self.problems.is_empty() {
            return Vec::new();
        }
        let reached = reached(schema, id);
        self.problems.iter().filter(|(at, _)| reached[at.0 as usize]).map(|(_, problem)| problem).collect()
    }

    /// The rules in CEL that messages of this type reach and that are not held, each with its place and the reason.
    pub fn custom(&self, schema: &Schema, id: MessageId) -> Vec<&str> {
        if self.custom.is_empty() {
            return Vec::new();
        }
        let reached = reached(schema, id);
        self.custom.iter().filter(|custom| reached[custom.message.0 as usize]).map(|custom| &*custom.rule).collect()
    }

    /// The rules that `message` breaks, at most [`MOST`].
    ///
    /// # Errors
    /// The bytes are no message of the type `id`, or exceed `limits`.
    pub fn violations(
        &self,
        schema: &Schema,
        id: MessageId,
        message: &[u8],
        limits: &Limits,
        now: SystemTime,
        scratch: &mut Scratch,
    ) -> Result<Vec<Violation>, Invalid> {
        if !self.hold_for(id) {
            return Ok(Vec::new());
        }
        let now = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        };
        walk::violations(self, (schema, id), message, limits, now, scratch)
    }

    #[inline]
    fn ruled(&self, id: MessageId) -> Option<&Ruled> {
        self.messages.get(*self.at.get(id.0 as usize)? as usize)
    }
}

/// A rule that is written in CEL, and not held.
#[derive(Debug)]
struct Custom {
    message: MessageId,
    /// Where it is, its name, and why.
    rule: String,
}

/// What one message is held to.
#[derive(Debug, Default)]
struct Ruled {
    /// Ascending by slot.
    fields: Vec<Field>,
    /// The oneofs of which one member must be set.
    oneofs: Vec<u16>,
    groups: Vec<Group>,
    /// About the message as a whole.
    own: Vec<Own>,
}

/// Fields of which at most one may be set.
#[derive(Debug)]
struct Group {
    slots: Box<[u16]>,
    /// One must be.
    required: bool,
    /// Their JSON names.
    names: Box<str>,
}

/// What one field is held to.
#[derive(Debug)]
struct Field {
    slot: u16,
    required: bool,
    ignore: Ignore,
    held: Held,
}

/// When a value is not held to its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ignore {
    Never,
    IfZero,
    Always,
}

#[derive(Debug)]
enum Held {
    None,
    One(Value),
    List(Box<List>),
    Map(Box<Map>),
}

/// What one value is held to.
#[derive(Debug)]
struct Value {
    kind: Kind,
    /// How it is read.
    of: Type,
    rules: Box<[Rule]>,
    own: Vec<Own>,
    ignore: Ignore,
    /// It is a message with rules of its own.
    enter: Option<MessageId>,
}

#[derive(Debug, Default)]
struct List {
    sizes: Box<[Rule]>,
    /// About the list as a whole.
    own: Vec<Own>,
    unique: bool,
    items: Option<Value>,
}

#[derive(Debug, Default)]
struct Map {
    sizes: Box<[Rule]>,
    /// About the map as a whole.
    own: Vec<Own>,
    keys: Option<Value>,
    values: Option<Value>,
}

impl Value {
    /// Something is asked of the value itself.
    fn is_ruled(&self) -> bool {
        !self.rules.is_empty() || !self.own.is_empty()
    }
}

/// Which messages a message holds, at any depth, itself among them.
fn reached(schema: &Schema, id: MessageId) -> Vec<bool> {
    let mut reached = vec![false; schema.messages.len()];
    let mut fresh = vec![id];
    while let Some(id) = fresh.pop() {
        if !std::mem::replace(&mut reached[id.0 as usize], true) {
            fresh.extend(schema.message(id).fields.iter().filter_map(|field| match field.kind {
                Kind::Message(id) | Kind::Group(id) => Some(id),
                _ => None,
            }));
        }
    }
    reached
}

#[cfg(test)]
mod tests;
