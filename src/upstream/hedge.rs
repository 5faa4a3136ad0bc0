//! Hedge: a second try beside a first one that takes its time. The first answer wins, the other try is cancelled at once. A second
//! one that fails is followed by a third, as long as the first is under way and the rule has tries left (gRFC A6).
//!
//! It is for calls without side effects alone, since both may be executed; and each second try is taken from the
//! retries' budget, so that a service that is slow for its load does not get twice of it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::policy::overload::chance;

use super::Upstream;
use super::attempt::Attempt;
use super::failure::Failure;
use super::pick::{Sending, Tries};
use super::replay::{Answered, Awaited};
use super::retry::Retry;

/// How a call and the one beside it end.
enum Race<A, B> {
    First(A),
    /// With what the first has failed by, if it has.
    Second(B, Option<Failure>),
    /// The first has failed, and nothing better is to come.
    Lost(Failure),
    /// The second has failed, and the first is under way.
    Behind(Failure),
    /// What the second was answered is final; with what the first has failed by.
    Final(Failure, Option<Failure>),
}

impl Upstream {
    /// As [`Upstream::once`], and from `delay` on with a second try at another endpoint.
    pub(super) async fn hedged<R: Awaited>(
        &self,
        sending: &mut Sending<'_, '_>,
        message: &Bytes,
        (rule, delay): (&Retry, Duration),
    ) -> Result<Answered<R>, Failure> {
        let mut patience = sending.pool.timer(Instant::now() + delay);
        loop {
            let (attempt, mut exchange) = self.begin(sending).await?;
            exchange.send_whole(message.clone());
            let (endpoint, limit) = (Arc::clone(attempt.endpoint()), self.config.limits.receive);
            let Sending { pool, outgoing, tries, timer } = &mut *sending;
            let mut beside = Sending { timer: outgoing.timer(pool), pool, outgoing, tries: tries.beside(&attempt) };
            let race = {
                let mut first = pin!(R::read(&endpoint, &mut exchange, timer, limit));
                let waited = poll_fn(|cx| match first.as_mut().poll(cx) {
                    Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                    Poll::Pending => patience.poll(cx).map(|()| None),
                });
                match waited.await {
                    Some(outcome) => outcome.map_or_else(Race::Lost, Race::First),
                    None => loop {
                        if !self.may_hedge(rule, tries, &beside) {
                            break first.await.map_or_else(Race::Lost, Race::First);
                        }
                        tries.made += 1;
                        tracing::debug!(first = %endpoint, ?delay, "upstream hedge");
                        beside.begins(rule);
                        let second = self.once::<R>(&mut beside, message);
                        let failure = match race(rule, first.as_mut(), pin!(second)).await {
                            Race::Behind(failure) => failure,
                            ended => break ended,
                        };
                        let pause = rule.pause(&failure, usize::from(tries.made) + 1, chance());
                        let again = pause.map_or(tries.deadline, |pause| Instant::now() + pause);
                        if let Some(outcome) = pool.within(again, first.as_mut()).await {
                            break outcome.map_or_else(Race::Lost, Race::First);
                        }
                    },
                }
            };
            let weigh = |failure| beside.outgoing.weigh(failure, message);
            match race {
                Race::First(reply) => return Ok(Answered { reply, attempt, exchange, alone: tries.made == 0 }),
                Race::Second(answered, lost) => {
                    beaten(attempt, lost.map(weigh), exchange.is_unheard());
                    *timer = beside.timer;
                    return Ok(Answered { alone: false, ..answered });
                }
                Race::Final(failure, lost) => {
                    beaten(attempt, lost.map(weigh), exchange.is_unheard());
                    return Err(failure);
                }
                Race::Lost(failure) | Race::Behind(failure) => {
                    tries.learn(&beside.tries);
                    tries.failed(attempt, weigh(failure), true)?;
                }
            }
        }
    }

    /// There is somewhere to go, and it would not be a try too many.
    fn may_hedge(&self, rule: &Retry, tries: &Tries, beside: &Sending<'_, '_>) -> bool {
        rule.allows(tries.made + 2)
            && self.roster.has_another(beside.tries.endpoints(), tries.aim())
            && rule.withdraw(beside.pool.of())
    }
}

/// The first try has lost: its endpoint is judged by how it failed, or by having been overtaken, `unheard` or in the middle of its
/// answer.
fn beaten(mut attempt: Attempt, lost: Option<Failure>, unheard: bool) {
    match lost {
        Some(failure) => drop(attempt.failed(failure)),
        None => attempt.overtaken(unheard),
    }
}

/// The first that is answered, be it by a status that no other try would change; or the second has failed.
async fn race<A, B>(
    rule: &Retry,
    mut first: impl Future<Output = Result<A, Failure>> + Unpin,
    mut second: impl Future<Output = Result<B, Failure>> + Unpin,
) -> Race<A, B> {
    let mut lost = None;
    poll_fn(|cx| {
        if lost.is_none()
            && let Poll::Ready(outcome) = Pin::new(&mut first).poll(cx)
        {
            match outcome {
                Ok(reply) => return Poll::Ready(Race::First(reply)),
                Err(failure) if rule.is_final(&failure) => return Poll::Ready(Race::Lost(failure)),
                Err(failure) => lost = Some(failure),
            }
        }
        Pin::new(&mut second).poll(cx).map(|outcome| match (outcome, lost.take()) {
            (Ok(answered), lost) => Race::Second(answered, lost),
            (Err(failure), lost) if rule.is_final(&failure) => Race::Final(failure, lost),
            (Err(_), Some(lost)) => Race::Lost(lost),
            (Err(failure), None) => Race::Behind(failure),
        })
    })
    .await
}
