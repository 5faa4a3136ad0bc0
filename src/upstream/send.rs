//! Send: the four forms of a call, and its request's head.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Context;
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
use super::first::{First, first};
use super::permit::Permit;
use super::pick::Sending;
use super::pool::{Lease, Pool};
use super::pump::Pump;
use super::replay::{Answered, Awaited};
use super::reply::{self, Head, Unary};
use super::sent::Sent;
use super::wheel::Timer;
use super::{Outgoing, Upstream};
use crate::policy::overload::about;

/// The longest deadline that is told. Services in JavaScript take a longer one, which their timers do not hold, for one that is
/// over; and nobody waits so long.
const TOLD: Duration = Duration::from_secs(24 * 24 * 3600);

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
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` holds what it is given twice: 192 bytes of every call that waits"
    )]
    pub fn unary(
        &self,
        pool: &Pool,
        mut outgoing: Outgoing<'_>,
        message: Bytes,
    ) -> impl Future<Output = Result<Unary, Failure>> + Send {
        async move {
            let permit = self.permit(&outgoing)?;
            let (mut answered, _) = match self.replay::<Unary>(pool, &mut outgoing, &message).await {
                Ok(answered) => answered,
                Err(failure) => return Err(permit.failed(failure)),
            };
            answered.attempt.answered();
            if answered.alone {
                permit.served();
            }
            Ok(answered.reply)
        }
    }

    /// A stream there, made of gRPC frames, and one message back.
    pub async fn client_stream<B>(&self, pool: &Pool, mut outgoing: Outgoing<'_>, body: B) -> Result<Unary, Failure>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let _permit = self.permit(&outgoing)?.of_stream();
        let sent = Sent::of(&outgoing);
        let mut sending = Sending::new(pool, &mut outgoing);
        let mut pump = Pump::new(body, sent.clone());
        loop {
            let (mut attempt, mut exchange) = self.begin(&mut sending).await?;
            let send = |cx: &mut Context<'_>, exchange: &mut Exchange| pump.poll(cx, exchange);
            let limit = self.config.limits.receive;
            match reply::unary(attempt.endpoint(), &mut exchange, send, &mut sending.timer, limit).await {
                Ok(reply) => {
                    attempt.ended(Some(Code::Ok));
                    return Ok(reply);
                }
                Err(failure) => {
                    if !pump.is_whole() {
                        attempt.excuse();
                    }
                    let failure = failure.weigh(|| sent.as_ref().is_none_or(|sent| sent.is_well()));
                    // What was read from the client is gone: only an untouched body can be sent again.
                    sending.tries.failed(attempt, failure, pump.untouched())?;
                }
            }
        }
    }

    /// One message there, a stream back. `message` has its 5-byte prefix; all of it is at hand, so it can be sent again.
    pub async fn server_stream(
        &self,
        pool: &Pool,
        outgoing: Outgoing<'_>,
        message: Bytes,
    ) -> Result<Streaming, Failure> {
        if outgoing.single {
            self.replayed::<First>(pool, outgoing, message).await
        } else {
            self.replayed::<Head>(pool, outgoing, message).await
        }
    }

    /// The same, once so much of the reply has come.
    async fn replayed<R>(&self, pool: &Pool, mut outgoing: Outgoing<'_>, message: Bytes) -> Result<Streaming, Failure>
    where
        R: Awaited + Into<First>,
    {
        let mut permit = self.permit_unread(&outgoing)?;
        let (deadline, patient) = (outgoing.deadline, outgoing.patient);
        let (answered, timer) = match self.replay::<R>(pool, &mut outgoing, &message).await {
            Ok(answered) => answered,
            Err(failure) => return Err(permit.failed(failure)),
        };
        let Answered { reply, mut attempt, exchange, alone } = answered;
        if outgoing.single {
            attempt.spoke(None);
            permit = permit.spoke(None, alone);
        }
        // Once it answers, the time of a try is the call's.
        let timer = if outgoing.deadline == deadline {
            timer
        } else {
            (outgoing.deadline, outgoing.patient) = (deadline, patient);
            attempt.lasts(patient);
            outgoing.timer(pool)
        };
        let sent = Sent::of(&outgoing).inspect(|sent| sent.came(&message));
        Ok(streaming(reply.into(), ReplyBody::new(exchange, timer, (attempt, sent), permit)))
    }

    /// Streams both ways; `body` is made of gRPC frames. The reply's head is awaited, while the request is being sent; of a single
    /// call its first message as well.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` holds what it is given twice, for as long as the call waits"
    )]
    pub fn stream<B>(
        &self,
        pool: &Pool,
        mut outgoing: Outgoing<'_>,
        body: B,
    ) -> impl Future<Output = Result<Streaming, Failure>> + Send
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        async move {
            let (mut permit, single) = (self.permit_unread(&outgoing)?, outgoing.single);
            let rule = outgoing.retry.filter(|_| single);
            let sent = Sent::of(&outgoing);
            let mut sending = Sending::new(pool, &mut outgoing);
            let mut pump = Pump::new(body, sent.clone()).keeping(single);
            let (attempt, mut exchange, first) = loop {
                let failure = match self.pumped(&mut sending, &mut pump, (sent.as_deref(), &mut permit)).await {
                    Ok(answered) => break answered,
                    Err(failure) => failure,
                };
                match rule.filter(|_| pump.rewind()) {
                    Some(rule) => Box::pin(self.again(&mut sending, rule, failure)).await?,
                    None => return Err(failure),
                }
            };
            if single {
                if pump.is_whole() {
                    attempt.spoke(pump.since());
                }
                permit = permit.spoke(pump.since(), pump.is_whole() && sending.tries.made == 0);
            }
            let rest = (!matches!(first.head, Head::Ended(_))).then(|| rest(&mut exchange, pump)).flatten();
            let body = ReplyBody::new(exchange, sending.timer, (attempt, sent), permit).sending(rest);
            Ok(streaming(first, body))
        }
    }

    /// One try of that: at the next endpoint, and on to others while nobody can have seen it.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` holds what it is given twice, for as long as the call waits"
    )]
    fn pumped<B>(
        &self,
        sending: &mut Sending<'_, '_>,
        pump: &mut Pump<B>,
        (sent, permit): (Option<&Sent>, &mut Permit),
    ) -> impl Future<Output = Result<(Attempt, Exchange, First), Failure>> + Send
    where
        B: Body<Data = Bytes> + Send + Unpin,
    {
        async move {
            let single = sending.outgoing.single;
            loop {
                let (mut attempt, mut exchange) = self.begin(sending).await?;
                let send = |cx: &mut Context<'_>, exchange: &mut Exchange| {
                    let polled = pump.poll(cx, exchange);
                    if pump.untouched() {
                        attempt.waits();
                    }
                    // A place for a call is taken once there is one: until then its client may let it wait.
                    permit.streams(!single || !pump.is_whole());
                    polled
                };
                let came = match single {
                    true => first(&mut exchange, send, &mut sending.timer).await,
                    false => reply::head(&mut exchange, send, &mut sending.timer).await.map(First::from),
                };
                let failure = match came {
                    Ok(first) => return Ok((attempt, exchange, first)),
                    Err(failure) => failure.weigh(|| sent.is_none_or(Sent::is_well)),
                };
                if !pump.is_whole() {
                    attempt.excuse();
                }
                // What was read from the client is gone, but for the little that is kept of a single call.
                sending.tries.failed(attempt, permit.failed(failure), pump.rewind())?;
            }
        }
    }

    /// A stream to the next endpoint that takes one, with the request's head sent.
    pub(super) async fn begin(&self, sending: &mut Sending<'_, '_>) -> Result<(Attempt, Exchange), Failure> {
        loop {
            let (lease, probe) = self.acquire(sending).await?;
            let Sending { pool, outgoing, tries, .. } = &mut *sending;
            if let Some(rule) = outgoing.retry.filter(|_| !tries.counted) {
                tries.counted = true;
                rule.deposit(pool.of());
            }
            let now = Instant::now();
            let mut attempt = Attempt::begin(lease.connection(), probe, (outgoing.patient, !tries.due), now);
            tries.begun += 1;
            attempt.is_of(self, outgoing, tries.begun);
            let told = if tries.goes_on { tries.deadline } else { outgoing.deadline };
            match outgoing.open(lease, now, told) {
                Ok(exchange) => return Ok((attempt, exchange)),
                Err(failure) => tries.failed(attempt, failure, true)?,
            }
        }
    }
}

/// A reply that is not being read must not stop the request, so what is left of it gets a task of its own. A request that
/// has been sent by now needs none.
fn rest<B>(exchange: &mut Exchange, pump: Pump<B>) -> Option<AbortHandle>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let mut sending = exchange.split()?;
    let mut pump = pump.settled();
    let task = async move {
        // A client that breaks off leaves the stream to the reaper, which resets it.
        drop(poll_fn(|cx| pump.poll(cx, &mut sending)).await);
    };
    Some(tokio::spawn(task).abort_handle())
}

fn streaming(first: First, body: ReplyBody) -> Streaming {
    let endpoint = Arc::clone(body.endpoint());
    let body = body.with(first.next);
    match first.head {
        Head::Ended(mut headers) => {
            headers.remove(CONTENT_TYPE);
            Streaming { endpoint, headers: HeaderMap::new(), body: body.ended(headers) }
        }
        Head::Open(headers) => Streaming { endpoint, headers, body: body.opened() },
        Head::Said(headers) => Streaming { endpoint, headers, body: body.opened().said() },
    }
}

impl Outgoing<'_> {
    /// A timer of its deadline, or of the age that it may have as a stream.
    pub(super) fn timer(&self, pool: &Pool) -> Timer {
        let until = self.max_age.map(|age| Instant::now() + about(*age));
        match until.filter(|until| *until < self.deadline) {
            Some(until) => pool.timer(until).of_age(),
            None => pool.timer(self.deadline),
        }
    }

    /// Sends the head: what is asked for is awaited until then.
    pub(super) fn open(&self, lease: Lease, now: Instant, until: Instant) -> Result<Exchange, Failure> {
        let Some(left) = until.checked_duration_since(now) else { return Err(Failure::deadline()) };
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.head(grpc_timeout(left), lease.connection().opened() == 0);
        let limit = lease.connection().most_head;
        if self.headers.may_exceed(limit, self.uri) && size(&request) > limit {
            let cause = "a head that is larger than the service takes";
            return Err(Failure::new(Seen::Local, FailureKind::HeadTooLarge { limit }, cause));
        }
        Exchange::open(lease, request).map_err(|unopened| match unopened {
            Unopened::Draining => Failure::new(Seen::NotSeen, FailureKind::Refused, "the connection goes away"),
            Unopened::Malformed(error) => Failure::new(Seen::Local, FailureKind::Malformed, error.to_string()),
        })
    }
}

/// Bytes of a request's head as HTTP/2 counts them (RFC 9113 §6.5.2): 32 for each field beside what it says.
fn size(request: &Request<()>) -> usize {
    let uri = request.uri();
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
    // `:method` POST, `:scheme` http, `:authority` and `:path`.
    fields.sum::<usize>() + 2 * 43 + (42 + authority) + (37 + uri.path().len())
}

/// What is left, rounded up to milliseconds: a call's usual timeout then stays one entry of HPACK's table. None of what
/// ends later than anybody waits.
fn grpc_timeout(left: Duration) -> Option<HeaderValue> {
    if left > TOLD {
        return None;
    }
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    let text = timeout::format(Duration::from_millis(millis));
    HeaderValue::from_bytes(text.as_bytes()).ok()
}
