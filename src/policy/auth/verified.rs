//! Verified: what is known of tokens, by the whole token: a hash alone would take one token for another.
//!
//! Shared by all workers, so that a signature is checked once in the process; divided, so that they seldom meet.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;

/// How many parts there are; a power of two.
const PARTS: usize = 64;
/// Bytes of tokens in one part: 32 MiB in all.
const PART: usize = 512 * 1024;
/// What an entry takes besides its token, about: claims, headers, places.
const ENTRY: usize = 1024;

/// What is known of tokens; bounded, the longest unused go first.
pub(super) struct Verified<V> {
    hasher: foldhash::quality::RandomState,
    parts: Box<[Mutex<Part<V>>]>,
}

struct Part<V> {
    known: HashMap<Arc<str>, Known<V>, foldhash::quality::RandomState>,
    /// In the order of their coming; one that was used since goes to the end once more.
    order: VecDeque<Arc<str>>,
    bytes: usize,
}

struct Known<V> {
    value: V,
    used: AtomicBool,
}

impl<V> Default for Verified<V> {
    fn default() -> Self {
        let hasher = foldhash::quality::RandomState::default();
        let part = |_| {
            let known = HashMap::with_hasher(foldhash::quality::RandomState::default());
            Mutex::new(Part { known, order: VecDeque::new(), bytes: 0 })
        };
        Self { hasher, parts: (0..PARTS).map(part).collect() }
    }
}

impl<V: Clone> Verified<V> {
    /// What is known of a token, if it still holds.
    pub(super) fn get(&self, token: &str, holds: impl FnOnce(&V) -> bool) -> Option<V> {
        let part = self.part(token).lock();
        let known = part.known.get(token)?;
        if !holds(&known.value) {
            return None;
        }
        known.used.store(true, Ordering::Relaxed);
        Some(known.value.clone())
    }

    /// Remembers a token; what does not hold any more makes room first.
    pub(super) fn insert(&self, token: &str, value: V, holds: impl Fn(&V) -> bool) {
        let mut part = self.part(token).lock();
        let part = &mut *part;
        let cost = token.len() + ENTRY;
        if let Some(known) = part.known.get_mut(token) {
            known.value = value;
            return;
        }
        part.bytes += cost;
        // Each may be passed over once, then the first of them goes.
        let mut passes = part.order.len();
        while part.bytes > PART {
            let Some(oldest) = part.order.pop_front() else { break };
            let Some(known) = part.known.get(&oldest) else { continue };
            if passes > 0 && holds(&known.value) && known.used.swap(false, Ordering::Relaxed) {
                passes -= 1;
                part.order.push_back(oldest);
                continue;
            }
            part.known.remove(&oldest);
            part.bytes -= oldest.len() + ENTRY;
        }
        let token: Arc<str> = token.into();
        part.order.push_back(token.clone());
        part.known.insert(token, Known { value, used: AtomicBool::new(false) });
    }

    fn part(&self, token: &str) -> &Mutex<Part<V>> {
        let hash = self.hasher.hash_one(token);
        &self.parts[usize::try_from(hash >> 32).unwrap_or(0) % PARTS]
    }

    /// Tokens that are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().known.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{ENTRY, PART, PARTS, Verified};

    #[test]
    fn the_whole_token_counts_and_only_while_it_holds() {
        let verified = Verified::default();
        verified.insert("a.b.c", 1, |_| true);
        assert_eq!(verified.get("a.b.c", |_| true), Some(1));
        assert_eq!(verified.get("a.b.d", |_| true), None);
        assert_eq!(verified.get("a.b.", |_| true), None);
        assert_eq!(verified.get("a.b.c", |_| false), None);
        verified.insert("a.b.c", 2, |_| true);
        assert_eq!((verified.get("a.b.c", |_| true), verified.len()), (Some(2), 1));
    }

    #[test]
    fn a_flood_of_tokens_is_bounded_and_spares_the_ones_in_use() {
        let verified = Verified::default();
        verified.insert("in use", 0, |_| true);
        for number in 0..100_000 {
            verified.insert(&format!("{number:0>200}"), number, |_| true);
            assert_eq!(verified.get("in use", |_| true), Some(0), "{number}");
        }
        let most = PARTS * PART / (ENTRY + 200);
        assert!(verified.len() <= most && verified.len() > most / 2, "{} of {most}", verified.len());
    }
}
