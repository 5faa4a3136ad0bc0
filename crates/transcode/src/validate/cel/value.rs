//! Values of CEL, their equality and their order.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use super::message::Message;
use super::{Fault, Work};

/// A value. Strings and bytes lie in the message wherever they can; what is shared is counted.
#[derive(Debug, Clone)]
pub(in crate::validate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    List(Rc<Vec<Self>>),
    /// Each key once.
    Map(Rc<Vec<(Self, Self)>>),
    Message(Rc<Message<'a>>),
    /// Nanoseconds since 1970.
    Timestamp(i128),
    /// Nanoseconds.
    Duration(i128),
    /// The name of a type.
    Type(Cow<'a, str>),
}

impl<'a> Value<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::String(text.into())
    }

    /// What it costs to copy or to compare.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::String(text) => 1 + text.len() / 32,
            Self::Bytes(bytes) => 1 + bytes.len() / 32,
            Self::List(list) => 1 + list.len(),
            Self::Map(map) => 1 + map.len(),
            _ => 1,
        }
    }

    /// The name of its type.
    pub(super) fn type_name(&self) -> Cow<'a, str> {
        Cow::Borrowed(match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Message(message) => return Cow::Borrowed(message.name()),
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Type(_) => "type",
        })
    }

    /// A bool, or an error.
    pub(super) fn bool(self) -> Result<bool, Fault> {
        match self {
            Self::Bool(value) => Ok(value),
            _ => Err(Fault::error("a bool is wanted")),
        }
    }

    /// An integer of either kind that fits.
    pub(super) fn index(&self) -> Result<i64, Fault> {
        match *self {
            Self::Int(value) => Ok(value),
            Self::Uint(value) => i64::try_from(value).map_err(|_| Fault::error("the number is too large")),
            Self::Double(value) if value.fract() == 0.0 && value.abs() < 9e15 => Ok(value as i64),
            _ => Err(Fault::error("an int is wanted")),
        }
    }

    /// Both are the same. Numbers are so whatever their types; values of other types never are.
    pub(super) fn equals(&self, other: &Self, work: &mut Work<'_>) -> Result<bool, Fault> {
        work.spend(self.size().min(other.size()))?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::String(one), Self::String(other)) | (Self::Type(one), Self::Type(other)) => one == other,
            (Self::Bytes(one), Self::Bytes(other)) => one == other,
            (Self::Timestamp(one), Self::Timestamp(other)) | (Self::Duration(one), Self::Duration(other)) => {
                one == other
            }
            (Self::List(one), Self::List(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for (one, other) in one.iter().zip(other.iter()) {
                    if !one.equals(other, work)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Map(one), Self::Map(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for (key, value) in one.iter() {
                    match look_up(other, key, work)? {
                        Some(found) if value.equals(found, work)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Self::Message(one), Self::Message(other)) => {
                if one.id != other.id {
                    return Ok(false);
                }
                let (one, other) = (one.fields(work)?, other.fields(work)?);
                if one.len() != other.len() {
                    return Ok(false);
                }
                for ((slot, value), (other_slot, other)) in one.iter().zip(other) {
                    if slot != other_slot || !value.equals(other, work)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => self.number_order(other) == Some(Ordering::Equal),
        })
    }

    /// Which comes first; an error where they have no order, none where a NaN is among them.
    pub(super) fn compare(&self, other: &Self, work: &mut Work<'_>) -> Result<Option<Ordering>, Fault> {
        work.spend(self.size().min(other.size()))?;
        Ok(match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(other)),
            (Self::String(one), Self::String(other)) => Some(one.as_bytes().cmp(other.as_bytes())),
            (Self::Bytes(one), Self::Bytes(other)) => Some(one.cmp(other)),
            (Self::Timestamp(one), Self::Timestamp(other)) | (Self::Duration(one), Self::Duration(other)) => {
                Some(one.cmp(other))
            }
            (Self::Int(_) | Self::Uint(_) | Self::Double(_), Self::Int(_) | Self::Uint(_) | Self::Double(_)) => {
                self.number_order(other)
            }
            _ => return Err(Fault::error("values of these types have no order")),
        })
    }

    /// The order of numbers on one line.
    fn number_order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Double(one), Self::Double(other)) => one.partial_cmp(other),
            (Self::Double(one), other) => float_order(*one, other.whole()?),
            (one, Self::Double(other)) => float_order(*other, one.whole()?).map(Ordering::reverse),
            _ => Some(self.whole()?.cmp(&other.whole()?)),
        }
    }

    fn whole(&self) -> Option<i128> {
        match *self {
            Self::Int(value) => Some(value.into()),
            Self::Uint(value) => Some(value.into()),
            _ => None,
        }
    }
}

/// A value that has no parts: two of them are equal where the values are.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Same<'v> {
    Null,
    Bool(bool),
    /// Numbers are on one line: a whole one,
    Whole(i128),
    /// or the bits of another.
    Double(u64),
    String(&'v str),
    Bytes(&'v [u8]),
    Timestamp(i128),
    Duration(i128),
    Type(&'v str),
}

impl<'v> Same<'v> {
    /// None of what has parts, and of what equals nothing: a NaN.
    pub(super) fn of(value: &'v Value<'_>) -> Option<Self> {
        /// No integer of CEL is that large, and every whole double below it is exact.
        const WHOLE: f64 = 1e30;
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Whole((*value).into()),
            Value::Uint(value) => Self::Whole((*value).into()),
            Value::Double(value) if value.is_nan() => return None,
            Value::Double(value) if value.fract() == 0.0 && value.abs() < WHOLE => Self::Whole(*value as i128),
            Value::Double(value) => Self::Double(value.to_bits()),
            Value::String(text) => Self::String(text),
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::Timestamp(at) => Self::Timestamp(*at),
            Value::Duration(span) => Self::Duration(*span),
            Value::Type(name) => Self::Type(name),
            Value::List(_) | Value::Map(_) | Value::Message(_) => return None,
        })
    }
}

/// A float beside a whole number, exactly.
fn float_order(float: f64, whole: i128) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // Beyond 2^100 nothing whole is left to compare with.
    let floor = float.floor().clamp(-1e30, 1e30) as i128;
    Some(floor.cmp(&whole).then(if float > float.floor() { Ordering::Greater } else { Ordering::Equal }))
}

/// The value at a key.
pub(super) fn look_up<'m, 'a>(
    map: &'m [(Value<'a>, Value<'a>)],
    key: &Value<'a>,
    work: &mut Work<'_>,
) -> Result<Option<&'m Value<'a>>, Fault> {
    for (known, value) in map {
        if known.equals(key, work)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_on_one_line() {
        let mut budget = 1000;
        let mut work = Work::new(&mut budget);
        let line = [
            Value::Double(f64::NEG_INFINITY),
            Value::Int(i64::MIN),
            Value::Double(-0.5),
            Value::Uint(0),
            Value::Double(0.5),
            Value::Int(1),
            Value::Double(1.5),
            Value::Uint(u64::MAX),
            Value::Double(f64::INFINITY),
        ];
        for (at, one) in line.iter().enumerate() {
            for (beside, other) in line.iter().enumerate() {
                assert_eq!(one.compare(other, &mut work).unwrap(), Some(at.cmp(&beside)), "{one:?} {other:?}");
            }
        }
        for (at, one) in line.iter().enumerate() {
            for (beside, other) in line.iter().enumerate() {
                assert_eq!(Same::of(one) == Same::of(other), at == beside, "{one:?} {other:?}");
            }
        }
        let same = |number| Same::of(&Value::Double(number)) == Same::of(&Value::Int(number as i64));
        assert!(same(1.0) && same(-0.0) && same(1e18) && !same(1.5));
        assert!(Value::Int(1).equals(&Value::Double(1.0), &mut work).unwrap());
        assert!(!Value::Double(f64::NAN).equals(&Value::Double(f64::NAN), &mut work).unwrap());
        assert!(!Value::Int(1).equals(&Value::text("1"), &mut work).unwrap());
    }
}
