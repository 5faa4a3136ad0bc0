//! Durations and sizes as people write them.

use std::time::Duration;

use super::problem::quote;

const DURATIONS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("min", 60_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// A duration: `500ms`, `5s`, `1m` or `1min`, `1h`, `1d`, and sums such as `1m30s`.
///
/// # Errors
/// What to write instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    long_duration(text)?.ok_or_else(|| format!("{} is too long", quote(text)))
}

/// The same; none of one that is longer than any bound.
pub(super) fn long_duration(text: &str) -> Result<Option<Duration>, String> {
    let wrong = || format!("{} is not a duration; write a number and a unit: `500ms`, `5s`, `1m` or `1h`", quote(text));
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{} has no unit; write `{text}ms` or `{text}s`", quote(text)));
    }
    let mut total = Some(0_u64);
    let mut rest = text;
    loop {
        let (number, after) = digits(rest).ok_or_else(wrong)?;
        let unit_end = after.find(|char: char| !char.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let (_, scale) = DURATIONS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let part = number.and_then(|number| number.checked_mul(*scale));
        total = total.zip(part).and_then(|(total, part)| total.checked_add(part));
        rest = after;
        if rest.is_empty() {
            return Ok(total.map(Duration::from_millis));
        }
    }
}

/// `100/min`, `5/s`, `100/60000ms`: how many, and in which time. A unit alone is one of it.
pub(super) fn rate(text: &str) -> Result<(u32, Duration), String> {
    let wrong =
        || format!("{} is not a rate; write how many in which time: `100/min`, `5/s`, `100/60000ms`", quote(text));
    let (permits, period) = text.split_once('/').ok_or_else(wrong)?;
    let permits = permits.trim().parse().map_err(|_| wrong())?;
    let period = period.trim();
    let one = DURATIONS.iter().find(|(name, _)| *name == period).map(|(_, millis)| Duration::from_millis(*millis));
    let period = one.map_or_else(|| duration(period).map_err(|_| wrong()), Ok)?;
    Ok((permits, period))
}

/// A duration in the largest unit that divides it, up to hours.
pub(super) fn write(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (scale, unit) = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        .into_iter()
        .find(|(scale, _)| millis > 0 && millis.is_multiple_of(*scale))
        .unwrap_or((1, "ms"));
    format!("{}{unit}", millis / scale)
}

/// `4194304`, `4MiB`, `4MB`; none of one that is larger than any bound.
pub(super) fn size(text: &str) -> Result<Option<usize>, String> {
    let wrong =
        || format!("{} is not a size; write bytes, or a number and a unit: `4194304`, `4MiB`, `64KiB`", quote(text));
    let (number, unit) = digits(text).ok_or_else(wrong)?;
    let (_, scale) = SIZES.iter().find(|(name, _)| *name == unit.trim_start()).ok_or_else(wrong)?;
    let bytes = number.and_then(|number| number.checked_mul(*scale));
    Ok(bytes.and_then(|bytes| usize::try_from(bytes).ok()))
}

/// A size in the largest unit that divides it: `4MiB`, `1000`.
pub fn write_size(bytes: usize) -> String {
    let units = SIZES.iter().rev().filter(|(unit, _)| unit.ends_with("iB"));
    let unit = units
        .map(|(unit, scale)| (*unit, *scale as usize))
        .find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale));
    let (unit, scale) = unit.unwrap_or(("", 1));
    format!("{}{unit}", bytes / scale)
}

/// The number that a text starts with (none if it is larger than any bound), and the rest.
fn digits(text: &str) -> Option<(Option<u64>, &str)> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (!digits.is_empty()).then(|| (digits.parse().ok(), rest))
}

#[cfg(test)]
mod tests {
    use super::{duration, rate, size, write_size};
    use std::time::Duration;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("30000ms", 30_000),
            ("5s", 5_000),
            ("1m", 60_000),
            ("1min", 60_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
            ("1m30s", 90_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "s", "5x", "5 s", "-5s", "1.5s", "5s ", "99999999999999999999s", "9999999999999999999h", "5sms"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("30"), Err("`30` has no unit; write `30ms` or `30s`".into()));
        for text in ["99999999999999h", "99999999999999999999s", "9999999999999999999h"] {
            assert_eq!(duration(text), Err(format!("`{text}` is too long")));
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4194304", 4_194_304),
            ("4MiB", 4_194_304),
            ("4 MiB", 4_194_304),
            ("4MB", 4_000_000),
            ("64KiB", 65_536),
            ("1kB", 1_000),
            ("10B", 10),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(size(text), Ok(Some(bytes)), "{text}");
        }
        for text in ["", "MiB", "4M", "4mib", "-1", "1.5MiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        for text in ["99999999999999999999", "99999999999GiB"] {
            assert_eq!(size(text), Ok(None), "{text}");
        }
        for (bytes, text) in [
            (0, "0"),
            (1, "1"),
            (1000, "1000"),
            (1024, "1KiB"),
            (4 << 20, "4MiB"),
            (3 << 30, "3GiB"),
            (1 + (1 << 20), "1048577"),
        ] {
            assert_eq!(write_size(bytes), text);
        }
    }

    #[test]
    fn rates() {
        for (text, permits, millis) in [
            ("100/min", 100, 60_000),
            ("5/s", 5, 1_000),
            ("100/60000ms", 100, 60_000),
            ("1 / 2h", 1, 7_200_000),
            ("3/1m30s", 3, 90_000),
        ] {
            assert_eq!(rate(text), Ok((permits, Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "100", "/s", "100/", "100/60000", "-1/s", "1/fortnight", "1/s/s", "99999999999/s"] {
            assert!(rate(text).unwrap_err().contains("is not a rate"), "{text}");
        }
    }
}
