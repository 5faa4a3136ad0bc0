//! Instants and durations, their parts, and what values become as other types.

use super::Fault;
use super::functions::Into;
use super::value::Value;
use crate::well_known::{parse, print};

/// Nanoseconds in a second.
const SECOND: i128 = 1_000_000_000;

/// About 10,000 years either way, as `google.protobuf.Duration` has it.
const LONGEST: i128 = 315_576_000_000 * SECOND;

/// The seconds that timestamps lie in, the last one outside: the years 1 to 9999.
const YEARS: std::ops::Range<i128> = -62_135_596_800..253_402_300_800;

/// A timestamp, if it is one.
pub(super) fn timestamp<'a>(at: i128) -> Result<Value<'a>, Fault> {
    match YEARS.contains(&at.div_euclid(SECOND)) {
        true => Ok(Value::Timestamp(at)),
        false => Err(Fault::error("the timestamp is out of range")),
    }
}

/// A duration, if it is one.
pub(super) fn duration<'a>(length: i128) -> Result<Value<'a>, Fault> {
    match length.abs() <= LONGEST {
        true => Ok(Value::Duration(length)),
        false => Err(Fault::error("the duration is out of range")),
    }
}

/// A part of an instant or a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    FullYear,
    /// From 0.
    Month,
    /// From 1.
    Date,
    DayOfMonth,
    /// Sunday is 0.
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

impl Part {
    pub(super) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "getFullYear" => Self::FullYear,
            "getMonth" => Self::Month,
            "getDate" => Self::Date,
            "getDayOfMonth" => Self::DayOfMonth,
            "getDayOfWeek" => Self::DayOfWeek,
            "getDayOfYear" => Self::DayOfYear,
            "getHours" => Self::Hours,
            "getMinutes" => Self::Minutes,
            "getSeconds" => Self::Seconds,
            "getMilliseconds" => Self::Milliseconds,
            _ => return None,
        })
    }

    pub(super) fn call<'a>(self, arguments: &[Value<'a>]) -> Result<Value<'a>, Fault> {
        let number = match arguments {
            [Value::Timestamp(at)] => self.of_instant(*at)?,
            [Value::Timestamp(at), Value::String(zone)] => {
                let offset =
                    offset(zone).ok_or_else(|| Fault::error("a zone is `UTC` or an offset such as `+02:00`"))?;
                self.of_instant(at + offset)?
            }
            [Value::Duration(length)] => match self {
                Self::Hours => length / (3600 * SECOND),
                Self::Minutes => length / (60 * SECOND),
                Self::Seconds => length / SECOND,
                Self::Milliseconds => length / 1_000_000 % 1000,
                _ => return Err(Fault::error("a duration has no such part")),
            },
            _ => return Err(Fault::error("only times have such parts")),
        };
        Ok(Value::Int(number as i64))
    }

    fn of_instant(self, at: i128) -> Result<i128, Fault> {
        timestamp(at)?;
        let day = at.div_euclid(86_400 * SECOND);
        let of_day = at.rem_euclid(86_400 * SECOND);
        let (year, month, date) = print::date(day as i64);
        Ok(match self {
            Self::FullYear => year.into(),
            Self::Month => i128::from(month) - 1,
            Self::Date => date.into(),
            Self::DayOfMonth => i128::from(date) - 1,
            // The first day of 1970 was a Thursday.
            Self::DayOfWeek => (day + 4).rem_euclid(7),
            Self::DayOfYear => {
                let before = (1..month).map(|month| i128::from(parse::days_in(year, month)));
                before.sum::<i128>() + i128::from(date) - 1
            }
            Self::Hours => of_day / (3600 * SECOND),
            Self::Minutes => of_day / (60 * SECOND) % 60,
            Self::Seconds => of_day / SECOND % 60,
            Self::Milliseconds => of_day / 1_000_000 % 1000,
        })
    }
}

/// `UTC`, `+02:00`, `-05:30`, in nanoseconds.
fn offset(zone: &str) -> Option<i128> {
    if zone == "UTC" {
        return Some(0);
    }
    let (sign, rest) = match zone.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, zone.strip_prefix('+').unwrap_or(zone)),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
    (hours < 24 && minutes < 60).then(|| sign * (i128::from(hours) * 60 + i128::from(minutes)) * 60 * SECOND)
}

/// A value as one of another type.
pub(super) fn convert(value: Value<'_>, into: Into) -> Result<Value<'_>, Fault> {
    let wrong = || Fault::error("the value cannot be converted");
    Ok(match (into, value) {
        (Into::Dyn, value)
        | (Into::Int, value @ Value::Int(_))
        | (Into::Uint, value @ Value::Uint(_))
        | (Into::Double, value @ Value::Double(_))
        | (Into::String, value @ Value::String(_))
        | (Into::Bytes, value @ Value::Bytes(_))
        | (Into::Bool, value @ Value::Bool(_))
        | (Into::Timestamp, value @ Value::Timestamp(_))
        | (Into::Duration, value @ Value::Duration(_)) => value,
        (Into::Int, Value::Uint(value)) => Value::Int(i64::try_from(value).map_err(|_| wrong())?),
        (Into::Int, Value::Double(value)) if value > i64::MIN as f64 && value < i64::MAX as f64 => {
            Value::Int(value as i64)
        }
        (Into::Int, Value::String(text)) => Value::Int(text.parse().map_err(|_| wrong())?),
        (Into::Int, Value::Timestamp(at)) => Value::Int(at.div_euclid(SECOND) as i64),
        (Into::Uint, Value::Int(value)) => Value::Uint(u64::try_from(value).map_err(|_| wrong())?),
        (Into::Uint, Value::Double(value)) if value >= 0.0 && value < u64::MAX as f64 => Value::Uint(value as u64),
        (Into::Uint, Value::String(text)) => Value::Uint(text.parse().map_err(|_| wrong())?),
        (Into::Double, Value::Int(value)) => Value::Double(value as f64),
        (Into::Double, Value::Uint(value)) => Value::Double(value as f64),
        (Into::Double, Value::String(text)) => Value::Double(text.parse().map_err(|_| wrong())?),
        (Into::String, value) => Value::text(text(&value).ok_or_else(wrong)?),
        (Into::Bytes, Value::String(text)) => Value::Bytes(text.into_owned().into_bytes().into()),
        (Into::Bool, Value::String(text)) => match &*text {
            "1" | "t" | "true" | "TRUE" | "True" => Value::Bool(true),
            "0" | "f" | "false" | "FALSE" | "False" => Value::Bool(false),
            _ => return Err(wrong()),
        },
        (Into::Timestamp, Value::String(text)) => {
            let (seconds, nanos) = parse::timestamp(text.as_bytes()).map_err(Fault::error)?;
            Value::Timestamp(i128::from(seconds) * SECOND + i128::from(nanos))
        }
        (Into::Timestamp, Value::Int(seconds)) => timestamp(i128::from(seconds) * SECOND)?,
        (Into::Duration, Value::String(text)) => duration(length(&text).ok_or_else(wrong)?)?,
        _ => return Err(wrong()),
    })
}

/// A value as text, where it has one.
pub(super) fn text(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) if *value == f64::INFINITY => "+Inf".to_owned(),
        Value::Double(value) if *value == f64::NEG_INFINITY => "-Inf".to_owned(),
        Value::Double(value) => value.to_string(),
        Value::String(text) => text.to_string(),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.to_owned(),
        Value::Timestamp(at) => {
            let (seconds, nanos) = (at.div_euclid(SECOND) as i64, at.rem_euclid(SECOND) as i32);
            unquoted(print::timestamp(seconds, nanos, &mut [0; print::TIMESTAMP]).ok()?)
        }
        Value::Duration(length) => {
            let (seconds, nanos) = ((length / SECOND) as i64, (length % SECOND) as i32);
            unquoted(print::duration(seconds, nanos, &mut [0; print::DURATION]).ok()?)
        }
        _ => return None,
    })
}

/// As JSON, it stands in quotes before a comma.
fn unquoted(json: &[u8]) -> String {
    String::from_utf8_lossy(json).trim_matches(['"', ',']).to_owned()
}

/// `1h30m`, `-1.5s`, `100ms`: numbers with units, in nanoseconds.
fn length(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, after) = rest.split_at(digits);
        let units = [
            ("ns", 1),
            ("us", 1_000),
            ("µs", 1_000),
            ("ms", 1_000_000),
            ("h", 3600 * SECOND),
            ("m", 60 * SECOND),
            ("s", SECOND),
        ];
        let (unit, size) = units.into_iter().find(|(unit, _)| after.starts_with(unit))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || whole.len() > 18 || fraction.len() > 18 || fraction.contains('.')
        {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        total += whole * size + part * size / 10_i128.pow(fraction.len() as u32);
        rest = &after[unit.len()..];
    }
    Some(sign * total)
}
