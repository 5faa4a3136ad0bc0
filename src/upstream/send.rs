//! Send: the loop around a call's attempts.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Version};
use http_body::Body;
use tokio::task::AbortHandle;
use transom_transcode::frame::timeout;
use transom_transcode::status::Code;

use super::attempt::Attempt;
use super::body::ReplyBody;
use super::connection::Unopened;
use super::exchange::Exchange;
use super::failure::{Failure, FailureKind, Seen};
use super::pick::Tries;
use super::pool::{Lease, Pool};
use super::pump::Pump;
use super::reply::{self, Head, Unary};
use super::retry::{self, Retry};
use super::wheel::Timer;
use super::{Outgoing, Upstream};
use crate::policy::overload::about;

const LONGEST: HeaderValue = HeaderValue::from_static("99999999H");

/// A streaming call's reply, from its head on.
pub struct Streaming {
    /// Who answered.
    pub endpoint: Arc<str>,
    /// Metadata before the messages.
    pub headers: HeaderMap,
    /// The messages in their frames, and the trailers.
    pub body: ReplyBody,
}

impl Upstream {
    /// One message there, one back. `message` has its 5-byte prefix.
    pub async fn unary(&self, pool: &Pool, mut outgoing: Outgoing<'_>, message: Bytes) -> Result<Unary, Failure> {
        let permit = self.permit(&outgoing)?;
        let mut tries = Tries::new(&outgoing);
        outgoing.begin_try(pool);
        let mut timer = pool.timer(outgoing.deadline);
        loop {
            let failure = match self.begin(pool, &mut outgoing, &mut tries, &mut timer).await {
                Err(failure) => failure,
                Ok((mut attempt, mut exchange)) => {
                    exchange.send_whole(message.clone());
                    let limit = self.config.limits.receive;
                    match reply::unary(attempt.endpoint(), &mut exchange, nothing, &mut timer, limit).await {
                        Ok(reply) => {
                            attempt.ended(Some(Code::Ok));
                            if tries.made == 0 {
                                permit.served();
                            }
                            return Ok(reply);
                        }
                        Err(failure) => match tries.failed(attempt, failure, true) {
                            Ok(()) => continue,
                            Err(failure) => failure,
                        },
                    }
                }
            };
            match outgoing.retry {
                None => return Err(permit.failed(failure)),
                Some(rule) => {
                    let again = Box::pin(again(rule, pool, &mut outgoing, &mut tries, failure)).await;
                    timer = again.map_err(|failure| permit.failed(failure))?;
                }
            }
        }
    }

    /// A stream there, made of gRPC frames, and one message back.
    pub async fn client_stream<B>(&self, pool: &Pool, mut outgoing: Outgoing<'_>, body: B) -> Result<Unary, Failure>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let _permit = self.permit(&outgoing)?;
        let mut timer = outgoing.timer(pool);
        let mut tries = Tries::new(&outgoing);
        let mut pump = Pump::new(body);
        loop {
            let (mut attempt, mut exchange) = self.begin(pool, &mut outgoing, &mut tries, &mut timer).await?;
            let send = |cx: &mut Context<'_>, exchange: &mut Exchange| pump.poll(cx, exchange);
            match reply::unary(attempt.endpoint(), &mut exchange, send, &mut timer, self.config.limits.receive).await {
                Ok(reply) => {
                    attempt.ended(Some(Code::Ok));
                    return Ok(reply);
                }
                Err(failure) => {
                    if !exchange.is_sent() {
                        attempt.excuse();
                    }
                    // What was read from the client is gone: only an untouched body can be sent again.
                    tries.failed(attempt, failure, pump.untouched())?;
                }
            }
        }
    }

    /// One message there, a stream back. `message` has its 5-byte prefix; all of it is at hand, so it can be sent again.
    pub async fn server_stream(
        &self,
        pool: &Pool,
        mut outgoing: Outgoing<'_>,
        message: Bytes,
    ) -> Result<Streaming, Failure> {
        let permit = self.permit(&outgoing)?;
        let mut tries = Tries::new(&outgoing);
        outgoing.begin_try(pool);
        let mut timer = outgoing.timer(pool);
        loop {
            let failure = match self.begin(pool, &mut outgoing, &mut tries, &mut timer).await {
                Err(failure) => failure,
                Ok((attempt, mut exchange)) => {
                    exchange.send_whole(message.clone());
                    match head(&mut exchange, nothing, &mut timer).await {
                        Ok(head) => {
                            // Once it answers, the time of a try is the call's.
                            let timer = if tries.deadline == outgoing.deadline {
                                timer
                            } else {
                                outgoing.deadline = tries.deadline;
                                outgoing.timer(pool)
                            };
                            return Ok(streaming(head, ReplyBody::new(exchange, timer, attempt, permit)));
                        }
                        Err(failure) => match tries.failed(attempt, failure, true) {
                            Ok(()) => continue,
                            Err(failure) => failure,
                        },
                    }
                }
            };
            match outgoing.retry {
                None => return Err(failure),
                Some(rule) => timer = Box::pin(again(rule, pool, &mut outgoing, &mut tries, failure)).await?,
            }
        }
    }

    /// Streams both ways; `body` is made of gRPC frames. The reply's head is awaited, while the request is being sent.
    pub async fn stream<B>(&self, pool: &Pool, mut outgoing: Outgoing<'_>, body: B) -> Result<Streaming, Failure>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let permit = self.permit(&outgoing)?;
        let mut timer = outgoing.timer(pool);
        let mut tries = Tries::new(&outgoing);
        let mut pump = Pump::new(body);
        loop {
            let (mut attempt, mut exchange) = self.begin(pool, &mut outgoing, &mut tries, &mut timer).await?;
            match head(&mut exchange, |cx, exchange| pump.poll(cx, exchange), &mut timer).await {
                Ok(head) => {
                    let sending = matches!(head, Head::Open(_)).then(|| rest(&mut exchange, pump)).flatten();
                    let body = ReplyBody::new(exchange, timer, attempt, permit).sending(sending);
                    return Ok(streaming(head, body));
                }
                Err(failure) => {
                    if !exchange.is_sent() {
                        attempt.excuse();
                    }
                    // What was read from the client is gone: only an untouched body can be sent again.
                    tries.failed(attempt, failure, pump.untouched())?;
                }
            }
        }
    }

    /// A stream to the next endpoint that takes one, with the request's head sent.
    async fn begin(
        &self,
        pool: &Pool,
        outgoing: &mut Outgoing<'_>,
        tries: &mut Tries,
        timer: &mut Timer,
    ) -> Result<(Attempt, Exchange), Failure> {
        loop {
            let (lease, probe) = self.acquire(pool, tries, timer).await?;
            let attempt = Attempt::begin(lease.connection(), probe, outgoing.patient);
            match outgoing.open(lease) {
                Ok(exchange) => return Ok((attempt, exchange)),
                Err(failure) => tries.failed(attempt, failure, true)?,
            }
        }
    }
}

/// Waits until the call may be tried again, and begins that try; or the failure is final.
async fn again(
    rule: &Retry,
    pool: &Pool,
    outgoing: &mut Outgoing<'_>,
    tries: &mut Tries,
    mut failure: Failure,
) -> Result<Timer, Failure> {
    let now = Instant::now();
    if matches!(failure.kind, FailureKind::Deadline) && now < tries.deadline {
        // It was the time of one try that has passed.
        failure.seen = Seen::Seen;
    }
    tries.made += 1;
    let Some(pause) = rule.pause(&failure, tries.made.into(), retry::random()) else { return Err(failure) };
    if tries.deadline.saturating_duration_since(now) <= pause || !rule.withdraw(pool.worker()) {
        return Err(failure);
    }
    tracing::debug!(%failure, made = tries.made, ?pause, "upstream retry");
    let mut timer = pool.timer(now + pause);
    poll_fn(|cx| timer.poll(cx)).await;
    tries.start_over();
    outgoing.deadline = tries.deadline;
    outgoing.shorten(rule);
    Ok(outgoing.timer(pool))
}

/// All of the request is sent already.
fn nothing(_: &mut Context<'_>, _: &mut Exchange) -> Poll<Result<(), Failure>> {
    Poll::Pending
}

/// Awaits the reply's head, and lets `send` send what there is of the request meanwhile.
async fn head(
    exchange: &mut Exchange,
    mut send: impl FnMut(&mut Context<'_>, &mut Exchange) -> Poll<Result<(), Failure>>,
    timer: &mut Timer,
) -> Result<Head, Failure> {
    poll_fn(|cx| {
        if let Poll::Ready(Err(failure)) = send(cx, exchange) {
            return Poll::Ready(Err(failure));
        }
        match exchange.poll_head(cx) {
            Poll::Ready(head) => Poll::Ready(head.and_then(Head::read)),
            Poll::Pending => timer.poll(cx).map(|()| Err(timer.failure())),
        }
    })
    .await
}

/// A reply that is not being read must not stop the request, so what is left of it gets a task of its own. A request that
/// has been sent by now needs none.
fn rest<B>(exchange: &mut Exchange, mut pump: Pump<B>) -> Option<AbortHandle>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let mut sending = exchange.split()?;
    let task = async move {
        // A client that breaks off leaves the stream to the reaper, which resets it.
        drop(poll_fn(|cx| pump.poll(cx, &mut sending)).await);
    };
    Some(tokio::spawn(task).abort_handle())
}

fn streaming(head: Head, body: ReplyBody) -> Streaming {
    let endpoint = Arc::clone(body.endpoint());
    match head {
        Head::Ended(mut headers) => {
            headers.remove(CONTENT_TYPE);
            Streaming { endpoint, headers: HeaderMap::new(), body: body.ended(headers) }
        }
        Head::Open(headers) => Streaming { endpoint, headers, body },
    }
}

impl Outgoing<'_> {
    /// Counts the call for its rule's budget.
    fn begin_try(&mut self, pool: &Pool) {
        if let Some(rule) = self.retry {
            rule.deposit(pool.worker());
            self.shorten(rule);
        }
    }

    /// Its deadline, or the age that it may have as a stream.
    fn timer(&self, pool: &Pool) -> Timer {
        let until = self.max_age.map(|age| Instant::now() + about(*age));
        match until.filter(|until| *until < self.deadline) {
            Some(until) => pool.timer(until).of_age(),
            None => pool.timer(self.deadline),
        }
    }

    /// A try may have a deadline of its own.
    fn shorten(&mut self, rule: &Retry) {
        let try_ends = rule.per_try().map(|time| Instant::now() + time);
        if let Some(try_ends) = try_ends.filter(|try_ends| *try_ends < self.deadline) {
            self.deadline = try_ends;
            self.patient = true;
        }
    }

    /// Sends the head.
    pub(super) fn open(&self, lease: Lease) -> Result<Exchange, Failure> {
        let Some(left) = self.deadline.checked_duration_since(Instant::now()) else { return Err(Failure::deadline()) };
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.head(grpc_timeout(left));
        Exchange::open(lease, request).map_err(|unopened| match unopened {
            Unopened::Draining => Failure::new(Seen::NotSeen, FailureKind::Refused, "the connection goes away"),
            Unopened::Malformed(error) => Failure::new(Seen::Local, FailureKind::Malformed, error.to_string()),
        })
    }
}

/// What is left, rounded up to milliseconds: a call's usual timeout then stays one entry of HPACK's table.
fn grpc_timeout(left: Duration) -> HeaderValue {
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    let text = timeout::format(Duration::from_millis(millis));
    HeaderValue::from_bytes(text.as_bytes()).unwrap_or(LONGEST)
}
