//! Why a call to an upstream failed, and whether the upstream can have seen it.
//!
//! `Seen` is the only input to a retry: what cannot have been seen may be sent to another endpoint, whatever it is.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use h2::Reason;
use http::{HeaderMap, StatusCode};
use transom_transcode::status::{Code, Status};

use crate::error::Error;

/// A call that brought no reply.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Whether the upstream can have seen the request.
    pub seen: Seen,
    /// What happened.
    pub kind: FailureKind,
    /// Where it happened, once an endpoint was picked.
    pub endpoint: Option<Arc<str>>,
    /// Addresses, I/O errors, peers' texts: for the log, never for a client.
    pub cause: Cow<'static, str>,
}

/// Whether the upstream can have seen the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It cannot have: sending it again is safe.
    NotSeen,
    /// It may have.
    Seen,
    /// Nothing failed upstream: our limit, our deadline, our client.
    Local,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum FailureKind {
    /// No endpoint is usable.
    NoEndpoint,
    /// Endpoints answer, and have failed so often that they get no calls for now.
    CircuitOpen {
        /// When the first of them is probed.
        retry_after: Duration,
    },
    /// No connection could be made.
    ConnectFailed,
    /// The endpoint refused the stream, or went away before it read it.
    Refused,
    /// The stream or its connection broke.
    Reset,
    /// The endpoint took the stream back: RST_STREAM with CANCEL, which servers send too when the deadline has passed that they
    /// were told.
    Cancelled {
        /// The request was not what the method takes.
        provoked: bool,
    },
    /// The endpoint ended the connection for an error before it read the stream: GOAWAY with a code that is none of a farewell.
    Expelled,
    /// The endpoint broke HTTP/2 or gRPC.
    Protocol,
    /// The call's deadline passed.
    Deadline,
    /// The stream is as old as it may grow.
    Aged,
    /// The gateway stops, and its last grace is over.
    Draining,
    /// The upstream's calls in flight, or the streams of its connections and the queue behind them, are all taken.
    Overloaded,
    /// The reply is larger than the limit.
    TooLarge {
        /// `limits.receive`, bytes.
        limit: usize,
    },
    /// The request's head is larger than the endpoint takes.
    HeadTooLarge {
        /// What it takes, bytes.
        limit: usize,
    },
    /// The client's request broke off while it was sent.
    ClientGone,
    /// The request's own metadata is none that HTTP/2 can carry.
    Malformed,
    /// The upstream answered with a status other than OK.
    Status(Box<Answer>),
}

/// An upstream's own answer that is no reply: its status, and the metadata beside it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status, details and all.
    pub status: Status,
    /// Metadata before the status; empty in a trailers-only answer.
    pub headers: HeaderMap,
    /// Metadata with the status, without the `grpc-status` family.
    pub trailers: HeaderMap,
    /// The HTTP status that it was made of, where no gRPC status came.
    pub http: Option<StatusCode>,
    /// It is the answer to a request that was not what the method takes.
    pub(super) provoked: bool,
}

impl Answer {
    /// gRPC's own answer of this code, with nothing of why.
    pub(super) fn is_bare(&self, code: Code) -> bool {
        self.http.is_none() && self.status.code == code && self.status.details.is_empty()
    }

    /// It is what nobody answers who speaks gRPC and is well. What is said of the request or of who makes it may be said by
    /// anybody on the way, and clients could bring it about.
    pub(super) fn is_foreign(&self) -> bool {
        self.http.is_some_and(|http| !matches!(http.as_u16(), 400 | 401 | 403 | 413 | 414 | 429 | 431))
    }
}

impl Failure {
    pub(super) fn new(seen: Seen, kind: FailureKind, cause: impl Into<Cow<'static, str>>) -> Self {
        Self { seen, kind, endpoint: None, cause: cause.into() }
    }

    /// A reply that breaks the protocol; the request was seen.
    pub(super) fn protocol(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Seen::Seen, FailureKind::Protocol, cause)
    }

    pub(super) fn deadline() -> Self {
        Self::new(Seen::Local, FailureKind::Deadline, "deadline passed")
    }

    /// What became of a stream that h2 broke off. `answered`: response headers had come, so the request was seen.
    pub(super) fn stream(error: &h2::Error, answered: bool) -> Self {
        // h2 gives a remote GOAWAY only to streams above its last id; those below run on until the connection ends.
        let unread = error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM));
        let ours = error.is_reset() && !error.is_remote() && !error.is_library();
        let (seen, kind) = if unread && !answered {
            // Some end the connection for what one of its streams has sent, and say that they have not looked at that one.
            let is_farewell = !error.is_go_away() || error.reason() == Some(Reason::NO_ERROR);
            (Seen::NotSeen, if is_farewell { FailureKind::Refused } else { FailureKind::Expelled })
        } else if ours {
            // The only streams that we reset and go on reading are those whose request broke off.
            (Seen::Local, FailureKind::ClientGone)
        } else if error.is_library() {
            (Seen::Seen, FailureKind::Protocol)
        } else if error.is_reset() && error.reason() == Some(Reason::CANCEL) {
            (Seen::Seen, FailureKind::Cancelled { provoked: false })
        } else {
            (Seen::Seen, FailureKind::Reset)
        };
        Self::new(seen, kind, error.to_string())
    }

    pub(super) fn at(mut self, endpoint: &Arc<str>) -> Self {
        self.endpoint = Some(Arc::clone(endpoint));
        self
    }

    /// The gateway had no means to ask, or no more time: that says nothing of the endpoint.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.kind, FailureKind::Overloaded | FailureKind::Draining)
    }

    /// The status that the upstream answered, if it did.
    pub fn code(&self) -> Option<Code> {
        match &self.kind {
            FailureKind::Status(answer) => Some(answer.status.code),
            _ => None,
        }
    }

    /// The outcome's name in metrics and logs.
    pub fn outcome(&self) -> &'static str {
        match self.kind {
            FailureKind::NoEndpoint => "no_endpoint",
            FailureKind::CircuitOpen { .. } => "circuit_open",
            FailureKind::ConnectFailed => "connect_failed",
            FailureKind::Refused | FailureKind::Expelled => "refused",
            FailureKind::Reset | FailureKind::Cancelled { .. } => "reset",
            FailureKind::Protocol => "protocol",
            FailureKind::Deadline => "deadline",
            FailureKind::Aged => "aged",
            FailureKind::Draining => "draining",
            FailureKind::Overloaded => "overloaded",
            FailureKind::TooLarge { .. } => "too_large",
            FailureKind::HeadTooLarge { .. } => "head_too_large",
            FailureKind::ClientGone => "client_gone",
            FailureKind::Malformed => "malformed",
            FailureKind::Status(_) => "status",
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.outcome())?;
        if let Some(endpoint) = &self.endpoint {
            write!(f, " at {endpoint}")?;
        }
        if self.cause.is_empty() { Ok(()) } else { write!(f, ": {}", self.cause) }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            FailureKind::NoEndpoint => Self::NoEndpoint,
            FailureKind::CircuitOpen { retry_after } => Self::CircuitOpen { retry_after },
            FailureKind::ConnectFailed | FailureKind::Refused | FailureKind::Expelled => Self::ConnectFailed,
            FailureKind::Reset | FailureKind::Cancelled { .. } => Self::UpstreamReset,
            FailureKind::Protocol => Self::UpstreamProtocol(failure.cause),
            FailureKind::Deadline => Self::Deadline,
            FailureKind::Aged => Self::StreamAge,
            FailureKind::Draining => Self::Draining,
            FailureKind::Overloaded => Self::Overloaded { retry_after: Duration::from_secs(1) },
            FailureKind::TooLarge { limit } => Self::ResponseTooLarge { limit },
            FailureKind::HeadTooLarge { limit } => Self::HeadTooLarge { limit },
            FailureKind::ClientGone => Self::ClientGone,
            FailureKind::Malformed => Self::Internal,
            FailureKind::Status(answer) => Self::Upstream(Box::new(answer.status)),
        }
    }
}
