//! Reply: what gRPC says in an HTTP/2 response: content type, status, the message.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use smallvec::SmallVec;
use transom_transcode::frame::PREFIX;
use transom_transcode::status::{Code, Status};

use crate::envelope::coding::Packed;
use crate::envelope::grpc::{STATUS, status_of, take_status};
use crate::error::Error;
use crate::memory::{Room, SMALL};

use super::exchange::Exchange;
use super::failure::{Answer, Failure, FailureKind, Seen};
use super::wheel::Timer;

/// A unary call's reply; its status was OK.
#[derive(Debug, Clone)]
pub struct Unary {
    /// Who answered.
    pub endpoint: Arc<str>,
    /// Metadata before the message.
    pub headers: HeaderMap,
    /// The message, without its prefix.
    pub message: Bytes,
    /// Metadata after the message, without the `grpc-status` family.
    pub trailers: HeaderMap,
}

/// Reads a unary reply of `endpoint` to its end, and lets `send` send what there is of the request meanwhile.
pub(super) async fn unary(
    endpoint: &Arc<str>,
    exchange: &mut Exchange,
    mut send: impl FnMut(&mut Context<'_>, &mut Exchange) -> Poll<Result<(), Failure>>,
    timer: &mut Timer,
    limit: usize,
) -> Result<Unary, Failure> {
    let mut message = Whole::new(limit);
    let (mut headers, mut said) = (None, false);
    let trailers = poll_fn(|cx| {
        if let Poll::Ready(Err(failure)) = send(cx, exchange) {
            return Poll::Ready(Err(failure));
        }
        match poll_unary(cx, exchange, (&mut headers, &mut said), &mut message) {
            Poll::Pending => timer.poll(cx).map(|()| Err(timer.failure())),
            ready => ready,
        }
    })
    .await
    .map_err(|failure| timed(failure, timer))?;
    let headers = headers.unwrap_or_default();
    let Some(mut trailers) = trailers.or_else(|| said.then(ok)) else {
        return Err(Failure::protocol("the reply ended without trailers"));
    };
    match take_status(&mut trailers) {
        Some(Status { code: Code::Ok, .. }) => {
            let (packed, limit) = (message.compressed, message.limit);
            let reply = Unary { endpoint: Arc::clone(endpoint), headers, message: message.finish()?, trailers };
            // Boxed: few calls wait there, and all would have room for it.
            if packed { Box::pin(unpacked(reply, limit, exchange)).await } else { Ok(reply) }
        }
        Some(status) => Err(timed(refusal(status, headers, trailers), timer)),
        None => Err(Failure::protocol("trailers without grpc-status")),
    }
}

/// Awaits the reply's head, and lets `send` send what there is of the request meanwhile.
pub(super) async fn head(
    exchange: &mut Exchange,
    mut send: impl FnMut(&mut Context<'_>, &mut Exchange) -> Poll<Result<(), Failure>>,
    timer: &mut Timer,
) -> Result<Head, Failure> {
    poll_fn(|cx| {
        if let Poll::Ready(Err(failure)) = send(cx, exchange) {
            return Poll::Ready(Err(failure));
        }
        match exchange.poll_head(cx) {
            Poll::Ready(head) => Poll::Ready(head.and_then(|head| Head::read(head, exchange.is_whole()))),
            Poll::Pending => timer.poll(cx).map(|()| Err(timer.failure())),
        }
    })
    .await
    .map_err(|failure| timed(failure, timer))
}

/// The service was told the deadline and waits for the same instant: whichever of the two is the first, the call ends as one
/// whose deadline has passed. Some say so by a status, of which one with details says more and stays; others take the stream back.
pub(super) fn timed(failure: Failure, timer: &Timer) -> Failure {
    let says_so = match &failure.kind {
        FailureKind::Status(answer) => answer.is_bare(Code::DeadlineExceeded),
        FailureKind::Cancelled { .. } => true,
        _ => false,
    };
    if says_so && timer.is_nearly_over() { timer.failure() } else { failure }
}

/// Ready with the trailers.
fn poll_unary(
    cx: &mut Context<'_>,
    exchange: &mut Exchange,
    (headers, said): (&mut Option<HeaderMap>, &mut bool),
    message: &mut Whole,
) -> Poll<Result<Option<HeaderMap>, Failure>> {
    if headers.is_none() {
        let head = ready!(exchange.poll_head(cx))?;
        *headers = Some(match Head::read(head, exchange.is_whole())? {
            Head::Open(headers) => headers,
            Head::Said(headers) => {
                *said = true;
                headers
            }
            // An OK without a message: `finish` says so.
            Head::Ended(status) => return Poll::Ready(Ok(Some(status))),
        });
    }
    while let Some(data) = ready!(exchange.poll_data(cx)) {
        message.push(data?, exchange)?;
    }
    exchange.poll_trailers(cx)
}

/// The head of a response.
pub(super) enum Head {
    /// Metadata; messages and trailers follow.
    Open(HeaderMap),
    /// The same of a service that says OK before it has said anything: that holds where no trailers say another thing.
    Said(HeaderMap),
    /// A trailers-only answer: metadata and status in one.
    Ended(HeaderMap),
}

impl Head {
    /// Anything but an open gRPC response with HTTP 200, or an OK in trailers alone, is a failure; `whole`: nothing follows.
    pub(super) fn read(response: Response<()>, whole: bool) -> Result<Self, Failure> {
        let (head, ()) = response.into_parts();
        let mut headers = head.headers;
        let (mut ended, mut grpc) = (false, false);
        for (name, value) in &headers {
            if name == CONTENT_TYPE {
                grpc = is_grpc(value.as_bytes());
            } else if name == STATUS {
                ended = true;
            }
        }
        if ended {
            match status_of(&headers) {
                Some(Status { code: Code::Ok, .. }) if whole => return Ok(Self::Ended(headers)),
                Some(Status { code: Code::Ok, .. }) => drop(take_status(&mut headers)),
                _ => {
                    let status = take_status(&mut headers);
                    headers.remove(CONTENT_TYPE);
                    let status = status.ok_or_else(|| Failure::protocol("grpc-status is no number"))?;
                    return Err(refusal(status, HeaderMap::new(), headers));
                }
            }
        }
        if head.status != StatusCode::OK {
            let code = Code::from_http(head.status.as_u16());
            let text = format!("the service answered HTTP status {}", head.status.as_u16());
            let mut failure = refusal(Status::new(code, text), headers, HeaderMap::new());
            if let FailureKind::Status(answer) = &mut failure.kind {
                answer.http = Some(head.status);
            }
            return Err(failure);
        }
        if !grpc {
            return Err(Failure::protocol("the reply's content type is not application/grpc"));
        }
        Ok(if ended { Self::Said(headers) } else { Self::Open(headers) })
    }
}

/// `application/grpc`, alone or with a codec (`+proto`) or parameters; not `application/grpc-web`.
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    content_type.len() >= GRPC.len()
        && content_type[..GRPC.len()].eq_ignore_ascii_case(GRPC)
        && matches!(content_type.get(GRPC.len()), None | Some(b'+' | b';' | b' '))
}

/// The trailers of success.
pub(super) fn ok() -> HeaderMap {
    HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))])
}

pub(super) fn refusal(status: Status, headers: HeaderMap, trailers: HeaderMap) -> Failure {
    let cause = format!("{}: {}", status.code.name(), status.message);
    let answer = Answer { status, headers, trailers, http: None, provoked: false };
    Failure::new(Seen::Seen, FailureKind::Status(Box::new(answer)), cause)
}

/// Room for a message of so many bytes.
fn take(bytes: usize, exchange: &Exchange) -> Result<Option<Room>, Failure> {
    let Some(memory) = exchange.memory() else { return Ok(None) };
    let mut room = memory.room();
    match room.grow(bytes) {
        Ok(()) => Ok(Some(room)),
        Err(_) => Err(Failure::new(Seen::Local, FailureKind::Overloaded, "overload.memory is taken")),
    }
}

/// A unary reply's only message as it comes in: no copy if it came in one frame.
struct Whole {
    limit: usize,
    /// The 5 bytes before it, as far as they have come.
    prefix: SmallVec<[u8; PREFIX]>,
    compressed: bool,
    length: usize,
    whole: Bytes,
    /// Of one that came in several; few are waited for, and the others hold no room for it.
    parts: Option<Box<Parts>>,
}

/// What has come of a message, and the room that it takes if it is no small one.
#[derive(Default)]
struct Parts {
    bytes: BytesMut,
    room: Option<Room>,
}

impl Whole {
    fn new(limit: usize) -> Self {
        Self { limit, prefix: SmallVec::new(), compressed: false, length: 0, whole: Bytes::new(), parts: None }
    }

    fn push(&mut self, mut data: Bytes, exchange: &Exchange) -> Result<(), Failure> {
        if self.prefix.len() < PREFIX {
            let taken = data.split_to(data.len().min(PREFIX - self.prefix.len()));
            self.prefix.extend_from_slice(&taken);
            let &[flag, a, b, c, d] = self.prefix.as_slice() else { return Ok(()) };
            if flag > 1 {
                return Err(Failure::protocol(format!("a message that begins with {flag}")));
            }
            self.compressed = flag == 1;
            self.length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            if self.length > self.limit {
                let kind = FailureKind::TooLarge { limit: self.limit };
                return Err(Failure::new(Seen::Seen, kind, format!("a message of {} bytes", self.length)));
            }
        }
        let have = self.whole.len() + self.parts.as_ref().map_or(0, |parts| parts.bytes.len());
        if data.len() > self.length - have {
            return Err(Failure::protocol("a unary reply of more than one message"));
        }
        if have == 0 && data.len() == self.length {
            self.whole = data;
        } else if !data.is_empty() {
            let parts = self.parts.get_or_insert_default();
            if self.length > SMALL && parts.room.is_none() {
                parts.room = take(self.length, exchange)?;
                parts.bytes.reserve(self.length);
            }
            parts.bytes.extend_from_slice(&data);
        }
        Ok(())
    }

    /// The message, as it came.
    fn finish(self) -> Result<Bytes, Failure> {
        let message = match self.parts.map(|parts| *parts) {
            Some(Parts { bytes, room: Some(room) }) => room.hold(bytes.freeze()),
            Some(Parts { bytes, room: None }) => bytes.freeze(),
            None => self.whole,
        };
        if self.prefix.len() < PREFIX {
            return Err(Failure::protocol("a status of OK without a message"));
        }
        if message.len() < self.length {
            return Err(Failure::protocol("the reply's message is cut short"));
        }
        Ok(message)
    }
}

/// A reply whose message is out of the compression that its head names.
async fn unpacked(reply: Unary, limit: usize, exchange: &Exchange) -> Result<Unary, Failure> {
    let open = Packed::of(&reply.headers, limit).open(true, reply.message).await.map_err(|error| match error {
        Error::ResponseTooLarge { limit } => {
            Failure::new(Seen::Seen, FailureKind::TooLarge { limit }, "a message that is larger once unpacked")
        }
        _ => Failure::protocol("a message that is not compressed as grpc-encoding says"),
    })?;
    let message = match exchange.memory() {
        Some(memory) => memory.hold(open),
        None => open,
    };
    Ok(Unary { message, ..reply })
}
