//! What a schema's `buf.validate` options say → [`Rules`].
//!
//! Only messages that have rules, or hold messages that have some, get a table; all others cost a call nothing.

use super::kinds::{FIRST_OWN, Type, known, member_name, rules};
use super::number::{Number, Place};
use super::rule::{Rule, Test};
use super::said::Said;
use super::{Custom, Field, Group, Held, Ignore, List, Map, Ruled, Rules, Value};
use crate::schema::{Field as Declared, Kind, Message, MessageId, Presence, Problem, Schema, Shape, Written};

/// Compiles every message's rules.
pub(super) fn compile(schema: &Schema) -> Rules {
    let mut tables: Vec<Option<Ruled>> = Vec::new();
    let mut written: Vec<_> = schema.rules.iter().collect();
    if written.is_empty() {
        return Rules::default();
    }
    written.sort_by_key(|(id, _)| id.0);
    tables.resize_with(schema.messages.len(), || None);
    let mut custom = Vec::new();
    let mut problems = Vec::new();
    for (id, written) in written {
        let mut compiler = Compiler { schema, id, custom: &mut custom, problems: &mut problems };
        let ruled = compiler.message(schema.message(id), written);
        tables[id.0 as usize] = Some(ruled).filter(|ruled| !ruled.is_empty());
    }
    reach(schema, &mut tables);
    let mut at = vec![u32::MAX; tables.len()].into_boxed_slice();
    let mut messages = Vec::new();
    for (slot, table) in at.iter_mut().zip(tables) {
        if let Some(table) = table {
            *slot = messages.len() as u32;
            messages.push(table);
        }
    }
    Rules { at, messages: messages.into(), custom, problems }
}

/// Enters what holds messages with rules: the way to them.
fn reach(schema: &Schema, tables: &mut [Option<Ruled>]) {
    let mut holders: Vec<Vec<(u32, u16)>> = vec![Vec::new(); tables.len()];
    for (message, at) in schema.messages.iter().zip(0_u32..) {
        for (field, slot) in message.fields.iter().zip(0_u16..) {
            if let Some(held) = inner(schema, field) {
                holders[held.0 as usize].push((at, slot));
            }
        }
    }
    let mut fresh: Vec<u32> =
        (0_u32..).zip(tables.iter()).filter(|(_, table)| table.is_some()).map(|(at, _)| at).collect();
    while let Some(held) = fresh.pop() {
        for &(at, slot) in &holders[held as usize] {
            let holder = schema.message(MessageId(at));
            let was_empty = tables[at as usize].is_none();
            let table = tables[at as usize].get_or_insert_default();
            let entered = table.enter(schema, holder, slot, MessageId(held));
            if !entered && was_empty {
                tables[at as usize] = None;
            } else if was_empty {
                fresh.push(at);
            }
        }
    }
}

/// The message that a field's values are: of a map, those of its entries.
fn inner(schema: &Schema, field: &Declared) -> Option<MessageId> {
    match (field.shape, field.kind) {
        (Shape::Map, Kind::Message(entry)) => match schema.message(entry).fields.get(1)?.kind {
            Kind::Message(id) | Kind::Group(id) => Some(id),
            _ => None,
        },
        (_, Kind::Message(id) | Kind::Group(id)) => Some(id),
        _ => None,
    }
}

impl Ruled {
    fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.oneofs.is_empty() && self.groups.is_empty()
    }

    /// Sees to it that a field's messages are looked into; false where the field says that they are not.
    fn enter(&mut self, schema: &Schema, message: &Message, slot: u16, id: MessageId) -> bool {
        let at = match self.fields.binary_search_by_key(&slot, |field| field.slot) {
            Ok(at) => at,
            Err(at) => {
                self.fields.insert(at, Field::unruled(schema, message, slot));
                at
            }
        };
        let field = &mut self.fields[at];
        let value = match &mut field.held {
            Held::None => return false,
            Held::One(value) => value,
            Held::List(list) => {
                list.items.get_or_insert_with(|| Value::unruled(schema, message.fields[usize::from(slot)].kind))
            }
            Held::Map(map) => map.values.get_or_insert_with(|| Value::unruled(schema, Kind::Message(id))),
        };
        if value.ignore != Ignore::Always {
            value.enter = Some(id);
        }
        value.enter.is_some()
    }
}

impl List {
    fn is_empty(&self) -> bool {
        self.sizes.is_empty() && !self.unique && self.items.is_none()
    }
}

impl Map {
    fn is_empty(&self) -> bool {
        self.sizes.is_empty() && self.keys.is_none() && self.values.is_none()
    }
}

impl Field {
    fn unruled(schema: &Schema, message: &Message, slot: u16) -> Self {
        let declared = &message.fields[usize::from(slot)];
        let held = match declared.shape {
            Shape::Map => Held::Map(Box::default()),
            Shape::Repeated | Shape::Packed => Held::List(Box::default()),
            Shape::Singular | Shape::Item => Held::One(Value::unruled(schema, declared.kind)),
        };
        Self { slot, required: false, ignore: Ignore::Never, held }
    }
}

impl Value {
    fn unruled(schema: &Schema, kind: Kind) -> Self {
        Self { kind, of: Type::of(schema, kind), rules: Box::default(), ignore: Ignore::Never, enter: None }
    }
}

struct Compiler<'a> {
    schema: &'a Schema,
    id: MessageId,
    custom: &'a mut Vec<Custom>,
    problems: &'a mut Vec<(MessageId, Problem)>,
}

impl Compiler<'_> {
    fn message(&mut self, message: &Message, written: &Written) -> Ruled {
        let groups = self.groups(message, &written.message).unwrap_or_else(|why| self.problem(None, why));
        let mut ruled = Ruled { groups, ..Ruled::default() };
        for (slot, said) in &written.fields {
            let declared = &message.fields[usize::from(*slot)];
            // In a group what is not there is not held to its rules, unless the field says otherwise.
            let grouped = ruled.groups.iter().any(|group| group.slots.contains(slot));
            match self.field(declared, *slot, said, grouped) {
                Ok(Some(field)) => ruled.fields.push(field),
                Ok(None) => {}
                Err(why) => self.problem(Some(&declared.name), why),
            }
        }
        for (oneof, said) in &written.oneofs {
            let required = Said::read(said).and_then(|said| {
                known(&said, "oneof", &[1])?;
                Ok(said.flag(1))
            });
            match required {
                Ok(true) => ruled.oneofs.push(*oneof),
                Ok(false) => {}
                Err(why) => self.problem(message.oneofs.get(usize::from(*oneof)).map(|name| &**name), why),
            }
        }
        ruled
    }

    /// `MessageRules.oneof`.
    fn groups(&mut self, message: &Message, said: &[u8]) -> Result<Vec<Group>, String> {
        let said = Said::read(said)?;
        known(&said, "message", &[3, 4, 5])?;
        self.own(None, said.each_bytes(3), said.each_bytes(5))?;
        let mut groups = Vec::new();
        for group in said.each_bytes(4) {
            let said = Said::read(group)?;
            known(&said, "message oneof", &[1, 2])?;
            let mut slots = Vec::new();
            let mut names = Vec::new();
            for name in said.each_bytes(1) {
                let name = String::from_utf8_lossy(name);
                let slot = message.slot_declared(&name).and_then(|slot| u16::try_from(slot).ok());
                let slot = slot.ok_or_else(|| format!("its oneof rule names `{name}`, which is none of its fields"))?;
                if slots.contains(&slot) {
                    return Err(format!("its oneof rule names `{name}` twice"));
                }
                slots.push(slot);
                names.push(message.fields[usize::from(slot)].json_name.to_string());
            }
            if slots.is_empty() {
                return Err("its oneof rule names no field".to_owned());
            }
            groups.push(Group { slots: slots.into(), required: said.flag(2), names: names.join(", ").into() });
        }
        Ok(groups)
    }

    fn field(&mut self, field: &Declared, slot: u16, said: &[u8], grouped: bool) -> Result<Option<Field>, String> {
        let said = Said::read(said)?;
        self.common(&field.name, &said)?;
        let ignore = match ignore(&said)? {
            Ignore::Never if grouped && said.last(27).is_none() => Ignore::IfZero,
            ignore => ignore,
        };
        if ignore == Ignore::Always {
            return Ok(Some(Field { slot, required: false, ignore, held: Held::None }));
        }
        let held = match field.shape {
            Shape::Repeated | Shape::Packed => {
                let list = self.list(field, member(&said, Type::Repeated)?)?;
                list.map_or_else(|| Held::List(Box::default()), |list| Held::List(Box::new(list)))
            }
            Shape::Map => {
                let map = self.map(field, member(&said, Type::Map)?)?;
                map.map_or_else(|| Held::Map(Box::default()), |map| Held::Map(Box::new(map)))
            }
            Shape::Singular | Shape::Item => Held::One(self.value(&field.name, field.kind, &said, Ignore::Never)?),
        };
        let required = said.flag(25);
        let nothing = match &held {
            Held::One(value) => value.rules.is_empty(),
            Held::List(list) => list.is_empty(),
            Held::Map(map) => map.is_empty(),
            Held::None => false,
        };
        Ok((required || !nothing).then_some(Field { slot, required, ignore, held }))
    }

    /// What rules say of one value.
    fn value(&mut self, name: &str, kind: Kind, said: &Said<'_>, ignore: Ignore) -> Result<Value, String> {
        let of = Type::of(self.schema, kind);
        let rules = match member(said, of)? {
            Some(own) => {
                let own = Said::read(&own)?;
                self.predefined(name, &own);
                rules(self.schema, of, &own)?
            }
            None => Vec::new(),
        };
        Ok(Value { kind, of, rules: rules.into(), ignore, enter: None })
    }

    fn list(&mut self, field: &Declared, said: Option<Vec<u8>>) -> Result<Option<List>, String> {
        let Some(said) = said else { return Ok(None) };
        let said = Said::read(&said)?;
        known(&said, "repeated", &[1, 2, 3, 4])?;
        self.predefined(&field.name, &said);
        let unique = said.flag(3);
        if unique && matches!(field.kind, Kind::Message(_) | Kind::Group(_)) {
            return Err("repeated.unique holds for scalars and enums, not for messages".to_owned());
        }
        let sizes = sizes(&said, ["repeated.min_items", "repeated.max_items"], "items");
        let items = match said.message(4) {
            Some(items) => Some(self.part(field, field.kind, &items)?),
            None => None,
        };
        Ok(Some(List { sizes, unique, items }))
    }

    fn map(&mut self, field: &Declared, said: Option<Vec<u8>>) -> Result<Option<Map>, String> {
        let Some(said) = said else { return Ok(None) };
        let said = Said::read(&said)?;
        known(&said, "map", &[1, 2, 4, 5])?;
        self.predefined(&field.name, &said);
        let Kind::Message(entry) = field.kind else { return Ok(None) };
        let kinds: Vec<Kind> = self.schema.message(entry).fields.iter().map(|field| field.kind).collect();
        let [key, value] = kinds[..] else { return Ok(None) };
        let mut part = |number, kind| said.message(number).map(|said| self.part(field, kind, &said)).transpose();
        let (keys, values) = (part(4, key)?, part(5, value)?);
        Ok(Some(Map { sizes: sizes(&said, ["map.min_pairs", "map.max_pairs"], "entries"), keys, values }))
    }

    /// The rules of a list's items, a map's keys or its values.
    fn part(&mut self, field: &Declared, kind: Kind, said: &[u8]) -> Result<Value, String> {
        let said = Said::read(said)?;
        self.common(&field.name, &said)?;
        let ignore = ignore(&said)?;
        self.value(&field.name, kind, &said, ignore)
    }

    /// What any `FieldRules` may hold.
    fn common(&mut self, name: &str, said: &Said<'_>) -> Result<(), String> {
        let beyond = said.beyond(|number| member_name(number).is_some() || matches!(number, 23 | 25 | 27 | 29));
        if let Some(number) = beyond {
            return Err(format!(
                "its rules have a field {number} that this version of Transom does not support: remove it"
            ));
        }
        self.own(Some(name), said.each_bytes(23), said.each_bytes(29))
    }

    /// Rules of the schema's own, in CEL.
    fn own<'s>(
        &mut self,
        field: Option<&str>,
        rules: impl Iterator<Item = &'s [u8]>,
        expressions: impl Iterator<Item = &'s [u8]>,
    ) -> Result<(), String> {
        for rule in rules {
            let said = Said::read(rule)?;
            let name = said.bytes(1).or(said.bytes(3)).unwrap_or_default();
            self.custom(field, &format!("the rule `{}`", String::from_utf8_lossy(name)));
        }
        for expression in expressions {
            self.custom(field, &format!("the rule `{}`", String::from_utf8_lossy(expression)));
        }
        Ok(())
    }

    /// Rules that the schema defined for a type, which are extensions of its standard ones.
    fn predefined(&mut self, field: &str, said: &Said<'_>) {
        if let Some(number) = said.beyond(|number| number < FIRST_OWN) {
            self.custom(Some(field), &format!("the predefined rule {number}"));
        }
    }

    fn custom(&mut self, field: Option<&str>, what: &str) {
        let symbol = self.symbol(field);
        let file = self.schema.file_of(&self.schema.message(self.id).name).unwrap_or_default();
        self.custom.push(Custom { message: self.id, rule: format!("{file}: {symbol}: {what}") });
    }

    fn problem<T: Default>(&mut self, field: Option<&str>, why: String) -> T {
        let symbol = self.symbol(field);
        let file = self.schema.file_of(&self.schema.message(self.id).name).unwrap_or_default();
        self.problems.push((self.id, Problem::new(file, symbol, why)));
        T::default()
    }

    fn symbol(&self, field: Option<&str>) -> String {
        let message = &self.schema.message(self.id).name;
        field.map_or_else(|| message.to_string(), |field| format!("{message}.{field}"))
    }
}

fn ignore(said: &Said<'_>) -> Result<Ignore, String> {
    match said.bits(27) {
        None | Some(0) => Ok(Ignore::Never),
        Some(1) => Ok(Ignore::IfZero),
        Some(3) => Ok(Ignore::Always),
        Some(number) => Err(format!("ignore has no value {number}: write IGNORE_IF_ZERO_VALUE or IGNORE_ALWAYS")),
    }
}

/// The rules of this type; rules of another one are a problem.
fn member(said: &Said<'_>, of: Type) -> Result<Option<Vec<u8>>, String> {
    let Some(number) = said.last_among(|number| member_name(number).is_some()) else { return Ok(None) };
    let name = member_name(number).unwrap_or_default();
    match of.member() {
        Some((own, _)) if own == number => Ok(said.message(number)),
        Some((_, own)) => Err(format!("{name} rules do not fit its type: write {own}")),
        None => Err(format!("{name} rules do not fit a message")),
    }
}

/// Bounds of how many items there are.
fn sizes(said: &Said<'_>, ids: [&str; 2], what: &str) -> Box<[Rule]> {
    let bound = |at: u64| Some(super::number::Bound { at: i128::from(at), open: false });
    let least = said.bits(1).map(|least| {
        let test = Number::Range { low: bound(least), high: None, outside: false };
        Rule::new(ids[0], format!("must have at least {least} {what}"), Test::Number(test))
    });
    let most = said.bits(2).map(|most| {
        let test = Number::Range { low: None, high: bound(most), outside: false };
        Rule::new(ids[1], format!("must have at most {most} {what}"), Test::Number(test))
    });
    least.into_iter().chain(most).collect()
}

/// What a value of this type is when nothing is said: an enum's first value, else zero.
pub(super) fn zero(schema: &Schema, kind: Kind) -> Place {
    match kind {
        Kind::Enum(id) => schema.enumeration(id).values.first().map(|&(_, number)| i128::from(number)),
        _ => Some(0),
    }
}

/// A singular field's absence is told apart from its zero.
pub(super) fn has_presence(field: &Declared) -> bool {
    field.presence != Presence::Implicit
}
