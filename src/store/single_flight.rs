//! Single flight: what one of all gateways does for all, and the answer that it brings them.
//!
//! ```text
//! nobody ──▶ mine: do it ──▶ bring the answer, which stays a moment
//!                        └─▶ give up: the next who asks does it
//! somebody's, under way: ask again in a moment
//! ```

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::Value;

use super::Store;
use super::redis::Unavailable;
use super::sessions::millis;

/// What the keys of flights begin with.
const PREFIX: &str = "transom:flight:";
/// What stands for an answer that is not there yet.
const UNDER_WAY: &[u8] = b"-";
/// How long the Redis may take.
const WAIT: Duration = Duration::from_millis(500);
/// Flights that are kept here; beyond them each is one's own, and nobody is brought its answer.
const MOST: usize = 1 << 16;

/// How a flight stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flight {
    /// It is the caller's from here on.
    Mine,
    /// Somebody does it.
    UnderWay,
    /// It is done; this is its answer.
    Done(Vec<u8>),
}

/// Flights of this process.
#[derive(Default)]
pub(super) struct Flights(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// A flight's answer, once it is there, and until when that holds.
    flights: HashMap<Arc<str>, (Option<Vec<u8>>, Instant)>,
    /// The same instants in their order, one for each flight.
    ends: BTreeSet<(Instant, Arc<str>)>,
}

impl Store {
    /// How a flight stands; nobody's becomes the caller's, for so long at most.
    ///
    /// # Errors
    /// The Redis does not answer.
    pub async fn flight(&self, name: &str, longest: Duration) -> Result<Flight, Unavailable> {
        let Some(redis) = &self.redis else { return Ok(self.flights.ask(name, longest, Instant::now())) };
        let key = format!("{PREFIX}{name}");
        // SET … NX GET is one step for both questions, from Redis 7 on; this is two for any.
        let mut set = redis::cmd("SET");
        set.arg(&key).arg(UNDER_WAY).arg("NX").arg("PX").arg(life(longest));
        if redis.ask(&set, WAIT).await? == Value::Okay {
            return Ok(Flight::Mine);
        }
        let mut get = redis::cmd("GET");
        get.arg(&key);
        match redis.ask(&get, WAIT).await? {
            Value::BulkString(answer) if answer != UNDER_WAY => Ok(Flight::Done(answer)),
            // It may have ended in between: whoever asks again knows.
            Value::BulkString(_) | Value::Nil => Ok(Flight::UnderWay),
            _ => Err(Unavailable),
        }
    }

    /// Keeps a flight that is the caller's, for so long from now on: it takes longer than was thought.
    ///
    /// # Errors
    /// The Redis does not answer: it ends when it would have.
    pub async fn hold(&self, name: &str, longest: Duration) -> Result<(), Unavailable> {
        let Some(redis) = &self.redis else {
            self.flights.hold(name, Instant::now() + longest);
            return Ok(());
        };
        let (key, longest) = (format!("{PREFIX}{name}"), life(longest));
        // Nothing here takes the place of an answer, however late a Redis comes to it.
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(&key).arg(longest);
        if redis.ask(&expire, WAIT).await? == Value::Int(0) {
            let mut set = redis::cmd("SET");
            set.arg(&key).arg(UNDER_WAY).arg("NX").arg("PX").arg(longest);
            redis.ask(&set, WAIT).await?;
        }
        Ok(())
    }

    /// Brings a flight's answer, which stays so long.
    ///
    /// # Errors
    /// The Redis does not answer: those who wait do it themselves, later.
    pub async fn bring(&self, name: &str, answer: &[u8], stays: Duration) -> Result<(), Unavailable> {
        let Some(redis) = &self.redis else {
            self.flights.bring(name, Some(answer.to_vec()), Instant::now() + stays);
            return Ok(());
        };
        let mut set = redis::cmd("SET");
        set.arg(format!("{PREFIX}{name}")).arg(answer).arg("PX").arg(life(stays));
        redis.ask(&set, WAIT).await.map(drop)
    }

    /// Gives a flight up: the next who asks does it.
    pub async fn give_up(&self, name: &str) {
        match &self.redis {
            None => self.flights.bring(name, None, Instant::now()),
            Some(redis) => {
                let mut delete = redis::cmd("DEL");
                delete.arg(format!("{PREFIX}{name}"));
                // Otherwise it ends by itself.
                let _ = redis.ask(&delete, WAIT).await;
            }
        }
    }
}

impl Flights {
    fn ask(&self, name: &str, longest: Duration, now: Instant) -> Flight {
        let mut kept = self.0.lock();
        kept.forget(now);
        match kept.flights.get(name) {
            Some((answer, until)) if *until > now => answer.clone().map_or(Flight::UnderWay, Flight::Done),
            _ => {
                kept.keep(name, None, now + longest);
                Flight::Mine
            }
        }
    }

    fn hold(&self, name: &str, until: Instant) {
        self.0.lock().keep(name, None, until);
    }

    fn bring(&self, name: &str, answer: Option<Vec<u8>>, until: Instant) {
        let mut kept = self.0.lock();
        match answer {
            None => drop(kept.take(name)),
            Some(_) => kept.keep(name, answer, until),
        }
    }
}

impl Kept {
    /// Keeps a flight: one that is known already in its place, another where there is room; without, nobody waits for it.
    fn keep(&mut self, name: &str, answer: Option<Vec<u8>>, until: Instant) {
        let known = self.take(name);
        if known.is_none() && self.flights.len() >= MOST {
            return;
        }
        let name = known.unwrap_or_else(|| name.into());
        self.ends.insert((until, name.clone()));
        self.flights.insert(name, (answer, until));
    }

    /// Takes a flight out: its name, if it was there.
    fn take(&mut self, name: &str) -> Option<Arc<str>> {
        let (name, (_, until)) = self.flights.remove_entry(name)?;
        let end = (until, name);
        self.ends.remove(&end);
        Some(end.1)
    }

    /// Forgets what has ended: each once, however many there are.
    fn forget(&mut self, now: Instant) {
        while self.ends.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, name)) = self.ends.pop_first() {
                self.flights.remove(&name);
            }
        }
    }
}

/// What a key is given to live, in milliseconds: Redis takes no 0.
fn life(span: Duration) -> u64 {
    millis(span).max(1)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Flight, Flights, MOST};

    #[test]
    fn one_does_it_and_all_have_the_answer_for_a_moment() {
        let (flights, now) = (Flights::default(), Instant::now());
        let ask = |after: u64| flights.ask("a", Duration::from_secs(10), now + Duration::from_secs(after));
        assert_eq!((ask(0), ask(0), ask(9)), (Flight::Mine, Flight::UnderWay, Flight::UnderWay));
        flights.bring("a", Some(vec![1]), now + Duration::from_secs(5));
        assert_eq!((ask(0), ask(4)), (Flight::Done(vec![1]), Flight::Done(vec![1])));
        assert_eq!(ask(20), Flight::Mine, "later it is another");
        flights.bring("a", None, now);
        assert_eq!(ask(20), Flight::Mine, "who gives up leaves it to the next");
        assert_eq!(ask(31), Flight::Mine, "who takes too long as well");
        flights.hold("a", now + Duration::from_secs(60));
        assert_eq!((ask(59), ask(61)), (Flight::UnderWay, Flight::Mine), "unless it says so in time");
    }

    #[test]
    fn a_flood_is_bounded_and_its_end_makes_room() {
        let (flights, now) = (Flights::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        for number in 0..4 * MOST {
            let name = number.to_string();
            assert_eq!(flights.ask(&name, Duration::from_secs(5), now), Flight::Mine);
            // A few are given up, most are brought what there is to know.
            flights.bring(&name, Some(vec![0]).filter(|_| number % 16 != 0), at(10));
        }
        let sizes = || {
            let kept = flights.0.lock();
            (kept.flights.len(), kept.ends.len())
        };
        assert_eq!(sizes(), (MOST, MOST));
        assert_eq!(flights.ask("1", Duration::from_secs(5), now), Flight::Done(vec![0]), "the first ones are kept");
        assert_eq!(flights.ask("later", Duration::from_secs(5), at(11)), Flight::Mine);
        assert_eq!(sizes(), (1, 1));
        assert_eq!(flights.ask("later", Duration::from_secs(5), at(12)), Flight::UnderWay);
    }

    #[test]
    fn who_has_a_place_keeps_it_in_a_flood() {
        let (flights, now) = (Flights::default(), Instant::now());
        let ask = |name: &str| flights.ask(name, Duration::from_secs(5), now);
        // What is given up takes no room.
        for number in 0..4 * MOST {
            let name = number.to_string();
            assert_eq!(ask(&name), Flight::Mine);
            flights.bring(&name, None, now);
        }
        assert_eq!((ask("honest"), ask("honest")), (Flight::Mine, Flight::UnderWay));
        (0..2 * MOST).for_each(|number| drop(ask(&number.to_string())));
        assert_eq!(ask("honest"), Flight::UnderWay);
        flights.bring("honest", Some(vec![1]), now + Duration::from_secs(10));
        assert_eq!(ask("honest"), Flight::Done(vec![1]));
    }
}
