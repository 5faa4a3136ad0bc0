//! Rate limits: how often who may come. A method has several; those that are known at one stage of a call are taken
//! together, all or none, and the tightest is the one that its answer tells of.
//!
//! ```text
//! head        by client: before anything is verified
//! caller      by user, claim or header: once it is known who calls; where nobody has to say so, by client
//! message     by a field: once the message is made
//! ```
//!
//! What an earlier stage took is not given back when a later one refuses: such a call has come, after all.

mod field;
mod told;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use transom_transcode::schema::{MessageId, Schema};

use crate::config::{self, By, Normalize};
use crate::error::Error;
use crate::policy::auth::{Claim, Identity};
use crate::store::{Ask, Client, Limit, Standing, Store, Whom};
use crate::telemetry::{Metrics, Refusals};
pub(super) use field::{Broken, FieldPath};
pub use told::Told;

/// How long a call may wait for the store, in all: for its limits and for a reply that others have kept.
const PATIENCE: Duration = Duration::from_millis(50);

/// The limits of one method.
pub struct Rates {
    /// By what is known at each stage.
    stages: [Box<[Rule]>; 3],
    /// `RateLimit-Policy`; none without limits.
    policy: Option<HeaderValue>,
    /// Calls that were refused because nobody could be asked.
    unanswered: Refusals,
}

/// What is known of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its head.
    Head,
    /// Who calls.
    Caller,
    /// Its message.
    Message,
}

/// One limit of a method.
struct Rule {
    limit: Limit,
    by: Source,
    /// What becomes of what it says before it is compared.
    normalize: Normalize,
    /// Where its refusals are counted.
    refused: Refusals,
}

/// Where it is read who asks.
enum Source {
    Client,
    User,
    Claim(Claim),
    Header(HeaderName),
    Field(FieldPath),
}

/// What a stage knows.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// What it sent.
    pub headers: &'a HeaderMap,
    /// Who it is.
    pub caller: Option<&'a Identity>,
    /// What the upstream will be sent.
    pub message: &'a [u8],
}

/// What the limits have said to one call so far.
#[derive(Debug, Clone, Copy)]
pub struct Rated {
    /// How long it may still wait for the store.
    patience: Duration,
    /// The limit that leaves the least: its place among the method's, and how it stands.
    tightest: Option<(usize, Standing)>,
}

impl Rated {
    /// How long the call may still wait for the store.
    pub fn patience(&self) -> Duration {
        self.patience
    }
}

impl Default for Rated {
    fn default() -> Self {
        Self { patience: PATIENCE, tightest: None }
    }
}

/// A decision: made at once, or asked for. A call waits for few, and holds no room for what it waits.
pub enum Taking<'a> {
    /// It is made.
    Decided(Result<(), Box<Error>>),
    /// It is asked for.
    Asked(Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>),
}

impl Future for Taking<'_> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Decided(decided) => Poll::Ready(std::mem::replace(decided, Ok(())).map_err(|error| *error)),
            Self::Asked(asked) => asked.as_mut().poll(cx),
        }
    }
}

impl Rates {
    /// The limits of these names for a method whose message is `message`, or for what has none.
    ///
    /// # Errors
    /// A limit is by a field that the message has not, or that is no single value.
    pub fn compile(
        names: &[String],
        written: &BTreeMap<String, config::RateLimit>,
        message: Option<(&Schema, MessageId)>,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let mut stages = [Vec::new(), Vec::new(), Vec::new()];
        for (name, written) in names.iter().filter_map(|name| written.get_key_value(name)) {
            let (stage, by) = match &written.by {
                By::Client => (Stage::Head, Source::Client),
                By::User => (Stage::Caller, Source::User),
                By::Claim(name) => (Stage::Caller, Source::Claim(Claim::compile(name))),
                By::Header(name) => (Stage::Caller, Source::Header(name.clone())),
                By::Field(path) => {
                    let (schema, input) = message.ok_or("there is no message to read a field of")?;
                    (Stage::Message, Source::Field(FieldPath::compile(schema, input, path)?))
                }
            };
            let limit = Limit::compile(name, written);
            let refused = metrics.refusals("rate_limit", name);
            stages[stage as usize].push(Rule { limit, by, normalize: written.normalize, refused });
        }
        let stages = stages.map(Vec::into_boxed_slice);
        let policy = told::policy(stages.iter().flatten().map(|rule| &rule.limit));
        Ok(Self { stages, policy, unanswered: metrics.refusals("rate_limit", "LIMITS_UNAVAILABLE") })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.policy.is_none()
    }

    /// Whether a limit needs the message.
    pub fn need_message(&self) -> bool {
        !self.stages[Stage::Message as usize].is_empty()
    }

    /// Takes a permit of every limit of a stage, or of none.
    ///
    /// # Errors
    /// [`Error::RateLimited`]; [`Error::LimitsUnavailable`] where the store is gone and a limit says that then nobody passes; or the
    /// message is broken, and nobody knows what a service reads in it.
    pub fn take<'a>(&'a self, stage: Stage, known: Known<'a>, store: &'a Store, rated: &'a mut Rated) -> Taking<'a> {
        let rules = &*self.stages[stage as usize];
        if rules.is_empty() {
            return Taking::Decided(Ok(()));
        }
        let named = match named(rules, &known) {
            Ok(named) => named,
            Err(error) => return Taking::Decided(Err(Box::new(error))),
        };
        if store.redis().is_none() {
            let standings = store.take_here(&asks(rules, &named, &known));
            return Taking::Decided(self.settle(stage, rules, &standings, rated).map_err(Box::new));
        }
        Taking::Asked(Box::pin(async move {
            let standings = store.take(&asks(rules, &named, &known), &mut rated.patience).await.map_err(|_| {
                self.unanswered.count();
                Error::LimitsUnavailable
            })?;
            self.settle(stage, rules, &standings, rated)
        }))
    }

    fn settle(&self, stage: Stage, rules: &[Rule], standings: &[Standing], rated: &mut Rated) -> Result<(), Error> {
        let before: usize = self.stages[..stage as usize].iter().map(|rules| rules.len()).sum();
        let mut retry: Option<Duration> = None;
        for (at, (rule, standing)) in rules.iter().zip(standings).enumerate() {
            if standing.granted == 0 && !standing.retry.is_zero() {
                rule.refused.count();
                retry = retry.max(Some(standing.retry));
            }
            let tighter = rated.tightest.is_none_or(|(_, tightest)| {
                (standing.remaining, tightest.reset) < (tightest.remaining, standing.reset)
            });
            if tighter {
                rated.tightest = Some((before + at, *standing));
            }
        }
        match retry {
            None => Ok(()),
            Some(retry_after) => Err(Error::RateLimited { retry_after }),
        }
    }

    /// What an answer tells of these limits; `None` if the call has met none.
    pub fn told(&self, rated: &Rated) -> Option<Told> {
        let (at, standing) = rated.tightest?;
        let rule = self.stages.iter().flatten().nth(at)?;
        Some(Told { policy: self.policy.clone()?, standing: told::standing(&rule.limit.name, &standing) })
    }
}

/// Who asks each limit; `None`: the client's address says it.
type Named<'a> = SmallVec<[Option<Cow<'a, [u8]>>; 4]>;

fn named<'a>(rules: &'a [Rule], known: &Known<'a>) -> Result<Named<'a>, Error> {
    rules.iter().map(|rule| rule.of(known)).collect()
}

fn asks<'a>(rules: &'a [Rule], named: &'a [Option<Cow<'_, [u8]>>], known: &Known<'_>) -> SmallVec<[Ask<'a>; 4]> {
    let client = Whom::Client(Client::from(known.client));
    let whom = |named: &'a Option<Cow<'_, [u8]>>| named.as_deref().map_or(client, Whom::Named);
    rules.iter().zip(named).map(|(rule, named)| Ask { limit: &rule.limit, whom: whom(named) }).collect()
}

impl Rule {
    /// Who asks; `None`: the client's address says it.
    fn of<'a>(&'a self, known: &Known<'a>) -> Result<Option<Cow<'a, [u8]>>, Error> {
        let said = self.by.of(known)?.map(|said| match self.normalize {
            Normalize::None => said,
            // What is no text is no value that a service would take either: any of it is one.
            Normalize::Lower => Cow::Owned(String::from_utf8_lossy(&said).trim().to_lowercase().into_bytes()),
        });
        Ok(said.filter(|said| !said.is_empty()))
    }
}

impl Source {
    /// What is said at its place.
    fn of<'a>(&'a self, known: &Known<'a>) -> Result<Option<Cow<'a, [u8]>>, Error> {
        let bytes = |text: Cow<'a, str>| match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Ok(match self {
            Self::Client => None,
            Self::User => known.caller.and_then(Identity::user).map(|user| Cow::Borrowed(user.as_bytes())),
            Self::Claim(claim) => known.caller.and_then(|caller| caller.text(claim)).map(bytes),
            Self::Header(name) => {
                let mut values = known.headers.get_all(name).iter();
                let value = values.next();
                if values.next().is_some() {
                    // Nobody knows which one a service takes.
                    return Err(Error::bad_request(format!(
                        "`{name}` is sent more than once; calls are limited by it"
                    )));
                }
                value.map(|value| Cow::Borrowed(value.as_bytes()))
            }
            Self::Field(path) => {
                path.value(known.message).map_err(|Broken| Error::bad_request("the message cannot be decoded"))?
            }
        })
    }
}
