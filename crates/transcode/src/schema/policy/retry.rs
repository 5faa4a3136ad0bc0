//! `transom.Retry`: how a method's failed calls are tried again.

use std::time::Duration;

use super::{LONGEST, MILLISECOND, descriptor, duration};
use crate::status::Code;

/// How failed calls are tried again. What is `None` or empty is not said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetryPolicy {
    /// Tries in all, the first included.
    pub attempts: Option<usize>,
    /// After which statuses.
    pub on: Vec<Code>,
    /// So many of a hundred calls may be further tries.
    pub budget: Option<u8>,
    /// The first pause.
    pub backoff: Option<Duration>,
    /// The longest pause.
    pub max_backoff: Option<Duration>,
    /// Time of one try.
    pub per_try_timeout: Option<Duration>,
    /// When a try is made beside one that has no answer.
    pub hedge: Option<Duration>,
}

const MOST_ATTEMPTS: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

impl RetryPolicy {
    /// What the option says, or what is wrong with it.
    pub(super) fn read(read: &descriptor::Retry) -> Result<Self, String> {
        let attempts = read.attempts.map(|attempts| match attempts {
            1..=MOST_ATTEMPTS => Ok(attempts as usize),
            _ => Err(format!("retry.attempts is not from 1 to {MOST_ATTEMPTS}")),
        });
        let budget = read.budget.map(|budget| match u8::try_from(budget) {
            Ok(budget @ 0..=100) => Ok(budget),
            _ => Err("retry.budget is not from 0 to 100".to_owned()),
        });
        let pause = |value: Option<&_>, key: &str| {
            duration(value, MILLISECOND..=LONGEST_PAUSE, &format!("retry.{key} is not from 1 ms to 1 h"))
        };
        let per_try = read.per_try_timeout.as_ref();
        Ok(Self {
            attempts: attempts.transpose()?,
            on: read.on.iter().map(|number| status(*number)).collect::<Result<_, _>>()?,
            budget: budget.transpose()?,
            backoff: pause(read.backoff.as_ref(), "backoff")?,
            max_backoff: pause(read.max_backoff.as_ref(), "max_backoff")?,
            per_try_timeout: duration(
                per_try,
                MILLISECOND..=LONGEST,
                "retry.per_try_timeout is not from 1 ms to 24 h",
            )?,
            hedge: pause(read.hedge.as_ref(), "hedge")?,
        })
    }
}

/// `transom.Retry.On`
fn status(number: i32) -> Result<Code, String> {
    match number {
        2 => Ok(Code::Unknown),
        4 => Ok(Code::DeadlineExceeded),
        8 => Ok(Code::ResourceExhausted),
        10 => Ok(Code::Aborted),
        13 => Ok(Code::Internal),
        14 => Ok(Code::Unavailable),
        _ => Err(format!("retry.on has no value {number}: write UNAVAILABLE or another status of transom.Retry.On")),
    }
}
