//! Rules of the schema's own, in CEL: `cel` and `cel_expression` of messages and fields, and the predefined rules that extend
//! the standard ones.

use std::borrow::Cow;
use std::ops::Range;

use super::cel::{Expression, Fault, Source, Value, Verdict, Work};
use super::said::Said;
use crate::invalid::Invalid;
use crate::schema::{Field, Kind, MessageId, Schema};
use crate::scratch::Span;
use crate::to_json::Halt;
use crate::to_json::records::Reading;
use crate::to_json::value::Scalar;

pub(super) use super::cel::{Said as Rules, This, steps};

/// One rule.
#[derive(Debug)]
pub(super) struct Own {
    id: Box<str>,
    /// What it tells who breaks it; empty where the expression does.
    message: Box<str>,
    expression: Expression,
    text: Box<str>,
}

/// What a rule is about: a value, where it lies.
#[derive(Debug, Clone)]
pub(super) enum Subject<'f> {
    /// A message, by its records.
    Message(MessageId, Range<usize>),
    /// A scalar, and whether it is checked to be UTF-8.
    Scalar(Kind, bool, Scalar),
    /// A whole list or map, by its records.
    Field(&'f Field, Range<usize>),
}

impl Own {
    /// Compiles a `buf.validate.Rule`; `rules` are those that it is a predefined one of.
    pub(super) fn compile(
        schema: &Schema,
        said: &Said<'_>,
        this: This<'_>,
        rules: Option<Rules>,
    ) -> Result<Self, String> {
        let text = |number| String::from_utf8_lossy(said.bytes(number).unwrap_or_default());
        Self::of(schema, (text(1), text(2)), &text(3), this, rules)
    }

    /// Compiles an expression that is all there is.
    pub(super) fn bare(schema: &Schema, expression: &[u8], this: This<'_>) -> Result<Self, String> {
        let text = String::from_utf8_lossy(expression);
        Self::of(schema, (text.clone(), Cow::Borrowed("")), &text, this, None)
    }

    fn of(
        schema: &Schema,
        (id, message): (Cow<'_, str>, Cow<'_, str>),
        text: &str,
        this: This<'_>,
        rules: Option<Rules>,
    ) -> Result<Self, String> {
        let expression = Expression::compile(schema, text, this, rules)?;
        Ok(Self { id: (*id).into(), message: (*message).into(), expression, text: text.into() })
    }

    /// What is told of a value that breaks it; none if it is kept.
    fn judge<'a>(
        &'a self,
        schema: &'a Schema,
        this: Value<'a>,
        now: i128,
        steps: &mut usize,
    ) -> Result<Option<Box<str>>, Halt> {
        let why = match self.expression.evaluate(schema, this, now, Work::new(steps)) {
            Ok(Verdict::Kept) => return Ok(None),
            Ok(Verdict::Broken(why)) => why,
            Err(Fault::Halt(halt)) => return Err(halt),
            Err(Fault::Error(why)) => {
                let why = format!("the rule `{}` has no answer: {why}", self.id);
                return Err(Invalid::new(why).into());
            }
        };
        Ok(Some(match (&*self.message, why) {
            ("", Some(why)) => why,
            ("", None) => format!("must keep the rule `{}`", self.text).into(),
            (message, _) => message.into(),
        }))
    }
}

/// Judges a value by rules; `violate` hears the id of each that it breaks, and what is told of it.
pub(super) fn judge<'a>(
    rules: &'a [Own],
    subject: Subject<'_>,
    reading: &mut Reading<'a, '_>,
    (now, steps): (i128, &mut usize),
    mut violate: impl FnMut(&str, Box<str>),
) -> Result<(), Halt> {
    if rules.is_empty() {
        return Ok(());
    }
    let this = value(subject, reading, Work::new(steps)).map_err(|fault| match fault {
        Fault::Halt(halt) => halt,
        Fault::Error(why) => Invalid::new(why).into(),
    })?;
    for rule in rules {
        if let Some(told) = rule.judge(reading.schema, this.clone(), now, steps)? {
            violate(&rule.id, told);
        }
    }
    Ok(())
}

fn value<'a>(subject: Subject<'_>, reading: &mut Reading<'a, '_>, mut work: Work<'_>) -> Result<Value<'a>, Fault> {
    let source = Source { schema: reading.schema, wire: reading.wire, depth: reading.depth };
    match subject {
        Subject::Scalar(kind, utf8, scalar) => source.scalar(kind, utf8, scalar),
        Subject::Message(id, records) => {
            let parts: Vec<Span> = reading.scratch.records[records].iter().map(|record| record.span).collect();
            source.message(id, &parts, &mut work)
        }
        Subject::Field(field, records) => match source.field(field, records, reading.scratch, &mut work)? {
            Some(value) => Ok(value),
            None => source.default(field, &mut work),
        },
    }
}
