//! Content codings: how bodies and single messages are compressed. RPC envelopes have gzip, HTTP also br and zstd.

mod answer;
mod decoder;
mod encoder;
mod reply;
mod turns;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::head::liked;
use crate::error::Error;

pub use answer::{is_long, pack, pack_in_turns};
pub use decoder::Decoded;
pub use encoder::compress;
pub use reply::{Opening, Packed};
pub use turns::{Packing, TURN, Unpacking};

/// What compression is worth it for, in bytes.
pub const WORTH: usize = 1024;

/// What is taken for single messages, as a header lists it.
pub const OF_MESSAGES: &str = "gzip, identity";

/// What is taken for HTTP bodies.
pub const OF_BODIES: &str = "gzip, br, zstd, identity";

/// zstd may ask for this much memory, 2^n bytes: what RFC 8878 §3.1.1.1.2 recommends.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Bytes that the brotli reader takes in at once.
const BROTLI_BUFFER: usize = 4096;

/// A content coding of RFC 9110 §8.4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coding {
    /// None.
    #[default]
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// Of a single message, as `grpc-encoding` and its like name it.
    ///
    /// # Errors
    /// It is none of [`OF_MESSAGES`].
    pub fn of_messages(name: Option<&HeaderValue>) -> Result<Self, Error> {
        match name.map(|name| name.as_bytes().trim_ascii()) {
            None | Some(b"" | b"identity") => Ok(Self::Identity),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(_) => Err(Error::UnsupportedEncoding { supported: OF_MESSAGES }),
        }
    }

    /// Of a request's body, by `Content-Encoding`.
    ///
    /// # Errors
    /// It is none of [`OF_BODIES`], or several.
    pub fn of_body(headers: &HeaderMap) -> Result<Self, Error> {
        let unsupported = Error::UnsupportedEncoding { supported: OF_BODIES };
        let mut names = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(name) = names.next() else { return Ok(Self::Identity) };
        match (name.to_str().ok().and_then(|name| Self::named(name.trim())), names.next()) {
            (Some(coding), None) => Ok(coding),
            _ => Err(unsupported),
        }
    }

    /// Of single messages of an answer: gzip where one of the client's lists has it.
    pub fn for_messages<'h>(accepted: impl IntoIterator<Item = &'h HeaderValue>) -> Self {
        let mut names = accepted.into_iter().flat_map(|list| list.as_bytes().split(|&byte| byte == b','));
        let listed = names.any(|name| name.trim_ascii() == b"gzip");
        if listed { Self::Gzip } else { Self::Identity }
    }

    /// Of an answer's body, by `Accept-Encoding`: what the client likes best, and of what it likes alike zstd before br
    /// before gzip, the order in which they cost less for what they save.
    pub fn for_body(accepted: &HeaderValue) -> Self {
        let mut best = (Self::Identity, 0_u16);
        let Ok(list) = accepted.to_str() else { return Self::Identity };
        for item in list.split(',') {
            let (name, quality) = liked(item);
            let Some(coding) = Self::named(name) else { continue };
            if quality > best.1 || quality == best.1 && quality > 0 && coding as u8 > best.0 as u8 {
                best = (coding, quality);
            }
        }
        best.0
    }

    fn named(name: &str) -> Option<Self> {
        let names = [
            ("identity", Self::Identity),
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
            ("br", Self::Brotli),
            ("zstd", Self::Zstd),
        ];
        names.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, coding)| coding)
    }

    /// Its name in headers.
    pub fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        })
    }

    /// What `bytes` say, up to `limit` bytes of it: a bomb is given up where it exceeds that.
    ///
    /// # Errors
    /// They are not in this coding, or say more.
    pub fn decode(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
        let mut unpacking = Unpacking::new(self, bytes, limit);
        loop {
            if let Some(said) = unpacking.turn()? {
                return Ok(said);
            }
        }
    }

    /// The same, in turns with what else the thread has to do.
    pub fn unpack(self, bytes: Bytes, limit: usize) -> Unpacking<'static> {
        Unpacking::new(self, bytes, limit)
    }
}

#[cfg(test)]
mod tests;
