//! Marks: what no gateway takes any more, each until its time. All gateways are told at once; who was away reads them.

use std::sync::LazyLock;
use std::time::Duration;

use super::Store;
use super::events::{Event, channel};
use super::redis::{Script, Unavailable};

/// A mark, and its end in seconds since 1970.
pub type Mark = (Box<str>, u64);

/// The word for them, in channels and keys.
const TOPIC: &str = "revoked";
/// The set of them.
const SET: &str = "transom:{revoked}";
/// How long an answer is waited for.
const WAIT: Duration = Duration::from_millis(500);
/// Marks of one message, and of one answer.
const BATCH: usize = 1000;
/// Marks of an answer.
const PAGE: usize = 10_000;
/// The last second of the year 9999: what ends later ends then.
const FOREVER: u64 = 253_402_300_799;

static MARK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("mark.lua")));

impl Store {
    /// Tells every gateway of marks, and those that come later. Without a Redis there is nobody to tell.
    ///
    /// # Errors
    /// The Redis does not answer. Then some may have been told.
    pub async fn mark(&self, marks: &[Mark]) -> Result<(), Unavailable> {
        let Some(redis) = self.redis() else { return Ok(()) };
        for marks in marks.chunks(BATCH) {
            let message = serde_json::to_vec(marks).map_err(|_| Unavailable)?;
            let mut call = MARK.call(1);
            call.arg(SET).arg(channel(TOPIC)).arg(message);
            for (mark, until) in marks {
                call.arg((*until).min(FOREVER)).arg(&**mark);
            }
            redis.run(&MARK, &call, WAIT).await?;
        }
        Ok(())
    }

    /// Gives every mark that has not ended at `now`.
    ///
    /// # Errors
    /// The Redis does not answer. Then some may have been given.
    pub async fn marked(&self, now: u64, mut give: impl FnMut(Mark)) -> Result<(), Unavailable> {
        let Some(redis) = self.redis() else { return Ok(()) };
        // From the last end to the first: what ends meanwhile moves nothing.
        for page in 0.. {
            let mut ask = redis::cmd("ZREVRANGEBYSCORE");
            ask.arg(SET).arg("+inf").arg(format!("({now}")).arg("WITHSCORES").arg("LIMIT").arg(page * PAGE).arg(PAGE);
            let answer = redis.ask(&ask, WAIT).await?;
            let marks: Vec<(String, u64)> = redis::from_redis_value(answer).map_err(|_| Unavailable)?;
            let given = marks.len();
            marks.into_iter().for_each(|(mark, until)| give((mark.into(), until)));
            if given < PAGE {
                break;
            }
        }
        Ok(())
    }
}

impl Event {
    /// The marks that a gateway tells of.
    pub fn marks(&self) -> Vec<Mark> {
        match self {
            Self::Told { topic, payload } if &**topic == TOPIC => serde_json::from_slice(payload).unwrap_or_default(),
            Self::Told { .. } | Self::Connected | Self::Lost => Vec::new(),
        }
    }
}
