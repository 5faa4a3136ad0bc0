//! Flights: questions to services that several calls wait for. One asks; whoever leaves meanwhile, it goes on.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::policy::cache::{Entry, Key};
use crate::upstream::Failure;

/// What a question brought.
pub(super) type Landed = Result<(Arc<Entry>, Option<Arc<str>>), Failure>;

/// Where its outcome will be.
pub(super) type Arrival = watch::Receiver<Option<Landed>>;

/// The questions that are on their way.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Key, Arrival>>);

impl Flights {
    /// Where the outcome of the question for this key will be, and whether it is asked for the first time: then `ask` is
    /// asked, in a task of its own.
    pub(super) fn join<F>(self: &Arc<Self>, key: Key, ask: impl FnOnce() -> F) -> (Arrival, bool)
    where
        F: Future<Output = Landed> + Send + 'static,
    {
        let mut flights = self.0.lock();
        match flights.entry(key) {
            Place::Occupied(flight) => (flight.get().clone(), false),
            Place::Vacant(place) => {
                let (tell, arrival) = watch::channel(None);
                place.insert(arrival.clone());
                // A task that is not taken, and a question that fails, give the place up at once, which locks again.
                drop(flights);
                let (flying, ask) = (Flying { flights: self.clone(), key }, ask());
                tokio::spawn(async move {
                    let landed = ask.await;
                    // Who comes from here on finds it in the cache.
                    drop(flying);
                    let _ = tell.send(Some(landed));
                });
                (arrival, true)
            }
        }
    }
}

/// A question's place; it is given up however that ends.
struct Flying {
    flights: Arc<Flights>,
    key: Key,
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.key);
    }
}
