//! Replies that gateways share in a Redis: the second level, asked once for all who miss the same reply here.
//!
//! ```text
//! transom:cache:{pkg.Service/Method}           the name of all its replies' generation
//! transom:cache:{pkg.Service/Method}:CELL      that of the replies in a cell
//! transom:cache:{pkg.Service/Method}:KEY       a reply: for which key, of which generations, of which bytes; then those
//! ```
//!
//! A generation has a name that nobody had before, so that one which Redis has lost never comes again: a reply counts only as
//! long as all of its generations are called as they were before the service was asked. How old it is Redis's clock says,
//! not a gateway's. What comes from there is held to be anyone's until it is seen to be what was asked for.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use redis::Value;
use smallvec::SmallVec;
use transom_transcode::canonical::canonical;
use transom_transcode::plan::Limits;
use transom_transcode::scratch::Scratch;

use super::generation::Cell;
use super::{Entry, Key, Policy};
use crate::store::{Redis, Script, Store, Unavailable};
use crate::telemetry::CacheOutcome;

/// How long telling the others may take; nobody waits for it.
const TELL: Duration = Duration::from_millis(500);
/// Larger replies stay here.
const LARGEST: usize = 1 << 20;
/// Metadata of one reply.
const MOST_METADATA: usize = 64;
/// Replies on their way to Redis at one time; more of them stay here.
const SHARING: usize = 64;
/// Names outlive every reply: a day, and as long again.
const NAMES_MS: u64 = 2 * 24 * 3600 * 1000;
/// Bytes of a generation's name.
const NAME: usize = 16;

static LOOK_UP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("look_up.lua")));
static RENAME: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("rename.lua")));
static SENDING: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(SHARING);

/// What others have kept.
pub enum Shared {
    /// A good reply; it is kept here too.
    Reply(Arc<Entry>),
    /// None; what is fetched now is of these generations.
    Missing(Names),
    /// Nobody can be asked, or should be.
    Unknown,
}

/// The names of a reply's generations.
pub struct Names(Vec<u8>);

/// A reply as it lies in Redis, behind what it is.
#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(message, repeated, tag = "1")]
    headers: Vec<Pair>,
    #[prost(bytes = "bytes", tag = "2")]
    message: Bytes,
    #[prost(message, repeated, tag = "3")]
    trailers: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl Policy {
    /// What others have kept for a request of this key, if the store says so within the call's `patience`.
    pub async fn shared(&self, store: &Store, key: Key, message: &[u8], patience: Duration) -> Shared {
        let Some(redis) = store.redis().filter(|_| self.written.shared) else { return Shared::Unknown };
        // What was forgotten here may lie there as if nothing had happened.
        if self.generation.is_behind() {
            return Shared::Unknown;
        }
        let cells = self.cells(message);
        let Some(fresh) = name() else { return Shared::Unknown };
        let mut call = LOOK_UP.call(cells.len() + 2);
        call.arg(whole(&self.rpc)).arg(of_cells(&self.rpc, &cells)).arg(place(&self.rpc, key));
        call.arg(&fresh).arg(NAMES_MS).arg(2 * LARGEST);
        let Ok(Value::Array(told)) = redis.run_bulk(&LOOK_UP, &call, patience).await else { return Shared::Unknown };
        let Some(Value::BulkString(names)) = told.first().filter(|_| told.len() <= 3) else { return Shared::Unknown };
        if names.len() != NAME * (cells.len() + 1) {
            return Shared::Unknown;
        }
        let names = Names(names.clone());
        let [_, Value::BulkString(stored), Value::Int(left)] = &told[..] else { return Shared::Missing(names) };
        // One that has no end, or a later one than any of ours, is not ours.
        let left = u64::try_from(*left).ok().map(Duration::from_millis);
        let age = left.and_then(|left| self.written.ttl.checked_sub(left));
        let Some((age, reply)) = age.zip(self.read(stored, key, &names)) else { return Shared::Missing(names) };
        self.counts.count(CacheOutcome::Shared);
        let born = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        let (headers, message, trailers) = reply;
        let entry = Entry::new([headers, trailers], message, born, &self.written, true);
        self.cache.entries.insert(key, entry.clone());
        Shared::Reply(entry)
    }

    /// Lets others have a reply that was asked for in these generations, soon.
    pub fn share(&self, store: &Arc<Store>, key: Key, names: &Names, entry: &Entry) {
        let bytes = entry.message.len();
        if !entry.kept || bytes > LARGEST || entry.headers.len() + entry.trailers.len() > MOST_METADATA {
            return;
        }
        let Ok(permit) = SENDING.try_acquire() else { return };
        let stored =
            Stored { headers: pairs(&entry.headers), message: entry.message.clone(), trailers: pairs(&entry.trailers) };
        let stored = stored.encode_to_vec();
        let mut value = before(key, names, &stored);
        value.extend(stored);
        let mut command = redis::cmd("SET");
        let lives = u64::try_from(self.written.ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        command.arg(place(&self.rpc, key)).arg(&*value).arg("PX").arg(lives);
        let store = store.clone();
        tokio::spawn(async move {
            if let Some(redis) = store.redis() {
                // Who misses it asks the service.
                let _ = redis.ask_bulk(&command, TELL).await;
            }
            drop(permit);
        });
    }

    /// The reply that a value is, if it is what this gateway would have written.
    fn read(&self, value: &[u8], key: Key, names: &Names) -> Option<(HeaderMap, Bytes, HeaderMap)> {
        let at = before(key, names, &[]).len();
        let (said, stored) = value.split_at_checked(at)?;
        if *said != *before(key, names, stored) {
            return None;
        }
        let Stored { headers, message, trailers } = Stored::decode(stored).ok()?;
        if headers.len() + trailers.len() > MOST_METADATA || message.len() > self.types.largest {
            return None;
        }
        let (headers, trailers) = (metadata(headers)?, metadata(trailers)?);
        if !self.may_keep(&headers) || !self.may_keep(&trailers) {
            return None;
        }
        let limits = Limits { depth: Limits::DEEPEST, output: self.types.largest.saturating_mul(2) };
        let mut out = Vec::new();
        canonical(&self.types.schema, self.types.reply, &message, &limits, &mut Scratch::default(), &mut out).ok()?;
        Some((headers, message, trailers))
    }
}

/// Gives generations of a method another name: of these cells, or of all its replies.
pub(super) async fn rename(redis: &Redis, rpc: &str, cells: &[Cell]) -> Result<(), Unavailable> {
    let fresh = name().ok_or(Unavailable)?;
    let mut call = RENAME.call(cells.len().max(1));
    if cells.is_empty() {
        call.arg(whole(rpc));
    }
    call.arg(of_cells(rpc, cells));
    call.arg(&fresh).arg(NAMES_MS);
    redis.run(&RENAME, &call, TELL).await.map(drop)
}

/// What comes before a reply: whose it is, of which generations, and which bytes it has.
fn before(key: Key, names: &Names, stored: &[u8]) -> SmallVec<[u8; 128]> {
    let mut text = SmallVec::from_slice(key.name());
    text.extend_from_slice(&names.0);
    text.extend_from_slice(digest(&SHA256, stored).as_ref());
    text
}

/// All that is kept of a method lies in one hash slot.
fn whole(rpc: &str) -> String {
    format!("transom:cache:{{{rpc}}}")
}

fn of_cells(rpc: &str, cells: &[Cell]) -> Vec<String> {
    cells.iter().map(|cell| format!("{}:{cell}", whole(rpc))).collect()
}

fn place(rpc: &str, key: Key) -> String {
    format!("transom:cache:{{{rpc}}}:{}", URL_SAFE_NO_PAD.encode(key.name()))
}

/// A name that nobody had before.
fn name() -> Option<[u8; NAME]> {
    let mut name = [0; NAME];
    rand::fill(&mut name).ok().map(|()| name)
}

fn pairs(metadata: &HeaderMap) -> Vec<Pair> {
    let pair =
        |(name, value): (&HeaderName, &HeaderValue)| Pair { name: name.to_string(), value: value.as_bytes().into() };
    metadata.iter().map(pair).collect()
}

/// Metadata as a service may send it.
fn metadata(pairs: Vec<Pair>) -> Option<HeaderMap> {
    let mut metadata = HeaderMap::with_capacity(pairs.len());
    for pair in pairs {
        let name = HeaderName::try_from(pair.name).ok()?;
        metadata.append(name, HeaderValue::try_from(pair.value).ok()?);
    }
    Some(metadata)
}
