//! What an upstream is told to answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::sync::Notify;
use transom_transcode::status::Code;

/// One answer: what happens before the head, the messages, the status.
#[derive(Clone, Default)]
pub(crate) struct Reply {
    pub(super) before_head: Vec<Step>,
    pub(super) http: Option<u16>,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<Step>,
    pub(super) end: End,
    pub(super) trailers: HeaderMap,
}

#[derive(Clone)]
pub(super) enum Step {
    Message(Value),
    Bytes(Bytes),
    Sleep(Duration),
    Wait(Arc<Notify>),
    Hang,
}

#[derive(Clone, Default)]
pub(super) enum End {
    #[default]
    Ok,
    Status(Code, String),
    /// The body ends without trailers.
    NoTrailers,
    /// The stream is reset.
    Reset,
}

/// One message and OK.
pub(crate) fn ok(message: Value) -> Reply {
    stream([message])
}

/// These messages and OK.
pub(crate) fn stream(messages: impl IntoIterator<Item = Value>) -> Reply {
    Reply { body: messages.into_iter().map(Step::Message).collect(), ..Reply::default() }
}

/// A status without a message: trailers-only.
pub(crate) fn fail(code: Code, message: &str) -> Reply {
    Reply { end: End::Status(code, message.to_owned()), ..Reply::default() }
}

/// Nothing, ever: until the caller leaves.
pub(crate) fn hang() -> Reply {
    Reply { before_head: vec![Step::Hang], ..Reply::default() }
}

/// What is not gRPC: a status and bytes, no trailers.
pub(crate) fn raw(http: u16, content_type: &str, body: &[u8]) -> Reply {
    let reply = Reply { http: Some(http), end: End::NoTrailers, ..Reply::default() };
    reply.header("content-type", content_type).then_bytes(body)
}

impl Reply {
    /// Answers only after this long.
    pub(crate) fn after(mut self, time: Duration) -> Self {
        self.before_head.push(Step::Sleep(time));
        self
    }

    /// Answers only when told to.
    pub(crate) fn when(mut self, notify: &Arc<Notify>) -> Self {
        self.before_head.push(Step::Wait(notify.clone()));
        self
    }

    /// Response metadata.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
        self
    }

    /// Trailing metadata.
    pub(crate) fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
        self
    }

    /// Another message.
    pub(crate) fn then(mut self, message: Value) -> Self {
        self.body.push(Step::Message(message));
        self
    }

    /// Bytes that are no message.
    pub(crate) fn then_bytes(mut self, bytes: &[u8]) -> Self {
        self.body.push(Step::Bytes(Bytes::copy_from_slice(bytes)));
        self
    }

    /// Goes on only when told to.
    pub(crate) fn then_wait(mut self, notify: &Arc<Notify>) -> Self {
        self.body.push(Step::Wait(notify.clone()));
        self
    }

    /// Goes on after this long.
    pub(crate) fn then_sleep(mut self, time: Duration) -> Self {
        self.body.push(Step::Sleep(time));
        self
    }

    /// Stays open until the caller leaves.
    pub(crate) fn then_hang(mut self) -> Self {
        self.body.push(Step::Hang);
        self
    }

    /// Ends with this status instead of OK.
    pub(crate) fn then_fail(mut self, code: Code, message: &str) -> Self {
        self.end = End::Status(code, message.to_owned());
        self
    }

    /// Ends with a reset instead of trailers.
    pub(crate) fn then_reset(mut self) -> Self {
        self.end = End::Reset;
        self
    }

    /// Ends without trailers.
    pub(crate) fn then_no_trailers(mut self) -> Self {
        self.end = End::NoTrailers;
        self
    }
}
