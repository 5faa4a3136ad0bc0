//! Flights: questions to services that several calls wait for. One asks; whoever leaves meanwhile, it goes on.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Where a question's outcome will be.
pub(super) type Arrival<T> = watch::Receiver<Option<T>>;

/// The questions that are on their way, by what they ask for.
pub(super) struct Flights<K: Eq + Hash, T>(Mutex<HashMap<K, Arrival<T>>>);

impl<K: Eq + Hash, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Send + Sync + 'static,
{
    /// Where the outcome of the question for this key will be, and whether it is asked for the first time: then `ask` is
    /// asked, in a task of its own.
    pub(super) fn join<F>(self: &Arc<Self>, key: K, ask: impl FnOnce() -> F) -> (Arrival<T>, bool)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut flights = self.0.lock();
        match flights.entry(key) {
            Place::Occupied(flight) => (flight.get().clone(), false),
            Place::Vacant(place) => {
                let (tell, arrival) = watch::channel(None);
                let key = place.key().clone();
                place.insert(arrival.clone());
                // A task that is not taken, and a question that fails, give the place up at once, which locks again.
                drop(flights);
                let (flying, ask) = (Flying { flights: self.clone(), key }, ask());
                tokio::spawn(async move {
                    let landed = ask.await;
                    // Who comes from here on finds it where it is kept.
                    drop(flying);
                    let _ = tell.send(Some(landed));
                });
                (arrival, true)
            }
        }
    }
}

/// A question's place; it is given up however that ends.
struct Flying<K: Eq + Hash, T> {
    flights: Arc<Flights<K, T>>,
    key: K,
}

impl<K: Eq + Hash, T> Drop for Flying<K, T> {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.key);
    }
}
