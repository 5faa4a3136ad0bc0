//! Hex: bytes as text.

use std::fmt;

/// Bytes as two digits each, in lower case.
pub struct Hex<'b>(pub &'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Hex;

    #[test]
    fn each_byte_is_two_digits() {
        assert_eq!(Hex(&[0, 10, 255]).to_string(), "000aff");
    }
}
