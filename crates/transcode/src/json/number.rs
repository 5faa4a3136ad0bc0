//! JSON numbers, read exactly: an integer is an integer in whatever form it is written, a float is the nearest one.

/// Why a text is not an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotInteger {
    /// It is no JSON number.
    Syntax,
    /// It has a fraction.
    Fraction,
    /// Its magnitude does not fit 64 bits.
    Large,
}

/// An integer: its sign and magnitude. `-0` is `(true, 0)`.
pub(crate) type Integer = (bool, u64);

/// The length of the number that a text begins with, by the grammar of RFC 8259; `None` if it begins with none.
/// (`01` is the number `0` followed by something else.)
pub(crate) fn length(text: &[u8]) -> Option<usize> {
    let mut at = usize::from(text.first() == Some(&b'-'));
    at = match text.get(at)? {
        b'0' => at + 1,
        b'1'..=b'9' => digits(text, at),
        _ => return None,
    };
    if text.get(at) == Some(&b'.') {
        let end = digits(text, at + 1);
        if end == at + 1 {
            return None;
        }
        at = end;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let end = digits(text, at + 1 + sign);
        if end == at + 1 + sign {
            return None;
        }
        at = end;
    }
    Some(at)
}

/// The offset of the first byte at or after `at` that is no digit.
fn digits(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
}

/// The integer that a text begins with, if it is plainly written (no point, no exponent, at most 19 digits), and its length.
#[inline]
pub(crate) fn plain_integer(text: &[u8]) -> Option<(Integer, usize)> {
    let negative = text.first() == Some(&b'-');
    let digits = text.get(usize::from(negative)..)?;
    let (mut value, mut written) = (0_u64, 0);
    while let Some(chunk) = digits.get(written..).and_then(<[u8]>::first_chunk::<8>) {
        let (eight, count) = leading_digits(u64::from_le_bytes(*chunk));
        if count < 8 {
            value = value.wrapping_mul(POWERS[count]).wrapping_add(eight);
            written += count;
            break;
        }
        value = value.wrapping_mul(100_000_000).wrapping_add(eight);
        written += 8;
    }
    // The end of the text; else the first byte is no digit.
    while let Some(digit @ b'0'..=b'9') = digits.get(written) {
        // Wraps only with 20 digits or more, which are refused below.
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        written += 1;
    }
    let leading_zero = written > 1 && digits[0] == b'0';
    if written == 0 || written > 19 || leading_zero || matches!(digits.get(written), Some(b'.' | b'e' | b'E')) {
        return None;
    }
    Some(((negative, value), written + usize::from(negative)))
}

const POWERS: [u64; 8] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000];

/// The value of the digits that eight bytes of text (the first the lowest) begin with, and their number.
#[inline]
fn leading_digits(text: u64) -> (u64, usize) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOW: u64 = 0x0000_00ff_0000_00ff;
    let digits = text.wrapping_sub(ONES * b'0' as u64);
    // Bytes beyond `9` carry into the high bit by the addition, those below `0` by the subtraction; carries go upwards only.
    let others = (text.wrapping_add(ONES * 0x46) | digits) & (ONES * 0x80);
    let count = (others.trailing_zeros() / 8) as usize;
    if count == 0 {
        return (0, 0);
    }
    // Zeros in front, then pairs, fours and eights are summed up.
    let digits = digits << (64 - 8 * count);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (pairs & LOW).wrapping_mul(1_000_000 << 32 | 100);
    let low = (pairs >> 16 & LOW).wrapping_mul(10_000 << 32 | 1);
    (high.wrapping_add(low) >> 32, count)
}

/// The integer that a whole text spells: `12`, `1.0`, `1e5`, `12.50e1`.
pub(crate) fn integer(text: &[u8]) -> Result<Integer, NotInteger> {
    if let Some((integer, length)) = plain_integer(text)
        && length == text.len()
    {
        return Ok(integer);
    }
    let parts = Parts::of(text).ok_or(NotInteger::Syntax)?;
    let mut value = 0_u64;
    // Digits in order; the decimal point stands `whole` digits behind the first.
    for digit in parts.significant() {
        value = value.checked_mul(10).and_then(|value| value.checked_add(digit)).ok_or(NotInteger::Large)?;
    }
    if value == 0 {
        return Ok((parts.negative, 0));
    }
    match parts.scale() {
        scale if scale < 0 => Err(NotInteger::Fraction),
        scale => {
            let power =
                u32::try_from(scale).ok().and_then(|scale| 10_u64.checked_pow(scale)).ok_or(NotInteger::Large)?;
            Ok((parts.negative, value.checked_mul(power).ok_or(NotInteger::Large)?))
        }
    }
}

/// The nearest double of a number token; `None` if it is beyond the largest.
#[inline]
pub(crate) fn double(text: &[u8]) -> Option<f64> {
    let value = match short_decimal(text) {
        Some(value) => value,
        None => std::str::from_utf8(text).ok()?.parse::<f64>().ok()?,
    };
    value.is_finite().then_some(value)
}

/// The nearest float of a number token; `None` if it is beyond the largest.
pub(crate) fn float(text: &[u8]) -> Option<f32> {
    std::str::from_utf8(text).ok()?.parse::<f32>().ok().filter(|value| value.is_finite())
}

/// Numbers of at most 15 digits without an exponent: mantissa and power of ten are exact, so one division rounds right.
#[inline]
fn short_decimal(text: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    if digits.len() > 16 {
        return None;
    }
    let mut mantissa = 0_u64;
    let mut fraction = None;
    for (at, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => mantissa = mantissa * 10 + u64::from(byte - b'0'),
            b'.' => fraction = Some(digits.len() - at - 1),
            _ => return None,
        }
    }
    if mantissa >= 1 << 53 {
        return None;
    }
    let value = mantissa as f64 / POWERS.get(fraction.unwrap_or(0))?;
    Some(if negative { -value } else { value })
}

/// A number token taken apart.
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
    /// Zeros at the end of `whole` and `fraction` together: they are no significant digits.
    trailing: usize,
}

impl<'a> Parts<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        if length(text)? != text.len() {
            return None;
        }
        let (negative, text) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, text),
        };
        let (mantissa, exponent) = match memchr::memchr2(b'e', b'E', text) {
            Some(at) => (&text[..at], saturating(&text[at + 1..])),
            None => (text, 0),
        };
        let (whole, fraction) = match memchr::memchr(b'.', mantissa) {
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
            None => (mantissa, &[][..]),
        };
        let trailing = fraction.iter().rev().chain(whole.iter().rev()).take_while(|&&digit| digit == b'0').count();
        Some(Self { negative, whole, fraction, exponent, trailing })
    }

    /// The digits without the zeros at the end.
    fn significant(&self) -> impl Iterator<Item = u64> {
        let count = self.whole.len() + self.fraction.len() - self.trailing;
        self.whole.iter().chain(self.fraction).take(count).map(|digit| u64::from(digit - b'0'))
    }

    /// The power of ten that the significant digits are multiplied by.
    fn scale(&self) -> i64 {
        let shift =
            i64::try_from(self.trailing).unwrap_or(i64::MAX) - i64::try_from(self.fraction.len()).unwrap_or(i64::MAX);
        self.exponent.saturating_add(shift)
    }
}

/// An exponent; one that no 64-bit integer could have is cut to a size that decides the same.
fn saturating(text: &[u8]) -> i64 {
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let value =
        digits.iter().fold(0_i64, |value, digit| value.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact_in_every_form() {
        for (text, value) in [
            ("0", (false, 0)),
            ("-0", (true, 0)),
            ("-0.0", (true, 0)),
            ("7", (false, 7)),
            ("1.0", (false, 1)),
            ("1e5", (false, 100_000)),
            ("1E+5", (false, 100_000)),
            ("12.50e1", (false, 125)),
            ("100e-2", (false, 1)),
            ("-9223372036854775808", (true, 1 << 63)),
            ("9007199254740993", (false, 9_007_199_254_740_993)),
            ("18446744073709551615", (false, u64::MAX)),
            ("1844674407370955161.5e1", (false, u64::MAX)),
            ("0e999999999999999999999", (false, 0)),
            ("0.000e-999999999999999999999", (false, 0)),
            ("1000000000000000000000e-20", (false, 10)),
        ] {
            assert_eq!(integer(text.as_bytes()), Ok(value), "{text}");
        }
    }

    #[test]
    fn plain_integers_of_every_length_and_surrounding() {
        let digits = "1234567890123456789";
        for length in 1..=19 {
            for tail in ["", ",", "]", "\"", ",\"a\":12345678", "x", ":", "/", "\u{ff}", " 1"] {
                for sign in ["", "-"] {
                    let text = format!("{sign}{}{tail}", &digits[..length]);
                    let expected = digits[..length].parse().unwrap();
                    assert_eq!(
                        plain_integer(text.as_bytes()),
                        Some(((sign == "-", expected), sign.len() + length)),
                        "{text}"
                    );
                }
            }
        }
        for text in [
            "",
            "-",
            "x",
            "01",
            "1.0",
            "1e5",
            "-01",
            "12345678.5",
            "123456789E1",
            "12345678901234567890",
            "00000000000",
        ] {
            assert_eq!(plain_integer(text.as_bytes()), None, "{text}");
        }
        for number in (0..1_000_000_000).step_by(999_983) {
            let text = format!("{number},12345678");
            assert_eq!(plain_integer(text.as_bytes()), Some(((false, number), text.len() - 9)));
        }
    }

    #[test]
    fn what_is_no_integer_says_why() {
        for (text, why) in [
            ("", NotInteger::Syntax),
            ("-", NotInteger::Syntax),
            ("01", NotInteger::Syntax),
            ("+1", NotInteger::Syntax),
            (" 1", NotInteger::Syntax),
            ("1.", NotInteger::Syntax),
            (".5", NotInteger::Syntax),
            ("1e", NotInteger::Syntax),
            ("0x1", NotInteger::Syntax),
            ("1.5", NotInteger::Fraction),
            ("1e-1", NotInteger::Fraction),
            ("1e-999999999999999999999", NotInteger::Fraction),
            ("18446744073709551616", NotInteger::Large),
            ("1e20", NotInteger::Large),
            ("1e999999999999999999999", NotInteger::Large),
        ] {
            assert_eq!(integer(text.as_bytes()), Err(why), "{text}");
        }
    }

    #[test]
    fn doubles_are_those_of_the_standard_library() {
        for text in
            ["0", "-0", "0.1", "19.99", "-273.15", "123456789012345", "1234567890123456", "1e22", "5e-324", "0.000001"]
        {
            let expected: f64 = text.parse().unwrap();
            assert_eq!(double(text.as_bytes()).map(f64::to_bits), Some(expected.to_bits()), "{text}");
        }
        assert_eq!(double(b"1e309"), None);
        assert_eq!(float(b"3.5e38"), None);
        assert_eq!(float(b"1e-50"), Some(0.0));
    }

    #[test]
    fn the_grammar_is_that_of_rfc_8259() {
        for (text, expected) in [
            ("12,", Some(2)),
            ("-1.5e+3]", Some(7)),
            ("01", Some(1)),
            ("-", None),
            ("1.x", None),
            ("1e+", None),
            (".1", None),
        ] {
            assert_eq!(length(text.as_bytes()), expected, "{text}");
        }
    }
}
