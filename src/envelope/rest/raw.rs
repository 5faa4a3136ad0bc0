//! `google.api.HttpBody` answers: bytes that are no JSON of ours.

use http::HeaderValue;

use crate::envelope::essence;
use crate::error::Error;

/// The content type of an answer, as its message says it; one that says none is a stream of bytes.
///
/// # Errors
/// It is no media type: nothing that a service stored from its clients becomes a header unseen.
pub fn content_type(text: &str) -> Result<HeaderValue, Error> {
    if text.is_empty() {
        return Ok(HeaderValue::from_static("application/octet-stream"));
    }
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let named = essence(text).split_once('/').is_some_and(|(kind, of)| token(kind) && token(of));
    let visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    match HeaderValue::from_str(text) {
        Ok(value) if named && visible => Ok(value),
        _ => Err(Error::UpstreamProtocol),
    }
}

#[cfg(test)]
mod tests {
    use super::content_type;

    #[test]
    fn a_content_type_is_a_media_type() {
        for good in
            ["text/html", "text/html; charset=utf-8", "multipart/mixed; boundary=\"a b\"", "application/vnd.x+json"]
        {
            assert_eq!(content_type(good).unwrap(), good);
        }
        assert_eq!(content_type("").unwrap(), "application/octet-stream");
        for bad in
            ["html", "text/", "/html", "text/html\r\nset-cookie: a=b", "text/ht ml", "text/html; a=\u{e9}", "a/b\0"]
        {
            assert!(content_type(bad).is_err(), "{bad:?}");
        }
    }
}
