//! JSON, path variables and query parameters → the request message's bytes, in one pass and without a message tree.
//!
//! The scanner hands out tokens, the descriptor tables say what they mean, and the records go straight to the output. What
//! is bound by path and query is encoded first and woven into the message where it belongs (see `bound`).
//!
//! ```text
//! object    members → fields: each once, one of a oneof, required ones there
//! field     singular, repeated, packed and map values
//! scalar    numbers, booleans, enums
//! special   Timestamp, Struct, Any and the others with a JSON form of their own
//! bound     what path and query set
//! query     parameter names → fields, of queries and forms
//! mask      the FieldMask of a PATCH, from its body
//! raw       google.api.HttpBody
//! text      percent-encoding
//! wire      tags, varints, lengths known only afterwards
//! ```

mod bound;
mod field;
mod mask;
mod object;
mod query;
mod raw;
pub(crate) mod scalar;
mod special;
mod text;
pub(crate) mod wire;

use crate::invalid::{Fail, Invalid, Kind};
use crate::json::scan::{self, Scanner};
use crate::plan::{BindPlan, Body, Limits, Unknown, budget};
use crate::schema::{Message, MessageId, Schema};
use crate::scratch::{Key, Scratch};
use bound::{Bound, Source};
use text::Encoding;
use wire::Wire;

use query::Room;

pub use query::SystemParameters;

/// What a client sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Input<'a> {
    /// The body, or nothing.
    pub body: &'a [u8],
    /// What the body's bytes are.
    pub media: Media<'a>,
    /// The path's captures, percent-encoded as they came, one for each of [`BindPlan::captures`].
    pub captures: &'a [&'a str],
    /// The query string, percent-encoded as it came, without its `?`.
    pub query: &'a str,
    /// A later message of a stream: path and query are in the first one. This one may repeat what they say, not change it.
    pub later: bool,
}

/// What the bytes of a body are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Media<'a> {
    /// JSON.
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`: it binds like a query, to the fields that JSON would set.
    Form,
    /// The data of a [`BindPlan::raw`] binding, under this content type; empty for none.
    Raw(&'a str),
}

/// Appends the request message that `input` stands for, or leaves `out` as it was.
///
/// An empty body is an absent one: of `body: "*"` the empty message, of `body: "field"` no field.
///
/// # Errors
/// The first rule that the input breaks, with the field's path as the client writes it.
pub fn to_wire(
    schema: &Schema,
    plan: &BindPlan,
    input: &Input<'_>,
    limits: &Limits,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), Invalid> {
    let start = out.len();
    let result = translate(schema, plan, input, limits, scratch, out);
    result.map_err(|fail| {
        out.truncate(start);
        *fail
    })
}

fn translate(
    schema: &Schema,
    plan: &BindPlan,
    input: &Input<'_>,
    limits: &Limits,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), Fail> {
    let room = limits.depth.min(Limits::DEEPEST);
    let scratch = &mut scratch.wire;
    let mut bound =
        Bound::new(schema, &mut scratch.nodes, &mut scratch.pieces, &mut scratch.bound, &mut scratch.bound_fixups);
    let (name, text) = (&mut scratch.name, &mut scratch.text);
    bind_captures(&mut bound, schema, plan, input.captures, text)?;
    if !input.query.is_empty() && (plan.query || plan.unknown == Unknown::Refuse) {
        let parts = Room { name, value: text, entries: &mut scratch.entries };
        query::bind(&mut bound, schema, plan, room, input.query, parts)?;
    }
    if plan.body == Body::None && !input.body.is_empty() {
        return Err(Invalid::new("this method takes no body").at(0).into());
    }
    let json = match input.media {
        Media::Json => input.body,
        Media::Form => {
            let parts = Room { name, value: text, entries: &mut scratch.entries };
            query::bind_form(&mut bound, schema, plan, room, input.body, parts)?;
            b""
        }
        Media::Raw(content_type) => {
            raw::bind_content_type(&mut bound, plan, content_type)?;
            b""
        }
    };
    if simdutf8::basic::from_utf8(json).is_err() {
        return Err(not_utf8(json));
    }
    out.reserve(input.body.len().min(limits.output) + bound.encoded() + 16);
    scratch.seen.clear();
    scratch.keys.clear();
    let limit = out.len().saturating_add(limits.output);
    let mut translation = Translation {
        schema,
        scan: Scanner::new(json),
        wire: Wire::new(std::mem::take(out), &mut scratch.fixups),
        bound,
        seen: &mut scratch.seen,
        keys: &mut scratch.keys,
        text: &mut scratch.text,
        path: &mut scratch.name,
        unknown: plan.unknown,
        later: input.later,
        room,
        limit,
        work: budget(input.body.len()),
    };
    let result = match input.media {
        Media::Raw(_) => translation.raw_request(plan, input.body),
        Media::Json | Media::Form => translation.request(plan),
    };
    *out = translation.wire.into_bytes();
    result
}

/// One translation under way.
struct Translation<'a> {
    schema: &'a Schema,
    scan: Scanner<'a>,
    wire: Wire<'a>,
    bound: Bound<'a>,
    seen: &'a mut Vec<u64>,
    keys: &'a mut Vec<Key>,
    text: &'a mut Vec<u8>,
    /// The path of a mask under way.
    path: &'a mut Vec<u8>,
    unknown: Unknown,
    /// What is bound is not written.
    later: bool,
    /// How many more levels may be opened.
    room: u16,
    /// How long the output may become.
    limit: usize,
    /// How many more bytes may be read twice.
    work: usize,
}

impl<'a> Translation<'a> {
    /// Writes the request message: the body where it belongs, and what is bound.
    fn request(&mut self, plan: &BindPlan) -> Result<(), Fail> {
        let mark = self.wire.mark();
        let root = self.bound.root();
        let message = self.schema.message(plan.input);
        match plan.body {
            Body::Whole if !self.scan.is_empty() => self.message(plan.input, root)?,
            Body::Field(slot) => self.body_field(message, usize::from(slot), plan.mask, root)?,
            Body::None | Body::Whole => {
                let seen = self.open_seen(message);
                self.complete(message, &seen, root)?;
            }
        }
        if plan.body != Body::None && !self.scan.is_empty() {
            self.scan.end()?;
        }
        self.fits()?;
        self.wire.settle(mark);
        Ok(())
    }

    /// The body is one field's JSON, or nothing.
    fn body_field(&mut self, message: &'a Message, slot: usize, mask: Option<u16>, root: u32) -> Result<(), Fail> {
        let mut seen = self.open_seen(message);
        self.note_bound_oneofs(message, &mut seen, root);
        if !self.scan.is_empty() {
            let name = &message.fields[slot].json_name;
            self.member(message, slot, &mut seen, root).map_err(|fail| object::within_field(fail, name))?;
        }
        if let Some(mask) = mask {
            self.implied_mask(message, slot, usize::from(mask), &mut seen, root)?;
        }
        self.complete(message, &seen, root)
    }

    /// Refuses an output that has become too long.
    #[inline]
    fn fits(&self) -> Result<(), Fail> {
        if self.wire.settled_len() > self.limit { Err(too_large(self.scan.at())) } else { Ok(()) }
    }
}

/// Encodes what the path says.
fn bind_captures(
    bound: &mut Bound<'_>,
    schema: &Schema,
    plan: &BindPlan,
    captures: &[&str],
    text: &mut Vec<u8>,
) -> Result<(), Fail> {
    for (binding, capture) in plan.captures.iter().zip(captures) {
        let mut bind = || {
            let encoding = if binding.multi { Encoding::Segments } else { Encoding::Segment };
            text::decode(capture, encoding, text).map_err(Invalid::new)?;
            bound.add_at(plan.input, &binding.path, text, Source::Path)
        };
        bind().map_err(|fail| Box::new(fail.within(&field_path(schema, plan.input, &binding.path))))?;
    }
    Ok(())
}

/// The dotted names of a path of slots, as a template has them.
fn field_path(schema: &Schema, input: MessageId, path: &[u16]) -> String {
    let mut message = schema.message(input);
    let mut names = Vec::with_capacity(path.len());
    for &slot in path {
        let field = &message.fields[usize::from(slot)];
        names.push(&*field.name);
        if let crate::schema::Kind::Message(id) | crate::schema::Kind::Group(id) = field.kind {
            message = schema.message(id);
        }
    }
    names.join(".")
}

#[cold]
fn too_large(at: usize) -> Fail {
    Invalid::new("the message would exceed its size limit").of(Kind::TooLarge).at(at).into()
}

#[cold]
fn not_utf8(body: &[u8]) -> Fail {
    let valid = simdutf8::compat::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
    scan::fail(valid, "the body is not UTF-8")
}

#[cfg(test)]
mod tests;
