//! What a REST request's head allows of its body.

use http_body::Body;
use transom_transcode::to_wire::Media;

use super::Messages;
use crate::envelope::coding::Coding;
use crate::envelope::head::Head;
use crate::envelope::{essence, is_in_utf8};
use crate::error::Error;

const WANTED: &str = "send the body as application/json or application/x-www-form-urlencoded";

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
    let comes = content_type.is_some() || body.size_hint().lower() > 0;
    if comes {
        taken.admit(content_type)?;
    }
    let is = |wanted: &str, content_type: &str| essence(content_type).eq_ignore_ascii_case(wanted);
    let media = match content_type {
        content_type if raw => Media::Raw(content_type.unwrap_or_default()),
        Some(content_type) if is_in_utf8(content_type, "application/json") => Media::Json,
        Some(content_type) if is_in_utf8(content_type, "application/x-www-form-urlencoded") => Media::Form,
        Some(content_type)
            if is("application/json", content_type) || is("application/x-www-form-urlencoded", content_type) =>
        {
            let message = "text is read as UTF-8 here: send it so, with `charset=utf-8` or without a charset";
            return Err(Error::media(message));
        }
        None if !comes => Media::Json,
        _ => return Err(Error::media(WANTED)),
    };
    Ok((media, head.coding()?))
}

/// Nothing comes, whether it has ended or only says so.
fn is_empty(body: &impl Body) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

/// How a body is cut into messages of at most `limit` bytes each, what they are, and how all of it is compressed.
pub fn admit_stream<'h, B: Body>(
    head: &Head<'h>,
    body: &B,
    limit: usize,
    taken: Taken<'_>,
) -> Result<(Messages, Media<'h>, Coding), Error> {
    let (coding, content_type) = (head.coding()?, head.content_type());
    if !is_empty(body) {
        taken.admit(content_type)?;
    }
    if taken.raw {
        return Ok((Messages::pieces(), Media::Raw(content_type.unwrap_or_default()), coding));
    }
    let is = |wanted| content_type.is_some_and(|content_type| is_in_utf8(content_type, wanted));
    if is("application/json") || is_empty(body) {
        Ok((Messages::array(limit), Media::Json, coding))
    } else if ["application/x-ndjson", "application/ndjson", "application/jsonl"].into_iter().any(is) {
        Ok((Messages::lines(limit), Media::Json, coding))
    } else {
        let message = "send the messages as a JSON array, or a line each as application/x-ndjson";
        Err(Error::media(message))
    }
}
