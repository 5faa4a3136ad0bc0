//! `google.api.HttpBody`: what is no JSON and crosses as it is.

use super::Halt;
use super::malformed;
use super::reader::{LEN, Tag, delimited, skip, tag};
use crate::invalid::Invalid;
use crate::plan::{Limits, OutPlan};
use crate::schema::Schema;

/// The field numbers of `google.api.HttpBody`.
const CONTENT_TYPE: u32 = 1;
const DATA: u32 = 2;

/// The content of a `google.api.HttpBody`; its extensions mean nothing over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HttpBody<'m> {
    /// The content type as the message says it; nobody has looked at it.
    pub content_type: &'m str,
    /// The data.
    pub data: &'m [u8],
}

impl<'m> HttpBody<'m> {
    /// The body that a [`OutPlan::raw`] reply holds; an absent one is empty.
    ///
    /// # Errors
    /// The message is no valid protobuf, or its content type is not UTF-8.
    pub fn read(schema: &Schema, plan: &OutPlan, message: &'m [u8]) -> Result<Self, Invalid> {
        let field = plan.field.map(|slot| schema.message(plan.output).fields[usize::from(slot)].number);
        let mut found = (&b""[..], &b""[..]);
        let read = match field {
            None => content(message, &mut found),
            // One that comes in parts is one: the later parts' fields win.
            Some(number) => records(message, |other, value| match other == number {
                true => content(value, &mut found),
                false => Ok(()),
            }),
        };
        let content_type = read
            .and_then(|()| simdutf8::basic::from_utf8(found.0).map_err(|_| malformed("the content type is not UTF-8")));
        match content_type {
            Ok(content_type) => Ok(Self { content_type, data: found.1 }),
            Err(Halt::Invalid(invalid)) => Err(*invalid),
            // The reader knows no disorder.
            Err(Halt::Disorder) => Err(Invalid::new("the message is no valid protobuf")),
        }
    }
}

fn content<'m>(message: &'m [u8], found: &mut (&'m [u8], &'m [u8])) -> Result<(), Halt> {
    records(message, |number, value| {
        match number {
            CONTENT_TYPE => found.0 = value,
            DATA => found.1 = value,
            _ => {}
        }
        Ok(())
    })
}

/// Hands out the length-delimited records of a message and checks the others.
fn records<'m>(message: &'m [u8], mut take: impl FnMut(u32, &'m [u8]) -> Result<(), Halt>) -> Result<(), Halt> {
    let mut at = 0;
    while at < message.len() {
        let (tag, value): (Tag, usize) = tag(message, at)?;
        if tag.wire_type() == LEN {
            let (start, end) = delimited(message, value)?;
            take(tag.number(), &message[start..end])?;
            at = end;
        } else {
            at = skip(message, tag, value, Limits::DEEPEST)?;
        }
    }
    Ok(())
}
