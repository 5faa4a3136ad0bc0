//! A supply of choices: the bytes that proptest makes up, and shrinks. An empty supply always chooses the first.

use std::fmt;

use proptest::prelude::*;

/// The bytes of one case.
#[derive(Clone)]
pub(crate) struct Supply(Vec<u8>);

impl Supply {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        proptest::collection::vec(any::<u8>(), 0..3000).prop_map(Self)
    }

    pub(crate) fn draw(&self) -> Draw<'_> {
        Draw { bytes: &self.0 }
    }
}

impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What is left of a supply.
#[derive(Debug)]
pub(crate) struct Draw<'a> {
    bytes: &'a [u8],
}

impl Draw<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        match self.bytes {
            [first, rest @ ..] => {
                self.bytes = rest;
                *first
            }
            [] => 0,
        }
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        match end {
            0..=256 => usize::from(self.byte()) % end.max(1),
            _ => usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % end,
        }
    }

    /// Once in `n` times, and never when the supply is empty.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(crate) fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A number with the edges of all widths among the likely ones.
    pub(crate) fn number(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 => u64::from(self.byte()),
            2 => (i64::from(self.byte()) - 128) as u64,
            3 => 1_u64.wrapping_shl(u32::from(self.byte())).wrapping_sub(u64::from(self.byte() % 3)),
            _ => self.word(),
        }
    }

    pub(crate) fn text(&mut self) -> String {
        const PIECES: [&str; 12] = [
            "a",
            "seat ",
            "\"",
            "\\",
            "\n",
            "\u{1}",
            "\u{e9}",
            "\u{20ac}",
            "\u{1f3ab}",
            "0123456789abcdef",
            "/",
            "\u{7f}",
        ];
        (0..self.below(9)).map(|_| self.of(&PIECES)).collect()
    }
}
