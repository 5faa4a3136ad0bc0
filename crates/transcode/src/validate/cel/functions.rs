//! The functions of CEL and of protovalidate.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::rc::Rc;

use super::types::Type;
use super::value::{Same, Value, look_up};
use super::{Fault, Work, strings, times};
use crate::validate::address;
use crate::validate::address::Version;
use crate::validate::format::{self, Format};

/// A function whose arguments all have values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
    Not,
    In,
    Index,
    Size,
    Contains,
    StartsWith,
    EndsWith,
    /// A type's name as a function.
    Convert(Into),
    TypeOf,
    Part(times::Part),
    Text(strings::Text),
    IsNan,
    IsInf,
    Form(Format),
    IsIp,
    IsIpPrefix,
    IsHostAndPort,
    Unique,
    GetField,
}

/// What is converted into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Bool,
    Timestamp,
    Duration,
    Dyn,
}

impl Function {
    /// The function of a name with so many arguments, the one it is called on among them.
    pub(super) fn find(name: &str, method: bool, arguments: usize) -> Option<Self> {
        let found = match (name, arguments, method) {
            ("_==_", 2, _) => Self::Equal,
            ("_!=_", 2, _) => Self::NotEqual,
            ("_<_", 2, _) => Self::Less,
            ("_<=_", 2, _) => Self::LessOrEqual,
            ("_>_", 2, _) => Self::Greater,
            ("_>=_", 2, _) => Self::GreaterOrEqual,
            ("_+_", 2, _) => Self::Add,
            ("_-_", 2, _) => Self::Subtract,
            ("_*_", 2, _) => Self::Multiply,
            ("_/_", 2, _) => Self::Divide,
            ("_%_", 2, _) => Self::Modulo,
            ("-_", 1, _) => Self::Negate,
            ("!_", 1, _) => Self::Not,
            ("@in", 2, _) => Self::In,
            ("_[_]", 2, _) => Self::Index,
            ("size", 1, _) => Self::Size,
            ("contains", 2, true) => Self::Contains,
            ("startsWith", 2, true) => Self::StartsWith,
            ("endsWith", 2, true) => Self::EndsWith,
            ("int", 1, false) => Self::Convert(Into::Int),
            ("uint", 1, false) => Self::Convert(Into::Uint),
            ("double", 1, false) => Self::Convert(Into::Double),
            ("string", 1, false) => Self::Convert(Into::String),
            ("bytes", 1, false) => Self::Convert(Into::Bytes),
            ("bool", 1, false) => Self::Convert(Into::Bool),
            ("timestamp", 1, false) => Self::Convert(Into::Timestamp),
            ("duration", 1, false) => Self::Convert(Into::Duration),
            ("dyn", 1, false) => Self::Convert(Into::Dyn),
            ("type", 1, false) => Self::TypeOf,
            ("isNan", 1, true) => Self::IsNan,
            ("isInf", 1 | 2, true) => Self::IsInf,
            ("isEmail", 1, true) => Self::Form(Format::Email),
            ("isHostname", 1, true) => Self::Form(Format::Hostname),
            ("isUri", 1, true) => Self::Form(Format::Uri),
            ("isUriRef", 1, true) => Self::Form(Format::UriRef),
            ("isIp", 1 | 2, true) => Self::IsIp,
            ("isIpPrefix", 1..=3, true) => Self::IsIpPrefix,
            ("isHostAndPort", 2, true) => Self::IsHostAndPort,
            ("unique", 1, true) => Self::Unique,
            ("getField", 2, false) => Self::GetField,
            (name, 1 | 2, true) if times::Part::find(name).is_some() => Self::Part(times::Part::find(name)?),
            (name, arguments, true) => Self::Text(strings::Text::find(name, arguments)?),
            _ => return None,
        };
        Some(found)
    }

    /// What it answers for arguments of these types.
    pub(super) fn answers(self, of: &[Type]) -> Type {
        match self {
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => {
                Type::Bool
            }
            Self::Not | Self::In | Self::Contains | Self::StartsWith | Self::EndsWith | Self::IsNan | Self::IsInf => {
                Type::Bool
            }
            Self::Form(_) | Self::IsIp | Self::IsIpPrefix | Self::IsHostAndPort | Self::Unique => Type::Bool,
            Self::Size | Self::Part(_) => Type::Int,
            Self::Index => match &of[0] {
                Type::List(element) => (**element).clone(),
                Type::Map(_, value) => (**value).clone(),
                _ => Type::Dyn,
            },
            Self::Convert(into) => match into {
                Into::Int => Type::Int,
                Into::Uint => Type::Uint,
                Into::Double => Type::Double,
                Into::String => Type::String,
                Into::Bytes => Type::Bytes,
                Into::Bool => Type::Bool,
                Into::Timestamp => Type::Timestamp,
                Into::Duration => Type::Duration,
                Into::Dyn => Type::Dyn,
            },
            Self::Text(text) => text.answers(),
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Modulo | Self::Negate => Type::Dyn,
            Self::TypeOf | Self::GetField => Type::Dyn,
        }
    }

    /// Calls it.
    pub(super) fn call<'a>(self, arguments: Vec<Value<'a>>, work: &mut Work<'_>) -> Result<Value<'a>, Fault> {
        work.spend(arguments.iter().map(Value::size).sum())?;
        match self {
            Self::Text(text) => return text.call(&arguments, work),
            Self::Part(part) => return part.call(&arguments),
            _ => {}
        }
        let mut arguments = arguments.into_iter();
        let first = arguments.next().ok_or_else(none_fits)?;
        let Some(second) = arguments.next() else { return self.call_one(first, work) };
        if let Some(third) = arguments.next() {
            return match (self, first, second, third) {
                (Self::IsIpPrefix, Value::String(text), version, Value::Bool(strict)) => {
                    prefix(&text, &version, strict)
                }
                _ => Err(none_fits()),
            };
        }
        self.call_two(first, second, work)
    }

    fn call_one<'a>(self, value: Value<'a>, work: &mut Work<'_>) -> Result<Value<'a>, Fault> {
        Ok(match (self, value) {
            (Self::Not, value) => Value::Bool(!value.bool()?),
            (Self::Negate, Value::Int(value)) => Value::Int(value.checked_neg().ok_or_else(overflow)?),
            (Self::Negate, Value::Double(value)) => Value::Double(-value),
            (Self::Negate, Value::Duration(value)) => Value::Duration(-value),
            (Self::Size, value) => Value::Int(size(&value)? as i64),
            (Self::Convert(into), value) => times::convert(value, into)?,
            (Self::TypeOf, value) => Value::Type(value.type_name()),
            (Self::IsNan, Value::Double(value)) => Value::Bool(value.is_nan()),
            (Self::IsInf, Value::Double(value)) => Value::Bool(value.is_infinite()),
            (Self::Form(form), Value::String(text)) => Value::Bool(form.accepts(text.as_bytes())),
            (Self::IsIp, Value::String(text)) => Value::Bool(address::is_address(text.as_bytes(), Version::Any)),
            (Self::IsIpPrefix, Value::String(text)) => {
                Value::Bool(address::is_prefix(text.as_bytes(), Version::Any, false))
            }
            (Self::Unique, Value::List(list)) => Value::Bool(unique(&list, work)?),
            _ => return Err(none_fits()),
        })
    }

    fn call_two<'a>(self, one: Value<'a>, other: Value<'a>, work: &mut Work<'_>) -> Result<Value<'a>, Fault> {
        let order = |one: &Value<'a>, other: &Value<'a>, work: &mut Work<'_>, is: fn(Ordering) -> bool| {
            one.compare(other, work).map(|order| Value::Bool(order.is_some_and(is)))
        };
        match self {
            Self::Equal => one.equals(&other, work).map(Value::Bool),
            Self::NotEqual => one.equals(&other, work).map(|equal| Value::Bool(!equal)),
            Self::Less => order(&one, &other, work, Ordering::is_lt),
            Self::LessOrEqual => order(&one, &other, work, Ordering::is_le),
            Self::Greater => order(&one, &other, work, Ordering::is_gt),
            Self::GreaterOrEqual => order(&one, &other, work, Ordering::is_ge),
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Modulo => self.arithmetic(one, other),
            Self::In => match &other {
                Value::List(list) => {
                    for item in list.iter() {
                        if item.equals(&one, work)? {
                            return Ok(Value::Bool(true));
                        }
                    }
                    Ok(Value::Bool(false))
                }
                Value::Map(map) => Ok(Value::Bool(look_up(map, &one, work)?.is_some())),
                _ => Err(none_fits()),
            },
            Self::Index => index(&one, &other, work),
            Self::Contains | Self::StartsWith | Self::EndsWith => {
                let (text, part) = match (&one, &other) {
                    (Value::String(text), Value::String(part)) => (text.as_bytes(), part.as_bytes()),
                    (Value::Bytes(text), Value::Bytes(part)) => (&**text, &**part),
                    _ => return Err(none_fits()),
                };
                Ok(Value::Bool(match self {
                    Self::StartsWith => text.starts_with(part),
                    Self::EndsWith => text.ends_with(part),
                    _ => memchr::memmem::find(text, part).is_some(),
                }))
            }
            Self::IsInf => match (one, other.index()?) {
                (Value::Double(value), sign) => {
                    let signed = sign == 0 || (sign > 0) == (value > 0.0);
                    Ok(Value::Bool(value.is_infinite() && signed))
                }
                _ => Err(none_fits()),
            },
            Self::IsIp => match (one, version(&other)?) {
                (Value::String(text), Some(version)) => Ok(Value::Bool(address::is_address(text.as_bytes(), version))),
                (Value::String(_), None) => Ok(Value::Bool(false)),
                _ => Err(none_fits()),
            },
            Self::IsIpPrefix => match (one, other) {
                (Value::String(text), Value::Bool(strict)) => prefix(&text, &Value::Int(0), strict),
                (Value::String(text), which) => prefix(&text, &which, false),
                _ => Err(none_fits()),
            },
            Self::IsHostAndPort => match (one, other) {
                (Value::String(text), Value::Bool(port)) => {
                    Ok(Value::Bool(format::is_host_and_port(text.as_bytes(), port)))
                }
                _ => Err(none_fits()),
            },
            Self::GetField => match (&one, &other) {
                (Value::Message(message), Value::String(name)) => {
                    let slot = message.slot(name)?;
                    message.get(slot, work)
                }
                _ => Err(none_fits()),
            },
            _ => Err(none_fits()),
        }
    }

    fn arithmetic<'a>(self, one: Value<'a>, other: Value<'a>) -> Result<Value<'a>, Fault> {
        use Value::{Bytes, Double, Duration, Int, List, String, Timestamp, Uint};
        let whole = |value: Option<i64>| value.map(Int).ok_or_else(overflow);
        let natural = |value: Option<u64>| value.map(Uint).ok_or_else(overflow);
        match (self, one, other) {
            (Self::Divide | Self::Modulo, Int(_), Int(0)) | (Self::Divide | Self::Modulo, Uint(_), Uint(0)) => {
                Err(Fault::error("a division by zero"))
            }
            (Self::Add, Int(one), Int(other)) => whole(one.checked_add(other)),
            (Self::Subtract, Int(one), Int(other)) => whole(one.checked_sub(other)),
            (Self::Multiply, Int(one), Int(other)) => whole(one.checked_mul(other)),
            (Self::Divide, Int(one), Int(other)) => whole(one.checked_div(other)),
            (Self::Modulo, Int(one), Int(other)) => whole(one.checked_rem(other)),
            (Self::Add, Uint(one), Uint(other)) => natural(one.checked_add(other)),
            (Self::Subtract, Uint(one), Uint(other)) => natural(one.checked_sub(other)),
            (Self::Multiply, Uint(one), Uint(other)) => natural(one.checked_mul(other)),
            (Self::Divide, Uint(one), Uint(other)) => natural(one.checked_div(other)),
            (Self::Modulo, Uint(one), Uint(other)) => natural(one.checked_rem(other)),
            (Self::Add, Double(one), Double(other)) => Ok(Double(one + other)),
            (Self::Subtract, Double(one), Double(other)) => Ok(Double(one - other)),
            (Self::Multiply, Double(one), Double(other)) => Ok(Double(one * other)),
            (Self::Divide, Double(one), Double(other)) => Ok(Double(one / other)),
            (Self::Add, String(one), String(other)) => Ok(String((one.into_owned() + &other).into())),
            (Self::Add, Bytes(one), Bytes(other)) => Ok(Bytes([one, other].concat().into())),
            (Self::Add, List(one), List(other)) => {
                let mut list = Rc::unwrap_or_clone(one);
                list.extend(other.iter().cloned());
                Ok(List(Rc::new(list)))
            }
            (Self::Add, Timestamp(at), Duration(by)) | (Self::Add, Duration(by), Timestamp(at)) => {
                times::timestamp(at + by)
            }
            (Self::Add, Duration(one), Duration(other)) => times::duration(one + other),
            (Self::Subtract, Timestamp(at), Duration(by)) => times::timestamp(at - by),
            (Self::Subtract, Timestamp(one), Timestamp(other)) | (Self::Subtract, Duration(one), Duration(other)) => {
                times::duration(one - other)
            }
            _ => Err(none_fits()),
        }
    }
}

fn none_fits() -> Fault {
    Fault::error("the values are of types that this is not defined for")
}

fn overflow() -> Fault {
    Fault::error("the number is too large")
}

fn size(value: &Value<'_>) -> Result<usize, Fault> {
    match value {
        Value::String(text) => Ok(text.chars().count()),
        Value::Bytes(bytes) => Ok(bytes.len()),
        Value::List(list) => Ok(list.len()),
        Value::Map(map) => Ok(map.len()),
        _ => Err(none_fits()),
    }
}

fn index<'a>(of: &Value<'a>, key: &Value<'a>, work: &mut Work<'_>) -> Result<Value<'a>, Fault> {
    match of {
        Value::List(list) => {
            let found = usize::try_from(key.index()?).ok().and_then(|at| list.get(at));
            found.cloned().ok_or_else(|| Fault::error("the list is not as long"))
        }
        Value::Map(map) => look_up(map, key, work)?.cloned().ok_or_else(|| Fault::error("the map has no such key")),
        _ => Err(none_fits()),
    }
}

/// Which addresses a number means; none where it means none.
fn version(number: &Value<'_>) -> Result<Option<Version>, Fault> {
    Ok(match number.index()? {
        0 => Some(Version::Any),
        4 => Some(Version::V4),
        6 => Some(Version::V6),
        _ => None,
    })
}

fn prefix<'a>(text: &str, number: &Value<'_>, strict: bool) -> Result<Value<'a>, Fault> {
    let version = version(number)?;
    Ok(Value::Bool(version.is_some_and(|version| address::is_prefix(text.as_bytes(), version, strict))))
}

/// Nothing is in it twice.
fn unique(list: &[Value<'_>], work: &mut Work<'_>) -> Result<bool, Fault> {
    let (mut seen, mut compound): (HashSet<Same<'_>>, Vec<&Value<'_>>) = (HashSet::new(), Vec::new());
    for one in list {
        match Same::of(one) {
            Some(same) => {
                work.spend(one.size())?;
                if !seen.insert(same) {
                    return Ok(false);
                }
            }
            // A NaN is not even itself.
            None if matches!(one, Value::Double(_)) => {}
            None => {
                for other in &compound {
                    if one.equals(other, work)? {
                        return Ok(false);
                    }
                }
                compound.push(one);
            }
        }
    }
    Ok(true)
}
