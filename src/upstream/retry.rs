//! Retry: whether a call that failed is sent again, when, and how many may be.
//!
//! What cannot have been seen goes to another endpoint at once, which is no retry. A retry is a further try after a
//! pause: of a call that no endpoint has seen, or of one that may safely be made twice and failed in a way that the rule
//! names.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use prost::Message;
use tower::retry::budget::{Budget as _, TpsBudget};
use transom_transcode::schema::Idempotency;
use transom_transcode::status::{Code, Detail};

use super::failure::{Answer, Failure, FailureKind, Seen};
use crate::config;

/// So many times the longest pause a service may wish for: a call that waits holds its places, and its client sees nothing.
const PATIENCE: u32 = 10;

/// What a method's calls go by.
#[derive(Debug, Clone)]
pub struct Retry {
    rule: config::Retry,
    repeats: Idempotency,
    budget: Arc<Budget>,
}

impl Retry {
    /// None where a call is tried once.
    pub(super) fn new(rule: &config::Retry, repeats: Idempotency, budget: Arc<Budget>) -> Option<Self> {
        (rule.attempts > 1).then(|| Self { rule: rule.clone(), repeats, budget })
    }

    /// Calls that may be made twice are kept until they have succeeded.
    pub fn replays(&self) -> bool {
        self.repeats != Idempotency::Unknown
    }

    /// When a second try begins beside the first one; both may be executed.
    pub(super) fn hedge(&self) -> Option<Duration> {
        self.rule.hedge.filter(|_| self.repeats == Idempotency::NoSideEffects)
    }

    /// So many tries may be made.
    pub(super) fn allows(&self, tries: u16) -> bool {
        usize::from(tries) <= self.rule.attempts
    }

    /// A service's answer that no further try would change.
    pub(super) fn is_final(&self, failure: &Failure) -> bool {
        failure.code().is_some_and(|code| !self.names(code))
    }

    fn names(&self, code: Code) -> bool {
        self.rule.on.iter().any(|on| on.code() == code)
    }

    /// A call goes to an endpoint, from this worker of so many. Those that find none are no load of which there could be more.
    pub(super) fn deposit(&self, worker: (usize, usize)) {
        self.budget.of(worker).deposit();
    }

    /// One more try may be made.
    pub(super) fn withdraw(&self, worker: (usize, usize)) -> bool {
        self.budget.of(worker).withdraw()
    }

    /// How long a call waits at most for what a probe comes to: as long as its pauses may be.
    pub(super) fn patience(&self) -> Duration {
        (1..self.rule.attempts).map(|made| self.longest(made)).sum()
    }

    /// How long one try may take.
    pub(super) fn per_try(&self) -> Option<Duration> {
        self.rule.per_try_timeout
    }

    /// The pause before the next try after this failure, the `made`th; none: that was the last. `random` is of 1024.
    pub(super) fn pause(&self, failure: &Failure, made: usize, random: u32) -> Option<Duration> {
        if made >= self.rule.attempts {
            return None;
        }
        let code = match (&failure.kind, failure.seen) {
            (FailureKind::ConnectFailed | FailureKind::Refused, Seen::NotSeen) => None,
            (FailureKind::Status(answer), _) => Some(answer.status.code),
            (FailureKind::Reset | FailureKind::Cancelled { .. }, _) => Some(Code::Unavailable),
            // The call's own deadline is over for good; this is a single try's.
            (FailureKind::Deadline, Seen::Seen) => None,
            _ => return None,
        };
        let named = code.is_none_or(|code| self.names(code));
        if !named || failure.seen != Seen::NotSeen && !self.replays() {
            return None;
        }
        let pause = self.backoff(made, random);
        match &failure.kind {
            FailureKind::Status(answer) => wish(answer).pause(pause, self.rule.max_backoff.saturating_mul(PATIENCE)),
            _ => Some(pause),
        }
    }

    /// Twice as long each time, of which chance takes any part: calls that failed together do not come back together.
    fn backoff(&self, made: usize, random: u32) -> Duration {
        let whole = self.longest(made);
        whole - whole * (random % 1024) / 1024
    }

    fn longest(&self, made: usize) -> Duration {
        let doublings = u32::try_from(made.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        self.rule.backoff.saturating_mul(1 << doublings).min(self.rule.max_backoff)
    }
}

impl config::RetryOn {
    fn code(self) -> Code {
        match self {
            Self::Unavailable => Code::Unavailable,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Internal => Code::Internal,
            Self::Aborted => Code::Aborted,
            Self::ResourceExhausted => Code::ResourceExhausted,
            Self::Unknown => Code::Unknown,
        }
    }
}

/// What a service says of retries beside its status.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Nothing,
    Never,
    /// Then, whatever the rule says.
    After(Duration),
    /// Not before; and not all at once.
    NotBefore(Duration),
}

impl Wish {
    /// The pause that it makes of the rule's; none: who asks for more than the `most` asks for no retry from here.
    fn pause(self, backoff: Duration, most: Duration) -> Option<Duration> {
        match self {
            Self::Nothing => Some(backoff),
            Self::After(wish) | Self::NotBefore(wish) if wish > most => None,
            Self::Never => None,
            Self::After(pause) => Some(pause),
            Self::NotBefore(pause) => Some(pause.saturating_add(backoff)),
        }
    }
}

/// `grpc-retry-pushback-ms` before `google.rpc.RetryInfo` before `Retry-After`.
fn wish(answer: &Answer) -> Wish {
    let of = |headers: &HeaderMap, name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("").to_owned());
    let said = |name: &str| of(&answer.trailers, name).or_else(|| of(&answer.headers, name));
    if let Some(pushback) = said("grpc-retry-pushback-ms") {
        // What is no number is a service's way to say no, as gRPC has it.
        return pushback.parse().map_or(Wish::Never, |millis| Wish::After(Duration::from_millis(millis)));
    }
    if let Some(delay) = answer.status.details.iter().find_map(retry_info) {
        return Wish::NotBefore(delay);
    }
    match said(RETRY_AFTER.as_str()).and_then(|seconds| seconds.trim().parse().ok()) {
        Some(seconds) => Wish::NotBefore(Duration::from_secs(seconds)),
        None => Wish::Nothing,
    }
}

/// The delay of a `google.rpc.RetryInfo`.
fn retry_info(detail: &Detail) -> Option<Duration> {
    if detail.type_url.rsplit('/').next() != Some("google.rpc.RetryInfo") {
        return None;
    }
    let delay = RetryInfo::decode(&*detail.value).ok()?.delay?;
    Some(Duration::new(
        u64::try_from(delay.seconds).ok()?,
        u32::try_from(delay.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?,
    ))
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<prost_types::Duration>,
}

/// How many calls may be retries, so that retries do not become the load that keeps a service down.
///
/// Each worker has its part, by its own calls.
pub(super) struct Budget {
    share: config::Percent,
    parts: [OnceLock<TpsBudget>; Self::PARTS],
}

impl Budget {
    /// What is remembered of calls.
    const MEMORY: Duration = Duration::from_secs(10);
    /// Retries a second that are always allowed, over all workers: what is under way where an endpoint dies is more than a share
    /// of the calls if those have only just begun.
    const FLOOR: usize = 10;
    const PARTS: usize = 16;

    pub(super) fn new(share: config::Percent) -> Self {
        Self { share, parts: [const { OnceLock::new() }; Self::PARTS] }
    }

    fn of(&self, (worker, workers): (usize, usize)) -> &TpsBudget {
        self.parts[worker % Self::PARTS].get_or_init(|| {
            let floor = Self::FLOOR.div_ceil(workers.clamp(1, Self::PARTS));
            TpsBudget::new(Self::MEMORY, u32::try_from(floor).unwrap_or(1), self.share.fraction())
        })
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Budget")
    }
}

#[cfg(test)]
mod tests;
