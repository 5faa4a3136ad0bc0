//! Timestamps, durations and field masks as ProtoJSON prints them.

/// Room for a timestamp with its quotes and comma: `"9999-12-31T23:59:59.999999999Z",`.
pub(crate) const TIMESTAMP: usize = 33;

/// Room for a duration with its quotes and comma: `"-315576000000.999999999s",`.
pub(crate) const DURATION: usize = 27;

const FIRST_SECOND: i64 = -62_135_596_800; // 0001-01-01T00:00:00Z
const LAST_SECOND: i64 = 253_402_300_799; // 9999-12-31T23:59:59Z
const LONGEST: i64 = 315_576_000_000; // 10,000 years in seconds
const DAY: i64 = 86_400;

/// A timestamp in RFC 3339 with a `Z` and 0, 3, 6 or 9 digits of a second, as a JSON string and a comma.
///
/// # Errors
/// It lies outside the years 1 to 9999, or its nanoseconds outside a second.
pub(crate) fn timestamp(seconds: i64, nanos: i32, buffer: &mut [u8; TIMESTAMP]) -> Result<&[u8], &'static str> {
    if !(FIRST_SECOND..=LAST_SECOND).contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err("the timestamp is outside 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z");
    }
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY) as u32;
    buffer[..20].copy_from_slice(b"\"0000-00-00T00:00:00");
    pair(buffer, 1, year / 100);
    pair(buffer, 3, year % 100);
    pair(buffer, 6, month);
    pair(buffer, 9, day);
    pair(buffer, 12, second / 3600);
    pair(buffer, 15, second / 60 % 60);
    pair(buffer, 18, second % 60);
    let end = fraction(buffer, 20, nanos.unsigned_abs());
    buffer[end..end + 3].copy_from_slice(b"Z\",");
    Ok(&buffer[..end + 3])
}

/// A duration in seconds with 0, 3, 6 or 9 digits behind the point, as a JSON string and a comma.
///
/// # Errors
/// It is longer than 10,000 years, its nanoseconds are a second or more, or the signs of both contradict.
pub(crate) fn duration(seconds: i64, nanos: i32, buffer: &mut [u8; DURATION]) -> Result<&[u8], &'static str> {
    if seconds.unsigned_abs() > LONGEST.unsigned_abs() || nanos.unsigned_abs() >= 1_000_000_000 {
        return Err("the duration is longer than 315576000000.999999999 seconds");
    }
    if seconds > 0 && nanos < 0 || seconds < 0 && nanos > 0 {
        return Err("the duration's seconds and nanoseconds have different signs");
    }
    buffer[..2].copy_from_slice(b"\"-");
    let at = if seconds < 0 || nanos < 0 { 2 } else { 1 };
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(seconds.unsigned_abs()).as_bytes();
    buffer[at..at + digits.len()].copy_from_slice(digits);
    let end = fraction(buffer, at + digits.len(), nanos.unsigned_abs());
    buffer[end..end + 3].copy_from_slice(b"s\",");
    Ok(&buffer[..end + 3])
}

/// Appends a path of a field mask in lowerCamelCase: `seat_map.row_count` is `seatMap.rowCount`.
///
/// # Errors
/// The path would not read back as the same.
pub(crate) fn path(path: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut bytes = path.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'_' => match bytes.next() {
                Some(letter @ b'a'..=b'z') => out.push(letter.to_ascii_uppercase()),
                _ => return Err("a `_` in a field mask's path must be followed by a lower-case letter"),
            },
            b'A'..=b'Z' | b',' | ..=b' ' | 0x7f => {
                return Err("a field mask's path has no capital letters, commas or spaces");
            }
            _ => out.push(byte),
        }
    }
    Ok(())
}

/// `.` and 3, 6 or 9 digits at `at`, or nothing; returns where it ends.
fn fraction(buffer: &mut [u8], at: usize, nanos: u32) -> usize {
    let (value, digits) = match nanos {
        0 => return at,
        _ if nanos.is_multiple_of(1_000_000) => (nanos / 1_000_000, 3),
        _ if nanos.is_multiple_of(1_000) => (nanos / 1_000, 6),
        _ => (nanos, 9),
    };
    buffer[at] = b'.';
    let mut rest = value;
    for digit in buffer[at + 1..=at + digits].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    at + 1 + digits
}

/// Two digits at `at`.
fn pair(buffer: &mut [u8], at: usize, value: u32) {
    buffer[at] = b'0' + (value / 10 % 10) as u8;
    buffer[at + 1] = b'0' + (value % 10) as u8;
}

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar.
///
/// Counted in years that begin in March, so that the leap day is a year's last; 400 years have 146,097 days.
pub(crate) fn date(day: i64) -> (u32, u32, u32) {
    let day = (day + 719_468) as u32; // since 0000-03-01; not negative in the range of timestamps
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u32::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_0_3_6_or_9_digits() {
        let print = |seconds, nanos| {
            let mut buffer = [0; TIMESTAMP];
            String::from_utf8(timestamp(seconds, nanos, &mut buffer).unwrap().to_vec()).unwrap()
        };
        assert_eq!(print(0, 0), r#""1970-01-01T00:00:00Z","#);
        assert_eq!(print(951_782_400, 10_000_000), r#""2000-02-29T00:00:00.010Z","#);
        assert_eq!(print(-1, 1_000), r#""1969-12-31T23:59:59.000001Z","#);
        assert_eq!(print(FIRST_SECOND, 1), r#""0001-01-01T00:00:00.000000001Z","#);
        assert_eq!(print(LAST_SECOND, 999_999_999), r#""9999-12-31T23:59:59.999999999Z","#);
    }

    #[test]
    fn times_out_of_range_are_refused() {
        let mut buffer = [0; TIMESTAMP];
        for (seconds, nanos) in [(FIRST_SECOND - 1, 0), (LAST_SECOND + 1, 0), (0, -1), (0, 1_000_000_000)] {
            assert!(timestamp(seconds, nanos, &mut buffer).is_err(), "{seconds} {nanos}");
        }
        let mut buffer = [0; DURATION];
        for (seconds, nanos) in [(LONGEST + 1, 0), (i64::MIN, 0), (0, 1_000_000_000), (1, -1), (-1, 1)] {
            assert!(duration(seconds, nanos, &mut buffer).is_err(), "{seconds} {nanos}");
        }
    }

    #[test]
    fn durations_carry_one_sign() {
        let print = |seconds, nanos| {
            let mut buffer = [0; DURATION];
            String::from_utf8(duration(seconds, nanos, &mut buffer).unwrap().to_vec()).unwrap()
        };
        assert_eq!(print(0, 0), r#""0s","#);
        assert_eq!(print(0, -500_000_000), r#""-0.500s","#);
        assert_eq!(print(-LONGEST, -999_999_999), r#""-315576000000.999999999s","#);
        assert_eq!(print(3, 1_000), r#""3.000001s","#);
    }

    #[test]
    fn paths_that_would_not_read_back_are_refused() {
        let print = |text: &str| {
            let mut out = Vec::new();
            path(text.as_bytes(), &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        assert_eq!(print("seat_map.row_count").unwrap(), "seatMap.rowCount");
        assert_eq!(print("a1.b").unwrap(), "a1.b");
        for bad in ["seatMap", "seat_1", "seat__map", "seat_", "seat,map", "seat map"] {
            assert!(print(bad).is_err(), "{bad}");
        }
    }
}
