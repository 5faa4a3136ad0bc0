//! A sharded map of small values that come to rest: what every client has, for two million of them and no more.
//!
//! A value at rest is as good as none. It is dropped when room is needed, and by [`Table::sweep`] when traffic is gone; a
//! flood of clients that all are busy makes the quietest half of a shard forgotten.

use std::hash::{BuildHasher as _, Hash, RandomState};

use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard};

/// Shards: a worker that adds to one does not stop the others.
const SHARDS: usize = 64;
/// Values in a shard: 2^21 in all.
const MOST: usize = (1 << 21) / SHARDS;
/// A shard looks for values at rest when it is twice as large as after the last time, and not below this.
const LEAST: usize = 256;

/// What a table holds.
pub(super) trait Resting: Default {
    /// The instant from which on it is at rest.
    fn rests(&self) -> u64;
}

/// A sharded map from keys to values that come to rest.
pub(super) struct Table<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    /// Unknown to those who choose what is hashed.
    secrets: [RandomState; 2],
}

/// Whose value: 128 bits of a keyed hash. Two keys that clash are not found by chance or by trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64, u64);

impl Key {
    /// The index of its shard.
    pub(super) fn shard(self) -> usize {
        self.1 as usize % SHARDS
    }
}

/// One lock's part of a table.
pub(super) struct Shard<V> {
    values: HashTable<(Key, V)>,
    /// The size at which to look for values at rest.
    sweep_at: usize,
}

impl<V: Resting> Table<V> {
    pub(super) fn new() -> Self {
        let shard = || Mutex::new(Shard { values: HashTable::new(), sweep_at: LEAST });
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), secrets: [RandomState::new(), RandomState::new()] }
    }

    /// The key of what is under `name` for `whom`.
    pub(super) fn key(&self, name: &str, whom: impl Hash) -> Key {
        let [first, second] = self.secrets.each_ref().map(|secret| secret.hash_one((name, &whom)));
        Key(first, second)
    }

    /// A shard. Who locks several locks them in their order.
    pub(super) fn lock(&self, shard: usize) -> MutexGuard<'_, Shard<V>> {
        self.shards[shard].lock()
    }

    /// Drops what is at rest.
    pub(super) fn sweep(&self, now: u64) {
        for shard in &self.shards {
            shard.lock().sweep(now);
        }
    }

    /// Values that are held, and bytes that hold them.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let shards = self.shards.iter().map(|shard| shard.lock());
        shards.fold((0, 0), |(values, bytes), shard| {
            (values + shard.values.len(), bytes + shard.values.allocation_size())
        })
    }
}

impl<V: Resting> Shard<V> {
    /// The value of a key, if it has one.
    pub(super) fn find(&self, key: Key) -> Option<&V> {
        self.values.find(key.0, |(held, _)| *held == key).map(|(_, value)| value)
    }

    /// The value of a key; a new one where there is none.
    pub(super) fn value(&mut self, key: Key, now: u64) -> &mut V {
        if self.values.len() >= self.sweep_at && self.find(key).is_none() {
            self.sweep(now);
        }
        let entry = self.values.entry(key.0, |(held, _)| *held == key, |(held, _)| held.0);
        &mut entry.or_insert_with(|| (key, V::default())).into_mut().1
    }

    /// Drops what is at rest, and the quietest half if that leaves no room.
    fn sweep(&mut self, now: u64) {
        self.values.retain(|(_, value)| value.rests() > now);
        if self.values.len() >= MOST {
            let mut rests: Vec<u64> = self.values.iter().map(|(_, value)| value.rests()).collect();
            let (_, median, _) = rests.select_nth_unstable(MOST / 2);
            let median = *median;
            self.values.retain(|(_, value)| value.rests() > median);
        }
        self.sweep_at = (self.values.len() * 2).clamp(LEAST, MOST);
        // Given back only where that is worth the move.
        if self.values.capacity() > 4 * self.values.len().max(16) {
            self.values.shrink_to(2 * self.values.len(), |(held, _)| held.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAST, MOST, Resting, SHARDS, Table};

    #[derive(Default)]
    struct Until(u64);

    impl Resting for Until {
        fn rests(&self) -> u64 {
            self.0
        }
    }

    fn add(table: &Table<Until>, client: u64, until: u64, now: u64) {
        let key = table.key("limit", client);
        table.lock(key.shard()).value(key, now).0 = until;
    }

    #[test]
    fn it_holds_what_it_was_given() {
        let table = Table::<Until>::new();
        (1..=5000).for_each(|client| add(&table, client, client, 0));
        for client in 1..=5000_u64 {
            let key = table.key("limit", client);
            assert_eq!(table.lock(key.shard()).find(key).map(|until| until.0), Some(client));
            let other = table.key("another", client);
            assert!(table.lock(other.shard()).find(other).is_none());
        }
    }

    #[test]
    fn what_rests_makes_room_before_more_is_taken() {
        let table = Table::<Until>::new();
        for now in 0..50_u64 {
            (0..10_000).for_each(|client| add(&table, now * 10_000 + client, now + 1, now));
        }
        let (held, _) = table.size();
        assert!(held <= 3 * 10_000 + SHARDS * LEAST, "{held} of 500000 are held");
    }

    #[test]
    fn a_flood_is_bounded_and_the_busiest_stay() {
        let table = Table::<Until>::new();
        for client in 0..3_000_000 {
            add(&table, client, if client % 1000 == 0 { u64::MAX } else { 1000 + client }, 0);
        }
        let (held, _) = table.size();
        assert!(held <= SHARDS * MOST, "{held}");
        for client in (0..3_000_000_u64).step_by(1000) {
            let key = table.key("limit", client);
            assert!(table.lock(key.shard()).find(key).is_some(), "{client}");
        }
    }

    #[test]
    fn memory_comes_back_when_traffic_is_gone() {
        let table = Table::<Until>::new();
        (0..200_000).for_each(|client| add(&table, client, 10, 0));
        let (_, before) = table.size();
        table.sweep(10);
        let (held, after) = table.size();
        assert_eq!(held, 0);
        assert!(after * 10 < before, "{after} of {before} bytes");
    }
}
