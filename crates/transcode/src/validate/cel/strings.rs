//! What CEL's extension for strings does.

use std::rc::Rc;

use super::types::Type;
use super::value::Value;
use super::{Fault, Work, times};

/// A method of strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    CharAt,
    IndexOf,
    LastIndexOf,
    Join,
    LowerAscii,
    UpperAscii,
    Replace,
    Reverse,
    Split,
    Substring,
    Trim,
    Format,
}

impl Text {
    /// The method of a name with so many arguments, the text among them.
    pub(super) fn find(name: &str, arguments: usize) -> Option<Self> {
        Some(match (name, arguments) {
            ("charAt", 2) => Self::CharAt,
            ("indexOf", 2 | 3) => Self::IndexOf,
            ("lastIndexOf", 2) => Self::LastIndexOf,
            ("join", 1 | 2) => Self::Join,
            ("lowerAscii", 1) => Self::LowerAscii,
            ("upperAscii", 1) => Self::UpperAscii,
            ("replace", 3 | 4) => Self::Replace,
            ("reverse", 1) => Self::Reverse,
            ("split", 2 | 3) => Self::Split,
            ("substring", 2 | 3) => Self::Substring,
            ("trim", 1) => Self::Trim,
            ("format", 2) => Self::Format,
            _ => return None,
        })
    }

    /// What it answers.
    pub(super) fn answers(self) -> Type {
        match self {
            Self::IndexOf | Self::LastIndexOf => Type::Int,
            Self::Split => Type::List(Box::new(Type::String)),
            _ => Type::String,
        }
    }

    /// Calls it.
    pub(super) fn call<'a>(self, arguments: &[Value<'a>], work: &mut Work<'_>) -> Result<Value<'a>, Fault> {
        if let (Self::Join, [Value::List(list), rest @ ..]) = (self, arguments) {
            return join(list, rest, work);
        }
        let [Value::String(text), rest @ ..] = arguments else { return Err(none_fits()) };
        Ok(match (self, rest) {
            (Self::LowerAscii, []) => Value::text(text.to_ascii_lowercase()),
            (Self::UpperAscii, []) => Value::text(text.to_ascii_uppercase()),
            (Self::Trim, []) => Value::text(text.trim().to_owned()),
            (Self::Reverse, []) => Value::text(text.chars().rev().collect::<String>()),
            (Self::CharAt, [at]) => {
                let at = place(at, text)?;
                Value::text(text.chars().nth(at).map(String::from).unwrap_or_default())
            }
            (Self::Substring, [from]) => {
                let from = place(from, text)?;
                Value::text(text.chars().skip(from).collect::<String>())
            }
            (Self::Substring, [from, to]) => {
                let (from, to) = (place(from, text)?, place(to, text)?);
                let length = to.checked_sub(from).ok_or_else(|| Fault::error("a part ends before it begins"))?;
                Value::text(text.chars().skip(from).take(length).collect::<String>())
            }
            (Self::IndexOf, [Value::String(part)]) => Value::Int(index(text, text.find(&**part))),
            (Self::IndexOf, [Value::String(part), from]) => {
                let from = place(from, text)?;
                let start = text.char_indices().nth(from).map_or(text.len(), |(at, _)| at);
                Value::Int(index(text, text[start..].find(&**part).map(|at| at + start)))
            }
            (Self::LastIndexOf, [Value::String(part)]) => Value::Int(index(text, text.rfind(&**part))),
            (Self::Replace, [Value::String(old), Value::String(new), most @ ..]) => {
                let most = match most {
                    [most] => usize::try_from(most.index()?).unwrap_or(usize::MAX),
                    _ => usize::MAX,
                };
                // An empty text is found between all characters.
                let found = if old.is_empty() { text.len() + 1 } else { text.len() / old.len() };
                work.spend(found.min(most).saturating_mul(1 + new.len()) / 16)?;
                Value::text(text.replacen(&**old, new, most))
            }
            (Self::Split, [Value::String(by), most @ ..]) => {
                let most = match most {
                    [most] => usize::try_from(most.index()?).unwrap_or(usize::MAX),
                    _ => usize::MAX,
                };
                work.spend(text.len())?;
                let parts = match by.is_empty() {
                    true => text.chars().map(String::from).take(most).collect::<Vec<_>>(),
                    false => text.splitn(most, &**by).map(str::to_owned).collect(),
                };
                Value::List(Rc::new(parts.into_iter().map(Value::text).collect()))
            }
            (Self::Format, [Value::List(values)]) => Value::text(format(text, values, work)?),
            _ => return Err(none_fits()),
        })
    }
}

fn none_fits() -> Fault {
    Fault::error("the values are of types that this is not defined for")
}

/// A place in a text, in characters; its end is one.
fn place(at: &Value<'_>, text: &str) -> Result<usize, Fault> {
    let at = usize::try_from(at.index()?).ok().filter(|&at| at <= text.chars().count());
    at.ok_or_else(|| Fault::error("the text is not as long"))
}

/// A place in bytes as one in characters; -1 is none.
fn index(text: &str, at: Option<usize>) -> i64 {
    at.map_or(-1, |at| text[..at].chars().count() as i64)
}

fn join<'a>(list: &[Value<'a>], between: &[Value<'a>], work: &mut Work<'_>) -> Result<Value<'a>, Fault> {
    let between = match between {
        [] => "",
        [Value::String(between)] => between,
        _ => return Err(none_fits()),
    };
    let mut out = String::new();
    for (at, item) in list.iter().enumerate() {
        let Value::String(item) = item else { return Err(none_fits()) };
        work.spend(1 + (item.len() + between.len()) / 16)?;
        if at > 0 {
            out.push_str(between);
        }
        out.push_str(item);
    }
    Ok(Value::text(out))
}

/// `%s`, `%d`, `%x`, `%%` and their like.
fn format(pattern: &str, values: &[Value<'_>], work: &mut Work<'_>) -> Result<String, Fault> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let clause = rest[at + 1..].chars().next().ok_or_else(|| Fault::error("a format ends with %"))?;
        rest = &rest[at + 1 + clause.len_utf8()..];
        if clause == '%' {
            out.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| Fault::error("a format wants more values"))?;
        work.spend(value.size())?;
        match (clause, value) {
            ('s', value) => shown(value, &mut out, work)?,
            ('d', Value::Int(_) | Value::Uint(_)) => shown(value, &mut out, work)?,
            ('x', Value::Int(number)) => out.push_str(&format!("{number:x}")),
            ('x', Value::Uint(number)) => out.push_str(&format!("{number:x}")),
            ('x', Value::String(text)) => text.bytes().for_each(|byte| out.push_str(&format!("{byte:02x}"))),
            ('x', Value::Bytes(bytes)) => bytes.iter().for_each(|byte| out.push_str(&format!("{byte:02x}"))),
            ('X', Value::Int(number)) => out.push_str(&format!("{number:X}")),
            ('X', Value::Uint(number)) => out.push_str(&format!("{number:X}")),
            ('o', Value::Int(number)) => out.push_str(&format!("{number:o}")),
            ('o', Value::Uint(number)) => out.push_str(&format!("{number:o}")),
            ('b', Value::Int(number)) => out.push_str(&format!("{number:b}")),
            ('b', Value::Uint(number)) => out.push_str(&format!("{number:b}")),
            ('b', Value::Bool(value)) => out.push(if *value { '1' } else { '0' }),
            _ => return Err(Fault::error("a format's clause does not fit its value")),
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// A value for people.
fn shown(value: &Value<'_>, out: &mut String, work: &mut Work<'_>) -> Result<(), Fault> {
    work.spend(value.size())?;
    match value {
        Value::List(list) => {
            out.push('[');
            for (at, item) in list.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                shown(item, out, work)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (at, (key, value)) in map.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                shown(key, out, work)?;
                out.push_str(": ");
                shown(value, out, work)?;
            }
            out.push('}');
        }
        Value::Null => out.push_str("null"),
        Value::Type(name) => out.push_str(name),
        value => out.push_str(&times::text(value).ok_or_else(none_fits)?),
    }
    Ok(())
}
