//! Events: what one gateway tells all, over Redis pub/sub. Without a Redis there is one gateway, and it hears itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::time::{interval, sleep, timeout};
use tokio_stream::StreamExt as _;

use super::redis::{Redis, Said, Unavailable};

/// What the user needs of Redis' access control lists to tell and to hear events.
const RIGHTS: &str = "+publish +psubscribe +ping &transom:event:*";
/// What our channels' names begin with.
const PREFIX: &str = "transom:event:";
/// Events that a slow listener may be behind; then it is told that it has missed some.
const BEHIND: usize = 1024;
/// How often a silent connection is asked whether it is there, and how long it may take to say so.
const ALIVE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(400));
/// How long an event may take to be told.
const TELL: Duration = Duration::from_millis(500);
/// From one attempt to connect to the next.
const PAUSE: Duration = Duration::from_millis(200);

/// What a gateway hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A gateway said this.
    Told {
        /// What it is about.
        topic: Box<str>,
        /// What it said.
        payload: Bytes,
    },
    /// The connection is there, for the first time or again: what was said before it was not heard.
    Connected,
    /// The connection is gone: nothing is heard until it is back.
    Lost,
}

/// Those who listen.
pub(super) struct Events {
    listeners: broadcast::Sender<Event>,
    connected: Arc<AtomicBool>,
}

impl Events {
    pub(super) fn new() -> Self {
        Self { listeners: broadcast::Sender::new(BEHIND), connected: Arc::default() }
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Event> {
        self.listeners.subscribe()
    }

    /// Whether other gateways are heard, now and from now on.
    pub(super) fn connected(&self) -> &Arc<AtomicBool> {
        &self.connected
    }

    /// Tells those who listen here; that there are none is no fault.
    pub(super) fn here(&self, topic: &str, payload: &[u8]) {
        let _ = self.listeners.send(Event::Told { topic: topic.into(), payload: Bytes::copy_from_slice(payload) });
    }

    /// Hears what other gateways say, forever. The log hears of a Redis that cannot be reached, once in a while.
    pub(super) async fn follow(&self, redis: &Redis) {
        let said = Said::default();
        loop {
            match self.hear(redis).await {
                Ended::Lost(reason) => {
                    self.connected.store(false, Ordering::Relaxed);
                    let _ = self.listeners.send(Event::Lost);
                    tracing::warn!(reason, "redis is gone; limits and sessions go by what is configured without it");
                    said.forget();
                }
                Ended::Unreached(reason) => {
                    if let Some(unsaid) = said.again(&reason, Instant::now()) {
                        tracing::warn!(
                            address = redis.address(),
                            reason,
                            unsaid,
                            "redis cannot be reached; limits, sessions and logouts go by what is configured without it"
                        );
                    }
                }
                Ended::Refused(reason) => {
                    if let Some(unsaid) = said.again(&reason, Instant::now()) {
                        tracing::warn!(
                            address = redis.address(),
                            reason,
                            unsaid,
                            "redis does not let its user hear what other gateways tell: logouts elsewhere go by what is configured \
                             without it; grant the user {RIGHTS}"
                        );
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn hear(&self, redis: &Redis) -> Ended {
        const LATE: &str = "it did not answer in time";
        let subscriber = match timeout(TELL * 2, redis.subscriber()).await {
            Ok(Ok(subscriber)) => subscriber,
            Ok(Err(error)) => return Ended::Unreached(error.to_string()),
            Err(_) => return Ended::Unreached(LATE.to_owned()),
        };
        let (mut ask, mut messages) = subscriber.split();
        match timeout(ALIVE.1, ask.psubscribe(format!("{PREFIX}*"))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.code() == Some("NOPERM") => return Ended::Refused(error.to_string()),
            Ok(Err(error)) => return Ended::Unreached(format!("it refused to subscribe: {error}")),
            Err(_) => return Ended::Unreached(LATE.to_owned()),
        }
        tracing::info!("redis is connected");
        self.connected.store(true, Ordering::Relaxed);
        let _ = self.listeners.send(Event::Connected);
        let mut alive = interval(ALIVE.0);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return Ended::Lost("the connection broke") };
                    if let Some(topic) = message.get_channel_name().strip_prefix(PREFIX) {
                        self.here(topic, message.get_payload_bytes());
                    }
                }
                _ = alive.tick() => {
                    if !matches!(timeout(ALIVE.1, ask.ping::<redis::Value>()).await, Ok(Ok(_))) {
                        return Ended::Lost(LATE);
                    }
                }
            }
        }
    }
}

/// Why nothing is heard any more.
enum Ended {
    /// Something was.
    Lost(&'static str),
    /// It was never there.
    Unreached(String),
    /// It is there, and its user may not listen.
    Refused(String),
}

/// Tells all gateways that listen.
pub(super) async fn publish(redis: &Redis, topic: &str, payload: &[u8]) -> Result<(), Unavailable> {
    let mut command = redis::cmd("PUBLISH");
    command.arg(channel(topic)).arg(payload);
    redis.ask(&command, TELL).await.map(drop)
}

/// Where a topic is spoken of.
pub(super) fn channel(topic: &str) -> String {
    format!("{PREFIX}{topic}")
}
