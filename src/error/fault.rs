//! Faults: what is wrong with a request that is itself at fault. It is no message, or more than one may be.

use super::Error;

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It breaks a rule of JSON, of its path, of its frames.
    BadRequest,
    /// It nests deeper than it may.
    TooDeep,
    /// Its content type is none that is taken.
    UnsupportedMedia,
    /// Its compression is none that is taken.
    UnsupportedEncoding,
    /// It is larger than it may be.
    TooLarge,
    /// It has more headers than it may.
    TooManyHeaders,
    /// It takes longer to come than its call may.
    TooSlow,
}

impl Fault {
    /// Each, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::BadRequest,
        Self::TooDeep,
        Self::UnsupportedMedia,
        Self::UnsupportedEncoding,
        Self::TooLarge,
        Self::TooManyHeaders,
        Self::TooSlow,
    ];

    /// The reason of the errors that are this fault.
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadRequest => "BAD_REQUEST",
            Self::TooDeep => "TOO_DEEP",
            Self::UnsupportedMedia => "UNSUPPORTED_MEDIA_TYPE",
            Self::UnsupportedEncoding => "UNSUPPORTED_ENCODING",
            Self::TooLarge => "TOO_LARGE",
            Self::TooManyHeaders => "TOO_MANY_HEADERS",
            Self::TooSlow => "REQUEST_TIMEOUT",
        }
    }
}

impl Error {
    /// What is wrong with the request itself; rules that its message breaks are no such fault: they have a gate of their own.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::BadRequest { .. } => Some(Fault::BadRequest),
            Self::TooDeep { .. } => Some(Fault::TooDeep),
            Self::UnsupportedMedia { .. } => Some(Fault::UnsupportedMedia),
            Self::UnsupportedEncoding { .. } => Some(Fault::UnsupportedEncoding),
            Self::TooLarge { .. } | Self::MessageTooLarge { .. } => Some(Fault::TooLarge),
            Self::TooManyHeaders { .. } => Some(Fault::TooManyHeaders),
            Self::TooSlow => Some(Fault::TooSlow),
            Self::NoRoute
            | Self::MethodNotAllowed { .. }
            | Self::Violations(_)
            | Self::ResponseTooLarge { .. }
            | Self::HeadTooLarge { .. }
            | Self::RateLimited { .. }
            | Self::Unauthenticated { .. }
            | Self::Forbidden { .. }
            | Self::CrossOrigin
            | Self::NotAdmin { .. }
            | Self::AuthUnavailable
            | Self::LogoutUntold
            | Self::LimitsUnavailable
            | Self::NoReload
            | Self::Overloaded { .. }
            | Self::Draining
            | Self::NoEndpoint
            | Self::CircuitOpen { .. }
            | Self::ConnectFailed
            | Self::UpstreamReset
            | Self::UpstreamProtocol(_)
            | Self::Deadline
            | Self::StreamAge
            | Self::ClientGone
            | Self::Upstream(_)
            | Self::Internal => None,
        }
    }
}
