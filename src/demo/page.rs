//! Pages of lists (AIP-158): sizes within bounds, and tokens that only this list understands.

use std::hash::{BuildHasher, Hash, RandomState};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::refusal::Refusal;

/// Items of a page when the client does not say.
const DEFAULT: usize = 20;

/// Items of a page at most.
const MOST: usize = 100;

/// The page tokens of one service: a position, sealed together with the list it belongs to.
///
/// The seal is a keyed hash, so a token that was made up, changed, or taken from another list is refused. It guards
/// against mistakes: a position is no secret, and no list answers more than its caller may see.
#[derive(Debug, Default)]
pub(super) struct Pages {
    key: RandomState,
}

impl Pages {
    /// How many items, and from which position; `list` is everything that tells this list from another one.
    pub(super) fn open(&self, size: i32, token: &str, list: impl Hash) -> Result<(usize, Option<u64>), Refusal> {
        let size = match usize::try_from(size) {
            Ok(0) => DEFAULT,
            Ok(size) => size.min(MOST),
            Err(_) => return Err(Refusal::field("page_size", "must not be negative")),
        };
        if token.is_empty() {
            return Ok((size, None));
        }
        let mut bytes = [0; 16];
        let position = match URL_SAFE_NO_PAD.decode_slice(token, &mut bytes) {
            Ok(16) => u64::from_le_bytes(std::array::from_fn(|at| bytes[at])),
            _ => return Err(Refusal::field("page_token", "is not a token of this list")),
        };
        if self.token(position, list) != token {
            return Err(Refusal::field("page_token", "is not a token of this list with these filters"));
        }
        Ok((size, Some(position)))
    }

    /// The token of the page that begins at a position.
    pub(super) fn token(&self, position: u64, list: impl Hash) -> String {
        let seal = self.key.hash_one((position, list));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&position.to_le_bytes());
        bytes[8..].copy_from_slice(&seal.to_le_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_its_own_list_only() {
        let pages = Pages::default();
        let token = pages.token(40, ("events", "music"));

        assert_eq!(pages.open(0, &token, ("events", "music")).unwrap(), (20, Some(40)));
        assert!(pages.open(0, &token, ("events", "theatre")).is_err());
        assert!(Pages::default().open(0, &token, ("events", "music")).is_err());
    }

    #[test]
    fn a_changed_token_is_refused() {
        let pages = Pages::default();
        let token = pages.token(40, "events");
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(pages.open(0, std::str::from_utf8(&changed).unwrap(), "events").is_err(), "at {at}");
        }
        for made_up in ["x", "40", "ÄÖÜ", &"A".repeat(10_000)] {
            assert!(pages.open(0, made_up, "events").is_err());
        }
    }

    #[test]
    fn sizes_stay_within_bounds() {
        let pages = Pages::default();
        assert_eq!(pages.open(7, "", "events").unwrap(), (7, None));
        assert_eq!(pages.open(i32::MAX, "", "events").unwrap(), (100, None));
        assert!(pages.open(-1, "", "events").is_err());
    }
}
