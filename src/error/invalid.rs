//! What could not be translated, as an error: a request's is its client's fault, a reply's the service's.

use std::borrow::Cow;

use transom_transcode::invalid::{Invalid, Kind};

use super::Error;

impl Error {
    /// The refusal of a request that could not be translated.
    pub fn request(invalid: Invalid, limit: usize) -> Self {
        match invalid.kind {
            Kind::TooLarge => Self::MessageTooLarge { limit },
            kind @ (Kind::Malformed | Kind::TooDeep | Kind::TooMuchWork) => {
                let field = invalid.field;
                let message = match invalid.offset {
                    Some(offset) => Cow::Owned(format!("{} (at byte {offset})", invalid.message)),
                    None => invalid.message,
                };
                if kind == Kind::TooDeep {
                    Self::TooDeep { field, message }
                } else {
                    Self::BadRequest { field, message }
                }
            }
        }
    }

    /// The same refusal of one of many messages, by its number, counted from 1.
    #[must_use]
    pub fn of_message(self, number: u64) -> Self {
        let within = |field: &str| {
            let dot = if field.is_empty() || field.starts_with('[') { "" } else { "." };
            format!("[{}]{dot}{field}", number.saturating_sub(1))
        };
        let said = |message: Cow<'_, str>| format!("message {number}: {message}").into();
        match self {
            Self::BadRequest { field, message } => Self::BadRequest { field: within(&field), message: said(message) },
            Self::TooDeep { field, message } => Self::TooDeep { field: within(&field), message: said(message) },
            Self::Violations(mut violations) => {
                for violation in &mut violations {
                    violation.field = within(&violation.field);
                }
                Self::Violations(violations)
            }
            other => other,
        }
    }

    /// The fault of a reply that could not be translated.
    pub fn reply(invalid: &Invalid, limit: usize) -> Self {
        match invalid.kind {
            Kind::TooLarge | Kind::TooMuchWork => Self::ResponseTooLarge { limit },
            Kind::Malformed | Kind::TooDeep => {
                let colon = if invalid.field.is_empty() { "" } else { ": " };
                Self::protocol(format!("the reply's {}{colon}{}", invalid.field, invalid.message))
            }
        }
    }
}
