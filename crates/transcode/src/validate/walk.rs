//! A message's bytes, held to its rules.
//!
//! Records are read as [`crate::to_json::records`] reads them: in any order, the last value of a field counts, a
//! submessage's parts are one, of a oneof the last member is set. Each level costs its records and no more; what no rule
//! looks at is read over.

use std::fmt::Write as _;
use std::ops::Range;

use super::compile::{has_presence, zero};
use super::kinds::Type;
use super::number::{nanoseconds, place};
use super::own::{self, Own};
use super::rule::{Rule, Subject};
use super::{Field, Held, Ignore, List, MOST, Map, Ruled, Rules, Value, Violation};
use crate::invalid::Invalid;
use crate::json::scan::echo;
use crate::plan::{Limits, budget};
use crate::schema::{Field as Declared, Kind, Message, MessageId, Schema};
use crate::scratch::{Scratch, Span};
use crate::to_json::reader::{self, LEN};
use crate::to_json::records::Reading;
use crate::to_json::value::{Scalar, entry_fields, is_packed, is_unknown, last_of, spend};
use crate::to_json::{Halt, countable, malformed};

type Done = Result<(), Halt>;

/// The violations of a message of the type `id`.
pub(super) fn violations(
    rules: &Rules,
    (schema, id): (&Schema, MessageId),
    message: &[u8],
    limits: &Limits,
    now: i128,
    scratch: &mut Scratch,
) -> Result<Vec<Violation>, Invalid> {
    countable(message)?;
    let (depth, mut work) = (limits.depth.min(Limits::DEEPEST), budget(message.len()));
    let mut walk = Walk {
        rules,
        now,
        steps: own::steps(message.len()),
        reading: Reading { schema, wire: message, scratch: &mut scratch.json, depth, work: &mut work },
        path: Vec::new(),
        violations: Vec::new(),
    };
    walk.reading.begin();
    walk.message(id, 0..1).map_err(|halt| {
        let (invalid, path) = (Invalid::from(halt), walk.path());
        if path.is_empty() { invalid } else { invalid.within(&path) }
    })?;
    Ok(walk.violations)
}

struct Walk<'a, 'b> {
    rules: &'a Rules,
    now: i128,
    /// What the schema's own rules may still do.
    steps: usize,
    reading: Reading<'a, 'b>,
    /// Where we are. After an error it says where that is.
    path: Vec<Step<'a>>,
    violations: Vec<Violation>,
}

/// One step from a message to what it holds.
enum Step<'a> {
    Field(&'a Declared),
    Element(usize),
    Key(Kind, Scalar),
}

impl<'a> Walk<'a, '_> {
    /// Judges the message whose parts are the records `parts`.
    fn message(&mut self, id: MessageId, parts: Range<usize>) -> Done {
        let Some(ruled) = self.rules.ruled(id) else { return Ok(()) };
        let message = self.reading.schema.message(id);
        self.reading.enter()?;
        let first = self.reading.collect(message, parts.clone())?.first;
        for field in &ruled.fields {
            let declared = &message.fields[usize::from(field.slot)];
            let records = self.records_of(message, first, field.slot);
            self.path.push(Step::Field(declared));
            self.field(field, declared, records)?;
            self.path.pop();
            if self.violations.len() >= MOST {
                break;
            }
        }
        self.presence(ruled, message, first)?;
        self.own(&ruled.own, own::Subject::Message(id, parts), false)?;
        self.reading.scratch.records.truncate(first);
        self.reading.leave();
        Ok(())
    }

    /// The records of a field that count, among those from `first` on.
    fn records_of(&self, message: &Message, first: usize, slot: u16) -> Range<usize> {
        let records = &self.reading.scratch.records;
        let oneof = message.fields[usize::from(slot)].oneof;
        let place = oneof.map_or(usize::from(slot), |oneof| message.fields.len() + usize::from(oneof)) as u32;
        let start = first + records[first..].partition_point(|record| record.place < place);
        if records.get(start).is_none_or(|record| record.place != place) {
            return start..start;
        }
        let ((counting, end), _) = self.reading.next_field(message, start);
        match records[end - 1].slot == slot {
            true => counting,
            false => start..start,
        }
    }

    /// Which oneofs, and which groups of fields, must be set or not.
    fn presence(&mut self, ruled: &'a Ruled, message: &'a Message, first: usize) -> Done {
        for &oneof in &ruled.oneofs {
            let place = (message.fields.len() + usize::from(oneof)) as u32;
            if !self.reading.scratch.records[first..].iter().any(|record| record.place == place) {
                let mut field = self.path();
                let dot = if field.is_empty() { "" } else { "." };
                let name = message.oneofs.get(usize::from(oneof)).map_or("", |name| name);
                // Writing to a string cannot fail.
                let _ = write!(field, "{dot}{name}");
                let message = "one of its fields must be set".into();
                self.violations.push(Violation { field, rule: "required".into(), message, for_key: false });
            }
        }
        for group in &ruled.groups {
            let mut set = 0;
            for &slot in &group.slots {
                let records = self.records_of(message, first, slot);
                set += usize::from(self.is_set(&message.fields[usize::from(slot)], records)?);
            }
            let names = &group.names;
            if set > 1 {
                self.violate("message.oneof", format!("only one of {names} may be set").into(), false);
            } else if set == 0 && group.required {
                self.violate("message.oneof", format!("one of {names} must be set").into(), false);
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &'a Field, declared: &'a Declared, records: Range<usize>) -> Done {
        let set = if field.required || field.ignore == Ignore::IfZero || has_presence(declared) {
            let set = self.is_set(declared, records.clone())?;
            if !set && field.required {
                self.violate("required", "a value is required".into(), false);
                return Ok(());
            }
            set
        } else {
            true
        };
        match &field.held {
            Held::One(value) if set => self.value(value, declared, records),
            Held::List(list) if set => self.list(list, declared, records),
            Held::Map(map) if set => self.map(map, declared, records),
            _ => Ok(()),
        }
    }

    /// The field is there: with presence, some record; without, a value other than zero; of many, one.
    fn is_set(&mut self, declared: &'a Declared, records: Range<usize>) -> Result<bool, Halt> {
        if records.is_empty() {
            return Ok(false);
        }
        match declared.shape {
            crate::schema::Shape::Map => Ok(true),
            crate::schema::Shape::Repeated | crate::schema::Shape::Packed => {
                let mut some = false;
                self.each(declared, records, |_, _| {
                    some = true;
                    Ok(())
                })?;
                Ok(some)
            }
            _ if has_presence(declared) => Ok(true),
            _ => Ok(!self.reading.value_of(declared.kind, records.end - 1)?.is_default(declared.kind)),
        }
    }

    /// Judges one value, which lies in `records`; none is its zero.
    fn value(&mut self, value: &'a Value, declared: &Declared, records: Range<usize>) -> Done {
        if value.is_ruled() {
            match value.of {
                Type::Scalar(kind) if kind == value.kind => {
                    let scalar = match records.is_empty() {
                        true => Scalar::default(),
                        false => self.reading.value_of(kind, records.end - 1)?,
                    };
                    self.scalar(value, kind, declared.utf8, scalar, false)?;
                }
                _ => {
                    self.special(value, records.clone())?;
                    if let Kind::Message(id) | Kind::Group(id) = value.kind {
                        self.own(&value.own, own::Subject::Message(id, records.clone()), false)?;
                    }
                }
            }
        }
        match value.enter {
            Some(id) => self.message(id, records),
            None => Ok(()),
        }
    }

    /// Holds a scalar to a value's rules.
    fn scalar(&mut self, value: &'a Value, kind: Kind, utf8: bool, scalar: Scalar, for_key: bool) -> Done {
        let wire = self.reading.wire;
        let judged;
        match kind {
            Kind::String | Kind::Bytes => {
                let text = wire.get(scalar.start()..scalar.end).unwrap_or_default();
                if kind == Kind::String && utf8 && simdutf8::basic::from_utf8(text).is_err() {
                    return Err(malformed("the string is not UTF-8"));
                }
                judged = value.ignore != Ignore::IfZero || !text.is_empty();
                if judged {
                    self.hold(&value.rules, Subject::Text(text), for_key);
                }
            }
            kind => {
                let place = scalar.place(kind);
                judged = value.ignore != Ignore::IfZero || place != zero(self.reading.schema, kind);
                if judged {
                    self.hold(&value.rules, Subject::Number(place), for_key);
                }
            }
        }
        // Of a wrapper the whole is judged.
        if judged && kind == value.kind {
            self.own(&value.own, own::Subject::Scalar(kind, utf8, scalar), for_key)?;
        }
        Ok(())
    }

    /// Holds a well-known message to a value's rules.
    fn special(&mut self, value: &'a Value, records: Range<usize>) -> Done {
        match value.of {
            // A wrapper.
            Type::Scalar(kind) => {
                let [scalar] = self.singles(records, [kind])?;
                self.scalar(value, kind, true, scalar.unwrap_or_default(), false)
            }
            Type::Duration | Type::Timestamp => {
                let [seconds, nanos] = self.singles(records, [Kind::Int64, Kind::Int32])?;
                let bits = |scalar: Option<Scalar>| scalar.unwrap_or_default().bits;
                let at = nanoseconds(bits(seconds) as i64, bits(nanos) as u32 as i32);
                self.hold(&value.rules, Subject::Number(Some(at)), false);
                Ok(())
            }
            Type::Any => {
                let [type_url] = self.singles(records, [Kind::String])?;
                let type_url = type_url.unwrap_or_default();
                let text = self.reading.wire.get(type_url.start()..type_url.end).unwrap_or_default();
                self.hold(&value.rules, Subject::Text(text), false);
                Ok(())
            }
            Type::FieldMask => {
                let paths = self.paths(records)?;
                self.hold(&value.rules, Subject::Paths(&paths), false);
                Ok(())
            }
            Type::Repeated | Type::Map | Type::Message => Ok(()),
        }
    }

    fn list(&mut self, list: &'a List, declared: &'a Declared, records: Range<usize>) -> Done {
        self.own(&list.own, own::Subject::Field(declared, records.clone()), false)?;
        let (mut count, mut places, mut texts) = (0, Vec::new(), Vec::new());
        let wire = self.reading.wire;
        if matches!(declared.kind, Kind::Message(_) | Kind::Group(_)) {
            count = records.len();
            if let Some(items) = list.items.as_ref().filter(|items| items.ignore != Ignore::Always) {
                for (index, at) in records.enumerate() {
                    self.path.push(Step::Element(index));
                    self.value(items, declared, at..at + 1)?;
                    self.path.pop();
                    if self.violations.len() >= MOST {
                        return Ok(());
                    }
                }
            }
        } else {
            let items = list.items.as_ref().filter(|items| items.ignore != Ignore::Always && items.is_ruled());
            self.each(declared, records, |walk, scalar| {
                if let Some(items) = items.filter(|_| walk.violations.len() < MOST) {
                    walk.path.push(Step::Element(count));
                    walk.scalar(items, declared.kind, declared.utf8, scalar, false)?;
                    walk.path.pop();
                }
                if list.unique {
                    match declared.kind {
                        Kind::String | Kind::Bytes => {
                            texts.push(wire.get(scalar.start()..scalar.end).unwrap_or_default());
                        }
                        // Every NaN is one of its own.
                        kind => places.extend(place(kind, scalar.bits)),
                    }
                }
                count += 1;
                Ok(())
            })?;
        }
        self.hold(&list.sizes, Subject::Number(Some(count as i128)), false);
        if twice(&mut places) || twice(&mut texts) {
            self.violate("repeated.unique", "must not hold the same item twice".into(), false);
        }
        Ok(())
    }

    fn map(&mut self, map: &'a Map, declared: &'a Declared, records: Range<usize>) -> Done {
        let (Some((key_field, value_field)), Kind::Message(entry)) =
            (entry_fields(self.reading.schema, declared), declared.kind)
        else {
            return Err(malformed("no map"));
        };
        self.own(&map.own, own::Subject::Field(declared, records.clone()), false)?;
        let entry = self.reading.schema.message(entry);
        let entries = self.reading.entries(declared, records)?;
        let mut count = 0;
        for at in entries.clone() {
            if self.reading.is_replaced(key_field.kind, at, entries.end) {
                continue;
            }
            count += 1;
            if self.violations.len() >= MOST {
                continue;
            }
            let (key, record) = self.reading.entry(at);
            self.path.push(Step::Key(key_field.kind, key));
            if let Some(keys) = map.keys.as_ref().filter(|keys| keys.ignore != Ignore::Always) {
                self.scalar(keys, key_field.kind, key_field.utf8, key, true)?;
            }
            if let Some(values) = map.values.as_ref().filter(|values| values.ignore != Ignore::Always) {
                let first = self.reading.collect(entry, record..record + 1)?.first;
                let value = self.reading.value_records(first);
                self.value(values, value_field, value)?;
                self.reading.scratch.records.truncate(first);
            }
            self.path.pop();
        }
        self.reading.scratch.entries.truncate(entries.start);
        self.hold(&map.sizes, Subject::Number(Some(count)), false);
        Ok(())
    }

    /// Hands out the scalars of a list, whichever way they lie in their records; unknown enum values are left out. Of
    /// messages it hands out where they lie.
    fn each(
        &mut self,
        field: &Declared,
        records: Range<usize>,
        mut take: impl FnMut(&mut Self, Scalar) -> Done,
    ) -> Done {
        for at in records {
            let record = self.reading.scratch.records[at];
            if !is_packed(field, record.wire_type) {
                let scalar = match field.kind {
                    Kind::Message(_) | Kind::Group(_) => Scalar::default(),
                    kind => self.reading.value_of(kind, at)?,
                };
                take(self, scalar)?;
                continue;
            }
            let wire = &self.reading.wire[..record.span.end()];
            let mut at = record.span.start();
            while at < wire.len() {
                let (scalar, end) = Scalar::read(field.kind, wire, at)?;
                at = end;
                if !is_unknown(self.reading.schema, field.kind, scalar) {
                    take(self, scalar)?;
                }
            }
        }
        Ok(())
    }

    /// The singular values of fields 1 to `N` in a message that is given as parts.
    fn singles<const N: usize>(&self, records: Range<usize>, kinds: [Kind; N]) -> Result<[Option<Scalar>; N], Halt> {
        let mut found = [None; N];
        for at in records {
            let span: Span = self.reading.scratch.records[at].span;
            let part = last_of(self.reading.wire, &[span], kinds, self.reading.depth)?;
            for (found, part) in found.iter_mut().zip(part) {
                *found = part.or(*found);
            }
        }
        Ok(found)
    }

    /// The paths of a FieldMask.
    fn paths(&mut self, records: Range<usize>) -> Result<Vec<&'a [u8]>, Halt> {
        let mut paths = Vec::new();
        for at in records {
            let span = self.reading.scratch.records[at].span;
            let part = &self.reading.wire[..span.end()];
            let mut at = span.start();
            while at < part.len() {
                let (tag, value) = reader::tag(part, at)?;
                if tag.number() == 1 && tag.wire_type() == LEN {
                    let (start, end) = reader::delimited(part, value)?;
                    paths.push(&part[start..end]);
                }
                at = reader::skip(part, tag, value, self.reading.depth)?;
            }
        }
        // Each path is compared with every path of a rule.
        spend(self.reading.work, paths.len())?;
        Ok(paths)
    }

    fn hold(&mut self, rules: &'a [Rule], subject: Subject<'_>, for_key: bool) {
        for rule in rules {
            if !rule.holds(subject, self.now) {
                self.violate(&rule.id, rule.message.clone(), for_key);
            }
        }
    }

    /// Judges a value by rules of the schema's own.
    fn own(&mut self, rules: &'a [Own], subject: own::Subject<'_>, for_key: bool) -> Done {
        if rules.is_empty() || self.violations.len() >= MOST {
            return Ok(());
        }
        let mut broken = Vec::new();
        let bounds = (self.now, &mut self.steps);
        own::judge(rules, subject, &mut self.reading, bounds, |rule, told| broken.push((rule.to_owned(), told)))?;
        for (rule, told) in broken {
            self.violate(&rule, told, for_key);
        }
        Ok(())
    }

    #[cold]
    fn violate(&mut self, rule: &str, message: Box<str>, for_key: bool) {
        if self.violations.len() < MOST {
            let field = self.path();
            self.violations.push(Violation { field, rule: rule.into(), message, for_key });
        }
    }

    /// The path of where we are, as JSON names it.
    #[cold]
    fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            // Writing to a string cannot fail.
            let _ = match step {
                Step::Field(field) if path.is_empty() => write!(path, "{}", field.json_name),
                Step::Field(field) => write!(path, ".{}", field.json_name),
                Step::Element(index) => write!(path, "[{index}]"),
                Step::Key(Kind::String, key) => {
                    let text = self.reading.wire.get(key.start()..key.end).unwrap_or_default();
                    path.push_str("[\"");
                    echo(text).chars().for_each(|character| escape(character, &mut path));
                    write!(path, "\"]")
                }
                Step::Key(Kind::Bool, key) => write!(path, "[{}]", key.bits != 0),
                Step::Key(kind, key) => write!(path, "[{}]", key.place(*kind).unwrap_or_default()),
            };
        }
        path
    }
}

/// A character of a key, as JSON writes it.
fn escape(character: char, out: &mut String) {
    match character {
        '"' | '\\' => out.extend(['\\', character]),
        '\n' => out.push_str("\\n"),
        '\0'..'\x20' => {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        }
        _ => out.push(character),
    }
}

/// Sorts a list, and says whether something is in it twice.
fn twice<T: Ord>(list: &mut [T]) -> bool {
    list.sort_unstable();
    list.windows(2).any(|pair| pair[0] == pair[1])
}
