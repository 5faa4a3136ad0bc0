//! What a schema's `buf.validate` options say → [`Rules`].
//!
//! Only messages that have rules, or hold messages that have some, get a table; all others cost a call nothing.

use super::kinds::{Type, member_name, rules};
use super::number::{Number, Place};
use super::own::{self, Own, This};
use super::rule::{Rule, Test};
use super::said::{FIRST_OWN, Said, known};
use super::{Custom, Field, Group, Held, Ignore, List, Map, Ruled, Rules, Value};
use crate::schema::{Field as Declared, Kind, Message, MessageId, Presence, Problem, Schema, Shape, Written};

/// Compiles every message's rules; without `cel` the standard ones.
pub(super) fn compile(schema: &Schema, cel: bool) -> Rules {
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
        let mut compiler = Compiler { schema, id, cel, custom: &mut custom, problems: &mut problems };
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
        self.fields.is_empty() && self.oneofs.is_empty() && self.groups.is_empty() && self.own.is_empty()
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
        self.sizes.is_empty() && self.own.is_empty() && !self.unique && self.items.is_none()
    }
}

impl Map {
    fn is_empty(&self) -> bool {
        self.sizes.is_empty() && self.own.is_empty() && self.keys.is_none() && self.values.is_none()
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
        Self {
            kind,
            of: Type::of(schema, kind),
            rules: Box::default(),
            own: Vec::new(),
            ignore: Ignore::Never,
            enter: None,
        }
    }
}

struct Compiler<'a> {
    schema: &'a Schema,
    id: MessageId,
    /// Rules in CEL are compiled too.
    cel: bool,
    custom: &'a mut Vec<Custom>,
    problems: &'a mut Vec<(MessageId, Problem)>,
}

impl Compiler<'_> {
    fn message(&mut self, message: &Message, written: &Written) -> Ruled {
        let (groups, own) = self.whole(message, &written.message).unwrap_or_else(|why| self.problem(None, why));
        let mut ruled = Ruled { groups, own, ..Ruled::default() };
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

    /// `MessageRules`: what is said of the message as a whole.
    fn whole(&mut self, message: &Message, said: &[u8]) -> Result<(Vec<Group>, Vec<Own>), String> {
        let said = Said::read(said)?;
        known(&said, "message", &[3, 4, 5])?;
        let own = self.own(None, This::Message(self.id), &said, [3, 5])?;
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
        Ok((groups, own))
    }

    fn field(&mut self, field: &Declared, slot: u16, said: &[u8], grouped: bool) -> Result<Option<Field>, String> {
        let said = Said::read(said)?;
        common(&said)?;
        let ignore = match ignore(&said)? {
            Ignore::Never if grouped && said.last(27).is_none() => Ignore::IfZero,
            ignore => ignore,
        };
        if ignore == Ignore::Always {
            return Ok(Some(Field { slot, required: false, ignore, held: Held::None }));
        }
        let held = match field.shape {
            Shape::Repeated | Shape::Packed => {
                let mut list = self.list(field, member(&said, Type::Repeated)?)?.unwrap_or_default();
                list.own.extend(self.own(Some(&field.name), This::Field(field), &said, FIELD)?);
                Held::List(Box::new(list))
            }
            Shape::Map => {
                let mut map = self.map(field, member(&said, Type::Map)?)?.unwrap_or_default();
                map.own.extend(self.own(Some(&field.name), This::Field(field), &said, FIELD)?);
                Held::Map(Box::new(map))
            }
            Shape::Singular | Shape::Item => Held::One(self.value(&field.name, field.kind, &said, Ignore::Never)?),
        };
        let required = said.flag(25);
        let nothing = match &held {
            Held::One(value) => !value.is_ruled(),
            Held::List(list) => list.is_empty(),
            Held::Map(map) => map.is_empty(),
            Held::None => false,
        };
        Ok((required || !nothing).then_some(Field { slot, required, ignore, held }))
    }

    /// What rules say of one value.
    fn value(&mut self, name: &str, kind: Kind, said: &Said<'_>, ignore: Ignore) -> Result<Value, String> {
        let of = Type::of(self.schema, kind);
        let mut own = self.own(Some(name), This::Value(kind), said, FIELD)?;
        let rules = match member(said, of)? {
            Some(standard) => {
                own.extend(self.predefined(name, of, &standard, This::Value(kind))?);
                rules(self.schema, of, &Said::read(&standard)?)?
            }
            None => Vec::new(),
        };
        Ok(Value { kind, of, rules: rules.into(), own, ignore, enter: None })
    }

    fn list(&mut self, field: &Declared, said: Option<Vec<u8>>) -> Result<Option<List>, String> {
        let Some(bytes) = said else { return Ok(None) };
        let said = Said::read(&bytes)?;
        known(&said, "repeated", &[1, 2, 3, 4])?;
        let own = self.predefined(&field.name, Type::Repeated, &bytes, This::Field(field))?;
        let unique = said.flag(3);
        if unique && matches!(field.kind, Kind::Message(_) | Kind::Group(_)) {
            return Err("repeated.unique holds for scalars and enums, not for messages".to_owned());
        }
        let sizes = sizes(&said, ["repeated.min_items", "repeated.max_items"], "items");
        let items = match said.message(4) {
            Some(items) => Some(self.part(field, field.kind, &items)?),
            None => None,
        };
        Ok(Some(List { sizes, own, unique, items }))
    }

    fn map(&mut self, field: &Declared, said: Option<Vec<u8>>) -> Result<Option<Map>, String> {
        let Some(bytes) = said else { return Ok(None) };
        let said = Said::read(&bytes)?;
        known(&said, "map", &[1, 2, 4, 5])?;
        let own = self.predefined(&field.name, Type::Map, &bytes, This::Field(field))?;
        let Kind::Message(entry) = field.kind else { return Ok(None) };
        let kinds: Vec<Kind> = self.schema.message(entry).fields.iter().map(|field| field.kind).collect();
        let [key, value] = kinds[..] else { return Ok(None) };
        let mut part = |number, kind| said.message(number).map(|said| self.part(field, kind, &said)).transpose();
        let (keys, values) = (part(4, key)?, part(5, value)?);
        Ok(Some(Map { sizes: sizes(&said, ["map.min_pairs", "map.max_pairs"], "entries"), own, keys, values }))
    }

    /// The rules of a list's items, a map's keys or its values.
    fn part(&mut self, field: &Declared, kind: Kind, said: &[u8]) -> Result<Value, String> {
        let said = Said::read(said)?;
        common(&said)?;
        let ignore = ignore(&said)?;
        self.value(&field.name, kind, &said, ignore)
    }

    /// Rules of the schema's own: whole ones under the first number, expressions alone under the second.
    fn own(
        &mut self,
        field: Option<&str>,
        this: This<'_>,
        said: &Said<'_>,
        [whole, bare]: [u32; 2],
    ) -> Result<Vec<Own>, String> {
        let mut list = Vec::new();
        for rule in said.each_bytes(whole) {
            list.extend(self.rule(field, &Said::read(rule)?, this, None));
        }
        for expression in said.each_bytes(bare) {
            let compile = |schema: &Schema| Own::bare(schema, expression, this);
            list.extend(self.compiled(field, expression, expression, compile));
        }
        Ok(list)
    }

    /// One `buf.validate.Rule`.
    fn rule(&mut self, field: Option<&str>, said: &Said<'_>, this: This<'_>, rules: Option<own::Rules>) -> Option<Own> {
        let expression = said.bytes(3).unwrap_or_default();
        let name = said.bytes(1).unwrap_or(expression);
        self.compiled(field, name, expression, |schema| Own::compile(schema, said, this, rules))
    }

    /// What was compiled, unless it is to be told why not.
    fn compiled(
        &mut self,
        field: Option<&str>,
        name: &[u8],
        expression: &[u8],
        compile: impl FnOnce(&Schema) -> Result<Own, String>,
    ) -> Option<Own> {
        let compiled = if self.cel { compile(self.schema) } else { Err("it is written in CEL".to_owned()) };
        compiled
            .map_err(|why| {
                let (name, text) = (String::from_utf8_lossy(name), String::from_utf8_lossy(expression));
                let text = if name == text { String::new() } else { format!(" (`{text}`)") };
                self.custom(field, &format!("the rule `{name}`{text}: {why}"));
            })
            .ok()
    }

    /// Rules that the schema defined for a type, which are extensions of its standard ones.
    fn predefined(&mut self, field: &str, of: Type, bytes: &[u8], this: This<'_>) -> Result<Vec<Own>, String> {
        let said = Said::read(bytes)?;
        let mut list = Vec::new();
        for number in said.numbers().filter(|&number| number >= FIRST_OWN) {
            let Some((id, slot, written)) = extension(self.schema, of, number) else {
                self.custom(Some(field), &format!("the predefined rule {number}: the schema does not define it"));
                continue;
            };
            let written = Said::read(written)?;
            for rule in written.each_bytes(1) {
                let rules = own::Rules { bytes: bytes.into(), id, slot };
                list.extend(self.rule(Some(field), &Said::read(rule)?, this, Some(rules)));
            }
        }
        Ok(list)
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

/// The extension of a number: the rules that it is one of, its place among them, and what it stands for.
fn extension(schema: &Schema, of: Type, number: u32) -> Option<(MessageId, u16, &[u8])> {
    let rules = schema.message(schema.message_named("buf.validate.FieldRules")?);
    let Kind::Message(id) = rules.fields[rules.slot(of.member()?.0)?].kind else { return None };
    let slot = schema.message(id).slot(number)?;
    Some((id, u16::try_from(slot).ok()?, schema.rules.predefined(id, number)?))
}

/// Where a `FieldRules` has rules of the schema's own.
const FIELD: [u32; 2] = [23, 29];

/// What any `FieldRules` may hold.
fn common(said: &Said<'_>) -> Result<(), String> {
    match said.beyond(|number| member_name(number).is_some() || matches!(number, 23 | 25 | 27 | 29)) {
        None => Ok(()),
        Some(number) => {
            Err(format!("its rules have a field {number} that this version of Transom does not support: remove it"))
        }
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
