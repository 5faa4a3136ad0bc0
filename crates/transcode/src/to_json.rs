//! Protobuf wire format → JSON, directly: no message tree, no JSON values.
//!
//! Two printers. The *stream* printer makes one pass in wire order; it can, because nearly all messages come as encoders
//! write them: each field once, the elements of a list side by side. It keeps one bit per field, and the first sign of
//! disorder (a singular field again, a list taken up again, a second member of a oneof, a map's key again) abandons the
//! whole output. Then the *indexed* printer starts over, once: it sorts each message's records by field before it prints
//! them, and so knows the last value, the merged submessage and the oneof's winner. Starting over at the top and never
//! per level bounds the work to twice the input.
//!
//! The rules are those of a decoder that knows the schema, followed by ProtoJSON: what is unknown, or of another wire
//! type than its field, is read over; an unknown value of a closed enum is an unknown field; both forms of repeated
//! scalars may alternate. What a later record replaces is read over too: it is not checked further.

pub(crate) mod defaults;
mod http_body;
mod indexed;
pub(crate) mod reader;
pub(crate) mod records;
mod status;
mod stream;
pub(crate) mod value;
mod well_known;

use crate::invalid::{Invalid, Kind as Refusal};
use crate::json::print::{Refused, Text};
use crate::plan::{Limits, OutPlan, budget};
use crate::schema::Schema;
use crate::scratch::Scratch;

pub use http_body::HttpBody;
pub use status::status_to_json;
use value::Printer;

/// Appends `message` as JSON to `out`.
///
/// # Errors
/// The message is cut off or otherwise no message of its type, has no JSON form, or exceeds `limits`; `out` is then as it was.
pub fn to_json(
    schema: &Schema,
    plan: &OutPlan,
    message: &[u8],
    limits: &Limits,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), Invalid> {
    countable(message)?;
    let depth = limits.depth.min(Limits::DEEPEST);
    let mut printer = Printer {
        schema,
        wire: message,
        options: plan.options,
        text: Text::new(std::mem::take(out), message.len().saturating_mul(3), limits.output),
        scratch: &mut scratch.json,
        depth,
        work: budget(message.len()),
    };
    let mut done = printer.stream(plan);
    if done.is_err() {
        // A refusal is not final either: a later record may replace what was refused, or complete it.
        printer.restart(depth);
        done = printer.indexed(plan);
    }
    let (text, fits) = printer.text.finish(done.is_ok());
    *out = text;
    Ok(done.and_then(|()| Ok(fits?))?)
}

/// Positions in a message are 32 bits.
///
/// # Errors
/// It has more.
pub(crate) fn countable(message: &[u8]) -> Result<(), Invalid> {
    match u32::try_from(message.len()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Invalid::new("the message is longer than 4 GiB").of(Refusal::TooLarge)),
    }
}

/// Why a printer stopped.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The stream printer met what only the indexed one can print.
    Disorder,
    /// The message is refused.
    Invalid(Box<Invalid>),
}

impl Halt {
    /// The same halt, a refusal's path prefixed by the field that holds it.
    #[cold]
    pub(crate) fn within(self, field: &str) -> Self {
        match self {
            Self::Disorder => Self::Disorder,
            Self::Invalid(invalid) => invalid.within(field).into(),
        }
    }

    /// The same halt, in an element of a list.
    #[cold]
    pub(crate) fn within_element(self, index: usize) -> Self {
        match self {
            Self::Disorder => Self::Disorder,
            invalid @ Self::Invalid(_) => invalid.within(&format!("[{index}]")),
        }
    }
}

impl From<Invalid> for Halt {
    #[cold]
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(Box::new(invalid))
    }
}

impl From<Halt> for Invalid {
    #[cold]
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Invalid(invalid) => *invalid,
            // Of who reads records in any order nobody hears that.
            Halt::Disorder => Self::new("the message is no valid protobuf"),
        }
    }
}

impl From<Refused> for Halt {
    #[cold]
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Invalid::new("the JSON would exceed the size limit").of(Refusal::TooLarge).into(),
            Refused::NotUtf8 => malformed("the string is not UTF-8"),
        }
    }
}

#[cold]
pub(crate) fn malformed(message: &'static str) -> Halt {
    Invalid::new(message).into()
}

#[cfg(test)]
pub(crate) mod tests;
