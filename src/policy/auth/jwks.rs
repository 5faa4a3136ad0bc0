//! Jwks: the keys that an issuer publishes (RFC 7517): fetched in time, and sooner when a token names a key that is not among
//! them. While the issuer cannot be reached, the keys that it had go on serving.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::key::Key;
use super::token::Token;
use crate::config::{self, Algorithm, Jwks};
use crate::fetch::Fetch;
use crate::telemetry::IssuerKeys;

/// Bytes of the largest set.
const LARGEST: usize = 512 * 1024;
/// Keys beyond this many are not looked at.
const MOST_KEYS: usize = 100;
/// Keys that are tried for a token that names none: so much work is a forged one.
const MOST_TRIES: usize = 16;
/// How long a fetch may take.
const TIME: Duration = Duration::from_secs(5);
/// How long a call waits for a fetch that it has asked for.
const PATIENCE: Duration = Duration::from_secs(3);
/// The pause after a first failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Keys of one issuer.
#[derive(Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    /// The text that they were read from.
    source: Bytes,
    /// Counts the texts: what was verified by an earlier one is verified again.
    pub(super) epoch: u64,
}

/// What a set says of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// One of its keys signed it.
    Signed,
    /// The key did not that it names, or none could have.
    Unsigned,
    /// It has no key of that name, or none of those without a name did: another one may have come.
    UnknownKey,
}

impl KeySet {
    /// A set of one.
    pub(super) fn one(key: Key) -> Self {
        Self { keys: vec![key], ..Self::default() }
    }

    /// Reads a set. Keys that are of no use here are left out; `told` hears of each.
    pub(super) fn read(
        source: &Bytes,
        algorithms: &[Algorithm],
        mut told: impl FnMut(&str, &str),
    ) -> Result<Self, &'static str> {
        let set: Value = serde_json::from_slice(source).map_err(|_| "is no JSON")?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or("is no JWK set: it has no `keys`")?;
        let mut keys = Vec::new();
        for value in listed.iter().take(MOST_KEYS) {
            match Key::jwk(value, algorithms) {
                Ok(key) => keys.push(key),
                Err(why) => told(value.get("kid").and_then(Value::as_str).unwrap_or_default(), &why),
            }
        }
        if keys.is_empty() {
            return Err("has no key that can verify tokens");
        }
        if keys.len() > MOST_TRIES {
            told("", "tokens that name no key are tried with the first sixteen of their algorithm alone");
        }
        Ok(Self { keys, source: source.clone(), epoch: 0 })
    }

    /// Whether one of the keys signed the token. A key that has a name is asked only for tokens that name it, or none.
    pub(super) fn signed(&self, token: &Token<'_>) -> Match {
        let (mut known, mut tries) = (false, 0);
        for key in &self.keys {
            let named = match (&key.id, &token.key) {
                (Some(id), Some(wanted)) if id != wanted => continue,
                (id, wanted) => id.is_some() && wanted.is_some(),
            };
            known |= named;
            if key.takes(token.algorithm) && tries < MOST_TRIES {
                tries += 1;
                if key.signed(token) {
                    return Match::Signed;
                }
            }
        }
        // A secret is never published.
        if known || token.algorithm.is_of_secret() { Match::Unsigned } else { Match::UnknownKey }
    }

    /// Whether a key is of this algorithm.
    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.takes(algorithm))
    }
}

/// A set that its issuer publishes.
pub(super) struct Remote {
    uri: Uri,
    algorithms: Vec<Algorithm>,
    refresh: Duration,
    cooldown: Duration,
    current: ArcSwap<KeySet>,
    /// A key is missed.
    wanted: Notify,
    rounds: watch::Sender<Round>,
    told: IssuerKeys,
    fetch: Fetch,
}

/// What is there of an issuer's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// All that it publishes, as of late.
    Fetched,
    /// What it had; it does not answer now.
    Stale,
    /// Nothing yet.
    Missing,
}

/// How far fetching has come.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    ended: u64,
    under_way: bool,
    /// When the last one ended.
    last: Option<Instant>,
    /// It brought none.
    failed: bool,
}

impl Remote {
    /// A set that is not fetched yet: until then what is known of it holds.
    pub(super) fn new(
        uri: &Uri,
        config: &config::Jwt,
        known: Option<Arc<KeySet>>,
        (told, fetch): (IssuerKeys, Fetch),
    ) -> Arc<Self> {
        if let Some(known) = &known {
            told.serve(known.keys.len());
        }
        Arc::new(Self {
            uri: uri.clone(),
            algorithms: config.algorithms.clone(),
            refresh: config.jwks_refresh,
            cooldown: config.jwks_cooldown,
            current: ArcSwap::from(known.unwrap_or_default()),
            wanted: Notify::new(),
            rounds: watch::Sender::new(Round::default()),
            told,
            fetch,
        })
    }

    /// The keys that are known now, where an entry asks for these very ones: from there, and by the same algorithms.
    pub(super) fn published(&self, entry: &config::Jwt) -> Option<Arc<KeySet>> {
        let same =
            matches!(&entry.jwks, Some(Jwks::Url(uri)) if *uri == self.uri) && entry.algorithms == self.algorithms;
        same.then(|| self.current.load_full())
    }

    /// The keys that are known now.
    pub(super) fn keys(&self) -> arc_swap::Guard<Arc<KeySet>> {
        self.current.load()
    }

    /// No fetch has succeeded yet.
    pub(super) fn is_empty(&self) -> bool {
        self.current.load().keys.is_empty()
    }

    /// What its issuer is called.
    pub(super) fn issuer(&self) -> &str {
        self.told.issuer()
    }

    pub(super) fn freshness(&self) -> Freshness {
        match (self.is_empty(), self.rounds.borrow().failed) {
            (true, _) => Freshness::Missing,
            (false, true) => Freshness::Stale,
            (false, false) => Freshness::Fetched,
        }
    }

    /// Waits for the next fetch to end, and asks for it. False at once if the last one has just been: unknown keys, however
    /// many are named, never make more fetches than one in a cooldown.
    pub(super) async fn renewed(&self) -> bool {
        let mut rounds = self.rounds.subscribe();
        let now = *rounds.borrow_and_update();
        if !now.under_way && now.last.is_some_and(|last| last.elapsed() < self.cooldown) {
            return false;
        }
        self.wanted.notify_one();
        timeout(PATIENCE, rounds.wait_for(|round| round.ended > now.ended)).await.is_ok_and(|ended| ended.is_ok())
    }

    /// Fetches for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        // What a reload has fetched aside is fetched again in its time.
        if self.rounds.borrow().last.is_none() {
            self.round().await;
        }
        loop {
            let (now, failed) = {
                let round = self.rounds.borrow();
                (round.last.unwrap_or_else(Instant::now), round.failed)
            };
            let next = if failed {
                let next = pause.min(self.refresh);
                pause = (pause * 2).min(LONGEST_PAUSE);
                next
            } else {
                pause = FIRST_PAUSE;
                self.refresh
            };
            tokio::select! {
                () = sleep_until(now + next) => {}
                () = self.wanted.notified() => sleep_until(now + self.cooldown).await,
            }
            self.round().await;
        }
    }

    /// Fetches once, and tells what came of it.
    async fn round(&self) {
        if let Err(why) = self.fetch_once().await {
            tracing::warn!(uri = %self.uri, %why, known = self.current.load().keys.len(), "keys not fetched");
        }
    }

    /// Fetches once.
    ///
    /// # Errors
    /// Why that brought no keys; those that were known serve on.
    pub(super) async fn fetch_once(&self) -> Result<(), String> {
        self.rounds.send_modify(|round| round.under_way = true);
        let fetched = self.fetch().await;
        let failed = fetched.is_err();
        match failed {
            true => self.told.failed(),
            false => self.told.fetched(),
        }
        self.rounds.send_modify(|round| {
            *round = Round { ended: round.ended + 1, under_way: false, last: Some(Instant::now()), failed };
        });
        fetched
    }

    async fn fetch(&self) -> Result<(), String> {
        let answer = self.fetch.get(&self.uri, TIME, LARGEST).await.map_err(|failure| failure.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!("HTTP status {}", answer.status().as_u16()));
        }
        let before = self.current.load();
        if before.source == *answer.body() {
            return Ok(());
        }
        let set = KeySet::read(answer.body(), &self.algorithms, |key, why| {
            tracing::info!(uri = %self.uri, key, why, "a published key is not used");
        })?;
        tracing::info!(uri = %self.uri, keys = set.keys.len(), "keys fetched");
        self.told.serve(set.keys.len());
        self.current.store(Arc::new(KeySet { epoch: before.epoch + 1, ..set }));
        Ok(())
    }
}
