//! `grpc-timeout`: at most eight digits and a unit.

use std::time::Duration;

/// A formatted timeout, at most nine characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    bytes: [u8; 9],
    len: u8,
}

impl Text {
    /// The value of a `grpc-timeout` header.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The same as bytes, all of them visible ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

const MAX_VALUE: u128 = 99_999_999;
/// Units from the finest, with their nanoseconds.
const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// Parses a `grpc-timeout`; `None` if it is not one to eight digits and one of `H M S m u n`.
pub fn parse(text: &str) -> Option<Duration> {
    let [digits @ .., unit] = text.as_bytes() else { return None };
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(value * 3600),
        b'M' => Duration::from_secs(value * 60),
        b'S' => Duration::from_secs(value),
        b'm' => Duration::from_millis(value),
        b'u' => Duration::from_micros(value),
        b'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

/// A timeout in the finest unit in which it fits, rounded down: what is passed on is never longer. Zero becomes 1 ns,
/// since the protocol wants a positive number.
pub fn format(timeout: Duration) -> Text {
    let nanos = timeout.as_nanos().max(1);
    let (unit, scale) = UNITS.into_iter().find(|(_, scale)| nanos / scale <= MAX_VALUE).unwrap_or(UNITS[5]);
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format((nanos / scale).min(MAX_VALUE) as u32).as_bytes();
    let mut text = Text { bytes: [0; 9], len: digits.len() as u8 + 1 };
    text.bytes[..digits.len()].copy_from_slice(digits);
    text.bytes[digits.len()] = unit;
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_every_unit() {
        for (text, timeout) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("0n", Duration::ZERO),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(parse(text), Some(timeout), "{text}");
        }
        for text in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "123456789n", "1 S", "1Sx", "é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_passed_on_is_never_longer() {
        for (timeout, text) in [
            (Duration::ZERO, "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_001), "100000u"),
            (Duration::from_secs(5), "5000000u"),
            (Duration::from_millis(100_000_000), "100000S"),
            (Duration::from_secs(86_400 * 365), "31536000S"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(format(timeout).as_str(), text);
            assert!(parse(text).unwrap() <= timeout.max(Duration::from_nanos(1)));
        }
    }
}
