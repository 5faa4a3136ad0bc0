//! Store: what the gateways of a system have in common. Without a Redis, each has it to itself.
//!
//! ```text
//! redis    the connection: one a worker, made again when it breaks, never waited for
//! events   what one gateway tells all
//! ```
//!
//! Nobody may wait for a store that is gone: whoever asks says how long, and what holds without an answer.

mod events;
mod redis;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config;
use events::Events;
use redis::Redis;

pub use events::Event;
pub use redis::{Link, Script, Unavailable};

/// What the gateways of a system have in common.
pub struct Store {
    events: Events,
    /// None: everything is kept here.
    redis: Option<Redis>,
}

impl Store {
    /// A store as configured. Nothing is connected before it is asked.
    pub fn compile(config: &config::Redis) -> Self {
        Self { events: Events::new(), redis: Redis::compile(config) }
    }

    /// The Redis, where there is one.
    pub fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    /// Whether the Redis answers; `None` without one.
    pub fn is_connected(&self) -> Option<bool> {
        self.redis.as_ref().map(|_| self.events.is_connected())
    }

    /// Everything that gateways tell each other from now on, this one included.
    pub fn listen(&self) -> tokio::sync::broadcast::Receiver<Event> {
        self.events.listen()
    }

    /// Tells all gateways, this one first; `topic` is a word of ours.
    ///
    /// # Errors
    /// The others were not told.
    pub async fn tell(&self, topic: &'static str, payload: &[u8]) -> Result<(), Unavailable> {
        self.events.here(topic, payload);
        match &self.redis {
            Some(redis) => events::publish(redis, topic, payload).await,
            None => Ok(()),
        }
    }

    /// Keeps up what is beside the calls, until stopped.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let Some(redis) = &self.redis else { return };
        let _ = stop.run_until_cancelled(self.events.follow(redis)).await;
    }
}
