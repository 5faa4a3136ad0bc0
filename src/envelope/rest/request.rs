//! How a REST request is read: what its head allows, then its body up to the limit.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http::header;
use http::request::Parts;
use http_body::Body;
use transom_transcode::to_wire::Media;

use super::Messages;
use crate::envelope::{content_type, essence};
use crate::error::Error;

/// Memory taken before a body's bytes are there, whatever its length says.
const FIRST_CHUNK: usize = 64 * 1024;

/// What the body is. Refuses by the head alone: a body that is too long, in another type, or in an encoding. A `raw` one
/// may have any type: it is taken as it is.
pub fn admit<'h, B: Body>(head: &'h Parts, body: &B, limit: usize, raw: bool) -> Result<Media<'h>, Error> {
    let content_type = content_type(&head.headers);
    if body.is_end_stream() {
        return Ok(if raw { Media::Raw(content_type.unwrap_or_default()) } else { Media::Json });
    }
    if body.size_hint().lower() > limit as u64 {
        return Err(Error::TooLarge { limit });
    }
    let media = match content_type {
        content_type if raw => Media::Raw(content_type.unwrap_or_default()),
        Some(content_type) if is_in_utf8(content_type, "application/json") => Media::Json,
        Some(content_type) if is_in_utf8(content_type, "application/x-www-form-urlencoded") => Media::Form,
        _ => {
            let message = "send the body as application/json or application/x-www-form-urlencoded";
            return Err(Error::UnsupportedMedia { message: message.into() });
        }
    };
    refuse_encoding(head).map(|()| media)
}

/// How a body is cut into messages of at most `limit` bytes each, and what they are.
pub fn admit_stream<'h, B: Body>(
    head: &'h Parts,
    body: &B,
    limit: usize,
    raw: bool,
) -> Result<(Messages, Media<'h>), Error> {
    refuse_encoding(head)?;
    let content_type = content_type(&head.headers);
    if raw {
        return Ok((Messages::pieces(), Media::Raw(content_type.unwrap_or_default())));
    }
    let is = |wanted| content_type.is_some_and(|content_type| is_in_utf8(content_type, wanted));
    if is("application/json") || body.is_end_stream() {
        Ok((Messages::array(limit), Media::Json))
    } else if ["application/x-ndjson", "application/ndjson", "application/jsonl"].into_iter().any(is) {
        Ok((Messages::lines(limit), Media::Json))
    } else {
        let message = "send the messages as a JSON array, or a line each as application/x-ndjson";
        Err(Error::UnsupportedMedia { message: message.into() })
    }
}

fn refuse_encoding(head: &Parts) -> Result<(), Error> {
    match head.headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Error::UnsupportedMedia { message: "send the body without Content-Encoding".into() })
        }
        _ => Ok(()),
    }
}

/// The whole body, of at most `limit` bytes; without a copy where it comes in one piece.
pub async fn read<B>(mut body: B, limit: usize) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while !body.is_end_stream() {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else { break };
        // Trailers mean nothing here.
        let Ok(data) = frame.map_err(|error| broken(&*error.into()))?.into_data() else { continue };
        if first.len() + all.len() + data.len() > limit {
            return Err(Error::TooLarge { limit });
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                let announced = usize::try_from(body.size_hint().lower()).unwrap_or(FIRST_CHUNK);
                all.reserve(first.len() + data.len() + announced.min(FIRST_CHUNK));
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// A body that ended early: the client left, or it sent what is no HTTP.
fn broken(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    match error.downcast_ref::<hyper::Error>() {
        Some(error) if error.is_parse() || error.is_body_write_aborted() || is_no_chunk(error) => {
            Error::bad_request("the body's framing is broken")
        }
        _ => Error::ClientGone,
    }
}

/// A chunk that HTTP/1.1 does not have: hyper tells it as an I/O error of these kinds.
fn is_no_chunk(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}

/// Whether a content type is this one, and its charset, if it names one, is UTF-8.
fn is_in_utf8(content_type: &str, wanted: &str) -> bool {
    if content_type == wanted {
        return true;
    }
    let charset = content_type.split(';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    essence(content_type).eq_ignore_ascii_case(wanted)
        && charset.into_iter().all(|charset| charset.eq_ignore_ascii_case("utf-8"))
}

#[cfg(test)]
mod tests {
    use super::is_in_utf8;

    #[test]
    fn json_is_json_in_utf8() {
        for (content_type, taken) in [
            ("application/json", true),
            ("Application/JSON ; charset=UTF-8", true),
            ("application/json; charset=\"utf-8\"", true),
            ("application/json; charset=utf-16", false),
            ("text/json", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            assert_eq!(is_in_utf8(content_type, "application/json"), taken, "{content_type}");
        }
    }
}
