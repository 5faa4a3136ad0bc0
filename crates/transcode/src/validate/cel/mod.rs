//! CEL, in which a schema writes rules of its own: parsed by the `cel` crate, evaluated here.
//!
//! The crate's own interpreter knows no protobuf (what is set, what is unsigned, what a wrapper is), has no bound of its work,
//! and panics on some expressions. Here names, functions, fields and patterns are resolved when a schema is loaded, and what
//! cannot be is refused then; an evaluation takes each step from a budget, so that no message and no schema can make it
//! work for long. The language is that of <https://github.com/google/cel-spec>, with protovalidate's functions.

mod compile;
mod evaluate;
mod functions;
mod message;
mod node;
mod strings;
mod times;
mod types;
mod value;

use std::borrow::Cow;

use crate::schema::{Field, Kind, MessageId, Schema};
use crate::to_json::Halt;
use crate::to_json::value::spend;
use evaluate::Evaluation;
pub(super) use message::Source;
use node::Node;
use types::Type;
pub(super) use value::Value;

/// Bytes of one expression.
const LARGEST: usize = 8 << 10;

/// Steps of all expressions about one message, and more for each of its bytes.
const STEPS: usize = 100_000;
const STEPS_PER_BYTE: usize = 16;
/// And no more than that, however large it is.
const MOST: usize = 5_000_000;

/// Steps that the expressions about a message of this size may take.
pub(super) fn steps(size: usize) -> usize {
    size.saturating_mul(STEPS_PER_BYTE).saturating_add(STEPS).min(MOST)
}

/// Why there is no value.
#[derive(Debug)]
pub(super) enum Fault {
    /// An error of CEL; `&&` and `||` may do without the value.
    Error(Cow<'static, str>),
    /// The message is none, or the budget is spent.
    Halt(Halt),
}

impl Fault {
    fn error(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Error(message.into())
    }
}

impl From<Halt> for Fault {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

/// What may still be done.
#[derive(Debug)]
pub(super) struct Work<'w>(&'w mut usize);

impl<'w> Work<'w> {
    pub(super) fn new(budget: &'w mut usize) -> Self {
        Self(budget)
    }

    fn spend(&mut self, steps: usize) -> Result<(), Halt> {
        spend(self.0, steps)
    }

    fn budget(&mut self) -> &mut usize {
        self.0
    }
}

/// What `this` is.
#[derive(Debug, Clone, Copy)]
pub(super) enum This<'s> {
    Message(MessageId),
    /// A whole field: a list, a map, or one value.
    Field(&'s Field),
    /// An item, a key, a value of a map.
    Value(Kind),
}

/// The rules that a predefined rule is one of: their bytes, their type, and which of them it is.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) bytes: Box<[u8]>,
    pub(super) id: MessageId,
    pub(super) slot: u16,
}

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Expression {
    node: Node,
    said: Option<Said>,
    /// Variables of comprehensions that are there at once.
    locals: usize,
}

impl Expression {
    /// Resolves an expression; `said` is what `rule` and `rules` are.
    pub(super) fn compile(schema: &Schema, text: &str, this: This<'_>, said: Option<Said>) -> Result<Self, String> {
        if text.len() > LARGEST {
            return Err(format!("it is longer than {LARGEST} bytes"));
        }
        let this = match this {
            This::Message(id) => Type::of(schema, Kind::Message(id)),
            This::Field(field) => Type::of_field(schema, field),
            This::Value(kind) => Type::of(schema, kind),
        };
        let (node, locals) = compile::compile(schema, text, this, said.as_ref())?;
        Ok(Self { node, said, locals })
    }

    /// What it says of `this`: true or an empty text where the rule is kept.
    pub(super) fn evaluate<'a>(
        &'a self,
        schema: &'a Schema,
        this: Value<'a>,
        now: i128,
        work: Work<'_>,
    ) -> Result<Verdict, Fault> {
        let mut evaluation = Evaluation::new(schema, Some(this), self.said.as_ref(), now, work);
        match evaluation.value(&self.node, self.locals)? {
            Value::Bool(true) => Ok(Verdict::Kept),
            Value::Bool(false) => Ok(Verdict::Broken(None)),
            Value::String(text) if text.is_empty() => Ok(Verdict::Kept),
            Value::String(text) => Ok(Verdict::Broken(Some(text.into()))),
            _ => Err(Fault::error("it is neither a bool nor a string")),
        }
    }
}

/// What an expression says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Kept,
    /// And why, where it says so itself.
    Broken(Option<Box<str>>),
}

#[cfg(test)]
mod tests;
