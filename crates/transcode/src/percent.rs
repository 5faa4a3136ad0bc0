//! Percent coding (RFC 3986 §2.1): what two hex digits stand for. What else is coded, and what a broken escape means, is its
//! readers' matter.

/// The byte that an escape stands for, by what follows its `%`; none without two hex digits.
#[inline]
pub(crate) fn escaped(after: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
    Some((digit(0)? << 4 | digit(1)?) as u8)
}
