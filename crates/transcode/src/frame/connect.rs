//! Connect: the end of a stream, and the query of a GET.
//!
//! Follows the Connect protocol reference. Messages of its streams have gRPC's own prefix.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::percent::escaped;

/// The first byte of the frame that ends a stream.
const END: u8 = 2;

const EITHER_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const FROM_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, EITHER_PADDING);
const FROM_STANDARD: GeneralPurpose = GeneralPurpose::new(&STANDARD, EITHER_PADDING);

/// Appends the frame that ends a stream; `json` is its `EndStreamResponse`.
pub fn end(json: &[u8], out: &mut Vec<u8>) {
    let mut prefix = super::prefix(json.len());
    prefix[0] = END;
    out.extend_from_slice(&prefix);
    out.extend_from_slice(json);
}

/// Parses a `connect-timeout-ms`; `None` if it is not one to ten digits.
pub fn timeout(text: &str) -> Option<Duration> {
    let digits = (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().map(Duration::from_millis).ok()).flatten()
}

/// What the query of a GET says, its values decoded; what is absent is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// `connect`: the protocol's version, `v1`.
    pub version: Cow<'a, str>,
    /// `encoding`: the codec.
    pub encoding: Cow<'a, str>,
    /// `compression`: the message's.
    pub compression: Cow<'a, str>,
    /// `message`, out of its base64.
    pub message: Cow<'a, [u8]>,
}

/// Why a query is none of Connect's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryError {
    /// A `%` that no two hex digits follow, or text that is not UTF-8.
    Escape,
    /// A key of the protocol's comes twice.
    Twice,
    /// `base64=1`, and the message is not.
    NotBase64,
}

impl<'a> Query<'a> {
    /// Reads a query as it came, without its `?`. Keys that the protocol does not know are read over.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(query: &'a str) -> Result<Self, QueryError> {
        let (mut version, mut encoding, mut compression, mut message, mut base64) = (None, None, None, None, None);
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match key {
                "connect" => &mut version,
                "encoding" => &mut encoding,
                "compression" => &mut compression,
                "message" => &mut message,
                "base64" => &mut base64,
                _ => continue,
            };
            if place.replace(decode(value)?).is_some() {
                return Err(QueryError::Twice);
            }
        }
        let text = |value: Option<Cow<'a, [u8]>>| match value.unwrap_or_default() {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| QueryError::Escape),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| QueryError::Escape),
        };
        let mut message = message.unwrap_or_default();
        if base64.as_deref() == Some(b"1") {
            let decoded = FROM_URL.decode(&*message).or_else(|_| FROM_STANDARD.decode(&*message));
            message = Cow::Owned(decoded.map_err(|_| QueryError::NotBase64)?);
        }
        Ok(Self { version: text(version)?, encoding: text(encoding)?, compression: text(compression)?, message })
    }
}

/// A query's value: percent-encoded, a plus is a space.
///
/// # Errors
/// A `%` that no two hex digits follow.
pub fn decode(value: &str) -> Result<Cow<'_, [u8]>, QueryError> {
    if !value.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(value.as_bytes()));
    }
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'%' => {
                out.push(escaped(tail).ok_or(QueryError::Escape)?);
                rest = &tail[2..];
            }
            b'+' => out.push(b' '),
            byte => out.push(*byte),
        }
    }
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_of_every_kind() {
        fn read(query: &str) -> Result<(String, Vec<u8>), QueryError> {
            Query::parse(query).map(|query| (query.encoding.into_owned(), query.message.into_owned()))
        }
        let json = |message: &[u8]| Ok(("json".to_owned(), message.to_vec()));
        assert_eq!(read("encoding=json&message=%7B%22a%22%3A+1%7D&x=%zz"), json(br#"{"a": 1}"#));
        for message in ["-_8", "-_8=", "%2B%2F8%3D"] {
            assert_eq!(read(&format!("encoding=json&base64=1&message={message}")), json(&[0xfb, 0xff]), "{message}");
        }
        assert_eq!(read("encoding=json"), json(b""));
        assert_eq!(read("encoding=a&encoding=a"), Err(QueryError::Twice));
        assert_eq!(read("encoding=%f"), Err(QueryError::Escape));
        assert_eq!(read("encoding=%ff"), Err(QueryError::Escape));
        assert_eq!(read("base64=1&message=!"), Err(QueryError::NotBase64));
        let query = Query::parse("connect=v1&compression=gzip").unwrap();
        assert_eq!((&*query.version, &*query.compression), ("v1", "gzip"));
    }

    #[test]
    fn timeouts_are_milliseconds() {
        assert_eq!(timeout("0"), Some(Duration::ZERO));
        assert_eq!(timeout("9999999999"), Some(Duration::from_millis(9_999_999_999)));
        for wrong in ["", "-1", "+1", "1.5", "1s", "10000000000"] {
            assert_eq!(timeout(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_end_is_a_frame() {
        let mut out = Vec::new();
        end(b"{}", &mut out);
        assert_eq!(out, b"\x02\0\0\0\x02{}".as_slice());
    }
}
