//! Cache: replies that are kept for a while, with the answers that were made of them.
//!
//! ```text
//! key         whose reply: all that the service would see of the call
//! entry       one reply, and its finished answers in each form
//! generation  how often replies were forgotten
//! tie         which replies a call makes forgotten, by fields of the requests
//! told        what answers say of it: ETag, Cache-Control, Age, Vary
//! shared      replies that gateways share in a Redis
//! hearsay     what one gateway forgets, all do
//! ```
//!
//! A reply is never given to another user unless it is declared public: what tells two calls apart for the service tells
//! them apart here. Forgetting is counting: generations are part of the keys.

mod entry;
mod generation;
mod hearsay;
mod key;
mod shared;
mod tie;
mod told;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use moka::Expiry;
use moka::ops::compute::Op;
use smallvec::SmallVec;
use transom_transcode::schema::{MessageId, Schema};

use crate::config;
use crate::error::Error;
use crate::telemetry::{CacheMetrics, CacheOutcome, Metrics};
use generation::Generation;

pub use entry::{Entry, Form, Rendered};
pub use generation::{Cell, Generations};
pub use key::{Asked, Key};
pub use shared::{Names, Shared};
pub use tie::Tie;

/// The replies that a gateway keeps, of all methods.
pub struct Cache {
    entries: moka::sync::Cache<Key, Arc<Entry>>,
    /// How often they were forgotten.
    pub generations: Arc<Generations>,
}

impl Cache {
    /// Room for so many bytes.
    pub fn new(size: usize, generations: Arc<Generations>) -> Arc<Self> {
        let entries = moka::sync::Cache::builder()
            .max_capacity(size as u64)
            .weigher(|_, entry: &Arc<Entry>| u32::try_from(entry.weight()).unwrap_or(u32::MAX))
            .expire_after(Until)
            .build();
        Arc::new(Self { entries, generations })
    }

    /// An entry has grown by an answer that was made of it.
    fn weigh(&self, key: Key, entry: &Arc<Entry>) {
        // Not what was forgotten meanwhile, for room or for good, nor over a newer one.
        let is_it = |there: moka::Entry<Key, Arc<Entry>>| Arc::ptr_eq(there.value(), entry);
        self.entries.entry(key).and_compute_with(|there| match there.is_some_and(is_it) {
            true => Op::Put(entry.clone()),
            false => Op::Nop,
        });
    }
}

/// When an entry is of no more use.
struct Until;

impl Expiry<Key, Arc<Entry>> for Until {
    fn expire_after_create(&self, _: &Key, entry: &Arc<Entry>, now: Instant) -> Option<Duration> {
        Some(entry.until.saturating_duration_since(now))
    }

    fn expire_after_update(&self, _: &Key, entry: &Arc<Entry>, now: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(entry.until.saturating_duration_since(now))
    }
}

/// What the messages of a method are, and where they come from.
pub struct Types {
    /// Where they are declared.
    pub schema: Arc<Schema>,
    /// What it takes.
    pub request: MessageId,
    /// What it answers.
    pub reply: MessageId,
    /// Bytes of a reply.
    pub largest: usize,
    /// What REST clients say beside it that a service is told, cookies that say who calls among it.
    pub said: Vec<HeaderName>,
    /// What clients say by which endpoints are chosen, whether a service is told or not.
    pub chosen_by: Vec<HeaderName>,
    /// Another one whenever anything is declared otherwise.
    pub version: [u8; 32],
    /// Where the method is served, as written: another service has other replies.
    pub served: Box<str>,
    /// Callers have to say who they are: what is everybody's here is not what a cache in front may give a stranger.
    pub asks: bool,
}

/// Calls after which a method's replies are forgotten.
pub struct After {
    /// `pkg.Service/Method`
    pub rpc: Box<str>,
    /// Which of them: by what the call's request says; none: all.
    pub tie: Option<Tie>,
}

/// Makes replies of a method forgotten.
pub struct Forgets {
    generations: Arc<Generations>,
    generation: Arc<Generation>,
    tie: Option<Tie>,
}

impl Forgets {
    /// Which replies it is depends on what the call's request says.
    pub fn reads(&self) -> bool {
        self.tie.is_some()
    }

    /// Which replies a call of this request makes forgotten; none: all.
    pub fn cell(&self, message: &[u8]) -> Option<Cell> {
        self.tie.as_ref().and_then(|tie| tie.cell(message))
    }

    /// Forgets them.
    pub fn forget(&self, cell: Option<Cell>) {
        self.generations.forget(&self.generation, cell);
    }
}

/// Stands for a method, its types and its policy. Whatever may make a kept reply a wrong one is in it.
fn seed(rpc: &str, written: &config::MethodCache, types: &Types) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    digest.update(&types.version);
    digest.update(format!("{rpc} {written:?} {}", types.served).as_bytes());
    let mut seed = [0; 32];
    seed.copy_from_slice(digest.finish().as_ref());
    seed
}

/// How the replies of one method are kept.
pub struct Policy {
    /// `pkg.Service/Method`
    pub rpc: Box<str>,
    written: config::MethodCache,
    cache: Arc<Cache>,
    generation: Arc<Generation>,
    /// By what calls are tied to its replies: each names a cell of a request.
    ties: Box<[Tie]>,
    /// What its replies are forgotten after.
    after: Box<[After]>,
    types: Types,
    /// Stands for the method, its types and this policy in keys.
    seed: [u8; 32],
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
    /// None; but perhaps one that is better than an error.
    Missing(Option<Arc<Entry>>),
}

impl Policy {
    /// The policy of a method; `None`: nothing is kept. `request` tells what the calls of another method take.
    ///
    /// # Errors
    /// Fields that cannot tie a call to a reply.
    pub fn compile(
        rpc: &str,
        written: &config::MethodCache,
        (cache, types): (&Arc<Cache>, Types),
        metrics: &Metrics,
        request: impl Fn(&str) -> Option<MessageId>,
    ) -> Result<Option<Arc<Self>>, String> {
        if written.ttl.is_zero() {
            return Ok(None);
        }
        let (mut ties, mut after) = (Vec::new(), Vec::new());
        for invalidation in &written.invalidated_by {
            let other = request(&invalidation.rpc).map(|other| (types.request, other));
            let tied = other.map(|both| Tie::compile(&types.schema, invalidation, both)).transpose();
            let tied = tied.map_err(|why| format!("`fields` of `{}`: {why}", invalidation.rpc))?.flatten();
            let (own, theirs) = tied.unzip();
            ties.extend(own.filter(|own| !ties.contains(own)));
            after.push(After { rpc: invalidation.rpc.as_str().into(), tie: theirs });
        }
        let whose = if written.public && !types.asks { "public" } else { "private" };
        let (ttl, stale) = (written.ttl.as_secs(), written.stale_while_revalidate.as_secs());
        let stale = if stale > 0 { format!(", stale-while-revalidate={stale}") } else { String::new() };
        // By what a browser is to tell two users apart, who come by the same URL.
        let vary = match (written.public, types.asks) {
            (true, false) => written.vary.clone(),
            (true, true) => [&[header::AUTHORIZATION][..], &written.vary, &types.said].concat(),
            (false, _) => [&[header::AUTHORIZATION, header::ACCEPT_LANGUAGE][..], &types.said].concat(),
        };
        let vary = vary.iter().chain(&types.chosen_by).map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
        // Words and digits.
        let control = HeaderValue::try_from(format!("{whose}, max-age={ttl}{stale}")).map_err(|why| why.to_string())?;
        Ok(Some(Arc::new(Self {
            rpc: rpc.into(),
            cache: cache.clone(),
            generation: cache.generations.of(rpc),
            ties: ties.into(),
            after: after.into(),
            seed: seed(rpc, written, &types),
            types,
            control,
            vary: HeaderValue::try_from(vary).ok().filter(|vary| !vary.is_empty()),
            counts: metrics.cache(rpc),
            written: written.clone(),
        })))
    }

    /// What its replies are forgotten after.
    pub fn after(&self) -> &[After] {
        &self.after
    }

    /// Makes its replies forgotten: after a call that is tied to them so, or all.
    pub fn forgets(&self, tie: Option<Tie>) -> Forgets {
        Forgets { generations: self.cache.generations.clone(), generation: self.generation.clone(), tie }
    }

    /// Whose reply it would be: `metadata` is all that the service would be sent beside the message.
    pub fn key(&self, message: &[u8], metadata: &HeaderMap, asked: Asked) -> Key {
        Key::of(&self.seed, self.generation.number(&self.cells(message)), (message, asked), metadata, self.vary())
    }

    /// Takes out what no key says: the service is to answer by nothing else. What the caller's token says comes back in by who knows it.
    pub fn leave_out(&self, metadata: &mut HeaderMap) {
        key::leave_out(metadata, self.vary());
    }

    /// On which headers a public reply depends.
    fn vary(&self) -> Option<&[HeaderName]> {
        self.written.public.then_some(&*self.written.vary)
    }

    /// Where the replies to such a request are counted, one for each tie.
    fn cells(&self, message: &[u8]) -> SmallVec<[Cell; 2]> {
        // A broken request has no reply that would be kept.
        self.ties.iter().map(|tie| tie.cell(message).unwrap_or_default()).collect()
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
            last => {
                self.counts.count(CacheOutcome::Miss);
                Found::Missing(last.filter(|last| now < last.until))
            }
        }
    }

    /// The last reply, in place of a service that cannot be asked or that fails.
    ///
    /// # Errors
    /// Another error, or there is none that may be given.
    pub fn instead(&self, last: Option<Arc<Entry>>, error: Error) -> Result<Arc<Entry>, Error> {
        let last = last.filter(|_| error.is_worse_than_stale()).ok_or(error)?;
        self.counts.count(CacheOutcome::Last);
        Ok(last)
    }

    /// A reply that has just come, and is kept if it may be.
    pub fn keep(&self, key: Key, headers: HeaderMap, message: bytes::Bytes, trailers: HeaderMap) -> Arc<Entry> {
        let kept = self.may_keep(&headers) && self.may_keep(&trailers);
        let entry = Entry::new([headers, trailers], message, Instant::now(), &self.written, kept);
        if kept {
            self.cache.entries.insert(key, entry.clone());
        }
        entry
    }

    /// An entry has grown by an answer that was made of it.
    pub fn weigh(&self, key: Key, entry: &Arc<Entry>) {
        self.cache.weigh(key, entry);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use http::HeaderMap;

    use super::{Asked, Cache, Entry, Key};
    use crate::config::MethodCache;

    #[test]
    fn what_was_forgotten_or_replaced_does_not_come_back_by_being_weighed() {
        let cache = Cache::new(1 << 20, Arc::default());
        let key = Key::of(&[7; 32], 1, (b"x", Asked::default()), &HeaderMap::new(), None);
        let written = MethodCache::lasting(Duration::from_secs(60));
        let entry = |message: &'static [u8]| {
            Entry::new(
                [HeaderMap::new(), HeaderMap::new()],
                Bytes::from_static(message),
                Instant::now(),
                &written,
                true,
            )
        };
        let (old, new) = (entry(b"old"), entry(b"new"));
        cache.entries.insert(key, old.clone());
        cache.weigh(key, &old);
        let there = || cache.entries.get(&key).map(|entry| entry.message.clone());
        assert_eq!(there().as_deref(), Some(&b"old"[..]));
        cache.entries.insert(key, new.clone());
        cache.weigh(key, &old);
        assert_eq!(there().as_deref(), Some(&b"new"[..]));
        cache.entries.invalidate(&key);
        cache.weigh(key, &new);
        assert_eq!(there(), None);
    }
}
