//! What answers say of a reply that is kept (RFC 9111, RFC 9110 §13): how old, how long it is good, by which name.

use std::time::Instant;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{Entry, Policy, Rendered};
use crate::body::Body;

impl Policy {
    /// The answer to a GET: 304 where its client has it already.
    pub fn tell(&self, entry: &Entry, rendered: &Rendered, asked: &HeaderMap, now: Instant) -> Response<Body> {
        let mut response = rendered.response();
        if response.status() != StatusCode::OK {
            return response;
        }
        if knows(asked, &rendered.etag) {
            *response.body_mut() = Body::empty();
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LENGTH] {
                response.headers_mut().remove(name);
            }
        }
        let headers = response.headers_mut();
        headers.insert(header::ETAG, rendered.etag.clone());
        headers.insert(header::CACHE_CONTROL, self.control.clone());
        headers.insert(header::AGE, HeaderValue::from(entry.age(now)));
        if let Some(vary) = &self.vary {
            headers.append(header::VARY, vary.clone());
        }
        response
    }
}

/// Whether `If-None-Match` has this name, by weak comparison (RFC 9110 §13.1.2).
fn knows(asked: &HeaderMap, etag: &HeaderValue) -> bool {
    let mut names = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .flat_map(|list| list.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii);
    names.any(|name| name == b"*" || name.strip_prefix(b"W/").unwrap_or(name) == etag.as_bytes())
}
