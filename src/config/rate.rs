//! `rate_limits`: who may come how often.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use super::MILLISECOND;
use super::kind::{self, Kind, Shape, checked, choice, duration, text};
use super::problem::quote;
use super::read::{Reader, choice, section};
use super::tree::{Node, Value};
use super::units;

/// The longest period of a rate, and the longest penalty.
const LONGEST: Duration = Duration::from_secs(31 * 24 * 3600);
/// The most permits.
pub(super) const MOST: usize = 1_000_000;

/// The limit of public methods that name none.
pub const PUBLIC: &str = "public";
/// The limit of all other methods that name none.
pub const USERS: &str = "users";

section! {
    /// One limit. A call that it refuses gets 429, `Retry-After` and when to come again.
    pub struct RateLimit {
        /// Whose calls are counted together: `client` (its address; IPv6 by /64), `user`, `{claim: x}`, `{header: x-api-key}` or `{field: path}`. `user` and `{claim: x}` are read from tokens (`auth`). A call without such a value is counted by its client's address; one that sends such a header twice gets 400, whatever it says, since nobody knows which of them its service takes.
        by: By = Bys.required(),
        /// What becomes of the values of `by` before they are compared. Where a service takes `Ada@Example.com` for `ada@example.com`, this must be `lower`: else each way to write it has permits of its own.
        normalize: Normalize = choice().or("none"),
        /// How many in which time: `100/min`, `5/s`, `100/60000ms`.
        rate: Rate = rate().required(),
        /// How many at once, from rest; by default as many as `rate` says.
        burst: Option<usize> = kind::count(1..=MOST).optional(),
        /// Makes those wait longer who go on.
        penalty: Option<Penalty> = kind::section().optional(),
        /// How gateways that share a Redis count together.
        mode: Mode = choice().or("exact"),
        /// What holds while that Redis does not answer.
        on_store_failure: OnStoreFailure = choice().or("local"),
    }
}

section! {
    /// Exponential back-off for repeated offenders.
    pub struct Penalty {
        /// The refusal that shuts out; the ones before it only refuse.
        after: usize = kind::count(1..=1000).or("3"),
        /// How long it shuts out first; each refusal after that doubles it.
        double: Duration = duration(MILLISECOND..=LONGEST).or("1m"),
        /// The longest; so long after the last refusal all is forgotten.
        max: Duration = duration(MILLISECOND..=LONGEST).or("1h"),
    }
}

choice! {
    /// What becomes of values before they are compared.
    pub enum Normalize {
        /// Nothing: they are compared byte by byte.
        None = "none",
        /// The space around them goes, and capitals become small ones (Unicode's).
        Lower = "lower",
    }
}

choice! {
    /// How gateways that share a Redis count together.
    pub enum Mode {
        /// Each call asks: never one too many.
        Exact = "exact",
        /// Who comes often is handed up to a tenth of the burst (100 at most) at once, in each gateway: one round trip for many calls. What a gateway was handed and has not given out is lost to the others until it lapses, and can come on top of what they let in: at most that tenth per gateway in any period.
        Leased = "leased",
    }
}

choice! {
    /// What holds while the Redis does not answer; no call waits for it longer than 50 ms, for all its limits and a kept reply together. (For a session, a connect token or a renewal, which nobody else can decide, it may be half a second.)
    pub enum OnStoreFailure {
        /// Each gateway counts by itself.
        Local = "local",
        /// Every call passes.
        Allow = "allow",
        /// No call passes: 503 with the reason `LIMITS_UNAVAILABLE`.
        Deny = "deny",
    }
}

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub permits: NonZeroU32,
    /// In which time.
    pub period: Duration,
}

impl Default for Rate {
    fn default() -> Self {
        Self { permits: NonZeroU32::MIN, period: Duration::from_secs(1) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = units::write(self.period);
        write!(f, "{}/{}", self.permits, period.strip_prefix('1').filter(|unit| unit.len() < 3).unwrap_or(&period))
    }
}

/// Whose calls are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum By {
    /// The client's address.
    #[default]
    Client,
    /// The user whose token it is.
    User,
    /// The value of a claim of the token.
    Claim(String),
    /// The value of a request header.
    Header(http::HeaderName),
    /// The value of a field of the request message, by its path.
    Field(String),
}

section! {
    /// A limit by something that has a name.
    pub(super) struct ByKeys {
        /// A claim of the token.
        claim: Option<String> = text("a claim's name").optional(),
        /// A request header.
        header: Option<http::HeaderName> = checked("a header's name", header).optional(),
        /// A field of the request message: `email`, `order.customer_id`.
        field: Option<String> = checked("a field's path", field).optional(),
    }
}

/// A word, or a map with one key.
struct Bys;

impl Kind for Bys {
    type Out = By;

    fn read(&self, node: &Node, reader: &mut Reader) -> Option<By> {
        let Value::Map(entries) = &node.value else {
            return word().read(node, reader);
        };
        let keys = reader.section::<ByKeys>(node.line, entries);
        let by = [keys.claim.map(By::Claim), keys.header.map(By::Header), keys.field.map(By::Field)];
        let mut by = by.into_iter().flatten();
        match (by.next(), by.next()) {
            (Some(by), None) => Some(by),
            _ => {
                reader.tell(node.line, "takes one of `claim`, `header` and `field`");
                None
            }
        }
    }

    fn shape(&self) -> Shape {
        Shape::Either(Box::new(word().shape()), Box::new(kind::section::<ByKeys>().shape()))
    }
}

fn word() -> kind::Single<By> {
    checked("`client` or `user`", |text| match text {
        "client" => Ok(By::Client),
        "user" => Ok(By::User),
        _ => Err(format!(
            "{} is not known here; write `client`, `user`, `{{claim: x}}`, `{{header: x}}` or `{{field: x}}`",
            quote(text)
        )),
    })
}

fn header(text: &str) -> Result<http::HeaderName, String> {
    text.parse().map_err(|_| format!("{} is no header's name", quote(text)))
}

fn field(text: &str) -> Result<String, String> {
    if super::upstream::is_full_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is no field's path; write names with dots between them", quote(text)))
    }
}

/// A rate such as `100/min`.
pub(super) fn rate() -> kind::Single<Rate> {
    checked("a rate such as `100/min` or `100/60000ms`", |text| {
        let (permits, period) = units::rate(text)?;
        match NonZeroU32::new(permits) {
            Some(permits) if (MILLISECOND..=LONGEST).contains(&period) && permits.get() as usize <= MOST => {
                Ok(Rate { permits, period })
            }
            _ => Err(format!("{} is not a rate from 1 to {MOST} in `1ms` to `31d`", quote(text))),
        }
    })
}
