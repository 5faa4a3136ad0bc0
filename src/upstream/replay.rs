//! Replay: the loop around the tries of a request that is all at hand, so that it can be sent again.
//!
//! A try that nobody can have seen moves on to the next endpoint at once. What failed otherwise is the rule's to decide:
//! without one, the first failure is the call's.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::policy::overload::chance;

use super::attempt::Attempt;
use super::exchange::Exchange;
use super::failure::{Failure, FailureKind, Seen};
use super::first::{First, first};
use super::pick::Sending;
use super::pool::Pool;
use super::reply::{self, Head, Unary};
use super::retry::Retry;
use super::wheel::Timer;
use super::{Outgoing, Upstream};

/// As much of a reply as is awaited: once it is there, the call is not sent again.
pub(super) trait Awaited: Sized {
    /// More comes after it: the service has the time of the call for that, and not of a try.
    const GOES_ON: bool;
    /// Nobody but the service is to be waited for until it is there.
    const DUE: bool;

    /// Reads that much of the reply of `endpoint`.
    fn read(
        endpoint: &Arc<str>,
        exchange: &mut Exchange,
        timer: &mut Timer,
        limit: usize,
    ) -> impl Future<Output = Result<Self, Failure>> + Send;
}

impl Awaited for Unary {
    const GOES_ON: bool = false;
    const DUE: bool = true;

    fn read(
        endpoint: &Arc<str>,
        exchange: &mut Exchange,
        timer: &mut Timer,
        limit: usize,
    ) -> impl Future<Output = Result<Self, Failure>> + Send {
        reply::unary(endpoint, exchange, nothing, timer, limit)
    }
}

impl Awaited for Head {
    const GOES_ON: bool = true;
    const DUE: bool = false;

    fn read(
        _: &Arc<str>,
        exchange: &mut Exchange,
        timer: &mut Timer,
        _: usize,
    ) -> impl Future<Output = Result<Self, Failure>> + Send {
        reply::head(exchange, nothing, timer)
    }
}

impl Awaited for First {
    const GOES_ON: bool = true;
    const DUE: bool = true;

    async fn read(_: &Arc<str>, exchange: &mut Exchange, timer: &mut Timer, _: usize) -> Result<Self, Failure> {
        first(exchange, nothing, timer).await?.accepted()
    }
}

/// All of the request is sent already.
fn nothing(_: &mut Context<'_>, _: &mut Exchange) -> Poll<Result<(), Failure>> {
    Poll::Pending
}

/// A try that was answered.
pub(super) struct Answered<R> {
    pub(super) reply: R,
    pub(super) attempt: Attempt,
    pub(super) exchange: Exchange,
    /// No other try was made before it or beside it: it took as long as calls take.
    pub(super) alone: bool,
}

impl Upstream {
    /// Sends `message`, in its frame, until that is answered or a failure is final; with the deadline of the try that was
    /// answered, which may be before the call's.
    pub(super) async fn replay<R: Awaited>(
        &self,
        pool: &Pool,
        outgoing: &mut Outgoing<'_>,
        message: &Bytes,
    ) -> Result<(Answered<R>, Timer), Failure> {
        let mut sending = Sending::new(pool, outgoing);
        (sending.tries.goes_on, sending.tries.due) = (R::GOES_ON, R::DUE);
        let rule = sending.outgoing.retry;
        if let Some(rule) = rule {
            sending.begins(rule);
        }
        loop {
            let hedge = rule.and_then(|rule| Some((rule, rule.hedge()?)));
            // Matched where it comes: in a variable it would lie in the future of every call that waits.
            let failure = match match hedge {
                None => self.once(&mut sending, message).await,
                Some(hedge) => Box::pin(self.hedged(&mut sending, message, hedge)).await,
            } {
                Ok(answered) => return Ok((answered, sending.timer)),
                Err(failure) => failure,
            };
            match rule {
                None => return Err(failure),
                Some(rule) => {
                    Box::pin(self.again(&mut sending, rule, failure)).await?;
                    sending.begins(rule);
                }
            }
        }
    }

    /// Waits until the call may be tried again, anywhere; or the failure is final.
    pub(super) async fn again(
        &self,
        sending: &mut Sending<'_, '_>,
        rule: &Retry,
        failure: Failure,
    ) -> Result<(), Failure> {
        let Sending { pool, tries, .. } = &mut *sending;
        match failure.kind {
            FailureKind::CircuitOpen { .. } if !tries.waited && self.roster.is_proving(tries.aim()) => {
                tries.waited = true;
                let until = tries.deadline.min(Instant::now() + rule.patience());
                // Whatever it comes to: the next try finds out.
                pool.within(until, self.roster.proven(tries.aim())).await;
            }
            _ => sending.pause(rule, failure).await?,
        }
        sending.tries.start_over();
        Ok(())
    }

    /// One try: at the next endpoint, and on to others while nobody can have seen it.
    pub(super) async fn once<R: Awaited>(
        &self,
        sending: &mut Sending<'_, '_>,
        message: &Bytes,
    ) -> Result<Answered<R>, Failure> {
        loop {
            let (attempt, mut exchange) = self.begin(sending).await?;
            exchange.send_whole(message.clone());
            match R::read(attempt.endpoint(), &mut exchange, &mut sending.timer, self.config.limits.receive).await {
                Ok(reply) => return Ok(Answered { reply, attempt, exchange, alone: sending.tries.made == 0 }),
                Err(failure) => {
                    let failure = sending.outgoing.weigh(failure, message);
                    sending.tries.failed(attempt, failure, true)?;
                }
            }
        }
    }
}

impl Sending<'_, '_> {
    /// Waits until the call may be tried again; or the failure is final.
    async fn pause(&mut self, rule: &Retry, mut failure: Failure) -> Result<(), Failure> {
        let (tries, now) = (&mut self.tries, Instant::now());
        if matches!(failure.kind, FailureKind::Deadline) && now < tries.deadline {
            // It was the time of one try that has passed.
            failure.seen = Seen::Seen;
        }
        tries.remember(&mut failure);
        tries.made += 1;
        let Some(pause) = rule.pause(&failure, tries.made.into(), chance()) else { return Err(failure) };
        let most = self.outgoing.max_age.copied().unwrap_or(Duration::MAX);
        let left = tries.deadline.saturating_duration_since(now).min(most);
        if left <= pause || tries.burdens(&failure) && !rule.withdraw(self.pool.of()) {
            return Err(failure);
        }
        tracing::debug!(%failure, made = tries.made, ?pause, "upstream retry");
        let mut timer = self.pool.timer(now + pause);
        poll_fn(|cx| timer.poll(cx)).await;
        if !self.pool.is_stopped() {
            return Ok(());
        }
        let mut failure = timer.failure();
        self.tries.remember(&mut failure);
        Err(failure)
    }

    /// A try by this rule begins, which may have a deadline of its own.
    pub(super) fn begins(&mut self, rule: &Retry) {
        (self.outgoing.deadline, self.outgoing.patient) = (self.tries.deadline, self.tries.patient);
        let ends = rule.per_try().map(|time| Instant::now() + time);
        if let Some(ends) = ends.filter(|ends| *ends < self.outgoing.deadline) {
            (self.outgoing.deadline, self.outgoing.patient) = (ends, true);
        }
        self.timer = self.outgoing.timer(self.pool);
    }
}
