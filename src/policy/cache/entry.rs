//! One reply that is kept, and the finished answers that were made of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::body::Body;
use crate::config;
use crate::envelope::Dialect;
use crate::envelope::coding::Coding;
use crate::envelope::stream::Once;
use crate::error::Error;

/// Answers that are kept of one reply; clients that like it otherwise have theirs made each time.
const FORMS: usize = 8;

/// What an entry takes beside its bytes, roughly.
const OVERHEAD: usize = 512;

/// One reply.
pub struct Entry {
    /// Metadata before the message.
    pub headers: HeaderMap,
    /// The message.
    pub message: Bytes,
    /// Metadata after it.
    pub trailers: HeaderMap,
    pub(super) born: Instant,
    pub(super) fresh_until: Instant,
    pub(super) stale_until: Instant,
    /// From then on it is of no use at all.
    pub(super) until: Instant,
    /// Others may have it too.
    pub kept: bool,
    answers: Mutex<Answers>,
    weight: AtomicUsize,
}

/// Finished answers, by what makes them different.
type Answers = SmallVec<[(Form, Arc<Rendered>); 2]>;

/// What makes two answers of one reply different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The route's number.
    pub route: u64,
    /// The envelope and the codec.
    pub dialect: Dialect,
    /// Enums print as numbers.
    pub numbers: bool,
    /// How it is compressed.
    pub coding: Coding,
}

/// A finished answer.
pub struct Rendered {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
    /// What names these bytes (RFC 9110 §8.8.3).
    pub etag: HeaderValue,
}

impl Entry {
    pub(super) fn new(
        [headers, trailers]: [HeaderMap; 2],
        message: Bytes,
        born: Instant,
        written: &config::MethodCache,
        kept: bool,
    ) -> Arc<Self> {
        let of = |metadata: &HeaderMap| {
            metadata.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum::<usize>()
        };
        let fresh_until = born + written.ttl;
        let weight = OVERHEAD + message.len() + of(&headers) + of(&trailers);
        Arc::new(Self {
            headers,
            message,
            trailers,
            born,
            fresh_until,
            stale_until: fresh_until + written.stale_while_revalidate,
            until: fresh_until + written.stale_while_revalidate.max(written.stale_if_error),
            kept,
            answers: Mutex::default(),
            weight: AtomicUsize::new(weight),
        })
    }

    pub(super) fn weight(&self) -> usize {
        self.weight.load(Ordering::Relaxed)
    }

    /// Whole seconds since it came.
    pub fn age(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_secs()
    }

    /// The answer in this form: the one that is there, or one that `make` makes; and whether the entry has grown.
    ///
    /// # Errors
    /// What `make` says.
    pub async fn answer(
        &self,
        form: Form,
        make: impl Future<Output = Result<Rendered, Error>>,
    ) -> Result<(Arc<Rendered>, bool), Error> {
        let known = self.answers.lock().iter().find(|(known, _)| *known == form).map(|(_, answer)| answer.clone());
        if let Some(answer) = known {
            return Ok((answer, false));
        }
        let answer = Arc::new(make.await?);
        let mut answers = self.answers.lock();
        if answers.len() >= FORMS || answers.iter().any(|(known, _)| *known == form) {
            return Ok((answer, false));
        }
        self.weight.fetch_add(OVERHEAD + answer.body.len(), Ordering::Relaxed);
        answers.push((form, answer.clone()));
        Ok((answer, true))
    }
}

impl Rendered {
    /// An answer whose body is at hand; `trailers` follow it.
    pub fn new(response: Response<Body>, trailers: Option<HeaderMap>) -> Result<Self, Error> {
        let (head, body) = response.into_parts();
        let body = body.into_bytes().ok_or(Error::Internal)?;
        let mut headers = head.headers;
        // The gateway answers for how old this is.
        for name in [header::CACHE_CONTROL, header::AGE, header::EXPIRES, header::ETAG, header::LAST_MODIFIED] {
            headers.remove(name);
        }
        let mut digest = Context::new(&SHA256);
        digest.update(&body);
        let name = URL_SAFE_NO_PAD.encode(&digest.finish().as_ref()[..16]);
        let etag = HeaderValue::try_from(format!("\"{name}\"")).map_err(|_| Error::Internal)?;
        Ok(Self { status: head.status, headers, body, trailers, etag })
    }

    /// The answer, once more.
    pub fn response(&self) -> Response<Body> {
        let body = match &self.trailers {
            None => Body::full(self.body.clone()),
            Some(trailers) => Body::streamed(Once::new(self.body.clone(), trailers.clone())),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}
