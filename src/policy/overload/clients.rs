//! How many calls each client has in flight, on all workers. Who has none is not remembered.

use std::hash::BuildHasher as _;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::store::Client;

/// Clients that share a lock; a worker seldom waits for another one.
const SHARDS: usize = 32;

/// Calls in flight, by client.
#[derive(Default)]
pub(super) struct Clients {
    /// Seeded afresh in each process: nobody chooses addresses that share a lock.
    seed: RandomState,
    shards: [Mutex<HashMap<Client, usize, RandomState>>; SHARDS],
}

impl Clients {
    /// One more call, unless the client has as many as it may; who enters leaves.
    pub(super) fn enter(&self, client: IpAddr, most: usize) -> bool {
        let client = Client::from(client);
        let mut shard = self.shard(client).lock();
        let count = shard.entry(client).or_default();
        let room = *count < most;
        *count += usize::from(room);
        room
    }

    /// One call less.
    pub(super) fn leave(&self, client: IpAddr) {
        let client = Client::from(client);
        let mut shard = self.shard(client).lock();
        if let Some(count) = shard.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&client);
            }
        }
    }

    fn shard(&self, client: Client) -> &Mutex<HashMap<Client, usize, RandomState>> {
        &self.shards[self.seed.hash_one(client) as usize % SHARDS]
    }
}
