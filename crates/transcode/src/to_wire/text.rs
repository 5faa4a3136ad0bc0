//! Percent-encoded text: captured segments and query strings.

use crate::percent::escaped;

/// What else is decoded, or not, beside `%XX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// One path segment: everything.
    Segment,
    /// Several path segments: `%2F` stays, since it is no `/` between segments.
    Segments,
    /// A query: `+` is a space.
    Query,
}

/// Replaces `out` by a text, decoded; the error says what is wrong with it.
pub(super) fn decode(text: &str, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), &'static str> {
    out.clear();
    let mut rest = text.as_bytes();
    // Most have nothing to decode: they are copied.
    if memchr::memchr2(b'%', b'+', rest).is_none() {
        out.extend_from_slice(rest);
        return Ok(());
    }
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => {
                let Some(decoded) = escaped(tail) else { return Err("`%` must be followed by two hexadecimal digits") };
                if decoded == b'/' && encoding == Encoding::Segments {
                    out.push(b'%');
                } else {
                    out.push(decoded);
                    rest = &tail[2..];
                }
            }
            b'+' if encoding == Encoding::Query => out.push(b' '),
            _ => out.push(byte),
        }
    }
    simdutf8::basic::from_utf8(out).map(|_| ()).map_err(|_| "the percent-decoded text is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str, encoding: Encoding) -> Result<String, &'static str> {
        let mut out = b"before".to_vec();
        decode(text, encoding, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_segment_is_fully_decoded() {
        assert_eq!(decoded("a%2Fb%20c+%C3%A9", Encoding::Segment).unwrap(), "a/b c+é");
    }

    #[test]
    fn several_segments_keep_their_encoded_slashes() {
        assert_eq!(decoded("a/b%2Fc%2fd%20e", Encoding::Segments).unwrap(), "a/b%2Fc%2fd e");
    }

    #[test]
    fn plus_is_a_space_in_a_query() {
        assert_eq!(decoded("a+b%2Bc%2F", Encoding::Query).unwrap(), "a b+c/");
    }

    #[test]
    fn bad_escapes_are_refused() {
        for text in ["%", "a%2", "%zz", "%+1", "%C3", "%ff"] {
            assert!(decoded(text, Encoding::Segment).is_err(), "{text}");
        }
    }
}
