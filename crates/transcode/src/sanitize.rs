//! Strings of a message, cleaned on the wire: trimmed, without control characters, in normal form, without HTML's tags.
//!
//! What a method's owner does not want in some field, or in any, is gone before rules look at it. Map keys are names and
//! stay; so do strings that are not UTF-8, which rules and services refuse.

mod clean;

use crate::invalid::{Invalid, Kind as Refusal};
use crate::plan::{Limits, budget};
use crate::schema::{Kind, MessageId, Schema, Shape};
use crate::scratch::Scratch;
use crate::to_json::Halt;
use crate::to_json::reader::{self, GROUP, LEN};
use crate::to_json::value::spend;
use crate::to_wire::wire::Wire;

pub use clean::Step;
use clean::Steps;

/// Which strings of a message are cleaned, and how.
#[derive(Debug)]
pub struct Sanitizer {
    input: MessageId,
    named: Node,
    /// What every string gets that no path names.
    others: Steps,
}

/// What paths name in one message.
#[derive(Debug, Default)]
struct Node {
    /// By slot.
    strings: Vec<(usize, Steps)>,
    messages: Vec<(usize, Node)>,
}

/// The path that means every string that has no other.
pub const EVERY: &str = "*";

impl Sanitizer {
    /// A sanitizer of messages of the type `input`: what each field gets, by its path of proto names (`profile.bio`; lists
    /// and maps are stepped through), or [`EVERY`].
    ///
    /// # Errors
    /// Paths name no field, or one that holds no strings: each such path, and why.
    pub fn compile<'p>(
        schema: &Schema,
        input: MessageId,
        fields: impl IntoIterator<Item = (&'p str, &'p [Step])>,
    ) -> Result<Self, Vec<(&'p str, String)>> {
        let mut sanitizer = Self { input, named: Node::default(), others: Steps::default() };
        let mut wrong = Vec::new();
        for (path, steps) in fields {
            let steps = Steps::of(steps);
            if path == EVERY {
                sanitizer.others = steps;
            } else {
                wrong.extend(sanitizer.named.name(schema, input, path, steps).err().map(|why| (path, why)));
            }
        }
        if wrong.is_empty() { Ok(sanitizer) } else { Err(wrong) }
    }

    /// Leaves a field as it is, whatever is done to every string.
    ///
    /// # Errors
    /// The path names no string, so that there is nothing to leave.
    pub fn spare(&mut self, schema: &Schema, path: &str) -> Result<(), String> {
        self.named.name(schema, self.input, path, Steps::default())
    }

    /// Appends the message, its strings cleaned, to `out`.
    ///
    /// # Errors
    /// The bytes are no message of the type, or exceed `limits`; `out` is then as it was.
    pub fn apply(
        &self,
        schema: &Schema,
        message: &[u8],
        limits: &Limits,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid> {
        let start = out.len();
        let mut writer = Writer {
            schema,
            others: self.others,
            out: Wire::new(std::mem::take(out), &mut scratch.wire.fixups),
            work: budget(message.len()),
        };
        let mark = writer.out.mark();
        let written = writer.message(self.input, &self.named, message, limits.depth.min(Limits::DEEPEST));
        if written.is_ok() {
            writer.out.settle(mark);
        }
        *out = writer.out.into_bytes();
        let written = written.map_err(|halt| match halt {
            Halt::Invalid(invalid) => *invalid,
            Halt::Disorder => Invalid::new("the message is no valid protobuf"),
        });
        let fits = match out.len() - start <= limits.output {
            true => written,
            false => Err(Invalid::new("the message would exceed its size limit").of(Refusal::TooLarge)),
        };
        fits.inspect_err(|_| out.truncate(start))
    }
}

impl Node {
    fn name(&mut self, schema: &Schema, id: MessageId, path: &str, steps: Steps) -> Result<(), String> {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let message = schema.message(id);
        let slot = message.slot_declared(name).ok_or_else(|| format!("{} has no field `{name}`", message.name))?;
        let field = &message.fields[slot];
        match (field.shape, field.kind) {
            // Of a map, the values are meant.
            (Shape::Map, Kind::Message(entry)) => match schema.message(entry).fields.get(1).map(|value| value.kind) {
                Some(value) => self.inside(slot).kind(schema, 1, value, (name, rest), steps),
                None => Err(format!("`{name}` holds no values")),
            },
            (_, kind) => self.kind(schema, slot, kind, (name, rest), steps),
        }
    }

    fn kind(
        &mut self,
        schema: &Schema,
        slot: usize,
        kind: Kind,
        (name, rest): (&str, Option<&str>),
        steps: Steps,
    ) -> Result<(), String> {
        match (kind, rest) {
            (Kind::String, None) => {
                self.strings.push((slot, steps));
                Ok(())
            }
            (Kind::Message(id) | Kind::Group(id), Some(rest)) => self.inside(slot).name(schema, id, rest, steps),
            (Kind::Message(_) | Kind::Group(_), None) => Err(format!("`{name}` is a message: name a string in it")),
            (_, None) => Err(format!("`{name}` holds no strings")),
            (_, Some(_)) => Err(format!("`{name}` holds no messages")),
        }
    }

    /// What is named inside a field.
    fn inside(&mut self, slot: usize) -> &mut Self {
        let known = self.messages.iter().position(|(at, _)| *at == slot);
        let at = known.unwrap_or_else(|| {
            self.messages.push((slot, Self::default()));
            self.messages.len() - 1
        });
        &mut self.messages[at].1
    }
}

/// One message on its way to a clean one.
struct Writer<'a> {
    schema: &'a Schema,
    others: Steps,
    out: Wire<'a>,
    /// Work that may still be done beyond reading the input.
    work: usize,
}

impl Writer<'_> {
    fn message(&mut self, id: MessageId, named: &Node, wire: &[u8], depth: u16) -> Result<(), Halt> {
        let message = self.schema.message(id);
        // As everywhere, a map's entry is no level of its own.
        let depth = depth.checked_sub(u16::from(!message.map_entry)).ok_or_else(reader::too_deep)?;
        let (none, mut at) = (Node::default(), 0);
        while at < wire.len() {
            let (tag, value) = reader::tag(wire, at)?;
            let field = message.slot(tag.number()).map(|slot| (slot, &message.fields[slot]));
            let (content, end) = match tag.wire_type() {
                LEN => {
                    let (start, end) = reader::delimited(wire, value)?;
                    (start..end, end)
                }
                GROUP => {
                    let (content, end) = reader::group(wire, tag.number(), value, depth)?;
                    spend(&mut self.work, end - value)?; // each level of nested groups looks for the end again
                    (value..content, end)
                }
                _ => (value..value, reader::skip(wire, tag, value, depth)?),
            };
            let inner = &wire[content.clone()];
            match field.map(|(slot, field)| (slot, field.kind)) {
                Some((slot, Kind::String)) if tag.wire_type() == LEN && !(message.map_entry && slot == 0) => {
                    let own = named.strings.iter().find(|(at, _)| *at == slot);
                    let steps = own.map_or(self.others, |(_, steps)| *steps);
                    self.out.raw(&wire[at..value]);
                    match std::str::from_utf8(inner) {
                        Ok(text) => self.out.text(steps.clean(text).as_bytes()),
                        Err(_) => self.out.text(inner),
                    }
                }
                Some((slot, Kind::Message(id) | Kind::Group(id))) if matches!(tag.wire_type(), LEN | GROUP) => {
                    let inside = named.messages.iter().find(|(at, _)| *at == slot).map_or(&none, |(_, node)| node);
                    self.out.raw(&wire[at..value]);
                    if tag.wire_type() == LEN {
                        let record = self.out.open();
                        self.message(id, inside, inner, depth)?;
                        self.out.close(record);
                    } else {
                        self.message(id, inside, inner, depth)?;
                        self.out.raw(&wire[content.end..end]);
                    }
                }
                _ => self.out.raw(&wire[at..end]),
            }
            at = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
