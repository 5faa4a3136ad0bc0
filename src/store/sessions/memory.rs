//! Sessions in this process.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use super::{Opening, Session, Spans, Turn, Turned, millis};

/// Sessions that are kept; beyond them none is opened.
const MOST: usize = 1 << 18;
/// Tokens of a session that were turned a moment ago and are kept, as `turn.lua` has it.
const TURNED: usize = 4;

/// Sessions in this process.
#[derive(Default)]
pub(in crate::store) struct Records(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    records: HashMap<Box<str>, Record>,
    /// Those that have ended are dropped when there are so many.
    sweep_at: usize,
}

struct Record {
    session: Session,
    /// The tokens that were turned within the grace, and when; the last ones alone.
    turned: VecDeque<(String, u64)>,
    /// It ends then unless it is turned before.
    until: u64,
}

impl Records {
    /// Keeps a session; `None` where there is no room.
    pub(super) fn open(&self, opening: &Opening<'_>, now: u64) -> Option<Session> {
        const FIRST_SWEEP: usize = 1024;
        let mut kept = self.0.lock();
        if kept.records.len() >= kept.sweep_at.max(FIRST_SWEEP) {
            kept.records.retain(|_, record| record.until > now);
            kept.sweep_at = (kept.records.len() * 2).min(MOST);
        }
        if kept.records.len() >= MOST {
            tracing::error!("a quarter of a million sessions are open: no more are opened without a redis");
            return None;
        }
        let ends = now.saturating_add(millis(opening.absolute));
        let session = Session {
            token: opening.token.to_owned(),
            turns: 0,
            seen: now,
            created: now,
            ends,
            user: opening.user.to_owned(),
            data: opening.data.to_owned(),
        };
        let until = ends.min(now.saturating_add(millis(opening.idle)));
        let record = Record { session: session.clone(), turned: VecDeque::new(), until };
        kept.records.insert(opening.id.into(), record);
        Some(session)
    }

    /// Takes a token and names the next one.
    pub(super) fn turn(&self, id: &str, (came, next): (Turned<'_>, &str), spans: Spans, now: u64) -> Turn {
        let mut kept = self.0.lock();
        let Some(record) = kept.records.get_mut(id).filter(|record| record.until > now) else { return Turn::Gone };
        let session = &mut record.session;
        record.turned.retain(|(_, at)| now.saturating_sub(*at) <= millis(spans.grace));
        let fresh = now.saturating_sub(came.issued) < millis(spans.grace);
        let number = |turns: u64| format!("#{turns}");
        let named = |was: &str| was == came.token || was == number(came.turns);
        let known = record.turned.iter().any(|(was, _)| named(was)) || fresh && came.turns == session.turns;
        if session.token == came.token || !known && came.turns > session.turns {
            if session.token != came.token && fresh {
                record.turned.push_back((number(came.turns.saturating_sub(1)), came.issued));
            }
            record.turned.push_back((came.token.to_owned(), now));
            (session.token, session.turns) = (next.to_owned(), came.turns.saturating_add(1));
            record.turned.drain(..record.turned.len().saturating_sub(TURNED));
            session.seen = now;
            record.until = session.ends.min(now.saturating_add(millis(spans.idle)));
        } else if !known {
            kept.records.remove(id);
            return Turn::Reused;
        }
        Turn::Good(session.clone())
    }

    /// Forgets a session.
    pub(super) fn close(&self, id: &str) {
        self.0.lock().records.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Opening, Records, Spans, Turn, Turned};

    const SPANS: Spans = Spans { idle: Duration::from_secs(100), grace: Duration::from_secs(10) };

    fn opened() -> Records {
        let records = Records::default();
        let (idle, absolute) = (SPANS.idle, Duration::from_secs(250));
        let opening = Opening { id: "s", user: "u", data: "{}", token: "a", idle, absolute };
        assert_eq!(records.open(&opening, 0).unwrap().ends, 250_000);
        records
    }

    /// The good token after a turn; tokens come in the order of their letters.
    fn turn(records: &Records, token: &str, next: &str, at: u64) -> Result<String, Turn> {
        match records.turn("s", (came(token), next), SPANS, at * 1000) {
            Turn::Good(session) => Ok(session.token),
            other => Err(other),
        }
    }

    fn came(token: &str) -> Turned<'_> {
        issued(token, 0)
    }

    fn issued(token: &str, at: u64) -> Turned<'_> {
        Turned { token, turns: token.bytes().next().unwrap().saturating_sub(b'a').into(), issued: at * 1000 }
    }

    #[test]
    fn a_record_that_has_lost_turns_goes_on_from_the_newest_token() {
        // It knows of `a` alone; the client has got to `d`.
        let records = opened();
        assert_eq!(turn(&records, "d", "e", 50), Ok("e".to_owned()));
        assert_eq!(turn(&records, "d", "x", 55), Ok("e".to_owned()), "as after any turn");
        assert_eq!(turn(&records, "e", "f", 56), Ok("f".to_owned()));
        for (stolen, what) in [("c", "older than what the session has"), ("a", "what the record knew")] {
            let records = opened();
            assert_eq!(turn(&records, "d", "e", 50), Ok("e".to_owned()));
            assert_eq!(turn(&records, stolen, "x", 55), Err(Turn::Reused), "{what}");
            assert_eq!(turn(&records, "e", "f", 56), Err(Turn::Gone));
        }
        // A thief who comes first, with one that was turned, gets no further than the client's own.
        let records = opened();
        assert_eq!(turn(&records, "c", "d of the thief", 50), Ok("d of the thief".to_owned()));
        assert_eq!(turn(&records, "d", "x", 51), Err(Turn::Reused));
    }

    #[test]
    fn what_was_turned_a_moment_before_the_record_lost_it_is_no_theft() {
        let turn = |records: &Records, (token, made): (&str, u64), next: &str, at: u64| match records.turn(
            "s",
            (issued(token, made), next),
            SPANS,
            at * 1000,
        ) {
            Turn::Good(session) => Ok(session.token),
            other => Err(other),
        };
        // It knows of `a` alone; `c` was made at 50, so then `b` was turned.
        let records = opened();
        assert_eq!(turn(&records, ("c", 50), "d", 55), Ok("d".to_owned()));
        assert_eq!(turn(&records, ("b", 20), "x", 60), Ok("d".to_owned()), "another page's, in its moment");
        assert_eq!(turn(&records, ("c", 50), "x", 60), Ok("d".to_owned()));
        assert_eq!(turn(&records, ("b", 20), "x", 61), Err(Turn::Reused), "and not after it");
        let records = opened();
        assert_eq!(turn(&records, ("c", 50), "d", 55), Ok("d".to_owned()));
        assert_eq!(turn(&records, ("a", 0), "x", 56), Err(Turn::Reused), "two turns ago");
        let records = opened();
        assert_eq!(turn(&records, ("c", 40), "d", 55), Ok("d".to_owned()));
        assert_eq!(turn(&records, ("b", 20), "x", 56), Err(Turn::Reused), "its moment was over");
        // The other page first: what it gets stands for the one that was lost.
        for (made, after) in [(50, Ok("c of the other".to_owned())), (44, Err(Turn::Reused))] {
            let records = opened();
            assert_eq!(turn(&records, ("a", 0), "b", 30), Ok("b".to_owned()));
            assert_eq!(turn(&records, ("b", 30), "c of the other", 54), Ok("c of the other".to_owned()));
            assert_eq!(turn(&records, ("c", made), "x", 55), after);
        }
    }

    #[test]
    fn a_token_turns_once_and_a_moment_later_tells_what_it_became() {
        let records = opened();
        assert_eq!(turn(&records, "a", "b", 50), Ok("b".to_owned()));
        assert_eq!(turn(&records, "a", "x", 60), Ok("b".to_owned()), "the same for all");
        assert_eq!(turn(&records, "b", "c", 70), Ok("c".to_owned()));
        assert_eq!(turn(&records, "a", "x", 70), Err(Turn::Reused), "two turns ago");
        assert_eq!(turn(&records, "c", "d", 70), Err(Turn::Gone), "who had the good one has it no more");
    }

    #[test]
    fn within_the_moment_it_is_none_however_often_it_turned() {
        let records = opened();
        for (at, token, next) in [(50, "a", "b"), (51, "b", "c"), (52, "c", "d"), (53, "d", "e")] {
            assert_eq!(turn(&records, token, next, at), Ok(next.to_owned()));
        }
        assert_eq!(turn(&records, "b", "x", 60), Ok("e".to_owned()));
        assert_eq!(turn(&records, "a", "x", 60), Ok("e".to_owned()));
        // Of one that turns more often than calls come at once, the first ones are strange.
        assert_eq!(turn(&records, "e", "f", 60), Ok("f".to_owned()));
        assert_eq!(turn(&records, "b", "x", 60), Ok("f".to_owned()));
        assert_eq!(turn(&records, "a", "x", 60), Err(Turn::Reused));
    }

    #[test]
    fn after_the_moment_it_is_theft() {
        let records = opened();
        assert_eq!(turn(&records, "a", "b", 50), Ok("b".to_owned()));
        assert_eq!(turn(&records, "a", "x", 61), Err(Turn::Reused));
        assert_eq!(turn(&records, "b", "c", 61), Err(Turn::Gone));
    }

    #[test]
    fn a_session_ends_when_idle_and_in_any_case() {
        let records = opened();
        assert_eq!(turn(&records, "a", "b", 100), Err(Turn::Gone));
        let records = opened();
        for (at, token, next) in [(90, "a", "b"), (180, "b", "c"), (240, "c", "d")] {
            let Turn::Good(session) = records.turn("s", (came(token), next), SPANS, at * 1000) else { panic!("{at}") };
            assert_eq!((session.seen, session.created, session.ends), (at * 1000, 0, 250_000));
        }
        assert_eq!(turn(&records, "d", "e", 250), Err(Turn::Gone));
        let records = opened();
        records.close("s");
        assert_eq!(turn(&records, "a", "b", 1), Err(Turn::Gone));
    }
}
