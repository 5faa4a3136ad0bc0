//! Their strings, read exactly as ProtoJSON has them.

/// Seconds and nanoseconds.
pub(crate) type Moment = (i64, i32);

/// `0001-01-01T00:00:00Z` in seconds of the Unix epoch.
const FIRST_SECOND: i64 = -62_135_596_800;
/// `9999-12-31T23:59:59Z` in seconds of the Unix epoch.
const LAST_SECOND: i64 = 253_402_300_799;
/// About 10,000 years: the longest `google.protobuf.Duration`.
const LONGEST: i64 = 315_576_000_000;

const TIMESTAMP: &str = "an RFC 3339 timestamp such as \"2026-01-31T23:59:59.5Z\"";
const TIMESTAMP_RANGE: &str = "a timestamp from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z";
const DURATION: &str = "a duration in seconds such as \"1.5s\"";
const DURATION_RANGE: &str = "a duration from -315576000000.999999999s to 315576000000.999999999s";

/// `google.protobuf.Timestamp`: RFC 3339 with capital `T` and `Z`, any offset, up to nine fractional digits, from year 1 to
/// 9999. The error says what was expected.
pub(crate) fn timestamp(text: &[u8]) -> Result<Moment, &'static str> {
    let [head, middle, tail] = Digits::of(text).ok_or(TIMESTAMP)?;
    let (year, month, day) = (head.pair(0) * 100 + head.pair(2), head.pair(5), middle.pair(0));
    let (hour, minute, second) = (middle.pair(3), middle.pair(6), tail.pair(6));
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 59 {
        return Err(TIMESTAMP);
    }
    let (nanos, offset) = match &text[19..] {
        b"Z" => (0, 0),
        rest => {
            let (nanos, rest) = fraction(rest).ok_or(TIMESTAMP)?;
            (nanos, offset(rest).ok_or(TIMESTAMP)?)
        }
    };
    if year == 0 {
        return Err(TIMESTAMP_RANGE);
    }
    let of_day = (hour * 60 + minute) * 60 + second;
    let seconds = days_before(year, month, day) * 86_400 + i64::from(of_day) - offset;
    if !(FIRST_SECOND..=LAST_SECOND).contains(&seconds) {
        return Err(TIMESTAMP_RANGE);
    }
    Ok((seconds, nanos))
}

/// Eight bytes of a timestamp, checked: a digit's place holds its value, another 0. The first byte is the lowest.
#[derive(Clone, Copy)]
struct Digits(u64);

impl Digits {
    /// `YYYY-MM-`, `DDTHH:MM` and `HH:MM:SS` of the timestamp that a text begins with.
    #[inline]
    fn of(text: &[u8]) -> Option<[Self; 3]> {
        let text = text.first_chunk::<19>()?;
        let head = Self::checked(text.first_chunk()?, b"0000-00-")?;
        let middle = Self::checked(text[8..].first_chunk()?, b"00T00:00")?;
        let tail = Self::checked(text.last_chunk()?, b"00:00:00")?;
        Some([head, middle, tail])
    }

    /// The digits of a text that has one wherever `pattern` has a `0`, and the pattern's own bytes elsewhere.
    #[inline(always)]
    fn checked(text: &[u8; 8], pattern: &[u8; 8]) -> Option<Self> {
        const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
        // Digits and the right bytes leave nothing in the high halves; then added to what a place allows, neither may they reach them.
        let digits = u64::from_le_bytes(*text) ^ u64::from_le_bytes(*pattern);
        let room = u64::from_le_bytes(pattern.map(|byte| if byte == b'0' { 15 - 9 } else { 15 }));
        ((digits | digits.wrapping_add(room)) & HIGH == 0).then_some(Self(digits))
    }

    /// The number of the two digits at a place.
    #[inline]
    fn pair(self, at: u32) -> u32 {
        let digits = (self.0 >> (8 * at)) as u32;
        (digits & 0xf) * 10 + (digits >> 8 & 0xf)
    }
}

/// `google.protobuf.Duration`: `-1.5s`, up to nine fractional digits.
pub(crate) fn duration(text: &[u8]) -> Result<Moment, &'static str> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    let whole = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (nanos, rest) = fraction(&digits[whole..]).ok_or(DURATION)?;
    if whole == 0 || rest != b"s" {
        return Err(DURATION);
    }
    let seconds = digits[..whole]
        .iter()
        .try_fold(0_i64, |value, digit| value.checked_mul(10)?.checked_add(i64::from(digit - b'0')))
        .filter(|&seconds| seconds <= LONGEST)
        .ok_or(DURATION_RANGE)?;
    Ok(if negative { (-seconds, -nanos) } else { (seconds, nanos) })
}

/// The paths of a `google.protobuf.FieldMask`, still in lowerCamelCase; [`snake_case`] writes one as the .proto has it.
pub(crate) fn field_mask(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    // An empty mask is the empty string; an empty path is none.
    let count = if text.is_empty() { 0 } else { usize::MAX };
    text.split(|&byte| byte == b',').take(count)
}

/// Appends a mask's path in the .proto's spelling: `user.displayName` is `user.display_name`. What has one spelling alone is left
/// as it is: the `*` of AIP-134, AIP-161's keys of maps.
pub(crate) fn snake_case(path: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    const EXPECTED: &str = "field paths in lowerCamelCase, separated by commas";
    if path.is_empty() {
        return Err(EXPECTED);
    }
    for &byte in path {
        match byte {
            b'A'..=b'Z' => out.extend_from_slice(&[b'_', byte.to_ascii_lowercase()]),
            b'_' | ..=b' ' | 0x7f => return Err(EXPECTED),
            _ => out.push(byte),
        }
    }
    Ok(())
}

/// The nanoseconds of `.5`, and what follows; a text that does not begin with a point has none. `None`: no digits, or more than nine.
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some((b'.', digits)) = text.split_first() else { return Some((0, text)) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 || count > 9 {
        return None;
    }
    let value = digits[..count].iter().fold(0_i32, |value, digit| value * 10 + i32::from(digit - b'0'));
    Some((value * 10_i32.pow(9 - count as u32), &digits[count..]))
}

/// The seconds that `Z`, `+01:00` or `-07:30` is ahead of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, text) = match text.split_first()? {
        (b'Z', []) => return Some(0),
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let &[h1, h2, b':', m1, m2] = text else { return None };
    if ![h1, h2, m1, m2].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |tens: u8, ones: u8| i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
    let (hours, minutes) = (number(h1, h2), number(m1, m2));
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60)
}

pub(crate) fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, from year 1 on. Years begin in March: the leap day is their last.
fn days_before(year: u32, month: u32, day: u32) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    i64::from(year * 365 + year / 4 - year / 100 + year / 400 + of_year) - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_rfc_3339() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", (0, 0)),
            ("2026-01-31T23:59:59.5Z", (1_769_903_999, 500_000_000)),
            ("1969-12-31T23:59:59.999999999Z", (-1, 999_999_999)),
            ("0001-01-01T00:00:00Z", (FIRST_SECOND, 0)),
            ("9999-12-31T23:59:59.999999999Z", (LAST_SECOND, 999_999_999)),
            ("2000-02-29T00:00:00+01:30", (951_777_000, 0)),
            ("1970-01-01T00:00:00-00:00", (0, 0)),
            ("0001-01-01T01:00:00+01:00", (FIRST_SECOND, 0)),
        ] {
            assert_eq!(timestamp(text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-01-01t00:00:00Z",
            "1970-01-01T00:00:00z",
            "1970-01-01 00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-00-01T00:00:00Z",
            "1970-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "1970-01-00T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T23:60:00Z",
            "1970-01-01T23:59:60Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.1234567890Z",
            "1970-01-01T00:00:00+0100",
            "1970-01-01T00:00:00+24:00",
            "1970-01-01T00:00:00ZZ",
            "+970-01-01T00:00:00Z",
            "1970-01-0:T00:00:00Z",
            "1970-01-01T00:00:0/Z",
            "1970-01-01T0@:00:00Z",
            "1970-01.01T00:00:00Z",
            "1970-01-01T00;00:00Z",
        ] {
            assert_eq!(timestamp(text.as_bytes()), Err(TIMESTAMP), "{text}");
        }
        for text in ["0000-12-31T23:59:59Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"] {
            assert_eq!(timestamp(text.as_bytes()), Err(TIMESTAMP_RANGE), "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = FIRST_SECOND / 86_400;
        for year in 1..=9999 {
            for month in 1..=12 {
                for day in [1, days_in(year, month)] {
                    let days = days_before(year, month, day);
                    assert_eq!(days, expected + i64::from(day) - 1, "{year}-{month}-{day}");
                }
                expected += i64::from(days_in(year, month));
            }
        }
        assert_eq!(expected * 86_400, LAST_SECOND + 1);
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("0s", (0, 0)),
            ("1.5s", (1, 500_000_000)),
            ("-0.5s", (0, -500_000_000)),
            ("-1.000000001s", (-1, -1)),
            ("315576000000s", (LONGEST, 0)),
            ("-315576000000.000000000s", (-LONGEST, 0)),
            ("-315576000000.999999999s", (-LONGEST, -999_999_999)),
        ] {
            assert_eq!(duration(text.as_bytes()), Ok(expected), "{text}");
        }
        for text in ["", "s", "1", "1 s", "1.s", ".5s", "+1s", "--1s", "1m", "1.1234567890s", "1ss"] {
            assert_eq!(duration(text.as_bytes()), Err(DURATION), "{text}");
        }
        for text in ["315576000001s", "-315576000001s", "99999999999999999999s"] {
            assert_eq!(duration(text.as_bytes()), Err(DURATION_RANGE), "{text}");
        }
    }

    #[test]
    fn field_masks_become_snake_case() {
        let read = |text: &str| -> Result<Vec<String>, &'static str> {
            field_mask(text.as_bytes())
                .map(|path| {
                    let mut out = Vec::new();
                    snake_case(path, &mut out).map(|()| String::from_utf8(out).unwrap())
                })
                .collect()
        };
        assert_eq!(read("").unwrap(), [""; 0]);
        assert_eq!(read("user.displayName,photo2").unwrap(), ["user.display_name", "photo2"]);
        assert_eq!(read("*,a.*,labels.é-1").unwrap(), ["*", "a.*", "labels.é-1"]);
        for text in [",", "a,,b", "user_name", "a b", "a\n"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
