//! The rules of each type: `FieldRules.type` → tests.

use super::number::{Bound, Number, Unit, Written, nanoseconds};
use super::rule::{Now, Paths, Rule, Test, sorted};
use super::said::{Said, known};
use super::strings::{BYTES, STRING, texts};
use super::text::Text;
use crate::schema::{Kind, Schema, WellKnown};

/// What rules say of values: the member of `FieldRules.type` that fits, and how values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Scalar(Kind),
    Any,
    Duration,
    Timestamp,
    FieldMask,
    Repeated,
    Map,
    /// A message without rules for its type.
    Message,
}

impl Type {
    /// The type of a value of this kind; that of a wrapper is what it wraps.
    pub(super) fn of(schema: &Schema, kind: Kind) -> Self {
        let (Kind::Message(id) | Kind::Group(id)) = kind else { return Self::Scalar(kind) };
        let message = schema.message(id);
        match message.well_known {
            WellKnown::Any => Self::Any,
            WellKnown::Duration => Self::Duration,
            WellKnown::Timestamp => Self::Timestamp,
            WellKnown::FieldMask => Self::FieldMask,
            WellKnown::Wrapper => message.fields.first().map_or(Self::Message, |field| Self::Scalar(field.kind)),
            _ => Self::Message,
        }
    }

    /// Number and name in `FieldRules`; none for a message.
    pub(super) fn member(self) -> Option<(u32, &'static str)> {
        Some(match self {
            Self::Scalar(Kind::Float) => (1, "float"),
            Self::Scalar(Kind::Double) => (2, "double"),
            Self::Scalar(Kind::Int32) => (3, "int32"),
            Self::Scalar(Kind::Int64) => (4, "int64"),
            Self::Scalar(Kind::Uint32) => (5, "uint32"),
            Self::Scalar(Kind::Uint64) => (6, "uint64"),
            Self::Scalar(Kind::Sint32) => (7, "sint32"),
            Self::Scalar(Kind::Sint64) => (8, "sint64"),
            Self::Scalar(Kind::Fixed32) => (9, "fixed32"),
            Self::Scalar(Kind::Fixed64) => (10, "fixed64"),
            Self::Scalar(Kind::Sfixed32) => (11, "sfixed32"),
            Self::Scalar(Kind::Sfixed64) => (12, "sfixed64"),
            Self::Scalar(Kind::Bool) => (13, "bool"),
            Self::Scalar(Kind::String) => (14, "string"),
            Self::Scalar(Kind::Bytes) => (15, "bytes"),
            Self::Scalar(Kind::Enum(_)) => (16, "enum"),
            Self::Repeated => (18, "repeated"),
            Self::Map => (19, "map"),
            Self::Any => (20, "any"),
            Self::Duration => (21, "duration"),
            Self::Timestamp => (22, "timestamp"),
            Self::FieldMask => (28, "field_mask"),
            Self::Message | Self::Scalar(Kind::Message(_) | Kind::Group(_)) => return None,
        })
    }
}

/// Every number of `FieldRules.type`, and its name.
pub(super) fn member_name(number: u32) -> Option<&'static str> {
    let scalars = [
        "float", "double", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32",
        "sfixed64", "bool", "string", "bytes", "enum",
    ];
    match number {
        1..=16 => scalars.get(number as usize - 1).copied(),
        18 => Some("repeated"),
        19 => Some("map"),
        20 => Some("any"),
        21 => Some("duration"),
        22 => Some("timestamp"),
        28 => Some("field_mask"),
        _ => None,
    }
}

/// The rules that a member of `FieldRules.type` sets for values of its type. (Those of lists and maps are their own.)
pub(super) fn rules(schema: &Schema, of: Type, said: &Said<'_>) -> Result<Vec<Rule>, String> {
    let Some((_, name)) = of.member() else { return Ok(Vec::new()) };
    match of {
        Type::Scalar(Kind::String) => texts(said, name, &STRING),
        Type::Scalar(Kind::Bytes) => texts(said, name, &BYTES),
        Type::Scalar(Kind::Enum(id)) => {
            let mut rules = numbers(said, name, Unit::Scalar(Kind::Int32), &ENUM)?;
            known(said, name, &[1, 2, 3, 4, 5])?;
            if said.flag(2) {
                let defined = schema.enumeration(id).values.iter().map(|&(_, number)| i128::from(number)).collect();
                let message = "must be one of the enum's values";
                rules.push(Rule::new("enum.defined_only", message, Test::Number(Number::In(sorted(defined)))));
            }
            Ok(rules)
        }
        Type::Scalar(Kind::Bool) => {
            known(said, name, &[1, 2])?;
            numbers(said, name, Unit::Scalar(Kind::Bool), &ENUM)
        }
        Type::Scalar(kind) => {
            let float = matches!(kind, Kind::Float | Kind::Double);
            known(said, name, if float { &[1, 2, 3, 4, 5, 6, 7, 8, 9] } else { &[1, 2, 3, 4, 5, 6, 7, 8] })?;
            let mut rules = numbers(said, name, Unit::Scalar(kind), &NUMBER)?;
            if float && said.flag(8) {
                rules.push(Rule::new(format!("{name}.finite"), "must be finite", Test::Number(Number::Finite)));
            }
            Ok(rules)
        }
        Type::Duration => {
            known(said, name, &[2, 3, 4, 5, 6, 7, 8, 9])?;
            numbers(said, name, Unit::Duration, &TIME)
        }
        Type::Timestamp => timestamps(said, name),
        Type::FieldMask => {
            known(said, name, &[1, 2, 3, 4])?;
            paths(said)
        }
        Type::Any => {
            known(said, name, &[2, 3])?;
            let list = |number| sorted(said.each_bytes(number).map(Box::from).collect());
            let mut rules = Vec::new();
            if said.bytes(2).is_some() {
                let message = format!("must be of one of the types {}", shown(said.each_bytes(2)));
                rules.push(Rule::new("any.in", message, Test::Text(Text::In(list(2)))));
            }
            if said.bytes(3).is_some() {
                let message = format!("must be of none of the types {}", shown(said.each_bytes(3)));
                rules.push(Rule::new("any.not_in", message, Test::Text(Text::NotIn(list(3)))));
            }
            Ok(rules)
        }
        Type::Repeated | Type::Map | Type::Message => Ok(Vec::new()),
    }
}

/// Under which numbers a type has its rules for numbers; 0 for none.
struct Numbers {
    equal: u32,
    /// lt, lte, gt, gte
    bounds: [u32; 4],
    within: u32,
    without: u32,
}

const NUMBER: Numbers = Numbers { equal: 1, bounds: [2, 3, 4, 5], within: 6, without: 7 };
const ENUM: Numbers = Numbers { equal: 1, bounds: [0; 4], within: 3, without: 4 };
const TIME: Numbers = Numbers { equal: 2, bounds: [3, 4, 5, 6], within: 7, without: 8 };
const INSTANT: Numbers = Numbers { equal: 2, bounds: [3, 4, 5, 6], within: 0, without: 0 };

fn numbers(said: &Said<'_>, name: &str, unit: Unit, at: &Numbers) -> Result<Vec<Rule>, String> {
    let mut rules = Vec::new();
    let mut rule = |id: &str, message: String, test| rules.push(Rule::new(format!("{name}.{id}"), message, test));
    if let Some(value) = said.last(at.equal) {
        let Written { place, text } = unit.number(value)?;
        rule("const", format!("must be {text}"), Test::Number(Number::Equal(place)));
    }
    let bound = |numbers: [u32; 2], ids: [&'static str; 2]| {
        let Some(number) = said.last_among(|number| numbers.contains(&number)).filter(|&number| number > 0) else {
            return Ok(None);
        };
        let Some(value) = said.last(number) else { return Ok(None) };
        let open = number == numbers[0];
        let Written { place, text } = unit.number(value)?;
        let at = place.ok_or_else(|| "NaN bounds nothing".to_owned())?;
        Ok::<_, String>(Some((Bound { at, open }, ids[usize::from(!open)], text)))
    };
    let high = bound([at.bounds[0], at.bounds[1]], ["lt", "lte"])?;
    let low = bound([at.bounds[2], at.bounds[3]], ["gt", "gte"])?;
    let more = |open: bool, text: &str| format!("greater than {}{text}", if open { "" } else { "or equal to " });
    let less = |open: bool, text: &str| format!("less than {}{text}", if open { "" } else { "or equal to " });
    match (low, high) {
        (None, None) => {}
        (Some((low, id, text)), None) => {
            let test = Number::Range { low: Some(low), high: None, outside: false };
            rule(id, format!("must be {}", more(low.open, &text)), Test::Number(test));
        }
        (None, Some((high, id, text))) => {
            let test = Number::Range { low: None, high: Some(high), outside: false };
            rule(id, format!("must be {}", less(high.open, &text)), Test::Number(test));
        }
        (Some((low, low_id, low_text)), Some((high, high_id, high_text))) => {
            let outside = high.at < low.at;
            let (word, suffix) = if outside { ("or", "_exclusive") } else { ("and", "") };
            let message = format!("must be {} {word} {}", more(low.open, &low_text), less(high.open, &high_text));
            let test = Number::Range { low: Some(low), high: Some(high), outside };
            rule(&format!("{low_id}_{high_id}{suffix}"), message, Test::Number(test));
        }
    }
    for (number, id, words) in [(at.within, "in", "one of"), (at.without, "not_in", "none of")] {
        let list = unit.numbers(said, number)?;
        if number == 0 || list.is_empty() {
            continue;
        }
        let texts: Vec<&str> = list.iter().map(|one| one.text.as_str()).collect();
        let message = format!("must be {words} {}", texts.join(", "));
        let places = sorted(list.iter().filter_map(|one| one.place).collect());
        let test = if id == "in" { Number::In(places) } else { Number::NotIn(places) };
        rule(id, message, Test::Number(test));
    }
    Ok(rules)
}

fn timestamps(said: &Said<'_>, name: &str) -> Result<Vec<Rule>, String> {
    known(said, name, &[2, 3, 4, 5, 6, 7, 8, 9, 10])?;
    let mut rules = numbers(said, name, Unit::Timestamp, &INSTANT)?;
    if said.last_among(|number| (3..=4).contains(&number) || number == 7) == Some(7) && said.flag(7) {
        rules.push(Rule::new("timestamp.lt_now", "must be in the past", Test::Now(Now::Past)));
    }
    if said.last_among(|number| (5..=6).contains(&number) || number == 8) == Some(8) && said.flag(8) {
        rules.push(Rule::new("timestamp.gt_now", "must be in the future", Test::Now(Now::Future)));
    }
    if let Some(within) = said.message(9) {
        let within = Said::read(&within)?;
        let (seconds, nanos) = (within.bits(1).unwrap_or_default() as i64, within.bits(2).unwrap_or_default() as i32);
        let distance = nanoseconds(seconds, nanos);
        let message =
            format!("must be within {:?} of now", std::time::Duration::from_nanos(distance.clamp(0, 1 << 62) as u64));
        rules.push(Rule::new("timestamp.within", message, Test::Now(Now::Within(distance))));
    }
    Ok(rules)
}

fn paths(said: &Said<'_>) -> Result<Vec<Rule>, String> {
    let mut rules = Vec::new();
    if let Some(mask) = said.message(1) {
        let mask = Said::read(&mask)?;
        let message = format!("must be the paths {}", shown(mask.each_bytes(1)));
        let wanted = mask.each_bytes(1).map(Box::from).collect();
        rules.push(Rule::new("field_mask.const", message, Test::Paths(Paths::Equal(wanted))));
    }
    let list = |number| said.each_bytes(number).map(Box::from).collect();
    if said.bytes(2).is_some() {
        let message = format!("must hold only paths of {}", shown(said.each_bytes(2)));
        rules.push(Rule::new("field_mask.in", message, Test::Paths(Paths::In(list(2)))));
    }
    if said.bytes(3).is_some() {
        let message = format!("must hold no paths of {}", shown(said.each_bytes(3)));
        rules.push(Rule::new("field_mask.not_in", message, Test::Paths(Paths::NotIn(list(3)))));
    }
    Ok(rules)
}

fn shown<'a>(texts: impl Iterator<Item = &'a [u8]>) -> String {
    texts.map(|text| format!("`{}`", String::from_utf8_lossy(text))).collect::<Vec<_>>().join(", ")
}
