//! The evaluation of one expression, each step paid for.

use std::borrow::Cow;
use std::rc::Rc;

use super::message::Source;
use super::node::{Access, Constant, Fold, Gather, Node, Variable};
use super::value::{Value, look_up};
use super::{Fault, Said, Work};
use crate::plan::Limits;
use crate::schema::Schema;
use crate::scratch::Span;

/// Characters that a pattern looks at for a step.
const MATCHED_A_STEP: usize = 16;

/// Bytes that are copied for a step.
const COPIED: usize = 32;

/// One evaluation.
pub(super) struct Evaluation<'a, 'w> {
    schema: &'a Schema,
    this: Option<Value<'a>>,
    said: Option<&'a Said>,
    now: i128,
    /// What comprehensions go through and have so far, which may be an error.
    locals: Vec<Result<Value<'a>, Cow<'static, str>>>,
    pub(super) work: Work<'w>,
}

type Evaluated<'a> = Result<Value<'a>, Fault>;

impl<'a, 'w> Evaluation<'a, 'w> {
    pub(super) fn new(
        schema: &'a Schema,
        this: Option<Value<'a>>,
        said: Option<&'a Said>,
        now: i128,
        work: Work<'w>,
    ) -> Self {
        Self { schema, this, said, now, locals: Vec::new(), work }
    }

    /// The value of an expression with so many variables in its comprehensions.
    pub(super) fn value(&mut self, node: &'a Node, locals: usize) -> Evaluated<'a> {
        self.locals.resize(locals, Ok(Value::Null));
        self.node(node)
    }

    /// The value of a node. One that was made here is paid for by its length, each time that it is copied.
    fn node(&mut self, node: &'a Node) -> Evaluated<'a> {
        let value = self.step(node)?;
        match &value {
            Value::String(Cow::Owned(text)) => self.work.spend(text.len() / COPIED)?,
            Value::Bytes(Cow::Owned(bytes)) => self.work.spend(bytes.len() / COPIED)?,
            _ => {}
        }
        Ok(value)
    }

    fn step(&mut self, node: &'a Node) -> Evaluated<'a> {
        self.work.spend(1)?;
        match node {
            Node::Constant(constant) => Ok(literal(constant)),
            Node::Variable(variable) => self.variable(*variable),
            Node::Local(at) => self.locals[*at].clone().map_err(Fault::Error),
            Node::Select(operand, access) => {
                let operand = self.node(operand)?;
                self.select(&operand, access)
            }
            Node::Has(operand, access) => {
                let operand = self.node(operand)?;
                self.has(&operand, access).map(Value::Bool)
            }
            Node::List(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.node(item)).collect();
                Ok(Value::List(Rc::new(items?)))
            }
            Node::Map(entries) => self.map(entries),
            Node::And(sides) => self.either(sides, false),
            Node::Or(sides) => self.either(sides, true),
            Node::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                match self.node(condition)?.bool()? {
                    true => self.node(then),
                    false => self.node(otherwise),
                }
            }
            Node::NotStrictlyFalse(operand) => match self.node(operand) {
                Ok(Value::Bool(value)) => Ok(Value::Bool(value)),
                Ok(_) | Err(Fault::Error(_)) => Ok(Value::Bool(true)),
                Err(halt) => Err(halt),
            },
            Node::Matches(text, pattern) => match self.node(text)? {
                Value::String(text) => {
                    self.work.spend(text.len() / MATCHED_A_STEP)?;
                    Ok(Value::Bool(pattern.is_match(text.as_bytes())))
                }
                _ => Err(Fault::error("`matches` wants a string")),
            },
            Node::Call(function, parts) => {
                let parts: Result<Vec<_>, _> = parts.iter().map(|part| self.node(part)).collect();
                function.call(parts?, &mut self.work)
            }
            Node::Fold(fold) => self.fold(fold),
            Node::Gather(gather) => self.gather(gather),
        }
    }

    fn variable(&mut self, variable: Variable) -> Evaluated<'a> {
        let nothing = || Fault::error("there is no value");
        match variable {
            Variable::This => self.this.clone().ok_or_else(nothing),
            Variable::Now => Ok(Value::Timestamp(self.now)),
            Variable::Rule | Variable::Rules => {
                let said = self.said.ok_or_else(nothing)?;
                let source = Source { schema: self.schema, wire: &said.bytes, depth: Limits::DEEPEST };
                let rules = source.message(said.id, &[Span::new(0, said.bytes.len())], &mut self.work)?;
                match (variable, &rules) {
                    (Variable::Rule, Value::Message(message)) => message.get(said.slot, &mut self.work),
                    _ => Ok(rules),
                }
            }
        }
    }

    fn select(&mut self, operand: &Value<'a>, access: &'a Access) -> Evaluated<'a> {
        match (operand, access) {
            (Value::Message(message), Access::Slot(slot)) => message.get(*slot, &mut self.work),
            (Value::Message(message), Access::Name(name)) => {
                let slot = message.slot(name)?;
                message.get(slot, &mut self.work)
            }
            (Value::Map(map), Access::Name(name)) => {
                let found = look_up(map, &Value::text(&**name), &mut self.work)?;
                found.cloned().ok_or_else(|| Fault::error("the map has no such key"))
            }
            _ => Err(Fault::error("a field is asked of what has none")),
        }
    }

    fn has(&mut self, operand: &Value<'a>, access: &'a Access) -> Result<bool, Fault> {
        match (operand, access) {
            (Value::Message(message), Access::Slot(slot)) => message.has(*slot, &mut self.work),
            (Value::Message(message), Access::Name(name)) => {
                let slot = message.slot(name)?;
                message.has(slot, &mut self.work)
            }
            (Value::Map(map), Access::Name(name)) => Ok(look_up(map, &Value::text(&**name), &mut self.work)?.is_some()),
            _ => Err(Fault::error("a field is asked of what has none")),
        }
    }

    fn map(&mut self, entries: &'a [(Node, Node)]) -> Evaluated<'a> {
        let mut map = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.node(key)?;
            if !matches!(key, Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::String(_)) {
                return Err(Fault::error("a map has no such keys"));
            }
            if look_up(&map, &key, &mut self.work)?.is_some() {
                return Err(Fault::error("the map has a key twice"));
            }
            let value = self.node(value)?;
            map.push((key, value));
        }
        Ok(Value::Map(Rc::new(map)))
    }

    /// `&&` and `||`: the value that decides does so from either side, also beside an error.
    fn either(&mut self, sides: &'a [Node; 2], decides: bool) -> Evaluated<'a> {
        let side = |outcome: Evaluated<'a>| match outcome.and_then(Value::bool) {
            Err(Fault::Halt(halt)) => Err(Fault::Halt(halt)),
            outcome => Ok(outcome),
        };
        let left = side(self.node(&sides[0]))?;
        if matches!(left, Ok(value) if value == decides) {
            return Ok(Value::Bool(decides));
        }
        let right = side(self.node(&sides[1]))?;
        if matches!(right, Ok(value) if value == decides) {
            return Ok(Value::Bool(decides));
        }
        left.and(right).map(Value::Bool)
    }

    /// What a comprehension goes through: a list's items, a map's keys.
    fn range(&mut self, range: &'a Node) -> Result<Vec<Value<'a>>, Fault> {
        let items = match self.node(range)? {
            Value::List(list) => Rc::unwrap_or_clone(list),
            Value::Map(map) => map.iter().map(|entry| entry.0.clone()).collect(),
            _ => return Err(Fault::error("only lists and maps have elements")),
        };
        self.work.spend(items.len())?;
        Ok(items)
    }

    fn fold(&mut self, fold: &'a Fold) -> Evaluated<'a> {
        let range = self.range(&fold.range)?;
        let start = self.node(&fold.start)?;
        self.set(fold.result, start);
        for item in range {
            if !self.node(&fold.goes_on)?.bool()? {
                break;
            }
            self.set(fold.element, item);
            // An error is a result too: a later element may decide without it.
            let result = match self.node(&fold.step) {
                Ok(result) => Ok(result),
                Err(Fault::Error(why)) => Err(why),
                Err(halt) => return Err(halt),
            };
            self.locals[fold.result] = result;
        }
        self.node(&fold.end)
    }

    fn gather(&mut self, gather: &'a Gather) -> Evaluated<'a> {
        let mut items = Vec::new();
        for item in self.range(&gather.range)? {
            self.set(gather.element, item);
            let wanted = match &gather.filter {
                Some(filter) => self.node(filter)?.bool()?,
                None => true,
            };
            if wanted {
                items.push(self.node(&gather.item)?);
            }
        }
        Ok(Value::List(Rc::new(items)))
    }

    /// The compiler has counted the places.
    fn set(&mut self, at: usize, value: Value<'a>) {
        self.locals[at] = Ok(value);
    }
}

fn literal(constant: &Constant) -> Value<'_> {
    match constant {
        Constant::Null => Value::Null,
        Constant::Bool(value) => Value::Bool(*value),
        Constant::Int(value) => Value::Int(*value),
        Constant::Uint(value) => Value::Uint(*value),
        Constant::Double(value) => Value::Double(*value),
        Constant::String(text) => Value::text(&**text),
        Constant::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
        Constant::Type(name) => Value::Type(Cow::Borrowed(name)),
    }
}
