//! What a REST request's head allows of its body.

use http_body::Body;
use transom_transcode::to_wire::Media;

use super::Messages;
use crate::envelope::coding::Coding;
use crate::envelope::head::Head;
use crate::envelope::{essence, is_in_utf8};
use crate::error::Error;

const WANTED: &str = "send the body as application/json or application/x-www-form-urlencoded";
const WANTED_OF_STREAMS: &str =
    "send the messages as a JSON array, application/json, or a line each, as application/x-ndjson";

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// What a route takes for a body.
#[derive(Debug, Clone, Copy)]
pub struct Taken<'r> {
    /// It is taken as it is, whatever its type.
    pub raw: bool,
    /// The types that are taken, `image/png` or `image/*`, in lower case; none: all that the route can read.
    pub types: &'r [String],
}

impl Taken<'_> {
    /// Refuses content that came without saying its type, where that is wanted. Until some comes there is none, however its head
    /// looks: streams of HTTP/2 and chunked bodies may end as soon as they begin (RFC 9110 §8.3).
    pub fn admit_content(&self, head: &Head<'_>, content: &[u8]) -> Result<(), Error> {
        if content.is_empty() || head.content_type().is_some() {
            return Ok(());
        }
        self.admit(None)?;
        if self.raw { Ok(()) } else { Err(Error::media(WANTED)) }
    }

    /// Refuses a type that is not among those that are written.
    fn admit(&self, content_type: Option<&str>) -> Result<(), Error> {
        if self.types.is_empty() {
            return Ok(());
        }
        let found = essence(content_type.unwrap_or_default()).to_ascii_lowercase();
        let is = |wanted: &String| match wanted.strip_suffix('*') {
            Some(range) => found.starts_with(range),
            None => found == *wanted,
        };
        match self.types.iter().any(is) {
            true => Ok(()),
            false => Err(Error::media(format!("send the body as {}", self.types.join(" or ")))),
        }
    }
}

/// What the body is, and how it is compressed. Refuses by the head alone: a body that is too long, in another type, or
/// compressed in a way that is not supported. A `raw` one may have any type: it is taken as it is. One that says none is looked at
/// when it has come, by [`Taken::admit_content`].
pub fn admit<'h, B: Body>(
    head: &Head<'h>,
    body: &B,
    limit: usize,
    taken: Taken<'_>,
) -> Result<(Media<'h>, Coding), Error> {
    let (content_type, raw) = (head.content_type(), taken.raw);
    if is_empty(body) {
        let media = if raw { Media::Raw(content_type.unwrap_or_default()) } else { Media::Json };
        return Ok((media, Coding::Identity));
    }
    if body.size_hint().lower() > limit as u64 {
        return Err(Error::TooLarge { limit });
    }
    let comes = comes(content_type, body);
    if comes {
        taken.admit(content_type)?;
    }
    let media = match content_type {
        content_type if raw => Media::Raw(content_type.unwrap_or_default()),
        Some(content_type) => match text(content_type, &[JSON, FORM], WANTED)? {
            FORM => Media::Form,
            _ => Media::Json,
        },
        None if !comes => Media::Json,
        None => return Err(Error::media(WANTED)),
    };
    Ok((media, head.coding()?))
}

/// Nothing comes, whether it has ended or only says so.
fn is_empty(body: &impl Body) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

/// Its head tells that there is some: bodies of no known length may end as soon as they begin.
fn comes(content_type: Option<&str>, body: &impl Body) -> bool {
    content_type.is_some() || body.size_hint().lower() > 0
}

/// Which of the types that are known a text has.
fn text(content_type: &str, known: &[&'static str], wanted: &'static str) -> Result<&'static str, Error> {
    let found = essence(content_type);
    let found = if is_suffixed_json(found) { JSON } else { found };
    match known.iter().find(|name| found.eq_ignore_ascii_case(name)) {
        Some(name) if is_in_utf8(content_type, essence(content_type)) => Ok(name),
        Some(_) => {
            let message = "text is read as UTF-8 here: send it so, with `charset=utf-8` or without a charset";
            Err(Error::media(message))
        }
        None => Err(Error::media(wanted)),
    }
}

/// What says by its suffix that it is JSON (RFC 6839 §3.1), such as a merge patch (RFC 7396) or a CloudEvent. A JSON patch is a list
/// of operations and no message; `connect+json` and its like are other dialects' frames.
fn is_suffixed_json(essence: &str) -> bool {
    let essence = essence.to_ascii_lowercase();
    let Some(subtype) = essence.strip_prefix("application/").and_then(|subtype| subtype.strip_suffix("+json")) else {
        return false;
    };
    subtype != "json-patch" && subtype != "connect" && !subtype.starts_with("grpc")
}

/// How a body is cut into messages of at most `limit` bytes each, what they are, and how all of it is compressed.
pub fn admit_stream<'h, B: Body>(
    head: &Head<'h>,
    body: &B,
    limit: usize,
    taken: Taken<'_>,
) -> Result<(Messages, Media<'h>, Coding), Error> {
    let (coding, content_type) = (head.coding()?, head.content_type());
    let admitted = if is_empty(body) { Ok(()) } else { taken.admit(content_type) };
    let media = if taken.raw { Media::Raw(content_type.unwrap_or_default()) } else { Media::Json };
    let admitted = admitted.and_then(|()| match content_type {
        _ if taken.raw => Ok(Messages::pieces()),
        _ if is_empty(body) => Ok(Messages::array(limit)),
        Some(content_type) => {
            let json = [JSON, "application/x-ndjson", "application/ndjson", "application/jsonl"];
            let lines = text(content_type, &json, WANTED_OF_STREAMS)? != json[0];
            Ok(if lines { Messages::lines(limit) } else { Messages::array(limit) })
        }
        None => Err(Error::media(WANTED_OF_STREAMS)),
    });
    let messages = match admitted {
        Err(refusal) if !comes(content_type, body) => Messages::none(refusal),
        admitted => admitted?,
    };
    Ok((messages, media, coding))
}
