//! Revoked: tokens that were good and are no more. Each mark is kept until no token that it is on can be good by itself.

use std::cmp::Ordering;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicUsize};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::Now;

/// Marks that are kept; those that expire first give way.
const MOST: usize = 1_000_000;
/// So many at once: calls wait while they are looked for.
const GIVE_WAY: usize = MOST / 100;

/// A mark that no token may have any more: of one token or of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revocation {
    /// What tokens are known by: an issuer's `jti:…` or `sid:…`, or a digest.
    pub mark: Box<str>,
    /// Seconds since 1970, from when on such tokens have expired anyway.
    pub until: u64,
}

/// The marks that are revoked.
#[derive(Default)]
pub(super) struct Revoked {
    marks: RwLock<Marks>,
    /// How many there are: calls look no further while there is none.
    count: AtomicUsize,
    /// What other gateways revoke is not heard of.
    deaf: AtomicBool,
    /// What other gateways have not been told yet; `None`: there are none.
    untold: Mutex<Option<Vec<Revocation>>>,
    news: Notify,
}

#[derive(Default)]
struct Marks {
    until: HashMap<Box<str>, u64, foldhash::quality::RandomState>,
    /// The marks that have expired are dropped when there are so many.
    sweep_at: usize,
}

impl Marks {
    /// Forgets those that expire first.
    fn give_way(&mut self) {
        let mut ends: Vec<u64> = self.until.values().copied().collect();
        let (before, last, _) = ends.select_nth_unstable(GIVE_WAY - 1);
        let (before, last) = (before.iter().filter(|end| **end < *last).count(), *last);
        // Of those that expire together with the last one not all need go.
        let mut with_last = GIVE_WAY - before;
        self.until.retain(|_, until| match last.cmp(until) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => {
                let stays = with_last == 0;
                with_last = with_last.saturating_sub(1);
                stays
            }
        });
    }
}

impl Revoked {
    /// Revokes.
    pub(super) fn add(&self, revocation: &Revocation, now: Now) {
        const FIRST_SWEEP: usize = 1024;
        if revocation.until <= now.as_secs() {
            return;
        }
        let mut marks = self.marks.write();
        if marks.until.len() >= marks.sweep_at.max(FIRST_SWEEP) {
            marks.until.retain(|_, until| *until > now.as_secs());
            marks.sweep_at = (marks.until.len() * 2).min(MOST);
        }
        if marks.until.len() >= MOST {
            marks.give_way();
            tracing::error!(
                forgotten = GIVE_WAY,
                "a million tokens are revoked at once: those that expire first are forgotten"
            );
        }
        let until = marks.until.entry(revocation.mark.clone()).or_default();
        *until = revocation.until.max(*until);
        self.count.store(marks.until.len(), Release);
    }

    /// Revokes what this gateway was the first to know of.
    pub(super) fn announce(&self, revocation: Revocation, now: Now) {
        self.add(&revocation, now);
        if let Some(untold) = &mut *self.untold.lock()
            && untold.len() < MOST
        {
            untold.push(revocation);
            self.news.notify_one();
        }
    }

    /// There are other gateways, of which nothing is known yet.
    pub(super) fn share(&self) {
        let mut untold = self.untold.lock();
        if untold.is_none() {
            *untold = Some(Vec::new());
            self.deaf.store(true, Release);
        }
    }

    /// Whether what others revoke is heard of, all of it.
    pub(super) fn hears(&self, everything: bool) {
        self.deaf.store(!everything, Release);
    }

    /// Others may have revoked what is not known here.
    pub(super) fn is_deaf(&self) -> bool {
        self.deaf.load(Acquire)
    }

    /// All that is revoked, unless that is as much as `others` know.
    pub(super) fn beyond(&self, others: usize, now: Now) -> Vec<Revocation> {
        let marks = self.marks.read();
        let lasting = || marks.until.iter().filter(|(_, until)| **until > now.as_secs());
        if lasting().count() <= others {
            return Vec::new();
        }
        lasting().map(|(mark, until)| Revocation { mark: mark.clone(), until: *until }).collect()
    }

    /// Others have to be told something.
    pub(super) fn has_news(&self) -> bool {
        self.untold.lock().as_ref().is_some_and(|untold| !untold.is_empty())
    }

    /// Waits until they may have to be.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Takes what others have not been told.
    pub(super) fn untold(&self) -> Vec<Revocation> {
        self.untold.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// They could not be told.
    pub(super) fn tell_later(&self, untold: Vec<Revocation>) {
        if let Some(list) = &mut *self.untold.lock() {
            list.extend(untold);
        }
    }

    /// Whether any of a token's marks is revoked.
    pub(super) fn any(&self, marks: &[Box<str>], now: Now) -> bool {
        if self.count.load(Acquire) == 0 {
            return false;
        }
        let revoked = self.marks.read();
        marks.iter().any(|mark| revoked.until.get(mark).is_some_and(|until| *until > now.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{GIVE_WAY, MOST, Revocation, Revoked};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_mark_holds_until_its_end() {
        let revoked = Revoked::default();
        let marks = |text: &str| [Box::<str>::from(text)];
        assert!(!revoked.any(&marks("sid:a"), at(0)));
        revoked.add(&Revocation { mark: "sid:a".into(), until: 10 }, at(0));
        revoked.add(&Revocation { mark: "sid:a".into(), until: 5 }, at(0));
        assert!(revoked.any(&marks("sid:a"), at(9)) && !revoked.any(&marks("sid:a"), at(10)));
        assert!(!revoked.any(&marks("sid:b"), at(1)));
    }

    #[test]
    fn what_has_expired_is_dropped() {
        let revoked = Revoked::default();
        for number in 0..100_000_u64 {
            revoked.add(&Revocation { mark: number.to_string().into(), until: number + 10 }, at(number));
        }
        assert!(revoked.marks.read().until.len() <= 2048);
    }

    #[test]
    fn those_that_expire_first_give_way_many_at_once() {
        let revoked = Revoked::default();
        // Half of what goes expires alone, the rest with many others.
        let end = |number: usize| 10 + number.min(GIVE_WAY / 2) as u64;
        revoked.marks.write().until.extend((0..MOST).map(|number| (number.to_string().into(), end(number))));
        revoked.add(&Revocation { mark: "new".into(), until: 20 }, at(0));
        let marks = revoked.marks.read();
        // The next ones find room.
        assert_eq!(marks.until.len(), MOST - GIVE_WAY + 1);
        assert!(marks.until.contains_key("new"));
        assert!((0..GIVE_WAY / 2).all(|number| !marks.until.contains_key(&*number.to_string())));
    }
}
