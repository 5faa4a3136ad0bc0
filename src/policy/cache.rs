//! Cache: replies that are kept for a while, with the answers that were made of them.
//!
//! ```text
//! key     whose reply: all that the service would see of the call
//! entry   one reply, and its finished answers in each form
//! told    what answers say of it: ETag, Cache-Control, Age, Vary
//! ```
//!
//! A reply is never given to another user unless it is declared public: what tells two calls apart for the service tells
//! them apart here. Forgetting is counting: each method has a generation, which is part of its keys.

mod entry;
mod key;
mod told;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use moka::Expiry;
use parking_lot::Mutex;

use crate::config;
use crate::telemetry::{CacheMetrics, CacheOutcome, Metrics};

pub use entry::{Entry, Form, Rendered};
pub use key::Key;

/// The replies that a gateway keeps, of all methods.
pub struct Cache {
    entries: moka::sync::Cache<Key, Arc<Entry>>,
    generations: Mutex<HashMap<Box<str>, Arc<AtomicU64>>>,
}

impl Cache {
    /// Room for so many bytes.
    pub fn new(size: usize) -> Arc<Self> {
        let entries = moka::sync::Cache::builder()
            .max_capacity(size as u64)
            .weigher(|_, entry: &Arc<Entry>| u32::try_from(entry.weight()).unwrap_or(u32::MAX))
            .expire_after(Until)
            .build();
        Arc::new(Self { entries, generations: Mutex::default() })
    }

    /// Forgets the replies of a method.
    pub fn forget(&self, rpc: &str) {
        if let Some(generation) = self.generations.lock().get(rpc) {
            generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Forgets everything.
    pub fn forget_all(&self) {
        for generation in self.generations.lock().values() {
            generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn generation(&self, rpc: &str) -> Arc<AtomicU64> {
        self.generations.lock().entry(rpc.into()).or_default().clone()
    }
}

/// When an entry is of no more use.
struct Until;

impl Expiry<Key, Arc<Entry>> for Until {
    fn expire_after_create(&self, _: &Key, entry: &Arc<Entry>, now: Instant) -> Option<Duration> {
        Some(entry.stale_until.saturating_duration_since(now))
    }

    fn expire_after_update(&self, _: &Key, entry: &Arc<Entry>, now: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(entry.stale_until.saturating_duration_since(now))
    }
}

/// How the replies of one method are kept.
pub struct Policy {
    /// `pkg.Service/Method`
    pub rpc: Box<str>,
    written: config::MethodCache,
    cache: Arc<Cache>,
    generation: Arc<AtomicU64>,
    /// `Cache-Control`, and on which headers answers depend.
    control: HeaderValue,
    vary: Option<HeaderValue>,
    counts: CacheMetrics,
}

/// What is kept for a call.
pub enum Found {
    /// A good reply.
    Fresh(Arc<Entry>),
    /// One that may be given while another is fetched.
    Stale(Arc<Entry>),
    /// None.
    Missing,
}

impl Policy {
    /// The policy of a method; `None`: nothing is kept.
    pub fn compile(
        rpc: &str,
        written: &config::MethodCache,
        cache: &Arc<Cache>,
        metrics: &Metrics,
    ) -> Option<Arc<Self>> {
        if written.ttl.is_zero() {
            return None;
        }
        let whose = if written.public { "public" } else { "private" };
        let (ttl, stale) = (written.ttl.as_secs(), written.stale_while_revalidate.as_secs());
        let stale = if stale > 0 { format!(", stale-while-revalidate={stale}") } else { String::new() };
        let vary = match written.public {
            true => written.vary.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", "),
            false => "authorization, accept-language".to_owned(),
        };
        Some(Arc::new(Self {
            rpc: rpc.into(),
            cache: cache.clone(),
            generation: cache.generation(rpc),
            // Words and digits.
            control: HeaderValue::try_from(format!("{whose}, max-age={ttl}{stale}")).ok()?,
            vary: HeaderValue::try_from(vary).ok().filter(|vary| !vary.is_empty()),
            counts: metrics.cache(rpc),
            written: written.clone(),
        }))
    }

    /// RPCs after which this one's replies are forgotten.
    pub fn invalidated_by(&self) -> &[String] {
        &self.written.invalidated_by
    }

    /// Whose reply it would be: `metadata` is all that the service would be sent beside the message.
    pub fn key(&self, message: &[u8], metadata: &HeaderMap) -> Key {
        let vary = self.written.public.then_some(&*self.written.vary);
        Key::of(&self.rpc, self.generation.load(Ordering::Acquire), message, metadata, vary)
    }

    /// What is kept.
    pub fn find(&self, key: &Key, now: Instant) -> Found {
        match self.cache.entries.get(key) {
            Some(entry) if now < entry.fresh_until => {
                self.counts.count(CacheOutcome::Hit);
                Found::Fresh(entry)
            }
            Some(entry) if now < entry.stale_until => {
                self.counts.count(CacheOutcome::Stale);
                Found::Stale(entry)
            }
            _ => {
                self.counts.count(CacheOutcome::Miss);
                Found::Missing
            }
        }
    }

    /// A reply that has just come, and is kept if it may be.
    pub fn keep(&self, key: Key, headers: HeaderMap, message: bytes::Bytes, trailers: HeaderMap) -> Arc<Entry> {
        let fresh = self.written.ttl;
        let kept = self.may_keep(&headers) && self.may_keep(&trailers);
        let entry = Entry::new(
            [headers, trailers],
            message,
            Instant::now(),
            (fresh, self.written.stale_while_revalidate),
            kept,
        );
        if kept {
            self.cache.entries.insert(key, entry.clone());
        }
        entry
    }

    /// An entry has grown by an answer that was made of it.
    pub fn weigh(&self, key: Key, entry: &Arc<Entry>) {
        // Not what was forgotten meanwhile, for room or for good.
        if entry.kept && self.cache.entries.contains_key(&key) {
            self.cache.entries.insert(key, entry.clone());
        }
    }

    /// Replies that speak to one browser, or of which their service says so, are nobody else's.
    fn may_keep(&self, metadata: &HeaderMap) -> bool {
        let control = metadata.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        let forbids = |word: &str| {
            let name = word.split('=').next().unwrap_or_default().trim();
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            is("no-store") || is("no-cache") || (self.written.public && is("private"))
        };
        !metadata.contains_key(header::SET_COOKIE) && !control.flat_map(|value| value.split(',')).any(forbids)
    }
}
