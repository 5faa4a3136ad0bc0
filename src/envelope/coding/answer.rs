//! A whole answer, compressed as its client likes it.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body::Body as _;

use super::encoder::{Compressed, compress};
use super::{Coding, WORTH};
use crate::body::Body;
use crate::envelope::{content_type, essence};

/// Compresses an answer for a client that accepts it so, if that is worth it; `Vary` tells caches.
pub fn pack(response: Response<Body>, accepted: Option<&HeaderValue>) -> Response<Body> {
    let large = response.body().size_hint().exact().is_none_or(|length| length >= WORTH as u64);
    if !large || !is_compressible(response.status(), response.headers()) {
        return response;
    }
    let (mut head, mut body) = response.into_parts();
    const ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");
    if !head.headers.get_all(header::VARY).iter().any(|said| said == ENCODING) {
        head.headers.append(header::VARY, ENCODING);
    }
    let coding = accepted.map_or(Coding::Identity, Coding::for_body);
    if coding == Coding::Identity {
        return Response::from_parts(head, body);
    }
    let mut packed = true;
    body = body.map(
        |bytes| match compress(coding, &bytes) {
            Some(shorter) => shorter.into(),
            None => {
                packed = false;
                bytes
            }
        },
        |stream| Box::pin(Compressed::new(stream, coding)),
    );
    if packed {
        head.headers.insert(header::CONTENT_ENCODING, coding.name());
        head.headers.remove(header::CONTENT_LENGTH);
    }
    Response::from_parts(head, body)
}

/// Text, and messages: pictures and the like are compressed already.
fn is_compressible(status: StatusCode, headers: &HeaderMap) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) || status == StatusCode::PARTIAL_CONTENT {
        return false;
    }
    let essence = content_type(headers).map_or("", essence);
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            essence,
            "application/json"
                | "application/x-ndjson"
                | "application/proto"
                | "application/xml"
                | "application/javascript"
        )
}
