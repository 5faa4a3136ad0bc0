//! What a route binds and prints, resolved at load: the translators follow slots, never names.

mod bind;

pub use bind::Unbindable;

use crate::schema::{Field, Kind, Message, MessageId, Schema, Shape, WellKnown};

/// What becomes of a REST request (or a JSON message) on its way into the request message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindPlan {
    /// The RPC's request type.
    pub input: MessageId,
    /// Where the body goes.
    pub body: Body,
    /// Where each variable of the template goes, in the order of its captures.
    pub captures: Box<[Binding]>,
    /// Query parameters bind to fields (they do unless the body is the whole message).
    pub query: bool,
    /// What an unknown JSON field or query key gets.
    pub unknown: Unknown,
    /// The body's bytes are taken as they are: they go into a `google.api.HttpBody`.
    pub raw: bool,
    /// PATCH: the slot of the one `FieldMask`, which the body's fields make where the client sent none.
    pub mask: Option<u16>,
}

/// Where a request body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// The rule has none: a body that is not empty is refused.
    None,
    /// `body: "*"`, and every JSON message of the RPC dialects.
    Whole,
    /// `body: "field"`: the slot of a top-level field.
    Field(u16),
}

/// One template variable and the field it sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Slots from the request message downwards.
    pub path: Box<[u16]>,
    /// The variable spans segments (`{name=shelves/*}` or `**`): `%2F` stays as it is.
    pub multi: bool,
}

/// What an unknown name gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unknown {
    /// A refusal naming it.
    #[default]
    Refuse,
    /// It is read over.
    Ignore,
}

/// What is printed of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutPlan {
    /// The RPC's reply type.
    pub output: MessageId,
    /// `response_body: "field"`: the slot of the one field that is printed.
    pub field: Option<u16>,
    /// What is printed is a `google.api.HttpBody`: its bytes, under its content type.
    pub raw: bool,
    /// How it is printed.
    pub options: OutOptions,
}

impl OutPlan {
    /// The plan of a JSON message: all of it is printed, a `google.api.HttpBody` too.
    pub fn whole(output: MessageId, options: OutOptions) -> Self {
        Self { output, field: None, raw: false, options }
    }

    /// Resolves `response_body`; an empty one prints the whole message.
    ///
    /// # Errors
    /// The reply has no field of that name.
    pub fn compile(
        schema: &Schema,
        output: MessageId,
        response_body: &str,
        options: OutOptions,
    ) -> Result<Self, String> {
        let message = schema.message(output);
        let field = match response_body {
            "" => None,
            name => match message.fields.iter().position(|field| &*field.name == name) {
                Some(slot) => Some(slot as u16),
                None => return Err(format!("response_body {name:?}: {} has no such field", message.name)),
            },
        };
        let raw = match field {
            None => message.well_known == WellKnown::HttpBody,
            Some(slot) => is_raw(schema, &message.fields[usize::from(slot)]),
        };
        Ok(Self { output, field, raw, options })
    }
}

/// How JSON is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutOptions {
    /// Absent fields without presence print as their defaults.
    pub emit_defaults: bool,
    /// Enums print as numbers.
    pub enums_as_numbers: bool,
    /// Names print as in the .proto.
    pub proto_names: bool,
    /// 64-bit integers print as numbers; one beyond 2^53 is refused.
    pub int64_as_numbers: bool,
    /// An `Any` of a type that no loaded schema knows prints as it came, `{"@type":"…","value":"<base64>"}`; else it is
    /// refused, as ProtoJSON has no form for it.
    pub unknown_any: bool,
}

/// What one translation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nesting of messages, lists and JSON values.
    pub depth: u16,
    /// Bytes of output.
    pub output: usize,
}

impl Limits {
    /// Nothing nests deeper, whatever [`Limits::depth`] says: what reads and prints is recursive.
    pub const DEEPEST: u16 = 256;
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 100, output: 4 << 20 }
    }
}

/// Work that an input of so many bytes may cost beyond reading it once.
pub(crate) fn budget(input: usize) -> usize {
    // What an input of any size may take, and what each byte allows.
    const ANY: usize = 64 << 10;
    const EACH: usize = 8;
    input.saturating_mul(EACH).saturating_add(ANY)
}

/// Whether a field is one `google.api.HttpBody`.
fn is_raw(schema: &Schema, field: &Field) -> bool {
    match (field.shape, field.kind) {
        (Shape::Singular, Kind::Message(id)) => schema.message(id).well_known == WellKnown::HttpBody,
        _ => false,
    }
}

/// Whether a message can be given as one text, in a path or a query: those whose JSON is a string or a scalar.
pub(crate) fn has_text_form(message: &Message) -> bool {
    match message.well_known {
        WellKnown::Timestamp | WellKnown::Duration | WellKnown::FieldMask => true,
        WellKnown::Wrapper => !message.fields.is_empty(),
        _ => false,
    }
}

/// Whether a message's fields can be bound one by one: those without a JSON form of their own.
pub(crate) fn is_open(message: &Message) -> bool {
    matches!(message.well_known, WellKnown::No | WellKnown::Empty | WellKnown::HttpBody)
}
