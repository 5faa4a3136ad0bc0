//! Connect's unary calls: the body, or a GET's query, is the message.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, header};
use transom_transcode::frame::connect::{Query, QueryError};

use super::content_type;
use crate::body::Body;
use crate::envelope::coding::Coding;
use crate::envelope::{Dialect, metadata, whole};
use crate::error::Error;
use crate::memory::Memory;

/// The message of a POST.
///
/// # Errors
/// It is too long, broken off, or compressed in a way that is not supported.
pub async fn read<B>(head: &Parts, body: B, limit: usize, memory: &Arc<Memory>) -> Result<Bytes, Error>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let coding = Coding::of_body(&head.headers)?;
    if body.size_hint().lower() > limit as u64 {
        return Err(Error::TooLarge { limit });
    }
    let read = whole::read(body, limit, memory).await?;
    unpack(read, coding, limit).await.map(|message| memory.hold(message))
}

/// The message of a GET, and how it is compressed.
///
/// # Errors
/// The query is none of the protocol's, or compressed in a way that is not supported.
pub fn message_of_query(head: &Parts) -> Result<(Bytes, Coding), Error> {
    let query = Query::parse(head.uri.query().unwrap_or_default()).map_err(|error| {
        Error::bad_request(match error {
            QueryError::Escape => "the query has a % that is not followed by two hex digits, or is not UTF-8",
            QueryError::Twice => "connect, encoding, compression, message and base64 may each come once",
            QueryError::NotBase64 => "message is not base64",
        })
    })?;
    if !matches!(&*query.version, "" | "v1") {
        return Err(Error::bad_request("connect must be v1"));
    }
    if query.encoding.is_empty() {
        return Err(Error::bad_request("the query must have encoding=json or encoding=proto, and the message"));
    }
    if !matches!(&*query.encoding, "json" | "proto") {
        return Err(Error::media("encoding must be json or proto"));
    }
    let compression = HeaderValue::from_str(&query.compression);
    let coding = match query.compression.as_ref() {
        "" => Coding::Identity,
        _ => Coding::of_messages(compression.ok().as_ref())?,
    };
    Ok((query.message.into_owned().into(), coding))
}

/// A message as it was before it was compressed.
///
/// # Errors
/// It is not in this coding, or too long.
pub async fn unpack(message: Bytes, coding: Coding, limit: usize) -> Result<Bytes, Error> {
    match coding {
        Coding::Identity if message.len() > limit => Err(Error::TooLarge { limit }),
        Coding::Identity => Ok(message),
        coding => coding.unpack(message, limit).await.map(Bytes::from),
    }
}

/// The answer: the message, its metadata as headers, what came after it under `trailer-`.
pub fn reply(dialect: Dialect, message: Bytes, [leading, trailing]: [&HeaderMap; 2]) -> Response<Body> {
    let mut response = Response::new(Body::full(message));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type(dialect));
    metadata::to_web(leading, "", headers);
    metadata::to_web(trailing, "trailer-", headers);
    response
}
