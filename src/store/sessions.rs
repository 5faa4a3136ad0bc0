//! Sessions: whose tokens the gateways issue. A record says who it is, since when, and which refresh token is good: one at a
//! time. To turn it is to take that token and name the next; who comes with one that was turned before is a thief, or was
//! robbed, and the session ends for both.
//!
//! Turns are counted, by the record and in each token: one of more turns than the record knows was signed by a gateway, so it is the record that has lost
//! some, as a Redis does that was restored or whose replica took over. It is turned from there. Of two that the same turn made, one is the thief's.
//!
//! A moment after a turn the token before is still known: calls that set out together all learn the same next one.

mod memory;

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::Value;

use super::Store;
use super::redis::{Script, Unavailable};

pub(super) use memory::Records;

/// How long the Redis may take.
const WAIT: Duration = Duration::from_millis(500);

static OPEN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("sessions/open.lua")));
static TURN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("sessions/turn.lua")));

/// A session that begins.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// Its name; nobody can guess it.
    pub id: &'a str,
    /// Whose it is.
    pub user: &'a str,
    /// What is kept with it.
    pub data: &'a str,
    /// The name of its first refresh token.
    pub token: &'a str,
    /// It ends when it was not turned for so long,
    pub idle: Duration,
    /// and after so long in any case.
    pub absolute: Duration,
}

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub struct Spans {
    /// As [`Opening::idle`].
    pub idle: Duration,
    /// How long the token before is known after a turn.
    pub grace: Duration,
}

/// A session as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The name of the refresh token that is good.
    pub token: String,
    /// How many came before it.
    pub turns: u64,
    /// Since when, in milliseconds since 1970.
    pub seen: u64,
    /// When the session was opened, in milliseconds since 1970.
    pub created: u64,
    /// When it ends in any case, in milliseconds since 1970.
    pub ends: u64,
    /// Whose it is.
    pub user: String,
    /// What is kept with it.
    pub data: String,
}

/// A refresh token as its signature tells it.
#[derive(Debug, Clone, Copy)]
pub struct Turned<'a> {
    /// Its name.
    pub token: &'a str,
    /// As [`Session::turns`].
    pub turns: u64,
    /// When it was made, in milliseconds since 1970: then the one before it was turned.
    pub issued: u64,
}

/// What came of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The token was the good one, or was it a moment ago.
    Good(Session),
    /// The token was turned before: the session is gone.
    Reused,
    /// There is no such session.
    Gone,
}

impl Store {
    /// Keeps a session from now on.
    ///
    /// # Errors
    /// The Redis does not answer, or there is no room.
    pub async fn open_session(&self, opening: &Opening<'_>) -> Result<Session, Unavailable> {
        let Some(redis) = &self.redis else { return self.sessions.open(opening, now()).ok_or(Unavailable) };
        let mut call = OPEN.call(1);
        call.arg(key(opening.id)).arg(opening.user).arg(opening.data).arg(opening.token);
        call.arg(millis(opening.idle)).arg(millis(opening.absolute));
        let times = numbers(redis.run(&OPEN, &call, WAIT).await?).ok_or(Unavailable)?;
        let [seen, ends] = *times else { return Err(Unavailable) };
        let (token, user) = (opening.token.to_owned(), opening.user.to_owned());
        Ok(Session { token, turns: 0, seen, created: seen, ends, user, data: opening.data.to_owned() })
    }

    /// Takes a refresh token and names the next one; or says which one another call has named a moment ago.
    ///
    /// # Errors
    /// The Redis does not answer. Then the token may have been taken; within the grace it can be tried again.
    pub async fn turn_session(
        &self,
        id: &str,
        came: Turned<'_>,
        next: &str,
        spans: Spans,
    ) -> Result<Turn, Unavailable> {
        let Some(redis) = &self.redis else { return Ok(self.sessions.turn(id, (came, next), spans, now())) };
        let mut call = TURN.call(1);
        call.arg(key(id)).arg(came.token).arg(next).arg(millis(spans.idle)).arg(millis(spans.grace)).arg(came.turns);
        call.arg(came.issued);
        match redis.run(&TURN, &call, WAIT).await? {
            Value::Array(told) => session(told).map(Turn::Good).ok_or(Unavailable),
            Value::Int(0) => Ok(Turn::Gone),
            Value::Int(_) => Ok(Turn::Reused),
            _ => Err(Unavailable),
        }
    }

    /// Forgets a session: no refresh token of it is good any more.
    ///
    /// # Errors
    /// The Redis does not answer.
    pub async fn close_session(&self, id: &str) -> Result<(), Unavailable> {
        match &self.redis {
            None => self.sessions.close(id),
            Some(redis) => {
                let mut delete = redis::cmd("DEL");
                delete.arg(key(id));
                redis.ask(&delete, WAIT).await?;
            }
        }
        Ok(())
    }
}

/// One slot a session.
fn key(id: &str) -> String {
    format!("transom:session:{{{id}}}")
}

fn session(told: Vec<Value>) -> Option<Session> {
    let [token, seen, ends, user, data, created, turns] = <[Value; 7]>::try_from(told).ok()?;
    let text = |value| redis::from_redis_value::<String>(value).ok();
    let number = |value| redis::from_redis_value::<u64>(value).ok();
    Some(Session {
        token: text(token)?,
        turns: number(turns)?,
        seen: number(seen)?,
        created: number(created)?,
        ends: number(ends)?,
        user: text(user)?,
        data: text(data)?,
    })
}

fn numbers(answer: Value) -> Option<Box<[u64]>> {
    redis::from_redis_value::<Vec<u64>>(answer).ok().map(Vec::into_boxed_slice)
}

/// Milliseconds since 1970.
fn now() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
