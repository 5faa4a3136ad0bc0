//! First: what a unary reply that crosses unread begins with: its head, and the first of its message or its trailers.
//!
//! A head alone answers nothing where one message is all there is to come: services send it at once and hang then. So it is held
//! until something follows, and until then the call may be sent again, as one may be whose reply is read.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use transom_transcode::status::Code;

use crate::envelope::grpc::{code_of, take_status};

use super::exchange::Exchange;
use super::failure::Failure;
use super::reply::{Head, ok, refusal, timed};
use super::wheel::Timer;

/// The beginning of a reply.
pub(super) struct First {
    pub(super) head: Head,
    /// What follows it, as far as that was awaited.
    pub(super) next: Option<Next>,
}

/// What comes behind a head. Trailers in a box: they are seldom the first, and every call that waits has room for one of these.
pub(super) enum Next {
    Message(Bytes),
    Trailers(Box<HeaderMap>),
}

impl From<Next> for Frame<Bytes> {
    fn from(next: Next) -> Self {
        match next {
            Next::Message(data) => Self::data(data),
            Next::Trailers(trailers) => Self::trailers(*trailers),
        }
    }
}

impl From<Head> for First {
    /// A stream's, whose messages may take their time.
    fn from(head: Head) -> Self {
        Self { head, next: None }
    }
}

impl First {
    /// The same, unless all that follows is a status other than OK: then it is a failure, and the call may be tried again.
    pub(super) fn accepted(mut self) -> Result<Self, Failure> {
        match self.next.take() {
            Some(Next::Trailers(trailers)) if code_of(&trailers) != Some(Code::Ok) => Err(self.head.refused(*trailers)),
            next => Ok(Self { next, ..self }),
        }
    }
}

impl Head {
    /// What came of a reply of which this and these trailers are all.
    fn refused(self, mut trailers: HeaderMap) -> Failure {
        let (Self::Open(headers) | Self::Said(headers) | Self::Ended(headers)) = self;
        match take_status(&mut trailers) {
            Some(status) => refusal(status, headers, trailers),
            None => Failure::protocol("trailers without grpc-status"),
        }
    }
}

/// Awaits it, and lets `send` send what there is of the request meanwhile.
pub(super) async fn first(
    exchange: &mut Exchange,
    mut send: impl FnMut(&mut Context<'_>, &mut Exchange) -> Poll<Result<(), Failure>>,
    timer: &mut Timer,
) -> Result<First, Failure> {
    let mut head = None;
    poll_fn(|cx| {
        if let Poll::Ready(Err(failure)) = send(cx, exchange) {
            return Poll::Ready(Err(failure));
        }
        match poll_first(cx, exchange, &mut head) {
            Poll::Pending => timer.poll(cx).map(|()| Err(timer.failure())),
            ready => ready,
        }
    })
    .await
    .map_err(|failure| timed(failure, timer))
}

fn poll_first(cx: &mut Context<'_>, exchange: &mut Exchange, head: &mut Option<Head>) -> Poll<Result<First, Failure>> {
    let came = match head.take() {
        Some(head) => head,
        None => Head::read(ready!(exchange.poll_head(cx))?, exchange.is_whole())?,
    };
    if matches!(came, Head::Ended(_)) {
        return Poll::Ready(Ok(came.into()));
    }
    match poll_next(cx, exchange, matches!(came, Head::Said(_))) {
        Poll::Ready(next) => Poll::Ready(next.map(|next| First { head: came, next: Some(next) })),
        Poll::Pending => {
            *head = Some(came);
            Poll::Pending
        }
    }
}

/// What follows a head, which has `said` OK or not.
fn poll_next(cx: &mut Context<'_>, exchange: &mut Exchange, said: bool) -> Poll<Result<Next, Failure>> {
    while let Some(data) = ready!(exchange.poll_data(cx)) {
        let data = data?;
        if !data.is_empty() {
            return Poll::Ready(Ok(Next::Message(data)));
        }
    }
    Poll::Ready(match ready!(exchange.poll_trailers(cx))? {
        Some(trailers) => Ok(Next::Trailers(Box::new(trailers))),
        None if said => Ok(Next::Trailers(Box::new(ok()))),
        None => Err(Failure::protocol("the reply ended without trailers")),
    })
}
