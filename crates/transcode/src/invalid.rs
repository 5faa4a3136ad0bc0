//! Why an input cannot be translated: what is wrong, where, and the way out.

use std::borrow::Cow;
use std::fmt;

/// One refusal of the translator. The first problem ends the translation; nothing half-written is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// What kind of refusal; it decides the status.
    pub kind: Kind,
    /// The field's path as the client writes it (`event.tickets[3].seatId`, `labels["a"]`); empty for the whole input.
    pub field: String,
    /// What is wrong and what to write instead, without the path.
    pub message: Cow<'static, str>,
    /// Byte offset in the JSON text, where there is one.
    pub offset: Option<usize>,
}

/// A refusal on its way out of the translators: one word wide, so that a success costs no space for it.
pub(crate) type Fail = Box<Invalid>;

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The input breaks a rule of JSON, of ProtoJSON, of the wire format or of the route's bindings.
    Malformed,
    /// Nested deeper than [`crate::plan::Limits::depth`].
    TooDeep,
    /// The output would exceed [`crate::plan::Limits::output`].
    TooLarge,
    /// Translating would take more work than [`crate::plan::Limits`] allows for an input of this size.
    TooMuchWork,
}

impl Invalid {
    /// A [`Kind::Malformed`] refusal without a place; [`Invalid::at`] and [`Invalid::within`] add one.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: Kind::Malformed, field: String::new(), message: message.into(), offset: None }
    }

    /// The same refusal at a byte offset of the input.
    #[must_use]
    pub fn at(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The same refusal, its path prefixed by the field that holds it: `seat` within `tickets[3]` is `tickets[3].seat`.
    #[must_use]
    pub fn within(mut self, field: &str) -> Self {
        if self.field.is_empty() {
            field.clone_into(&mut self.field);
        } else {
            let dot = if self.field.starts_with('[') { "" } else { "." };
            self.field = format!("{field}{dot}{}", self.field);
        }
        self
    }

    /// The same refusal as another kind.
    #[must_use]
    pub fn of(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        match self.offset {
            Some(offset) => write!(f, " (at byte {offset})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Invalid {}
