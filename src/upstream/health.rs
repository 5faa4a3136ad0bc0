//! Health: whether an endpoint answers, asked beside the calls.
//!
//! With `health_check` it is asked by `grpc.health.v1` over a connection of its own; without, it is healthy if it can
//! be connected to. An endpoint that is down is asked again and again, ever more slowly, until it answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Uri;
use prost::Message;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;
use transom_transcode::frame::{PREFIX, seal};
use transom_transcode::status::Code;

use crate::config::HealthCheck;
use crate::policy::overload::chance;

use super::Outgoing;
use super::connection;
use super::endpoint::{Endpoint, Health};
use super::failure::{Failure, FailureKind, Seen};
use super::group::Group;
use super::pool::{Acquired, Pool};
use super::reply;
use super::waiting::queued;

/// The most that a health reply is read of.
const REPLY: usize = 64 * 1024;

/// Turns of endpoints that are new, over all upstreams: what a start or a reload brings comes at once, each is a handshake, and all
/// are the control thread's, which checks the others meanwhile.
static NEW: Semaphore = Semaphore::const_new(64);

/// What an endpoint that has just come waits for before its first look: however many others have, only some are asked at a time.
pub(super) async fn newcomers_turn() -> Option<SemaphorePermit<'static>> {
    NEW.acquire().await.ok()
}

/// Checks that were missed by an endpoint that was never found well: it has no credit.
pub(super) const UNTRIED: usize = usize::MAX;

impl Group {
    /// Looks after one endpoint until it is retired.
    pub(super) async fn tend(self: Arc<Self>, endpoint: Arc<Endpoint>, pool: Arc<Pool>) {
        let (mut backoff, mut missed) = (Backoff::new(), UNTRIED);
        let mut rule = self.health.subscribe();
        let mut turn = newcomers_turn().await;
        loop {
            let check = rule.borrow_and_update().clone();
            endpoint.forget_falls();
            let answers = self.look(check.as_ref(), &endpoint, &pool, &mut missed).await;
            drop(turn.take());
            let pause = match (&check, answers) {
                (_, false) => backoff.next(Instant::now()),
                (Some(check), true) => jitter(check.interval),
                (None, true) => Duration::MAX,
            };
            tokio::select! {
                () = endpoint.retired() => return,
                () = sleep(pause) => {}
                _ = rule.changed() => {}
                // A fall that this look has noted itself has had its pause.
                () = endpoint.fell(), if answers => sleep(backoff.next(Instant::now())).await,
            }
        }
    }

    /// Asks once, and notes the answer, or how many were `missed` in a row. True if it answered at all.
    pub(super) async fn look(
        &self,
        check: Option<&HealthCheck>,
        endpoint: &Arc<Endpoint>,
        pool: &Pool,
        missed: &mut usize,
    ) -> bool {
        let Some(check) = check else { return self.reached(endpoint, &connection::probe(endpoint).await) };
        let outcome = self.check(check, endpoint, pool).await;
        let said = match &outcome {
            Ok(serving) => Some(if *serving { Health::Serves } else { Health::Ill }),
            Err(failure) => said(failure),
        };
        if let Err(failure) = &outcome
            && said != Some(Health::Serves)
        {
            tracing::debug!(upstream = %self.name, endpoint = %endpoint.label, %failure, "health check failed");
            endpoint.note(failure);
        } else if said == Some(Health::Ill) {
            endpoint.note(&"it says that it does not serve");
        }
        // What our own pool refuses says nothing of the endpoint.
        let Some(health) = said else { return false };
        let healthy = health == Health::Serves;
        *missed = if healthy { 0 } else { missed.saturating_add(1) };
        // One that was healthy has not become ill by one check that was lost; what it says itself is believed.
        if healthy || outcome.is_ok() || *missed >= check.unhealthy_after {
            // In this order: an endpoint that comes back gets calls once its check has passed.
            self.roster.set_health(endpoint, health);
        }
        if healthy {
            self.roster.set_down(endpoint, false);
        }
        healthy
    }

    /// Notes whether it could be connected to. What the process itself lacks for that says nothing of it.
    pub(super) fn reached(&self, endpoint: &Endpoint, reached: &Result<(), Failure>) -> bool {
        match reached {
            Ok(()) => self.roster.set_down(endpoint, false),
            Err(failure) if failure.is_ours() => {}
            Err(failure) => {
                endpoint.note(failure);
                self.roster.set_down(endpoint, true);
            }
        }
        reached.is_ok()
    }

    /// `grpc.health.v1.Health/Check`; true if it serves.
    async fn check(&self, check: &HealthCheck, endpoint: &Arc<Endpoint>, pool: &Pool) -> Result<bool, Failure> {
        let deadline = Instant::now() + check.timeout;
        let mut timer = pool.timer(deadline);
        let lease = match pool.acquire(endpoint, &self.roster, true) {
            Acquired::Lease(lease) => lease,
            Acquired::Queued(wait, place) => queued(wait, place, &mut timer).await?,
            Acquired::Full => return Err(Failure::new(Seen::Local, FailureKind::Overloaded, "checks pile up")),
        };
        let uri = Uri::from_static("http://health/grpc.health.v1.Health/Check");
        let outgoing = Outgoing::own(&uri, deadline);
        let mut exchange = outgoing.open(lease, Instant::now(), deadline)?;
        exchange.send_whole(framed(&HealthCheckRequest { service: check.service.clone() }));
        let reply =
            reply::unary(&endpoint.label, &mut exchange, |_, _| std::task::Poll::Pending, &mut timer, REPLY).await?;
        let reply = HealthCheckResponse::decode(reply.message)
            .map_err(|_| Failure::protocol("the health reply is no HealthCheckResponse"))?;
        Ok(reply.status == SERVING)
    }
}

/// What a check that failed says; none: it was not made.
fn said(failure: &Failure) -> Option<Health> {
    match &failure.kind {
        FailureKind::Overloaded => None,
        // It has no such service: that it answers must do, if it answers gRPC.
        FailureKind::Status(answer) if answer.http.is_none() && answer.status.code == Code::Unimplemented => {
            Some(Health::Serves)
        }
        FailureKind::Deadline => Some(Health::Silent),
        _ => Some(Health::Ill),
    }
}

/// `grpc.health.v1.HealthCheckRequest`
#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

fn framed(message: &impl Message) -> Bytes {
    let mut framed = vec![0; PREFIX];
    framed.extend(message.encode_to_vec());
    seal(&mut framed);
    framed.into()
}

/// How long to leave a failing endpoint alone.
struct Backoff {
    next: Duration,
    last: Option<Instant>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    /// So soon after an endpoint is back it is known. What asking costs until then is a connection that is refused.
    const LONGEST: Duration = Duration::from_secs(1);

    fn new() -> Self {
        Self { next: Self::FIRST, last: None }
    }

    /// A failure at `now`. One after a long time without is a first one.
    fn next(&mut self, now: Instant) -> Duration {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) > 3 * Self::LONGEST) {
            self.next = Self::FIRST;
        }
        self.last = Some(now);
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        jitter(pause)
    }
}

/// `around` less up to a quarter of it, so that gateways do not come all at once.
fn jitter(around: Duration) -> Duration {
    around - around / 4 * chance() / 1024
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Backoff, Failure, FailureKind, Health, Seen, jitter, said};

    #[test]
    fn a_check_that_was_not_made_says_nothing() {
        let said = |kind| said(&Failure::new(Seen::Local, kind, ""));
        assert_eq!(said(FailureKind::Overloaded), None, "our own pool refused it");
        assert_eq!(said(FailureKind::Deadline), Some(Health::Silent));
        assert_eq!(said(FailureKind::ConnectFailed), Some(Health::Ill));
        assert_eq!(said(FailureKind::Protocol), Some(Health::Ill));
    }

    #[test]
    fn a_failing_endpoint_is_asked_ever_more_slowly_and_a_recovered_one_at_once() {
        let mut backoff = Backoff::new();
        let start = Instant::now();
        let pauses: Vec<_> = (0..10).map(|_| backoff.next(start)).collect();
        assert!(pauses[0] <= Backoff::FIRST && pauses[0] >= Backoff::FIRST * 3 / 4);
        assert!(pauses[9] <= Backoff::LONGEST && pauses[9] >= Backoff::LONGEST * 3 / 4);
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(1)), "it is back within a second: {pauses:?}");
        assert!(backoff.next(start + Duration::from_secs(60)) <= Backoff::FIRST);
    }

    #[test]
    fn jitter_spreads() {
        let drawn: std::collections::BTreeSet<_> = (0..100).map(|_| jitter(Duration::from_secs(1))).collect();
        assert!(drawn.len() > 10);
        assert!(drawn.iter().all(|pause| (750..=1000).contains(&pause.as_millis())));
    }
}
