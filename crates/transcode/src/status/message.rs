//! The percent coding of `grpc-message`: visible ASCII and space but `%` stay as they are.

use std::borrow::Cow;

use crate::percent::escaped;

/// Encodes a message for `grpc-message`.
pub fn encode_message(message: &str) -> Cow<'_, str> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if message.bytes().all(is_plain) {
        return Cow::Borrowed(message);
    }
    let mut out = String::with_capacity(message.len() * 2);
    for byte in message.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            let digit = |nibble: u8| char::from(HEX[usize::from(nibble)]);
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    Cow::Owned(out)
}

/// Decodes a `grpc-message`. As the protocol asks it never fails: an escape that is none stays as it is, and what is not
/// UTF-8 is replaced.
pub fn decode_message(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match escaped(tail).filter(|_| *first == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'%'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_must_be_is_escaped() {
        assert!(matches!(encode_message("seat 4 (row \"B\") is taken"), Cow::Borrowed(_)));
        assert_eq!(encode_message("50 % für\n\t\u{7f}"), "50 %25 f%C3%BCr%0A%09%7F");
        assert_eq!(decode_message(b"f%c3%BCr %zz %4"), "für %zz %4");
        assert_eq!(decode_message(b"%FF"), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn every_message_comes_back(message in ".*") {
            let encoded = encode_message(&message);
            prop_assert!(encoded.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(decode_message(encoded.as_bytes()), message);
        }
    }
}
