//! A compiled expression: what its names stand for is resolved.

use regex::bytes::Regex;

use super::functions::Function;

/// One part of an expression.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Constant),
    Variable(Variable),
    /// What a comprehension goes through or gathers, by its place.
    Local(usize),
    Select(Box<Self>, Access),
    /// `has(operand.field)`
    Has(Box<Self>, Access),
    List(Box<[Self]>),
    Map(Box<[(Self, Self)]>),
    /// Either side may decide without the other, even where that is an error.
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    If(Box<[Self; 3]>),
    /// False, unless it is true or an error.
    NotStrictlyFalse(Box<Self>),
    Matches(Box<Self>, Regex),
    Call(Function, Box<[Self]>),
    Fold(Box<Fold>),
    Gather(Box<Gather>),
}

/// A literal.
#[derive(Debug)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Box<str>),
    Bytes(Box<[u8]>),
    /// The name of a type.
    Type(Box<str>),
}

/// What there is beside the comprehensions' own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variable {
    This,
    /// The value of the predefined rule.
    Rule,
    /// The rules that it is one of.
    Rules,
    Now,
}

/// A field of a message, or a key of a map.
#[derive(Debug)]
pub(super) enum Access {
    /// What it is of is known.
    Slot(u16),
    /// The value will show it.
    Name(Box<str>),
}

/// A comprehension that ends with one value: `all`, `exists`, `exists_one`.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) range: Node,
    pub(super) element: usize,
    pub(super) result: usize,
    pub(super) start: Node,
    pub(super) goes_on: Node,
    pub(super) step: Node,
    pub(super) end: Node,
}

/// A comprehension that makes a list: `map`, `filter`.
#[derive(Debug)]
pub(super) struct Gather {
    pub(super) range: Node,
    pub(super) element: usize,
    pub(super) filter: Option<Node>,
    pub(super) item: Node,
}
