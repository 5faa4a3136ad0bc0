//! Memory: what calls hold of bodies and messages, counted in bytes over all of them.
//!
//! Connections, calls in flight, and what one call may bring are bounded each for itself; all of it together would still be
//! more than a process has. So each body and message that is larger than a piece is counted for as long as anybody holds it,
//! be it a call, an HTTP library or a client that does not read: the count goes with the bytes. Once it is full, whoever brings
//! more is refused. A stream takes room for the one message that it keeps, while it comes in and until it is taken. What is made of that which came, as JSON of a reply, is counted and not refused: its work is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::error::Error;
use crate::telemetry::{Metrics, Refusals};

/// Up to so many bytes are part of what any call takes, and are not counted.
pub const SMALL: usize = 64 * 1024;

/// When who was refused may come again: the time of some calls.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The bytes that all calls hold, and how many they may.
#[derive(Debug)]
pub struct Memory {
    most: AtomicU64,
    taken: Arc<AtomicU64>,
    refused: Option<Refusals>,
}

impl Memory {
    /// So many bytes at most.
    pub fn new(most: usize, metrics: &Metrics) -> Arc<Self> {
        let refused = Some(metrics.refusals("overload", "memory"));
        Arc::new(Self { most: AtomicU64::new(most as u64), taken: metrics.held_bytes(), refused })
    }

    /// As many as there are.
    pub fn unbounded() -> Arc<Self> {
        Arc::new(Self { most: AtomicU64::new(u64::MAX), taken: Arc::default(), refused: None })
    }

    /// From now on so many.
    pub fn set_most(&self, most: usize) {
        self.most.store(most as u64, Ordering::Relaxed);
    }

    /// Bytes that are held now.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Room for what comes.
    pub fn room(self: &Arc<Self>) -> Room {
        Room { memory: Arc::clone(self), bytes: 0 }
    }

    /// The same bytes, counted until nobody holds them.
    pub fn hold(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        if bytes.len() <= SMALL {
            return bytes;
        }
        let room = Room { memory: Arc::clone(self), bytes: bytes.len() as u64 };
        self.taken.fetch_add(room.bytes, Ordering::Relaxed);
        room.hold(bytes)
    }
}

/// Room that one body, message or stream takes; dropped, it is free again.
#[derive(Debug)]
pub struct Room {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Room {
    /// It takes so many bytes by now.
    ///
    /// # Errors
    /// [`Error::Overloaded`]: there are not so many.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let bytes = bytes as u64;
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let memory = &self.memory;
        let before = memory.taken.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > memory.most.load(Ordering::Relaxed) {
            memory.taken.fetch_sub(more, Ordering::Relaxed);
            memory.refused.iter().for_each(Refusals::count);
            return Err(Error::Overloaded { retry_after: RETRY_AFTER });
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Whoever has it keeps so many bytes now, be they more than before or fewer; few enough are part of what any call takes.
    ///
    /// # Errors
    /// [`Error::Overloaded`]: there are not so many more.
    pub fn keep(&mut self, bytes: usize) -> Result<(), Error> {
        let bytes = if bytes <= SMALL { 0 } else { bytes };
        let fewer = self.bytes.saturating_sub(bytes as u64);
        if fewer == 0 {
            return self.grow(bytes);
        }
        self.bytes -= fewer;
        self.memory.taken.fetch_sub(fewer, Ordering::Relaxed);
        Ok(())
    }

    /// The same for what was made of that which came: it is counted and not refused.
    pub fn keep_made(&mut self, bytes: usize) {
        let bytes = if bytes <= SMALL { 0 } else { bytes as u64 };
        if bytes != self.bytes {
            self.memory.taken.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
            self.bytes = bytes;
        }
    }

    /// Where it is.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// These bytes are what it was taken for: it is free when nobody holds them any more.
    pub fn hold(self, bytes: Bytes) -> Bytes {
        held(bytes, self)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.memory.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The same bytes, uncounted: for what is kept under another bound.
pub fn let_go(bytes: Bytes) -> Bytes {
    if bytes.len() <= SMALL { bytes } else { Bytes::copy_from_slice(&bytes) }
}

/// The same bytes, which keep `kept` until the last of them is dropped.
pub fn held<K: Send + 'static>(bytes: Bytes, kept: K) -> Bytes {
    Bytes::from_owner(Held { bytes, _kept: kept })
}

struct Held<K> {
    bytes: Bytes,
    _kept: K,
}

impl<K> AsRef<[u8]> for Held<K> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::{Memory, SMALL};
    use crate::error::Error;
    use crate::telemetry::Metrics;

    fn memory(most: usize) -> Arc<Memory> {
        Memory::new(most, &Metrics::new())
    }

    #[test]
    fn it_is_taken_as_bytes_come_and_free_when_the_last_of_them_is_dropped() {
        let memory = memory(1000);
        let mut room = memory.room();
        room.grow(600).unwrap();
        room.grow(400).unwrap();
        room.grow(900).unwrap();
        assert_eq!(memory.taken(), 900);
        let bytes = room.hold(Bytes::from(vec![7; 900]));
        let part = bytes.slice(100..200);
        drop(bytes);
        assert_eq!((memory.taken(), part.len(), part[0]), (900, 100, 7));
        drop(part);
        assert_eq!(memory.taken(), 0);
    }

    #[test]
    fn what_is_kept_may_grow_and_shrink_and_little_is_not_counted() {
        let memory = memory(4 * SMALL);
        let (mut came, mut made) = (memory.room(), memory.room());
        came.keep(SMALL).unwrap();
        assert_eq!(memory.taken(), 0);
        came.keep(3 * SMALL).unwrap();
        assert!(memory.room().keep(2 * SMALL).is_err());
        made.keep_made(2 * SMALL);
        assert_eq!(memory.taken(), 5 * SMALL as u64);
        assert!(came.keep(4 * SMALL).is_err());
        came.keep(2 * SMALL).unwrap();
        made.keep_made(SMALL + 1);
        assert_eq!(memory.taken(), 3 * SMALL as u64 + 1);
        came.keep(1).unwrap();
        made.keep_made(0);
        assert_eq!(memory.taken(), 0);
    }

    #[test]
    fn what_comes_is_refused_when_it_is_full_and_what_was_made_is_not() {
        let memory = memory(2 * SMALL);
        let made = memory.hold(Bytes::from(vec![0; 3 * SMALL]));
        assert_eq!(memory.taken(), 3 * SMALL as u64);
        let mut room = memory.room();
        assert!(matches!(room.grow(1), Err(Error::Overloaded { .. })));
        drop(made);
        room.grow(2 * SMALL).unwrap();
        assert!(memory.room().grow(1).is_err());
        memory.set_most(3 * SMALL);
        memory.room().grow(1).unwrap();
        drop(room);
        assert_eq!(memory.taken(), 0);
        // What is small is any call's.
        let small = memory.hold(Bytes::from(vec![0; SMALL]));
        assert_eq!((memory.taken(), small.len()), (0, SMALL));
    }
}
