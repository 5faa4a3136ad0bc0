//! Numbers on one line: integers of every width, floats by their order, bools, enums, instants and durations in
//! nanoseconds are all places on it, so that one comparison serves them all.

use std::fmt::Write as _;

use super::said::{Said, Value};
use crate::schema::Kind;
use crate::to_json::reader;
use crate::to_json::value::{Scalar, unzigzag};
use crate::well_known::print;

/// Where a number stands; none for NaN, which stands nowhere.
pub(super) type Place = Option<i128>;

/// Nanoseconds in a second.
const SECOND: i128 = 1_000_000_000;

/// What a number must be.
#[derive(Debug)]
pub(super) enum Number {
    /// This one.
    Equal(Place),
    /// One of these, sorted.
    In(Box<[i128]>),
    /// None of these, sorted.
    NotIn(Box<[i128]>),
    /// Between the bounds; where they are the wrong way round, outside of what lies between them.
    Range { low: Option<Bound>, high: Option<Bound>, outside: bool },
    /// Neither NaN nor infinite.
    Finite,
}

/// One end of a range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) at: i128,
    /// The place itself is outside.
    pub(super) open: bool,
}

impl Number {
    pub(super) fn holds(&self, place: Place) -> bool {
        let Some(at) = place else { return matches!(self, Self::NotIn(_)) };
        match self {
            Self::Equal(wanted) => *wanted == Some(at),
            Self::In(list) => list.binary_search(&at).is_ok(),
            Self::NotIn(list) => list.binary_search(&at).is_err(),
            Self::Range { low, high, outside } => {
                let above = low.is_none_or(|low| at > low.at || at == low.at && !low.open);
                let below = high.is_none_or(|high| at < high.at || at == high.at && !high.open);
                if *outside { above || below } else { above && below }
            }
            Self::Finite => at.unsigned_abs() < order(f64::INFINITY).unwrap_or_default().unsigned_abs(),
        }
    }
}

/// The place of a scalar, from its bits as [`Scalar::read`] gives them. (Of strings and bytes there is none.)
#[inline]
pub(super) fn place(kind: Kind, bits: u64) -> Place {
    match kind {
        Kind::Int64 | Kind::Sfixed64 => Some(i128::from(bits as i64)),
        Kind::Int32 | Kind::Sfixed32 | Kind::Enum(_) => Some(i128::from(bits as u32 as i32)),
        Kind::Sint64 => Some(i128::from(unzigzag(bits))),
        Kind::Sint32 => Some(i128::from(unzigzag(bits) as i32)),
        Kind::Uint64 | Kind::Fixed64 | Kind::Uint32 | Kind::Fixed32 | Kind::Bool => Some(i128::from(bits)),
        Kind::Double => order(f64::from_bits(bits)),
        Kind::Float => order(f64::from(f32::from_bits(bits as u32))),
        Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Group(_) => None,
    }
}

/// Floats in their order: both zeros are one.
fn order(float: f64) -> Place {
    let bits = (float + 0.0).to_bits() as i64;
    (!float.is_nan()).then_some(i128::from(bits ^ ((bits >> 63) as u64 >> 1) as i64))
}

/// The place of a Duration, or of a Timestamp since 1970.
pub(super) fn nanoseconds(seconds: i64, nanos: i32) -> i128 {
    i128::from(seconds) * SECOND + i128::from(nanos)
}

/// What the numbers of a rule are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Scalar(Kind),
    Duration,
    Timestamp,
}

/// One number of a rule: its place, and how people write it.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) place: Place,
    pub(super) text: String,
}

impl Unit {
    /// The number that a rule's record holds.
    pub(super) fn number(self, value: Value<'_>) -> Result<Written, String> {
        match (self, value) {
            (Self::Scalar(kind), Value::Bits(bits)) => Ok(scalar(kind, bits)),
            (Self::Scalar(_), Value::Bytes(_)) => Err("a rule of numbers holds something else".to_owned()),
            (_, Value::Bits(_)) => Err("a rule of times holds something else".to_owned()),
            (_, Value::Bytes(bytes)) => {
                let said = Said::read(bytes)?;
                let (seconds, nanos) = (said.bits(1).unwrap_or_default() as i64, said.bits(2).unwrap_or_default());
                self.time(seconds, nanos as i32)
            }
        }
    }

    /// All numbers of a list, packed or not.
    pub(super) fn numbers(self, said: &Said<'_>, number: u32) -> Result<Vec<Written>, String> {
        let mut list = Vec::new();
        for value in said.each(number) {
            match (self, value) {
                (Self::Scalar(kind), Value::Bytes(packed)) => {
                    let mut at = 0;
                    while at < packed.len() {
                        let (element, end) = match kind.wire_type() {
                            reader::FIXED64 => reader::fixed64(packed, at),
                            reader::FIXED32 => reader::fixed32(packed, at).map(|(bits, end)| (bits.into(), end)),
                            _ => reader::varint(packed, at),
                        }
                        .map_err(|_| "a rule's list cannot be read".to_owned())?;
                        list.push(scalar(kind, element));
                        at = end;
                    }
                }
                _ => list.push(self.number(value)?),
            }
        }
        Ok(list)
    }

    fn time(self, seconds: i64, nanos: i32) -> Result<Written, String> {
        let place = Some(nanoseconds(seconds, nanos));
        let text = match self {
            Self::Timestamp => print::timestamp(seconds, nanos, &mut [0; print::TIMESTAMP]).map(<[u8]>::to_vec),
            _ => print::duration(seconds, nanos, &mut [0; print::DURATION]).map(<[u8]>::to_vec),
        };
        let text = text.map_err(|why| format!("a rule's time is out of range: {why}"))?;
        // As JSON, it stands in quotes before a comma.
        let text = String::from_utf8_lossy(&text).trim_matches(['"', ',']).to_owned();
        Ok(Written { place, text })
    }
}

fn scalar(kind: Kind, bits: u64) -> Written {
    // As it would be read from a message: cut to the field's width.
    let bits = match kind {
        Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Enum(_) => bits & u64::from(u32::MAX),
        _ => bits,
    };
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match kind {
        Kind::Double => write!(text, "{}", f64::from_bits(bits)),
        Kind::Float => write!(text, "{}", f32::from_bits(bits as u32)),
        Kind::Bool => write!(text, "{}", bits != 0),
        kind => write!(text, "{}", place(kind, bits).unwrap_or_default()),
    };
    Written { place: place(kind, bits), text }
}

impl Scalar {
    /// Where the scalar stands.
    #[inline]
    pub(super) fn place(self, kind: Kind) -> Place {
        place(kind, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_keep_their_order() {
        let line = [f64::NEG_INFINITY, -1e300, -1.5, -f64::MIN_POSITIVE, 0.0, 5e-324, 0.1, 1.0, 1e300, f64::INFINITY];
        let places: Vec<_> = line.iter().map(|&float| order(float).unwrap()).collect();
        assert!(places.is_sorted_by(|one, other| one < other));
        assert_eq!(order(-0.0), order(0.0));
        assert_eq!(order(f64::NAN), None);
    }

    #[test]
    fn nan_is_in_no_range_and_equals_nothing() {
        let range = Number::Range { low: None, high: None, outside: false };
        assert!(range.holds(Some(1)) && !range.holds(None));
        assert!(!Number::Equal(None).holds(None));
        assert!(Number::NotIn([1].into()).holds(None));
        assert!(Number::Finite.holds(order(f64::MAX)) && !Number::Finite.holds(order(f64::NEG_INFINITY)));
    }
}
