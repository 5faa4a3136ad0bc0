//! Which fields of a message were met.

/// Which fields and oneofs of an open message were met: a bit each, those from 64 on on a stack.
#[derive(Debug)]
pub(crate) struct Seen {
    low: u64,
    /// Where the message's words begin on the stack.
    high: usize,
}

impl Seen {
    /// Words that so many bits take of the stack.
    #[inline]
    pub(crate) fn words(bits: usize) -> usize {
        bits.saturating_sub(1) / 64
    }

    /// None of so many was met.
    #[inline]
    pub(crate) fn open(bits: usize, stack: &mut Vec<u64>) -> Self {
        let high = stack.len();
        if bits > 64 {
            stack.resize(high + Self::words(bits), 0);
        }
        Self { low: 0, high }
    }

    /// Sets a bit; whether it was set before.
    #[inline]
    pub(crate) fn mark(&mut self, stack: &mut [u64], bit: usize) -> bool {
        let word = if bit < 64 { &mut self.low } else { &mut stack[self.high + bit / 64 - 1] };
        let mask = 1 << (bit % 64);
        let before = *word & mask != 0;
        *word |= mask;
        before
    }

    /// Whether a bit is set.
    pub(crate) fn has(&self, stack: &[u64], bit: usize) -> bool {
        let word = if bit < 64 { self.low } else { stack[self.high + bit / 64 - 1] };
        word & (1 << (bit % 64)) != 0
    }

    /// The message ends.
    #[inline]
    pub(crate) fn close(&self, stack: &mut Vec<u64>) {
        stack.truncate(self.high);
    }
}
