//! A whole answer, compressed as its client likes it.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body::Body as _;

use super::encoder::{Compressed, compress};
use super::turns::{Packing, TURN};
use super::{Coding, WORTH};
use crate::body::Body;
use crate::envelope::{content_type, essence};

/// Compresses an answer for a client that accepts it so, if that is worth it; `Vary` tells caches.
pub fn pack(mut response: Response<Body>, accepted: Option<&HeaderValue>) -> Response<Body> {
    let coding = choose(&mut response, accepted);
    if coding == Coding::Identity {
        return response;
    }
    let (head, body) = response.into_parts();
    let mut packed = true;
    let body = body.map(
        |bytes| match compress(coding, &bytes) {
            Some(shorter) => shorter.into(),
            None => {
                packed = false;
                bytes
            }
        },
        |stream| Box::pin(Compressed::new(stream, coding)),
    );
    let response = Response::from_parts(head, body);
    if packed { named(response, coding) } else { response }
}

/// It is at hand, and so long that its thread has other things to do before all of it is compressed.
pub fn is_long(response: &Response<Body>) -> bool {
    response.body().whole().is_some_and(|bytes| bytes.len() > TURN)
}

/// As [`pack`], for an answer that is at hand; where it is long others have their turns in between.
pub async fn pack_in_turns(mut response: Response<Body>, accepted: Option<HeaderValue>) -> Response<Body> {
    let coding = choose(&mut response, accepted.as_ref());
    let Some(bytes) = response.body().whole().cloned().filter(|_| coding != Coding::Identity) else { return response };
    match Packing::new(coding, bytes).await {
        Some(shorter) => named(response.map(|_| Body::full(shorter)), coding),
        None => response,
    }
}

/// What to compress it in; that there is a choice is said to caches.
fn choose(response: &mut Response<Body>, accepted: Option<&HeaderValue>) -> Coding {
    let large = response.body().size_hint().exact().is_none_or(|length| length >= WORTH as u64);
    if !large || !is_compressible(response.status(), response.headers()) {
        return Coding::Identity;
    }
    const ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");
    if !response.headers().get_all(header::VARY).iter().any(|said| said == ENCODING) {
        response.headers_mut().append(header::VARY, ENCODING);
    }
    accepted.map_or(Coding::Identity, Coding::for_body)
}

fn named(mut response: Response<Body>, coding: Coding) -> Response<Body> {
    response.headers_mut().insert(header::CONTENT_ENCODING, coding.name());
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
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
