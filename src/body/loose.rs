//! Loose: which of an answer's bytes nobody keeps count of.
//!
//! A connection takes an answer's bytes and keeps those that its client has not read: that may be for ever, and the call seems
//! to be over. Who must know of it ties something to the bytes that is dropped with them ([`held`](crate::memory::held)). Few
//! bytes are not worth it: those go loose, and what a connection may keep of them is bounded by the count of its streams.

/// So many bytes of an answer may go loose at most.
const LOOSE: usize = 8 * 1024;

/// Which of an answer's bytes are to be held: of those that are written in their order, one frame in so many bytes is enough.
#[derive(Debug, Default)]
pub struct Loose(usize);

impl Loose {
    /// Whether the next frame, of so many bytes, is to be held.
    #[inline]
    pub fn ends(&mut self, bytes: usize) -> bool {
        self.0 = self.0.saturating_add(bytes);
        let ends = self.0 > LOOSE;
        if ends {
            self.0 = 0;
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::{LOOSE, Loose};

    #[test]
    fn never_more_than_so_many_bytes_go_loose() {
        let mut loose = Loose::default();
        assert!(!loose.ends(LOOSE));
        assert!(loose.ends(1));
        assert!(loose.ends(LOOSE + 1));
        assert!((0..8).all(|_| !loose.ends(LOOSE / 8)));
        assert!(loose.ends(usize::MAX));
    }
}
