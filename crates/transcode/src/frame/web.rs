//! gRPC-Web: trailers as the last frame of a body, and bodies in base64.
//!
//! Follows gRPC's PROTOCOL-WEB.md.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The first byte of the trailers' frame; the next four are its length, as before a message.
const TRAILERS: u8 = 0x80;

/// The characters that base64 reads at once.
const QUANTUM: usize = 4;

/// Appends the trailers' frame: a block of HTTP/1 headers, their names in lower case.
pub fn trailers<'a>(trailers: impl IntoIterator<Item = (&'a str, &'a [u8])>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[TRAILERS, 0, 0, 0, 0]);
    for (name, value) in trailers {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    let length = u32::try_from(out.len() - start - super::PREFIX).unwrap_or(u32::MAX);
    out[start + 1..start + super::PREFIX].copy_from_slice(&length.to_be_bytes());
}

/// A chunk in base64, padded: what follows it begins anew.
pub fn to_text(chunk: &[u8]) -> String {
    STANDARD.encode(chunk)
}

/// Reads a body in base64, in whatever chunks it comes. It may be several texts in a row, each with its padding.
#[derive(Debug, Default)]
pub struct FromText {
    /// Characters that do not make a quantum yet.
    rest: [u8; QUANTUM],
    len: usize,
}

/// The body is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotBase64;

impl FromText {
    /// Appends what a chunk says to `out`.
    ///
    /// # Errors
    /// The body is broken for good.
    pub fn push(&mut self, mut chunk: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
        if self.len > 0 {
            let taken = chunk.len().min(QUANTUM - self.len);
            self.rest[self.len..self.len + taken].copy_from_slice(&chunk[..taken]);
            self.len += taken;
            chunk = &chunk[taken..];
            if self.len < QUANTUM {
                return Ok(());
            }
            self.len = 0;
            STANDARD.decode_vec(self.rest, out).map_err(|_| NotBase64)?;
        }
        let (mut whole, rest) = chunk.split_at(chunk.len() - chunk.len() % QUANTUM);
        while !whole.is_empty() {
            // Up to the end of the quantum with the first padding.
            let padding = memchr::memchr(b'=', whole).map_or(whole.len(), |at| (at / QUANTUM + 1) * QUANTUM);
            let (text, next) = whole.split_at(padding);
            STANDARD.decode_vec(text, out).map_err(|_| NotBase64)?;
            whole = next;
        }
        self.rest[..rest.len()].copy_from_slice(rest);
        self.len = rest.len();
        Ok(())
    }

    /// Nothing is left: the body may end here.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn trailers_are_a_frame() {
        let mut out = b"before".to_vec();
        trailers([("grpc-status", &b"5"[..]), ("grpc-message", b"no")], &mut out);
        assert_eq!(out, b"before\x80\0\0\0\x22grpc-status: 5\r\ngrpc-message: no\r\n".as_slice());
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["AAA", "AA=A", "A===", "====", "AA\nA", "AAA-"] {
            let (mut reader, mut out) = (FromText::default(), Vec::new());
            let read = reader.push(text.as_bytes(), &mut out);
            assert!(read.is_err() || !reader.is_empty(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn texts_in_a_row_come_back_whatever_the_chunks(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8),
            size in 1usize..50,
        ) {
            let text: String = parts.iter().map(|part| to_text(part)).collect();
            let (mut reader, mut out) = (FromText::default(), Vec::new());
            for chunk in text.as_bytes().chunks(size) {
                reader.push(chunk, &mut out).unwrap();
            }
            prop_assert!(reader.is_empty());
            prop_assert_eq!(out, parts.concat());
        }
    }
}
