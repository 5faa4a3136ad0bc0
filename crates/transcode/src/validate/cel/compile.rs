//! An expression's text → its nodes. What it names must be there.

use std::thread;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators};
use cel::parser::Parser;

use super::evaluate::Evaluation;
use super::functions::Function;
use super::node::{Access, Constant, Fold, Gather, Node, Variable};
use super::types::Type;
use super::value::Value;
use super::{Said, Work, steps};
use crate::schema::{Schema, Symbol};
use crate::validate::pattern;

/// Operators, calls and brackets within each other.
const DEEPEST: usize = 100;

/// For the parser, which takes a thousand bytes and more for each of a text's levels.
const STACK: usize = 64 << 20;

const TOO_DEEP: &str = "it is nested too deeply";
const NO_PARSE: &str = "it cannot be parsed";

/// The types that expressions name.
const TYPES: [&str; 13] = [
    "null_type",
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "type",
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
    "dyn",
];

/// Compiles a text; tells too how many variables of comprehensions are there at once.
pub(super) fn compile(schema: &Schema, text: &str, this: Type, said: Option<&Said>) -> Result<(Node, usize), String> {
    if brackets(text) > DEEPEST {
        return Err(TOO_DEEP.to_owned());
    }
    let compile = || {
        let parsed = Parser::new().max_recursion_depth(u16::MAX).parse(text);
        let parsed = parsed.map_err(|errors| match errors.errors.first() {
            Some(error) => format!("it cannot be parsed: {}", error.msg),
            None => NO_PARSE.to_owned(),
        })?;
        let mut compiler = Compiler { schema, this, said, scope: Vec::new(), most: 0, depth: 0 };
        let (node, of) = compiler.node(&parsed.expr)?;
        match of {
            Type::Bool | Type::String | Type::Dyn => Ok((node, compiler.most)),
            _ => Err("it is neither a bool nor a string".to_owned()),
        }
    };
    // The parser recurses with the text, and is somebody else's: it has a stack that is large enough, and may panic.
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, compile);
        let compiled = thread.map_err(|error| format!("no thread to parse it in: {error}"))?.join();
        compiled.unwrap_or_else(|_| Err(NO_PARSE.to_owned()))
    })
}

/// How deep brackets nest in a text, those in its strings too.
fn brackets(text: &str) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => {
                open += 1;
                deepest = deepest.max(open);
            }
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

struct Compiler<'s> {
    schema: &'s Schema,
    this: Type,
    said: Option<&'s Said>,
    /// The variables of the comprehensions around.
    scope: Vec<(String, Type)>,
    most: usize,
    depth: usize,
}

type Compiled = Result<(Node, Type), String>;

impl Compiler<'_> {
    fn node(&mut self, expr: &Expr) -> Compiled {
        if self.depth == DEEPEST {
            return Err(TOO_DEEP.to_owned());
        }
        self.depth += 1;
        let compiled = self.compiled(expr);
        self.depth -= 1;
        compiled
    }

    fn compiled(&mut self, expr: &Expr) -> Compiled {
        match expr {
            Expr::Literal(literal) => Ok(constant(literal)),
            Expr::Ident(name) => {
                let found = self.variable(name).or_else(|| self.named(name));
                found.ok_or_else(|| format!("there is no `{name}`"))
            }
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) if list.optional_indices.is_empty() => {
                let (items, _): (Vec<_>, Vec<_>) =
                    self.each(&list.elements.iter().map(|item| &item.expr).collect::<Vec<_>>())?;
                Ok((Node::List(items.into()), Type::List(Box::new(Type::Dyn))))
            }
            Expr::Map(map) => {
                let entries = map.entries.iter().map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) if !entry.optional => {
                        Ok((self.node(&entry.key.expr)?.0, self.node(&entry.value.expr)?.0))
                    }
                    _ => Err("it makes a message: that is not supported".to_owned()),
                });
                let entries: Result<Vec<_>, String> = entries.collect();
                Ok((Node::Map(entries?.into()), Type::Map(Box::new(Type::Dyn), Box::new(Type::Dyn))))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(made) => Err(format!("it makes a `{}`: that is not supported", made.type_name)),
            Expr::List(_) | Expr::Unspecified => Err("it holds what is not supported".to_owned()),
        }
    }

    fn each(&mut self, parts: &[&Expr]) -> Result<(Vec<Node>, Vec<Type>), String> {
        let parts: Result<Vec<_>, String> = parts.iter().map(|part| self.node(part)).collect();
        Ok(parts?.into_iter().unzip())
    }

    /// A variable, innermost first.
    fn variable(&self, name: &str) -> Option<(Node, Type)> {
        if let Some(at) = self.scope.iter().rposition(|(known, _)| known == name) {
            return Some((Node::Local(at), self.scope[at].1.clone()));
        }
        let variable = |variable, of| Some((Node::Variable(variable), of));
        match (name, self.said) {
            ("this", _) => variable(Variable::This, self.this.clone()),
            ("now", _) => variable(Variable::Now, Type::Timestamp),
            ("rules", Some(said)) => variable(Variable::Rules, Type::Message(said.id)),
            ("rule", Some(said)) => {
                let field = &self.schema.message(said.id).fields[usize::from(said.slot)];
                variable(Variable::Rule, Type::of_field(self.schema, field))
            }
            _ => None,
        }
    }

    /// What a full name stands for: a type, or an enum's value.
    fn named(&self, name: &str) -> Option<(Node, Type)> {
        if TYPES.contains(&name) || matches!(self.schema.symbol(name), Some(Symbol::Message(_))) {
            return Some((Node::Constant(Constant::Type(name.into())), Type::Dyn));
        }
        let (of, value) = name.rsplit_once('.')?;
        let Some(Symbol::Enum(id)) = self.schema.symbol(of) else { return None };
        let number = self.schema.enumeration(id).number_of(value)?;
        Some((Node::Constant(Constant::Int(number.into())), Type::Int))
    }

    fn select(&mut self, select: &SelectExpr) -> Compiled {
        if let Some(name) = qualified(&select.operand.expr, &select.field)
            && let Some((root, _)) = name.split_once('.')
            && self.variable(root).is_none()
        {
            return self.named(&name).ok_or_else(|| format!("there is no `{name}`"));
        }
        let (operand, of) = self.node(&select.operand.expr)?;
        let (access, field) = match &of {
            Type::Message(id) => {
                let message = self.schema.message(*id);
                let slot = message.slot_declared(&select.field);
                let slot = slot.ok_or_else(|| format!("{} has no field `{}`", message.name, select.field))?;
                (Access::Slot(slot as u16), Type::of_field(self.schema, &message.fields[slot]))
            }
            Type::Map(_, value) => (Access::Name(select.field.as_str().into()), (**value).clone()),
            Type::Dyn => (Access::Name(select.field.as_str().into()), Type::Dyn),
            _ => return Err(format!("`{}` is asked of what has no fields", select.field)),
        };
        match select.test {
            true => Ok((Node::Has(Box::new(operand), access), Type::Bool)),
            false => Ok((Node::Select(Box::new(operand), access), field)),
        }
    }

    fn call(&mut self, call: &CallExpr) -> Compiled {
        let parts: Vec<&Expr> =
            call.target.iter().map(|target| &target.expr).chain(call.args.iter().map(|part| &part.expr)).collect();
        let (mut nodes, types) = self.each(&parts)?;
        let method = call.target.is_some();
        if call.func_name == "matches" && nodes.len() == 2 {
            let pattern = self.constant(nodes.pop())?;
            let text = nodes.pop().ok_or("`matches` wants a text")?;
            return Ok((Node::Matches(Box::new(text), pattern::compile(pattern.as_bytes())?), Type::Bool));
        }
        let boxed = |nodes: Vec<Node>| nodes.into_boxed_slice();
        let wrong = || format!("`{}` takes other arguments", call.func_name);
        Ok(match &*call.func_name {
            operators::LOGICAL_AND => (Node::And(Box::new(nodes.try_into().map_err(|_| wrong())?)), Type::Bool),
            operators::LOGICAL_OR => (Node::Or(Box::new(nodes.try_into().map_err(|_| wrong())?)), Type::Bool),
            operators::CONDITIONAL => {
                let of = match &types[..] {
                    [_, one, other] if one == other => one.clone(),
                    _ => Type::Dyn,
                };
                (Node::If(Box::new(nodes.try_into().map_err(|_| wrong())?)), of)
            }
            operators::NOT_STRICTLY_FALSE => {
                (Node::NotStrictlyFalse(Box::new(nodes.pop().ok_or_else(wrong)?)), Type::Bool)
            }
            name => {
                let function = Function::find(name, method, nodes.len());
                let function = function.ok_or_else(|| match method {
                    true => format!("there is no method `{name}` with {} arguments", nodes.len() - 1),
                    false => format!("there is no function `{name}` with {} arguments", nodes.len()),
                })?;
                (Node::Call(function, boxed(nodes)), function.answers(&types))
            }
        })
    }

    /// The text of a pattern: it is compiled once, so it may depend on nothing that comes with a message.
    fn constant(&self, node: Option<Node>) -> Result<String, String> {
        const WHY: &str = "`matches` wants a pattern that the expression or its rule says itself";
        let node = node.filter(is_constant).ok_or(WHY)?;
        let mut budget = steps(0);
        let mut evaluation = Evaluation::new(self.schema, None, self.said, 0, Work::new(&mut budget));
        match evaluation.value(&node, 0) {
            Ok(Value::String(text)) => Ok(text.into_owned()),
            _ => Err(WHY.to_owned()),
        }
    }

    fn comprehension(&mut self, made: &ComprehensionExpr) -> Compiled {
        if made.iter_var2.is_some() {
            return Err("comprehensions of two variables are not supported".to_owned());
        }
        let (range, of) = self.node(&made.iter_range.expr)?;
        if let Some((filter, item)) = gathered(made) {
            let element = self.enter(&made.iter_var, of.element());
            let filter = filter.map(|filter| self.node(filter)).transpose()?.map(|(filter, _)| filter);
            let (item, of) = self.node(item)?;
            self.scope.pop();
            let gather = Gather { range, element, filter, item };
            return Ok((Node::Gather(Box::new(gather)), Type::List(Box::new(of))));
        }
        let (start, start_type) = self.node(&made.accu_init.expr)?;
        let result = self.enter(&made.accu_var, start_type);
        let element = self.enter(&made.iter_var, of.element());
        let (goes_on, _) = self.node(&made.loop_cond.expr)?;
        let (step, _) = self.node(&made.loop_step.expr)?;
        self.scope.pop();
        let (end, of) = self.node(&made.result.expr)?;
        self.scope.pop();
        let fold = Fold { range, element, result, start, goes_on, step, end };
        Ok((Node::Fold(Box::new(fold)), of))
    }

    /// Names a variable; its place.
    fn enter(&mut self, name: &str, of: Type) -> usize {
        self.scope.push((name.to_owned(), of));
        self.most = self.most.max(self.scope.len());
        self.scope.len() - 1
    }
}

/// `a.b.c` as one name, if it is made of nothing but names.
fn qualified(operand: &Expr, field: &str) -> Option<String> {
    match operand {
        Expr::Ident(name) => Some(format!("{name}.{field}")),
        Expr::Select(inner) if !inner.test => {
            Some(format!("{}.{field}", qualified(&inner.operand.expr, &inner.field)?))
        }
        _ => None,
    }
}

/// Of what `map` and `filter` became: the condition, and what is put into the list.
fn gathered(made: &ComprehensionExpr) -> Option<(Option<&Expr>, &Expr)> {
    let Expr::List(start) = &made.accu_init.expr else { return None };
    let is_result = |expr: &Expr| matches!(expr, Expr::Ident(name) if *name == made.accu_var);
    if !start.elements.is_empty() || !is_result(&made.result.expr) {
        return None;
    }
    let added = |expr: &Expr| {
        matches!(expr, Expr::Call(call) if call.func_name == operators::ADD && call.args.len() == 2
            && is_result(&call.args[0].expr)
            && matches!(&call.args[1].expr, Expr::List(list) if list.elements.len() == 1))
    };
    let Expr::Call(step) = &made.loop_step.expr else { return None };
    match &step.args[..] {
        [filter, then, otherwise]
            if step.func_name == operators::CONDITIONAL && added(&then.expr) && is_result(&otherwise.expr) =>
        {
            Some((Some(&filter.expr), only(&then.expr)?))
        }
        _ if added(&made.loop_step.expr) => Some((None, only(&made.loop_step.expr)?)),
        _ => None,
    }
}

/// The one item of the list that a call adds.
fn only(added: &Expr) -> Option<&Expr> {
    let Expr::Call(call) = added else { return None };
    let Expr::List(list) = &call.args.get(1)?.expr else { return None };
    list.elements.first().map(|item| &item.expr)
}

/// It is the same whatever the message.
fn is_constant(node: &Node) -> bool {
    match node {
        Node::Constant(_) | Node::Variable(Variable::Rule | Variable::Rules) => true,
        Node::Select(operand, _) => is_constant(operand),
        Node::Call(_, parts) | Node::List(parts) => parts.iter().all(is_constant),
        Node::If(parts) => parts.iter().all(is_constant),
        _ => false,
    }
}

fn constant(literal: &LiteralValue) -> (Node, Type) {
    let (constant, of) = match literal {
        LiteralValue::Boolean(value) => (Constant::Bool(*value.inner()), Type::Bool),
        LiteralValue::Bytes(value) => (Constant::Bytes(value.inner().into()), Type::Bytes),
        LiteralValue::Double(value) => (Constant::Double(*value.inner()), Type::Double),
        LiteralValue::Int(value) => (Constant::Int(*value.inner()), Type::Int),
        LiteralValue::Null => (Constant::Null, Type::Dyn),
        LiteralValue::String(value) => (Constant::String(value.inner().into()), Type::String),
        LiteralValue::UInt(value) => (Constant::Uint(*value.inner()), Type::Uint),
    };
    (Node::Constant(constant), of)
}
