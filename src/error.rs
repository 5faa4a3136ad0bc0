//! What can go wrong with a call, and THE table: kind → HTTP status, gRPC code, reason.
//!
//! Envelopes turn an [`Error`] into a response; nothing else does. Texts are fixed: addresses and I/O errors go to
//! the log under the request id, never to a client.

mod fault;
mod invalid;

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use http::header::HeaderValue;
use transom_transcode::status::{Code, Status};
use transom_transcode::validate::Violation;

use crate::telemetry::DialectName;

pub use fault::Fault;

/// Why a call was not answered by its upstream, or what the upstream answered instead of a reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// No route has this path.
    NoRoute,
    /// Routes have this path, under other methods.
    MethodNotAllowed {
        /// The `Allow` header.
        allow: HeaderValue,
    },
    /// The request breaks a rule: JSON, depth, query, path, frame.
    BadRequest {
        /// The field's path; empty where the whole request is meant.
        field: String,
        /// What is wrong, and the way out.
        message: Cow<'static, str>,
    },
    /// The request nests deeper than it may.
    TooDeep {
        /// The field's path; empty where the whole request is meant.
        field: String,
        /// What is wrong.
        message: Cow<'static, str>,
    },
    /// The request's message breaks rules of its schema; there is at least one.
    Violations(Box<[Violation]>),
    /// The request's content type is none that the route takes.
    UnsupportedMedia {
        /// What is taken.
        message: Cow<'static, str>,
        /// The same as `Accept-Post` lists it, where that is less than its dialect speaks.
        taken: Option<&'static str>,
    },
    /// The request is compressed in a way that is not taken.
    UnsupportedEncoding {
        /// What is taken, as `Accept-Encoding` and its like list it.
        supported: &'static str,
    },
    /// The request is larger than its limit.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The request's message is larger than its limit, once it is protobuf.
    MessageTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The request has more headers than its limit.
    TooManyHeaders {
        /// The limit.
        limit: usize,
    },
    /// The call's deadline passed before its request had come: no service was asked.
    TooSlow,
    /// The reply is larger than its limit.
    ResponseTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The request's head is larger than the service says that it takes.
    HeadTooLarge {
        /// What it takes, bytes.
        limit: usize,
    },
    /// The client comes too often.
    RateLimited {
        /// When to come again.
        retry_after: Duration,
    },
    /// There is no token, or it is not good.
    Unauthenticated {
        /// Which one.
        token: TokenKind,
        /// What is wrong with it.
        fault: TokenFault,
        /// The HTTP status: 401, or what the configuration says.
        status: StatusCode,
    },
    /// The caller is known and may not do this.
    Forbidden {
        /// By which token.
        token: TokenKind,
    },
    /// A page of another origin calls with cookies that its browser added.
    CrossOrigin,
    /// The admin port is asked by somebody else than this machine, without its token.
    NotAdmin {
        /// There is one that would let in.
        token: bool,
    },
    /// Who judges tokens does not answer: nobody passes.
    AuthUnavailable,
    /// Who logged out is logged out here, and other gateways have not heard of it.
    LogoutUntold,
    /// The store of the limits cannot be reached, and one of them lets nobody pass then.
    LimitsUnavailable,
    /// What runs was started with a configuration that cannot be loaded again.
    NoReload,
    /// The gateway or the upstream's queue is full.
    Overloaded {
        /// When to come again.
        retry_after: Duration,
    },
    /// The gateway is about to stop.
    Draining,
    /// The upstream has no usable endpoint.
    NoEndpoint,
    /// The upstream's endpoints have failed so often that they get no calls for now.
    CircuitOpen {
        /// When to come again.
        retry_after: Duration,
    },
    /// No connection could be made, or the endpoint refused the stream before it was seen.
    ConnectFailed,
    /// The connection or the stream broke after the request may have been seen.
    UpstreamReset,
    /// The upstream broke HTTP/2, gRPC or its own schema; how, is for the log alone.
    UpstreamProtocol(Cow<'static, str>),
    /// The call's deadline passed.
    Deadline,
    /// The stream is as old as streams may grow.
    StreamAge,
    /// The client left.
    ClientGone,
    /// The upstream's own status, not OK.
    Upstream(Box<Status>),
    /// A fault of the gateway's own.
    Internal,
}

/// Which token a call was to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenKind {
    /// One that says who calls.
    #[default]
    Access,
    /// One that is traded for new ones.
    Refresh,
    /// One that opens a WebSocket.
    Connect,
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// There is none.
    Missing,
    /// It is not good, and why is not told.
    Invalid,
    /// It was good.
    Expired,
    /// It is good, and for another place.
    Misplaced,
}

/// One `google.rpc` detail of the gateway's own errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail<'a> {
    /// `google.rpc.ErrorInfo` in the domain [`DOMAIN`].
    ErrorInfo {
        /// A name for programs.
        reason: &'static str,
    },
    /// `google.rpc.BadRequest` with one violation.
    BadRequest {
        /// The field's path; empty where the whole request is meant.
        field: &'a str,
        /// What is wrong with it.
        description: &'a str,
    },
    /// `google.rpc.BadRequest` with the rules that are broken; each violation's `reason` is the rule's id.
    Violations(&'a [Violation]),
    /// `google.rpc.RetryInfo`.
    RetryInfo {
        /// When to come again.
        delay: Duration,
    },
}

/// The `domain` of every [`Detail::ErrorInfo`].
pub const DOMAIN: &str = "transom";

impl Error {
    /// A [`Error::BadRequest`] without a field.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::BadRequest { field: String::new(), message: message.into() }
    }

    /// A [`Error::UnsupportedMedia`] of a path that takes what its dialect speaks.
    pub fn media(message: impl Into<Cow<'static, str>>) -> Self {
        Self::UnsupportedMedia { message: message.into(), taken: None }
    }

    /// The HTTP status of a REST answer.
    pub fn http(&self) -> StatusCode {
        let status = match self {
            Self::NoRoute => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::BadRequest { .. } | Self::TooDeep { .. } | Self::Violations(_) => 400,
            Self::UnsupportedMedia { .. } | Self::UnsupportedEncoding { .. } => 415,
            Self::TooSlow => 408,
            Self::TooLarge { .. } | Self::MessageTooLarge { .. } => 413,
            Self::TooManyHeaders { .. } | Self::HeadTooLarge { .. } => 431,
            Self::RateLimited { .. } => 429,
            Self::Unauthenticated { status, .. } => return *status,
            Self::NotAdmin { token: true } => 401,
            Self::Forbidden { .. } | Self::CrossOrigin | Self::NotAdmin { token: false } => 403,
            Self::NoReload => 409,
            Self::Overloaded { .. }
            | Self::Draining
            | Self::NoEndpoint
            | Self::CircuitOpen { .. }
            | Self::StreamAge
            | Self::AuthUnavailable
            | Self::LogoutUntold
            | Self::LimitsUnavailable => 503,
            Self::ResponseTooLarge { .. } | Self::ConnectFailed | Self::UpstreamReset | Self::UpstreamProtocol(_) => {
                502
            }
            Self::Deadline => 504,
            Self::ClientGone => 499,
            Self::Upstream(status) => status.code.http(),
            Self::Internal => 500,
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The gRPC code that a client of the dialect is told, and that is logged and counted.
    pub fn code_in(&self, dialect: DialectName) -> Code {
        match (self, dialect) {
            // Who speaks plain HTTP reads the status first, and 404 is NOT_FOUND.
            (Self::NoRoute, DialectName::Rest | DialectName::WebSocket | DialectName::Http) => Code::NotFound,
            (error, _) => error.code(),
        }
    }

    /// The gRPC code in the RPC envelopes.
    pub fn code(&self) -> Code {
        match self {
            Self::NoRoute | Self::MethodNotAllowed { .. } | Self::UnsupportedEncoding { .. } => Code::Unimplemented,
            Self::BadRequest { .. } | Self::TooDeep { .. } | Self::Violations(_) | Self::UnsupportedMedia { .. } => {
                Code::InvalidArgument
            }
            Self::TooLarge { .. }
            | Self::MessageTooLarge { .. }
            | Self::TooManyHeaders { .. }
            | Self::ResponseTooLarge { .. }
            | Self::HeadTooLarge { .. }
            | Self::RateLimited { .. } => Code::ResourceExhausted,
            Self::Unauthenticated { .. } | Self::NotAdmin { token: true } => Code::Unauthenticated,
            Self::Forbidden { .. } | Self::CrossOrigin | Self::NotAdmin { token: false } => Code::PermissionDenied,
            Self::NoReload => Code::FailedPrecondition,
            Self::Overloaded { .. }
            | Self::Draining
            | Self::NoEndpoint
            | Self::CircuitOpen { .. }
            | Self::ConnectFailed
            | Self::UpstreamReset
            | Self::StreamAge
            | Self::AuthUnavailable
            | Self::LogoutUntold
            | Self::LimitsUnavailable => Code::Unavailable,
            Self::UpstreamProtocol(_) | Self::Internal => Code::Internal,
            Self::Deadline | Self::TooSlow => Code::DeadlineExceeded,
            Self::ClientGone => Code::Cancelled,
            Self::Upstream(status) => status.code,
        }
    }

    /// The `reason` of the `ErrorInfo`; the upstream's own errors have none of ours.
    pub fn reason(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoRoute => "NO_ROUTE",
            Self::MethodNotAllowed { .. } => "METHOD_NOT_ALLOWED",
            Self::BadRequest { .. } | Self::Violations(_) => Fault::BadRequest.reason(),
            Self::TooDeep { .. } => Fault::TooDeep.reason(),
            Self::UnsupportedMedia { .. } => Fault::UnsupportedMedia.reason(),
            Self::UnsupportedEncoding { .. } => Fault::UnsupportedEncoding.reason(),
            Self::TooLarge { .. } | Self::MessageTooLarge { .. } => Fault::TooLarge.reason(),
            Self::TooManyHeaders { .. } => Fault::TooManyHeaders.reason(),
            Self::TooSlow => Fault::TooSlow.reason(),
            Self::ResponseTooLarge { .. } => "RESPONSE_TOO_LARGE",
            Self::HeadTooLarge { .. } => "HEAD_TOO_LARGE",
            Self::RateLimited { .. } => "RATE_LIMITED",
            Self::Unauthenticated { fault: TokenFault::Missing, .. } => "TOKEN_MISSING",
            Self::Unauthenticated { fault: TokenFault::Invalid, .. } | Self::NotAdmin { token: true } => {
                "TOKEN_INVALID"
            }
            Self::Unauthenticated { fault: TokenFault::Expired, .. } => "TOKEN_EXPIRED",
            Self::Unauthenticated { fault: TokenFault::Misplaced, .. } => "TOKEN_WRONG_TYPE",
            Self::Forbidden { .. } | Self::NotAdmin { token: false } => "FORBIDDEN",
            Self::NoReload => "NO_RELOAD",
            Self::CrossOrigin => "CROSS_ORIGIN",
            Self::AuthUnavailable | Self::LogoutUntold => "AUTH_UNAVAILABLE",
            Self::LimitsUnavailable => "LIMITS_UNAVAILABLE",
            Self::Overloaded { .. } => "OVERLOADED",
            Self::Draining => "DRAINING",
            Self::NoEndpoint => "NO_ENDPOINT",
            Self::CircuitOpen { .. } => "CIRCUIT_OPEN",
            Self::ConnectFailed => "CONNECT_FAILED",
            Self::UpstreamReset => "UPSTREAM_RESET",
            Self::UpstreamProtocol(_) => "UPSTREAM_PROTOCOL",
            Self::Deadline => "DEADLINE",
            Self::StreamAge => "STREAM_AGE",
            Self::ClientGone => "CLIENT_GONE",
            Self::Internal => "INTERNAL",
            Self::Upstream(_) => return None,
        })
    }

    /// The text for the client.
    pub fn message(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::NoRoute => "no route has this path",
            Self::MethodNotAllowed { .. } => "the path exists, but not for this method; see the Allow header",
            Self::BadRequest { field, message } | Self::TooDeep { field, message } if field.is_empty() => message,
            Self::BadRequest { field, message } | Self::TooDeep { field, message } => {
                return Cow::Owned(format!("{field}: {message}"));
            }
            Self::Violations(violations) => return told(violations),
            Self::UnsupportedMedia { message, .. } => message,
            Self::UnsupportedEncoding { supported } => {
                return Cow::Owned(format!("this compression is not supported; supported: {supported}"));
            }
            Self::TooLarge { limit } => {
                return Cow::Owned(format!("the request is larger than the limit of {limit} bytes"));
            }
            Self::MessageTooLarge { limit } => {
                return Cow::Owned(format!(
                    "the request's message is larger in protobuf than the limit of {limit} bytes"
                ));
            }
            Self::TooManyHeaders { limit } => {
                return Cow::Owned(format!("the request has more than {limit} headers"));
            }
            Self::ResponseTooLarge { limit } => {
                return Cow::Owned(format!("the reply is larger than the limit of {limit} bytes"));
            }
            Self::TooSlow => "the request did not come within the call's deadline",
            Self::HeadTooLarge { limit } => {
                return Cow::Owned(format!("the request's head is more than the {limit} bytes that its service takes"));
            }
            Self::RateLimited { .. } => "too many calls from you; try again later",
            Self::Unauthenticated { token, fault, .. } => fault.told(*token),
            Self::Forbidden { token: TokenKind::Connect } => "the connect token does not allow this",
            Self::Forbidden { .. } => "the access token does not allow this",
            Self::CrossOrigin => "pages of other origins may not call with cookies",
            Self::NotAdmin { token: true } => "present the admin token as `Authorization: Bearer`",
            Self::NotAdmin { token: false } => "only for clients on this machine: no admin.token is configured",
            Self::NoReload => "this gateway was started with a configuration that cannot be loaded again",
            Self::AuthUnavailable => "tokens cannot be verified now; try again later",
            Self::LogoutUntold => {
                "you are logged out here; the other gateways could not be told yet, and may take the token until they are"
            }
            Self::LimitsUnavailable => {
                "the store of the rate limits cannot be reached, and this method is not served without it; try again later"
            }
            Self::Overloaded { .. } => "too many calls are in flight; try again later",
            Self::Draining => "the gateway is about to stop; connect again",
            Self::CircuitOpen { .. } => "the service fails and is left alone for now; try again later",
            Self::NoEndpoint => "the service has no usable endpoint",
            Self::ConnectFailed => "the service could not be reached",
            Self::UpstreamReset => "the service broke off the call",
            Self::UpstreamProtocol(_) => "the service's answer could not be understood",
            Self::Deadline => "the call's deadline has passed",
            Self::StreamAge => "the stream is as old as streams may grow here; open it again",
            Self::ClientGone => "the client left",
            Self::Upstream(status) => &status.message,
            Self::Internal => "the gateway failed on this call",
        })
    }

    /// What `WWW-Authenticate` says (RFC 6750 §3).
    pub fn challenge(&self) -> Option<HeaderValue> {
        let fixed = HeaderValue::from_static;
        match self {
            Self::Unauthenticated { fault: TokenFault::Missing, .. } | Self::NotAdmin { token: true } => {
                Some(fixed("Bearer"))
            }
            Self::Unauthenticated { token, fault, .. } => {
                let why = fault.told(*token);
                HeaderValue::try_from(format!("Bearer error=\"invalid_token\", error_description=\"{why}\"")).ok()
            }
            Self::Forbidden { .. } => Some(fixed("Bearer error=\"insufficient_scope\"")),
            _ => None,
        }
    }

    /// What `Retry-After` says, where a retry may help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after }
            | Self::Overloaded { retry_after }
            | Self::CircuitOpen { retry_after } => Some(*retry_after),
            Self::Draining | Self::AuthUnavailable | Self::LimitsUnavailable => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The service behind the call cannot be asked, or has not answered as it should: it is not there, is left alone, has no place or
    /// no time for the call, or says itself that it is unavailable.
    pub fn is_of_absent_service(&self) -> bool {
        match self {
            Self::NoEndpoint
            | Self::CircuitOpen { .. }
            | Self::ConnectFailed
            | Self::UpstreamReset
            | Self::UpstreamProtocol(_)
            | Self::Overloaded { .. }
            | Self::Deadline => true,
            Self::Upstream(status) => matches!(status.code, Code::Unavailable | Code::DeadlineExceeded),
            _ => false,
        }
    }

    /// An earlier answer is better than this one, where there is one (RFC 5861, section 4).
    pub fn is_worse_than_stale(&self) -> bool {
        matches!(self.http().as_u16(), 500 | 502 | 503 | 504)
    }

    /// The `google.rpc` details of the gateway's own errors; each envelope writes them in its own form.
    pub fn details(&self) -> impl Iterator<Item = Detail<'_>> {
        let info = self.reason().map(|reason| Detail::ErrorInfo { reason });
        let violation = match self {
            Self::BadRequest { field, message } | Self::TooDeep { field, message } => {
                Some(Detail::BadRequest { field, description: message })
            }
            Self::Violations(violations) => Some(Detail::Violations(violations)),
            _ => None,
        };
        let retry = self.retry_after().map(|delay| Detail::RetryInfo { delay });
        [info, violation, retry].into_iter().flatten()
    }

    /// The upstream's answer is none: so.
    pub fn protocol(how: impl Into<Cow<'static, str>>) -> Self {
        Self::UpstreamProtocol(how.into())
    }

    /// What lies behind it, for the log alone.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::UpstreamProtocol(how) => Some(&**how).filter(|how| !how.is_empty()),
            _ => None,
        }
    }
}

impl TokenFault {
    /// The text for the client.
    fn told(self, token: TokenKind) -> &'static str {
        match (self, token) {
            (Self::Missing, TokenKind::Access) => "this method needs an access token",
            (Self::Missing, TokenKind::Refresh) => "this method needs a refresh token",
            (Self::Missing, TokenKind::Connect) => "this WebSocket needs a connect token",
            (Self::Invalid, TokenKind::Access) => "the access token is not valid",
            (Self::Invalid, TokenKind::Refresh) => "the refresh token is not valid",
            (Self::Invalid, TokenKind::Connect) => "the connect token is not valid",
            (Self::Expired, TokenKind::Access) => "the access token has expired",
            (Self::Expired, TokenKind::Refresh) => "the refresh token has expired",
            (Self::Expired, TokenKind::Connect) => "the connect token has expired",
            (Self::Misplaced, _) => "the token is of another type than is asked for",
        }
    }
}

/// The first violation, and how many more there are.
fn told(violations: &[Violation]) -> Cow<'static, str> {
    let Some((first, others)) = violations.split_first() else { return Cow::Borrowed("the request breaks a rule") };
    let colon = if first.field.is_empty() { "" } else { ": " };
    let more = match others.len() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Cow::Owned(format!("{}{colon}{}{more}", first.field, first.message))
}

#[cfg(test)]
mod tests;
